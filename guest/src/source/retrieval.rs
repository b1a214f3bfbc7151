//! Owns the retrieval of a listed object: requests it, compares the answer with the listing, and accepts that it was
//! deleted or changed only once a listing agrees. Leaves to `fetch` what becomes of the result.
//!
//! Proxies may answer instead of the store and replicas may lag, so one answer proves little.

use std::rc::Rc;

use super::identity::NULL_VERSION;
use super::worker::Oddities;
use crate::config::{Payload, SourceConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::limits;
use crate::ports::{Level, Ports};
use crate::s3::{self, Client, Content, ListStart, Marker, Object, ObjectEntry, Part, Pin, VersionEntry};
use crate::time::Timestamp;

/// An object to retrieve, as it was listed.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// The entry of the listing.
    pub(super) entry: ObjectEntry,
    /// The version that was listed.
    pub(super) version_id: String,
    /// Whether a plain GET finds it.
    pub(super) is_latest: bool,
    /// Whether what replaced it under the same version may be read in its place: not where a later plan may hold that.
    pub(super) may_be_replaced: bool,
    /// How its bytes are held.
    pub(super) holding: Holding,
    /// The part that is wanted, if not all of it is.
    pub(super) part: Option<Part>,
}

/// How the bytes of an object are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holding {
    /// As bodies travel.
    AsSet,
    /// In memory.
    Memory,
    /// By handle, unless they are few.
    Stream,
}

impl Wanted {
    /// Bytes that are wanted of an object of that size.
    fn length(&self, size: u64) -> u64 {
        self.part.map_or(size, |part| part.length)
    }
}

/// The result of a retrieval.
#[derive(Debug)]
pub(super) enum Retrieved<B> {
    /// The object, with the entry of the latest listing that was needed.
    Object(ObjectEntry, Object<B>),
    /// It was deleted, and no listing shows it any more.
    Deleted,
    /// It was replaced, by this, and may not be followed, or not so often.
    Overwritten(ObjectEntry),
    /// It is archived.
    Archived,
    /// It exists, and can't be read.
    Unreadable(Error),
}

/// Retrieves objects.
pub(super) struct Retrieval<P: Ports> {
    /// The ports.
    pub(super) ports: P,
    /// The bucket.
    pub(super) client: Client<P>,
    /// The source's settings.
    pub(super) config: Rc<SourceConfig>,
    /// The store's oddities so far.
    pub(super) oddities: Rc<Oddities>,
    /// Whether the store lists versions.
    pub(super) has_versions: bool,
}

/// Why an answer is not accepted.
enum Doubt {
    /// The store refused, or reported that the object does not exist.
    Refusal(s3::Error),
    /// It answered with something else.
    Answer(String),
}

/// The object in a new listing.
enum Listed {
    Gone,
    Changed(ObjectEntry),
    Same(ObjectEntry),
}

impl<P: Ports> Retrieval<P> {
    /// Retrieves an object.
    ///
    /// # Errors
    ///
    /// Those that concern more than this object: the bucket, the credentials, a store that does not answer.
    pub(super) async fn retrieve(&self, mut wanted: Wanted) -> Result<Retrieved<P::Body>> {
        let (mut answers, mut chases, mut gone) = (0, 0, 0);
        let mut is_pinned = true;
        // What was listed is what memory was set aside for.
        let whole_max = wanted.length(wanted.entry.size).max(limits::WHOLE_BODY_BYTES_MAX);
        loop {
            if let Some(error) = too_large(&wanted, &self.config) {
                return Ok(Retrieved::Unreadable(error));
            }
            let doubt = match self.ask(&wanted, is_pinned).await {
                Ok(object) => {
                    let entry = self.refresh(&wanted, &object).await?;
                    if entry != wanted.entry && !wanted.may_be_replaced {
                        return Ok(Retrieved::Overwritten(entry));
                    }
                    return Ok(Retrieved::Object(entry, object));
                }
                Err(Doubt::Refusal(error)) if error.is_archived() => {
                    return Ok(Retrieved::Archived);
                }
                Err(Doubt::Refusal(error)) if is_final(&error) => {
                    return self.refused(&wanted, &error);
                }
                Err(doubt) => doubt,
            };
            answers += 1;
            match self.relist(&wanted).await? {
                Listed::Gone => {
                    gone += 1;
                    if gone >= limits::GONE_LISTINGS_MIN {
                        return Ok(Retrieved::Deleted);
                    }
                }
                Listed::Changed(now) => {
                    chases += 1;
                    if !wanted.may_be_replaced {
                        return Ok(Retrieved::Overwritten(now));
                    }
                    let has_room = !self.is_whole(&wanted, now.size) || now.size <= whole_max;
                    if chases > limits::OVERWRITE_CHASES_MAX || !has_room {
                        return Ok(Retrieved::Overwritten(now));
                    }
                    (wanted.entry, answers, gone) = (now, 0, 0);
                    continue;
                }
                Listed::Same(_) => {
                    gone = 0;
                    let is_patient = answers < limits::ANSWERS_MAX;
                    if is_pinned
                        && doubt.is_condition()
                        && (!is_patient || self.oddities.etags_differ.get() >= limits::ODD_ETAGS_MIN)
                    {
                        self.warn_etags_differ(&wanted.entry.key);
                        is_pinned = false;
                        continue;
                    }
                    if !is_patient {
                        // Not a property of the object: it must not be skipped, and is due again.
                        let object = format!("object `{}`", wanted.entry.key);
                        return Err(self.contradiction(doubt).context(object));
                    }
                }
            }
            self.note_retry(&wanted.entry.key, &doubt);
            self.client.pause(pause(answers.max(gone))).await;
        }
    }

    /// The meaning of a refusal that a retry would not change.
    fn refused(&self, wanted: &Wanted, error: &s3::Error) -> Result<Retrieved<P::Body>> {
        let mut explained = self.explain(error);
        if error.is_denied() && wanted.version_id != NULL_VERSION {
            explained.message.push_str("; allow s3:GetObjectVersion");
        }
        if error.refuses_object() {
            Ok(Retrieved::Unreadable(explained))
        } else {
            Err(explained.context(format!("object `{}`", wanted.entry.key)))
        }
    }

    fn explain(&self, error: &s3::Error) -> Error {
        error.explain(self.client.config())
    }

    fn note_retry(&self, key: &str, doubt: &Doubt) {
        self.client.note_retry();
        let line = format!("retrying an object; key=`{key}`, why=`{doubt}`");
        self.ports.log(Level::Debug, &line);
    }

    /// Requests it once, in each possible way.
    async fn ask(&self, wanted: &Wanted, is_pinned: bool) -> Result<Object<P::Body>, Doubt> {
        let etag = Some(&wanted.entry.etag).filter(|etag| is_pinned && !etag.is_empty());
        let plain = Pin { version_id: None, etag: etag.cloned() };
        let is_null = wanted.version_id == NULL_VERSION;
        let by_version = Pin { version_id: Some(wanted.version_id.clone()), etag: None };
        // A store that never kept versions may not know `versionId`: the latest version is requested plainly.
        if !(is_null && wanted.is_latest) {
            return self.ask_with(wanted, &by_version, is_pinned).await;
        }
        let answer = self.ask_with(wanted, &plain, is_pinned).await;
        match answer {
            // Since it was listed, a newer version or a delete marker may have been put over the `null` version.
            Err(doubt) if is_null && self.has_versions && !doubt.is_final() => {
                self.ask_with(wanted, &by_version, is_pinned).await.map_err(|_| doubt)
            }
            answer => answer,
        }
    }

    /// Whether that many bytes of an object are read into memory.
    fn is_whole(&self, wanted: &Wanted, size: u64) -> bool {
        match self.config.payload {
            _ if wanted.holding == Holding::Memory => true,
            Payload::Auto | Payload::Raw if wanted.holding == Holding::Stream => size <= limits::WHOLE_BODY_BYTES_MAX,
            Payload::Auto => size <= limits::WHOLE_BODY_BYTES_MAX,
            Payload::Stream => false,
            Payload::Raw => true,
        }
    }

    async fn ask_with(&self, wanted: &Wanted, pin: &Pin, is_pinned: bool) -> Result<Object<P::Body>, Doubt> {
        let size = wanted.length(wanted.entry.size);
        let whole_max = if self.is_whole(wanted, size) { size.max(1) } else { 0 };
        let object = self.client.get_object(&wanted.entry.key, pin, wanted.part, whole_max).await;
        let object = object.map_err(Doubt::Refusal)?;
        match Comparison::new(wanted, &object, is_pinned, self.has_versions).disagreement() {
            Some(why) => Err(Doubt::Answer(why)),
            None => Ok(object),
        }
    }

    /// The entry under which an object is remembered. An overwrite with the same bytes shows in its time alone; whole
    /// seconds are compared, since headers have no more.
    async fn refresh(&self, wanted: &Wanted, object: &Object<P::Body>) -> Result<ObjectEntry> {
        let listed = &wanted.entry;
        // Where one listing has no time for an object, the next has none either.
        let is_other = listed.last_modified != Timestamp::default()
            && object.last_modified.is_some_and(|time| time.seconds().abs_diff(listed.last_modified.seconds()) > 1);
        if wanted.version_id != NULL_VERSION || !is_other || self.oddities.times_differ.get() {
            return Ok(listed.clone());
        }
        match self.relist(wanted).await? {
            Listed::Changed(now) if now.etag == listed.etag && now.size == listed.size => Ok(now),
            Listed::Same(now) => {
                self.oddities.times_differ.set(true);
                Ok(now)
            }
            // It is being overwritten again: what was read is delivered, and the next poll delivers the rest.
            Listed::Changed(_) | Listed::Gone => Ok(ObjectEntry {
                last_modified: object.last_modified.unwrap_or(listed.last_modified),
                ..listed.clone()
            }),
        }
    }

    /// Whether a key that a listing lacks has no object: the object itself is asked for, and where only others may read
    /// it, a listing of this one key.
    ///
    /// # Errors
    ///
    /// Those that concern more than this key.
    pub(super) async fn is_gone(&self, key: &str) -> Result<bool> {
        match self.client.head_object(key).await {
            Ok(_) => Ok(false),
            Err(error) if matches!(error.status(), Some(404 | 405)) => Ok(true),
            Err(error) if matches!(error.status(), Some(400 | 403 | 412 | 501)) => Ok(self.find(key).await?.is_none()),
            Err(error) => Err(self.explain(&error).context(format!("object `{key}`"))),
        }
    }

    /// The object in a listing of this one key.
    async fn relist(&self, wanted: &Wanted) -> Result<Listed> {
        let listed = &wanted.entry;
        let found = if self.has_versions {
            let found = self.find_version(&listed.key, &wanted.version_id).await.map_err(|e| self.explain(&e))?;
            // It was deleted by a marker of the same name.
            found.filter(|f| !f.is_delete_marker).map(|f| f.object)
        } else {
            self.find(&listed.key).await?
        };
        Ok(match found {
            None => Listed::Gone,
            Some(now) if now == *listed => Listed::Same(now),
            Some(now) => Listed::Changed(now),
        })
    }

    async fn find(&self, key: &str) -> Result<Option<ObjectEntry>> {
        // In the order of keys, the key itself is the first that begins with it.
        let page = self.client.list_objects_v2(key, &ListStart::First, 1).await.map_err(|e| self.explain(&e))?;
        let first = page.entries.into_iter().next();
        Ok(first.filter(|now| now.key == key))
    }

    async fn find_version(&self, key: &str, version_id: &str) -> s3::Result<Option<VersionEntry>> {
        let (mut start, mut trail): (Option<Marker>, _) = (None, s3::Trail::default());
        for _ in 0..limits::FIND_VERSION_PAGES_MAX {
            let page = self.client.list_object_versions(key, start.as_ref()).await?;
            trail.follow("ListObjectVersions", true, &page)?;
            let is_past = page.greatest.as_deref().is_some_and(|last| last > key);
            let is_it = |e: &VersionEntry| e.object.key == key && e.version_id == version_id;
            let found = page.entries.into_iter().find(is_it);
            start = page.next;
            if found.is_some() || is_past || start.is_none() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn warn_etags_differ(&self, key: &str) {
        let odd = &self.oddities.etags_differ;
        odd.set(odd.get().saturating_add(1));
        if odd.get() > 1 {
            return;
        }
        let line = format!(
            "the store keeps listing another ETag than the object has: such objects are read without the condition \
             that they match the listing; key=`{key}`"
        );
        self.ports.log(Level::Warn, &line);
    }

    /// Why a listed object can't be read, after all retries.
    fn contradiction(&self, doubt: Doubt) -> Error {
        let times = limits::ANSWERS_MAX;
        match doubt {
            Doubt::Refusal(error) => {
                let mut explained = self.explain(&error);
                // Problems on the way to the store are transient, and a refusal that is not from S3 may be one.
                if explained.kind == ErrorKind::Invalid || error.is_anonymous() {
                    explained.kind = ErrorKind::Unavailable;
                }
                explained.message = format!("it is listed, but was refused {times} times: {}", explained.message);
                explained
            }
            Doubt::Answer(why) => Error::new(
                ErrorKind::Unavailable,
                format!(
                    "{times} answers were not the listed object: {why}; check whether a proxy or a sign-in page \
                     answers instead of the store"
                ),
            ),
        }
    }
}

impl Doubt {
    fn is_condition(&self) -> bool {
        matches!(self, Self::Refusal(error) if error.is_precondition_failed())
    }

    fn is_final(&self) -> bool {
        matches!(self, Self::Refusal(error) if is_final(error))
    }
}

impl std::fmt::Display for Doubt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refusal(error) => error.fmt(f),
            Self::Answer(why) => f.write_str(why),
        }
    }
}

/// Whether a retry would change nothing. A missing object may appear, a refusal may not come from S3, and a condition
/// that does not hold on one replica may hold on another.
fn is_final(error: &s3::Error) -> bool {
    let is_transient = error.is_not_found()
        || error.is_precondition_failed()
        // Only a part of an object that was listed larger than it is now.
        || error.status() == Some(416)
        || (error.refuses_object() && error.is_anonymous());
    !is_transient
}

/// An answer compared with the object that was wanted.
struct Comparison<'a, B> {
    wanted: &'a Wanted,
    object: &'a Object<B>,
    /// Whether the request had the condition that the ETag be the listed one.
    is_pinned: bool,
    /// Whether the answer names the very version that was wanted. It has one content: the answer is that content,
    /// whatever ETag the listing has.
    is_named: bool,
    /// Whether the listing tells versions: where it doesn't, an answer may still name one.
    has_versions: bool,
}

impl<'a, B> Comparison<'a, B> {
    fn new(wanted: &'a Wanted, object: &'a Object<B>, is_pinned: bool, has_versions: bool) -> Self {
        let version = Some(wanted.version_id.as_str()).filter(|id| *id != NULL_VERSION);
        let is_named = version.is_some() && object.version_id.as_deref() == version;
        Self { wanted, object, is_pinned, is_named, has_versions }
    }

    /// Why the answer is not the object that was wanted, or can't be told to be it: by its version, its ETag, or
    /// without one its time, each together with its length.
    fn disagreement(&self) -> Option<String> {
        let checks = [Self::status, Self::part, Self::version, Self::etag, Self::age, Self::length, Self::identity];
        checks.into_iter().find_map(|check| check(self))
    }

    fn status(&self) -> Option<String> {
        let status = self.object.status;
        let wanted = if self.wanted.part.is_some() { 206 } else { 200 };
        (status != wanted).then(|| format!("its status is {status} where {wanted} was wanted"))
    }

    fn part(&self) -> Option<String> {
        let wanted = self.wanted.part?.content_range(self.wanted.entry.size);
        let answered = self.object.content_range.as_deref().unwrap_or_default();
        (answered != wanted).then(|| format!("it is the part `{answered}` where `{wanted}` was wanted"))
    }

    fn version(&self) -> Option<String> {
        let (wanted, answered) = (self.wanted.version_id.as_str(), self.object.version_id.as_deref()?);
        (self.has_versions && wanted != answered)
            .then(|| format!("its version is `{answered}` where `{wanted}` was wanted"))
    }

    fn etag(&self) -> Option<String> {
        let (listed, etag) = (&self.wanted.entry.etag, self.answered_etag()?);
        let is_other = etag != listed.as_str() && !listed.is_empty() && self.is_pinned && !self.is_named;
        is_other.then(|| format!("its ETag is `{etag}` where `{listed}` was listed"))
    }

    /// Without the condition nothing else distinguishes it from what it replaced, which a replica that lags may still
    /// have.
    fn age(&self) -> Option<String> {
        let is_older = !self.is_pinned && !self.is_named && self.newer_s().is_some_and(|newer_s| newer_s < -1);
        is_older.then(|| "it is older than what was listed".to_owned())
    }

    fn length(&self) -> Option<String> {
        let listed = &self.wanted.entry;
        let length = match &self.object.content {
            Content::Whole(bytes) => Some(bytes.len() as u64),
            Content::Stream(_) => self.object.length,
        };
        let has_etag = self.answered_etag() == Some(listed.etag.as_str()) && !self.object.has_weak_etag;
        match length {
            Some(length) if length != self.wanted.length(listed.size) => {
                Some(format!("it has {length} bytes where {} were listed", self.wanted.length(listed.size)))
            }
            None if !has_etag && !self.is_named => {
                Some("it has neither the ETag that was listed nor a length".to_owned())
            }
            _ => None,
        }
    }

    fn identity(&self) -> Option<String> {
        let is_known = self.is_named || self.wanted.entry.etag.is_empty() || self.answered_etag().is_some();
        let is_other = !is_known && self.newer_s().is_none_or(|newer_s| newer_s.abs() > 1);
        is_other.then(|| "it has neither an ETag nor the time that was listed".to_owned())
    }

    fn answered_etag(&self) -> Option<&str> {
        self.object.etag.as_deref().filter(|etag| !etag.is_empty())
    }

    /// By how many seconds the answer is newer than the listed object, where both have a time.
    fn newer_s(&self) -> Option<i64> {
        let listed = self.wanted.entry.last_modified;
        let seconds = |time: Timestamp| i64::try_from(time.seconds()).unwrap_or(i64::MAX);
        let answered = self.object.last_modified.filter(|_| listed != Timestamp::default())?;
        Some(seconds(answered) - seconds(listed))
    }
}

/// Why an object of this size is not to be read, if it is not.
fn too_large(wanted: &Wanted, config: &SourceConfig) -> Option<Error> {
    let (bytes, length) = (wanted.entry.size, wanted.length(wanted.entry.size));
    let raw_max = limits::RAW_BODY_BYTES_MAX;
    let why = match config.object_bytes_max {
        Some(bytes_max) if bytes > bytes_max => format!("the {bytes_max} of `objectBytes`: raise that setting"),
        _ if config.payload == Payload::Raw && wanted.holding == Holding::AsSet && length > raw_max => {
            format!(
                "the {raw_max} that a record carries where `payload` is `raw`: set `payload` to `auto` or `stream`, or set `chunkBytes`"
            )
        }
        _ => return None,
    };
    Some(Error::invalid(format!("it has {bytes} bytes, more than {why}")))
}

/// The pause after that number of answers.
fn pause(answers: u32) -> std::time::Duration {
    limits::ANSWER_PAUSE_FIRST.saturating_mul(1 << answers.saturating_sub(1).min(16))
}
