//! Owns the `sdk.*` parameters: those that Conduit's Go SDK adds to every connector, under the same names and with the same
//! defaults, so that a pipeline of the Go connector runs with this one. Leaves what they do to `source` and `destination`,
//! and the connector's own settings to the component.
//!
//! Conduit knows nothing of them: a connector that lists them must honour them.

use std::collections::BTreeMap;
use std::time::Duration;

use conduit_protocol::config::v1::parameter::Type;
use conduit_protocol::config::v1::validation::Type as Check;
use conduit_protocol::config::v1::{Parameter, Validation};
use s3_connector::config::duration;

use crate::connector::settings::Settings;

/// What parameters of the plugin begin with.
const PREFIX: &str = "sdk.";

const BATCH_SIZE: &str = "sdk.batch.size";
const BATCH_DELAY: &str = "sdk.batch.delay";
const RATE: &str = "sdk.rate.perSecond";
const BURST: &str = "sdk.rate.burst";
const FORMAT: &str = "sdk.record.format";
const FORMAT_OPTIONS: &str = "sdk.record.format.options";
const EXTRACT_KEY: &str = "sdk.schema.extract.key.enabled";
const EXTRACT_PAYLOAD: &str = "sdk.schema.extract.payload.enabled";

/// The only format of records: that of the objects' lines, where they are JSON.
const OPENCDC_JSON: &str = "opencdc/json";

/// One parameter: name, type, default, checks, and what it does.
type Entry = (&'static str, Type, &'static str, &'static [(Check, &'static str)], &'static str);

const NOT_NEGATIVE: &[(Check, &str)] = &[(Check::GreaterThan, "-1")];

const SOURCE: [Entry; 9] = [
    (BATCH_SIZE, Type::Int, "0", NOT_NEGATIVE, "Records in one message to Conduit. 0: as many as are ready."),
    (
        BATCH_DELAY,
        Type::Duration,
        "0",
        &[],
        "Longest time that a record waits for its message to fill. Where it is 0 and `sdk.batch.size` is set: 1s.",
    ),
    (
        "sdk.schema.context.enabled",
        Type::Bool,
        "true",
        &[],
        "No effect: the payloads of this source are raw bytes, which have no schema.",
    ),
    ("sdk.schema.context.name", Type::String, "", &[], "No effect, as `sdk.schema.context.enabled`."),
    (
        "sdk.schema.extract.type",
        Type::String,
        "avro",
        &[(Check::Inclusion, "avro")],
        "No effect, as `sdk.schema.context.enabled`.",
    ),
    (EXTRACT_KEY, Type::Bool, "false", &[], "No effect, as `sdk.schema.context.enabled`."),
    ("sdk.schema.extract.key.subject", Type::String, "key", &[], "No effect, as `sdk.schema.context.enabled`."),
    (EXTRACT_PAYLOAD, Type::Bool, "false", &[], "No effect, as `sdk.schema.context.enabled`."),
    ("sdk.schema.extract.payload.subject", Type::String, "payload", &[], "No effect, as `sdk.schema.context.enabled`."),
];

const DESTINATION: [Entry; 8] = [
    (
        BATCH_SIZE,
        Type::Int,
        "0",
        NOT_NEGATIVE,
        "Records in a batch, which becomes one object; it stands for `bufferSize`. 0: what `bufferSize` says.",
    ),
    (
        BATCH_DELAY,
        Type::Duration,
        "0",
        &[],
        "Longest time that a record waits for its batch to fill; it stands for `bufferDelay`. 0: what `bufferDelay` says.",
    ),
    (RATE, Type::Float, "0", NOT_NEGATIVE, "Records per second that are written at most. 0: any number."),
    (
        BURST,
        Type::Int,
        "0",
        NOT_NEGATIVE,
        "Records that may be written at once after a pause, where `sdk.rate.perSecond` is set. 0: those of one second.",
    ),
    (
        FORMAT,
        Type::String,
        OPENCDC_JSON,
        &[(Check::Inclusion, OPENCDC_JSON)],
        "Format of records: objects hold them as OpenCDC has them.",
    ),
    (FORMAT_OPTIONS, Type::String, "", &[], "Options of the format, which has none."),
    (
        EXTRACT_KEY,
        Type::Bool,
        "true",
        &[],
        "Whether keys that are encoded with a schema of Conduit's schema service are decoded.",
    ),
    (
        EXTRACT_PAYLOAD,
        Type::Bool,
        "true",
        &[],
        "Whether payloads that are encoded with a schema of Conduit's schema service are decoded.",
    ),
];

fn parameters(entries: &[Entry]) -> impl Iterator<Item = (String, Parameter)> {
    entries.iter().map(|(name, kind, default, checks, description)| {
        let validation =
            |(kind, value): &(Check, &str)| Validation { r#type: (*kind).into(), value: (*value).to_owned() };
        let parameter = Parameter {
            default: (*default).to_owned(),
            description: (*description).to_owned(),
            r#type: (*kind).into(),
            validations: checks.iter().map(validation).collect(),
        };
        ((*name).to_owned(), parameter)
    })
}

/// The parameters that every source has.
pub(super) fn of_sources() -> impl Iterator<Item = (String, Parameter)> {
    parameters(&SOURCE)
}

/// The parameters that every destination has.
pub(super) fn of_destinations() -> impl Iterator<Item = (String, Parameter)> {
    parameters(&DESTINATION)
}

/// How many records go together; both are 0 where nothing is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Batching {
    pub(super) size: usize,
    pub(super) delay: Duration,
}

/// How many records may be written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rate {
    pub(super) per_second: f64,
    pub(super) burst: usize,
}

/// What a source is asked to do for Conduit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct SourceParameters {
    pub(super) batching: Batching,
}

/// What a destination is asked to do for Conduit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct DestinationParameters {
    pub(super) batching: Batching,
    pub(super) rate: Option<Rate>,
    pub(super) decodes_keys: bool,
    pub(super) decodes_payloads: bool,
}

/// A configuration, taken apart.
pub(super) struct Split<P> {
    /// The plugin's part; what is wrong with it, one fault per line.
    pub(super) parameters: Result<P, Vec<String>>,
    /// The component's part.
    pub(super) settings: Settings,
}

/// Takes a source's configuration apart.
pub(super) fn of_source(config: BTreeMap<String, String>) -> Split<SourceParameters> {
    let (mut values, settings) = Values::split(config, &SOURCE);
    let parameters = SourceParameters { batching: values.batching() };
    Split { parameters: values.finish(parameters), settings }
}

/// Takes a destination's configuration apart.
pub(super) fn of_destination(config: BTreeMap<String, String>) -> Split<DestinationParameters> {
    let (mut values, settings) = Values::split(config, &DESTINATION);
    let per_second: f64 =
        values.parse(RATE, "a number from 0", |text| text.parse().ok().filter(|n: &f64| n.is_finite()));
    let burst: usize = values.parse(BURST, "a whole number", |text| text.parse().ok());
    if !values.text(FORMAT_OPTIONS).is_empty() {
        values.refuse(FORMAT_OPTIONS, "empty: the format has no options");
    }
    let rate = (per_second > 0.0)
        .then(|| Rate { per_second, burst: if burst > 0 { burst } else { per_second.ceil() as usize } });
    let parameters = DestinationParameters {
        batching: values.batching(),
        rate,
        decodes_keys: values.parse(EXTRACT_KEY, "true or false", parse_bool),
        decodes_payloads: values.parse(EXTRACT_PAYLOAD, "true or false", parse_bool),
    };
    Split { parameters: values.finish(parameters), settings }
}

/// Values of parameters on their way to be read.
struct Values {
    values: BTreeMap<String, String>,
    entries: &'static [Entry],
    faults: Vec<String>,
}

impl Values {
    fn split(config: BTreeMap<String, String>, entries: &'static [Entry]) -> (Self, Settings) {
        let trimmed = config.into_iter().map(|(name, value)| (name.trim().to_owned(), value));
        let (ours, settings): (BTreeMap<_, _>, _) = trimmed.partition(|(name, _)| name.starts_with(PREFIX));
        let mut values = Self { values: ours, entries, faults: Vec::new() };
        values.check();
        (values, settings)
    }

    /// Refuses unknown names, and words that are not among those of a parameter.
    fn check(&mut self) {
        for (name, value) in &self.values {
            let Some((_, kind, _, checks, _)) = self.entries.iter().find(|(known, ..)| known == name) else {
                let nearest =
                    self.entries.iter().map(|(known, ..)| *known).min_by_key(|known| strsim::levenshtein(known, name));
                let nearest = nearest.unwrap_or_default();
                self.faults.push(format!("unknown setting `{name}`; did you mean `{nearest}`?"));
                continue;
            };
            let value = value.trim();
            for (_, words) in checks.iter().filter(|(check, _)| *check == Check::Inclusion) {
                if !value.is_empty() && !words.split(',').any(|word| word == value) {
                    self.faults.push(format!("setting `{name}` is `{value}`, but must be {words}"));
                }
            }
            if *kind == Type::Bool && !value.is_empty() && parse_bool(value).is_none() {
                self.faults.push(format!("setting `{name}` is `{value}`, but must be true or false"));
            }
        }
    }

    /// The value, or the default where it is empty.
    fn text(&self, name: &str) -> &str {
        let set = self.values.get(name).map(|value| value.trim()).filter(|value| !value.is_empty());
        let default =
            || self.entries.iter().find(|(known, ..)| *known == name).map_or("", |(_, _, default, ..)| default);
        set.unwrap_or_else(default)
    }

    fn refuse(&mut self, name: &str, expected: &str) {
        let fault = format!("setting `{name}` is `{}`, but must be {expected}", self.text(name));
        if !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }

    fn parse<T: Default + PartialOrd>(&mut self, name: &str, expected: &str, parse: impl Fn(&str) -> Option<T>) -> T {
        match parse(self.text(name)).filter(|value| *value >= T::default()) {
            Some(value) => value,
            None => {
                self.refuse(name, expected);
                T::default()
            }
        }
    }

    fn batching(&mut self) -> Batching {
        Batching {
            size: self.parse(BATCH_SIZE, "a whole number, such as 1000, or 0", |text| text.parse().ok()),
            delay: self.parse(BATCH_DELAY, "a duration such as 500ms or 1m30s, or 0", parse_delay),
        }
    }

    fn finish<P>(self, parameters: P) -> Result<P, Vec<String>> {
        if self.faults.is_empty() { Ok(parameters) } else { Err(self.faults) }
    }
}

/// A duration, which may be 0, with a unit or without.
fn parse_delay(text: &str) -> Option<Duration> {
    if text == "0" || is_zero(text) { Some(Duration::ZERO) } else { duration::parse(text).ok() }
}

/// Whether it is nothing but zeros with units, such as `0h0.0s`.
fn is_zero(text: &str) -> bool {
    let mut rest = text;
    while !rest.is_empty() {
        let number = rest.trim_start_matches(['0', '.']);
        let digits = &rest[..rest.len() - number.len()];
        let unit = number.trim_start_matches(|c: char| c.is_ascii_alphabetic() || c == 'µ');
        let name = &number[..number.len() - unit.len()];
        let is_number = digits.contains('0') && digits.matches('.').count() <= 1;
        if !is_number || !["ns", "us", "µs", "ms", "s", "m", "h"].contains(&name) {
            return false;
        }
        rest = unit;
    }
    !text.is_empty()
}

/// As Go's `ParseBool` reads it.
fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn defaults_are_the_go_sdks() {
        let split = of_destination(config(&[("aws.bucket", "b")]));
        let expected = DestinationParameters {
            batching: Batching::default(),
            rate: None,
            decodes_keys: true,
            decodes_payloads: true,
        };
        assert_eq!(split.parameters.unwrap(), expected);
        assert_eq!(split.settings, config(&[("aws.bucket", "b")]));
        assert_eq!(of_source(config(&[])).parameters.unwrap(), SourceParameters { batching: Batching::default() });
    }

    #[test]
    fn values_are_read_as_go_reads_them() {
        let split = of_destination(config(&[
            (" sdk.batch.size ", "100"),
            ("sdk.batch.delay", "1m30s"),
            ("sdk.rate.perSecond", "2.5"),
            ("sdk.schema.extract.key.enabled", "F"),
            ("sdk.record.format", ""),
        ]));
        let parameters = split.parameters.unwrap();
        assert_eq!(parameters.batching, Batching { size: 100, delay: Duration::from_secs(90) });
        assert_eq!(parameters.rate, Some(Rate { per_second: 2.5, burst: 3 }));
        assert_eq!((parameters.decodes_keys, parameters.decodes_payloads), (false, true));
        for zero in ["0", "0s", "0ms", "0h0.0s", ""] {
            let split = of_source(config(&[("sdk.batch.delay", zero)]));
            assert_eq!(split.parameters.unwrap().batching.delay, Duration::ZERO, "{zero}");
        }
        for none in [".", "0fortnights", "0.0.0s", "s", "00 s"] {
            let faults = of_source(config(&[("sdk.batch.delay", none)])).parameters.unwrap_err();
            assert!(faults[0].contains("sdk.batch.delay"), "{none}: {faults:?}");
        }
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let split = of_destination(config(&[
            ("sdk.batch.size", "-1"),
            ("sdk.batch.delay", "soon"),
            ("sdk.batch.sise", "1"),
            ("sdk.rate.burst", "x"),
            ("sdk.record.format", "debezium/json"),
            ("sdk.schema.extract.payload.enabled", "maybe"),
        ]));
        let faults = split.parameters.unwrap_err();
        assert_eq!(faults.len(), 6, "{faults:?}");
        assert!(
            faults.contains(&"unknown setting `sdk.batch.sise`; did you mean `sdk.batch.size`?".to_owned()),
            "{faults:?}"
        );
        for name in ["batch.size`", "batch.delay", "rate.burst", "record.format", "extract.payload"] {
            assert!(faults.iter().any(|fault| fault.contains(name)), "{name}: {faults:?}");
        }
    }
}
