//! Owns the clock of the server: the only place that reads the time of day. Leaves what the time is used for to the
//! store, and how long a latency lasts to tokio.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// The time that the server stamps on objects and answers.
///
/// A clone is a handle on the same clock.
#[derive(Clone)]
pub struct Clock {
    stopped_at: Arc<Mutex<Option<SystemTime>>>,
    date_offset_ms: Arc<AtomicI64>,
}

impl Clock {
    /// Follows the machine's clock.
    pub fn system() -> Self {
        Self { stopped_at: Arc::default(), date_offset_ms: Arc::default() }
    }

    /// Stands at `start` until it is moved.
    pub fn manual(start: SystemTime) -> Self {
        let clock = Self::system();
        clock.set(start);
        clock
    }

    /// Stands at `time` from now on, also if it followed the machine's clock.
    pub fn set(&self, time: SystemTime) {
        *self.stopped_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(time);
    }

    /// Moves forward by `duration`; a clock that followed the machine's stands from now on.
    pub fn advance(&self, duration: Duration) {
        let mut stopped_at = self.stopped_at.lock().unwrap_or_else(PoisonError::into_inner);
        *stopped_at = Some(stopped_at.unwrap_or_else(SystemTime::now) + duration);
    }

    /// Tells the time.
    pub fn now(&self) -> SystemTime {
        let stopped_at = *self.stopped_at.lock().unwrap_or_else(PoisonError::into_inner);
        stopped_at.unwrap_or_else(SystemTime::now)
    }

    /// Sets the `Date` of answers apart from what is stamped on objects: ahead of it, or after it if negative, as a
    /// proxy does that writes a `Date` of its own.
    pub fn set_date_offset_ms(&self, offset_ms: i64) {
        self.date_offset_ms.store(offset_ms, Ordering::Relaxed);
    }

    /// Tells the time as answers carry it in `Date`.
    pub fn date(&self) -> SystemTime {
        let offset_ms = self.date_offset_ms.load(Ordering::Relaxed);
        let offset = Duration::from_millis(offset_ms.unsigned_abs());
        let date = if offset_ms < 0 { self.now().checked_sub(offset) } else { self.now().checked_add(offset) };
        date.unwrap_or(SystemTime::UNIX_EPOCH).max(SystemTime::UNIX_EPOCH)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now()).finish()
    }
}

/// Cuts `time` to whole seconds, or to whole milliseconds.
pub(crate) fn truncate(time: SystemTime, milliseconds: bool) -> SystemTime {
    let Ok(since_epoch) = time.duration_since(SystemTime::UNIX_EPOCH) else {
        return SystemTime::UNIX_EPOCH;
    };
    let kept = if milliseconds {
        Duration::from_millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    } else {
        Duration::from_secs(since_epoch.as_secs())
    };
    SystemTime::UNIX_EPOCH + kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manual_clock_moves_only_when_told() {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let clock = Clock::manual(start);
        let handle = clock.clone();
        assert_eq!(clock.now(), start);
        handle.advance(Duration::from_secs(5));
        assert_eq!(clock.now(), start + Duration::from_secs(5));
        handle.set(start);
        assert_eq!(clock.now(), start);
    }

    #[test]
    fn date_is_set_apart_from_the_stamps() {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let clock = Clock::manual(start);
        clock.clone().set_date_offset_ms(1_500);
        assert_eq!((clock.now(), clock.date()), (start, start + Duration::from_millis(1_500)));
        clock.set_date_offset_ms(-1_500);
        assert_eq!((clock.now(), clock.date()), (start, start - Duration::from_millis(1_500)));
        clock.set_date_offset_ms(i64::MIN);
        assert_eq!(clock.date(), SystemTime::UNIX_EPOCH, "no header says an earlier time");
    }

    #[test]
    fn time_is_cut_to_its_resolution() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(1_987_654_321);
        assert_eq!(truncate(time, false), SystemTime::UNIX_EPOCH + Duration::from_secs(1));
        assert_eq!(truncate(time, true), SystemTime::UNIX_EPOCH + Duration::from_millis(1_987));
    }
}
