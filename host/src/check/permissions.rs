//! What the credentials may do with the bucket, asked one operation at a time, and what the store is like.
//!
//! Nothing is written here: that is `probe`'s.

use s3_connector::config::{self, BucketConfig};
use s3_connector::s3::{BucketProbe, Error, ObjectEntry, Pin, VersionEntry, Versioning};

use super::report::{Step, StepName};
use super::requests::Client;
use crate::role::Role;

/// A step that asks one operation, which one permission governs.
pub(super) fn asking(name: StepName, operation: &str, action: &str) -> Step {
    Step::new(name, format!("{operation} ({action})"))
}

/// Whether a pipeline can do without.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// It can't.
    Must,
    /// It can, as the advice says.
    Should,
}

/// Judges a step whose operation did not succeed.
pub(super) fn refused(step: Step, error: &Error, config: &BucketConfig, need: Need, advice: &str) -> Step {
    let found = error.explain(config).message;
    let advice = match error.status() {
        Some(403) | None if error.is_denied() && config.access.anonymous => ANONYMOUS_ADVICE,
        Some(403) | None if error.is_denied() => advice,
        _ if error.storage_advice(config).is_some() => STORAGE_ADVICE,
        _ => general_advice(error),
    };
    match need {
        Need::Must => step.failed(found, advice),
        Need::Should => step.warned(found, advice),
    }
}

const STORAGE_ADVICE: &str = "change the settings that it names";

const ANONYMOUS_ADVICE: &str =
    "leave aws.anonymous out and use keys, or allow this to everybody in the bucket's policy, if it shall be public";

/// What to do about an error whose meaning does not depend on what was asked.
pub(super) fn general_advice(error: &Error) -> &'static str {
    if error.refuses_credentials() {
        "look whether these are the right keys for this store, and whether they still hold"
    } else if error.is_denied() {
        "look at the policies of the user, the role and the bucket"
    } else if error.status() == Some(404) {
        "create it, or look at aws.bucket, aws.region and aws.endpoint"
    } else if error.status().is_none() {
        "look at aws.endpoint and the network, or try again later"
    } else {
        "look at aws.bucket, aws.region and aws.endpoint, or try again later"
    }
}

/// What is known of the bucket as a whole.
pub(super) struct Reached {
    /// Its region, where the store names it.
    pub(super) region: Option<String>,
    /// Whether to go on.
    pub(super) goes_on: bool,
}

/// Whether the bucket is there, and the credentials are accepted.
pub(super) async fn bucket(client: &Client) -> (Step, Reached) {
    let config = client.config();
    let step = Step::new(StepName::Bucket, format!("HeadBucket of `{}`", config.bucket));
    let error = match client.probe_bucket().await {
        Ok(BucketProbe::Found(head)) => {
            let reached = Reached { region: head.region, goes_on: true };
            let found = match config.access.anonymous {
                true => "it is there, and open to requests without a signature",
                false => "it is there, and the credentials are accepted",
            };
            return (step.passed(found), reached);
        }
        Ok(BucketProbe::Listed) => {
            let reached = Reached { region: None, goes_on: true };
            return (step.passed("it can be listed"), reached);
        }
        Err(error) => error,
    };
    let region = error.region().map(str::to_owned);
    if region.as_ref().is_some_and(|region| *region != config.region) {
        // The next step says what to do.
        let reached = Reached { region, goes_on: false };
        return (step.passed("it is there"), reached);
    }
    if error.is_denied() && !error.refuses_credentials() && error.status().is_some() {
        let reached = Reached { region, goes_on: true };
        let found = match config.access.anonymous {
            true => "requests without a signature may not look at it",
            false => "the credentials are accepted, but may not look at it",
        };
        return (step.passed(found), reached);
    }
    let reached = Reached { region: None, goes_on: false };
    let advice = general_advice(&error);
    (step.failed(error.explain(config).message, advice), reached)
}

/// Whether the region is the bucket's.
pub(super) fn region(config: &BucketConfig, reached: &Reached) -> Step {
    let step = Step::new(StepName::Region, format!("compare `{}` with the bucket's", config.region));
    match &reached.region {
        Some(found) if *found == config.region => step.passed("it is the same"),
        Some(found) => {
            let advice = format!("set aws.region to `{found}`");
            if reached.goes_on {
                step.warned(format!("the bucket is in `{found}`, and the store lets it pass"), advice)
            } else {
                step.failed(format!("the bucket is in `{found}`"), advice)
            }
        }
        None => step.passed("the store does not tell, and accepts it"),
    }
}

/// Whether the bucket may be listed; the first object.
pub(super) async fn list(client: &Client, role: Role) -> (Step, Option<ObjectEntry>) {
    let bucket = client.config();
    let step = asking(StepName::List, "ListObjectsV2", "s3:ListBucket");
    match client.probe_listing().await {
        Ok(first) => {
            let found = match &first {
                Some(entry) => format!("the first key is {:?}", entry.key),
                None if bucket.prefix.is_empty() => "the bucket is empty".to_owned(),
                None => "no key begins with the prefix".to_owned(),
            };
            let step = match config::doubt_prefix(&bucket.prefix) {
                Some(doubt) => step.warned(found, format!("look at setting `prefix`: {doubt}")),
                None if first.is_none() && !bucket.prefix.is_empty() && role == Role::Source => {
                    let advice = "look at setting `prefix`, if there should be some: it is plain text, from the \
                                  first character of a key";
                    step.warned(found, advice)
                }
                None => step.passed(found),
            };
            (step, first)
        }
        Err(error) => {
            let (need, advice) = match role {
                Role::Source => (Need::Must, "allow s3:ListBucket on the bucket"),
                Role::Destination => (
                    Need::Should,
                    "allow s3:ListBucket on the bucket: without it a missing object reads as a denied one, \
                     which ends the pipeline where it has to know",
                ),
            };
            (refused(step, &error, bucket, need, advice), None)
        }
    }
}

/// Whether versions may be listed; a page of them.
pub(super) async fn versions(client: &Client) -> (Step, Vec<VersionEntry>) {
    let config = client.config();
    let step = asking(StepName::Versions, "ListObjectVersions", "s3:ListBucketVersions");
    match client.list_object_versions(&config.prefix, None).await {
        Ok(page) => {
            let more = if page.next.is_some() { " and more" } else { "" };
            let markers = page.entries.iter().filter(|e| e.is_delete_marker).count();
            let versions = page.entries.len() - markers;
            let found = format!("{versions} versions and {markers} delete markers{more}");
            (step.passed(found), page.entries)
        }
        Err(error) if error.is_not_implemented() => {
            let advice = "nothing, if that will do: of several changes of an object between two looks only the last is \
                          seen";
            (step.warned("the store cannot list versions", advice), Vec::new())
        }
        Err(error) => {
            let advice = "allow s3:ListBucketVersions on the bucket: changes are found by it";
            (refused(step, &error, config, Need::Must, advice), Vec::new())
        }
    }
}

/// Whether the bucket keeps versions.
pub(super) async fn versioning(client: &Client, listed: &[VersionEntry]) -> Step {
    let step = asking(StepName::Versioning, "GetBucketVersioning", "s3:GetBucketVersioning");
    let advice = "switch versioning on if every change matters: without it, of several changes of an object between \
                  two looks only the last is seen";
    match client.get_bucket_versioning().await {
        Ok(Versioning::Enabled) => step.passed("on: every change is seen, deletes too"),
        Ok(Versioning::Suspended) => step.warned("suspended", advice),
        Ok(Versioning::Never) => step.warned("off", advice),
        Err(error) => {
            // A pipeline does without this permission, and the listing tells as much.
            let keeps = listed.iter().any(|e| e.is_delete_marker || e.version_id != "null");
            let found = if keeps {
                "it may not be asked, but there are versions"
            } else {
                "it may not be asked, and there are no versions so far"
            };
            tracing::debug!(%error, "versioning is not known");
            if keeps { step.passed(found) } else { step.warned(found, advice) }
        }
    }
}

const GET_ADVICE: &str = "allow s3:GetObject on the objects, and kms:Decrypt on the key if they are encrypted with \
                          one";

/// Whether an object may be read.
pub(super) async fn get(client: &Client, object: Option<&ObjectEntry>) -> Step {
    let step = asking(StepName::Get, "GetObject", "s3:GetObject");
    let Some(object) = object else {
        return step.skipped("there is no object to try it on");
    };
    let answer = client.get_object(&object.key, &Pin::default(), None, 0).await;
    read(step, client, &object.key, answer.map(|object| object.length), GET_ADVICE)
}

/// Whether a version may be read.
pub(super) async fn get_version(client: &Client, listed: &[VersionEntry]) -> Step {
    let step = asking(StepName::GetVersion, "GetObject by version", "s3:GetObjectVersion");
    let is_version = |e: &&VersionEntry| !e.is_delete_marker && e.version_id != "null";
    let Some(entry) = listed.iter().find(is_version) else {
        return step.skipped("there is no version to try it on");
    };
    let pin = Pin { version_id: Some(entry.version_id.clone()), etag: None };
    let answer = client.get_object(&entry.object.key, &pin, None, 0).await;
    let advice = "allow s3:GetObjectVersion on the objects: changes are read by their version";
    read(step, client, &entry.object.key, answer.map(|object| object.length), advice)
}

fn read(step: Step, client: &Client, key: &str, answer: Result<Option<u64>, Error>, advice: &str) -> Step {
    match answer {
        Ok(Some(length)) => step.passed(format!("{key:?}, {length} bytes")),
        Ok(None) => step.passed(format!("{key:?}")),
        Err(error) if error.is_not_found() => step.passed("the object was deleted meanwhile"),
        Err(error) if error.is_archived() => step.warned(
            format!("{key:?} is archived"),
            "restore it if you need it delivered: archived objects are skipped",
        ),
        Err(error) => refused(step, &error, client.config(), Need::Must, advice),
    }
}
