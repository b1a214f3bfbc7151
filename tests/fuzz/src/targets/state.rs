//! Owns what must hold of a source whose saved values were changed: it refuses them as corrupt, or goes on and comes to an end;
//! unchanged ones tell nothing twice.

use std::collections::BTreeMap;
use std::time::Duration;

use s3_connector::error::{Error, ErrorKind};
use s3_connector::ports::{Edit, Method, Request, State as _};
use s3_connector::source::Source;
use s3_connector::testing::{Reply, START, TestPorts};

use crate::novelty::note;

/// Calls of `read` after which a source does not end.
const READS_MAX: usize = 2000;

/// A source's saved values after a snapshot and a poll, and its last position.
struct Template {
    saved: BTreeMap<String, Vec<u8>>,
    position: Vec<u8>,
}

thread_local! {
    static TEMPLATE: Template = Template::make();
}

/// A bucket of versions: some keys, one of which has two.
fn answer(request: &Request, round: u32) -> Reply {
    let query = request.path_with_query.split_once('?').map_or("", |(_, query)| query);
    let is_object =
        request.method == Method::Head || !(query.starts_with("versions") || query.starts_with("list-type"));
    if is_object {
        let wanted = request.headers.iter().find(|(name, _)| *name == "if-match");
        let reply =
            Reply::status(200).header("content-length", "0").header("etag", wanted.map_or("\"1\"", |(_, etag)| etag));
        return match query.split_once("versionId=") {
            Some((_, id)) if id != "null" => reply.header("x-amz-version-id", id),
            _ => reply,
        };
    }
    let prefix = query.split('&').find_map(|pair| pair.strip_prefix("prefix=")).unwrap_or_default();
    let (root, element) = if query.starts_with("versions") {
        ("ListVersionsResult", "Version")
    } else {
        ("ListBucketResult", "Contents")
    };
    let mut document = format!("<{root}>");
    let time = START.before(Duration::from_secs(7200)).to_rfc3339();
    for key in (0..20).map(|number| format!("key-{number:02}")).filter(|key| key.starts_with(prefix)) {
        let version = if key == "key-03" { round } else { 1 };
        document.push_str(&format!(
            "<{element}><Key>{key}</Key><ETag>\"{version}\"</ETag><LastModified>{time}</LastModified><Size>0</Size><IsLatest>true</IsLatest>\
             <VersionId>v{version}</VersionId></{element}>"
        ));
    }
    document.push_str(&format!("</{root}>"));
    Reply::status(200).body(&[document.as_bytes()])
}

fn ports(round: u32) -> TestPorts {
    let ports = TestPorts::new(5);
    ports.serve(move |request| answer(request, round));
    ports
}

/// Reads until there is nothing new; how many records there were.
fn read(ports: &TestPorts, position: Option<&[u8]>) -> Result<(usize, Vec<u8>), Error> {
    let settings = [
        ("aws.bucket", "photos"),
        ("aws.region", "us-east-1"),
        ("aws.endpoint", "http://store:9000"),
        ("pollingPeriod", "1s"),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let mut source = Source::configure(ports.clone(), &settings).expect("good settings");
    ports.block_on(source.open(position))?;
    let (mut count, mut last) = (0, position.unwrap_or_default().to_vec());
    for _ in 0..READS_MAX {
        if source.progress().is_caught_up {
            source.teardown();
            return Ok((count, last));
        }
        let records = ports.block_on(source.read(1000, u64::MAX, Duration::from_secs(1)))?;
        count += records.len();
        if let Some(record) = records.last() {
            last = record.position.to_vec();
            source.ack(&last)?;
        }
    }
    panic!("it never catches up; records: {count}");
}

impl Template {
    fn make() -> Self {
        let first = ports(1);
        let (count, position) = read(&first, None).expect("a snapshot");
        assert_eq!(count, 20);
        let second = ports(2);
        Self::fill(&second, &first.saved());
        let (count, position) = read(&second, Some(&position)).expect("a poll");
        assert!(count > 0, "a change is told");
        Self { saved: second.saved(), position }
    }

    fn fill(ports: &TestPorts, saved: &BTreeMap<String, Vec<u8>>) {
        for (name, value) in saved {
            ports.commit(vec![Edit { name: name.clone(), value: Some(value.clone()) }]).expect("it is small");
        }
    }
}

/// Replaces a value: the first byte says which, the second whether the position goes with it.
pub(super) fn run(data: &[u8]) {
    let Some(([which, flags], value)) = data.split_first_chunk() else { return };
    TEMPLATE.with(|template| {
        let mut saved = template.saved.clone();
        let (name, before) =
            saved.iter_mut().nth(usize::from(*which) % template.saved.len()).expect("there are values");
        let is_same = before.as_slice() == value;
        let name = name.clone();
        if flags & 2 == 0 {
            value.clone_into(before);
        } else {
            saved.remove(&name);
        }
        let ports = ports(2);
        Template::fill(&ports, &saved);
        match read(&ports, (flags & 1 == 0).then_some(&template.position)) {
            Ok((count, _)) => {
                note(&format!("{name}: goes on"));
                assert!(!(is_same && flags & 3 == 0) || count == 0, "{count} records are told again");
                // Each version is told at most once more, and so is each key that nobody else has.
                assert!(count <= 100_000, "{count} records of 21 versions");
            }
            Err(error) => {
                assert!(!is_same || flags & 2 != 0, "{error}");
                assert_eq!(error.kind, ErrorKind::Corrupt, "{error}");
                note(&format!("{name}: {}", error.message));
            }
        }
        assert!(ports.requests().len() < 10_000);
    });
}

/// Each value as it was saved.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    TEMPLATE.with(|template| {
        let of = |(at, value): (usize, &Vec<u8>)| [&[at as u8, 0][..], value].concat();
        template.saved.values().enumerate().map(of).collect()
    })
}
