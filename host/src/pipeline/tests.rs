//! Owns tests of pipelines between fake endpoints that record their calls. Leaves lines, files and failures to the other
//! tests.

use std::sync::Mutex;

use tokio::time::Instant;

use super::fakes::{number, record};
use super::*;
use crate::connector::destination::Ack;
use crate::record::Record;
use crate::state::{Edit, MemoryState};

/// What happened, in order. Records are numbered from one, and their positions are their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Read(u64),
    Written(u64),
    Stored(u64),
    Saved(u64),
    Acked(u64),
    Flushed,
    InputDown,
    OutputDown,
}

#[derive(Clone, Default)]
struct Journal(Arc<Mutex<Vec<Event>>>);

impl Journal {
    fn note(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }

    fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap().clone()
    }

    fn last(&self, pick: impl Fn(&Event) -> Option<u64>) -> u64 {
        self.events().iter().filter_map(pick).next_back().unwrap_or_default()
    }

    /// No position is saved before its record is stored, and none is acked before it is saved.
    fn check_order(&self) {
        let (mut stored, mut saved) = (0, 0);
        for event in self.events() {
            match event {
                Event::Stored(number) => {
                    assert!(number > stored, "{number} after {stored}");
                    stored = number;
                }
                Event::Saved(number) => {
                    assert!(number <= stored && number > saved, "{number} after {stored}, {saved}");
                    saved = number;
                }
                Event::Acked(number) => assert!(number <= saved, "{number} after {saved}"),
                _ => {}
            }
        }
    }
}

/// Has records up to a number; then fails, or has no more.
struct FakeInput {
    journal: Journal,
    next: u64,
    last: u64,
    batch: u64,
    error: Option<Error>,
}

impl Input for FakeInput {
    async fn open(&mut self, position: Option<&[u8]>) -> Result<()> {
        self.next = position.map_or(1, |position| number(position) + 1);
        Ok(())
    }

    async fn read(&mut self, records_max: u32, wait: Duration) -> Result<Option<Vec<Record>>> {
        let end = (self.next + self.batch.min(u64::from(records_max))).min(self.last + 1);
        if self.next == end {
            if let Some(error) = &self.error {
                return Err(error.clone());
            }
            sleep(wait).await;
        }
        let numbers = self.next..end;
        self.next = end;
        numbers.clone().for_each(|number| self.journal.note(Event::Read(number)));
        Ok(Some(numbers.map(record).collect()))
    }

    async fn ack(&mut self, position: &[u8]) -> Result<()> {
        self.journal.note(Event::Acked(number(position)));
        Ok(())
    }

    async fn progress(&mut self) -> Result<Progress> {
        Ok(Progress { caught_up: self.next > self.last, ..Progress::default() })
    }

    async fn teardown(&mut self) -> Result<()> {
        self.journal.note(Event::InputDown);
        Ok(())
    }
}

/// How a fake output acks.
enum Acking {
    /// Each record at once.
    AtOnce,
    /// On a call that brings no records.
    OnTick,
    /// When it is flushed.
    OnFlush,
    /// Each record at once, up to one that it refuses.
    Refusing(u64),
    /// Each record at once, until a write fails after this one.
    Failing(u64),
    /// Never.
    Never,
}

struct FakeOutput {
    journal: Journal,
    acking: Acking,
    held: Vec<u64>,
}

impl FakeOutput {
    fn store(&mut self) -> Vec<Ack> {
        let held = std::mem::take(&mut self.held);
        let ack = |number: u64| {
            let is_refused = matches!(self.acking, Acking::Refusing(bad) if bad == number);
            if !is_refused {
                self.journal.note(Event::Stored(number));
            }
            let error = is_refused.then(|| Error::new(ErrorKind::Invalid, "too large"));
            Ack { position: Bytes::from(number.to_string()), error }
        };
        held.into_iter().map(ack).collect()
    }
}

impl Output for FakeOutput {
    async fn open(&mut self) -> Result<()> {
        Ok(())
    }

    async fn write(&mut self, records: Vec<Record>) -> Result<Vec<Ack>> {
        let is_tick = records.is_empty();
        for record in records {
            let number = number(&record.position);
            if matches!(self.acking, Acking::Failing(last) if number > last) {
                return Err(Error::new(ErrorKind::Unavailable, "no answer"));
            }
            self.journal.note(Event::Written(number));
            self.held.push(number);
        }
        Ok(match self.acking {
            Acking::AtOnce | Acking::Refusing(_) | Acking::Failing(_) => self.store(),
            Acking::OnTick if is_tick => self.store(),
            _ => Vec::new(),
        })
    }

    async fn flush(&mut self, wait: Duration) -> Result<Vec<Ack>> {
        self.journal.note(Event::Flushed);
        if matches!(self.acking, Acking::Never) {
            sleep(wait).await;
            return Ok(Vec::new());
        }
        Ok(self.store())
    }

    async fn teardown(&mut self) -> Result<()> {
        self.journal.note(Event::OutputDown);
        Ok(())
    }
}

/// Remembers the position, and records when.
#[derive(Default)]
struct NotingState {
    journal: Journal,
    kept: MemoryState,
}

impl StateStore for NotingState {
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
        self.kept.save_position(position)?;
        self.journal.note(Event::Saved(number(position)));
        Ok(())
    }
}

/// Fake endpoints and what they record.
struct Bench {
    journal: Journal,
    state: Arc<NotingState>,
    pipeline: Pipeline<FakeInput, FakeOutput>,
}

fn bench(last: u64, acking: Acking, options: Options) -> Bench {
    let journal = Journal::default();
    let state = Arc::new(NotingState { journal: journal.clone(), ..NotingState::default() });
    let input = FakeInput { journal: journal.clone(), next: 1, last, batch: 10, error: None };
    let output = FakeOutput { journal: journal.clone(), acking, held: Vec::new() };
    let options = Options { state: Some(state.clone()), ..options };
    Bench { journal, state, pipeline: Pipeline::new(input, output, options) }
}

fn until_caught_up() -> Options {
    Options { until_caught_up: true, ..Options::default() }
}

impl Bench {
    async fn run(self) -> (Journal, Option<u64>, Result<Summary>) {
        let done = self.pipeline.run(CancellationToken::new()).await;
        let kept = self.state.load_position().unwrap().map(|position| number(&position));
        self.journal.check_order();
        (self.journal, kept, done)
    }
}

#[tokio::test(start_paused = true)]
async fn records_are_stored_saved_and_acked_in_this_order() {
    let (journal, kept, done) = bench(1234, Acking::AtOnce, until_caught_up()).run().await;
    let summary = done.unwrap();
    assert_eq!(summary.ended, Ended::CaughtUp);
    assert_eq!((summary.counts.read, summary.counts.acked), (1234, 1234));
    assert_eq!(summary.counts.bytes, 12_340);
    assert_eq!(summary.position.as_deref(), Some(&b"1234"[..]));
    assert_eq!(kept, Some(1234));
    let acked = journal.last(|event| if let Event::Acked(n) = event { Some(*n) } else { None });
    assert_eq!(acked, 1234);
    let downs = [Event::InputDown, Event::OutputDown];
    assert_eq!(journal.events().iter().filter(|event| downs.contains(event)).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_run_resumes_after_the_saved_position_and_an_option_overrides_it() {
    let Bench { journal, state, pipeline } = bench(30, Acking::AtOnce, until_caught_up());
    state.kept.save_position(b"20").unwrap();
    pipeline.run(CancellationToken::new()).await.unwrap();
    assert_eq!(journal.events()[0], Event::Read(21));

    let options = Options { position: Some(b"25".to_vec()), ..until_caught_up() };
    let Bench { journal, state, pipeline } = bench(30, Acking::AtOnce, options);
    state.kept.save_position(b"20").unwrap();
    pipeline.run(CancellationToken::new()).await.unwrap();
    assert_eq!(journal.events()[0], Event::Read(26));
}

#[tokio::test(start_paused = true)]
async fn an_output_that_owes_acks_is_called_without_records() {
    let start = Instant::now();
    let Bench { pipeline, .. } = bench(5, Acking::OnTick, Options::default());
    let (stop, mut counts) = (CancellationToken::new(), pipeline.counts());
    let running = tokio::spawn(pipeline.run(stop.clone()));
    counts.wait_for(|counts| counts.acked == 5).await.unwrap();
    assert!(start.elapsed() <= Duration::from_millis(100), "{:?}", start.elapsed());
    stop.cancel();
    assert_eq!(running.await.unwrap().unwrap().counts.acked, 5);
}

#[tokio::test(start_paused = true)]
async fn a_stop_flushes_acks_and_saves_what_was_read() {
    let Bench { journal, state, pipeline } = bench(25, Acking::OnFlush, Options::default());
    let (stop, mut counts) = (CancellationToken::new(), pipeline.counts());
    let running = tokio::spawn(pipeline.run(stop.clone()));
    counts.wait_for(|counts| counts.read == 25).await.unwrap();
    stop.cancel();
    let summary = running.await.unwrap().unwrap();
    assert_eq!((summary.ended, summary.counts.acked), (Ended::Stopped, 25));
    assert_eq!(state.load_position().unwrap().as_deref(), Some(&b"25"[..]));
    assert!(journal.events().contains(&Event::Flushed));
    journal.check_order();
}

#[tokio::test(start_paused = true)]
async fn a_stop_aborts_after_the_grace_period_and_saves_nothing_that_is_not_stored() {
    let options = Options { grace: Duration::from_secs(3), ..Options::default() };
    let Bench { state, pipeline, .. } = bench(25, Acking::Never, options);
    let (stop, mut counts) = (CancellationToken::new(), pipeline.counts());
    let running = tokio::spawn(pipeline.run(stop.clone()));
    counts.wait_for(|counts| counts.read == 25).await.unwrap();
    let start = Instant::now();
    stop.cancel();
    let error = running.await.unwrap().unwrap_err();
    assert!(error.message().starts_with("25 of 25 records were not stored within 3 s"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(4));
    assert_eq!(state.load_position().unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_refused_record_stops_the_pipeline_before_it() {
    let (journal, kept, done) = bench(100, Acking::Refusing(37), until_caught_up()).run().await;
    let error = done.unwrap_err();
    assert_eq!(error.message(), "record 37 at position `37` was refused: too large");
    assert_eq!(kept, Some(36));
    let events = journal.events();
    assert!(events.contains(&Event::InputDown) && events.contains(&Event::OutputDown));
}

#[tokio::test(start_paused = true)]
async fn a_failed_write_leaves_saved_what_was_stored_before() {
    let options = Options { recovery: None, ..until_caught_up() };
    let (_, kept, done) = bench(100, Acking::Failing(30), options).run().await;
    assert_eq!(done.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(kept, Some(30));
}

#[tokio::test(start_paused = true)]
async fn what_was_read_before_the_input_failed_is_stored() {
    let mut bench = bench(25, Acking::OnFlush, Options::default());
    bench.pipeline.input.error = Some(Error::new(ErrorKind::Corrupt, "torn"));
    let (_, kept, done) = bench.run().await;
    assert_eq!(done.unwrap_err().message(), "torn");
    assert_eq!(kept, Some(25));
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_ends_after_as_many_records_as_were_asked_for() {
    let options = Options { records_max: Some(17), ..Options::default() };
    let (_, kept, done) = bench(100, Acking::OnFlush, options).run().await;
    assert_eq!(done.unwrap().ended, Ended::RecordsMax);
    assert_eq!(kept, Some(17));
}

/// Takes one batch and no more.
struct Stuck(Journal);

impl Output for Stuck {
    async fn open(&mut self) -> Result<()> {
        Ok(())
    }

    async fn write(&mut self, _records: Vec<Record>) -> Result<Vec<Ack>> {
        std::future::pending().await
    }

    async fn flush(&mut self, _wait: Duration) -> Result<Vec<Ack>> {
        std::future::pending().await
    }

    async fn teardown(&mut self) -> Result<()> {
        self.0.note(Event::OutputDown);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn an_output_that_blocks_holds_the_input_back() {
    let journal = Journal::default();
    let input = FakeInput { journal: journal.clone(), next: 1, last: 1000, batch: 10, error: None };
    let pipeline = Pipeline::new(input, Stuck(journal.clone()), Options::default());
    let stop = CancellationToken::new();
    let running = tokio::spawn(pipeline.run(stop.clone()));
    sleep(Duration::from_secs(5)).await;
    let read = journal.last(|event| if let Event::Read(n) = event { Some(*n) } else { None });
    assert!((10..=40).contains(&read), "{read}");
    stop.cancel();
    // The call that hangs is abandoned with its output, which can't be torn down any more.
    assert!(running.await.unwrap().is_err());
    assert!(!journal.events().contains(&Event::OutputDown));
}

#[tokio::test(start_paused = true)]
async fn a_stop_before_the_start_opens_nothing() {
    let Bench { journal, pipeline, .. } = bench(10, Acking::AtOnce, Options::default());
    let stop = CancellationToken::new();
    stop.cancel();
    let summary = pipeline.run(stop).await.unwrap();
    assert_eq!((summary.ended, summary.counts.read), (Ended::Stopped, 0));
    assert_eq!(journal.events(), []);
}

#[test]
fn a_pipeline_of_the_connectors_own_endpoints_may_run_in_a_task() {
    fn check(run: impl Future + Send) -> impl Future + Send {
        run
    }
    let _ = |pipeline: Pipeline<crate::Source, crate::Destination>| check(pipeline.run(CancellationToken::new()));
}

#[test]
fn what_was_read_and_not_stored_is_missing_at_the_destination() {
    let mut counts = Counts::default();
    let caught_up = || Progress { caught_up: true, ..Progress::default() };
    counts.read(5, 50, caught_up());
    let later = SystemTime::now() + Duration::from_secs(600);
    assert!(!counts.is_caught_up(), "the source has, its reader has not");
    assert!(counts.lag(later) >= Some(Duration::from_secs(600)));
    counts.stored(4);
    assert!(counts.lag(later) >= Some(Duration::from_secs(600)));
    counts.stored(1);
    assert!(counts.is_caught_up());
    assert_eq!(counts.lag(later), Some(Duration::ZERO));
}
