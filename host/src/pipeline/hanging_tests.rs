//! Pipelines whose ends never return from a call: they end all the same, with or without a stop.

use tokio::time::Instant;

use super::*;
use crate::connector::destination::Ack;
use crate::record::Record;

/// An end that has nothing and takes nothing, and hangs where it is told to.
#[derive(Clone, Copy, Default)]
struct End {
    fails_to_open: bool,
    hangs_in_read: bool,
    hangs_in_teardown: bool,
}

impl End {
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

impl Input for End {
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

impl Output for End {
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

/// Runs a pipeline; how it ended, and after which time.
async fn run(input: End, output: End, stop: Stop) -> (Result<Summary>, Duration) {
    let options = Options { grace: GRACE, ..Options::default() };
    let start = Instant::now();
    let done = Pipeline::new(input, output, options).run(stop).await;
    (done, start.elapsed())
}

/// A stop that somebody asks for a second from now.
fn stop_soon() -> Stop {
    let stop = Stop::new();
    let asked = stop.clone();
    tokio::spawn(async move {
        sleep(Duration::from_secs(1)).await;
        asked.stop();
    });
    stop
}

#[tokio::test(start_paused = true)]
async fn a_failed_open_is_told_though_a_teardown_hangs() {
    let refused = End { fails_to_open: true, hangs_in_teardown: true, ..End::default() };
    let hanging = End { hangs_in_teardown: true, ..End::default() };
    for (input, output) in [(refused, hanging), (hanging, refused)] {
        // By itself, after the time for one teardown: they go side by side.
        let (done, took) = run(input, output, Stop::new()).await;
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
    let hanging = End { hangs_in_teardown: true, ..End::default() };
    for (input, output) in [(hanging, End::default()), (End::default(), hanging)] {
        let (done, took) = run(input, output, Stop::new()).await;
        let error = done.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal, "nothing to wait for");
        assert!(error.message().contains("teardown did not return within 10 s"), "{error}");
        assert!((TEARDOWN_TIMEOUT..TEARDOWN_TIMEOUT * 2).contains(&took), "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_never_returns_ends_with_the_grace_and_claims_no_loss() {
    let hanging = End { hangs_in_read: true, ..End::default() };
    let (done, took) = run(hanging, End::default(), stop_soon()).await;
    let error = done.unwrap_err();
    assert!(error.message().starts_with("a call of the connector did not return within 3 s"), "{error}");
    assert_eq!(took, Duration::from_secs(1) + GRACE);
}
