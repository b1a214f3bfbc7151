//! Owns the variables of OpenTelemetry: which are read, what they mean, and which values are refused. Leaves what follows from them
//! to `exporter` and `sender`.
//!
//! The names are those of the specification (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>,
//! <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>). It has nothing sent where no endpoint is named: a pipeline that
//! was not asked to talks to nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use percent_encoding::percent_decode_str;

use super::spans::Share;
use super::wire::{KeyValue, text};

/// What the process is called that names itself not.
const SERVICE_NAME: &str = "s3-connector";

/// What is not read says so, if it is set.
const DOCUMENTED: [&str; 8] = [
    "OTEL_SDK_DISABLED",
    "OTEL_SERVICE_NAME",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_TRACES_EXPORTER",
    "OTEL_METRICS_EXPORTER",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
    "OTEL_METRIC_EXPORT_INTERVAL",
];

const BSP_DELAY: &str = "OTEL_BSP_SCHEDULE_DELAY";

/// The parts of an exporter's settings, which exist for all signals and for each.
const PARTS: [&str; 5] = ["ENDPOINT", "PROTOCOL", "HEADERS", "TIMEOUT", "CERTIFICATE"];

const SIGNALS: [&str; 2] = ["TRACES", "METRICS"];

/// The variables of OpenTelemetry that are set.
pub(super) type Variables = BTreeMap<String, String>;

/// What is wrong with a variable, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct VariableError(String);

/// How something reaches a collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http,
    Grpc,
}

/// A collector, and how to reach it.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) protocol: Protocol,
    pub(super) uri: Uri,
    /// Marked as secrets.
    pub(super) headers: HeaderMap,
    pub(super) certificates: Option<PathBuf>,
    pub(super) timeout: Duration,
}

/// What is sent, and where.
pub(super) struct Settings {
    pub(super) traces: Option<Target>,
    pub(super) metrics: Option<Target>,
    pub(super) resource: Vec<KeyValue>,
    pub(super) share: Share,
    pub(super) spans_every: Duration,
    pub(super) metrics_every: Duration,
    /// What is set and has no effect.
    pub(super) unread: Vec<String>,
}

impl Settings {
    /// What the variables ask for; nothing where they ask for nothing.
    ///
    /// # Errors
    ///
    /// If a variable has a value that is not supported.
    pub(super) fn of(variables: &Variables) -> Result<Option<Self>, VariableError> {
        let get = |name: &str| variables.get(name).map(|value| value.trim()).filter(|value| !value.is_empty());
        if get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let traces = target(&get, "TRACES", "v1/traces")?;
        let metrics = target(&get, "METRICS", "v1/metrics")?;
        if traces.is_none() && metrics.is_none() {
            return Ok(None);
        }
        Ok(Some(Self {
            traces,
            metrics,
            resource: resource(&get)?,
            share: share(&get)?,
            spans_every: milliseconds(&get, BSP_DELAY, 5_000)?,
            metrics_every: milliseconds(&get, "OTEL_METRIC_EXPORT_INTERVAL", 60_000)?,
            unread: unread(variables),
        }))
    }
}

/// The collector of one signal, if it is to be sent.
fn target<'a>(
    get: &impl Fn(&str) -> Option<&'a str>,
    signal: &str,
    path: &str,
) -> Result<Option<Target>, VariableError> {
    let exporter = format!("OTEL_{signal}_EXPORTER");
    match get(&exporter) {
        None | Some("otlp") => {}
        Some("none") => return Ok(None),
        Some(other) => return refuse(&exporter, other, "`otlp` and `none` are supported"),
    }
    // The variable of the signal comes before that of all.
    let part = |part: &str| {
        let (own, all) = (format!("OTEL_EXPORTER_OTLP_{signal}_{part}"), format!("OTEL_EXPORTER_OTLP_{part}"));
        get(&own).map(|value| (own, value)).or_else(|| get(&all).map(|value| (all, value)))
    };
    let Some((name, endpoint)) = part("ENDPOINT") else { return Ok(None) };
    let protocol = match part("PROTOCOL") {
        None => Protocol::Http,
        Some((_, "http/protobuf")) => Protocol::Http,
        Some((_, "grpc")) => Protocol::Grpc,
        Some((name, other)) => return refuse(&name, other, "`grpc` and `http/protobuf` are supported"),
    };
    let is_own = name.contains(signal);
    let address = match protocol {
        Protocol::Http if !is_own => format!("{}/{path}", endpoint.trim_end_matches('/')),
        Protocol::Http | Protocol::Grpc => endpoint.to_owned(),
    };
    let uri = address.parse::<Uri>().ok();
    let is_address = |uri: &Uri| {
        let has_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some() && !has_user
    };
    let Some(uri) = uri.filter(is_address) else {
        // An address may hold a password, so that it is not repeated.
        let message = "an address such as http://localhost:4318 is wanted, without a user or a password; keys go into \
                       OTEL_EXPORTER_OTLP_HEADERS";
        return Err(VariableError(format!("the variable `{name}` is not supported: {message}")));
    };
    let headers = match part("HEADERS") {
        None => HeaderMap::new(),
        Some((name, value)) => headers(&name, value)?,
    };
    let timeout = match part("TIMEOUT") {
        None => Duration::from_secs(10),
        Some((name, value)) => duration(&name, value)?,
    };
    let certificates = part("CERTIFICATE").map(|(_, path)| PathBuf::from(path));
    Ok(Some(Target { protocol, uri, headers, certificates, timeout }))
}

/// Headers as the specification writes them: `name=value,name=value`, in percent-encoding. No message repeats a value.
fn headers(name: &str, list: &str) -> Result<HeaderMap, VariableError> {
    let mut headers = HeaderMap::new();
    for pair in list.split(',').filter(|pair| !pair.trim().is_empty()) {
        let parsed = pair.split_once('=').and_then(|(key, value)| {
            let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
            let mut value = HeaderValue::from_str(&value).ok()?;
            value.set_sensitive(true);
            Some((HeaderName::try_from(key.trim()).ok()?, value))
        });
        let Some((key, value)) = parsed else {
            let message = "name=value pairs with commas between them are wanted, values percent-encoded";
            return Err(VariableError(format!("the variable `{name}` is not supported: {message}")));
        };
        headers.insert(key, value);
    }
    Ok(headers)
}

/// What the process says of itself.
fn resource<'a>(get: &impl Fn(&str) -> Option<&'a str>) -> Result<Vec<KeyValue>, VariableError> {
    const NAME: &str = "OTEL_RESOURCE_ATTRIBUTES";
    let mut attributes = BTreeMap::from([
        ("service.name".to_owned(), SERVICE_NAME.to_owned()),
        ("service.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("telemetry.sdk.name".to_owned(), "s3-connector".to_owned()),
        ("telemetry.sdk.language".to_owned(), "rust".to_owned()),
        ("telemetry.sdk.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
    ]);
    let given = get(NAME).unwrap_or_default();
    for pair in given.split(',').filter(|pair| !pair.trim().is_empty()) {
        let parsed = pair.split_once('=').and_then(|(key, value)| {
            let value = percent_decode_str(value.trim()).decode_utf8().ok()?.into_owned();
            Some((key.trim().to_owned(), value)).filter(|(key, _)| !key.is_empty())
        });
        let Some((key, value)) = parsed else {
            return refuse(NAME, given, "name=value pairs with commas between them are wanted");
        };
        attributes.insert(key, value);
    }
    if let Some(name) = get("OTEL_SERVICE_NAME") {
        attributes.insert("service.name".to_owned(), name.to_owned());
    }
    Ok(attributes.into_iter().map(|(key, value)| text(&key, value)).collect())
}

/// The part of passes that are traced. Passes have no parent in another process, so whether that was traced is no question.
fn share<'a>(get: &impl Fn(&str) -> Option<&'a str>) -> Result<Share, VariableError> {
    const NAME: &str = "OTEL_TRACES_SAMPLER";
    const ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";
    let sampler = get(NAME).unwrap_or("parentbased_always_on");
    match sampler.strip_prefix("parentbased_").unwrap_or(sampler) {
        "always_on" => Ok(Share::MAX),
        "always_off" => Ok(0),
        "traceidratio" => {
            let value = get(ARGUMENT).unwrap_or("1");
            match value.parse::<f64>() {
                Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok((ratio * Share::MAX as f64) as Share),
                _ => refuse(ARGUMENT, value, "a number from 0 to 1 is wanted"),
            }
        }
        _ => {
            refuse(NAME, sampler, "`always_on`, `always_off` and `traceidratio` are supported, and with `parentbased_`")
        }
    }
}

fn milliseconds<'a>(
    get: &impl Fn(&str) -> Option<&'a str>,
    name: &str,
    fallback: u64,
) -> Result<Duration, VariableError> {
    get(name).map_or(Ok(Duration::from_millis(fallback)), |value| duration(name, value))
}

fn duration(name: &str, value: &str) -> Result<Duration, VariableError> {
    // A day: longer ones are mistakes, and time has an end.
    match value.parse::<u64>() {
        Ok(ms @ 1..=86_400_000) => Ok(Duration::from_millis(ms)),
        _ => refuse(name, value, "a number of milliseconds from 1 to 86400000 is wanted"),
    }
}

/// The variables that have no effect here, but for those that concern only what others send.
fn unread(variables: &Variables) -> Vec<String> {
    let mut known: BTreeSet<String> = DOCUMENTED.iter().map(|name| (*name).to_owned()).collect();
    known.insert(BSP_DELAY.to_owned());
    for part in PARTS {
        known.insert(format!("OTEL_EXPORTER_OTLP_{part}"));
        known.extend(SIGNALS.map(|signal| format!("OTEL_EXPORTER_OTLP_{signal}_{part}")));
    }
    variables.keys().filter(|name| name.starts_with("OTEL_") && !known.contains(*name)).cloned().collect()
}

fn refuse<T>(name: &str, value: &str, wanted: &str) -> Result<T, VariableError> {
    Err(VariableError(format!("the variable `{name}` is not supported with the value `{value}`: {wanted}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Option<Settings>, VariableError> {
        Settings::of(&variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/");

    #[test]
    fn nothing_is_sent_unless_an_endpoint_is_named() {
        for variables in [
            &[][..],
            &[("OTEL_SERVICE_NAME", "a")],
            &[("OTEL_TRACES_EXPORTER", "otlp")],
            &[ENDPOINT, ("OTEL_SDK_DISABLED", "TRUE")],
            &[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none"), ("OTEL_METRICS_EXPORTER", "none")],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")],
        ] {
            assert!(of(variables).unwrap().is_none(), "{variables:?}");
        }
    }

    #[test]
    fn a_signals_own_variable_comes_first_and_is_taken_as_it_is() {
        let settings = of(&[
            ENDPOINT,
            ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "https://m/here"),
            ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20b, x=y"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "7"),
            ("OTEL_RESOURCE_ATTRIBUTES", "a=b%2Cc,service.name=x"),
            ("OTEL_SERVICE_NAME", "night"),
            ("OTEL_LOGS_EXPORTER", "otlp"),
        ]);
        let settings = settings.unwrap().unwrap();
        let (traces, metrics) = (settings.traces.unwrap(), settings.metrics.unwrap());
        assert_eq!((traces.uri.to_string().as_str(), traces.protocol), ("http://c:4318/v1/traces", Protocol::Http));
        assert_eq!((metrics.uri.to_string().as_str(), metrics.protocol), ("https://m/here", Protocol::Grpc));
        assert_eq!((traces.timeout, metrics.timeout), (Duration::from_millis(7), Duration::from_secs(10)));
        assert_eq!(traces.headers["api-key"], "a b");
        assert!(!format!("{:?}", traces.headers).contains("a b"));
        assert!(
            settings.resource.contains(&text("a", "b,c")) && settings.resource.contains(&text("service.name", "night"))
        );
        assert_eq!(settings.unread, ["OTEL_LOGS_EXPORTER"]);
    }

    #[test]
    fn what_is_not_supported_is_refused_by_its_name() {
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:s3cret@c"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "s3cret"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
            ("OTEL_METRICS_EXPORTER", "prometheus"),
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "0"),
            ("OTEL_RESOURCE_ATTRIBUTES", "a"),
        ] {
            let refused = of(&[ENDPOINT, (name, value)]).err().unwrap().to_string();
            assert!(refused.contains(name) && !refused.contains("s3cret"), "{refused}");
        }
        let ratio = [ENDPOINT, ("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "2")];
        assert!(of(&ratio).err().unwrap().to_string().contains("OTEL_TRACES_SAMPLER_ARG"));
    }

    #[test]
    fn a_share_of_passes_is_traced() {
        for (sampler, argument, share) in [
            ("always_on", "", Share::MAX),
            ("parentbased_always_off", "", 0),
            ("traceidratio", "0.5", 1 << 63),
            ("parentbased_traceidratio", "1", Share::MAX),
        ] {
            let variables = [ENDPOINT, ("OTEL_TRACES_SAMPLER", sampler), ("OTEL_TRACES_SAMPLER_ARG", argument)];
            assert_eq!(of(&variables).unwrap().unwrap().share, share, "{sampler}");
        }
    }
}
