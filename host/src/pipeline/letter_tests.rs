//! Owns tests of dead letters: what they say, how many there may be, and that no ack overtakes them. Leaves files that
//! configure them to the command.

use std::sync::Mutex;

use wasmtime_wasi::p2::pipe::MemoryInputPipe;

use super::fakes::number;
use super::*;
use crate::connector::destination::Ack;
use crate::record::{self, Body, Change, Data, Operation, Record, json};
use crate::state::MemoryState;

/// Yields numbered records; with `body_bytes`, their payloads are bodies of that length.
struct Numbered {
    next: u64,
    last: u64,
    body_bytes: Option<usize>,
}

impl Numbered {
    fn to(last: u64) -> Self {
        Self { next: 1, last, body_bytes: None }
    }

    fn record(&self, number: u64) -> Record {
        let after = match self.body_bytes {
            None => Data::Raw(Bytes::from_static(b"payload")),
            Some(bytes) => Data::Body {
                length: Some(bytes as u64),
                bytes: Body::from_stream(Box::new(MemoryInputPipe::new(vec![7; bytes]))),
            },
        };
        Record {
            position: Bytes::from(number.to_string()),
            operation: Operation::Update,
            metadata: [("s3.etag".to_owned(), "\"e\"".to_owned())].into(),
            key: Some(Data::Raw(Bytes::from(format!("key {number}")))),
            payload: Change { before: None, after: Some(after) },
        }
    }
}

impl Input for Numbered {
    async fn open(&mut self, position: Option<&[u8]>) -> Result<()> {
        self.next = position.map_or(1, |position| number(position) + 1);
        Ok(())
    }

    async fn read(&mut self, _records_max: u32, wait: Duration) -> Result<Option<Vec<Record>>> {
        sleep(wait).await;
        let numbers = self.next..(self.next + 3).min(self.last + 1);
        self.next = numbers.end;
        Ok(Some(numbers.map(|number| self.record(number)).collect()))
    }

    async fn ack(&mut self, _position: &[u8]) -> Result<()> {
        Ok(())
    }

    async fn progress(&mut self) -> Result<Progress> {
        Ok(Progress { caught_up: self.next > self.last, ..Progress::default() })
    }

    async fn teardown(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Refuses some records, and stores the others.
#[derive(Clone, Default)]
struct Picky {
    refused: Vec<u64>,
    kind: Option<ErrorKind>,
    stored: Arc<Mutex<Vec<u64>>>,
}

impl Output for Picky {
    async fn open(&mut self) -> Result<()> {
        Ok(())
    }

    async fn write(&mut self, records: Vec<Record>) -> Result<Vec<Ack>> {
        let mut ack = |record: Record| {
            let number = number(&record.position);
            let is_refused = self.refused.contains(&number);
            if !is_refused {
                self.stored.lock().unwrap().push(number);
            } else if self.kind.is_some() {
                self.refused.retain(|refused| *refused != number);
            }
            let kind = self.kind.unwrap_or(ErrorKind::Invalid);
            Ack { position: record.position, error: is_refused.then(|| Error::new(kind, "it is too large")) }
        };
        Ok(records.into_iter().map(&mut ack).collect())
    }

    async fn flush(&mut self, _wait: Duration) -> Result<Vec<Ack>> {
        Ok(Vec::new())
    }

    async fn teardown(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Stores letters when it is flushed the second time; fails a given number of times before.
#[derive(Default)]
struct Letters {
    held: Vec<Record>,
    flushes: u32,
    fails: Arc<Mutex<Vec<ErrorKind>>>,
    stored: Arc<Mutex<Vec<Record>>>,
}

impl Output for Letters {
    async fn open(&mut self) -> Result<()> {
        Ok(())
    }

    async fn write(&mut self, records: Vec<Record>) -> Result<Vec<Ack>> {
        self.held.extend(records);
        Ok(Vec::new())
    }

    async fn flush(&mut self, _wait: Duration) -> Result<Vec<Ack>> {
        self.flushes += 1;
        if self.flushes % 2 == 1 {
            return Ok(Vec::new());
        }
        if let Some(kind) = self.fails.lock().unwrap().pop() {
            return Err(Error::new(kind, "the queue fails"));
        }
        let ack = |record: Record| {
            let position = record.position.clone();
            self.stored.lock().unwrap().push(record);
            Ack { position, error: None }
        };
        Ok(self.held.drain(..).map(ack).collect())
    }

    async fn teardown(&mut self) -> Result<()> {
        self.held.clear();
        Ok(())
    }
}

struct Outcome {
    done: Result<Summary>,
    kept: Option<u64>,
    count: u64,
}

async fn run(input: Numbered, output: &Picky, letters: &Letters, window: NackWindow) -> Outcome {
    let state = Arc::new(MemoryState::new());
    let options = Options { state: Some(state.clone()), until_caught_up: true, ..Options::default() };
    let letters = DeadLetters {
        output: Letters {
            fails: Arc::clone(&letters.fails),
            stored: Arc::clone(&letters.stored),
            ..Letters::default()
        },
        window,
        source_id: "in".to_owned(),
        destination_id: "out".to_owned(),
    };
    let output = WithDeadLetters::new(output.clone(), Some(letters));
    let count = output.count();
    let done = Pipeline::new(input, output, options).run(CancellationToken::new()).await;
    let kept = state.load_position().unwrap();
    Outcome {
        done,
        kept: kept.map(|position| number(&position)),
        count: count.load(std::sync::atomic::Ordering::Relaxed),
    }
}

fn refusing(refused: &[u64]) -> Picky {
    Picky { refused: refused.to_vec(), ..Picky::default() }
}

/// The record that a letter is about.
fn original(letter: &Record) -> s3_connector::record::Record<record::NoBody> {
    let Some(Data::Structured(text)) = &letter.payload.after else { panic!("a letter holds a record: {letter:?}") };
    json::decode_line(text.as_bytes()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_letter_holds_the_record_and_the_reason_and_the_pipeline_continues() {
    let (output, letters) = (refusing(&[2, 5]), Letters::default());
    let outcome = run(Numbered::to(7), &output, &letters, NackWindow::new(10, 2)).await;
    let summary = outcome.done.unwrap();
    let sent = record::collect(Numbered::to(7).record(2)).await.unwrap();
    assert_eq!((summary.counts.acked, outcome.count), (7, 2));
    assert_eq!(outcome.kept, Some(7));
    assert_eq!(*output.stored.lock().unwrap(), [1, 3, 4, 6, 7]);
    let stored = letters.stored.lock().unwrap();
    let [letter, other] = &stored[..] else { panic!("{stored:?}") };
    assert_eq!(number(&other.position), 5);
    assert_eq!(letter.operation, Operation::Create);
    for (name, value) in [
        ("conduit.dlq.nack.error", "it is too large"),
        ("conduit.dlq.nack.node.id", "out"),
        ("conduit.source.connector.id", "in"),
    ] {
        assert_eq!(letter.metadata[name], value);
    }
    assert!(letter.metadata["opencdc.createdAt"].parse::<u128>().unwrap() > 0);
    assert_eq!(original(letter), sent);
}

#[tokio::test(start_paused = true)]
async fn a_window_tolerates_as_many_refusals_as_it_says() {
    for (size, nacks_max, refused, fails_at) in [
        (10, 2, &[1, 2][..], None),
        (10, 2, &[1, 2, 3], Some(3)),
        (3, 1, &[1, 4, 7], None),
        (3, 1, &[1, 3], Some(3)),
        (2, 1, &[4, 5], Some(5)),
        // Not one is borne, and everything is.
        (1, 0, &[6], Some(6)),
        (100, 0, &[6], Some(6)),
        (0, 0, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], None),
    ] {
        let (output, letters) = (refusing(refused), Letters::default());
        let window = NackWindow::new(size, nacks_max);
        let outcome = run(Numbered::to(10), &output, &letters, window).await;
        let case = format!("{size}, {nacks_max}, {refused:?}");
        let borne = refused.iter().filter(|n| fails_at.is_none_or(|at| **n < at));
        assert_eq!(outcome.count, borne.count() as u64, "{case}");
        let Some(at) = fails_at else {
            assert!(outcome.done.is_ok(), "{case}");
            assert_eq!(outcome.kept, Some(10), "{case}");
            continue;
        };
        let error = outcome.done.unwrap_err();
        let start = format!("record {at} at position `{at}` was refused: ");
        assert!(error.message().starts_with(&start), "{case}: {error}");
        assert!(error.message().ends_with("it is too large"), "{case}: {error}");
        let is_told = error.message().contains("`window-nack-threshold`");
        assert_eq!(is_told, nacks_max > 0, "{case}: {error}");
        assert_eq!(outcome.kept, Some(at - 1), "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_fails_for_a_while_is_waited_for_and_counts_once() {
    let (output, letters) = (refusing(&[2, 3]), Letters::default());
    let kinds = [ErrorKind::Unavailable; 4];
    letters.fails.lock().unwrap().extend(kinds);
    let outcome = run(Numbered::to(6), &output, &letters, NackWindow::new(10, 2)).await;
    assert!(outcome.done.is_ok(), "{:?}", outcome.done);
    assert_eq!((outcome.count, outcome.kept), (2, Some(6)));
    let stored = letters.stored.lock().unwrap();
    let positions: Vec<u64> = stored.iter().map(|letter| number(&letter.position)).collect();
    assert_eq!(positions, [2, 3]);
}

#[tokio::test(start_paused = true)]
async fn no_ack_overtakes_a_refused_record_before_its_letter_is_stored() {
    let (output, letters) = (refusing(&[5]), Letters::default());
    letters.fails.lock().unwrap().push(ErrorKind::Denied);
    let outcome = run(Numbered::to(6), &output, &letters, NackWindow::new(10, 2)).await;
    assert_eq!(outcome.done.unwrap_err().message(), "the queue fails");
    assert_eq!((outcome.count, outcome.kept), (0, Some(3)), "what came with it comes again");
}

#[tokio::test(start_paused = true)]
async fn a_large_body_is_omitted_from_its_letter_and_a_small_one_is_not() {
    for (bytes, is_kept) in [(1 << 20, true), ((1 << 20) + 1, false)] {
        let (output, letters) = (refusing(&[1]), Letters::default());
        let input = Numbered { body_bytes: Some(bytes), ..Numbered::to(2) };
        let outcome = run(input, &output, &letters, NackWindow::new(10, 2)).await;
        assert!(outcome.done.is_ok(), "{:?}", outcome.done);
        let stored = letters.stored.lock().unwrap();
        let payload = original(&stored[0]).payload.after;
        let whole = s3_connector::record::Data::Raw(Bytes::from(vec![7; bytes]));
        assert_eq!(payload, is_kept.then_some(whole));
        let said = stored[0].metadata.get("dlq.leftOut");
        assert_eq!(said.is_none(), is_kept);
        assert!(said.is_none_or(|said| said.contains("1048577 bytes")), "{said:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_fault_of_the_record_is_no_letter() {
    let output = Picky { kind: Some(ErrorKind::Unavailable), ..refusing(&[2]) };
    let letters = Letters::default();
    let outcome = run(Numbered::to(4), &output, &letters, NackWindow::new(10, 2)).await;
    assert!(letters.stored.lock().unwrap().is_empty());
    assert_eq!(outcome.count, 0);
    // It was written again to an output that was made anew, which refuses it no more.
    assert_eq!(outcome.done.unwrap().counts.outages, 1);
    assert_eq!(outcome.kept, Some(4));
}

#[tokio::test(start_paused = true)]
async fn without_letters_a_refusal_ends_it_and_what_is_stored_after_it_is_counted() {
    let output = WithDeadLetters::<_, LogOutput>::new(refusing(&[2]), None);
    let options = Options { until_caught_up: true, ..Options::default() };
    let pipeline = Pipeline::new(Numbered::to(3), output, options);
    let counts = pipeline.counts();
    let error = pipeline.run(CancellationToken::new()).await.unwrap_err();
    assert_eq!(error.message(), "record 2 at position `2` was refused: it is too large");
    assert_eq!(counts.borrow().acked, 2, "the first and the third are stored");
}
