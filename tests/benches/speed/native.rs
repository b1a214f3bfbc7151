//! Owns a program that does natively what the component's destination does, with the same crates: it reads lines from stdin
//! and makes batches of them, which a store in memory takes at once. Leaves being started to `contender`.

use std::io::BufRead as _;
use std::time::Duration;

use s3_connector::config::Settings;
use s3_connector::destination::Destination;
use s3_connector::record::json::decode_line;
use s3_connector::testing::{Reply, TestPorts};

/// The argument that asks for it. The other one is the format.
pub(super) const ARGUMENT: &str = "--native";

/// Records that are written at a time.
const RECORDS: usize = 1000;

/// Stores what stdin has.
pub(super) fn run(arguments: &[String]) {
    let [format] = arguments else { panic!("a format") };
    let settings = [
        ("aws.bucket", "bench"),
        ("aws.region", "us-east-1"),
        ("aws.endpoint", "http://localhost:9000"),
        ("format", format),
    ];
    let settings: Settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let ports = TestPorts::new(1);
    ports.serve(|_| Reply::status(200));
    let mut destination = Destination::configure(ports.clone(), &settings).expect("settings are right");
    ports.block_on(destination.open()).expect("it opens");
    let mut lines = std::io::stdin().lock().lines().map(|line| line.expect("lines"));
    let mut acks = 0;
    loop {
        let records: Vec<_> = lines.by_ref().take(RECORDS).collect();
        if records.is_empty() {
            break;
        }
        let records = records.iter().map(|line| decode_line(line.as_bytes()).expect("a record").widen()).collect();
        acks += ports.block_on(destination.write(records)).expect("it takes them").len();
        ports.forget_requests();
    }
    acks += ports.block_on(destination.flush(Duration::from_secs(60))).expect("it stores them").len();
    println!("{{\"records\":{acks}}}");
}
