//! Owns the question whether a pipeline would read what it has written, as far as its settings tell. Leaves what to do about it
//! to the commands that run and check pipelines.

use s3_connector::config::{BucketConfig, DestinationConfig, KEYS_EXCLUDE, KEYS_INCLUDE, PathConfig, Writes, identity};

use crate::connector::settings::Settings;
use crate::environment::{self, Environment};

/// Whether a destination of objects (`format: raw`) with these settings writes what a source with those reads: each object
/// would be copied without end. Where the source picks keys by globs, only a copy onto itself is found.
pub async fn feeds_itself(source: &Settings, destination: &Settings, environment: &Environment) -> bool {
    let (mut source, mut destination) = (source.clone(), destination.clone());
    for settings in [&mut source, &mut destination] {
        // What is wrong with an endpoint is told when it is used.
        let _ = environment::fill(settings, environment).await;
    }
    let (Ok(from), Ok(to)) = (BucketConfig::parse(&source), BucketConfig::parse(&destination)) else { return false };
    let store = |config: &BucketConfig| identity::of(&config.endpoint, &config.region);
    if Writes::of(&destination) == Writes::Batches || from.bucket != to.bucket || store(&from) != store(&to) {
        return false;
    }
    let picks = [KEYS_INCLUDE.name, KEYS_EXCLUDE.name].iter().any(|name| source.contains_key(*name));
    // A key that is read begins with the one prefix, and is written with the other one before it, and with a path between the
    // two. Of a path that records fill in, only its beginning is known.
    let path = DestinationConfig::parse(&destination).ok().and_then(|config| config.path);
    let (folder, is_known) = path.as_ref().map_or((String::new(), true), PathConfig::start);
    let lead = format!("{}{folder}", to.prefix);
    let is_same = lead.is_empty() && is_known;
    let written = if is_known { lead + &from.prefix } else { lead };
    written.starts_with(&from.prefix) && (is_same || !picks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pipeline_that_reads_what_it_writes_is_found() {
        let settings = |bucket: &str, prefix: &str, more: &[(&str, &str)]| -> Settings {
            let base = [("aws.bucket", bucket), ("aws.region", "eu-west-1"), ("prefix", prefix)];
            base.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let raw = ("format", "raw");
        let minio = ("aws.endpoint", "http://minio:9000");
        let globs = ("keys.exclude", "copy/**");
        for (from, to, expected) in [
            (settings("aaa", "", &[]), settings("aaa", "", &[raw]), true),
            (settings("aaa", "", &[]), settings("aaa", "copy/", &[raw]), true),
            (settings("aaa", "in/", &[]), settings("aaa", "", &[raw]), true),
            (settings("aaa", "a/", &[]), settings("aaa", "a/", &[raw]), true),
            (settings("aaa", "in/", &[]), settings("aaa", "out/", &[raw]), false),
            (settings("aaa", "a/b/", &[]), settings("aaa", "a/", &[raw]), false),
            (settings("aaa", "", &[]), settings("bbb", "", &[raw]), false),
            (settings("aaa", "", &[]), settings("aaa", "", &[raw, minio]), false),
            (settings("aaa", "", &[minio]), settings("aaa", "", &[raw, minio]), true),
            (settings("aaa", "", &[]), settings("aaa", "", &[("format", "json")]), false),
            (settings("aaa", "", &[globs]), settings("aaa", "copy/", &[raw]), false),
            (settings("aaa", "", &[globs]), settings("aaa", "", &[raw]), true),
            (settings("aaa", "in/", &[]), settings("aaa", "", &[raw, ("path", "copy")]), false),
            (settings("aaa", "in/", &[]), settings("aaa", "", &[raw, ("path", "copy/{meta.a}")]), false),
            (settings("aaa", "in/", &[]), settings("aaa", "", &[raw, ("path", "in/{meta.a}")]), true),
            (settings("aaa", "", &[]), settings("aaa", "", &[raw, ("path", "{meta.a}")]), true),
            (settings("aaa", "", &[globs]), settings("aaa", "", &[raw, ("path", "{meta.a}")]), false),
            (settings("aaa", "in/", &[]), settings("aaa", "", &[raw, ("path", "{meta.a}")]), false),
        ] {
            let found = feeds_itself(&from, &to, &Environment::of([])).await;
            assert_eq!(found, expected, "{from:?} {to:?}");
        }
    }
}
