//! Owns the answers of the store: requests read, documents written. Leaves what is stored to `bucket`, and what is shown
//! to `shown`.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::LazyLock;

use embedded_s3::{GoneVersion, ListingKinds};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use s3_connector::ports::{Method, Request};
use s3_connector::testing::Reply;

use crate::bucket::{Bucket, Version};
use crate::history::KEYS;
use crate::shown::{Page, Place};
use crate::world::World;

/// What S3 leaves as it is in keys of listings.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'*');

/// What MinIO writes after a key where it names one to go on after.
const MARKER_END: &str = "[minio_cache:v2,return:]";

/// What stands for the version where a page of objects begins at a token.
const TOKEN: &str = "token";

static ENCODED: LazyLock<[String; KEYS.len()]> =
    LazyLock::new(|| KEYS.map(|key| utf8_percent_encode(key, PLAIN).to_string()));

/// The parts of a request's address that matter.
#[derive(Default)]
struct Query<'a> {
    is_versions: bool,
    is_objects: bool,
    max_keys: usize,
    prefix: Cow<'a, str>,
    /// The key of `key-marker`, `start-after` or `continuation-token`.
    after: Option<Cow<'a, str>>,
    /// Whether that was a token.
    is_token: bool,
    version_marker: Option<Cow<'a, str>>,
    version_id: Option<Cow<'a, str>>,
}

fn decoded(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

impl<'a> Query<'a> {
    fn of(text: &'a str) -> Self {
        let mut query = Self { max_keys: 1000, ..Self::default() };
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "versions" => query.is_versions = true,
                "list-type" => query.is_objects = true,
                "uploads" => panic!("a source lists no uploads"),
                "max-keys" => query.max_keys = value.parse().expect("a number"),
                "prefix" => query.prefix = decoded(value),
                "key-marker" | "start-after" => {
                    query.after = Some(match decoded(value) {
                        Cow::Borrowed(text) => Cow::Borrowed(text.strip_suffix(MARKER_END).unwrap_or(text)),
                        Cow::Owned(text) => Cow::Owned(text.strip_suffix(MARKER_END).unwrap_or(&text).to_owned()),
                    });
                }
                "continuation-token" => {
                    let key: usize = value.parse().expect("a token of ours");
                    query.after = Some(KEYS[key].into());
                    query.is_token = true;
                }
                "version-id-marker" => query.version_marker = Some(decoded(value)),
                "versionId" => query.version_id = Some(decoded(value)),
                "encoding-type" | "fetch-owner" => {}
                name => panic!("an unknown parameter: {name}"),
            }
        }
        query
    }
}

/// Answers a request.
pub fn answer(world: &mut World, request: &Request) -> Reply {
    let (path, query) = request.path_with_query.split_once('?').unwrap_or((&request.path_with_query, ""));
    let query = Query::of(query);
    let key = path[1..].split_once('/').map(|(_, key)| key).filter(|key| !key.is_empty());
    if key.is_none()
        && let Some(status) = world.refusal.take()
    {
        world.was_refused = true;
        world.note(|| format!("refused with {status}"));
        let code = if status == 501 { "NotImplemented" } else { "AccessDenied" };
        return Reply::error(status, code, "Not now.");
    }
    match key {
        Some(key) => object(world, request, &decoded(key), &query),
        None if query.is_versions && !world.setup.lists_versions => {
            Reply::error(501, "NotImplemented", "There are no versions.")
        }
        None if query.is_versions => versions(world, &query),
        None if query.is_objects => objects(world, &query),
        None => panic!("an unknown request: {}", request.path_with_query),
    }
}

/// Where a page begins that a source has used.
pub fn place((key, id): (Option<String>, String)) -> Place {
    let key = key.map(|key| match key.parse::<usize>() {
        Ok(key) if id == TOKEN => KEYS[key].to_owned(),
        _ => key.strip_suffix(MARKER_END).map_or(key.clone(), str::to_owned),
    });
    (key, id)
}

/// A page's content, and whether there is more.
struct Cut {
    entries: Vec<(usize, bool)>,
    is_truncated: bool,
    /// The key that is listed anew.
    anew: Option<usize>,
}

fn cut(world: &World, query: &Query<'_>) -> Cut {
    let World { bucket, setup, hidden, .. } = world;
    let count_max = query.max_keys.min(setup.page);
    let (mut entries, mut anew) = (Vec::new(), None);
    let is_listed = |key: &usize| KEYS[*key].starts_with(&*query.prefix) && *hidden != Some(*key);
    let is_odd = setup.skips && query.after.as_deref().is_some_and(|after| !KEYS.contains(&after));
    let is_shown = |key: &usize| query.after.as_deref().is_none_or(|after| KEYS[*key] >= after);
    let skipped = (0..KEYS.len()).find(|key| is_listed(key) && is_shown(key)).filter(|_| is_odd);
    for key in (0..KEYS.len()).filter(is_listed).filter(|key| Some(*key) != skipped) {
        let all = &bucket.now[key];
        let mut from = 0;
        match query.after.as_deref() {
            Some(after) if KEYS[key] < after => continue,
            Some(after) if KEYS[key] == after => match &query.version_marker {
                Some(marker) if query.is_versions => match below(bucket, setup.gone, key, marker) {
                    Some(0) => anew = Some(key),
                    Some(at) => from = at,
                    None => return Cut { entries, is_truncated: false, anew },
                },
                _ => continue,
            },
            _ => {}
        }
        for (at, version) in all.iter().enumerate().skip(from) {
            if query.is_objects && (at > 0 || bucket.ledger[*version].is_marker) {
                break;
            }
            if entries.len() == count_max {
                return Cut { entries, is_truncated: true, anew };
            }
            entries.push((*version, at == 0));
        }
    }
    let is_truncated = setup.promises_more && entries.len() == count_max;
    Cut { entries, is_truncated, anew }
}

/// Where the versions below one begin, which may be gone since.
fn below(bucket: &Bucket, gone: GoneVersion, key: usize, id: &str) -> Option<usize> {
    let all = &bucket.now[key];
    if let Some(at) = all.iter().position(|at| bucket.ledger[*at].id == id) {
        return Some(at + 1);
    }
    match gone {
        GoneVersion::Below => {}
        GoneVersion::KeyAnew => return Some(0),
        GoneVersion::End => return None,
    }
    let gone = bucket.ledger.iter().rfind(|version| version.key == key && version.id == id);
    Some(match gone {
        Some(gone) if id != "null" => {
            all.iter().position(|at| bucket.ledger[*at].place < gone.place).unwrap_or(all.len())
        }
        _ => all.len(),
    })
}

/// Tells `shown` of a listing.
fn show(world: &mut World, query: &Query<'_>, cut: &Cut) {
    let World { bucket, shown, hidden, .. } = world;
    if query.is_objects && query.max_keys == 1 && query.prefix.is_empty() {
        // Whether the bucket may be listed at all.
        return;
    }
    if !query.prefix.is_empty() {
        return shown.look(bucket, &cut.entries);
    }
    let last = cut.entries.last().filter(|_| cut.is_truncated).map(|(at, _)| &bucket.ledger[*at]);
    let next = last.map(|last| {
        let id = if query.is_objects { TOKEN.to_owned() } else { last.id.clone() };
        (Some(KEYS[last.key].to_owned()), id)
    });
    let id = if query.is_token { TOKEN } else { query.version_marker.as_deref().unwrap_or_default() };
    shown.answer(Page {
        place: (query.after.as_deref().map(str::to_owned), id.to_owned()),
        next,
        to: last.map(|last| KEYS[last.key].to_owned()),
        hidden: *hidden,
        entries: cut.entries.clone(),
        now: bucket.now.clone(),
    });
    if !cut.is_truncated {
        *hidden = None;
    }
}

fn describe(world: &World, cut: &Cut) -> String {
    let names = cut.entries.iter().map(|(at, is_latest)| {
        let name = world.bucket.name(*at);
        if *is_latest { format!("[{name}]") } else { name }
    });
    let more = if cut.is_truncated { ", …" } else { "" };
    names.collect::<Vec<_>>().join(", ") + more
}

/// Takes note where a listing goes on after a `null` version that is not where it was.
fn note_lost_null(world: &mut World, query: &Query<'_>) {
    let key = KEYS.iter().position(|key| Some(*key) == query.after.as_deref());
    let (Some(key), Some("null")) = (key, query.version_marker.as_deref()) else { return };
    let World { setup, bucket, was_hidden, was_anew, null_shown, .. } = world;
    let now = &bucket.now[key];
    // It is gone, and the rest of the key is passed over.
    was_hidden[key] |= setup.gone == GoneVersion::Below && !now.iter().any(|at| bucket.ledger[*at].is_null());
    // Another one than was listed may lie elsewhere among the key's versions: an upload that began before them.
    was_anew[key] |= null_shown[key].is_some_and(|shown| !now.contains(&shown));
}

fn versions(world: &mut World, query: &Query<'_>) -> Reply {
    note_lost_null(world, query);
    let cut = cut(world, query);
    for (at, _) in &cut.entries {
        let version = &world.bucket.ledger[*at];
        if version.is_null() {
            world.null_shown[version.key] = Some(*at);
        }
    }
    if let Some(key) = cut.anew {
        world.was_anew[key] = true;
    }
    show(world, query, &cut);
    let line = describe(world, &cut);
    world.note(|| format!("versions {}: {line}", query.prefix));
    let bucket = &world.bucket;
    let mut text = String::with_capacity(256 + 256 * cut.entries.len());
    text.push_str("<ListVersionsResult><EncodingType>url</EncodingType>");
    match world.setup.kinds {
        ListingKinds::Interleaved => cut.entries.iter().for_each(|entry| push_version(&mut text, bucket, *entry)),
        kinds => {
            let first = kinds == ListingKinds::MarkersFirst;
            for is_marker in [first, !first] {
                let of_kind = cut.entries.iter().filter(|(at, _)| bucket.ledger[*at].is_marker == is_marker);
                of_kind.for_each(|entry| push_version(&mut text, bucket, *entry));
            }
        }
    }
    match cut.entries.last().filter(|_| cut.is_truncated) {
        Some((last, _)) => {
            let last = &bucket.ledger[*last];
            let _ = write!(
                text,
                "<IsTruncated>true</IsTruncated><NextKeyMarker>{}{}</NextKeyMarker>\
                 <NextVersionIdMarker>{}</NextVersionIdMarker>",
                ENCODED[last.key],
                if world.setup.promises_more { MARKER_END } else { "" },
                last.id
            );
        }
        None => text.push_str("<IsTruncated>false</IsTruncated>"),
    }
    text.push_str("</ListVersionsResult>");
    document(world, &text)
}

fn push_version(text: &mut String, bucket: &Bucket, (at, is_latest): (usize, bool)) {
    let version = &bucket.ledger[at];
    let element = if version.is_marker { "DeleteMarker" } else { "Version" };
    for part in ["<", element, "><Key>", &ENCODED[version.key], "</Key><VersionId>", &version.id] {
        text.push_str(part);
    }
    text.push_str(if is_latest { "</VersionId><IsLatest>true" } else { "</VersionId><IsLatest>false" });
    for part in ["</IsLatest><LastModified>", &version.stamp_text, "</LastModified>"] {
        text.push_str(part);
    }
    if !version.is_marker {
        push_content(text, version);
    }
    for part in ["</", element, ">"] {
        text.push_str(part);
    }
}

fn push_content(text: &mut String, version: &Version) {
    for part in ["<ETag>&quot;", &version.etag, "&quot;</ETag><Size>"] {
        text.push_str(part);
    }
    let _ = write!(text, "{}</Size>", version.body.len());
}

fn objects(world: &mut World, query: &Query<'_>) -> Reply {
    let cut = cut(world, query);
    show(world, query, &cut);
    let line = describe(world, &cut);
    world.note(|| format!("objects {}: {line}", query.prefix));
    let mut text = String::from("<ListBucketResult><EncodingType>url</EncodingType>");
    for (at, _) in &cut.entries {
        let version = &world.bucket.ledger[*at];
        let parts =
            ["<Contents><Key>", &ENCODED[version.key], "</Key><LastModified>", &version.stamp_text, "</LastModified>"];
        parts.iter().for_each(|part| text.push_str(part));
        push_content(&mut text, version);
        text.push_str("</Contents>");
    }
    match cut.entries.last().filter(|_| cut.is_truncated) {
        Some((last, _)) => {
            let key = world.bucket.ledger[*last].key;
            let _ = write!(text, "<IsTruncated>true</IsTruncated><NextContinuationToken>{key}</NextContinuationToken>");
        }
        None => text.push_str("<IsTruncated>false</IsTruncated>"),
    }
    text.push_str("</ListBucketResult>");
    document(world, &text)
}

fn document(world: &World, text: &str) -> Reply {
    let date = httpdate::fmt_http_date(world.date());
    Reply::status(200).header("date", &date).body(&[text.as_bytes()])
}

/// Whether a version may be another one than was asked for: one that no listing has shown, or that of several `null`
/// versions which is there when a change is repeated.
fn may_be_another(world: &World, version: usize) -> bool {
    let ledger = &world.bucket.ledger;
    let of_key = ledger.iter().filter(|other| other.key == ledger[version].key && other.is_null() && !other.is_marker);
    world.shown.first(version).is_none() || world.is_restarted && ledger[version].is_null() && of_key.count() > 1
}

/// Answers GetObject and HeadObject.
fn object(world: &mut World, request: &Request, key: &str, query: &Query<'_>) -> Reply {
    let latency = if request.method == Method::Head { std::time::Duration::ZERO } else { world.latency() };
    let bucket = &world.bucket;
    let Some(index) = KEYS.iter().position(|known| *known == key) else {
        return Reply::error(404, "NoSuchKey", "Never was.");
    };
    let found = match &query.version_id {
        None => bucket.object(index).ok_or_else(|| Reply::error(404, "NoSuchKey", "Gone.")),
        Some(id) => match bucket.now[index].iter().find(|at| bucket.ledger[**at].id == **id) {
            None => Err(Reply::error(404, "NoSuchVersion", "Gone.")),
            Some(at) if bucket.ledger[*at].is_marker => Err(Reply::error(405, "MethodNotAllowed", "A marker.")),
            Some(at) => Ok(*at),
        },
    };
    let misses = std::mem::take(&mut world.misses);
    let found = if misses { Err(Reply::error(404, "NoSuchKey", "Not here yet.")) } else { found };
    let condition = request.headers.iter().find(|(name, _)| *name == "if-match");
    let found = match (found, condition) {
        (Ok(at), Some((_, etag))) if etag.trim_matches('"') != bucket.ledger[at].etag => {
            Err(Reply::error(412, "PreconditionFailed", "Another one."))
        }
        (found, _) => found,
    };
    let method = request.method.as_str();
    let id = query.version_id.as_deref().unwrap_or("");
    let told = found.as_ref().map_or_else(|_| "refused".to_owned(), |at| bucket.name(*at));
    let has_id = bucket.names_versions();
    let (is_refused, answered) = (found.is_err(), found.as_ref().ok().copied());
    if request.method == Method::Head {
        world.was_gone[index] |= is_refused;
    }
    let reply = match found {
        Err(refusal) => refusal,
        Ok(at) => {
            let version = &bucket.ledger[at];
            let mut reply = Reply::status(200)
                .header("content-length", &version.body.len().to_string())
                .header("etag", &format!("\"{}\"", version.etag))
                .header("last-modified", &httpdate::fmt_http_date(version.stamp));
            if has_id {
                reply = reply.header("x-amz-version-id", &version.id);
            }
            if request.method == Method::Get { reply.body(&[&version.body]) } else { reply }
        }
    };
    if is_refused == (request.method == Method::Get) || answered.is_some_and(|at| may_be_another(world, at)) {
        (world.unread[index], world.was_unread[index]) = (true, true);
    }
    world.note(|| format!("{method} {key} {id}: {told}"));
    reply.after(latency)
}
