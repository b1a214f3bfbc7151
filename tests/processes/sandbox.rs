//! What each test works with: a server with two buckets, a folder, and the command pointed at both.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use embedded_s3::{EmbeddedS3, Options, Versioning};
use s3_connector::record::{Change, Data, Operation, json};
use s3_connector_host::state::{self, FileState, StateStore as _};
use s3_connector_tests::parquet;
use s3_connector_tests::process::{Invocation, Record};
pub use s3_connector_tests::world::{key, payload};
use tempfile::TempDir;

/// The bucket that sources read; it keeps versions.
pub const PHOTOS: &str = "photos";
/// The bucket that destinations write to; it keeps versions, so that nothing is overwritten unseen.
pub const LAKE: &str = "lake";

/// A server and a folder, which end with the test.
pub struct Sandbox {
    pub server: EmbeddedS3,
    folder: TempDir,
}

impl Sandbox {
    pub async fn new() -> Self {
        Self::with(Options::default()).await
    }

    pub async fn with(options: Options) -> Self {
        let server = EmbeddedS3::start(options).await.unwrap();
        for bucket in [PHOTOS, LAKE] {
            server.store().create_bucket(bucket).unwrap();
            server.store().set_versioning(bucket, Versioning::Enabled).unwrap();
        }
        let folder = TempDir::new().unwrap();
        Self { server, folder }
    }

    /// A place in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn text_path(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Writes a file into the folder; returns its path.
    pub fn file(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        std::fs::write(self.path(name), text).unwrap();
        self.text_path(name)
    }

    /// Stores this many objects, `0000` and on.
    pub fn fill(&self, count: usize) {
        for n in 0..count {
            self.put(&format!("{n:04}"), &format!("content of {n}"));
        }
    }

    pub fn put(&self, key: &str, text: &str) {
        self.server.store().put(PHOTOS, key, text.to_owned()).unwrap();
    }

    /// The command, pointed at the server.
    pub fn command(&self, arguments: &[&str]) -> Invocation {
        Invocation::new(arguments).at(&self.server).within(self.folder.path())
    }

    /// `source` on the bucket, which polls often.
    pub fn source(&self) -> Invocation {
        self.command(&["source"]).set("aws.bucket", PHOTOS).set("pollingPeriod", "20ms")
    }

    /// `source` with its state in the folder's `state`.
    pub fn source_with_state(&self) -> Invocation {
        self.source().args(&["--state", &self.text_path("state")])
    }

    /// What a source with state still prints until it has caught up.
    pub async fn rest(&self) -> Vec<Record> {
        let source = self.source_with_state().args(&["--until-caught-up"]);
        source.run().await.well().records()
    }

    /// `destination` on the other bucket, in batches of this many records and not by time.
    pub fn destination(&self, format: &str, records: usize) -> Invocation {
        self.command(&["destination"])
            .set("aws.bucket", LAKE)
            .set("format", format)
            .set("bufferSize", &records.to_string())
            .set("bufferDelay", "1h")
    }

    /// The records of each object in the other bucket, in the order of keys.
    pub fn batches(&self) -> Vec<Vec<Record>> {
        let objects = self.server.store().objects(LAKE).unwrap();
        let batch = |key: &str, body: &Bytes| match key.ends_with(".parquet") {
            true => parquet::read(body).unwrap_or_else(|error| panic!("{key}: {error}")),
            false => decode_lines(body),
        };
        objects.iter().map(|object| batch(&object.key, &object.body)).collect()
    }

    /// All records in the other bucket, by position.
    pub fn stored(&self) -> Vec<Record> {
        let mut stored = self.batches().concat();
        stored.sort_by(|a, b| a.position.cmp(&b.position));
        stored
    }

    /// The position in a folder of state, which must be readable and free.
    pub fn position(&self, folder: &str) -> Option<Vec<u8>> {
        position_in(&self.path(folder)).unwrap()
    }

    /// The same of a copy of the state: what is there is left to the next process as a killed one left it, and may be
    /// in use, which may make the copy unreadable.
    pub fn peek(&self, folder: &str) -> Result<Option<Vec<u8>>, state::Error> {
        let copy = tempfile::tempdir().unwrap();
        let name = "state.redb";
        match std::fs::copy(self.path(folder).join(name), copy.path().join(name)) {
            Ok(_) => position_in(copy.path()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => panic!("{error}"),
        }
    }
}

fn position_in(folder: &Path) -> Result<Option<Vec<u8>>, state::Error> {
    let state = FileState::open(folder)?;
    for name in state.names()? {
        state.load(&name)?;
    }
    state.load_position()
}

/// The records of whole lines.
pub fn decode_lines(lines: &[u8]) -> Vec<Record> {
    let decode =
        |line| json::decode_line(line).unwrap_or_else(|error| panic!("{error}: {:?}", String::from_utf8_lossy(line)));
    lines.split_inclusive(|byte| *byte == b'\n').map(decode).collect()
}

/// Lines as the destination takes them.
pub fn encode_lines(records: &[Record]) -> Vec<u8> {
    let mut lines = Vec::new();
    for record in records {
        json::encode_line(record, &mut lines);
    }
    lines
}

/// The keys of records.
pub fn keys(records: &[Record]) -> Vec<String> {
    records.iter().map(key).collect()
}

/// `0000` and on.
pub fn numbered(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("{n:04}")).collect()
}

/// Records for a destination; their positions are in order, as text too.
pub fn records(range: std::ops::Range<usize>) -> Vec<Record> {
    let record = |n: usize| Record {
        position: Bytes::from(format!("position {n:06}")),
        operation: Operation::Create,
        metadata: [("opencdc.collection".to_owned(), "made up".to_owned())].into(),
        key: Some(Data::Raw(Bytes::from(format!("{n:04}")))),
        payload: Change {
            before: None,
            // Bytes that are no text among them.
            after: Some(Data::Raw(Bytes::from(vec![n as u8; n % 300]))),
        },
    };
    range.map(record).collect()
}
