//! Owns what reaches the log of what a component says: levels, and a bounded number of lines of bounded length. Leaves
//! where the log goes to the program that embeds the host.

use crate::bindings::log::Level;
use crate::flood::{Admission, Flood, LINES_MAX, one_line};

/// The log of one instance.
#[derive(Debug)]
pub(super) struct Log {
    /// Whom lines name.
    connector: String,
    flood: Flood,
}

/// Logs at a level that is known when the program runs.
macro_rules! log_at {
    ($level:expr, $($rest:tt)*) => {
        match $level {
            Level::Trace => tracing::trace!($($rest)*),
            Level::Debug => tracing::debug!($($rest)*),
            Level::Info => tracing::info!($($rest)*),
            Level::Warn => tracing::warn!($($rest)*),
            Level::Error => tracing::error!($($rest)*),
        }
    };
}

impl Log {
    pub(super) fn new(connector: String) -> Self {
        Self { connector, flood: Flood::new() }
    }

    /// Logs a line, or drops it where there are too many. Lines that nobody would see don't count.
    pub(super) fn line(&self, level: Level, text: &str) {
        if !is_seen(level) {
            return;
        }
        if let Admission::Logged { dropped } = self.flood.admit() {
            self.tell_of(dropped);
            let (connector, text) = (&self.connector, one_line(text));
            log_at!(level, %connector, "{text}");
        }
    }

    fn tell_of(&self, dropped: u64) {
        if dropped > 0 {
            tracing::warn!(
                connector = %self.connector,
                "{dropped} lines of the connector were dropped: it may log {LINES_MAX} per second"
            );
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.tell_of(self.flood.left());
    }
}

fn is_seen(level: Level) -> bool {
    match level {
        Level::Trace => tracing::enabled!(tracing::Level::TRACE),
        Level::Debug => tracing::enabled!(tracing::Level::DEBUG),
        Level::Info => tracing::enabled!(tracing::Level::INFO),
        Level::Warn => tracing::enabled!(tracing::Level::WARN),
        Level::Error => tracing::enabled!(tracing::Level::ERROR),
    }
}
