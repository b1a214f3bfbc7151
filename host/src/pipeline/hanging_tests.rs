//! Owns tests of pipelines whose endpoints never return from a call: they end nevertheless, with or without a stop.
//! Leaves the end of the process to the process tests.

use tokio::time::Instant;

use super::*;
use crate::connector::destination::Ack;
use crate::record::Record;

/// An endpoint without records that hangs where it is told to.
#[derive(Clone, Copy, Default)]
struct HangingEndpoint {
    fails_to_open: bool,
    hangs_in_read: bool,
    hangs_in_teardown: bool,
}

impl HangingEndpoint {
    fn opened(&self) -> Result<()> {
        match self.fails_to_open {
            true => Err(Error::new(ErrorKind::Denied, "no right to open")),
            false => Ok(()),
        }
    }

    async fn torn_down(&self) -> Result<()> {
        if self.hangs_in_teardown {
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

impl Input for HangingEndpoint {
    async fn open(&mut self, _position: Option<&[u8]>) -> Result<()> {
        self.opened()
    }

    async fn read(&mut self, _records_max: u32, _wait: Duration) -> Result<Option<Vec<Record>>> {
        if self.hangs_in_read {
            std::future::pending::<()>().await;
        }
        Ok(None)
    }

    async fn ack(&mut self, _position: &[u8]) -> Result<()> {
        Ok(())
    }

    async fn progress(&mut self) -> Result<Progress> {
        Ok(Progress::default())
    }

    async fn teardown(&mut self) -> Result<()> {
        self.torn_down().await
    }
}

impl Output for HangingEndpoint {
    async fn open(&mut self) -> Result<()> {
        self.opened()
    }

    async fn write(&mut self, _records: Vec<Record>) -> Result<Vec<Ack>> {
        Ok(Vec::new())
    }

    async fn flush(&mut self, _wait: Duration) -> Result<Vec<Ack>> {
        Ok(Vec::new())
    }

    async fn teardown(&mut self) -> Result<()> {
        self.torn_down().await
    }
}

const GRACE: Duration = Duration::from_secs(3);

/// Runs a pipeline. Returns how it ended, and after what time.
async fn run(input: HangingEndpoint, output: HangingEndpoint, stop: CancellationToken) -> (Result<Summary>, Duration) {
    let options = Options { grace: GRACE, ..Options::default() };
    let start = Instant::now();
    let done = Pipeline::new(input, output, options).run(stop).await;
    (done, start.elapsed())
}

/// A token that is cancelled a second from now.
fn stop_soon() -> CancellationToken {
    let stop = CancellationToken::new();
    let asked = stop.clone();
    tokio::spawn(async move {
        sleep(Duration::from_secs(1)).await;
        asked.cancel();
    });
    stop
}

#[tokio::test(start_paused = true)]
async fn a_failed_open_is_reported_though_a_teardown_hangs() {
    let refused = HangingEndpoint { fails_to_open: true, hangs_in_teardown: true, ..HangingEndpoint::default() };
    let hanging = HangingEndpoint { hangs_in_teardown: true, ..HangingEndpoint::default() };
    for (input, output) in [(refused, hanging), (hanging, refused)] {
        // By itself, after the time for one teardown: they go side by side.
        let (done, took) = run(input, output, CancellationToken::new()).await;
        assert_eq!(done.unwrap_err().message(), "no right to open");
        assert!((TEARDOWN_TIMEOUT..TEARDOWN_TIMEOUT * 2).contains(&took), "{took:?}");
        // And within the grace of a stop.
        let (done, took) = run(input, output, stop_soon()).await;
        assert_eq!(done.unwrap_err().message(), "no right to open");
        assert!(took <= Duration::from_secs(1) + GRACE * 2, "{took:?}");
        assert!(took < TEARDOWN_TIMEOUT, "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_teardown_that_hangs_fails_the_pipeline_after_its_time() {
    let hanging = HangingEndpoint { hangs_in_teardown: true, ..HangingEndpoint::default() };
    for (input, output) in [(hanging, HangingEndpoint::default()), (HangingEndpoint::default(), hanging)] {
        let (done, took) = run(input, output, CancellationToken::new()).await;
        let error = done.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal, "nothing to wait for");
        assert!(error.message().contains("teardown did not return within 10 s"), "{error}");
        assert!((TEARDOWN_TIMEOUT..TEARDOWN_TIMEOUT * 2).contains(&took), "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_never_returns_ends_with_the_grace_and_claims_no_loss() {
    let hanging = HangingEndpoint { hangs_in_read: true, ..HangingEndpoint::default() };
    let (done, took) = run(hanging, HangingEndpoint::default(), stop_soon()).await;
    let error = done.unwrap_err();
    assert!(error.message().starts_with("a call of the connector did not return within 3 s"), "{error}");
    assert_eq!(took, Duration::from_secs(1) + GRACE);
}
