//! Stores that want a checksum with every write, as AWS does in buckets with Object Lock, and stores that want none.

use embedded_s3::{Checksums, Options};

use crate::site::{Site, encode_lines, records};

async fn site(checksums: Checksums) -> Site {
    Site::with(Options { checksums, ..Options::default() }).await
}

#[tokio::test]
async fn a_bucket_that_wants_checksums_is_checked_and_written_to() {
    let site = site(Checksums::Required).await;
    let check = ["check", "--destination", "--set", "aws.bucket=lake"];
    let _ = site.command(&check).set("format", "json").run().await.well();
    let lines = encode_lines(&records(0..5));
    let ended = site.destination("json", 2).feed(&lines).await.well();
    let ended = ended.saying(&["5 records were stored"]);
    assert!(!ended.stderr.contains("checksum"), "{}", ended.stderr);
    assert_eq!(site.stored(), records(0..5));
}

#[tokio::test]
async fn a_store_that_refuses_checksums_is_written_to_and_that_is_said_once() {
    for checksums in [Checksums::Unknown, Checksums::Invalid] {
        let site = site(checksums).await;
        let lines = encode_lines(&records(0..20));
        let ended = site.destination("json", 2).feed(&lines).await.well();
        let ended = ended.saying(&["20 records were stored"]);
        let said = ended.stderr.matches("refuses writes with a checksum").count();
        assert_eq!(said, 1, "{checksums:?}: {}", ended.stderr);
        assert_eq!(site.stored().len(), 20);
    }
}
