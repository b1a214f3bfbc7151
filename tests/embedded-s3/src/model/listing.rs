//! Owns the pages of a bucket: of objects, of versions and of uploads. Leaves how a page is written to the API.
//!
//! Keys come in the order of their UTF-8 bytes, and a page is found by seeking, so that it costs as much in a bucket of
//! a million keys.

use std::borrow::Cow;
use std::collections::{BTreeMap, btree_map};
use std::ops::Bound;

use super::bucket::Bucket;
use super::options::{GoneVersion, ListingKinds};
use super::refusal::Refusal;
use super::upload::Upload;
use super::version::{Version, VersionId};

/// What all listings ask for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Query<'q> {
    pub(crate) prefix: &'q str,
    pub(crate) delimiter: &'q str,
    /// The listing goes on after this key, or after this common prefix.
    pub(crate) after: Option<&'q str>,
    pub(crate) count_max: usize,
    /// Says of a full page that there is more, even of the last.
    pub(crate) promises_more: bool,
}

/// A page of entries, the common prefixes among them, and where the next page starts.
#[derive(Debug)]
pub(crate) struct Page<E, M> {
    pub(crate) entries: Vec<E>,
    pub(crate) common_prefixes: Vec<String>,
    pub(crate) next: Option<M>,
}

impl<E, M> Page<E, M> {
    fn new() -> Self {
        Self { entries: Vec::new(), common_prefixes: Vec::new(), next: None }
    }

    fn count(&self) -> usize {
        self.entries.len() + self.common_prefixes.len()
    }
}

/// Where a page of versions or uploads ended: at a key, or at one entry of it.
pub(crate) type Marker = (String, Option<String>);

/// A version in a listing.
#[derive(Debug)]
pub(crate) struct ListedVersion<'b> {
    pub(crate) key: &'b str,
    pub(crate) version: &'b Version,
    pub(crate) is_latest: bool,
}

/// An upload in a listing.
#[derive(Debug)]
pub(crate) struct ListedUpload<'b> {
    pub(crate) key: &'b str,
    pub(crate) id: &'b str,
    pub(crate) upload: &'b Upload,
}

/// Lists the current objects. The next page starts after a key or a common prefix.
pub(crate) fn objects<'b>(bucket: &'b Bucket, query: Query<'_>) -> Page<(&'b str, &'b Version), String> {
    let mut page = Page::new();
    let mut last = Cow::Borrowed("");
    let current = |versions: &Vec<Version>| versions.last().is_some_and(|last| last.object.is_some());
    if query.count_max == 0 {
        return page;
    }
    for step in Walk::new(&bucket.objects, query, current, false) {
        if page.count() == query.count_max {
            page.next = Some(last.into_owned());
            return page;
        }
        match step {
            Step::Entry(key, versions) => {
                last = Cow::Borrowed(key);
                page.entries.push((key, versions.last().expect("a kept key has a version")));
            }
            Step::CommonPrefix(prefix) => {
                last = Cow::Owned(prefix.clone());
                page.common_prefixes.push(prefix);
            }
        }
    }
    if query.promises_more && page.count() == query.count_max {
        page.next = Some(last.into_owned());
    }
    page
}

/// Puts what is on a page into the order in which a store writes it.
pub(crate) fn arrange(entries: &mut [ListedVersion<'_>], kinds: ListingKinds) {
    match kinds {
        ListingKinds::Interleaved => {}
        ListingKinds::MarkersFirst => entries.sort_by_key(|entry| entry.version.object.is_some()),
        ListingKinds::VersionsFirst => entries.sort_by_key(|entry| entry.version.object.is_none()),
    }
}

/// Lists versions and delete markers, within a key the last stored first.
///
/// With `version_id` it goes on within the key of `query.after`, after that version. If that version is gone since, the
/// store decides where it goes on.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html>
pub(crate) fn versions<'b>(
    bucket: &'b Bucket,
    query: Query<'_>,
    version_id: Option<VersionId>,
    gone: GoneVersion,
) -> Page<ListedVersion<'b>, Marker> {
    let mut page = Page::new();
    let mut last = (Cow::Borrowed(""), None);
    let marked = query.after.zip(version_id);
    let is_gone = |(key, id)| !bucket.objects.get(key).is_some_and(|versions| versions.iter().any(|at| at.id == id));
    if query.count_max == 0 || gone == GoneVersion::End && marked.is_some_and(is_gone) {
        return page;
    }
    for step in Walk::new(&bucket.objects, query, |_| true, version_id.is_some()) {
        let (key, versions) = match step {
            Step::Entry(key, versions) => (key, versions),
            Step::CommonPrefix(prefix) => {
                if page.count() == query.count_max {
                    page.next = Some(marker(last));
                    return page;
                }
                last = (Cow::Owned(prefix.clone()), None);
                page.common_prefixes.push(prefix);
                continue;
            }
        };
        let behind = version_id.filter(|_| query.after == Some(key));
        let remaining = behind.map_or(versions.as_slice(), |id| stored_before(versions, id, gone));
        for (at, version) in remaining.iter().enumerate().rev() {
            if page.count() == query.count_max {
                page.next = Some(marker(last));
                return page;
            }
            last = (Cow::Borrowed(key), Some(version.id));
            let is_latest = at + 1 == versions.len();
            page.entries.push(ListedVersion { key, version, is_latest });
        }
    }
    if query.promises_more && page.count() == query.count_max {
        page.next = Some(marker(last));
    }
    page
}

/// What MinIO writes after a key where it names one to go on after.
const MARKER_END: &str = "[embedded_cache:v2,return:]";

/// Writes a key to go on after.
pub(crate) fn written_marker(key: String, is_opaque: bool) -> String {
    if is_opaque { key + MARKER_END } else { key }
}

/// Reads the key that a listing goes on after.
pub(crate) fn read_marker(text: &str, is_opaque: bool) -> &str {
    text.strip_suffix(MARKER_END).filter(|_| is_opaque).unwrap_or(text)
}

fn marker((key, version_id): (Cow<'_, str>, Option<VersionId>)) -> Marker {
    (key.into_owned(), version_id.map(VersionId::text))
}

/// Gives the versions below the one called `id`, which may be gone since. Where the `null` one was is not known.
fn stored_before(versions: &[Version], id: VersionId, gone: GoneVersion) -> &[Version] {
    if let Some(at) = versions.iter().position(|version| version.id == id) {
        return &versions[..at];
    }
    if gone == GoneVersion::KeyAnew {
        return versions;
    }
    let VersionId::Numbered(marker) = id else {
        return &[];
    };
    let end = versions.iter().rposition(|version| version.number < marker).map_or(0, |at| at + 1);
    &versions[..end]
}

/// Lists uploads, within a key in the order in which they were started.
///
/// With `upload_id` it goes on within the key of `query.after`, after that upload.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html>
pub(crate) fn uploads<'b>(
    bucket: &'b Bucket,
    query: Query<'_>,
    upload_id: Option<&str>,
) -> Page<ListedUpload<'b>, Marker> {
    let mut page = Page::new();
    let mut last = None;
    if query.count_max == 0 {
        return page;
    }
    for step in Walk::new(&bucket.uploads, query, |_| true, upload_id.is_some()) {
        let (key, uploads) = match step {
            Step::Entry(key, uploads) => (key, uploads),
            Step::CommonPrefix(prefix) => {
                if page.count() == query.count_max {
                    page.next = last;
                    return page;
                }
                last = Some((prefix.clone(), None));
                page.common_prefixes.push(prefix);
                continue;
            }
        };
        let behind = upload_id.filter(|_| query.after == Some(key));
        let start = behind.map_or(Bound::Unbounded, Bound::Excluded);
        for (id, upload) in uploads.range::<str, _>((start, Bound::Unbounded)) {
            if page.count() == query.count_max {
                page.next = last;
                return page;
            }
            last = Some((key.to_owned(), Some(id.clone())));
            page.entries.push(ListedUpload { key, id, upload });
        }
    }
    page
}

/// Checks a page size that came with a request; S3 gives at most 1000.
pub(crate) fn parse_count_max(asked: Option<i32>, name: &str) -> Result<i32, Refusal> {
    let asked = asked.unwrap_or(1000);
    if asked < 0 {
        return Err(Refusal::invalid_argument(format!("Argument {name} must be an integer between 0 and 2147483647")));
    }
    Ok(asked.min(1000))
}

enum Step<'b, T> {
    Entry(&'b str, &'b T),
    CommonPrefix(String),
}

/// Goes through the keys of a map below a prefix, folding those with a delimiter.
struct Walk<'b, 'q, T, V> {
    map: &'b BTreeMap<String, T>,
    rest: btree_map::Range<'b, String, T>,
    query: Query<'q>,
    visible: V,
}

impl<'b, 'q, T, V: Fn(&T) -> bool> Walk<'b, 'q, T, V> {
    /// Starts after `query.after`, or at it if `inclusive`.
    fn new(map: &'b BTreeMap<String, T>, query: Query<'q>, visible: V, inclusive: bool) -> Self {
        let folded = query.after.filter(|after| common_prefix(after, query) == Some(after));
        let start = match (query.after, folded) {
            // A marker that is a common prefix stands for all keys below it.
            (_, Some(prefix)) => successor(prefix).map_or(Start::End, Start::At),
            (Some(after), None) if after < query.prefix => Start::At(query.prefix.to_owned()),
            (Some(after), None) if inclusive => Start::At(after.to_owned()),
            (Some(after), None) => Start::After(after.to_owned()),
            (None, None) => Start::At(query.prefix.to_owned()),
        };
        Self { map, rest: range(map, start), query, visible }
    }
}

impl<'b, T, V: Fn(&T) -> bool> Iterator for Walk<'b, '_, T, V> {
    type Item = Step<'b, T>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (key, value) = self.rest.next()?;
            if !key.starts_with(self.query.prefix) {
                return None;
            }
            if !(self.visible)(value) {
                continue;
            }
            let Some(prefix) = common_prefix(key, self.query) else {
                return Some(Step::Entry(key, value));
            };
            self.rest = range(self.map, successor(prefix).map_or(Start::End, Start::At));
            return Some(Step::CommonPrefix(prefix.to_owned()));
        }
    }
}

enum Start {
    At(String),
    After(String),
    End,
}

fn range<T>(map: &BTreeMap<String, T>, start: Start) -> btree_map::Range<'_, String, T> {
    let bound = match &start {
        Start::At(key) => Bound::Included(key.as_str()),
        Start::After(key) => Bound::Excluded(key.as_str()),
        // No key is greater than a key made of the last code point as often as a key can hold it.
        Start::End => {
            return map.range::<str, _>((Bound::Excluded(END_OF_KEYS.as_str()), Bound::Unbounded));
        }
    };
    map.range::<str, _>((bound, Bound::Unbounded))
}

/// A text after every key: a key has at most 1024 bytes.
static END_OF_KEYS: std::sync::LazyLock<String> =
    std::sync::LazyLock::new(|| char::MAX.to_string().repeat(1024 / 4 + 1));

/// Gives the common prefix that a key folds into: through the first delimiter after the prefix.
fn common_prefix<'k>(key: &'k str, query: Query<'_>) -> Option<&'k str> {
    if query.delimiter.is_empty() {
        return None;
    }
    let behind = key.strip_prefix(query.prefix)?;
    let at = behind.find(query.delimiter)?;
    Some(&key[..query.prefix.len() + at + query.delimiter.len()])
}

/// Gives the least text greater than all that start with `prefix`, if there is one.
fn successor(prefix: &str) -> Option<String> {
    let mut text = prefix.to_owned();
    while let Some(last) = text.pop() {
        // Bytes of UTF-8 sort as code points do; the surrogates are not characters.
        let next = match last {
            '\u{d7ff}' => Some('\u{e000}'),
            last => char::from_u32(u32::from(last) + 1),
        };
        if let Some(next) = next {
            text.push(next);
            return Some(text);
        }
    }
    None
}
