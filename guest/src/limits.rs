//! Every bound that the connector keeps, with the sum that led to it.
//!
//! Bounds that a user may choose are settings, in `config`.

use std::time::Duration;

/// Keys on a page of a listing: the most that S3 gives.
pub const LIST_PAGE_KEYS: u32 = 1000;

/// Objects whose bodies are on their way or waiting ahead of the reader, for each fetch in flight.
/// Four: one slow answer at the head then stalls the others only once three times as many are done behind it.
pub const PREFETCH_AHEAD_PER_FETCH: usize = 4;

/// Bytes of objects that may be ahead of the reader. The host drains bodies up to 1 MiB into memory and leaves
/// larger ones in their sockets; 128 MiB keeps sixteen 8 MiB transfers going, which fills a 10 Gbit/s line.
pub const PREFETCH_BYTES_MAX: u64 = 128 << 20;

/// Bytes of due entries in one pass. A longer pass is cut and goes on at once in the next one.
pub const PLAN_BYTES_MAX: usize = 16 << 20;

/// Saved pieces of what a snapshot has handed out, before they are merged into one.
pub const SEEN_CHUNKS_MAX: u32 = 32;

/// Attempts at one request. With full jitter between 100 ms and 10 s these take about 20 s on average, under
/// the lifetime of any credentials.
pub const ATTEMPTS_MAX: u32 = 8;

/// Attempts while a connector opens: somebody waits, and a wrong address is likelier than an outage. About a
/// second.
pub const ATTEMPTS_TO_OPEN_MAX: u32 = 5;

/// The first pause between attempts, doubled each time.
pub const BACKOFF_FIRST: Duration = Duration::from_millis(100);

/// The longest pause between attempts.
pub const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// Tokens that all requests of an instance share for retries, as in the AWS SDKs' standard mode.
pub const RETRY_TOKENS: u32 = 500;

/// What one retry costs of [`RETRY_TOKENS`]; a first attempt that succeeds gives one token back.
pub const RETRY_COST: u32 = 5;

/// Bytes of a listing or error document. A page of 1000 keys of 1024 bytes, each percent-encoded, is 4 MiB.
pub const DOCUMENT_BYTES_MAX: usize = 8 << 20;

/// Times that a snapshot asks anew for an object that changes under its hands, before it leaves it to CDC.
pub const OVERWRITE_CHASES_MAX: u32 = 5;

/// Bytes of a key: S3's own limit.
pub const KEY_BYTES_MAX: usize = 1024;

/// Batches on their way to the bucket while the next one fills.
pub const UPLOADS_IN_FLIGHT_MAX: usize = 4;

/// Bytes of one record that a destination takes, and of a batch at the most: one request body, held in memory
/// until it is stored.
pub const RECORD_BYTES_MAX: u64 = 64 << 20;

/// Bytes of an object that a batch becomes, which its host sends in one request: escapes may make text of a record's
/// bytes that is six times as long.
pub const OBJECT_BYTES_MAX: u64 = 256 << 20;

/// Bytes of batches in memory, from their first record until they are stored: four of 64 MiB on their way and one
/// that fills are 5 × 86 MiB in base64. Where the next record would exceed it, writing waits for an upload.
///
/// A component has 1 GiB. Beside these 448 MiB there may be 144 MiB of records as they are handed over (the host
/// gives 16 MiB at a time, or one record of which the largest text is 128 MiB), and either a record of 64 MiB whose
/// body is read in pieces and put together (128 MiB), or one that waits while a value of 64 MiB becomes a page of
/// Parquet (64 MiB; encoded, with its levels, and compressed by what grows by a sixth: 203 MiB). These 859 MiB leave
/// room for acks, for what an allocator can't use, and for the connector.
pub const HELD_BYTES_MAX: u64 = 448 << 20;

/// Answers in a batch. Refused records wait for it too, but must not fill the memory while it waits for others.
pub const BATCH_ACKS_MAX: usize = 200_000;

/// Records that are fetched and wait to be read.
pub const READY_RECORDS_MAX: usize = 1024;

/// Bytes of the objects of those records.
pub const READY_BYTES_MAX: u64 = 64 << 20;

/// Times that a batch is written anew because the object in its way was gone when looked at. Two are an expiry
/// and the change to unconditional writes; more are another writer's doing.
pub const STORE_ROUNDS_MAX: u32 = 4;
