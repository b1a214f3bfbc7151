//! Stores that want a checksum with every write, as AWS does in buckets with Object Lock, and stores that want none.

use embedded_s3::{Checksums, Options};

use crate::sandbox::{Sandbox, encode_lines, records};

async fn sandbox(checksums: Checksums) -> Sandbox {
    Sandbox::with(Options { checksums, ..Options::default() }).await
}

#[tokio::test]
async fn a_bucket_that_wants_checksums_is_checked_and_written_to() {
    let sandbox = sandbox(Checksums::Required).await;
    let check = ["check", "--destination", "--set", "aws.bucket=lake"];
    let _ = sandbox.command(&check).set("format", "json").run().await.well();
    let lines = encode_lines(&records(0..5));
    let ended = sandbox.destination("json", 2).feed(&lines).await.well();
    let ended = ended.saying(&["5 records were stored"]);
    assert!(!ended.stderr.contains("checksum"), "{}", ended.stderr);
    assert_eq!(sandbox.stored(), records(0..5));
}

#[tokio::test]
async fn a_store_that_refuses_checksums_is_written_to_and_that_is_said_once() {
    for checksums in [Checksums::Unknown, Checksums::Invalid] {
        let sandbox = sandbox(checksums).await;
        let lines = encode_lines(&records(0..20));
        let ended = sandbox.destination("json", 2).feed(&lines).await.well();
        let ended = ended.saying(&["20 records were stored"]);
        let said = ended.stderr.matches("refuses writes with a checksum").count();
        assert_eq!(said, 1, "{checksums:?}: {}", ended.stderr);
        assert_eq!(sandbox.stored().len(), 20);
    }
}
