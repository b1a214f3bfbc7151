//! Files that are renamed, truncated or rewritten while a `FileInput` reads them, or between two of them.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::record::{Data, Record};

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("log")
    }

    fn write(&self, text: &str) {
        fs::write(self.path(), text).unwrap();
    }

    fn append_to(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        let mut file = OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn rename(&self) {
        fs::rename(self.path(), self.0.path().join("log.1")).unwrap();
    }
}

async fn open(path: &Path, position: Option<&[u8]>) -> FileInput {
    let mut input = FileInput::new(path, false);
    input.open(position).await.unwrap();
    input
}

fn text(record: &Record) -> String {
    match &record.payload.after {
        Some(Data::Raw(bytes)) => String::from_utf8(bytes.to_vec()).unwrap(),
        _ => panic!("it is raw"),
    }
}

/// The next lines, which must come.
async fn read(input: &mut FileInput, count: usize) -> Vec<Record> {
    let mut records = Vec::new();
    let reading = async {
        while records.len() < count {
            let wait = Duration::from_millis(100);
            records.extend(input.read(1000, wait).await.unwrap().unwrap());
        }
    };
    let patience = Duration::from_secs(30);
    tokio::time::timeout(patience, reading).await.expect("lines come");
    records
}

async fn read_texts(input: &mut FileInput, count: usize) -> Vec<String> {
    read(input, count).await.iter().map(text).collect()
}

/// What is there now, without waiting for more.
async fn rest(input: &mut FileInput) -> Vec<String> {
    let records = input.read(1000, Duration::ZERO).await.unwrap().unwrap();
    records.iter().map(text).collect()
}

#[tokio::test]
async fn a_renamed_file_is_read_to_its_end_and_then_the_new_one() {
    let folder = Folder::new();
    folder.write("one\ntwo\n");
    let mut input = open(&folder.path(), None).await;
    assert_eq!(read_texts(&mut input, 2).await, ["one", "two"]);
    folder.rename();
    assert!(rest(&mut input).await.is_empty(), "no file has the name");
    folder.append_to("log.1", "three\nhalf");
    folder.write("four\n");
    let lines = read(&mut input, 3).await;
    let texts: Vec<_> = lines.iter().map(text).collect();
    assert_eq!(texts, ["three", "half", "four"]);
    assert!(matches!(&lines[2].key, Some(Data::Raw(key)) if key == "1"), "it counts anew");
    folder.append_to("log", "five\n");
    assert_eq!(read_texts(&mut input, 1).await, ["five"]);
    // Its position leads into the new file.
    let mut input = open(&folder.path(), Some(&lines[2].position)).await;
    assert_eq!(read_texts(&mut input, 1).await, ["five"]);
}

#[tokio::test]
async fn a_run_until_caught_up_does_not_end_between_two_files() {
    let folder = Folder::new();
    folder.write("one\n");
    let mut input = open(&folder.path(), None).await;
    read(&mut input, 1).await;
    assert!(rest(&mut input).await.is_empty());
    assert!(input.progress().await.unwrap().caught_up);
    folder.rename();
    folder.write("two\n");
    assert!(rest(&mut input).await.is_empty());
    assert!(!input.progress().await.unwrap().caught_up, "there is another file");
    assert_eq!(read_texts(&mut input, 1).await, ["two"]);
    assert!(rest(&mut input).await.is_empty());
    assert!(input.progress().await.unwrap().caught_up);
}

#[tokio::test]
async fn a_truncated_file_is_read_from_its_beginning() {
    // Shorter, as long, and longer than what was read of it.
    for other in ["2\n", "2\n3\n4\n5\n", "another and longer line\n"] {
        let folder = Folder::new();
        folder.write("one\ntwo\n");
        let mut input = open(&folder.path(), None).await;
        let lines = read(&mut input, 2).await;
        assert!(rest(&mut input).await.is_empty());
        folder.write(other);
        let expected: Vec<_> = other.lines().collect();
        assert_eq!(read_texts(&mut input, expected.len()).await, expected);
        // The same between two runs.
        let mut input = open(&folder.path(), Some(&lines[1].position)).await;
        assert_eq!(read_texts(&mut input, expected.len()).await, expected);
    }
}

#[tokio::test]
async fn the_text_after_the_last_newline_of_a_truncated_file_is_a_line() {
    let folder = Folder::new();
    folder.write("one\nhalf");
    let mut input = open(&folder.path(), None).await;
    assert_eq!(read_texts(&mut input, 1).await, ["one"]);
    assert!(rest(&mut input).await.is_empty());
    folder.write("");
    assert_eq!(read_texts(&mut input, 1).await, ["half"]);
    folder.append_to("log", "two\n");
    assert_eq!(read_texts(&mut input, 1).await, ["two"]);
}

#[tokio::test]
async fn a_file_that_only_grew_is_resumed_wherever_it_was_moved() {
    let folder = Folder::new();
    let long: String = (0..500).map(|n| format!("line {n}\n")).collect();
    folder.write(&long);
    let mut input = open(&folder.path(), None).await;
    let lines = read(&mut input, 500).await;
    // As a restored backup has another inode.
    folder.rename();
    fs::copy(folder.0.path().join("log.1"), folder.path()).unwrap();
    folder.append_to("log", "more\n");
    for line in [&lines[499], &lines[3]] {
        let mut input = open(&folder.path(), Some(&line.position)).await;
        let texts = read_texts(&mut input, 1).await;
        assert!(["more", "line 4"].contains(&&*texts[0]), "{}", texts[0]);
    }
}

#[tokio::test]
async fn positions_of_earlier_versions_are_read() {
    let folder = Folder::new();
    folder.write("one\ntwo\nthree\n");
    for (position, expected) in [("0", "one"), ("4", "two"), ("8", "three"), ("99", "one")] {
        let mut input = open(&folder.path(), Some(position.as_bytes())).await;
        assert_eq!(rest(&mut input).await[0], expected, "{position}");
    }
}

#[tokio::test]
async fn a_line_that_was_read_before_its_end_came_is_read_again_as_a_whole() {
    let folder = Folder::new();
    folder.write("one\ntw");
    let until_caught_up = async |position: Option<&[u8]>| {
        let mut input = FileInput::new(folder.path(), true);
        input.open(position).await.unwrap();
        let mut records = Vec::new();
        while !input.progress().await.unwrap().caught_up {
            records.extend(input.read(1000, Duration::ZERO).await.unwrap().unwrap());
        }
        let texts: Vec<_> = records.iter().map(text).collect();
        (texts, records.last().map(|record| record.position.clone()))
    };
    let (texts, position) = until_caught_up(None).await;
    assert_eq!(texts, ["one", "tw"]);
    let (texts, _) = until_caught_up(position.as_deref()).await;
    assert!(texts.is_empty(), "nothing has changed: {texts:?}");
    folder.append_to("log", "o\nthree");
    let (texts, position) = until_caught_up(position.as_deref()).await;
    assert_eq!(texts, ["two", "three"]);
    // All that was missing was the newline.
    folder.append_to("log", "\nfour\n");
    let (texts, _) = until_caught_up(position.as_deref()).await;
    assert_eq!(texts, ["four"]);
}
