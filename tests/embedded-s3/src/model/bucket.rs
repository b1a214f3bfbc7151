//! Owns one bucket: the history of every key, under versioning that can be switched. Leaves pages to the listing, and
//! clocks, ids and locks to the store.
//!
//! The rules are those of <https://docs.aws.amazon.com/AmazonS3/latest/userguide/versioning-workflows.html>. The
//! versions of a key are kept in the order of their numbers, the current one last.

use std::collections::BTreeMap;
use std::time::SystemTime;

use s3s::dto::ETagCondition;

use super::clock;
use super::options::DeleteMarkers;
use super::refusal::Refusal;
use super::upload::Upload;
use super::version::{Object, Stamp, Version, VersionId};

/// Whether a bucket keeps versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Versioning {
    /// Never enabled: every key has one version, which has no id.
    #[default]
    Off,
    /// Every write adds a version.
    Enabled,
    /// Writes replace the `null` version; others stay.
    Suspended,
}

/// What a write asks to hold first.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html>
#[derive(Clone, Debug, Default)]
pub(crate) struct WriteCondition {
    pub(crate) if_match: Option<ETagCondition>,
    pub(crate) if_none_match: Option<ETagCondition>,
}

impl WriteCondition {
    pub(crate) fn is_some(&self) -> bool {
        self.if_match.is_some() || self.if_none_match.is_some()
    }
}

/// What a delete did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deletion {
    /// Whether what it added, or removed permanently, is a delete marker.
    pub(crate) delete_marker: bool,
    /// The version it added or removed; absent where versioning is off.
    pub(crate) version_id: Option<VersionId>,
}

/// A bucket of the store.
#[derive(Debug)]
pub(crate) struct Bucket {
    pub(crate) created: SystemTime,
    pub(crate) versioning: Versioning,
    pub(crate) objects: BTreeMap<String, Vec<Version>>,
    pub(crate) uploads: BTreeMap<String, BTreeMap<String, Upload>>,
}

impl Bucket {
    pub(crate) fn new(created: SystemTime) -> Self {
        let (objects, uploads) = (BTreeMap::new(), BTreeMap::new());
        Self { created, versioning: Versioning::Off, objects, uploads }
    }

    /// Gives a version's id as answers carry it: `None` where versioning was never enabled.
    pub(crate) fn id_sent(&self, id: VersionId) -> Option<String> {
        (self.versioning != Versioning::Off).then(|| id.text())
    }

    /// Stores an object: as the key's current version, unless something was stored after the stamp.
    pub(crate) fn put(&mut self, key: &str, stamp: Stamp, object: Object) -> VersionId {
        self.put_under(self.versioning, key, stamp, object)
    }

    /// Stores an object as another versioning than that of now has it.
    pub(crate) fn put_under(&mut self, versioning: Versioning, key: &str, stamp: Stamp, object: Object) -> VersionId {
        self.push(versioning, key, stamp, Some(object))
    }

    fn push(&mut self, versioning: Versioning, key: &str, stamp: Stamp, object: Option<Object>) -> VersionId {
        let id = match versioning {
            Versioning::Enabled => VersionId::Numbered(stamp.number),
            Versioning::Off | Versioning::Suspended => VersionId::Null,
        };
        let version = Version { id, number: stamp.number, last_modified: stamp.time, object };
        match self.objects.get_mut(key) {
            Some(versions) => {
                if id == VersionId::Null {
                    versions.retain(|version| version.id != VersionId::Null);
                }
                let below = |version: &Version| version.number < stamp.number;
                let at = versions.iter().rposition(below).map_or(0, |at| at + 1);
                versions.insert(at, version);
            }
            None => {
                self.objects.insert(key.to_owned(), vec![version]);
            }
        }
        id
    }

    /// Deletes a key: where versions are kept, by adding a delete marker, unless the store adds none there.
    pub(crate) fn delete(&mut self, key: &str, stamp: Stamp, markers: DeleteMarkers) -> Deletion {
        if self.versioning == Versioning::Off {
            self.objects.remove(key);
            return Deletion { delete_marker: false, version_id: None };
        }
        let is_marked = match markers {
            DeleteMarkers::Always => true,
            DeleteMarkers::OverKeys => self.objects.contains_key(key),
            DeleteMarkers::OverObjects => self.current_object(key).is_some(),
        };
        if !is_marked {
            return Deletion { delete_marker: false, version_id: None };
        }
        let id = self.push(self.versioning, key, stamp, None);
        Deletion { delete_marker: true, version_id: Some(id) }
    }

    /// Removes one version permanently, which leaves no trace.
    pub(crate) fn delete_version(&mut self, key: &str, id: VersionId) -> Deletion {
        let mut delete_marker = false;
        if let Some(versions) = self.objects.get_mut(key) {
            if let Some(at) = versions.iter().position(|version| version.id == id) {
                delete_marker = versions.remove(at).object.is_none();
            }
            if versions.is_empty() {
                self.objects.remove(key);
            }
        }
        Deletion { delete_marker, version_id: Some(id) }
    }

    pub(crate) fn current(&self, key: &str) -> Option<&Version> {
        self.objects.get(key)?.last()
    }

    /// Tells whether a key's current version has this id.
    pub(crate) fn is_current(&self, key: &str, id: VersionId) -> bool {
        self.current(key).is_some_and(|current| current.id == id)
    }

    /// Finds the current object, unless there is none or a delete marker hides it.
    pub(crate) fn current_object(&self, key: &str) -> Option<&Object> {
        self.current(key)?.object.as_ref()
    }

    /// Finds the object that a read asks for.
    pub(crate) fn find(&self, key: &str, version_id: Option<&str>) -> Result<(&Version, &Object), Refusal> {
        let Some(text) = version_id else {
            let version = self.current(key).ok_or_else(Refusal::no_such_key)?;
            let marker = || self.delete_marker(version, Refusal::no_such_key());
            return Ok((version, version.object.as_ref().ok_or_else(marker)?));
        };
        let id = parse_version_id(text)?;
        let versions = self.objects.get(key).map(Vec::as_slice).unwrap_or_default();
        let found = versions.iter().find(|version| version.id == id);
        let version = found.ok_or_else(Refusal::no_such_version)?;
        // https://docs.aws.amazon.com/AmazonS3/latest/userguide/DeleteMarker.html
        let marker = || {
            let message = "The specified method is not allowed against this resource.";
            let refusal = Refusal::new(405, "MethodNotAllowed", message).header("allow", "DELETE");
            let last_modified = clock::truncate(version.last_modified, false);
            let refusal = refusal.header("last-modified", httpdate::fmt_http_date(last_modified));
            self.delete_marker(version, refusal)
        };
        Ok((version, version.object.as_ref().ok_or_else(marker)?))
    }

    fn delete_marker(&self, version: &Version, refusal: Refusal) -> Refusal {
        let refusal = refusal.header("x-amz-delete-marker", "true");
        match self.id_sent(version.id) {
            Some(id) => refusal.header("x-amz-version-id", id),
            None => refusal,
        }
    }

    /// Checks a conditional write against the current version.
    pub(crate) fn check_write(&self, key: &str, condition: &WriteCondition) -> Result<(), Refusal> {
        let current = self.current_object(key);
        if let Some(if_none_match) = &condition.if_none_match {
            // On writes S3 knows only `If-None-Match: *`.
            if !if_none_match.is_any() {
                return Err(Refusal::not_implemented());
            }
            if current.is_some() {
                return Err(Refusal::precondition_failed());
            }
        }
        if let Some(if_match) = &condition.if_match {
            let object = current.ok_or_else(Refusal::no_such_key)?;
            if !object.etag.meets(if_match) {
                return Err(Refusal::precondition_failed());
            }
        }
        Ok(())
    }
}

/// Reads a version id that came with a request.
pub(crate) fn parse_version_id(text: &str) -> Result<VersionId, Refusal> {
    let refusal = || Refusal::invalid_argument("Invalid version id specified");
    VersionId::parse(text).ok_or_else(refusal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::version::{Etag, ObjectHeaders};
    use bytes::Bytes;

    fn object(text: &'static str) -> Object {
        let body = Bytes::from_static(text.as_bytes());
        Object::new(body.into(), Etag::of(text.as_bytes()), ObjectHeaders::default())
    }

    fn stamp(number: u64) -> Stamp {
        Stamp { number, time: SystemTime::UNIX_EPOCH }
    }

    fn bucket(versioning: Versioning) -> Bucket {
        let mut bucket = Bucket::new(SystemTime::UNIX_EPOCH);
        bucket.versioning = versioning;
        bucket
    }

    fn ids(bucket: &Bucket, key: &str) -> Vec<VersionId> {
        bucket.objects.get(key).into_iter().flatten().map(|version| version.id).collect()
    }

    #[test]
    fn unversioned_bucket_keeps_one_version() {
        let mut bucket = bucket(Versioning::Off);
        bucket.put("k", stamp(1), object("a"));
        bucket.put("k", stamp(2), object("b"));
        assert_eq!(ids(&bucket, "k"), [VersionId::Null]);
        assert_eq!(bucket.find("k", None).unwrap().1.payload.bytes(), "b");
        let gone = Deletion { delete_marker: false, version_id: None };
        assert_eq!(bucket.delete("k", stamp(3), DeleteMarkers::Always), gone);
        assert_eq!(bucket.find("k", None).unwrap_err().code, "NoSuchKey");
    }

    #[test]
    fn suspended_bucket_overwrites_the_null_version_wherever_it_is() {
        let mut bucket = bucket(Versioning::Off);
        bucket.put("k", stamp(1), object("before"));
        bucket.versioning = Versioning::Enabled;
        bucket.put("k", stamp(2), object("versioned"));
        assert_eq!(ids(&bucket, "k"), [VersionId::Null, VersionId::Numbered(2)]);
        bucket.versioning = Versioning::Suspended;
        bucket.put("k", stamp(3), object("after"));
        assert_eq!(ids(&bucket, "k"), [VersionId::Numbered(2), VersionId::Null]);
        assert_eq!(bucket.find("k", Some("null")).unwrap().1.payload.bytes(), "after");
    }

    #[test]
    fn late_version_lands_below_what_was_stored_since() {
        let mut bucket = bucket(Versioning::Enabled);
        for number in [1, 4] {
            bucket.put("k", stamp(number), object("plain"));
        }
        bucket.delete("k", stamp(6), DeleteMarkers::Always);
        bucket.put("k", stamp(5), object("late"));
        bucket.put("k", stamp(3), object("later"));
        assert_eq!(ids(&bucket, "k"), [1, 3, 4, 5, 6].map(VersionId::Numbered));
        assert!(bucket.current_object("k").is_none(), "the delete marker stays on top");
        bucket.delete_version("k", VersionId::Numbered(6));
        assert_eq!(bucket.find("k", None).unwrap().1.payload.bytes(), "late");
    }

    #[test]
    fn late_null_version_replaces_the_other_and_keeps_its_place() {
        let mut bucket = bucket(Versioning::Enabled);
        bucket.put("k", stamp(3), object("kept"));
        bucket.versioning = Versioning::Suspended;
        bucket.delete("k", stamp(4), DeleteMarkers::Always);
        bucket.put("k", stamp(2), object("late"));
        assert_eq!(ids(&bucket, "k"), [VersionId::Null, VersionId::Numbered(3)]);
        assert_eq!(bucket.find("k", None).unwrap().1.payload.bytes(), "kept");
    }

    #[test]
    fn delete_in_a_suspended_bucket_replaces_null_by_a_null_marker() {
        let mut bucket = bucket(Versioning::Enabled);
        bucket.put("k", stamp(1), object("kept"));
        bucket.versioning = Versioning::Suspended;
        bucket.put("k", stamp(2), object("lost"));
        let deletion = bucket.delete("k", stamp(3), DeleteMarkers::Always);
        assert_eq!(deletion, Deletion { delete_marker: true, version_id: Some(VersionId::Null) });
        assert_eq!(ids(&bucket, "k"), [VersionId::Numbered(1), VersionId::Null]);
        assert!(bucket.current_object("k").is_none());
        bucket.delete_version("k", VersionId::Null);
        assert_eq!(bucket.find("k", None).unwrap().1.payload.bytes(), "kept");
    }

    #[test]
    fn delete_marker_answers_404_without_its_id_and_405_with_it() {
        let mut bucket = bucket(Versioning::Enabled);
        let marker = bucket.delete("never-was", stamp(7), DeleteMarkers::Always).version_id.unwrap();
        let refusal = bucket.find("never-was", None).unwrap_err();
        assert_eq!((refusal.status, refusal.code.as_ref()), (404, "NoSuchKey"));
        let refusal = bucket.find("never-was", Some(&marker.text())).unwrap_err();
        assert_eq!((refusal.status, refusal.code.as_ref()), (405, "MethodNotAllowed"));
        assert!(bucket.delete_version("never-was", marker).delete_marker);
        assert!(bucket.objects.is_empty());
    }

    #[test]
    fn some_stores_add_no_delete_marker_over_nothing() {
        let cases = [(DeleteMarkers::Always, 3), (DeleteMarkers::OverKeys, 2), (DeleteMarkers::OverObjects, 1)];
        for (markers, count) in cases {
            let mut bucket = bucket(Versioning::Enabled);
            bucket.put("k", stamp(1), object("a"));
            let keys = ["k", "k", "never-was"];
            let deletions = (2..).zip(keys).map(|(number, key)| bucket.delete(key, stamp(number), markers));
            assert_eq!(deletions.filter(|deletion| deletion.delete_marker).count(), count, "{markers:?}");
            assert!(bucket.current_object("k").is_none());
        }
    }

    #[test]
    fn conditions_of_a_write_look_at_the_current_object() {
        let mut bucket = bucket(Versioning::Enabled);
        let create = WriteCondition { if_none_match: Some(ETagCondition::Any), if_match: None };
        let etag = Etag::of(b"a").dto();
        let replace = WriteCondition { if_match: Some(ETagCondition::ETag(etag)), if_none_match: None };
        assert_eq!(bucket.check_write("k", &replace).unwrap_err().status, 404);
        bucket.check_write("k", &create).unwrap();
        bucket.put("k", stamp(1), object("a"));
        bucket.check_write("k", &replace).unwrap();
        assert_eq!(bucket.check_write("k", &create).unwrap_err().status, 412);
        bucket.put("k", stamp(2), object("b"));
        assert_eq!(bucket.check_write("k", &replace).unwrap_err().status, 412);
        bucket.delete("k", stamp(3), DeleteMarkers::Always);
        bucket.check_write("k", &create).unwrap();
    }
}
