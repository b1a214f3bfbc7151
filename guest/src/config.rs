//! Owns the list of settings: each is one constant from which parser, exported checks, default, help and README's table
//! derive. Leaves kinds of values to `setting`, and where requests go to `endpoint`.
//!
//! Reading settings does no I/O. Where missing settings come from (environment, profiles) and what the secret
//! ones hold is the host's business: a secret arrives here as a placeholder.

pub mod access;
pub mod access_point;
mod compression;
pub mod duration;
pub mod endpoint;
pub mod identity;
mod keys;
mod lake;
mod partition_columns;
mod rows;
pub mod setting;
pub mod size;
mod start;
mod storage;
mod table;
mod template;
mod values;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::rows::Compression;
use access::Access;
use access_point::AccessPoint;
use endpoint::{Endpoint, EndpointUrl, Url};
use keys::{GlobList, Globs};
use setting::{Bool, Choice, Described, GoDuration, Int, Pattern, Setting, Size, Text, Verbatim};
use start::WordOrTime;
use values::Values;

pub use keys::KeyFilter;
pub use lake::{BuffersConfig, Naming, PathConfig};
pub use rows::{Decode, OnBadRow, RowsConfig};
pub use setting::{Parameter, ParameterType, Validation};
pub use start::Start;
pub use storage::{Storage, Tags};
pub use table::{Columns, Extra, TableConfig};
pub use template::{Part, Template, TimePart};

/// The name by which pipelines call the connector.
pub const NAME: &str = "s3";

/// What the connector does, in one line.
pub const SUMMARY: &str = "An S3 source and destination.";

/// What the connector does, in full.
pub const DESCRIPTION: &str = "Takes a snapshot of an S3 bucket and then captures every create, update and delete as records; \
                               writes records to a bucket as JSON, Parquet, CSV or Avro, or as they are.";

/// The connector's semantic version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Who made the connector.
pub const AUTHOR: &str = "The s3-connector authors";

/// Settings by name, as a pipeline's author wrote them.
pub type Settings = BTreeMap<String, String>;

/// What a host must do with requests, in words of the settings: sign them for this service, and for the region and store
/// that these settings name, unless one of them says that they go unsigned.
pub const LABELS: &[(&str, &str)] = &[
    ("auth", "aws-sigv4"),
    ("auth.service", "s3"),
    ("auth.region", REGION.name),
    ("auth.endpoint", ENDPOINT.name),
    ("auth.bucket", BUCKET.name),
    ("auth.anonymous", access::ANONYMOUS.name),
];

/// The id of the key that requests are signed with.
pub const ACCESS_KEY_ID: Setting<String> = Setting {
    secret: true,
    labels: &[("auth.role", "access-key-id")],
    ..Setting::optional(
        "aws.accessKeyId",
        &Text,
        "Access key ID. Without it the host looks where the AWS CLI does: environment, profile, web identity, \
         container, instance.",
    )
};

/// The key that requests are signed with.
pub const SECRET_ACCESS_KEY: Setting<String> = Setting {
    secret: true,
    labels: &[("auth.role", "secret-access-key")],
    ..Setting::optional("aws.secretAccessKey", &Text, "Secret access key that goes with `aws.accessKeyId`.")
};

/// What temporary keys are sent with.
pub const SESSION_TOKEN: Setting<String> = Setting {
    secret: true,
    labels: &[("auth.role", "session-token")],
    ..Setting::optional("aws.sessionToken", &Text, "Session token of temporary keys.")
};

/// The bucket's region.
pub const REGION: Setting<String> = Setting {
    hint: Some("set it or AWS_REGION"),
    ..Setting::required(
        "aws.region",
        &Pattern { check: endpoint::check_region, patterns: endpoint::REGION_PATTERNS },
        "Region of the bucket. Where it is not set: `AWS_REGION`, `AWS_DEFAULT_REGION`, or the profile's.",
    )
};

/// The bucket.
pub const BUCKET: Setting<String> = Setting::required(
    "aws.bucket",
    &Pattern { check: endpoint::check_bucket, patterns: endpoint::BUCKET_PATTERNS },
    "Name of the bucket, or the ARN or alias of an access point.",
);

/// The store, if it is not AWS.
pub const ENDPOINT: Setting<Url> = Setting::optional(
    "aws.endpoint",
    &EndpointUrl,
    "URL of an S3-compatible store (MinIO, Ceph, R2…), with a path if it has one. Where it is not set: `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`, \
     or the profile's; otherwise AWS itself.",
);

/// Where the bucket's name stands.
pub const FORCE_PATH_STYLE: Setting<bool> = Setting::optional(
    "aws.forcePathStyle",
    &Bool,
    "Whether the bucket stands in the path rather than in the host name. Where it is not set: true if `aws.endpoint` is \
     set or the bucket's name has a dot. Access points always stand in the host name.",
);

/// What keys begin with.
pub const PREFIX: Setting<String> = Setting::with_default(
    "prefix",
    &Verbatim,
    "",
    "Text that keys begin with: those that a source reads, those that a destination writes. A plain string, not a path.",
);

/// The time between polls.
pub const POLLING_PERIOD: Setting<Duration> =
    Setting::with_default("pollingPeriod", &GoDuration, "1s", "Interval between the starts of two polls.");

/// How far a restart without saved state goes back.
pub const LOOKBACK: Setting<Duration> = Setting::with_default(
    "lookback",
    &GoDuration,
    "5m",
    "Only for restarts without saved state: how far before the time of its position a source goes back, since S3 stamps \
     an object with the time at which its upload began. What was stored in that span may be delivered again.",
);

/// Where a source without a position begins.
pub const START: Setting<Start> = Setting::with_default(
    "start",
    &WordOrTime,
    "snapshot",
    "Where a source without a position begins: `snapshot` with every object that exists; `now` with the next change; a \
     time such as `2026-01-31T08:00:00Z` with what the store has stamped since then.",
);

/// Which keys are read.
pub const KEYS_INCLUDE: Setting<Globs> = Setting::optional(
    "keys.include",
    &GlobList,
    "Keys to read: globs over the part of a key after `prefix`, with commas between them. `*` is any text without `/`, \
     `**` any number of folders, `?` one character, `[a-z]` one of a set, `{a,b}` one of several; `\\` takes the next \
     character as it is. Where it is not set: all.",
);

/// Which keys are not read.
pub const KEYS_EXCLUDE: Setting<Globs> = Setting::optional(
    "keys.exclude",
    &GlobList,
    "Keys not to read, in the same form, even if `keys.include` has them. What was delivered of a key stays delivered if \
     the key is excluded later.",
);

/// Whether the previous version comes along.
pub const BEFORE: Setting<bool> = Setting::with_default(
    "before",
    &Bool,
    "false",
    "Whether updates and deletes carry the object's previous version as `payload.before`, where the bucket keeps versions \
     and that one can still be read. Each costs another GET.",
);

/// Fetches at the same time.
pub const CONCURRENCY: Setting<usize> =
    Setting::with_default("concurrency", &Int { min: 1, max: 512 }, "64", "Objects fetched at the same time.");

/// What becomes of objects that can't be read.
pub const UNREADABLE: Setting<Unreadable> = Setting::with_default(
    "unreadable",
    &Choice(&[("stop", Unreadable::Stop), ("skip", Unreadable::Skip)]),
    "stop",
    "What happens at an object that may not or can't be read (denied, encrypted with another's key, larger than \
     `objectBytes`): `stop` ends the source once all objects before it are delivered; `skip` logs it, counts it and \
     lists it at the end. Archived objects are always skipped.",
);

/// The largest object.
pub const OBJECT_BYTES: Setting<u64> = Setting::optional(
    "objectBytes",
    &Size { max: u64::MAX },
    "Largest object to deliver; `unreadable` says what happens at a larger one. Where it is not set: any size.",
);

/// The size above which an object is several records.
pub const CHUNK_BYTES: Setting<u64> = Setting::optional(
    "chunkBytes",
    &Size { max: crate::limits::RAW_BODY_BYTES_MAX },
    "Bytes of a chunk: a larger object is delivered as several records, one per chunk, which `opencdc.file.*` metadata \
     count. Where it is not set: each object is one record.",
);

/// How bodies travel.
pub const PAYLOAD: Setting<Payload> = Setting::with_default(
    "payload",
    &Choice(&[("auto", Payload::Auto), ("stream", Payload::Stream), ("raw", Payload::Raw)]),
    "auto",
    "How an object's bytes reach the host: `auto` puts up to 64 KiB into the record and sends more as a stream; `stream` \
     sends all as streams; `raw` puts all into records, for hosts that can't read streams: an object larger than 16 MiB \
     then can't be read, and `unreadable` says what happens, unless `chunkBytes` is set.",
);

/// How objects are written.
pub const FORMAT: Setting<Format> = Setting::required(
    "format",
    &Choice(&[
        ("json", Format::Batches(FormatName::Json)),
        ("parquet", Format::Batches(FormatName::Parquet)),
        ("csv", Format::Batches(FormatName::Csv)),
        ("avro", Format::Batches(FormatName::Avro)),
        ("raw", Format::Raw),
    ]),
    "Format of the objects: `json` (one record per line), `parquet`, `csv` or `avro`, with many records in one; or `raw`: each record is \
     an object of its own, under `prefix` and the record's key, with the payload as it is.",
);

/// What becomes of deletes.
pub const DELETES: Setting<Deletes> = Setting::with_default(
    "deletes",
    &Choice(&[("ignore", Deletes::Ignore), ("propagate", Deletes::Propagate)]),
    "ignore",
    "With `format: raw`, what a delete does: nothing (`ignore`), or the object with its key is deleted (`propagate`). Other \
     formats hold deletes as they hold all records.",
);

/// Records in a batch.
pub const BUFFER_SIZE: Setting<usize> = Setting::optional(
    "bufferSize",
    &Int { min: 1, max: lake::RECORDS_MAX },
    "Records in a batch, which becomes one object. This and the next two do not count for `raw`. Where it is not set: 1000; with \
     `path` or `columns: payload` 100000.",
);

/// Bytes of a batch.
pub const BUFFER_BYTES: Setting<u64> = Setting::optional(
    "bufferBytes",
    &Size { max: crate::limits::BATCH_BYTES_MAX },
    "Bytes of records in a batch. Where it is not set: `16MiB`; with `path` or `columns: payload` `64MiB`.",
);

/// The age of a batch.
pub const BUFFER_DELAY: Setting<Duration> = Setting::optional(
    "bufferDelay",
    &GoDuration,
    "Longest time that a record waits for its batch to fill. Where it is not set: `5s`; with `path` or `columns: payload` `5m`.",
);

/// Settings of both sides, in the order of documentation.
const SHARED: [&dyn Described; 14] = [
    &ACCESS_KEY_ID,
    &SECRET_ACCESS_KEY,
    &SESSION_TOKEN,
    &access::PROFILE,
    &access::ROLE_ARN,
    &access::ROLE_EXTERNAL_ID,
    &access::ROLE_SESSION_NAME,
    &access::ANONYMOUS,
    &REGION,
    &BUCKET,
    &ENDPOINT,
    &FORCE_PATH_STYLE,
    &access::REQUESTER_PAYS,
    &PREFIX,
];

/// Settings of a source alone, but for those of rows.
const SOURCE: [&dyn Described; 11] = [
    &START,
    &KEYS_INCLUDE,
    &KEYS_EXCLUDE,
    &POLLING_PERIOD,
    &LOOKBACK,
    &CONCURRENCY,
    &BEFORE,
    &UNREADABLE,
    &OBJECT_BYTES,
    &CHUNK_BYTES,
    &PAYLOAD,
];

/// Settings of a destination alone, but for those of its layout and of storage.
const DESTINATION: [&dyn Described; 5] = [&FORMAT, &DELETES, &BUFFER_SIZE, &BUFFER_BYTES, &BUFFER_DELAY];

/// The settings of a source, in the order of documentation.
pub fn source_parameters() -> impl Iterator<Item = Parameter> {
    SHARED.into_iter().chain(SOURCE).chain(rows::ALL).map(|setting| setting.parameter())
}

/// The settings of a destination, in the order of documentation.
pub fn destination_parameters() -> impl Iterator<Item = Parameter> {
    SHARED
        .into_iter()
        .chain(DESTINATION)
        .chain(compression::ALL)
        .chain(lake::ALL)
        .chain(storage::ALL)
        .chain(table::ALL)
        .chain(partition_columns::ALL)
        .map(|setting| setting.parameter())
}

/// Checks that `settings` names none but these, as where not all of them are needed.
///
/// # Errors
///
/// `invalid`, naming every setting that is unknown.
pub fn check_names(settings: &Settings, known: impl Iterator<Item = Parameter>) -> Result<()> {
    let known: Vec<_> = known.map(|parameter| parameter.name).collect();
    let problems = values::unknown_names(settings, &known);
    if problems.is_empty() { Ok(()) } else { Err(Error::invalid(problems.join("\n"))) }
}

/// Which bucket, and how it is addressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketConfig {
    /// The bucket's name, or the ARN of an access point.
    pub bucket: String,
    /// The bucket's region.
    pub region: String,
    /// Where requests go.
    pub endpoint: Endpoint,
    /// What keys begin with.
    pub prefix: String,
    /// How it is accessed.
    pub access: Access,
    /// How it keeps what a destination writes.
    pub storage: Storage,
}

/// What a source is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceConfig {
    /// The bucket.
    pub bucket: BucketConfig,
    /// Names the store, whichever of its addresses is used.
    pub store: String,
    /// Interval between the starts of two polls.
    pub polling_period: Duration,
    /// Where it begins, if it has no position.
    pub start: Start,
    /// Which keys are read.
    pub keys: KeyFilter,
    /// How far before its position's time a restart without saved state goes back.
    pub lookback: Duration,
    /// Fetches in flight at most.
    pub concurrency: usize,
    /// Whether updates and deletes carry the previous version.
    pub before: bool,
    /// What happens at an object that can't be read.
    pub unreadable: Unreadable,
    /// Bytes of the largest object to deliver.
    pub object_bytes_max: Option<u64>,
    /// Bytes of a chunk, where larger objects are several records.
    pub chunk_bytes: Option<u64>,
    /// How bodies travel.
    pub payload: Payload,
    /// How objects are read row by row, if they are.
    pub rows: Option<RowsConfig>,
}

/// What happens at an object that can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It stops the source.
    Stop,
    /// It is skipped.
    Skip,
}

/// How bodies travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Small ones in their records, others as streams.
    Auto,
    /// All as streams.
    Stream,
    /// All in their records.
    Raw,
}

/// What a destination makes of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Batches of them become one object each.
    Batches(FormatName),
    /// Each becomes an object of its own.
    Raw,
}

/// What becomes of deletes where each record is an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletes {
    /// Nothing: the object stays.
    Ignore,
    /// The object is deleted.
    Propagate,
}

/// What a destination may do to a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Writes {
    /// Add objects under names of its own.
    #[default]
    Batches,
    /// Write objects under the keys of records.
    Objects {
        /// Whether it also deletes them.
        deletes: bool,
    },
}

impl Writes {
    /// What a destination with these settings may do, whatever else they hold.
    pub fn of(settings: &Settings) -> Self {
        let is = |name, value| values::text(settings, name).is_some_and(|set| set.trim() == value);
        if is(FORMAT.name, "raw") { Self::Objects { deletes: is(DELETES.name, "propagate") } } else { Self::Batches }
    }
}

/// How a destination writes a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormatName {
    /// OpenCDC JSON, one record per line.
    Json,
    /// Parquet.
    Parquet,
    /// CSV.
    Csv,
    /// Avro container files.
    Avro,
}

/// What a destination is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationConfig {
    /// The bucket.
    pub bucket: BucketConfig,
    /// The format of objects.
    pub format: Format,
    /// How they are compressed; `None` where it is the format's to say.
    pub compression: Option<Compression>,
    /// How payloads become tables, if files don't hold whole records.
    pub columns: Option<TableConfig>,
    /// What becomes of deletes, where each record is an object.
    pub deletes: Deletes,
    /// When a batch is complete.
    pub buffers: BuffersConfig,
    /// The folders of objects, if they are in some.
    pub path: Option<PathConfig>,
    /// What names of batches begin with.
    pub naming: Naming,
    /// Whether each batch has a manifest.
    pub manifest: bool,
}

impl BucketConfig {
    /// Reads which bucket settings name, whatever else they hold.
    ///
    /// # Errors
    ///
    /// `invalid`, naming every setting of a bucket that is missing or malformed.
    pub fn parse(settings: &Settings) -> Result<Self> {
        Self::of(&Values::of_some(settings, &[&SHARED[..], &storage::ALL].concat())?)
    }

    fn of(values: &Values) -> Result<Self> {
        let (bucket, region) = (values.get(&BUCKET)?, values.get(&REGION)?);
        let (url, path_style) = (values.find(&ENDPOINT)?, values.find(&FORCE_PATH_STYLE)?);
        let point = AccessPoint::of(&bucket);
        let contradiction = point.and_then(|point| point.contradiction(&region, path_style, url.as_ref()));
        if let Some(message) = contradiction {
            return Err(Error::invalid(message));
        }
        let endpoint = Endpoint::new(url.as_ref(), path_style, &region, &bucket);
        let (access, storage) = (Access::of(values)?, Storage::of(values)?);
        Ok(Self { bucket, region, endpoint, prefix: values.get(&PREFIX)?, access, storage })
    }
}

impl SourceConfig {
    /// Reads a source's settings.
    ///
    /// # Errors
    ///
    /// `invalid`, naming every setting that is unknown, missing or malformed.
    pub fn parse(settings: &Settings) -> Result<Self> {
        let values = Values::of_all(settings, &[&SHARED[..], &SOURCE, &rows::ALL].concat())?;
        let bucket = BucketConfig::of(&values)?;
        let config = Self {
            store: identity::of(&bucket.endpoint, &bucket.region),
            bucket,
            start: values.get(&START)?,
            keys: KeyFilter {
                include: values.find(&KEYS_INCLUDE)?.unwrap_or_default(),
                exclude: values.find(&KEYS_EXCLUDE)?.unwrap_or_default(),
            },
            before: values.get(&BEFORE)?,
            polling_period: values.get(&POLLING_PERIOD)?,
            lookback: values.get(&LOOKBACK)?,
            concurrency: values.get(&CONCURRENCY)?,
            unreadable: values.get(&UNREADABLE)?,
            object_bytes_max: values.find(&OBJECT_BYTES)?,
            chunk_bytes: values.find(&CHUNK_BYTES)?,
            payload: values.get(&PAYLOAD)?,
            rows: RowsConfig::of(&values)?,
        };
        config.check_rows()?;
        Ok(config)
    }

    /// Whether what is set of whole objects goes with rows.
    fn check_rows(&self) -> Result<()> {
        let strange = match self {
            Self { rows: None, .. } => None,
            Self { chunk_bytes: Some(_), .. } => Some("chunkBytes"),
            Self { before: true, .. } => Some("before"),
            _ => None,
        };
        strange.map_or(Ok(()), |name| {
            Err(Error::invalid(format!(
                "setting `{name}` is for objects as they are: leave it out, or set `decode` to `none`"
            )))
        })
    }
}

impl DestinationConfig {
    /// Reads a destination's settings.
    ///
    /// # Errors
    ///
    /// `invalid`, naming every setting that is unknown, missing or malformed.
    pub fn parse(settings: &Settings) -> Result<Self> {
        let own = [
            &SHARED[..],
            &DESTINATION,
            &compression::ALL,
            &lake::ALL,
            &storage::ALL,
            &table::ALL,
            &partition_columns::ALL,
        ];
        let values = Values::of_all(settings, &own.concat())?;
        let (format, deletes) = (values.get(&FORMAT)?, values.get(&DELETES)?);
        if format != Format::Raw && deletes == Deletes::Propagate {
            let message = "setting `deletes` is `propagate`, which only `format: raw` can do";
            return Err(Error::invalid(message));
        }
        let path = PathConfig::of(&values, format, deletes)?;
        let columns = TableConfig::of(&values, format, path.as_ref())?;
        let (naming, manifest) = lake::names_of(&values, format)?;
        Ok(Self {
            bucket: BucketConfig::of(&values)?,
            format,
            compression: compression::of(&values, format)?,
            deletes,
            buffers: BuffersConfig::of(&values, lake::is_lake(path.as_ref(), columns.as_ref()))?,
            columns,
            path,
            naming,
            manifest,
        })
    }
}

/// What is odd about a prefix, and what was probably meant; `None` where nothing is. Keys may begin with a slash and hold
/// stars, so this is a warning and no error.
pub fn doubt_prefix(prefix: &str) -> Option<String> {
    let meant = prefix.trim_start_matches('/');
    let meant = &meant[..meant.find(['*', '?']).unwrap_or(meant.len())];
    let reason = if prefix.contains(['*', '?']) {
        "a prefix is plain text, in which `*` and `?` stand for themselves"
    } else if prefix.starts_with('/') {
        "keys rarely begin with a slash"
    } else {
        return None;
    };
    Some(format!("{reason}: `{meant}` was probably meant"))
}

#[cfg(test)]
mod tests;
