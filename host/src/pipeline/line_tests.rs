//! Ends of lines and files, through whole pipelines and by themselves.

use std::collections::VecDeque;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use wasmtime_wasi::p2::{InputStream, Pollable, StreamError, StreamResult};

use super::*;
use crate::record::{Body, Change, Data, Operation, Record};

fn line(number: u64) -> String {
    let text =
        format!("{{\"position\":\"{}\",\"operation\":\"create\",\"metadata\":{{}},\"key\":null,", base64(number));
    format!("{text}\"payload\":{{\"before\":null,\"after\":{{\"n\":{number}}}}}}}\n")
}

fn base64(number: u64) -> String {
    let mut text = Vec::new();
    crate::record::json::encode_base64(number.to_string().as_bytes(), &mut text);
    String::from_utf8(text).unwrap()
}

async fn copy(input: impl Input, path: &Path) -> Result<Summary> {
    let options = Options { until_caught_up: true, ..Options::default() };
    Pipeline::new(input, FileOutput::new(path), options).run(CancellationToken::new()).await
}

#[tokio::test]
async fn lines_come_out_as_they_went_in() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.jsonl");
    let text: String = (1..=2500).map(line).collect();
    let (mut sender, receiver) = duplex(1000);
    let sent = text.clone();
    let sending = tokio::spawn(async move { sender.write_all(sent.as_bytes()).await });
    let summary = copy(JsonLinesInput::new(receiver), &path).await.unwrap();
    sending.await.unwrap().unwrap();
    assert_eq!((summary.ended, summary.counts.acked), (Ended::InputEnded, 2500));
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test]
async fn a_bad_line_is_named_by_its_number_after_all_before_it_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.jsonl");
    let text = format!("{}\n  \n{}{{\"operation\":\"drop\"}}\n{}", line(1), line(2), line(3));
    let text: &'static [u8] = text.into_bytes().leak();
    let error = copy(JsonLinesInput::new(text), &path).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().starts_with("line 5: unknown operation"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}{}", line(1), line(2)));
}

/// What comes of a text, and where its lines are put.
async fn copy_text(text: &[u8], is_lenient: bool) -> (Result<Summary>, String, u64) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.jsonl");
    let text: &'static [u8] = text.to_vec().leak();
    let mut input = JsonLinesInput::new(text);
    let ignored = is_lenient.then(|| input.lenient());
    let done = copy(input, &path).await;
    let ignored = ignored.map_or(0, |ignored| ignored.fields());
    (done, fs::read_to_string(&path).unwrap(), ignored)
}

#[tokio::test]
async fn a_byte_order_mark_is_ignored() {
    let mark = "\u{feff}";
    for text in [
        format!("{mark}{}{}", line(1), line(2)),
        format!("{mark}\n{}{}", line(1), line(2)),
        format!("{mark}{}{mark}{}", line(1), line(2)),
        format!("{}{}{mark}", line(1), line(2)),
    ] {
        let (done, written, _) = copy_text(text.as_bytes(), false).await;
        assert_eq!(done.unwrap().counts.acked, 2);
        assert_eq!(written, format!("{}{}", line(1), line(2)));
    }
}

#[tokio::test]
async fn an_unknown_field_ends_the_input_with_its_line_or_is_ignored_and_counted() {
    let strange = "{\"operation\":\"create\",\"after\":{},\"ts\":1}\n";
    let text = format!("{}{strange}{}{strange}", line(1), line(2));
    let (done, written, _) = copy_text(text.as_bytes(), false).await;
    let error = done.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let expected = "line 2: unknown field `after`; did you mean `payload.after`? (`--lenient` ignores such fields)";
    assert_eq!(error.message(), expected);
    assert_eq!(written, line(1));
    let (done, written, ignored) = copy_text(text.as_bytes(), true).await;
    assert_eq!(done.unwrap().counts.acked, 4);
    assert_eq!((written.lines().count(), ignored), (4, 4));
}

#[tokio::test]
async fn the_last_line_needs_no_newline() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.jsonl");
    let text = format!("{}{}", line(1), line(2).trim_end());
    let text: &'static [u8] = text.into_bytes().leak();
    copy(JsonLinesInput::new(text), &path).await.unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}{}", line(1), line(2)));
}

#[tokio::test]
async fn a_file_is_read_line_by_line_and_resumed_at_an_offset() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.txt");
    fs::write(&path, "one\n\nthree\nfo").unwrap();
    let mut input = FileInput::new(&path, false);
    input.open(None).await.unwrap();
    let records = input.read(1000, Duration::ZERO).await.unwrap().unwrap();
    let text = |data: &Option<Data>| match data {
        Some(Data::Raw(bytes)) => String::from_utf8(bytes.to_vec()).unwrap(),
        _ => panic!("it is raw"),
    };
    let offset = |record: &Record| {
        let position = String::from_utf8(record.position.to_vec()).unwrap();
        position.split('~').next().unwrap().to_owned()
    };
    let seen: Vec<_> =
        records.iter().map(|record| (text(&record.key), text(&record.payload.after), offset(record))).collect();
    let expected =
        |key: &str, line: &str, position: &'static str| (key.to_owned(), line.to_owned(), position.to_owned());
    assert_eq!(seen, [expected("1", "one", "4"), expected("2", "", "5"), expected("3", "three", "11")]);
    assert_eq!(records[0].metadata["file.path"], path.to_str().unwrap());
    // The fourth line is not there before its end is.
    assert!(!input.progress().await.unwrap().caught_up);

    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    std::io::Write::write_all(&mut file, b"ur\nfive").unwrap();
    let mut input = FileInput::new(&path, true);
    input.open(Some(b"11")).await.unwrap();
    let records = input.read(1000, Duration::ZERO).await.unwrap().unwrap();
    let seen: Vec<_> = records.iter().map(|r| (text(&r.key), text(&r.payload.after))).collect();
    assert_eq!(seen, [("4".to_owned(), "four".to_owned()), ("5".to_owned(), "five".to_owned())]);
    assert!(input.read(1, Duration::ZERO).await.unwrap().unwrap().is_empty());
    assert!(input.progress().await.unwrap().caught_up);
}

#[tokio::test]
async fn a_position_that_is_not_in_the_file_is_corrupt() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in.txt");
    fs::write(&path, "one\n").unwrap();
    for position in [&b"x"[..], b"-1", b"4~0", b"\xff"] {
        let error = FileInput::new(&path, false).open(Some(position)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }
    let error = FileInput::new(folder.path().join("none"), false).open(None).await.unwrap_err();
    assert!(error.message().contains("No such file"), "{error}");
}

#[tokio::test]
async fn a_torn_line_is_cut_off_and_a_foreign_one_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.jsonl");
    for (before, after) in [
        (format!("{}{{\"position\":\"MQ=", line(1)), line(1)),
        (format!("{}{{\"po", line(1)), line(1)),
        ("# by hand".to_owned(), "# by hand\n".to_owned()),
        (line(1), line(1)),
        (String::new(), String::new()),
    ] {
        fs::write(&path, &before).unwrap();
        FileOutput::new(&path).open().await.unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), after, "{before}");
    }
}

/// A body that comes in these pieces, the last of which may be a failure.
struct Pieces(VecDeque<Result<Bytes, String>>);

#[wasmtime_wasi::async_trait]
impl Pollable for Pieces {
    async fn ready(&mut self) {}
}

#[wasmtime_wasi::async_trait]
impl InputStream for Pieces {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        match self.0.pop_front() {
            None => Err(StreamError::Closed),
            Some(Ok(piece)) => {
                assert!(piece.len() <= size);
                Ok(piece)
            }
            Some(Err(why)) => Err(StreamError::LastOperationFailed(wasmtime::format_err!("{why}"))),
        }
    }
}

fn body(pieces: impl IntoIterator<Item = Result<Bytes, String>>) -> Body {
    Body::from_stream(Box::new(Pieces(pieces.into_iter().collect())))
}

fn with_body(length: Option<u64>, body: Body) -> Record {
    Record {
        position: Bytes::from_static(b"1"),
        operation: Operation::Create,
        metadata: Default::default(),
        key: None,
        payload: Change { before: None, after: Some(Data::Body { length, bytes: body }) },
    }
}

#[tokio::test]
async fn a_body_in_pieces_is_the_same_base64_as_in_one() {
    let bytes: Vec<u8> = (0..10_000_u32).map(|n| (n % 251) as u8).collect();
    for piece in [1, 2, 3, 4, 5, 7, 4096] {
        let pieces = bytes.chunks(piece).map(|piece| Ok(Bytes::copy_from_slice(piece)));
        let (sender, mut receiver) = duplex(1 << 20);
        let mut output = JsonLinesOutput::new(sender);
        let acks = output.write(vec![with_body(None, body(pieces))]).await.unwrap();
        assert_eq!(acks.len(), 1);
        drop(output);
        let mut text = Vec::new();
        receiver.read_to_end(&mut text).await.unwrap();
        let record = crate::record::json::decode_line(&text).unwrap();
        let Some(s3_connector::record::Data::Raw(read)) = record.payload.after else { panic!("it is raw") };
        assert_eq!(read, bytes, "in pieces of {piece}");
    }
}

#[tokio::test]
async fn what_can_t_be_a_line_is_refused_and_the_lines_around_it_are_written() {
    let small = || body([Ok(Bytes::from(vec![b'x'; 1 << 20]))]);
    let before = |length| {
        let mut record = with_body(Some(3), body([Ok(Bytes::from_static(b"abc"))]));
        record.payload.before = Some(Data::Body { length, bytes: small() });
        record
    };
    let mut key = before(Some(1 << 20));
    key.key = Some(Data::Body { length: Some(1), bytes: body([]) });
    let structured = |text: &str| {
        let mut record = before(Some(1 << 20));
        record.key = Some(Data::Structured(text.to_owned()));
        record
    };
    let records = vec![
        structured("{\"a\":1}"),
        structured("{\"a\":1}}\u{1b}[2J"),
        key,
        before(Some((1 << 20) + 1)),
        before(None),
        before(Some(1 << 20)),
    ];
    let (sender, mut receiver) = duplex(8 << 20);
    let mut output = JsonLinesOutput::new(sender);
    let acks = output.write(records).await.unwrap();
    drop(output);
    let why: Vec<_> = acks.iter().map(|ack| ack.error.as_ref().map_or("", Error::message)).collect();
    assert_eq!(why.len(), 6);
    assert!(why[0].is_empty() && why[5].is_empty(), "{why:?}");
    assert!(why[1].contains("not a JSON object"), "{why:?}");
    assert!(why[2].contains("the key is a stream"), "{why:?}");
    assert!(why[3].contains("too large for a line; bytes_max=`1048576`"), "{why:?}");
    assert_eq!(why[3], why[4]);
    let mut text = String::new();
    receiver.read_to_string(&mut text).await.unwrap();
    assert_eq!(text.lines().count(), 2);
    for line in text.lines() {
        let record = crate::record::json::decode_line(line.as_bytes()).unwrap();
        let before = record.payload.before.unwrap();
        assert_eq!(before.length(), Some(1 << 20));
    }
}

#[tokio::test]
async fn a_body_that_breaks_leaves_no_line_that_looks_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.jsonl");
    let large = Bytes::from(vec![b'x'; 600_000]);
    let broken = || body([Ok(large.clone()), Ok(large.clone()), Err("reset".to_owned())]);
    let whole = || with_body(Some(3), body([Ok(Bytes::from_static(b"abc"))]));

    // A file is truncated to its last whole line; the record before the torn one is acked.
    let mut output = FileOutput::new(&path);
    output.open().await.unwrap();
    let mut torn = with_body(Some(2_000_000), broken());
    torn.key = Some(Data::Raw(Bytes::from("photo\u{9b}")));
    let acks = output.write(vec![whole(), torn]).await.unwrap();
    assert_eq!(acks.len(), 1);
    let error = output.write(Vec::new()).await.unwrap_err();
    assert!(error.message().contains("reset"), "{error}");
    assert!(error.message().contains("record `photo\\u{9b}`"), "it names the record: {error}");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.ends_with("\"after\":\"YWJj\"}}\n") && text.lines().count() == 1, "{text}");

    // A pipe can't be; what is in it is no line.
    let (sender, mut receiver) = duplex(8 << 20);
    let mut output = JsonLinesOutput::new(sender);
    assert!(output.write(vec![with_body(None, broken())]).await.is_err());
    drop(output);
    let mut text = Vec::new();
    receiver.read_to_end(&mut text).await.unwrap();
    assert!(!text.is_empty() && !text.contains(&b'\n'));
    assert!(crate::record::json::decode_line(&text).is_err());
}

#[tokio::test]
async fn a_reader_that_is_gone_is_distinguished_from_other_failures() {
    let (sender, receiver) = duplex(16);
    drop(receiver);
    let mut output = JsonLinesOutput::new(sender);
    let is_gone = output.is_reader_gone();
    let record = with_body(Some(1), body([Ok(Bytes::from_static(b"a"))]));
    assert!(output.write(vec![record]).await.is_err());
    assert!(is_gone.load(std::sync::atomic::Ordering::Relaxed));
}
