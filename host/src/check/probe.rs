//! Owns the steps that need a write, tried on an object of the check's own. Leaves how refusals are explained to
//! `permissions`.
//!
//! One small object is stored under the prefix, looked at, and removed. The name is always the same, so that
//! credentials that may not delete leave one object there and not one for each check.

use bytes::Bytes;
use s3_connector::config::{BucketConfig, Writes};
use s3_connector::s3::{Error, PutObject, Stored};

use super::permissions::{Need, asking, refused};
use super::report::{Step, StepName};
use super::requests::Client;
use crate::iam::actions_of_storage;

/// The name of the object, after the prefix. Athena, Hive and Spark pass over names that begin with `_`, so one that
/// has to stay there is no row of theirs.
pub(crate) const NAME: &str = "_s3-connector-check";

/// What it holds: what it is, for the person who finds it.
const CONTENT: &str = "`s3-connector check` has stored this to see whether it may. It can be deleted.\n";

/// The key of the object.
pub(super) fn key(config: &BucketConfig) -> String {
    format!("{}{NAME}", config.prefix)
}

/// An object of the check's own, and what became of it.
pub(super) struct Probe<'c> {
    client: &'c Client,
    /// A way out that can do nothing but remove this object.
    cleaner: &'c Client,
    key: String,
    /// What the destination does to the bucket.
    writes: Writes,
    /// Versions that were stored, where the bucket keeps any.
    versions: Vec<String>,
    /// Whether the object under the key is the check's: it was stored just now, or by an earlier check.
    is_ours: bool,
    understands_conditions: bool,
}

impl<'c> Probe<'c> {
    pub(super) fn new(client: &'c Client, cleaner: &'c Client, writes: Writes) -> Self {
        Self {
            client,
            cleaner,
            key: key(client.config()),
            writes,
            versions: Vec::new(),
            is_ours: false,
            understands_conditions: true,
        }
    }

    fn config(&self) -> &BucketConfig {
        self.client.config()
    }

    async fn store(&mut self, if_none_match: bool) -> Result<(), Error> {
        let object = PutObject {
            key: &self.key,
            body: Bytes::from_static(CONTENT.as_bytes()).into(),
            content_type: "text/plain",
            metadata: &[],
            if_none_match,
        };
        let Stored { version_id, .. } = self.client.put_object(&object).await?;
        self.versions.extend(version_id);
        self.is_ours = true;
        Ok(())
    }

    /// Whether the object under the key is what a check stores.
    async fn holds_ours(&self) -> Result<bool, Error> {
        self.client.object_equals(&self.key, CONTENT.as_bytes()).await
    }

    /// The actions that storing an object needs.
    fn actions(&self) -> String {
        let more = actions_of_storage(&self.config().storage);
        ["s3:PutObject"].into_iter().chain(more).collect::<Vec<_>>().join(", ")
    }

    /// What settings ask of the store for each object, this one included.
    fn asked(&self) -> String {
        let settings = self.config().storage.settings();
        if settings.is_empty() { String::new() } else { format!(", with {}", settings.join(", ")) }
    }

    /// Whether objects may be stored.
    pub(super) async fn put(&mut self) -> Step {
        let actions = self.actions();
        let step = asking(StepName::Put, "PutObject", &actions);
        let mut outcome = self.store(true).await;
        if outcome.as_ref().is_err_and(Error::refuses_condition) {
            self.understands_conditions = false;
            // Without conditions, nothing but what is known to be ours is written over; a destination of objects may not look.
            if self.writes != Writes::Batches {
                return step
                    .skipped(format!("the store refuses conditional writes, and {:?} may be somebody's", self.key));
            }
            if matches!(self.holds_ours().await, Ok(false)) {
                return step.skipped(format!("another object stands under {:?}", self.key));
            }
            outcome = self.store(false).await;
        }
        match outcome {
            Ok(()) => step.passed(format!("stored {:?}, {} bytes{}", self.key, CONTENT.len(), self.asked())),
            Err(error) if error.is_precondition_failed() => {
                // A destination of objects may not look at it: it may be a copy that belongs there.
                self.is_ours = self.writes == Writes::Batches && self.holds_ours().await.unwrap_or(false);
                step.passed(format!("permitted; {:?} is there from before", self.key))
            }
            Err(error) => {
                let kms = if self.config().storage.uses_kms() {
                    ", kms:GenerateDataKey and kms:Decrypt on the key"
                } else {
                    ""
                };
                let advice = format!(
                    "allow {actions} on the objects below the prefix{kms}; a bucket policy may ask for a kind of encryption \
                     that the bucket does not apply by default: look at setting `sse`"
                );
                refused(step, &error, self.config(), Need::Must, &advice)
            }
        }
    }

    /// Whether the store keeps to `If-None-Match` on a write, now that there is an object.
    pub(super) async fn conditional(&mut self) -> Step {
        let step = asking(StepName::Conditional, "PutObject again, if there is none", "s3:PutObject");
        let looks_first = "nothing, if no other writer uses the prefix: each key is looked up before it is \
                           written, which a race can defeat";
        if self.writes != Writes::Batches {
            return step.skipped("objects are written over, as `format: raw` has it");
        }
        if !self.understands_conditions {
            return step.warned("the store refuses conditional writes", looks_first);
        }
        if !self.is_ours {
            return step.skipped("there is no object of the check's own to try it on");
        }
        match self.store(true).await {
            Err(error) if error.is_precondition_failed() => {
                step.passed("refused, as it should be: conditional writes are honoured")
            }
            Err(error) if error.refuses_condition() => step.warned("the store refuses conditional writes", looks_first),
            Err(error) => refused(step, &error, self.config(), Need::Should, "allow s3:PutObject"),
            Ok(()) => step.warned(
                "stored again: the store ignores conditions on writes",
                "let no other writer use the prefix: an object of the same name would be written over",
            ),
        }
    }

    /// Whether stored objects may be looked at.
    pub(super) async fn get(&self) -> Step {
        let step = asking(StepName::Get, "HeadObject", "s3:GetObject");
        if self.writes != Writes::Batches {
            return step.skipped("objects are written without a look, as `format: raw` has it");
        }
        if !self.is_ours {
            return step.skipped("there is no object of the check's own to try it on");
        }
        match self.client.head_object(&self.key).await {
            Ok(head) => {
                let length = head.length.map_or(String::new(), |length| format!(", {length} bytes"));
                step.passed(format!("{:?}{length}", self.key))
            }
            Err(error) => {
                let advice = "allow s3:GetObject on the objects below the prefix: a batch that was stored, but \
                              whose answer was lost, is known by it; otherwise such a batch ends the pipeline";
                refused(step, &error, self.config(), Need::Should, advice)
            }
        }
    }

    /// Removes what was stored. Only a pipeline that propagates deletes need be able to.
    pub(super) async fn remove(&mut self) -> Step {
        let action = if self.versions.is_empty() { "s3:DeleteObject" } else { "s3:DeleteObjectVersion" };
        let step = asking(StepName::Remove, "DeleteObject", action);
        if !self.is_ours {
            return step.skipped("nothing was stored");
        }
        if self.writes == (Writes::Objects { deletes: true })
            && let Err(error) = self.client.delete_object(&self.key, None).await
        {
            let advice = "allow s3:DeleteObject on the objects below the prefix: `deletes: propagate` deletes them";
            return refused(step, &error, self.config(), Need::Must, advice);
        }
        match self.remove_all().await {
            Ok(()) => step.passed(format!("{:?} is gone", self.key)),
            Err(error) => {
                let found = error.explain(self.config()).message;
                step.warned(found, self.what_stays())
            }
        }
    }

    /// What stays where it may not be removed, and how somebody else can remove it.
    fn what_stays(&self) -> String {
        let (bucket, key) = (&self.config().bucket, &self.key);
        let by_hand = if self.versions.is_empty() {
            format!("aws s3 rm {}", quoted(&format!("s3://{bucket}/{key}")))
        } else {
            let of = |version: &String| {
                let (key, version) = (quoted(key), quoted(version));
                format!("aws s3api delete-object --bucket {bucket} --key {key} --version-id {version}")
            };
            let commands: Vec<String> = self.versions.iter().map(of).collect();
            commands.join(" && ")
        };
        format!(
            "nothing, if {key:?} may stay: the next check uses it again, pipelines need not delete, and Athena, Hive and \
             Spark pass over it; otherwise remove it by hand: {by_hand}"
        )
    }

    async fn remove_all(&mut self) -> Result<(), Error> {
        if self.versions.is_empty() {
            return self.cleaner.delete_object(&self.key, None).await;
        }
        // By version, so that not even a delete marker is left.
        while let Some(version) = self.versions.last() {
            self.cleaner.delete_object(&self.key, Some(version)).await?;
            self.versions.pop();
        }
        Ok(())
    }
}

/// A text as one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_of_a_shell_stays_one_word() {
        assert_eq!(quoted("a b$c"), "'a b$c'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
