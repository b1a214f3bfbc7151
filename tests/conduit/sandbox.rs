//! Owns what a case works with: a server with two buckets, a folder for Conduit with the plugin in it, pipelines, and what has
//! arrived. Leaves Conduit's process to `engine`.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use embedded_s3::{EmbeddedS3, LoggedRequest, ObjectHeaders, Options, PutOptions, Versioning};
use s3_connector::record::json;
use s3_connector_tests::parquet;
use s3_connector_tests::process::binary;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::engine::{Architecture, Conduit};

/// The bucket that sources read; it keeps versions.
pub const PHOTOS: &str = "photos";
/// The bucket that destinations write to; it keeps versions, so that nothing is overwritten unseen.
pub const LAKE: &str = "lake";

/// What happened to an object, as a record says it: operation, key, body.
pub type Event = (String, String, Option<Bytes>);

/// A server and a folder, which end with the case.
pub struct Sandbox {
    pub server: EmbeddedS3,
    pub architecture: Architecture,
    folder: TempDir,
    starts: Cell<u32>,
}

impl Sandbox {
    pub async fn new(architecture: Architecture) -> Self {
        let server = EmbeddedS3::start(Options::default()).await.unwrap();
        for bucket in [PHOTOS, LAKE] {
            server.store().create_bucket(bucket).unwrap();
            server.store().set_versioning(bucket, Versioning::Enabled).unwrap();
        }
        let folder = TempDir::new().unwrap();
        for name in ["connectors", "pipelines", "state"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        std::os::unix::fs::symlink(binary(), folder.path().join("connectors/s3-connector")).unwrap();
        Self { server, architecture, folder, starts: Cell::new(0) }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts a Conduit, which finds the server by its environment.
    pub async fn conduit(&self) -> Conduit {
        self.conduit_with(&[]).await
    }

    /// The same with more flags.
    pub async fn conduit_with(&self, flags: &[&str]) -> Conduit {
        self.starts.set(self.starts.get() + 1);
        let variables = [
            ("AWS_ACCESS_KEY_ID", embedded_s3::ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", embedded_s3::SECRET_KEY.to_owned()),
            ("AWS_REGION", embedded_s3::REGION_DEFAULT.to_owned()),
            ("AWS_ENDPOINT_URL_S3", self.server.endpoint()),
            ("S3_CONNECTOR_STATE", self.path("state").display().to_string()),
        ];
        let log = self.path(&format!("log-{}", self.starts.get()));
        Conduit::start(self.folder.path(), self.architecture, &variables, flags, log).await
    }

    /// Has a pipeline `p` of these connectors run when Conduit starts.
    pub fn pipeline(&self, connectors: &[Value]) {
        self.pipeline_with(connectors, &json!({}));
    }

    /// The same with more fields.
    pub fn pipeline_with(&self, connectors: &[Value], more: &Value) {
        let mut pipeline = json!({"id": "p", "status": "running", "connectors": connectors});
        let fields = more.as_object().unwrap().clone();
        pipeline.as_object_mut().unwrap().extend(fields);
        // YAML is a superset of JSON.
        let file = json!({"version": "2.2", "pipelines": [pipeline]});
        std::fs::write(self.path("pipelines/p.yaml"), file.to_string()).unwrap();
    }

    /// Stores an object.
    pub fn put(&self, key: &str, body: impl Into<Bytes>) {
        self.put_at(key, body.into(), None);
    }

    /// Stores an object with a time of its own; returns what a snapshot should say of it.
    pub fn put_at(&self, key: &str, body: Bytes, last_modified: Option<SystemTime>) -> Event {
        // Without a content type, Conduit's Go connector has all of Conduit panic.
        let headers = ObjectHeaders { content_type: Some("image/jpeg".to_owned()), ..ObjectHeaders::default() };
        let options = PutOptions { body: body.clone(), headers, last_modified, ..PutOptions::default() };
        self.server.store().put_with(PHOTOS, key, options).unwrap();
        ("snapshot".to_owned(), key.to_owned(), Some(body))
    }

    /// Stores objects with these numbers; returns what a source should say of them.
    pub fn fill(&self, operation: &str, numbers: std::ops::Range<usize>) -> Vec<Event> {
        let put = |n: usize| {
            let (key, body) = (format!("{n:04}"), body(n));
            self.put(&key, body.clone());
            (operation.to_owned(), key, Some(body))
        };
        numbers.map(put).collect()
    }

    /// The lines of a file that Conduit's `file` connector has written so far.
    pub fn file(&self, name: &str) -> Vec<Value> {
        let text = std::fs::read(self.path(name)).unwrap_or_default();
        // One without an end is being written.
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        lines(&text[..whole])
    }

    /// The records of each object in the other bucket, in the order in which they were written, of which names say nothing.
    pub fn objects(&self) -> Vec<Vec<Value>> {
        let mut objects = self.server.store().objects(LAKE).unwrap();
        let requests = self.server.requests();
        let is_write =
            |request: &&LoggedRequest| request.bucket.as_deref() == Some(LAKE) && request.status == Some(200);
        let writes = requests.iter().filter(is_write);
        let places: BTreeMap<_, _> = writes.rev().map(|write| (write.key.as_deref(), write.number)).collect();
        objects.sort_by_key(|object| places.get(&Some(object.key.as_str())).copied());
        let records = |key: &str, body: &Bytes| {
            if key.ends_with(".parquet") {
                let mut text = Vec::new();
                for record in parquet::read(body).unwrap_or_else(|error| panic!("{key}: {error}")) {
                    json::encode_line(&record, &mut text);
                }
                lines(&text)
            } else {
                assert!(body.ends_with(b"\n"), "{key} ends in the middle of a line");
                lines(body)
            }
        };
        objects.iter().map(|object| records(&object.key, &object.body)).collect()
    }

    /// All records in the other bucket.
    pub fn stored(&self) -> Vec<Value> {
        self.objects().concat()
    }
}

/// A connector of a pipeline.
pub fn connector(id: &str, kind: &str, plugin: &str, settings: &[(&str, &str)]) -> Value {
    let settings: BTreeMap<_, _> = settings.iter().copied().collect();
    json!({"id": id, "type": kind, "plugin": plugin, "settings": settings})
}

/// A source on the first bucket, which polls often.
pub fn source(more: &[(&str, &str)]) -> Value {
    let settings = [&[("aws.bucket", PHOTOS), ("pollingPeriod", "100ms")], more].concat();
    connector("source", "source", "standalone:s3", &settings)
}

/// A destination in the other bucket.
pub fn destination(more: &[(&str, &str)]) -> Value {
    let settings = [&[("aws.bucket", LAKE), ("format", "json"), ("bufferDelay", "50ms")], more].concat();
    connector("destination", "destination", "standalone:s3", &settings)
}

/// A destination in a file, by Conduit's own connector.
pub fn file(path: &str) -> Value {
    connector("file", "destination", "builtin:file", &[("path", path)])
}

fn lines(text: &[u8]) -> Vec<Value> {
    let line = |line| {
        serde_json::from_slice(line).unwrap_or_else(|error| panic!("{error}: {:?}", Bytes::copy_from_slice(line)))
    };
    text.split_inclusive(|byte| *byte == b'\n').map(line).collect()
}

/// Bytes that are no text among them, of many lengths.
pub fn body(n: usize) -> Bytes {
    (0..n * 37 % 2000).map(|at| (at * at + n) as u8).collect()
}

/// The bytes of raw data.
pub fn bytes(data: &Value) -> Option<Bytes> {
    let decode = |text| STANDARD.decode(text).expect("raw data are base64").into();
    data.as_str().map(decode)
}

/// What a record of the source says has happened. Its position, and what else such records have, must be there.
pub fn event(record: &Value) -> Event {
    let key = bytes(&record["key"]).unwrap_or_else(|| panic!("no key: {record}"));
    let key = String::from_utf8(key.to_vec()).expect("keys of S3 are text");
    assert!(!bytes(&record["position"]).expect("a position").is_empty(), "{record}");
    assert!(record["payload"]["before"].is_null(), "{record}");
    assert!(record["metadata"]["opencdc.readAt"].is_string(), "{record}");
    (record["operation"].as_str().unwrap_or_default().to_owned(), key, bytes(&record["payload"]["after"]))
}

/// What records of the source say has happened.
pub fn events(records: &[Value]) -> Vec<Event> {
    records.iter().map(event).collect()
}

/// Short forms of events, for failures.
fn shown(events: &[Event]) -> Vec<String> {
    let shown = |(operation, key, body): &Event| format!("{operation} {key:?} {:?}", body.as_ref().map(Bytes::len));
    events.iter().map(shown).collect()
}

/// Fails unless exactly these events have come, each once, and those of one key in order.
#[track_caller]
pub fn exactly(found: &[Event], expected: &[Event]) {
    let by_key = |events: &[Event]| {
        let mut sorted = events.to_vec();
        sorted.sort_by(|a, b| a.1.cmp(&b.1));
        sorted
    };
    let (found, expected) = (by_key(found), by_key(expected));
    assert!(found == expected, "found {:#?}\nexpected {:#?}", shown(&found), shown(&expected));
}

/// Fails unless exactly these events have come, each once or, where something was killed, again. Returns how many came again.
#[track_caller]
pub fn at_least_once(found: &[Event], expected: &[Event]) -> usize {
    let mut seen = BTreeSet::new();
    let distinct: Vec<_> = found.iter().filter(|event| seen.insert(*event)).cloned().collect();
    exactly(&distinct, expected);
    found.len() - distinct.len()
}

/// Whether there are this many different events.
pub fn has(found: &[Value], count: usize) -> bool {
    events(found).into_iter().collect::<BTreeSet<_>>().len() >= count
}

/// Files in a folder.
pub fn entries(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
