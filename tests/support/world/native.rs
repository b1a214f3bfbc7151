//! Owns the ports of the connector's core, compiled natively, which end in an embedded S3 in the same process. Leaves
//! out what the host adds to the core: policy, resumed bodies, corrected clocks.
//!
//! Nothing here waits in real time: time is tokio's, which a paused runtime advances as soon as everything waits, and
//! the server's clock follows it. Randomness is seeded; state belongs to the case.

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use s3_connector::ports::{self, Clock, Level, Log, Random, Request, Response, StateError, Transport, TransportError};
use s3_connector::testing::SplitMix64;
use s3_connector::time::Timestamp;
use s3_connector_host::Skipped;
use s3_connector_host::state::Edit;
use tokio::time::Instant;

use super::SavedState;
use super::signed::{Keys, Plain};
use embedded_s3::EmbeddedS3;

/// The time of day at which every native world starts.
const EPOCH_SECONDS: u64 = 1_700_000_000;

/// The time of day in a native world.
#[derive(Debug)]
pub(super) struct Timeline {
    /// None where the clock stands until it is moved.
    origin: Option<Instant>,
}

impl Timeline {
    /// When it begins.
    pub(super) fn epoch() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(EPOCH_SECONDS)
    }

    /// Makes one that follows tokio's clock, or stands.
    pub(super) fn new(is_stopped: bool) -> Self {
        Self { origin: (!is_stopped).then(Instant::now) }
    }

    /// Brings the server's clock to the present.
    pub(super) fn show(&self, server: &EmbeddedS3) {
        if let Some(origin) = self.origin {
            server.clock().set(Self::epoch() + origin.elapsed());
        }
    }

    /// Lets time pass.
    pub(super) async fn advance(&self, server: &EmbeddedS3, duration: Duration) {
        match self.origin {
            Some(_) => tokio::time::advance(duration).await,
            None => server.clock().advance(duration),
        }
    }
}

/// What all connectors of a world share.
pub(super) struct Shared {
    pub(super) server: EmbeddedS3,
    pub(super) timeline: Timeline,
    /// How far the connector's clock is ahead of the server's, in seconds.
    pub(super) ahead_seconds: i64,
    random: RefCell<SplitMix64>,
}

impl Shared {
    pub(super) fn new(server: EmbeddedS3, timeline: Timeline, ahead_seconds: i64) -> Self {
        timeline.show(&server);
        Self { server, timeline, ahead_seconds, random: RefCell::new(SplitMix64::new(1)) }
    }

    /// The time by the server's clock.
    pub(super) fn now(&self) -> SystemTime {
        self.timeline.show(&self.server);
        self.server.clock().now()
    }
}

/// What the core gets. Clones are the same.
#[derive(Clone)]
pub struct NativePorts(Rc<Inner>);

struct Inner {
    shared: Rc<Shared>,
    keys: Option<Keys>,
    state: SavedState,
    started: Instant,
    skipped: RefCell<Skipped>,
}

impl NativePorts {
    pub(super) fn new(shared: Rc<Shared>, keys: Option<Keys>, state: SavedState) -> Self {
        Self(Rc::new(Inner { shared, keys, state, started: Instant::now(), skipped: RefCell::default() }))
    }

    /// What the core says that it passed over.
    pub(super) fn skipped(&self) -> Skipped {
        self.0.skipped.borrow().clone()
    }
}

impl Transport for NativePorts {
    type Body = NativeBody;

    fn send(&self, request: Request) -> impl Future<Output = Result<Response<NativeBody>, TransportError>> + 'static {
        let inner = Rc::clone(&self.0);
        async move {
            let Some(keys) = &inner.keys else {
                return Err(TransportError::Refused("there are no credentials".to_owned()));
            };
            let scheme = if request.tls { "https" } else { "http" };
            let named = request.headers.into_iter().map(|(name, value)| (name.to_owned(), value));
            let plain = Plain {
                method: request.method.as_str(),
                origin: format!("{scheme}://{}", request.authority),
                path_with_query: request.path_with_query,
                headers: named.chain(request.extra_headers).collect(),
                body: request.body.into_bytes(),
                service: "s3",
            };
            let signed = keys.sign(plain, inner.shared.now());
            let answer = inner.shared.server.answer(signed).await;
            let (parts, body) = answer.map_err(|closed| TransportError::Broken(closed.to_string()))?.into_parts();
            let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
                (name.as_str().to_owned(), ports::header_text(value.as_bytes()))
            };
            Ok(Response {
                status: parts.status.as_u16(),
                headers: parts.headers.iter().map(header).collect(),
                body: NativeBody(body),
            })
        }
    }
}

/// A body of the embedded S3.
#[derive(Debug)]
pub struct NativeBody(s3s::Body);

impl ports::Body for NativeBody {
    async fn read(&mut self) -> Result<Option<Bytes>, TransportError> {
        while let Some(frame) = self.0.frame().await {
            let frame = frame.map_err(|error| TransportError::Broken(error.to_string()))?;
            if let Ok(data) = frame.into_data()
                && !data.is_empty()
            {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}

impl Clock for NativePorts {
    fn now(&self) -> Timestamp {
        let server = Timestamp::from_system_time(self.0.shared.now()).expect("it is past 1970");
        Timestamp(server.0.saturating_add_signed(self.0.shared.ahead_seconds * 1000))
    }

    fn elapsed(&self) -> Duration {
        self.0.started.elapsed()
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + 'static {
        tokio::time::sleep(duration)
    }
}

impl Random for NativePorts {
    fn random(&self) -> u64 {
        // Shared by all connectors of a world, so that no two runs have the same name.
        self.0.shared.random.borrow_mut().next()
    }
}

impl ports::State for NativePorts {
    fn load(&self, name: &str) -> Result<Option<Vec<u8>>, StateError> {
        // As the host does: what is not kept is not found.
        let store = self.0.state.store();
        store.map_or(Ok(None), |store| store.load(name).map_err(failed))
    }

    fn commit(&self, edits: Vec<ports::Edit>) -> Result<(), StateError> {
        let store = self.0.state.store().ok_or(StateError::Absent)?;
        let edits: Vec<_> = edits.into_iter().map(|ports::Edit { name, value }| Edit { name, value }).collect();
        store.commit(&edits).map_err(failed)
    }
}

fn failed(error: impl std::error::Error) -> StateError {
    StateError::Failed(error.to_string())
}

impl Log for NativePorts {
    fn log(&self, _level: Level, _message: &str) {}

    fn skipped(&self, key: &str, reason: &str) {
        self.0.skipped.borrow_mut().tell(&format!("{key}\n{reason}"));
    }
}
