//! Owns settings as they are typed: `s3://BUCKET/PREFIX`, and `--set NAME=VALUE`. Leaves what a setting may hold to the component.

use std::path::PathBuf;

use clap::Args;
use s3_connector_host::Settings;

use super::{Failure, settings_file};

/// What a bucket and a prefix begin with.
pub(super) const SCHEME: &str = "s3://";

/// A bucket, and what the keys begin with that count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    bucket: String,
    prefix: String,
}

impl Place {
    /// Reads `s3://BUCKET/PREFIX`, in which the bucket may be the ARN of an access point.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix(SCHEME) else {
            return Err("expected s3://BUCKET or s3://BUCKET/PREFIX".to_owned());
        };
        let (bucket, prefix) = Self::split(rest);
        if bucket.is_empty() {
            return Err("expected the name of a bucket after s3://, such as s3://photos/2024/".to_owned());
        }
        if prefix.contains(['*', '?']) {
            // A shell's habit. Keys may hold these characters, so the setting takes them.
            return Err("`*` and `?` are no wildcards here: patterns go into --set keys.include=…, and a prefix that has these \
                        characters into --set prefix=…"
                .to_owned());
        }
        Ok(Self { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }

    /// The bucket, and what stands after the slash that ends it. The ARN of an access point has a slash of its own.
    fn split(text: &str) -> (&str, &str) {
        let arn = text.starts_with("arn:").then(|| text.find(":accesspoint/")).flatten();
        let name = arn.map_or(0, |at| at + ":accesspoint/".len());
        match text[name..].find('/') {
            Some(end) => (&text[..name + end], &text[name + end + 1..]),
            None => (text, ""),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{SCHEME}{}", self.bucket)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

/// A bucket and the settings of a source or destination.
#[derive(Debug, Args)]
pub(super) struct PlaceArguments {
    /// Bucket and prefix, in the place of --set aws.bucket=BUCKET --set prefix=PREFIX
    ///
    /// All keys that begin with PREFIX count, which is a plain text: end the name of a folder with a slash.
    #[arg(value_name = "s3://BUCKET/PREFIX", value_parser = Place::parse)]
    place: Option<Place>,
    #[command(flatten)]
    settings: SettingArguments,
}

impl PlaceArguments {
    /// All settings that were given.
    pub(super) fn settings(&self) -> Result<Settings, Failure> {
        self.settings.settings(self.place.as_ref())
    }
}

/// Settings of a source or destination.
#[derive(Debug, Args)]
pub(super) struct SettingArguments {
    /// A setting of the connector; repeatable. `s3-connector spec` lists all settings
    ///
    /// Pass keys in the AWS environment variables instead: other users of this machine may see arguments.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = parse_setting)]
    pub(super) set: Vec<(String, String)>,
    /// File of settings, in YAML, JSON or TOML; --set and s3://BUCKET/PREFIX come before what it says
    ///
    /// It holds names and values, such as `aws.bucket: photos`. ${NAME} in a value is replaced by that environment variable, and
    /// ${file:/run/secrets/key} by what that file holds, without its last line break.
    #[arg(long = "settings", value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
}

impl SettingArguments {
    /// The settings, with those that `place` stands for.
    pub(super) fn settings(&self, place: Option<&Place>) -> Result<Settings, Failure> {
        let mut given = Settings::new();
        for (name, value) in &self.set {
            if given.insert(name.clone(), value.clone()).is_some() {
                return Err(Failure::Usage(format!("duplicate setting `{name}`")));
            }
        }
        if let Some(place) = place {
            for (name, value) in [("aws.bucket", &place.bucket), ("prefix", &place.prefix)] {
                if value.is_empty() {
                    continue;
                }
                if let Some(other) = given.insert(name.to_owned(), value.clone()) {
                    let message = format!(
                        "setting `{name}` is given twice: by `{place}` and by `--set {name}={other}`; leave one of them out"
                    );
                    return Err(Failure::Usage(message));
                }
            }
        }
        let mut settings = self.file.as_deref().map(settings_file::read).transpose()?.unwrap_or_default();
        settings.extend(given);
        if let Some(bucket) = settings.get("aws.bucket") {
            refuse_place(bucket)?;
        }
        Ok(settings)
    }
}

/// Refuses a bucket's name with what does not belong to it, and says where that goes.
fn refuse_place(value: &str) -> Result<(), Failure> {
    let text = value.strip_prefix(SCHEME).unwrap_or(value);
    let (bucket, prefix) = Place::split(text);
    if bucket.is_empty() || (text == value && (bucket == value || value.starts_with("arn:"))) {
        return Ok(());
    }
    let apart = match prefix {
        "" => String::new(),
        prefix => format!(" --set prefix={prefix}"),
    };
    let message = format!(
        "setting `aws.bucket` must be a bucket's name alone: write {SCHEME}{text} without --set, or --set \
         aws.bucket={bucket}{apart}"
    );
    Err(Failure::Usage(message))
}

/// Reads a setting.
pub(super) fn parse_setting(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE, for example aws.bucket=photos"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(place: Option<&str>, set: &[&str]) -> Result<Vec<(String, String)>, Failure> {
        let place = place.map(|place| Place::parse(place).expect("a place"));
        let set = set.iter().map(|setting| parse_setting(setting).expect("a setting")).collect();
        PlaceArguments { place, settings: SettingArguments { set, file: None } }
            .settings()
            .map(|all| all.into_iter().collect())
    }

    fn refusal(place: Option<&str>, set: &[&str]) -> String {
        given(place, set).expect_err("it is refused").into_message()
    }

    fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
        all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_place_is_a_bucket_and_a_prefix() {
        for (place, settings) in [
            ("s3://photos", &[("aws.bucket", "photos")][..]),
            ("s3://photos/", &[("aws.bucket", "photos")]),
            ("s3://photos/2024/a b", &[("aws.bucket", "photos"), ("prefix", "2024/a b")]),
            ("s3://photos//x", &[("aws.bucket", "photos"), ("prefix", "/x")]),
            (
                "s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/reader/a/b",
                &[("aws.bucket", "arn:aws:s3:eu-west-1:123456789012:accesspoint/reader"), ("prefix", "a/b")],
            ),
        ] {
            assert_eq!(given(Some(place), &[]), Ok(pairs(settings)), "{place}");
            assert_eq!(
                Place::parse(place).expect("a place").to_string().trim_end_matches('/'),
                place.trim_end_matches('/')
            );
        }
        for place in ["photos", "s3://", "s3:///x", "http://photos", "s3://photos/*.jpg", ""] {
            assert!(Place::parse(place).is_err(), "{place}");
        }
    }

    #[test]
    fn what_a_place_leaves_open_may_be_set_and_nothing_else() {
        let both = Ok(pairs(&[("aws.bucket", "photos"), ("prefix", "a/")]));
        assert_eq!(given(Some("s3://photos"), &["prefix=a/"]), both);
        assert_eq!(
            refusal(Some("s3://photos/a/"), &["prefix=a/"]),
            "setting `prefix` is given twice: by `s3://photos/a/` and by `--set prefix=a/`; leave one of them out"
        );
        assert!(refusal(Some("s3://photos"), &["aws.bucket=lake"]).contains("`--set aws.bucket=lake`"));
        assert_eq!(refusal(None, &["prefix=a", "prefix=b"]), "duplicate setting `prefix`");
    }

    #[test]
    fn a_place_in_the_bucket_is_refused_with_what_to_write() {
        let hint = "setting `aws.bucket` must be a bucket's name alone: write s3://photos/2024/ without --set, or --set \
                    aws.bucket=photos --set prefix=2024/";
        assert_eq!(refusal(None, &["aws.bucket=s3://photos/2024/"]), hint);
        assert_eq!(refusal(None, &["aws.bucket=photos/2024/"]), hint);
        assert!(refusal(None, &["aws.bucket=s3://photos"]).ends_with("or --set aws.bucket=photos"));
        assert!(given(None, &["aws.bucket=arn:aws:s3:eu-west-1:123456789012:accesspoint/reader"]).is_ok());
        assert!(given(None, &["aws.bucket="]).is_ok());
    }

    #[test]
    fn a_setting_may_hold_equals_signs_and_nothing() {
        assert_eq!(parse_setting("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(parse_setting("prefix= x "), Ok(("prefix".to_owned(), " x ".to_owned())));
        assert_eq!(parse_setting("a="), Ok(("a".to_owned(), String::new())));
        assert!(parse_setting("a").is_err());
        assert!(parse_setting("=a").is_err());
    }
}
