//! Owns what must hold of a store's documents: no text grows out of a document, how it comes in pieces changes nothing, and an
//! error has a kind and a line.

use s3_connector::config::SourceConfig;
use s3_connector::ports::{Level, Request};
use s3_connector::s3::{Client, ErrorDocument, ListStart, xml};
use s3_connector::testing::{Reply, TestPorts};

use crate::novelty::note;

pub(super) const WORDS: &[&str] = &[
    "<Contents>",
    "</Contents>",
    "<Key>",
    "</Key>",
    "<Version>",
    "</Version>",
    "<DeleteMarker>",
    "</DeleteMarker>",
    "<IsTruncated>true</IsTruncated>",
    "<NextContinuationToken>t</NextContinuationToken>",
    "<NextKeyMarker>k</NextKeyMarker>",
    "<EncodingType>url</EncodingType>",
    "<Size>0</Size>",
    "<LastModified>2026-01-01T00:00:00Z</LastModified>",
    "<ETag>\"a\"</ETag>",
    "&amp;",
    "&#0;",
    "&#x10ffff;",
    "&x;",
    "<![CDATA[",
    "]]>",
    "<!--",
    "-->",
    "<!DOCTYPE x [<!ENTITY x \"xxxxxxxxxxxxxxxxxxxxxxxx\">]>",
    "<?xml version=\"1.0\"?>",
    "<ListBucketResult>",
    "</ListBucketResult>",
    "<ListVersionsResult>",
    "<VersionId>null</VersionId>",
    "<IsLatest>true</IsLatest>",
    "<Error><Code>SlowDown</Code></Error>",
    "xmlns:a=\"b\"",
    "<a:Key>",
    "%",
    "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
];

pub(super) fn run(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let mut bytes = 0;
        for root in ["ListBucketResult", "ListVersionsResult", "Error"] {
            let seen = xml::visit(text, root, |path, node| {
                if let xml::Node::Leaf(leaf) = node {
                    bytes += leaf.len();
                    note(path.last().unwrap_or(&""));
                }
                Ok(())
            });
            if let Err(why) = seen {
                note(&why.to_string());
            }
        }
        // Nothing that a document declares is expanded: an escape is longer than what it stands for.
        assert!(bytes <= data.len(), "{bytes} bytes of text come out of {} of XML", data.len());
    }
    if let Some(error) = ErrorDocument::read(data) {
        note("an error");
        assert!(error.code.len() + error.message.len() <= data.len());
    }
    let whole = ask(data, data.len().max(1));
    assert_eq!(whole, ask(data, 7), "pieces make a difference");
}

/// What a client makes of the document, as the answer to each request that a document answers.
fn ask(data: &[u8], piece: usize) -> Vec<String> {
    let settings = [("aws.bucket", "photos"), ("aws.region", "us-east-1"), ("aws.endpoint", "http://store:9000")];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let config = SourceConfig::parse(&settings).expect("the settings are good");
    let ports = TestPorts::new(1);
    let answer = data.to_vec();
    ports.serve(move |_: &Request| {
        let pieces: Vec<_> = answer.chunks(piece).collect();
        Reply::status(200).header("date", "Sun, 06 Nov 1994 08:49:37 GMT").body(&pieces)
    });
    let client = Client::new(ports.clone(), config.bucket);
    let mut said = Vec::new();
    ports.block_on(async {
        match client.list_objects_v2("", &ListStart::First, 1000).await {
            Ok(page) => {
                note(if page.next.is_some() { "objects and a next page" } else { "objects" });
                said.push(format!("{:?} {:?}", page.entries, page.next));
            }
            Err(error) => said.push(error.to_string()),
        }
        match client.list_object_versions("", None).await {
            Ok(page) => {
                note(if page.next.is_some() { "versions and a next page" } else { "versions" });
                said.push(format!("{:?} {:?}", page.entries, page.next));
            }
            Err(error) => said.push(error.to_string()),
        }
        match client.get_bucket_versioning().await {
            Ok(versioning) => said.push(format!("{versioning:?}")),
            Err(error) => said.push(error.to_string()),
        }
    });
    said.extend(ports.lines(Level::Warn));
    assert!(
        said.iter().all(|line| !line.is_empty())
            && said.iter().map(String::len).sum::<usize>() < 64 * (data.len() + 1024)
    );
    assert!(ports.requests().len() < 100);
    said
}
