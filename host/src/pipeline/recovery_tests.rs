//! Owns tests of pipelines whose endpoints fail for a while, in paused time: what is stored, how often, and what is logged.
//! Leaves pauses and their bounds to `recovery`.

use std::sync::Mutex;

use tokio::io::{AsyncWriteExt as _, duplex};
use tokio::time::Instant;

use super::fakes::{Log, number, record};
use super::*;
use crate::connector::destination::Ack;
use crate::record::Record;
use crate::state::{Edit, MemoryState, StateStore};

/// What an endpoint is connected to. It fails in some periods, counted from its beginning.
#[derive(Clone)]
struct FlakyStore {
    since: Instant,
    outages: Arc<Vec<(Duration, Duration, Error)>>,
    /// Numbers of the stored records, in order.
    stored: Arc<Mutex<Vec<u64>>>,
}

const SECOND: Duration = Duration::from_secs(1);

fn unavailable() -> Error {
    Error::new(ErrorKind::Unavailable, "no answer from the store")
}

impl FlakyStore {
    /// Fails with `error` from one second to another.
    fn failing(times: &[(u32, u32, Error)]) -> Self {
        let outages = times.iter().map(|(from, to, error)| (SECOND * *from, SECOND * *to, error.clone()));
        Self { since: Instant::now(), outages: Arc::new(outages.collect()), stored: Arc::default() }
    }

    fn well() -> Self {
        Self::failing(&[])
    }

    fn ask(&self) -> Result<()> {
        let now = self.since.elapsed();
        let outage = self.outages.iter().find(|(from, to, _)| (*from..*to).contains(&now));
        outage.map_or(Ok(()), |(_, _, error)| Err(error.clone()))
    }

    fn stored(&self) -> Vec<u64> {
        self.stored.lock().unwrap().clone()
    }
}

/// Yields a record every half second.
struct Slow {
    store: FlakyStore,
    next: u64,
    last: u64,
}

impl Input for Slow {
    async fn open(&mut self, position: Option<&[u8]>) -> Result<()> {
        self.store.ask()?;
        self.next = position.map_or(1, |position| number(position) + 1);
        Ok(())
    }

    async fn read(&mut self, _records_max: u32, wait: Duration) -> Result<Option<Vec<Record>>> {
        sleep(wait).await;
        self.store.ask()?;
        if self.next > self.last {
            return Ok(Some(Vec::new()));
        }
        sleep(wait).await;
        self.next += 1;
        Ok(Some(vec![record(self.next - 1)]))
    }

    async fn ack(&mut self, _position: &[u8]) -> Result<()> {
        Ok(())
    }

    async fn progress(&mut self) -> Result<Progress> {
        let mut progress = Progress { caught_up: self.next > self.last, ..Progress::default() };
        progress.counters.insert("skipped".to_owned(), 1);
        for standing in ["due", "keys", "segments", "state-bytes", "lag-ms", "caught-up-ms"] {
            progress.counters.insert(standing.to_owned(), 7);
        }
        Ok(progress)
    }

    async fn teardown(&mut self) -> Result<()> {
        self.next = u64::MAX;
        Ok(())
    }
}

/// Holds up to `held_max` records before it stores them, and loses them when it is torn down.
struct Buffered {
    store: FlakyStore,
    held: Vec<Record>,
    held_max: usize,
}

impl Buffered {
    fn new(store: &FlakyStore, held_max: usize) -> Self {
        Self { store: store.clone(), held: Vec::new(), held_max }
    }

    fn put(&mut self) -> Vec<Ack> {
        let ack = |record: Record| {
            let number = number(&record.position);
            self.store.stored.lock().unwrap().push(number);
            Ack { position: record.position, error: None }
        };
        self.held.drain(..).map(ack).collect()
    }
}

impl Output for Buffered {
    async fn open(&mut self) -> Result<()> {
        self.store.ask()
    }

    async fn write(&mut self, records: Vec<Record>) -> Result<Vec<Ack>> {
        let is_tick = records.is_empty();
        self.held.extend(records);
        if is_tick || self.held.len() < self.held_max {
            return Ok(Vec::new());
        }
        self.store.ask()?;
        Ok(self.put())
    }

    async fn flush(&mut self, _wait: Duration) -> Result<Vec<Ack>> {
        // As long as the clock can tell.
        sleep(SECOND / 1000).await;
        self.store.ask()?;
        Ok(self.put())
    }

    async fn teardown(&mut self) -> Result<()> {
        self.held.clear();
        Ok(())
    }
}

fn options(records_max: u64) -> Options {
    Options { name: "copy".to_owned(), records_max: Some(records_max), ..Options::default() }
}

fn pipeline(input: &FlakyStore, output: &FlakyStore, options: Options) -> Pipeline<Slow, Buffered> {
    let input = Slow { store: input.clone(), next: u64::MAX, last: 1000 };
    Pipeline::new(input, Buffered::new(output, 3), options)
}

fn numbers(last: u64) -> Vec<u64> {
    (1..=last).collect()
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_either_endpoint_is_survived_and_nothing_is_lost_or_doubled() {
    for fails_reading in [true, false] {
        let (flaky, well) = (FlakyStore::failing(&[(5, 700, unavailable())]), FlakyStore::failing(&[]));
        let (input, output) = match fails_reading {
            true => (flaky, well),
            false => (well, flaky),
        };
        let log = Log::default();
        let listening = log.listen();
        let summary = pipeline(&input, &output, options(30)).run(CancellationToken::new()).await.unwrap();
        drop(listening);
        assert_eq!(summary.ended, Ended::RecordsMax);
        let counts = &summary.counts;
        assert_eq!((counts.read, counts.acked, counts.outages), (30, 30, 1));
        assert_eq!(output.stored(), numbers(30));
        assert_eq!(summary.position.as_deref(), Some(&b"30"[..]));
        let lines = log.lines();
        assert_eq!(lines.len(), 2, "{lines:?}");
        for (line, words) in [
            (&lines[0], &["WARN", "interrupted: no answer from the store", "copy"][..]),
            (&lines[1], &["INFO", "resumed after", " min ", "copy"]),
        ] {
            for word in words {
                assert!(line.contains(word), "{word}: {line}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn both_endpoints_may_fail_repeatedly() {
    // Far enough apart for the longest pause between two attempts.
    let times = [(3, 60, unavailable()), (200, 201, unavailable()), (300, 700, unavailable())];
    let (input, output) = (FlakyStore::failing(&times), FlakyStore::failing(&times));
    let summary = pipeline(&input, &output, options(800)).run(CancellationToken::new()).await.unwrap();
    assert_eq!(output.stored(), numbers(800));
    assert_eq!(summary.counts.outages, 3);
    assert_eq!(summary.counts.source.counter("skipped"), 4);
    for standing in ["due", "keys", "segments", "state-bytes", "lag-ms", "caught-up-ms"] {
        assert_eq!(summary.counts.source.counter(standing), 7, "{standing}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_until_caught_up_survives_an_outage_too() {
    let input = FlakyStore::failing(&[(5, 100, unavailable())]);
    let output = FlakyStore::well();
    let mut pipeline = pipeline(&input, &output, Options { until_caught_up: true, ..Options::default() });
    pipeline.input.last = 20;
    let summary = pipeline.run(CancellationToken::new()).await.unwrap();
    assert_eq!(summary.ended, Ended::CaughtUp);
    assert_eq!(output.stored(), numbers(20));
}

#[tokio::test(start_paused = true)]
async fn an_outage_in_which_nothing_was_due_is_over_when_the_source_has_caught_up() {
    let input = FlakyStore::failing(&[(5, 100, unavailable())]);
    let mut pipeline = pipeline(&input, &FlakyStore::well(), Options::default());
    pipeline.input.last = 0;
    let (stop, log) = (CancellationToken::new(), Log::default());
    let _listening = log.listen();
    let running = tokio::spawn(pipeline.run(stop.clone()));
    sleep(SECOND * 200).await;
    assert_eq!(log.lines().len(), 2, "{:?}", log.lines());
    stop.cancel();
    assert_eq!(running.await.unwrap().unwrap().ended, Ended::Stopped);
}

#[tokio::test(start_paused = true)]
async fn without_recovery_the_first_failure_ends_it() {
    let input = FlakyStore::failing(&[(5, 6, unavailable())]);
    let output = FlakyStore::well();
    let options = Options { recovery: None, ..options(30) };
    let done = pipeline(&input, &output, options).run(CancellationToken::new()).await;
    assert_eq!(done.unwrap_err(), unavailable());
    assert_eq!(output.stored().len(), 10, "what was read is stored");
}

#[tokio::test(start_paused = true)]
async fn what_was_never_open_fails_at_once() {
    let start = Instant::now();
    for (input, output) in [(0, 9), (9, 0)] {
        let input = FlakyStore::failing(&[(input, 10, unavailable())]);
        let output = FlakyStore::failing(&[(output, 10, unavailable())]);
        let done = pipeline(&input, &output, options(30)).run(CancellationToken::new()).await;
        assert_eq!(done.unwrap_err(), unavailable());
    }
    assert!(start.elapsed() < SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_permanent_failure_ends_it_at_once_or_when_it_is_reopened() {
    for kind in [ErrorKind::Invalid, ErrorKind::Denied, ErrorKind::Corrupt, ErrorKind::Trap] {
        let error = Error::new(kind, "never again");
        for times in [&[(5, 1000, error.clone())][..], &[(5, 50, unavailable()), (50, 1000, error.clone())]] {
            let (input, output) = (FlakyStore::failing(times), FlakyStore::well());
            let done = pipeline(&input, &output, options(30)).run(CancellationToken::new()).await;
            assert_eq!(done.unwrap_err(), error);
            assert!(input.since.elapsed() < SECOND * 120);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_failures_the_earlier_one_is_told_whichever_task_ends_first() {
    let at = |halves: u32| SECOND / 2 * halves - SECOND / 10;
    let failing = |from: Duration, error: &Error| FlakyStore {
        since: Instant::now(),
        outages: Arc::new(vec![(from, SECOND * 1000, error.clone())]),
        stored: Arc::default(),
    };
    let (reading, writing) = (Error::new(ErrorKind::Invalid, "reading"), Error::new(ErrorKind::Denied, "writing"));
    // After a failure to read, the writer stores what it holds: it fails later, and its task ends first. After a failure to
    // write, the read that is under way fails later.
    for (reads_until, writes_until, expected) in [(at(10), at(10), &reading), (at(10), at(9), &writing)] {
        let (input, output) = (failing(reads_until, &reading), failing(writes_until, &writing));
        let done = pipeline(&input, &output, options(30)).run(CancellationToken::new()).await;
        assert_eq!(done.unwrap_err(), *expected);
    }
}

#[tokio::test(start_paused = true)]
async fn new_keys_are_waited_for_but_not_for_ever() {
    let ended = Error::new(ErrorKind::Denied, "the keys have ended").awaiting_keys();
    for (until_s, is_outlasted) in [(40, true), (100_000, false)] {
        let input = FlakyStore::failing(&[(5, until_s, ended.clone())]);
        let output = FlakyStore::well();
        let done = pipeline(&input, &output, options(30)).run(CancellationToken::new()).await;
        match is_outlasted {
            true => assert_eq!(output.stored(), numbers(30)),
            false => assert_eq!(done.unwrap_err(), ended),
        }
        assert!(input.since.elapsed() < SECOND * 200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_the_waiting_at_once() {
    let input = FlakyStore::failing(&[(5, 10_000, unavailable())]);
    let output = FlakyStore::well();
    let pipeline = pipeline(&input, &output, options(30));
    let stop = CancellationToken::new();
    let running = tokio::spawn(pipeline.run(stop.clone()));
    sleep(SECOND * 1000).await;
    let asked = Instant::now();
    stop.cancel();
    let summary = running.await.unwrap().unwrap();
    assert_eq!((summary.ended, summary.counts.acked), (Ended::Stopped, 10));
    assert_eq!((summary.counts.read, summary.counts.outages), (10, 1));
    assert!(asked.elapsed() < SECOND);
}

#[tokio::test(start_paused = true)]
async fn it_resumes_after_the_saved_position_and_not_at_its_beginning() {
    let state = Arc::new(MemoryState::new());
    state.save_position(b"100").unwrap();
    let input = FlakyStore::failing(&[(5, 60, unavailable())]);
    let output = FlakyStore::well();
    let options = Options { state: Some(state.clone()), ..options(20) };
    pipeline(&input, &output, options).run(CancellationToken::new()).await.unwrap();
    assert_eq!(output.stored(), (101..=120).collect::<Vec<_>>());
    assert_eq!(state.load_position().unwrap().as_deref(), Some(&b"120"[..]));

    // Nothing was acked before the outage: it begins where the run began.
    let input = FlakyStore::failing(&[(1, 60, unavailable())]);
    let output = FlakyStore::well();
    let options = Options { position: Some(b"7".to_vec()), ..options_without_name(3) };
    pipeline(&input, &output, options).run(CancellationToken::new()).await.unwrap();
    assert_eq!(output.stored(), [8, 9, 10]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_asks_for_a_wait_is_not_called_before_it_is_over() {
    for (asked_ms, waited) in [(90_000, SECOND * 90), (u64::MAX, recovery::RETRY_AFTER_MAX)] {
        let input = FlakyStore::failing(&[(5, 6, unavailable().with_retry_after_ms(asked_ms))]);
        let output = FlakyStore::well();
        pipeline(&input, &output, options(30)).run(CancellationToken::new()).await.unwrap();
        assert_eq!(output.stored(), numbers(30));
        // 30 records take 16 s, and the random part of the first pause takes up to one.
        let took = input.since.elapsed();
        assert!((SECOND * 5 + waited..SECOND * 20 + waited).contains(&took), "{took:?}");
    }
}

fn options_without_name(records_max: u64) -> Options {
    Options { name: String::new(), ..options(records_max) }
}

fn line(number: u64) -> String {
    let mut position = Vec::new();
    crate::record::json::encode_base64(number.to_string().as_bytes(), &mut position);
    let position = String::from_utf8(position).unwrap();
    format!("{{\"position\":\"{position}\",\"operation\":\"create\",\"payload\":{{\"after\":{{\"n\":1}}}}}}\n")
}

#[tokio::test(start_paused = true)]
async fn lines_that_can_be_read_only_once_are_rewritten_to_the_next_instance() {
    let output = FlakyStore::failing(&[(0, 0, unavailable()), (5, 600, unavailable()), (603, 700, unavailable())]);
    let (mut sender, receiver) = duplex(100);
    let sending = tokio::spawn(async move {
        for n in 1..=1300 {
            sender.write_all(line(n).as_bytes()).await.unwrap();
            sleep(SECOND / 2).await;
        }
    });
    let pipeline = Pipeline::new(JsonLinesInput::new(receiver), Buffered::new(&output, 7), Options::default());
    let summary = pipeline.run(CancellationToken::new()).await.unwrap();
    sending.await.unwrap();
    assert_eq!(summary.ended, Ended::InputEnded);
    assert_eq!(output.stored(), numbers(1300));
    assert_eq!((summary.counts.read, summary.counts.acked), (1300, 1300));
    assert!(summary.counts.outages >= 1);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_stream_may_come_before_its_records_are_stored() {
    // All lines are there at once; only the last flush fails.
    let output = FlakyStore::failing(&[(0, 0, unavailable()), (0, 0, unavailable())]);
    let lines: String = (1..=5).map(line).collect();
    let lines: &'static [u8] = lines.into_bytes().leak();
    let failing = Buffered::new(
        &FlakyStore {
            since: Instant::now() - SECOND,
            outages: Arc::new(vec![(SECOND + SECOND / 1000, SECOND * 40, unavailable())]),
            stored: Arc::clone(&output.stored),
        },
        100,
    );
    let (mut sender, receiver) = duplex(1000);
    let sending = tokio::spawn(async move {
        sender.write_all(lines).await.unwrap();
        sleep(SECOND / 2).await;
    });
    let summary = Pipeline::new(JsonLinesInput::new(receiver), failing, Options::default())
        .run(CancellationToken::new())
        .await
        .unwrap();
    sending.await.unwrap();
    assert_eq!((summary.ended, summary.counts.outages), (Ended::InputEnded, 1));
    assert_eq!(output.stored(), numbers(5));
}

#[tokio::test(start_paused = true)]
async fn a_stop_gives_what_can_be_read_only_once_the_grace_period() {
    for (until_s, stored) in [(1010, 4), (10_000, 0)] {
        let output = FlakyStore::failing(&[(1, until_s, unavailable())]);
        let (mut sender, receiver) = duplex(1000);
        let lines: String = (1..=4).map(line).collect();
        let pipeline = Pipeline::new(
            JsonLinesInput::new(receiver),
            Buffered::new(&output, 4),
            Options { grace: SECOND * 20, ..Options::default() },
        );
        let stop = CancellationToken::new();
        let running = tokio::spawn(pipeline.run(stop.clone()));
        sleep(SECOND * 2).await;
        sender.write_all(lines.as_bytes()).await.unwrap();
        sleep(SECOND * 998).await;
        stop.cancel();
        let done = running.await.unwrap();
        assert_eq!(output.stored().len(), stored);
        match stored {
            0 => assert!(done.unwrap_err().message().starts_with("4 of 4 records were not stored within 20 s"),),
            _ => assert_eq!(done.unwrap().ended, Ended::Stopped),
        }
        assert!(output.since.elapsed() < SECOND * 1021);
    }
}

/// Refuses a record once, for no fault of the record.
struct Unlucky {
    inner: Buffered,
    refuses: Option<u64>,
}

impl Output for Unlucky {
    async fn open(&mut self) -> Result<()> {
        self.inner.open().await
    }

    async fn write(&mut self, records: Vec<Record>) -> Result<Vec<Ack>> {
        let mut acks = Vec::new();
        for record in records {
            if self.refuses.is_some_and(|bad| bad == number(&record.position)) {
                self.refuses = None;
                acks.push(Ack {
                    position: record.position,
                    error: Some(Error::new(ErrorKind::Unavailable, "the body broke off")),
                });
            } else {
                acks.extend(self.inner.write(vec![record]).await?);
            }
        }
        Ok(acks)
    }

    async fn flush(&mut self, wait: Duration) -> Result<Vec<Ack>> {
        self.inner.flush(wait).await
    }

    async fn teardown(&mut self) -> Result<()> {
        self.inner.teardown().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_whose_body_broke_off_is_read_again() {
    let (input, output) = (FlakyStore::well(), FlakyStore::well());
    let pipeline = Pipeline::new(
        Slow { store: input, next: u64::MAX, last: 1000 },
        Unlucky { inner: Buffered::new(&output, 1), refuses: Some(4) },
        options(10),
    );
    let summary = pipeline.run(CancellationToken::new()).await.unwrap();
    assert_eq!(output.stored(), numbers(10));
    assert_eq!(summary.counts.outages, 1);
}

/// Can't save positions for a while.
struct Full {
    store: FlakyStore,
    kept: MemoryState,
}

impl StateStore for Full {
    fn load(&self, name: &str) -> Result<Option<Vec<u8>>, crate::state::Error> {
        self.kept.load(name)
    }

    fn commit(&self, edits: &[Edit]) -> Result<(), crate::state::Error> {
        self.kept.commit(edits)
    }

    fn load_position(&self) -> Result<Option<Vec<u8>>, crate::state::Error> {
        self.kept.load_position()
    }

    fn save_position(&self, position: &[u8]) -> Result<(), crate::state::Error> {
        let Err(error) = self.store.ask() else {
            return self.kept.save_position(position);
        };
        Err(match error.kind() {
            ErrorKind::Corrupt => {
                crate::state::Error::Corrupt { reason: "somebody wrote into it".into(), file: "position".into() }
            }
            _ => crate::state::Error::Folder {
                action: "write",
                folder: "state".into(),
                source: std::io::ErrorKind::StorageFull.into(),
            },
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_position_that_can_not_be_saved_is_saved_when_there_is_room_and_nothing_comes_twice() {
    let (input, output) = (FlakyStore::well(), FlakyStore::well());
    let state = Arc::new(Full { store: FlakyStore::failing(&[(3, 600, unavailable())]), kept: MemoryState::new() });
    let options = Options { state: Some(state.clone()), ..options(20) };
    let summary = pipeline(&input, &output, options).run(CancellationToken::new()).await.unwrap();
    assert_eq!((summary.counts.acked, summary.counts.outages), (20, 1));
    assert_eq!(output.stored(), numbers(20));
    assert_eq!(state.load_position().unwrap().as_deref(), Some(&b"20"[..]));
}

#[tokio::test(start_paused = true)]
async fn a_state_that_is_damaged_is_no_outage() {
    let (input, output) = (FlakyStore::well(), FlakyStore::well());
    let damaged = Error::new(ErrorKind::Corrupt, "damaged");
    let options = Options {
        state: Some(Arc::new(Full { store: FlakyStore::failing(&[(3, 600, damaged)]), kept: MemoryState::new() })),
        ..options(20)
    };
    let done = pipeline(&input, &output, options).run(CancellationToken::new()).await;
    assert_eq!(done.unwrap_err().kind(), ErrorKind::Corrupt);
    assert!(input.since.elapsed() < SECOND * 10);
}
