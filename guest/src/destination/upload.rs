//! Owns storing a batch under its name, exactly once however often it is tried. Leaves retries to `s3`, and what a
//! stored or failed batch means for its records to `destination`.
//!
//! A name follows from the records, so an object that is already there is this batch from an earlier try, or another
//! writer's object: they are distinguished here, and neither is overwritten.

use std::rc::Rc;

use super::buffer::Object;
use super::condition::{RefusedConditions, StoredBy};
use super::leftovers::Leftovers;
use super::parts::Parts;
use crate::error::{Error, ErrorKind, Result};
use crate::limits;
use crate::payload::Payload;
use crate::ports::{Level, Ports};
use crate::s3::{self, Client, Multipart, NewUpload, ObjectHead, PutObject, StoredPart};

/// The user metadata that names the batch.
pub(super) const BATCH: &str = "opencdc-batch";

/// The user metadata that counts its records.
pub(super) const RECORDS: &str = "opencdc-records";

/// The user metadata that counts the object's bytes.
pub(super) const BYTES: &str = "opencdc-bytes";

/// The user metadata with the BLAKE3 digest of the object's bytes.
const CONTENT: &str = "opencdc-blake3";

/// Stores batches. Clones share what was learnt about the store.
#[derive(Clone)]
pub(super) struct Uploader<P> {
    pub(super) ports: P,
    pub(super) client: Client<P>,
    pub(super) leftovers: Leftovers<P>,
    pub(super) refused: Rc<RefusedConditions>,
}

/// An upload whose parts are to become an object.
pub(super) struct Pending {
    pub(super) upload: Multipart,
    /// The parts, once the store has all of them.
    pub(super) parts: Option<Vec<StoredPart>>,
}

/// What a name is found to hold.
pub(super) enum Occupant {
    Nothing,
    ThisBatch {
        /// The bytes that are there: a replay may make others.
        bytes: u64,
    },
    Stranger,
}

impl<P: Ports> Uploader<P> {
    /// Makes an uploader to the client's bucket.
    pub(super) fn new(ports: P, client: Client<P>) -> Self {
        let leftovers = Leftovers::new(ports.clone(), client.clone());
        Self { ports, client, leftovers, refused: Rc::default() }
    }

    /// Aborts uploads that an earlier run has left.
    pub(super) async fn sweep(&self) {
        self.leftovers.sweep().await;
    }

    /// What remembers uploads.
    pub(super) fn leftovers(&self) -> Leftovers<P> {
        self.leftovers.clone()
    }

    /// Stores the object, or finds that it is stored.
    ///
    /// # Errors
    ///
    /// The store's, explained, once retries are exhausted; `invalid` where another object has the name.
    pub(super) async fn store(self, object: Object) -> Result<()> {
        let key = self.key(&object.path, &object.summary, &object.digest, object.extension);
        let bytes = self.store_as(&key, &object).await?;
        self.store_manifest(&object.summary, &object.digest, &key, bytes, object.content_type).await
    }

    /// Stores an object under this key, or finds that it is stored. Gives the number of its bytes there.
    pub(super) async fn store_as(&self, key: &str, object: &Object) -> Result<u64> {
        let content = digest(&object.body);
        let mut pending = None;
        let stored = self.try_to_store(key, object, &content, &mut pending).await;
        if let Some(Pending { upload, .. }) = pending {
            let _ = self.leftovers.abort(&upload).await;
        }
        stored
    }

    /// Stores the object, or finds that it is stored; `pending` is the upload that is to be aborted then.
    async fn try_to_store(
        &self,
        key: &str,
        object: &Object,
        content: &str,
        pending: &mut Option<Pending>,
    ) -> Result<u64> {
        let stored_by = StoredBy::of(&object.body);
        for _ in 0..limits::STORE_ROUNDS_MAX {
            let is_conditional = self.is_conditional(stored_by);
            if !is_conditional && let Some(bytes) = self.find_stored(key, object, content).await? {
                return Ok(bytes);
            }
            let error = match self.put(key, object, content, is_conditional, pending).await {
                Ok(()) => {
                    let (records, bytes) = (object.summary.records(), object.body.len());
                    let line = format!("stored a batch; key=`{key}`, records=`{records}`, bytes=`{bytes}`");
                    self.ports.log(Level::Debug, &line);
                    self.forget(pending);
                    return Ok(bytes as u64);
                }
                Err(error) => error,
            };
            let is_gone = pending.is_some() && error.is_no_such_upload();
            if is_gone {
                self.forget(pending);
            }
            if is_gone || error.is_precondition_failed() {
                // It may be the object of an attempt whose answer was lost.
                if let Some(bytes) = self.find_stored(key, object, content).await? {
                    return Ok(bytes);
                }
                // It is gone again, perhaps by a lifecycle rule: the name is free.
            } else if is_conditional && error.refuses_condition() {
                self.go_unconditional(stored_by, &error);
            } else {
                return Err(error.explain(self.client.config()));
            }
        }
        let message = format!("an object comes and goes under the key `{key}`: another writer is at work there");
        Err(Error::new(ErrorKind::Unavailable, message))
    }

    /// Writes the object: by one request, or in parts.
    async fn put(
        &self,
        key: &str,
        object: &Object,
        content: &str,
        if_none_match: bool,
        pending: &mut Option<Pending>,
    ) -> s3::Result<()> {
        let (records, bytes) = (object.summary.records().to_string(), object.body.len().to_string());
        let (content_type, body) = (object.content_type, object.body.clone());
        let metadata = [(BATCH, object.digest.as_str()), (RECORDS, &records), (BYTES, &bytes), (CONTENT, content)];
        if StoredBy::of(&body) == StoredBy::Put {
            let request = PutObject { key, body, content_type, metadata: &metadata, if_none_match };
            return self.client.put_object(&request).await.map(drop);
        }
        let pending = match pending {
            Some(pending) => pending,
            None => {
                let request = NewUpload { key, content_type, metadata: &metadata };
                let upload = self.client.create_multipart_upload(&request).await?;
                self.leftovers.remember(&upload);
                pending.insert(Pending { upload, parts: None })
            }
        };
        self.complete(pending, body, if_none_match).await
    }

    /// Sends the parts, unless the store has them, and has them become the object.
    async fn complete(&self, pending: &mut Pending, body: Payload, if_none_match: bool) -> s3::Result<()> {
        if pending.parts.is_none() {
            let mut parts = Parts::new(self.client.clone(), pending.upload.clone(), limits::PARTS_IN_FLIGHT_MAX);
            for part in body.split(limits::PART_BYTES) {
                parts.push(part).await?;
            }
            pending.parts = Some(parts.finish().await?);
        }
        let parts = pending.parts.as_deref().unwrap_or_default();
        self.client.complete_multipart_upload(&pending.upload, parts, if_none_match).await.map(drop)
    }

    /// Bytes of this batch, if the key holds it; an error where it holds another writer's object.
    async fn find_stored(&self, key: &str, object: &Object, content: &str) -> Result<Option<u64>> {
        match self.occupant(key, object, content).await {
            Ok(Occupant::Nothing) => Ok(None),
            Ok(Occupant::ThisBatch { bytes }) => {
                self.ports.log(Level::Debug, &format!("the batch is stored already; key=`{key}`"));
                Ok(Some(bytes))
            }
            Ok(Occupant::Stranger) => Err(Error::invalid(format!(
                "the key `{key}` holds another writer's object, which was not overwritten: \
                 move it away or change the setting `prefix`"
            ))),
            Err(error) => {
                let mut explained = error.explain(self.client.config());
                if error.status() == Some(403) {
                    explained.message.push_str("; allow s3:GetObject and s3:ListBucket");
                }
                let context = format!("cannot tell whether the object `{key}` is this batch");
                Err(explained.context(context))
            }
        }
    }

    /// Finds out what the key holds, by length and by digests, since any writer can take a name: by the digest of the
    /// records where the object has one, otherwise by that of the bytes.
    async fn occupant(&self, key: &str, object: &Object, content: &str) -> s3::Result<Occupant> {
        let head = match self.client.head_object(key).await {
            Ok(head) => head,
            // A gateway that does not know HEAD may still know GET.
            Err(error) if matches!(error.status(), Some(405 | 501)) => ObjectHead::default(),
            Err(error) if is_missing(&error) => return Ok(Occupant::Nothing),
            Err(error) => return Err(error),
        };
        let stated = |name| {
            let mut metadata = head.metadata.iter();
            metadata.find_map(|(found, value)| (found == name).then_some(value.as_str()))
        };
        // The bytes of a replay may differ, in `opencdc.readAt` or by a newer encoder: the records do not, and the
        // object itself describes the bytes that were stored then.
        let is_replay = stated(BATCH) == Some(&object.digest);
        let (bytes, digest_of_bytes) = match (is_replay, stated(BYTES), stated(CONTENT)) {
            (true, Some(bytes), Some(content)) => (bytes.parse().ok(), content),
            // Not every store keeps user metadata.
            _ => (Some(object.body.len() as u64), content),
        };
        if head.length.is_some() && head.length != bytes {
            return Ok(Occupant::Stranger);
        }
        let bytes_max = bytes.unwrap_or_default();
        if is_replay && head.length.is_some() && digest_of_bytes == content {
            return Ok(Occupant::ThisBatch { bytes: bytes_max });
        }
        let start = || (0, blake3::Hasher::new());
        let taken = self.client.fold_object(key, bytes_max, start, |(count, hash), piece| {
            *count += piece.len() as u64;
            hash.update(piece);
        });
        match taken.await {
            Ok((count, hash)) if Some(count) == bytes && hash.finalize().to_hex().as_str() == digest_of_bytes => {
                Ok(Occupant::ThisBatch { bytes: count })
            }
            Ok(_) => Ok(Occupant::Stranger),
            Err(error) if is_missing(&error) => Ok(Occupant::Nothing),
            Err(error) => Err(error),
        }
    }

    /// Forgets an upload that has ended.
    pub(super) fn forget(&self, pending: &mut Option<Pending>) {
        if let Some(ended) = pending.take() {
            self.leftovers.forget(&ended.upload);
        }
    }

    /// Whether such a write is to carry the condition.
    pub(super) fn is_conditional(&self, request: StoredBy) -> bool {
        !self.refused.of(request).get()
    }

    /// Does without the condition on such a write from now on. Said once, of whichever is refused first.
    pub(super) fn go_unconditional(&self, request: StoredBy, error: &s3::Error) {
        let is_said = self.refused.is_any();
        self.refused.of(request).set(true);
        if is_said {
            return;
        }
        let line = format!(
            "the store rejects conditional writes: each key is read before it is written instead, and a concurrent \
             writer of the same key can still win the race; why=`{error}`"
        );
        self.ports.log(Level::Warn, &line);
    }
}

/// Whether there is no such object; 405 may only be a gateway that does not know the method.
pub(super) fn is_missing(error: &s3::Error) -> bool {
    error.is_not_found() && error.status() == Some(404)
}

fn digest(body: &Payload) -> String {
    let mut hash = blake3::Hasher::new();
    for piece in body.pieces() {
        hash.update(piece);
    }
    hash.finalize().to_hex().as_str().to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use futures_util::future;

    use super::*;
    use crate::config::BucketConfig;
    use crate::destination::summary::Summary;
    use crate::ports::Clock;
    use crate::ports::{Method, Request};
    use crate::record::{Change, Metadata, Operation, Record};
    use crate::testing::{Bucket, Reply, Stored, TestPorts};

    const KEY: &str = "a/00ff.json";
    const BODY: &[u8] = b"one\ntwo\n";

    fn summary_of_two() -> Summary {
        let (position, payload) = (Bytes::new(), Change { before: None, after: None });
        let record = Record { position, operation: Operation::Create, metadata: Metadata::new(), key: None, payload };
        let mut summary = Summary::default();
        (0..2).for_each(|_| summary.take(&record));
        summary
    }

    fn object() -> Object {
        Object {
            path: String::new(),
            summary: summary_of_two(),
            digest: "00ff".to_owned(),
            extension: "json",
            content_type: "application/x-ndjson",
            body: Bytes::from_static(BODY).into(),
        }
    }

    /// An object without metadata.
    fn plain(body: &'static [u8]) -> Stored {
        Stored { body: Bytes::from_static(body), headers: Vec::new() }
    }

    /// An object whose metadata name the records of `digest` and the bytes of `content`.
    fn stored(body: &'static [u8], digest_of_records: &str, content: &'static [u8]) -> Stored {
        let content: Payload = Bytes::from_static(content).into();
        let headers =
            [(BATCH, digest_of_records.to_owned()), (BYTES, content.len().to_string()), (CONTENT, digest(&content))];
        let header = |(name, value)| (format!("x-amz-meta-{name}"), value);
        Stored { headers: headers.map(header).into(), ..plain(body) }
    }

    fn uploader(ports: &TestPorts) -> Uploader<TestPorts> {
        let settings = [
            ("aws.bucket", "b1x"),
            ("aws.region", "us-east-1"),
            ("aws.endpoint", "http://store:9000"),
            ("prefix", "a/"),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let config = BucketConfig::parse(&settings).expect("good settings");
        Uploader::new(ports.clone(), Client::new(ports.clone(), config))
    }

    fn is_conditional(request: &Request) -> bool {
        request.headers.iter().any(|(name, value)| *name == "if-none-match" && value == "*")
    }

    /// Stores the object in a bucket whose answers `change` may replace by its own.
    fn store(bucket: &Bucket, mut change: impl FnMut(&Request, Reply) -> Reply + 'static) -> (TestPorts, Result<()>) {
        let (ports, inner) = (TestPorts::new(1), bucket.clone());
        ports.serve(move |request| change(request, inner.answer(request)));
        let result = ports.block_on(uploader(&ports).store(object()));
        (ports, result)
    }

    fn methods(ports: &TestPorts) -> Vec<Method> {
        ports.requests().iter().map(|request| request.method).collect()
    }

    #[test]
    fn an_object_is_written_once_and_says_what_it_is() {
        let bucket = Bucket::default();
        let (ports, result) = store(&bucket, |_, reply| reply);
        result.expect("stores");
        let [request] = &ports.requests()[..] else { panic!("one request is enough") };
        assert!(is_conditional(request));
        let found = &bucket.objects()[KEY];
        assert_eq!(found.body, BODY);
        let headers: Vec<_> = found.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let expected = [
            ("content-type", "application/x-ndjson"),
            ("x-amz-meta-opencdc-batch", "00ff"),
            ("x-amz-meta-opencdc-records", "2"),
            ("x-amz-meta-opencdc-bytes", "8"),
            (
                "x-amz-meta-opencdc-blake3",
                // As the reference implementation, `b3sum`, has it.
                "04d2649eb72531af4fa85b201f6610814cb48e8ffb171b64bea1be6051ee8ba5",
            ),
        ];
        assert_eq!(headers, expected, "and neither an ACL nor an encryption is asked for");
    }

    /// An object of two whole parts and a short one.
    fn large() -> Object {
        let bytes: Vec<u8> = (0..2 * limits::PART_BYTES + 5).map(|at| (at / 1000) as u8).collect();
        Object { body: Bytes::from(bytes).into(), ..object() }
    }

    /// Stores the large object, as [`store`] does.
    fn store_large(
        bucket: &Bucket,
        mut change: impl FnMut(&Request, Reply) -> Reply + 'static,
    ) -> (TestPorts, Result<()>) {
        let (ports, inner) = (TestPorts::new(1), bucket.clone());
        ports.serve(move |request| change(request, inner.answer(request)));
        let result = ports.block_on(uploader(&ports).store(large()));
        (ports, result)
    }

    /// What a request is, in one letter: create, part, complete, abort, head, get.
    fn letters(ports: &TestPorts) -> String {
        let letter = |request: &Request| match (request.method, request.path_with_query.contains("uploads=")) {
            (Method::Post, true) => 'c',
            (Method::Put, _) => 'p',
            (Method::Post, false) => 'd',
            (Method::Delete, _) => 'a',
            (Method::Head, _) => 'h',
            (Method::Get, _) => 'g',
        };
        ports.requests().iter().map(letter).collect()
    }

    fn is_complete(request: &Request) -> bool {
        request.method == Method::Post && request.path_with_query.contains("uploadId=")
    }

    #[test]
    fn a_large_object_is_stored_in_parts_at_the_same_time() {
        let bucket = Bucket::default();
        let second = Duration::from_secs(1);
        let (ports, result) = store_large(&bucket, move |_, reply| reply.after(second));
        result.expect("stores");
        assert_eq!(letters(&ports), "cpppd", "parts and two more");
        assert_eq!(Clock::elapsed(&ports), 3 * second);
        let stored = &bucket.objects()[KEY];
        assert!(stored.body == large().body.into_bytes());
        let names: Vec<_> = stored.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names.len(), 5, "{names:?}");
        let sent = ports.requests();
        let [create, .., complete] = &sent[..] else { panic!("five requests") };
        assert!(is_conditional(complete) && !is_conditional(create));
        assert!(bucket.uploads().is_empty() && ports.saved().is_empty());
    }

    #[test]
    fn an_upload_is_remembered_before_its_first_part_and_until_it_ends() {
        let (bucket, ports) = (Bucket::default(), TestPorts::new(1));
        let (inner, within) = (bucket.clone(), ports.clone());
        ports.serve(move |request| {
            assert_eq!(within.saved().len(), usize::from(!request.path_with_query.contains("uploads=")));
            inner.answer(request)
        });
        ports.block_on(uploader(&ports).store(large())).expect("stores");
        assert!(ports.saved().is_empty());
    }

    #[test]
    fn a_completion_whose_answer_was_lost_is_found_to_be_ours() {
        let mut is_first = true;
        let bucket = Bucket::default();
        let (ports, result) = store_large(&bucket, move |request, reply| {
            if is_complete(request) && std::mem::take(&mut is_first) { Reply::reset() } else { reply }
        });
        result.expect("stores");
        // The second attempt finds no such upload.
        assert_eq!(letters(&ports), "cpppddh");
        assert!(ports.saved().is_empty());
    }

    #[test]
    fn a_large_replay_leaves_nothing_behind() {
        let bucket = Bucket::default();
        store_large(&bucket, |_, reply| reply).1.expect("stores");
        let (ports, result) = store_large(&bucket, |_, reply| reply);
        result.expect("is stored");
        assert_eq!(letters(&ports), "cpppdha");
        assert!(bucket.uploads().is_empty() && ports.saved().is_empty());
        bucket.insert(KEY, plain(b"stranger"));
        let (ports, result) = store_large(&bucket, |_, reply| reply);
        assert_eq!(result.expect_err("is taken").kind, ErrorKind::Invalid);
        assert!(letters(&ports).ends_with('a') && bucket.uploads().is_empty());
        assert_eq!(bucket.objects()[KEY].body, "stranger");
    }

    #[test]
    fn an_upload_that_was_dropped_is_begun_anew() {
        let (bucket, mut drops) = (Bucket::default(), 2);
        let inner = bucket.clone();
        let (ports, result) = store_large(&bucket, move |request, reply| {
            // Before the second part of the first upload, then before the second one is completed.
            let is_due = request.path_with_query.contains("partNumber=1") && drops == 2;
            if is_due || (request.path_with_query.contains("partNumber=3") && drops == 1) {
                drops -= 1;
                inner.drop_uploads();
            }
            reply
        });
        result.expect("stores");
        assert_eq!(letters(&ports).matches('c').count(), 3, "{}", letters(&ports));
        assert!(bucket.objects()[KEY].body == large().body.into_bytes());
        assert!(ports.saved().is_empty());
    }

    #[test]
    fn a_refused_condition_costs_no_second_upload() {
        let (ports, result) = store_large(&Bucket::default(), |request, reply| match is_complete(request) {
            true if is_conditional(request) => Reply::error(501, "NotImplemented", "No."),
            _ => reply,
        });
        // The bucket completed it in spite of its refusal: what counts is which requests were sent.
        result.expect("stores");
        assert_eq!(letters(&ports).matches('p').count(), 3);
    }

    #[test]
    fn an_upload_that_fails_is_aborted() {
        let bucket = Bucket::default();
        let (ports, result) = store_large(&bucket, |request, reply| {
            if request.path_with_query.contains("partNumber=2") {
                Reply::error(403, "AccessDenied", "No.")
            } else {
                reply
            }
        });
        assert_eq!(result.expect_err("fails").kind, ErrorKind::Denied);
        assert!(bucket.uploads().is_empty() && ports.saved().is_empty());
        // Where the abort fails too, the next run knows of it.
        let (ports, result) = store_large(&bucket, |request, reply| match request.method {
            Method::Put | Method::Delete => Reply::error(403, "AccessDenied", "No."),
            _ => reply,
        });
        result.expect_err("fails");
        assert_eq!(ports.saved().len(), 1);
    }

    #[test]
    fn a_write_whose_answer_was_lost_is_found_to_be_ours() {
        let mut is_first = true;
        let (ports, result) =
            store(
                &Bucket::default(),
                move |_, reply| {
                    if std::mem::take(&mut is_first) { Reply::reset() } else { reply }
                },
            );
        result.expect("stores");
        assert_eq!(methods(&ports), [Method::Put, Method::Put, Method::Head]);
    }

    #[test]
    fn a_replay_with_other_bytes_is_known_by_its_digests() {
        let bucket = Bucket::default();
        let other = b"read at another time";
        bucket.insert(KEY, stored(other, "00ff", other));
        let (ports, result) = store(&bucket, |_, reply| reply);
        result.expect("is stored");
        assert_eq!(bucket.objects()[KEY].body, &other[..]);
        assert_eq!(methods(&ports), [Method::Put, Method::Head, Method::Get]);
    }

    #[test]
    fn an_object_that_is_not_what_it_says_is_a_strangers() {
        for (body, content) in [
            // Cut short, made longer, and other bytes: of what we would write, and of an earlier try.
            (&BODY[..7], BODY),
            (b"one\ntwo\nthree\n", BODY),
            (b"read at another", b"read at another time"),
            (b"read at another tide", b"read at another time"),
            (b"", b"read at another time"),
        ] {
            let bucket = Bucket::default();
            bucket.insert(KEY, stored(body, "00ff", content));
            let error = store(&bucket, |_, reply| reply).1.expect_err("is taken");
            assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
            assert_eq!(bucket.objects()[KEY].body, body);
        }
    }

    #[test]
    fn a_gateway_without_head_is_asked_with_get() {
        for status in [405, 501] {
            for (body, is_ours) in [(BODY, true), (b"one\ntwO\n", false), (b"one", false)] {
                let bucket = Bucket::default();
                bucket.insert(KEY, plain(body));
                let (ports, result) = store(&bucket, move |request, reply| match request.method {
                    Method::Head => Reply::status(status),
                    _ => reply,
                });
                assert_eq!(result.is_ok(), is_ours, "{body:?}: {result:?}");
                assert_eq!(methods(&ports), [Method::Put, Method::Head, Method::Get]);
                assert_eq!(bucket.objects()[KEY].body, body);
            }
        }
    }

    #[test]
    fn a_store_that_lets_nobody_look_is_not_written_to_unseen() {
        let bucket = Bucket::default();
        bucket.insert(KEY, plain(b"stranger"));
        let (ports, inner) = (TestPorts::new(1), bucket.clone());
        ports.serve(move |request| match request.method {
            Method::Put if is_conditional(request) => Reply::error(501, "NotImplemented", "No."),
            Method::Put => inner.answer(request),
            _ => Reply::status(405),
        });
        let stored = ports.block_on(uploader(&ports).store(object()));
        let error = stored.expect_err("cannot tell");
        assert!(error.message.contains("cannot tell whether the object"), "{error}");
        assert_eq!(bucket.objects()[KEY].body, "stranger");
    }

    #[test]
    fn the_same_bytes_are_ours_where_the_store_keeps_no_metadata() {
        let bucket = Bucket::default();
        bucket.insert(KEY, plain(BODY));
        let (ports, result) = store(&bucket, |_, reply| reply);
        result.expect("is stored");
        assert_eq!(methods(&ports), [Method::Put, Method::Head, Method::Get]);
    }

    #[test]
    fn a_strangers_object_is_named_and_not_overwritten() {
        for object in [
            plain(b"stranger"),
            stored(b"stranger", "ff00", b"stranger"),
            // A copy of an object's metadata does not make its bytes.
            stored(b"stranger", "00ff", BODY.split_at(4).0),
            plain(b"one\ntwo\nthree\n"),
            plain(b""),
        ] {
            let bucket = Bucket::default();
            let body = object.body.clone();
            bucket.insert(KEY, object);
            let error = store(&bucket, |_, reply| reply).1.expect_err("is taken");
            assert_eq!(error.kind, ErrorKind::Invalid);
            assert!(error.message.contains("the key `a/00ff.json` holds another"), "{error}");
            assert_eq!(bucket.objects()[KEY].body, body);
        }
    }

    #[test]
    fn a_conflict_is_tried_again() {
        let (ports, bucket, mut left) = (TestPorts::new(1), Bucket::default(), 2);
        let inner = bucket.clone();
        ports.serve(move |request| {
            left -= 1;
            if left >= 0 {
                return Reply::error(409, "ConditionalRequestConflict", "At the same time.");
            }
            inner.answer(request)
        });
        ports.block_on(uploader(&ports).store(object())).expect("stores");
        assert_eq!(methods(&ports), [Method::Put; 3]);
        assert!(ports.requests().iter().all(is_conditional));
        assert_eq!(bucket.objects()[KEY].body, BODY);
    }

    #[test]
    fn a_body_that_breaks_while_it_is_compared_is_read_again() {
        let bucket = Bucket::default();
        bucket.insert(KEY, plain(BODY));
        let mut gets = 0;
        let (_, result) = store(&bucket, move |request, reply| {
            gets += i32::from(request.method == Method::Get);
            if gets == 1 { reply.broken() } else { reply }
        });
        result.expect("is stored");
    }

    #[test]
    fn a_name_that_came_free_again_is_written() {
        let bucket = Bucket::default();
        bucket.insert(KEY, plain(b"stranger"));
        let (inner, mut is_first) = (bucket.clone(), true);
        let (ports, result) = store(&bucket, move |_, reply| {
            if std::mem::take(&mut is_first) {
                inner.clear();
            }
            reply
        });
        // The HEAD was answered after the object had gone.
        result.expect("stores");
        assert_eq!(methods(&ports), [Method::Put, Method::Head, Method::Put]);
        assert_eq!(bucket.objects()[KEY].body, BODY);
    }

    #[test]
    fn a_name_that_comes_free_while_it_is_compared_is_written() {
        let bucket = Bucket::default();
        bucket.insert(KEY, plain(BODY));
        let (inner, mut is_first) = (bucket.clone(), true);
        let (ports, result) = store(&bucket, move |request, reply| {
            if request.method == Method::Get && std::mem::take(&mut is_first) {
                inner.clear();
                return Reply::error(404, "NoSuchKey", "Gone.");
            }
            reply
        });
        result.expect("stores");
        let expected = [Method::Put, Method::Head, Method::Get, Method::Put];
        assert_eq!(methods(&ports), expected);
        assert_eq!(bucket.objects()[KEY].body, BODY);
    }

    #[test]
    fn a_name_that_is_never_settled_does_not_turn_in_circles() {
        let (_, result) = store(&Bucket::default(), |request, _| match request.method {
            Method::Put => Reply::error(412, "PreconditionFailed", "Taken."),
            _ => Reply::status(404),
        });
        let error = result.expect_err("never settles");
        assert_eq!(error.kind, ErrorKind::Unavailable);
        assert!(error.message.contains(KEY), "{error}");
    }

    #[test]
    fn a_store_without_conditions_is_looked_at_before_each_write() {
        for (status, code, message) in [
            (501, "NotImplemented", "A header you provided implies functionality."),
            (400, "InvalidArgument", "If-None-Match is not supported"),
        ] {
            let bucket = Bucket::default();
            let (ports, inner) = (TestPorts::new(1), bucket.clone());
            ports.serve(move |request| {
                if is_conditional(request) {
                    return Reply::error(status, code, message);
                }
                inner.answer(request)
            });
            let uploader = uploader(&ports);
            ports.block_on(uploader.clone().store(object())).expect("stores");
            ports.block_on(uploader.clone().store(object())).expect("is stored");
            let expected = [Method::Put, Method::Head, Method::Put, Method::Head];
            assert_eq!(methods(&ports), expected);
            assert_eq!(ports.lines(Level::Warn).len(), 1, "is stated once");
            bucket.insert(KEY, plain(b"stranger"));
            ports.block_on(uploader.store(object())).expect_err("is taken");
            assert_eq!(bucket.objects()[KEY].body, "stranger");
        }
    }

    #[test]
    fn uploads_that_find_at_once_that_there_are_no_conditions_say_so_once() {
        let (ports, bucket) = (TestPorts::new(1), Bucket::default());
        let inner = bucket.clone();
        ports.serve(move |request| {
            if is_conditional(request) {
                let refusal = Reply::error(501, "NotImplemented", "A header is not known.");
                return refusal.after(Duration::from_secs(1));
            }
            inner.answer(request)
        });
        let uploader = uploader(&ports);
        let other = Object { digest: "11ee".to_owned(), ..object() };
        let both = future::join(uploader.clone().store(object()), uploader.clone().store(other));
        let (one, other) = ports.block_on(both);
        one.and(other).expect("both are stored");
        assert_eq!(methods(&ports)[..2], [Method::Put; 2], "both at once");
        assert_eq!(bucket.objects().len(), 2);
        assert_eq!(ports.lines(Level::Warn).len(), 1);
    }

    #[test]
    fn other_refusals_do_not_weaken_the_write() {
        let (ports, result) =
            store(&Bucket::default(), |_, _| Reply::error(400, "InvalidRequest", "The content type is wrong."));
        assert_eq!(result.expect_err("fails").kind, ErrorKind::Invalid);
        assert!(ports.requests().iter().all(is_conditional));
    }

    #[test]
    fn a_name_that_cannot_be_looked_at_says_what_to_allow() {
        for refused in [Method::Head, Method::Get] {
            let bucket = Bucket::default();
            bucket.insert(KEY, plain(BODY));
            let (_, result) = store(
                &bucket,
                move |request, reply| {
                    if request.method == refused { Reply::status(403) } else { reply }
                },
            );
            let error = result.expect_err("cannot tell");
            assert_eq!(error.kind, ErrorKind::Denied);
            assert!(error.message.contains("allow s3:GetObject"), "{error}");
        }
    }

    #[test]
    fn an_outage_ends_as_unavailable() {
        let (ports, result) = store(&Bucket::default(), |_, _| Reply::error(503, "SlowDown", "Later."));
        assert_eq!(result.expect_err("fails").kind, ErrorKind::Unavailable);
        assert_eq!(Clock::elapsed(&ports), limits::RETRIES_MAX);
    }
}
