//! Every setting: its name, type, default, check and description. The specification is made from this list.
//!
//! Reading settings does no I/O. Where missing settings come from (environment, profiles) and what the secret
//! ones hold is the host's business: a secret arrives here as a placeholder.

pub mod duration;
pub mod endpoint;
pub mod identity;
pub mod size;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::{Error, Result};
use endpoint::Endpoint;

/// Settings by name, as a pipeline's author wrote them.
pub type Settings = BTreeMap<String, String>;

/// How a setting's text is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterType {
    /// Any text.
    String,
    /// A whole number.
    Int,
    /// `true` or `false`.
    Bool,
    /// Go's duration syntax.
    Duration,
}

/// What a setting's value must satisfy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Validation {
    /// It must be there.
    Required,
    /// It must be greater.
    GreaterThan(f64),
    /// It must be less.
    LessThan(f64),
    /// It must be one of these.
    Inclusion(&'static [&'static str]),
    /// It must match, by RE2's rules.
    Regex(&'static str),
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What it does, for people.
    pub description: &'static str,
    /// How it is read.
    pub kind: ParameterType,
    /// What holds where it is not set.
    pub default: Option<&'static str>,
    /// Whether the host keeps the value to itself.
    pub secret: bool,
    /// What must hold.
    pub validations: &'static [Validation],
}

const fn text(name: &'static str, description: &'static str) -> Parameter {
    Parameter { name, description, kind: ParameterType::String, default: None, secret: false, validations: &[] }
}

const fn secret(name: &'static str, description: &'static str) -> Parameter {
    Parameter { secret: true, ..text(name, description) }
}

/// Settings of both sides.
const SHARED: [Parameter; 8] = [
    secret(
        "aws.accessKeyId",
        "Access key id. Without it the host looks where the AWS CLI does: environment, profile, web identity, \
         container, instance.",
    ),
    secret("aws.secretAccessKey", "Secret access key that goes with aws.accessKeyId."),
    secret("aws.sessionToken", "Session token of temporary credentials."),
    Parameter {
        validations: &[Validation::Required],
        ..text("aws.region", "Region of the bucket; AWS_REGION where it is not set.")
    },
    Parameter { validations: &[Validation::Required], ..text("aws.bucket", "Name of the bucket.") },
    Parameter {
        validations: &[Validation::Regex("^https?://.+")],
        ..text(
            "aws.endpoint",
            "URL of a store that speaks S3 (MinIO, R2, Ceph…); AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL where it \
             is not set, else AWS itself.",
        )
    },
    Parameter {
        kind: ParameterType::Bool,
        ..text(
            "aws.forcePathStyle",
            "Whether the bucket stands in the path rather than in the host name; true where aws.endpoint is set.",
        )
    },
    Parameter {
        default: Some(""),
        ..text("prefix", "Only keys that begin with this text: a plain string, never a path.")
    },
];

const UNREADABLE: &[&str] = &["stop", "skip"];

const SOURCE: [Parameter; 5] = [
    Parameter {
        name: "pollingPeriod",
        description: "Time between the starts of two looks for changes, as a Go duration (1s, 1m30s).",
        kind: ParameterType::Duration,
        default: Some("1s"),
        secret: false,
        validations: &[],
    },
    Parameter {
        name: "lookback",
        description: "How far behind the newest change each look reaches, since S3 stamps objects with the time \
                      at which their upload began. What was delivered is not delivered again. Make it longer \
                      where single uploads take longer or the bucket is a replica.",
        kind: ParameterType::Duration,
        default: Some("5m"),
        secret: false,
        validations: &[],
    },
    Parameter {
        name: "concurrency",
        description: "Objects fetched at the same time.",
        kind: ParameterType::Int,
        default: Some("64"),
        secret: false,
        validations: &[Validation::GreaterThan(0.0), Validation::LessThan(513.0)],
    },
    Parameter {
        default: Some("stop"),
        validations: &[Validation::Inclusion(UNREADABLE)],
        ..text(
            "unreadable",
            "What an object does that may not or can't be read (denied, encrypted with a key that is not ours, larger \
             than objectBytes): stop the source, once all before it are delivered, or skip: it is logged, counted and \
             listed at the end. Archived ones are always skipped.",
        )
    },
    Parameter {
        validations: &[Validation::Regex("^[0-9]+ *([KMG]i?)?B?$")],
        ..text(
            "objectBytes",
            "Largest object to deliver, such as 64MiB; larger ones can't be read, by what unreadable says. Any size \
             where it is not set.",
        )
    },
];

const FORMATS: &[&str] = &["json", "parquet"];

const DESTINATION: [Parameter; 4] = [
    Parameter {
        validations: &[Validation::Required, Validation::Inclusion(FORMATS)],
        ..text("format", "Format of the objects: json (OpenCDC records, one a line) or parquet.")
    },
    Parameter {
        name: "bufferSize",
        description: "Records in a batch, which becomes one object.",
        kind: ParameterType::Int,
        default: Some("1000"),
        secret: false,
        validations: &[Validation::GreaterThan(0.0), Validation::LessThan(100_001.0)],
    },
    Parameter {
        default: Some("16MiB"),
        validations: &[Validation::Regex("^[0-9]+ *([KMG]i?)?B?$")],
        ..text("bufferBytes", "Bytes of records in a batch, up to 64MiB.")
    },
    Parameter {
        name: "bufferDelay",
        description: "Longest time that a record waits for its batch to fill, as a Go duration.",
        kind: ParameterType::Duration,
        default: Some("5s"),
        secret: false,
        validations: &[],
    },
];

/// The settings of a source, in the order of documentation.
pub fn source_parameters() -> impl Iterator<Item = &'static Parameter> {
    SHARED.iter().chain(&SOURCE)
}

/// The settings of a destination, in the order of documentation.
pub fn destination_parameters() -> impl Iterator<Item = &'static Parameter> {
    SHARED.iter().chain(&DESTINATION)
}

/// Which bucket, and how it is addressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketConfig {
    /// The bucket's name.
    pub bucket: String,
    /// The bucket's region.
    pub region: String,
    /// Where requests go.
    pub endpoint: Endpoint,
    /// What keys begin with.
    pub prefix: String,
}

/// What a source is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceConfig {
    /// The bucket.
    pub bucket: BucketConfig,
    /// Names the store, whichever of its addresses is used.
    pub store: String,
    /// Time between the starts of two passes.
    pub polling_period: Duration,
    /// How far a pass reaches behind the previous cut.
    pub lookback: Duration,
    /// Fetches in flight at most.
    pub concurrency: usize,
    /// What an object does that can't be read.
    pub unreadable: Unreadable,
    /// Bytes of the largest object to deliver.
    pub object_bytes_max: Option<u64>,
}

/// What an object does that can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It stops the source.
    Stop,
    /// It is passed over.
    Skip,
}

/// How a destination writes a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormatName {
    /// OpenCDC JSON, a record a line.
    Json,
    /// Parquet.
    Parquet,
}

/// What a destination is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationConfig {
    /// The bucket.
    pub bucket: BucketConfig,
    /// The format of objects.
    pub format: FormatName,
    /// Records in a batch.
    pub buffer_records_max: usize,
    /// Bytes of records in a batch.
    pub buffer_bytes_max: u64,
    /// Age of a batch's first record at most.
    pub buffer_delay: Duration,
}

impl SourceConfig {
    /// Reads a source's settings.
    ///
    /// # Errors
    ///
    /// `invalid`, naming every setting that is unknown, missing or malformed.
    pub fn parse(settings: &Settings) -> Result<Self> {
        let values = Values::check(settings, source_parameters().collect())?;
        let bucket = values.bucket()?;
        Ok(Self {
            store: identity::of(&bucket.endpoint, &bucket.region, &bucket.bucket),
            bucket,
            polling_period: values.duration("pollingPeriod")?,
            lookback: values.duration("lookback")?,
            concurrency: values.int("concurrency")?,
            unreadable: match values.get("unreadable") {
                Some("skip") => Unreadable::Skip,
                _ => Unreadable::Stop,
            },
            object_bytes_max: values.optional_size("objectBytes")?,
        })
    }
}

impl DestinationConfig {
    /// Reads a destination's settings.
    ///
    /// # Errors
    ///
    /// `invalid`, naming every setting that is unknown, missing or malformed.
    pub fn parse(settings: &Settings) -> Result<Self> {
        let values = Values::check(settings, destination_parameters().collect())?;
        Ok(Self {
            bucket: values.bucket()?,
            format: match values.get("format") {
                Some("parquet") => FormatName::Parquet,
                _ => FormatName::Json,
            },
            buffer_records_max: values.int("bufferSize")?,
            buffer_bytes_max: values.size("bufferBytes", crate::limits::RECORD_BYTES_MAX)?,
            buffer_delay: values.duration("bufferDelay")?,
        })
    }
}

/// Settings that are known and pass their declared checks; defaults filled in.
struct Values(BTreeMap<&'static str, String>);

impl Values {
    fn check(settings: &Settings, parameters: Vec<&'static Parameter>) -> Result<Self> {
        let mut problems = Vec::new();
        for name in settings.keys().filter(|n| parameters.iter().all(|p| p.name != n.trim())) {
            problems.push(unknown(name.trim(), &parameters));
        }
        let mut values = BTreeMap::new();
        for parameter in parameters {
            let given = settings.iter().find(|(n, _)| n.trim() == parameter.name).map(|(_, v)| v);
            // A prefix may begin or end with a space; nothing else means anything by one.
            let given = given.map(|v| if parameter.name == "prefix" { v.as_str() } else { v.trim() });
            match given.filter(|v| !v.is_empty()).or(parameter.default) {
                Some(value) => {
                    problems.extend(parameter.problem(value));
                    values.insert(parameter.name, value.to_owned());
                }
                None if parameter.validations.contains(&Validation::Required) => {
                    problems.push(missing(parameter));
                }
                None => {}
            }
        }
        if problems.is_empty() { Ok(Self(values)) } else { Err(Error::invalid(problems.join("\n"))) }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn required(&self, name: &str) -> Result<&str> {
        self.get(name).ok_or_else(|| Error::invalid(format!("setting `{name}` is missing")))
    }

    fn int(&self, name: &'static str) -> Result<usize> {
        let text = self.required(name)?;
        text.parse().map_err(|_| malformed(name, text, "a whole number"))
    }

    fn duration(&self, name: &'static str) -> Result<Duration> {
        let text = self.required(name)?;
        duration::parse(text).map_err(|why| malformed(name, text, &why))
    }

    fn size(&self, name: &'static str, max: u64) -> Result<u64> {
        let text = self.required(name)?;
        match size::parse(text) {
            Some(bytes) if (1..=max).contains(&bytes) => Ok(bytes),
            _ => Err(malformed(name, text, &format!("a size from 1B to {}MiB, such as 16MiB", max >> 20))),
        }
    }

    fn optional_size(&self, name: &'static str) -> Result<Option<u64>> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        match size::parse(text) {
            Some(bytes) if bytes > 0 => Ok(Some(bytes)),
            _ => Err(malformed(name, text, "a size such as 64MiB")),
        }
    }

    fn bucket(&self) -> Result<BucketConfig> {
        let bucket = self.required("aws.bucket")?;
        let region = self.required("aws.region")?;
        endpoint::check_bucket(bucket).map_err(|why| malformed("aws.bucket", bucket, why))?;
        endpoint::check_region(region).map_err(|why| malformed("aws.region", region, why))?;
        let path_style = self.get("aws.forcePathStyle").map(|v| parse_bool(v) == Some(true));
        let url = self.get("aws.endpoint");
        let endpoint = Endpoint::new(url, path_style, region, bucket).map_err(|why| {
            let url = url.unwrap_or_default();
            // What stands in front of an `@` may be a password.
            let shown = url.rsplit_once('@').map_or(url, |(_, host)| host);
            malformed("aws.endpoint", shown, why)
        })?;
        Ok(BucketConfig {
            bucket: bucket.to_owned(),
            region: region.to_owned(),
            endpoint,
            prefix: self.get("prefix").unwrap_or_default().to_owned(),
        })
    }
}

impl Parameter {
    /// What is wrong with `value`, if anything is.
    fn problem(&self, value: &str) -> Option<String> {
        let number: Option<f64> = value.parse::<i64>().ok().map(|n| n as f64);
        match self.kind {
            ParameterType::Int if number.is_none() => {
                return Some(malformed(self.name, value, "a whole number").message);
            }
            ParameterType::Bool if parse_bool(value).is_none() => {
                return Some(malformed(self.name, value, "true or false").message);
            }
            ParameterType::Duration => {
                return duration::parse(value).err().map(|why| malformed(self.name, value, &why).message);
            }
            _ => {}
        }
        let out_of_range = self.validations.iter().any(|validation| match validation {
            Validation::GreaterThan(bound) => number.is_some_and(|n| n <= *bound),
            Validation::LessThan(bound) => number.is_some_and(|n| n >= *bound),
            _ => false,
        });
        if out_of_range {
            return Some(malformed(self.name, value, &self.range()).message);
        }
        self.validations.iter().find_map(|validation| match validation {
            Validation::Inclusion(allowed) if !allowed.contains(&value) => {
                Some(malformed(self.name, value, &format!("one of {}", allowed.join(", "))).message)
            }
            _ => None,
        })
    }

    fn range(&self) -> String {
        let (mut low, mut high) = (f64::MIN, f64::MAX);
        for validation in self.validations {
            match validation {
                Validation::GreaterThan(bound) => low = bound + 1.0,
                Validation::LessThan(bound) => high = bound - 1.0,
                _ => {}
            }
        }
        format!("a whole number from {low} to {high}")
    }
}

fn malformed(name: &str, value: &str, expected: &str) -> Error {
    Error::invalid(format!("setting `{name}` is `{value}`, but must be {expected}"))
}

fn missing(parameter: &Parameter) -> String {
    let hint = match parameter.name {
        "aws.region" => "; set it or AWS_REGION",
        "format" => "; it is one of json, parquet",
        _ => "",
    };
    format!("setting `{}` is required{hint}", parameter.name)
}

fn unknown(name: &str, parameters: &[&'static Parameter]) -> String {
    let nearest = parameters
        .iter()
        .map(|p| (strsim::damerau_levenshtein(&p.name.to_lowercase(), &name.to_lowercase()), p.name))
        .min();
    match nearest {
        Some((distance, known)) if distance <= known.len() / 2 => {
            format!("unknown setting `{name}`; did you mean `{known}`?")
        }
        _ => {
            let names: Vec<_> = parameters.iter().map(|p| p.name).collect();
            format!("unknown setting `{name}`; known are {}", names.join(", "))
        }
    }
}

/// What is odd about a prefix, and what was probably meant; none where nothing is. Keys may begin with a slash and hold
/// stars, so it is said and not refused.
pub fn doubt_prefix(prefix: &str) -> Option<String> {
    let meant = prefix.trim_start_matches('/');
    let meant = &meant[..meant.find(['*', '?']).unwrap_or(meant.len())];
    let reason = if prefix.contains(['*', '?']) {
        "a prefix is plain text, in which `*` and `?` stand for themselves"
    } else if prefix.starts_with('/') {
        "keys rarely begin with a slash"
    } else {
        return None;
    };
    Some(format!("{reason}: `{meant}` was probably meant"))
}

/// Reads a truth as Go's `ParseBool` does.
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

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        let base = [("aws.region", "us-east-1"), ("aws.bucket", "b1x"), ("format", "json")];
        base.iter().chain(pairs).map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    }

    fn source(pairs: &[(&str, &str)]) -> Result<SourceConfig> {
        let mut settings = settings(pairs);
        settings.remove("format");
        SourceConfig::parse(&settings)
    }

    #[test]
    fn defaults_are_those_of_the_specification() {
        let config = source(&[]).expect("parses");
        assert_eq!(config.polling_period, Duration::from_secs(1));
        assert_eq!(config.lookback, Duration::from_secs(300));
        assert_eq!(config.concurrency, 64);
        assert_eq!(config.bucket.endpoint.authority, "b1x.s3.us-east-1.amazonaws.com");
        let config = DestinationConfig::parse(&settings(&[])).expect("parses");
        assert_eq!((config.buffer_records_max, config.buffer_bytes_max), (1000, 16 << 20));
        assert_eq!(config.buffer_delay, Duration::from_secs(5));
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let error = source(&[("pollingPeriod", "0"), ("aws.buckett", "x"), ("concurrency", "many")]);
        let message = error.expect_err("must be refused").message;
        for part in ["`pollingPeriod` is `0`", "did you mean `aws.bucket`", "`concurrency` is `many`"] {
            assert!(message.contains(part), "{part} in {message}");
        }
    }

    #[test]
    fn each_setting_is_checked() {
        for (name, value, expected) in [
            ("pollingPeriod", "-1s", "greater than 0"),
            ("pollingPeriod", "soon", "a duration"),
            ("concurrency", "0", "from 1 to 512"),
            ("aws.forcePathStyle", "perhaps", "true or false"),
            ("aws.endpoint", "minio:9000", "http"),
            ("aws.bucket", "a/b", "bucket"),
            ("aws.region", "us east", "region"),
            ("wholly.else", "x", "known are"),
        ] {
            let message = source(&[(name, value)]).expect_err(name).message;
            assert!(message.contains(name) && message.contains(expected), "{name}={value}: {message}");
        }
        for (name, value) in [
            ("bufferSize", "0"),
            ("bufferSize", "100001"),
            ("bufferBytes", "0"),
            ("bufferBytes", "1TiB"),
            ("bufferDelay", "x"),
            ("format", "csv"),
        ] {
            let message = DestinationConfig::parse(&settings(&[(name, value)])).expect_err(name).message;
            assert!(message.contains(name), "{name}={value}: {message}");
        }
    }

    #[test]
    fn bounds_are_told_whatever_else_is_checked() {
        let parameter = Parameter {
            kind: ParameterType::Int,
            validations: &[
                Validation::Required,
                Validation::LessThan(10.0),
                Validation::Regex("^[0-9]+$"),
                Validation::GreaterThan(2.0),
            ],
            ..secret("pin", "A number.")
        };
        for value in ["2", "10"] {
            let problem = parameter.problem(value).expect(value);
            assert!(problem.ends_with("must be a whole number from 3 to 9"), "{problem}");
        }
        assert_eq!(parameter.problem("3").or(parameter.problem("9")), None);
    }

    #[test]
    fn a_missing_setting_says_how_to_give_it() {
        let error = SourceConfig::parse(&Settings::new()).expect_err("must be refused");
        assert!(error.message.contains("`aws.region` is required; set it or AWS_REGION"), "{error}");
        assert!(error.message.contains("`aws.bucket` is required"), "{error}");
    }

    #[test]
    fn a_prefix_keeps_its_spaces() {
        assert_eq!(source(&[("prefix", " a b ")]).expect("parses").bucket.prefix, " a b ");
    }

    #[test]
    fn a_prefix_that_is_a_path_or_a_glob_is_doubted() {
        for (prefix, meant) in [("/2024/", "`2024/`"), ("2024/*.txt", "`2024/`"), ("/a/b?", "`a/b`"), ("*", "``")] {
            let doubt = doubt_prefix(prefix).expect(prefix);
            assert!(doubt.ends_with(&format!("{meant} was probably meant")), "{doubt}");
        }
        for prefix in ["", "2024/", "a b", "[x]"] {
            assert_eq!(doubt_prefix(prefix), None, "{prefix}");
        }
    }

    #[test]
    fn descriptions_and_names_are_there_and_unique() {
        for parameters in [source_parameters().collect::<Vec<_>>(), destination_parameters().collect()] {
            let mut names: Vec<_> = parameters.iter().map(|p| p.name).collect();
            assert!(parameters.iter().all(|p| p.description.ends_with('.')));
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), parameters.len());
        }
    }
}
