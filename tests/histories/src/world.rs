//! Owns the world that a source lives in: the bucket, the time, and what happens next. Leaves the answers to `wire`, and
//! the reader to `run`.

use std::time::Duration;

use s3_connector::ports::Clock as _;
use s3_connector::testing::{START, SplitMix64, TestPorts, pages};

use crate::bucket::Bucket;
use crate::history::{Act, History, KEYS, Step, When};
use crate::shown::Shown;

/// Something that moves a history on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A call of the host.
    Call,
    /// A read came back.
    Read,
    /// A position was kept.
    Ack,
    /// A read came back empty, and the source is caught up.
    Idle,
}

/// How a source ends.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// At once; whether the call that it dies in is still done.
    Crash {
        /// Whether it is.
        after: bool,
        /// How long nothing runs then.
        away: Duration,
    },
    /// With everything acked.
    Stop {
        /// How long nothing runs then.
        away: Duration,
    },
}

#[derive(Clone, Copy, Debug, Default)]
struct Waited {
    calls: u32,
    reads: u32,
    acks: u32,
    idles: u32,
}

/// The world.
pub struct World {
    ports: TestPorts,
    /// The bucket.
    pub bucket: Bucket,
    /// What listings have shown.
    pub shown: Shown,
    /// How the source ends, once it is to.
    pub end: Option<End>,
    /// Host calls so far.
    pub calls: u64,
    /// How answers are made.
    pub setup: crate::history::StoreSetup,
    /// Whether the host keeps state.
    pub has_state: bool,
    /// Keys of which an object could not be read, or is there against a listing, until something was told of them and
    /// the source is idle.
    pub unread: [bool; KEYS.len()],
    /// The same since the beginning.
    pub was_unread: [bool; KEYS.len()],
    /// Whether another source ran before.
    pub is_restarted: bool,
    /// The status with which the next listing is refused.
    pub refusal: Option<u16>,
    /// Whether a listing was refused since the source started.
    pub was_refused: bool,
    /// A key that listings leave out.
    pub hidden: Option<usize>,
    /// Keys that were once left out. One that the reader has nothing of may be told anew when it is listed again.
    pub was_hidden: [bool; KEYS.len()],
    /// Keys that a listing once went through anew, since the version was purged after which it was to go on, or from another
    /// place on, since another had become the `null` version: it shows nobody the order of what was stored meanwhile.
    pub was_anew: [bool; KEYS.len()],
    /// The `null` version of each key that was listed last.
    pub null_shown: [Option<usize>; KEYS.len()],
    /// Whether there ever was no object of a key when it was asked for by HeadObject.
    pub was_gone: [bool; KEYS.len()],
    /// Whether the next object is not found.
    pub misses: bool,
    /// How the pages that the source has used make no listing.
    pub hole: Option<String>,
    date_offset_ms: i64,
    steps: Vec<Step>,
    next: usize,
    waited: Waited,
    /// Time that is to pass once it may.
    owed: Duration,
    dice: SplitMix64,
    transcript: Option<Vec<String>>,
}

impl World {
    /// The world before the source starts.
    pub fn new(ports: TestPorts, history: &History, is_verbose: bool) -> Self {
        let mut world = Self {
            bucket: Bucket::new(&history.store),
            shown: Shown::default(),
            end: None,
            calls: 0,
            setup: history.store.clone(),
            has_state: history.reader.has_state,
            unread: [false; KEYS.len()],
            was_unread: [false; KEYS.len()],
            is_restarted: false,
            refusal: None,
            was_refused: false,
            hidden: None,
            was_hidden: [false; KEYS.len()],
            was_anew: [false; KEYS.len()],
            null_shown: [None; KEYS.len()],
            was_gone: [false; KEYS.len()],
            misses: false,
            hole: None,
            date_offset_ms: 0,
            steps: history.steps.clone(),
            next: 0,
            waited: Waited::default(),
            owed: Duration::ZERO,
            dice: SplitMix64::new(history.seed),
            transcript: is_verbose.then(Vec::new),
            ports,
        };
        for act in &history.before {
            world.perform(*act, true);
        }
        world
    }

    /// Steps that are left.
    pub fn left(&self) -> usize {
        self.steps.len() - self.next
    }

    /// Whether the source that runs is dead.
    pub fn is_dead(&self) -> bool {
        matches!(self.end, Some(End::Crash { .. }))
    }

    /// Milliseconds since the epoch, by no clock that anybody sets.
    pub fn now_ms(&self) -> u64 {
        START.0 + self.ports.elapsed().as_millis() as u64
    }

    /// `Date` of an answer.
    pub fn date(&self) -> std::time::SystemTime {
        self.bucket.time(self.now_ms().saturating_add_signed(self.date_offset_ms))
    }

    /// How long the next answer takes.
    pub fn latency(&mut self) -> Duration {
        match self.setup.latency_ms {
            0 => Duration::ZERO,
            most => Duration::from_millis(self.dice.next() % most),
        }
    }

    /// Lets what is due happen. Time passes at once where `may_wait`.
    pub fn tick(&mut self, event: Event, may_wait: bool) {
        if self.is_dead() {
            return;
        }
        if let Err(hole) = self.look_at_pages() {
            self.hole.get_or_insert(hole);
        }
        match event {
            Event::Call => {
                self.waited.calls += 1;
                self.calls += 1;
            }
            Event::Read => self.waited.reads += 1,
            Event::Ack => self.waited.acks += 1,
            Event::Idle => self.waited.idles += 1,
        }
        if may_wait && !self.owed.is_zero() {
            self.ports.advance(std::mem::take(&mut self.owed));
        }
        while self.end.is_none() && self.is_due() {
            let act = self.steps[self.next].act;
            self.next += 1;
            self.waited = Waited::default();
            self.perform(act, may_wait);
        }
    }

    fn is_due(&self) -> bool {
        let Some(step) = self.steps.get(self.next) else {
            return false;
        };
        let Waited { calls, reads, acks, idles } = self.waited;
        let has_come = match step.when {
            When::Call(n) => calls >= n,
            When::Read(n) => reads >= n,
            When::Ack(n) => acks >= n,
            When::Idle => idles >= 1,
        };
        has_come || idles >= 2
    }

    fn perform(&mut self, act: Act, may_wait: bool) {
        self.note(|| format!("* {act:?}"));
        match act {
            Act::Wait(time) if may_wait => self.ports.advance(time),
            Act::Wait(time) => self.owed += time,
            Act::Clock(by_ms) => self.bucket.shift_clock(by_ms),
            Act::Date(offset_ms) => self.date_offset_ms = offset_ms,
            Act::Refuse(status) => self.refusal = Some(status),
            Act::Miss => self.misses = true,
            Act::Hide(key) => {
                self.hidden = Some(usize::from(key));
                self.was_hidden[usize::from(key)] = true;
            }
            Act::Crash { after, away } => self.end = Some(End::Crash { after, away }),
            Act::Stop { away } => self.end = Some(End::Stop { away }),
            act => {
                let now_ms = self.now_ms();
                self.bucket.act(act, now_ms);
            }
        }
    }

    /// Takes note of the pages of listings that the source has used.
    ///
    /// # Errors
    ///
    /// Where they don't make a listing.
    pub fn look_at_pages(&mut self) -> Result<(), String> {
        let used = pages::used().into_iter();
        let used = used.map(|page| (crate::wire::place(page.place), page.to)).collect();
        self.shown.use_pages(&self.bucket, used)
    }

    /// Adds a line to the transcript, if there is one.
    pub fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(transcript) = &mut self.transcript {
            let at = self.ports.elapsed().as_secs_f64();
            transcript.push(format!("{at:10.3} {}", line()));
        }
    }

    /// The transcript so far.
    pub fn take_transcript(&mut self) -> Vec<String> {
        self.transcript.take().unwrap_or_default()
    }
}
