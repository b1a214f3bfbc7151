//! Owns the memory of uploads in parts, so that those which a run leaves unfinished are found and aborted by the next one.
//! Leaves uploading to `upload`.
//!
//! An upload is remembered from before its first part until it is completed or aborted. Only what is remembered is ever
//! aborted: a listing could not tell whose an upload is, and would cost a request each time. Where the host keeps no
//! state, nothing is found, and a lifecycle rule of the bucket must do.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use serde_json::{Value, json};

use crate::config::BucketConfig;
use crate::limits;
use crate::ports::{self, Edit, Level, Ports, StateError};
use crate::s3::{Client, Multipart, Patience, Result};

/// The name of the saved value.
const NAME: &str = "destination/uploads";

/// The uploads that are not known to have ended. Clones share them.
#[derive(Clone)]
pub(super) struct Leftovers<P> {
    ports: P,
    client: Client<P>,
    uploads: Rc<RefCell<Vec<Value>>>,
    /// Whether it was logged that they can't be saved.
    has_failed: Rc<Cell<bool>>,
}

impl<P: Ports> Leftovers<P> {
    /// No uploads yet.
    pub(super) fn new(ports: P, client: Client<P>) -> Self {
        Self { ports, client, uploads: Rc::default(), has_failed: Rc::default() }
    }

    /// Aborts what an earlier run has left in this bucket. What can't be aborted now is remembered for the next time.
    pub(super) async fn sweep(&self) {
        let saved = match self.ports.load(NAME) {
            Ok(saved) => saved.unwrap_or_default(),
            Err(error) => return self.failed(&error),
        };
        *self.uploads.borrow_mut() = serde_json::from_slice(&saved).unwrap_or_default();
        let left = self.uploads.borrow().clone();
        let here = left.iter().filter_map(|entry| self.read(entry));
        for upload in here {
            // A store that is away is away for all of them.
            if self.abort(&upload).await.is_err_and(|error| error.status().is_none()) {
                break;
            }
        }
    }

    /// Remembers an upload that was begun.
    pub(super) fn remember(&self, upload: &Multipart) {
        {
            let mut uploads = self.uploads.borrow_mut();
            uploads.push(self.write(upload));
            let excess = uploads.len().saturating_sub(limits::UPLOADS_REMEMBERED_MAX);
            uploads.drain(..excess);
        }
        self.save();
    }

    /// Forgets an upload that has ended.
    pub(super) fn forget(&self, upload: &Multipart) {
        let ended = self.write(upload);
        self.uploads.borrow_mut().retain(|known| *known != ended);
        self.save();
    }

    /// Aborts an upload, and forgets it. Where that fails, it stays remembered.
    ///
    /// # Errors
    ///
    /// Why it could not be aborted, which is logged.
    pub(super) async fn abort(&self, upload: &Multipart) -> Result<()> {
        let client = self.client.with_patience(Patience::OPENING);
        match client.abort_multipart_upload(upload).await {
            Ok(()) => {
                self.forget(upload);
                let line = format!("aborted an upload that was not completed; key=`{}`", upload.key);
                self.ports.log(Level::Info, &line);
                Ok(())
            }
            Err(error) => {
                let advice =
                    if error.is_denied() { "allow s3:AbortMultipartUpload" } else { "it is tried again when opening" };
                let line = format!(
                    "an upload that was not completed could not be aborted, and its parts cost storage: {advice}; \
                     key=`{}`, upload_id=`{}`, why=`{error}`",
                    upload.key, upload.upload_id
                );
                self.ports.log(Level::Warn, &line);
                Err(error)
            }
        }
    }

    fn save(&self) {
        let text = Value::from(self.uploads.borrow().clone()).to_string();
        let edit = match self.uploads.borrow().is_empty() {
            true => Edit::remove(NAME),
            false => Edit::save(NAME, text),
        };
        if edit.value.as_ref().is_some_and(|value| value.len() > ports::STATE_VALUE_BYTES_MAX) {
            return self.failed(&StateError::Failed("they have too long names".to_owned()));
        }
        if let Err(error) = self.ports.commit(vec![edit]) {
            self.failed(&error);
        }
    }

    fn failed(&self, error: &StateError) {
        if self.has_failed.replace(true) {
            return;
        }
        // A host that keeps nothing is no fault.
        let level = if *error == StateError::Absent { Level::Debug } else { Level::Warn };
        let line = format!(
            "uploads in parts can't be remembered: what a crash leaves of them must be removed by a lifecycle rule of \
             the bucket; why=`{error}`"
        );
        self.ports.log(level, &line);
    }

    /// The upload as it is saved, with where it is: settings may change between two runs.
    fn write(&self, upload: &Multipart) -> Value {
        let BucketConfig { bucket, endpoint, .. } = self.client.config();
        let at = format!("{}{}", endpoint.authority, endpoint.base_path);
        json!({ "at": at, "bucket": bucket, "key": upload.key, "id": upload.upload_id })
    }

    /// The upload of an entry, if it is one of this bucket below the prefix: the host lets nothing else be reached.
    fn read(&self, entry: &Value) -> Option<Multipart> {
        let text = |name| entry.get(name).and_then(Value::as_str).map(str::to_owned);
        let upload = Multipart { key: text("key")?, upload_id: text("id")? };
        let is_here = upload.key.starts_with(&self.client.config().prefix) && self.write(&upload) == *entry;
        is_here.then_some(upload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BucketConfig;
    use crate::ports::Method;
    use crate::testing::{Bucket, Reply, TestPorts};

    fn leftovers(ports: &TestPorts, bucket: &str) -> Leftovers<TestPorts> {
        under(ports, bucket, "")
    }

    fn under(ports: &TestPorts, bucket: &str, prefix: &str) -> Leftovers<TestPorts> {
        let at = [("aws.region", "us-east-1"), ("aws.endpoint", "http://store:9000")];
        let settings = [("aws.bucket", bucket), ("prefix", prefix), at[0], at[1]];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let config = BucketConfig::parse(&settings).expect("good settings");
        Leftovers::new(ports.clone(), Client::new(ports.clone(), config))
    }

    fn upload(bucket: &Bucket, key: &str) -> Multipart {
        Multipart { key: key.to_owned(), upload_id: bucket.begin(key) }
    }

    #[test]
    fn what_was_not_forgotten_is_aborted_and_nothing_else() {
        let (bucket, ports) = (Bucket::default(), TestPorts::new(1));
        let inner = bucket.clone();
        ports.serve(move |request| inner.answer(request));
        let before = leftovers(&ports, "b1x");
        let (ended, left, stranger) = (upload(&bucket, "a"), upload(&bucket, "b"), upload(&bucket, "b"));
        before.remember(&ended);
        before.remember(&left);
        before.forget(&ended);
        drop(before);
        ports.block_on(leftovers(&ports, "b1x").sweep());
        let there: Vec<_> = bucket.uploads().into_keys().collect();
        assert_eq!(there, [ended.upload_id, stranger.upload_id]);
        assert!(ports.saved().is_empty(), "nothing is left to be aborted");
        let sent = ports.requests().len();
        ports.block_on(leftovers(&ports, "b1x").sweep());
        assert_eq!(ports.requests().len(), sent, "where nothing is left, nothing is asked");
    }

    #[test]
    fn what_is_elsewhere_or_refused_is_kept_for_later() {
        let (bucket, ports) = (Bucket::default(), TestPorts::new(1));
        ports.serve(|_| Reply::error(403, "AccessDenied", "No."));
        leftovers(&ports, "b1x").remember(&upload(&bucket, "a"));
        ports.block_on(leftovers(&ports, "b2x").sweep());
        assert!(ports.requests().is_empty(), "another bucket is none of this one's business");
        ports.block_on(under(&ports, "b1x", "b/").sweep());
        assert!(ports.requests().is_empty() && !ports.saved().is_empty(), "nor is what is not below the prefix");
        ports.block_on(leftovers(&ports, "b1x").sweep());
        assert!(ports.lines(Level::Warn)[0].contains("s3:AbortMultipartUpload"), "{:?}", ports.lines(Level::Warn));
        let inner = bucket.clone();
        ports.serve(move |request| inner.answer(request));
        ports.block_on(leftovers(&ports, "b1x").sweep());
        assert!(bucket.uploads().is_empty() && ports.saved().is_empty());
        assert!(ports.requests().iter().all(|request| request.method == Method::Delete));
    }

    #[test]
    fn one_that_is_refused_does_not_keep_the_others() {
        let (bucket, ports) = (Bucket::default(), TestPorts::new(1));
        let before = leftovers(&ports, "b1x");
        let (refused, left) = (upload(&bucket, "a"), upload(&bucket, "b"));
        before.remember(&refused);
        before.remember(&left);
        let inner = bucket.clone();
        ports.serve(move |request| match request.path_with_query.contains("/a?") {
            // A proxy's page says nothing of the upload.
            true => Reply::status(404),
            false => inner.answer(request),
        });
        ports.block_on(leftovers(&ports, "b1x").sweep());
        assert!(bucket.uploads().into_keys().eq([refused.upload_id]));
        let inner = bucket.clone();
        ports.serve(move |request| inner.answer(request));
        ports.block_on(leftovers(&ports, "b1x").sweep());
        assert!(bucket.uploads().is_empty() && ports.saved().is_empty());
    }

    #[test]
    fn a_host_that_keeps_nothing_is_no_fault() {
        let ports = TestPorts::new(1);
        ports.refuse_state(|_| Some(StateError::Absent));
        let leftovers = leftovers(&ports, "b1x");
        ports.block_on(leftovers.sweep());
        leftovers.remember(&Multipart { key: "a".to_owned(), upload_id: "u".to_owned() });
        assert!(ports.lines(Level::Warn).is_empty());
    }
}
