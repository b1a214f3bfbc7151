//! Tests of rows that can't be read: what is delivered in their place, counted and logged. Leaves rows that can be to `rows` and
//! to the conformance cases.

use super::*;
use crate::testing::zigzag as number;

/// An Avro file of blocks, each with its rows and their bytes, of lists as deep as they want to be.
fn lists(blocks: &[(i64, &[u8])]) -> Vec<u8> {
    let schema = r#"{"type":"record","name":"n","fields":[{"name":"next","type":["null","n"]}]}"#;
    let (name, sync) = ("avro.schema", [7; 16]);
    let mut file = [b"Obj\x01", &number(1)[..]].concat();
    for text in [name, schema] {
        file.extend([&number(text.len() as i64), text.as_bytes()].concat());
    }
    file.extend([&number(0), &sync[..]].concat());
    for (rows, data) in blocks {
        file.extend([&number(*rows), &number(data.len() as i64), *data, &sync].concat());
    }
    file
}

/// A source of one object, `a.avro`.
fn reading(ports: &TestPorts, file: Vec<u8>, on_bad_row: &str, position: Option<&[u8]>) -> Fixture {
    let size = file.len();
    ports.serve(move |request| match asked(request) {
        Asked::Head => Reply::status(404),
        Asked::Object => {
            let range = request.headers.iter().find(|(name, _)| *name == "range");
            let range = range.and_then(|(_, range)| range.strip_prefix("bytes="));
            let first = range.and_then(|range| range.split('-').next()?.parse().ok()).unwrap_or(0);
            let reply = Reply::status(if range.is_some() { 206 } else { 200 }).header("etag", "\"1\"");
            let reply = reply.header("content-length", &(size - first).to_string());
            let reply = reply.header("content-range", &format!("bytes {first}-{}/{size}", size - 1));
            reply.body(&[&file[first..]])
        }
        listing => {
            let (Asked::Versions, time) = (listing, START.before(HOUR).to_rfc3339()) else {
                return page(listing, &[], "");
            };
            let entry = format!(
                "<Version><Key>a.avro</Key><ETag>1</ETag><LastModified>{time}</LastModified><Size>{size}</Size>\
                 <IsLatest>true</IsLatest></Version>"
            );
            page(listing, &[], &entry)
        }
    });
    Fixture::go_on(ports, &[("decode", "auto"), ("onBadRow", on_bad_row)], position).expect("opens")
}

/// All records: the row's number, its payload, and why it has another one than it should.
fn read(fixture: &mut Fixture) -> Vec<(String, Vec<u8>, Option<String>, Bytes)> {
    let mut all = Vec::new();
    while !fixture.source.progress().is_caught_up {
        for record in fixture.read().expect("reads") {
            let payload = match &record.payload.after {
                Some(Data::Raw(bytes)) => bytes.to_vec(),
                Some(Data::Structured(text)) => text.clone().into_bytes(),
                _ => panic!("a row is in memory"),
            };
            let metadata = |name: &str| record.metadata.get(name).cloned();
            all.push((metadata("s3.row").expect("a row"), payload, metadata("s3.rowError"), record.position.clone()));
        }
    }
    all
}

#[test]
fn a_row_that_is_too_deep_costs_itself_alone() {
    let deep = [vec![2; 100], vec![0]].concat();
    let data = [&[0, 0][..], &deep, &[0; 1001]].concat();
    let ports = TestPorts::new(5);
    let mut fixture = reading(&ports, lists(&[(1004, &data)]), "skip", None);
    let rows = read(&mut fixture);
    assert_eq!(rows.len(), 1003);
    assert_eq!(rows[2].0, "4");
    assert_eq!(fixture.source.progress().counts.skipped, 1);
    assert_eq!(fixture.warning(), "skipped: row 3: it is more than 64 levels deep; key=`a.avro`");
    let rows = read(&mut reading(&TestPorts::new(5), lists(&[(1004, &data)]), "raw", None));
    assert_eq!(rows.len(), 1004);
    assert_eq!(rows[2].1, deep);
    assert_eq!(rows[2].2.as_deref(), Some("it is more than 64 levels deep"));
}

#[test]
fn rows_that_go_with_one_without_an_end_are_counted_and_named() {
    let file = || lists(&[(1, &[0]), (1000, &[0, 4, 0, 0]), (2, &[0, 0])]);
    let ports = TestPorts::new(5);
    let mut fixture = reading(&ports, file(), "skip", None);
    let rows = read(&mut fixture);
    assert_eq!(rows.iter().map(|row| &*row.0).collect::<Vec<_>>(), ["1", "2", "1002", "1003"]);
    assert_eq!(fixture.source.progress().counts.skipped, 999);
    let line = "rows 3 to 1001 can't be read: it has a branch that its union lacks";
    assert_eq!(fixture.warning(), format!("skipped: {line}; key=`a.avro`"));
    let ports = TestPorts::new(5);
    let rows = read(&mut reading(&ports, file(), "raw", None));
    assert_eq!(rows.iter().map(|row| &*row.0).collect::<Vec<_>>(), ["1", "2", "3", "1002", "1003"]);
    assert_eq!((&rows[2].1[..], rows[2].2.as_deref()), (&[4, 0, 0][..], Some(line)));
    // After any row, the next one follows.
    for (at, row) in rows.iter().enumerate().take(4) {
        let rest = read(&mut reading(&ports, file(), "raw", Some(&row.3)));
        assert_eq!(
            rest.iter().map(|row| &row.0).collect::<Vec<_>>(),
            rows[at + 1..].iter().map(|row| &row.0).collect::<Vec<_>>()
        );
    }
}
