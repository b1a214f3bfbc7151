//! Owns the last minutes of each pipeline, in which a person sees rates and lag. Leaves longer times to those who scrape
//! `metrics`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::Watched;

/// How often a sample is taken.
pub(super) const EVERY: Duration = Duration::from_secs(2);

/// Samples that are kept of a pipeline: ten minutes.
const SAMPLES_MAX: usize = 300;

/// Samples of all pipelines.
#[derive(Debug, Default)]
pub(super) struct Histories(Mutex<BTreeMap<String, VecDeque<Sample>>>);

/// What a pipeline had done at a moment: Unix seconds, records stored, bytes read, and seconds of lag.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Sample(u64, u64, u64, Option<f64>);

/// The samples, for the page.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct History {
    /// By pipeline, oldest first: time, records stored, bytes read, lag.
    pipelines: BTreeMap<String, VecDeque<Sample>>,
}

impl Histories {
    /// Takes a sample of each pipeline, and forgets pipelines that are gone.
    pub(super) fn take(&self, watched: &[Arc<Watched>], now: SystemTime) {
        let second = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut histories = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        histories.retain(|id, _| watched.iter().any(|watched| watched.id == *id));
        for watched in watched {
            let counts = watched.counts.borrow();
            let lag = counts.lag(now).map(|lag| lag.as_secs_f64());
            let history = histories.entry(watched.id.clone()).or_default();
            if history.len() == SAMPLES_MAX {
                history.pop_front();
            }
            history.push_back(Sample(second, counts.acked, counts.bytes, lag));
        }
    }

    pub(super) fn history(&self) -> History {
        History { pipelines: self.0.lock().unwrap_or_else(PoisonError::into_inner).clone() }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::*;
    use crate::pipeline::Counts;

    #[test]
    fn ten_minutes_of_those_that_are_there_are_kept() {
        let counts = watch::Sender::new(Counts::default());
        let watched = |id: &str| Arc::new(Watched::new(id, counts.subscribe()));
        let histories = Histories::default();
        for n in 0..SAMPLES_MAX as u64 + 5 {
            counts.send_modify(|counts| counts.acked = n);
            histories.take(&[watched("a"), watched("b")], SystemTime::UNIX_EPOCH + Duration::from_secs(n));
        }
        histories.take(&[watched("a")], SystemTime::UNIX_EPOCH + Duration::from_secs(1000));
        let History { pipelines } = histories.history();
        assert_eq!(pipelines.len(), 1);
        let samples = &pipelines["a"];
        assert_eq!((samples.len(), samples[0]), (SAMPLES_MAX, Sample(6, 6, 0, None)));
        assert_eq!(serde_json::to_string(samples.back().unwrap()).unwrap(), "[1000,304,0,null]");
    }
}
