//! Owns all buckets, under one lock, and the way to them without HTTP. Leaves the rules to the bucket, the upload and
//! the listing.
//!
//! Tests set up a bucket and inspect it here, the API serves requests from here, and both see the same clock.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use bytes::Bytes;
use s3s::dto::ETagCondition;

use super::bucket::{Bucket, Deletion, Versioning, WriteCondition, parse_version_id};
use super::clock::{self, Clock};
use super::listing::{self, Query};
use super::options::{ConditionalWrites, GoneVersion, MultipartOrder, Options};
use super::refusal::Refusal;
use super::stored::{ObjectsPage, PutOptions, StoredUpload, StoredVersion, VersionEntry, VersionsPage};
use super::upload::{Part, Upload, parse_part_number};
use super::version::{Etag, Object, ObjectHeaders, Stamp, VersionId, hex};

#[derive(Debug, Default)]
struct Buckets {
    buckets: BTreeMap<String, Bucket>,
    /// Counts versions and uploads; their ids come from it.
    number: u64,
}

/// The server's contents. A clone is a handle on the same contents.
#[derive(Clone)]
pub struct Store {
    state: Arc<RwLock<Buckets>>,
    options: Arc<Options>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("buckets", &self.buckets()).finish_non_exhaustive()
    }
}

/// What became of an upload.
#[derive(Debug)]
pub(crate) struct Completed {
    pub(crate) etag: Etag,
    pub(crate) id: VersionId,
    /// The id as the answer carries it.
    pub(crate) id_sent: Option<String>,
}

/// For callers without HTTP.
impl Store {
    /// Makes a store without a server. Options that only a server has don't matter to it.
    pub fn new(options: impl Into<Arc<Options>>) -> Self {
        Self { state: Arc::default(), options: options.into() }
    }

    /// Gives the clock that stamps what is stored.
    pub fn clock(&self) -> Clock {
        self.options.clock.clone()
    }

    /// Makes a bucket. Fails with `BucketAlreadyOwnedByYou` if there is one, and with
    /// `InvalidBucketName` if S3 has no such names, as of less than three letters.
    pub fn create_bucket(&self, name: &str) -> Result<(), Refusal> {
        if !s3s::path::check_bucket_name(name) {
            let message = "The specified bucket is not valid.";
            return Err(Refusal::new(400, "InvalidBucketName", message));
        }
        let created = self.now();
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.buckets.contains_key(name) {
            let message = "Your previous request to create the named bucket succeeded and you \
                           already own it.";
            return Err(Refusal::new(409, "BucketAlreadyOwnedByYou", message));
        }
        state.buckets.insert(name.to_owned(), Bucket::new(created));
        Ok(())
    }

    /// Removes a bucket. Fails with `BucketNotEmpty` while a version or delete marker is in it.
    pub fn delete_bucket(&self, name: &str) -> Result<(), Refusal> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let bucket = state.buckets.get(name).ok_or_else(Refusal::no_such_bucket)?;
        if !bucket.objects.is_empty() {
            let message = "The bucket you tried to delete is not empty";
            return Err(Refusal::new(409, "BucketNotEmpty", message));
        }
        state.buckets.remove(name);
        Ok(())
    }

    /// Names the buckets.
    pub fn buckets(&self) -> Vec<String> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.buckets.keys().cloned().collect()
    }

    /// Switches versioning. S3 cannot be switched back to [`Versioning::Off`], and neither can this.
    pub fn set_versioning(&self, bucket: &str, versioning: Versioning) -> Result<(), Refusal> {
        self.write(bucket, |bucket, _| {
            if versioning == Versioning::Off && bucket.versioning != Versioning::Off {
                let message = "The Versioning element must be specified";
                return Err(Refusal::new(400, "IllegalVersioningConfigurationException", message));
            }
            bucket.versioning = versioning;
            Ok(())
        })
    }

    /// Tells whether a bucket keeps versions.
    pub fn versioning(&self, bucket: &str) -> Result<Versioning, Refusal> {
        self.read(bucket, |bucket| Ok(bucket.versioning))
    }

    /// Stores an object.
    pub fn put(&self, bucket: &str, key: &str, body: impl Into<Bytes>) -> Result<StoredVersion, Refusal> {
        self.put_with(bucket, key, PutOptions { body: body.into(), ..PutOptions::default() })
    }

    /// Stores an object with headers, conditions or a time of its own.
    pub fn put_with(&self, bucket: &str, key: &str, options: PutOptions) -> Result<StoredVersion, Refusal> {
        let etag = Etag::of(&options.body);
        let object = Object::new(options.body.into(), etag, options.headers);
        let if_match = |etag: String| ETagCondition::ETag(s3s::dto::ETag::Strong(etag));
        let condition = WriteCondition {
            if_match: options.if_match.map(if_match),
            if_none_match: options.if_none_match.then_some(ETagCondition::Any),
        };
        self.write(bucket, |bucket, stamp| {
            bucket.check_write(key, &condition)?;
            let time = options.last_modified.unwrap_or(stamp.time);
            bucket.put(key, Stamp { time, ..stamp }, object);
            Ok(StoredVersion::new(key, bucket.current(key).expect("it was just stored"), true))
        })
    }

    /// Deletes an object; gives the id of the delete marker, if the store adds one.
    pub fn delete(&self, bucket: &str, key: &str) -> Result<Option<String>, Refusal> {
        let deletion =
            self.write(bucket, |bucket, stamp| Ok(bucket.delete(key, stamp, self.options.delete_markers)))?;
        Ok(deletion.version_id.map(VersionId::text))
    }

    /// Removes one version permanently; it need not exist.
    pub fn delete_version(&self, bucket: &str, key: &str, id: &str) -> Result<(), Refusal> {
        let id = parse_version_id(id)?;
        self.write(bucket, |bucket, _| Ok(bucket.delete_version(key, id))).map(|_deletion| ())
    }

    /// Reads the current object.
    pub fn get(&self, bucket: &str, key: &str) -> Result<StoredVersion, Refusal> {
        self.read(bucket, |bucket| bucket.find(key, None).map(|(version, _)| StoredVersion::new(key, version, true)))
    }

    /// Reads one version; a delete marker is refused with 405, as by S3.
    pub fn get_version(&self, bucket: &str, key: &str, id: &str) -> Result<StoredVersion, Refusal> {
        self.read(bucket, |bucket| {
            let (version, _) = bucket.find(key, Some(id))?;
            Ok(StoredVersion::new(key, version, bucket.is_current(key, version.id)))
        })
    }

    /// Gives a page of the current objects below a prefix, which starts after a key. It has at most `count_max` of
    /// them, whatever [`Options::page_size_max`] is.
    pub fn objects_page(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
        count_max: usize,
    ) -> Result<ObjectsPage, Refusal> {
        let promises_more = self.options.full_page_promises_more;
        let query = Query { prefix, after, count_max, promises_more, ..Query::default() };
        self.read(bucket, |bucket| {
            let page = listing::objects(bucket, query);
            let entries = page.entries.into_iter();
            let entries = entries.map(|(key, version)| VersionEntry::new(key, version, true)).collect();
            Ok(ObjectsPage { entries, next: page.next })
        })
    }

    /// Gives a page of the versions and delete markers below a prefix, in the order in which ListObjectVersions writes
    /// it. It starts after a key or after one version of it, and has at most `count_max` entries, whatever
    /// [`Options::page_size_max`] is.
    pub fn versions_page(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<(&str, Option<&str>)>,
        count_max: usize,
    ) -> Result<VersionsPage, Refusal> {
        let (after, version_id) = after.unzip();
        let version_id = version_id.flatten().map(parse_version_id).transpose()?;
        let is_opaque = self.options.opaque_key_markers;
        let after = after.map(|key| listing::read_marker(key, is_opaque));
        let promises_more = self.options.full_page_promises_more;
        let query = Query { prefix, after, count_max, promises_more, ..Query::default() };
        self.read(bucket, |bucket| {
            let mut page = listing::versions(bucket, query, version_id, self.options.gone_version);
            listing::arrange(&mut page.entries, self.options.listing_kinds);
            let entries = page.entries.into_iter();
            let entries = entries.map(|at| VersionEntry::new(at.key, at.version, at.is_latest)).collect();
            let next = page.next.map(|(key, id)| (listing::written_marker(key, is_opaque), id));
            Ok(VersionsPage { entries, next })
        })
    }

    /// Names the keys of the current objects below a prefix, in their order.
    pub fn list(&self, bucket: &str, prefix: &str) -> Result<Vec<String>, Refusal> {
        let query = Query { prefix, count_max: usize::MAX, ..Query::default() };
        self.read(bucket, |bucket| {
            let page = listing::objects(bucket, query);
            Ok(page.entries.into_iter().map(|(key, _)| key.to_owned()).collect())
        })
    }

    /// Gives all current objects in the order of their keys.
    pub fn objects(&self, bucket: &str) -> Result<Vec<StoredVersion>, Refusal> {
        let query = Query { count_max: usize::MAX, ..Query::default() };
        self.read(bucket, |bucket| {
            let page = listing::objects(bucket, query);
            let entries = page.entries.into_iter();
            Ok(entries.map(|(key, version)| StoredVersion::new(key, version, true)).collect())
        })
    }

    /// Gives all versions and delete markers as ListObjectVersions orders them.
    pub fn versions(&self, bucket: &str) -> Result<Vec<StoredVersion>, Refusal> {
        let query = Query { count_max: usize::MAX, ..Query::default() };
        self.read(bucket, |bucket| {
            let page = listing::versions(bucket, query, None, GoneVersion::default());
            let entries = page.entries.into_iter();
            Ok(entries.map(|at| StoredVersion::new(at.key, at.version, at.is_latest)).collect())
        })
    }

    /// Starts a multipart upload and gives its id.
    pub fn begin_upload(&self, bucket: &str, key: &str, headers: ObjectHeaders) -> Result<String, Refusal> {
        self.write(bucket, |bucket, stamp| {
            // Ids of one key grow with time, as ListMultipartUploads continues after an id.
            let id = format!("{:016x}{}", stamp.number, VersionId::Numbered(stamp.number).text());
            let upload = Upload::new(stamp, bucket.versioning, headers);
            bucket.uploads.entry(key.to_owned()).or_default().insert(id.clone(), upload);
            Ok(id)
        })
    }

    /// Adds or replaces a part and gives its entity tag.
    pub fn upload_part(
        &self,
        bucket: &str,
        key: &str,
        upload_id: &str,
        number: u16,
        body: impl Into<Bytes>,
    ) -> Result<String, Refusal> {
        let number = parse_part_number(number.into())?;
        let body = body.into();
        let etag = Etag::of(&body);
        self.write(bucket, |bucket, stamp| {
            let upload = find_upload(bucket, key, upload_id)?;
            let hides_hash = upload.headers.storage.hides_hash();
            let md5 = if hides_hash { etag.hidden().md5 } else { etag.md5 };
            upload.parts.insert(number, Part { body, md5, last_modified: stamp.time });
            Ok(hex(&md5))
        })
    }

    /// Completes an upload of all its parts, however small they are. What it gives is not the latest version where
    /// the upload landed below others.
    pub fn complete_upload(&self, bucket: &str, key: &str, upload_id: &str) -> Result<StoredVersion, Refusal> {
        let named = self.write(bucket, |bucket, _| {
            let parts = find_upload(bucket, key, upload_id)?.parts.iter();
            Ok(parts.map(|(number, part)| (*number, hex(&part.md5))).collect::<Vec<_>>())
        })?;
        let completed = self.complete(bucket, key, upload_id, &named, 0, &WriteCondition::default())?;
        self.get_version(bucket, key, &completed.id.text())
    }

    /// Drops an upload and its parts.
    pub fn abort_upload(&self, bucket: &str, key: &str, upload_id: &str) -> Result<(), Refusal> {
        self.write(bucket, |bucket, _| remove_upload(bucket, key, upload_id))
    }

    /// Gives the uploads in progress, by key and start.
    pub fn uploads(&self, bucket: &str) -> Result<Vec<StoredUpload>, Refusal> {
        let query = Query { count_max: usize::MAX, ..Query::default() };
        self.read(bucket, |bucket| {
            let entries = listing::uploads(bucket, query, None).entries.into_iter();
            let stored = entries.map(|listed| StoredUpload {
                key: listed.key.to_owned(),
                upload_id: listed.id.to_owned(),
                initiated: listed.upload.started.time,
                parts: listed.upload.parts.keys().copied().collect(),
            });
            Ok(stored.collect())
        })
    }
}

/// For the API.
impl Store {
    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    /// Tells the time as objects are stamped with it.
    pub(crate) fn now(&self) -> SystemTime {
        clock::truncate(self.options.clock.now(), self.options.milliseconds)
    }

    pub(crate) fn has_bucket(&self, name: &str) -> bool {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.buckets.contains_key(name)
    }

    pub(crate) fn bucket_times(&self) -> Vec<(String, SystemTime)> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.buckets.iter().map(|(name, bucket)| (name.clone(), bucket.created)).collect()
    }

    pub(crate) fn read<T>(&self, bucket: &str, look: impl FnOnce(&Bucket) -> Result<T, Refusal>) -> Result<T, Refusal> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        look(state.buckets.get(bucket).ok_or_else(Refusal::no_such_bucket)?)
    }

    pub(crate) fn write<T>(
        &self,
        bucket: &str,
        act: impl FnOnce(&mut Bucket, Stamp) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let number = state.number + 1;
        state.number = number;
        // Read under the lock, so that within a key time never runs against the order of storing.
        let time = self.now();
        let bucket = state.buckets.get_mut(bucket).ok_or_else(Refusal::no_such_bucket)?;
        act(bucket, Stamp { number, time })
    }

    /// Stores an object and gives the id that the answer carries.
    pub(crate) fn put_object(
        &self,
        bucket: &str,
        key: &str,
        object: Object,
        condition: &WriteCondition,
    ) -> Result<(Option<String>, SystemTime), Refusal> {
        let condition = &self.condition_kept(condition)?;
        self.write(bucket, |bucket, stamp| {
            bucket.check_write(key, condition)?;
            let id = bucket.put(key, stamp, object);
            Ok((bucket.id_sent(id), stamp.time))
        })
    }

    /// Deletes a key or a version of it.
    pub(crate) fn delete_object(&self, bucket: &str, key: &str, version_id: Option<&str>) -> Result<Deletion, Refusal> {
        let id = version_id.map(parse_version_id).transpose()?;
        self.write(bucket, |bucket, stamp| {
            Ok(match id {
                Some(id) => bucket.delete_version(key, id),
                None => bucket.delete(key, stamp, self.options.delete_markers),
            })
        })
    }

    /// Completes an upload of the named parts.
    pub(crate) fn complete(
        &self,
        bucket: &str,
        key: &str,
        upload_id: &str,
        named: &[(u16, String)],
        part_size_min: u64,
        condition: &WriteCondition,
    ) -> Result<Completed, Refusal> {
        let condition = &self.condition_kept(condition)?;
        let options = &self.options;
        self.write(bucket, |bucket, stamp| {
            let upload = find_upload(bucket, key, upload_id)?;
            let object = upload.assemble(named, part_size_min)?;
            let time = if options.multipart_time_at_completion { stamp.time } else { upload.started.time };
            let number = match options.multipart_order {
                MultipartOrder::Start => upload.started.number,
                MultipartOrder::Commit => stamp.number,
            };
            let at_start = options.multipart_versioning_at_start.then_some(upload.versioning);
            bucket.check_write(key, condition)?;
            remove_upload(bucket, key, upload_id)?;
            let etag = object.etag;
            let versioning = at_start.unwrap_or(bucket.versioning);
            let id = bucket.put_under(versioning, key, Stamp { number, time }, object);
            Ok(Completed { etag, id, id_sent: bucket.id_sent(id) })
        })
    }

    /// The condition that this store keeps to.
    fn condition_kept(&self, condition: &WriteCondition) -> Result<WriteCondition, Refusal> {
        match self.options.conditional_writes {
            ConditionalWrites::Honoured => Ok(condition.clone()),
            ConditionalWrites::Refused if condition.is_some() => Err(Refusal::not_implemented()),
            ConditionalWrites::Refused | ConditionalWrites::Ignored => Ok(WriteCondition::default()),
        }
    }
}

pub(crate) fn find_upload<'b>(bucket: &'b mut Bucket, key: &str, upload_id: &str) -> Result<&'b mut Upload, Refusal> {
    let uploads = bucket.uploads.get_mut(key);
    uploads.and_then(|uploads| uploads.get_mut(upload_id)).ok_or_else(Refusal::no_such_upload)
}

fn remove_upload(bucket: &mut Bucket, key: &str, upload_id: &str) -> Result<(), Refusal> {
    let uploads = bucket.uploads.get_mut(key).ok_or_else(Refusal::no_such_upload)?;
    uploads.remove(upload_id).ok_or_else(Refusal::no_such_upload)?;
    if uploads.is_empty() {
        bucket.uploads.remove(key);
    }
    Ok(())
}
