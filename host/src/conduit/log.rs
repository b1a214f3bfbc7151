//! Owns log lines in the form that go-plugin reads from a plugin's stderr: one JSON object per line, as hclog writes them.
//! Leaves what is logged to everybody else.
//!
//! There is no `@module`: Conduit would write a second `component` for it. Values are strings without exception: of any other type, Conduit panics. A time has exactly six digits of a second, or
//! the whole line loses its level.

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::time::SystemTime;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use super::moment;
use crate::printable::{self, MESSAGE_BYTES_MAX};

/// Logs lines of this severity, and more severe ones, from now on.
pub(super) fn init(level: LevelFilter) {
    // Only the first one counts, as in tests.
    let _ = tracing_subscriber::registry().with(Lines.with_filter(keeps(level))).try_init();
}

fn keeps(level: LevelFilter) -> impl tracing_subscriber::layer::Filter<tracing_subscriber::Registry> {
    tracing_subscriber::filter::Targets::new()
        .with_target("s3_connector_host", level)
        .with_target("s3_connector", level)
        // Below this, those of AWS's crates may hold keys.
        .with_default(level.min(LevelFilter::WARN))
}

struct Lines;

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let text = line.encode(*event.metadata().level(), i128::try_from(now.as_nanos()).unwrap_or_default());
        // Nobody can be told that there is nobody to be told.
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }
}

/// A line on its way.
#[derive(Default)]
struct Line {
    message: String,
    fields: Map<String, Value>,
}

impl Line {
    fn encode(mut self, level: Level, nanos: i128) -> String {
        let level = match level {
            Level::TRACE => "trace",
            Level::DEBUG => "debug",
            Level::INFO => "info",
            Level::WARN => "warn",
            Level::ERROR => "error",
        };
        for (name, value) in [
            ("@level", level),
            ("@message", &self.message),
            ("@timestamp", &moment::microseconds(nanos).unwrap_or_default()),
        ] {
            self.fields.insert(name.to_owned(), Value::from(value));
        }
        format!("{}\n", Value::Object(self.fields))
    }

    fn add(&mut self, field: &Field, value: String) {
        let value = printable::line(&value, MESSAGE_BYTES_MAX).into_owned();
        if field.name() == "message" {
            self.message = value;
        } else {
            self.fields.insert(field.name().to_owned(), Value::from(value));
        }
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        // A string takes all that is written.
        let _ = write!(text, "{value:?}");
        self.add(field, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_what_hclog_reads() {
        let line = Line {
            message: "a \"b\"".to_owned(),
            fields: [("key".to_owned(), Value::from("k"))].into_iter().collect(),
        };
        let text = line.encode(Level::WARN, 1_700_000_000_000_001_999);
        let parsed: Map<String, Value> = serde_json::from_str(&text).unwrap();
        assert!(text.ends_with('\n') && parsed.values().all(Value::is_string), "{text}");
        assert_eq!(parsed["@message"], "a \"b\"");
        assert_eq!(parsed["@level"], "warn");
        assert_eq!(parsed["@timestamp"], "2023-11-14T22:13:20.000001Z");
        assert_eq!(parsed["key"], "k");
    }
}
