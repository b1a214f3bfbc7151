//! Owns every bound that the connector keeps, with its calculation. Leaves bounds that a user may choose to
//! `config`.

use std::time::Duration;

/// Keys on a page of a listing: S3's maximum.
pub const LIST_PAGE_KEYS: u32 = 1000;

/// Pages of one listing on their way at the same time, at most. At 80 ms each these list 200,000 keys per second, which
/// is about what one core reads.
pub const LISTINGS_IN_FLIGHT_MAX: usize = 16;

/// What a page takes at most as far as the number of polls depends on it, which is about what S3 takes: a store that is
/// slow just then must not hold up polls for long.
pub const LIST_PAGE_TIME: Duration = Duration::from_millis(80);

/// Times that a range may lack the key with which it should begin before a store's listings are no longer split. A key
/// may be deleted just then; three are the store's doing.
pub const LISTING_GAPS_MAX: u32 = 3;

/// Objects ahead of the reader, in flight or fetched. A slow one at the head holds the others up only once as many are done
/// after it: two seconds of work at 2,000 objects per second.
pub const PREFETCH_AHEAD_MAX: usize = 4096;

/// Bytes of objects that may be ahead of the reader. The host drains bodies up to 1 MiB into memory and leaves
/// larger ones in their sockets; 128 MiB keeps sixteen 8 MiB transfers going, which fills a 10 Gbit/s line.
pub const PREFETCH_BYTES_MAX: u64 = 128 << 20;

/// The sizes by which a catalogue and a plan are cut. Tests make them small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of a segment of the catalogue, above which it is cut. At about 17 bytes per version it holds 7,000 of them:
    /// of a million keys the manifest has 140 segments, and a poll that finds one change writes 124 KiB. Hosts that keep
    /// values in pages round them up to a power of two, which is just above it.
    pub segment_bytes: usize,
    /// Entries of a listing that are held until it is clear whether the segment that covers them is unchanged: twice
    /// what a segment usually covers, and some 4 MiB. Where more come, the segment is read.
    pub range_entries: usize,
    /// Bytes of changes that are sorted in memory. What is more becomes several runs.
    pub run_bytes: usize,
    /// Bytes of a chunk of a run, in memory; saved it takes half. A plan of ten million changes has some three hundred runs, with a chunk of each in memory.
    pub chunk_bytes: usize,
    /// Versions of one key that are known one by one. Of older ones only sums are known, in groups.
    pub listed_exactly: usize,
    /// A group of older versions ends at a digest that this number divides: a group has that many on average.
    pub group: u64,
    /// Pages of each of the ranges that are listed at the same time. Each costs half a page more than listing one after
    /// the other, on average.
    pub list_pages: u32,
    /// Entries of such a range, where the catalogue says what to expect.
    pub list_entries: u64,
    /// Bytes of pages that wait for earlier ones: most of sixteen ranges of twelve pages, of a thousand entries
    /// of 250 bytes each.
    pub list_held_bytes: usize,
    /// Ranges that may begin at a guess before it is clear that anything is in them, and pages that guesses may waste
    /// before they have saved any time.
    pub list_guesses: u64,
    /// What a page is expected to take: a poll that has time for its pages one after the other takes them so.
    pub list_page_time: Duration,
}

impl Bounds {
    /// Those that a source has.
    pub const SOURCE: Self = Self {
        segment_bytes: 124 << 10,
        range_entries: 16_384,
        run_bytes: 8 << 20,
        chunk_bytes: 240 << 10,
        listed_exactly: 4096,
        group: 1024,
        list_pages: 16,
        list_entries: 10_000,
        list_held_bytes: 40 << 20,
        list_guesses: 1,
        list_page_time: LIST_PAGE_TIME,
    };

    /// Whether a group of older versions ends at this digest.
    pub(crate) fn ends_group(&self, digest: u64) -> bool {
        digest.is_multiple_of(self.group)
    }
}

/// Plans that may wait for their acks, and bytes of them: the feed waits beyond these. A plan per second for an hour is
/// within the first; some 300,000 changes are within the second.
pub const PLANS_UNACKED_MAX: usize = 4096;
/// See [`PLANS_UNACKED_MAX`].
pub const PLANS_UNACKED_BYTES_MAX: u64 = 64 << 20;

/// Bytes of changes that could not be read, or were read as something newer, before the catalogue is corrected for them:
/// with keys of 60 bytes some 65,000. It is corrected at the end of a plan in any case.
pub const CORRECTIONS_BYTES_MAX: usize = 8 << 20;

/// Saved lists of corrections before the catalogue is corrected for them: one per call of `read` that hands out records
/// after such changes.
pub const CORRECTION_LISTS_MAX: u32 = 64;

/// Changes of a snapshot that wait for their fetches before the next page is listed.
pub const SNAPSHOT_AHEAD_MIN: u64 = 1000;

/// Time from the first failure of a request to its last attempt, while a connector runs. The restart of a store, a
/// failover and a name server's hiccup take 5 to 30 s; a minute covers them twice, and is far below the life of any
/// credentials. What takes longer ends the instance, which its host may replace with a new one.
pub const RETRIES_MAX: Duration = Duration::from_secs(60);

/// The same while a connector opens: somebody waits, and a wrong address is likelier than an outage.
pub const RETRIES_TO_OPEN_MAX: Duration = Duration::from_secs(2);

/// Time for each operation while a connector opens, answers included: what the AWS CLI waits for an answer.
pub const OPEN_STEP_MAX: Duration = Duration::from_secs(60);

/// The first pause between attempts, doubled each time.
pub const BACKOFF_FIRST: Duration = Duration::from_millis(100);

/// The longest pause between attempts.
pub const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// The longest pause that a store can ask for by `Retry-After`: half of [`RETRIES_MAX`], so that another attempt
/// follows.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);

/// The least time over which requests that got the same `Retry-After` are spread: it counts in whole seconds, and 512
/// requests per second are 5 in each 10 ms.
pub const RETRY_AFTER_SPREAD_MIN: Duration = Duration::from_secs(1);

/// Tokens that all requests of an instance share for retries, as in the AWS SDKs' standard mode. Once they are spent,
/// requests don't fail: they wait until one of them finds that the store is back.
pub const RETRY_TOKENS: u32 = 500;

/// The cost of a retry in [`RETRY_TOKENS`]; a first attempt that succeeds returns one token.
pub const RETRY_COST: u32 = 5;

/// Refusals in a hundred answers from which on the store has too many requests at the same time. A store that can do R of them
/// per second refuses a quarter where it gets 1.33 R.
pub const REFUSALS_PERCENT_MAX: usize = 25;

/// Answers from which a share of refusals is taken. Where one in ten is refused at random, one in four of so many never is.
pub const SLOTS_LOOK: usize = 192;

/// Of how many slots one comes back at a time.
pub const SLOTS_BACK_OF: usize = 16;

/// Answers whose times tell how late one is.
pub const HEDGE_SAMPLES: usize = 256;

/// Requests for which one may be sent twice: the second of those that are late.
pub const HEDGE_EVERY: u32 = 50;

/// How many may be sent twice at once.
pub const HEDGES_MAX: u32 = 16;

/// The least time after which a request is late.
pub const HEDGE_AFTER_MIN: Duration = Duration::from_millis(10);

/// Interval between the requests that probe whether a store is back. One per second is no load for any store, and the
/// requests that wait go on within two and a half seconds of its return.
pub const PROBE_EVERY: Duration = Duration::from_secs(1);

/// Time without any answer after which an outage is logged.
pub const OUTAGE_SAID_AFTER: Duration = Duration::from_secs(5);

/// Bytes of a listing or error document. A page of 1000 keys of 1024 bytes, each percent-encoded, is 4 MiB.
pub const DOCUMENT_BYTES_MAX: usize = 8 << 20;

/// Requests for a listed object while answers and listing contradict each other: a replica that lags, a proxy in
/// between. With [`ANSWER_PAUSE_FIRST`] doubled each time these take 7.75 s; replicas need one or two.
pub const ANSWERS_MAX: u32 = 6;

/// Objects whose ETag still differs from the listed one after all retries, before that counts as a property of the
/// store and others are no longer retried for it: one may be a replica's fault, three in one run are not.
pub const ODD_ETAGS_MIN: u32 = 3;

/// The pause before an object is asked for the second time.
pub const ANSWER_PAUSE_FIRST: Duration = Duration::from_millis(250);

/// Pages of a key's versions in which one is looked for that can't be read. Of a key with more, a lifecycle rule may purge
/// thousands meanwhile, and each would be looked for among all that are left. What is not found counts as gone: if the next
/// poll still lists it, it is due again.
pub const FIND_VERSION_PAGES_MAX: usize = 8;

/// The pause before a store is asked for versions once more that says that it lists none: this is believed for ever.
pub const NO_VERSIONS_PAUSE: Duration = Duration::from_secs(1);

/// Times that an object must be neither readable nor listed, one pause apart, before it counts as deleted: one replica
/// that lags may answer both requests.
pub const GONE_LISTINGS_MIN: u32 = 2;

/// Bytes of a body that is read into the component's memory and travels in its record, so that the host
/// holds nothing for it until the record is acked. At 64 KiB a crossing costs next to nothing, and the 2,048 bodies at
/// most ahead of the reader and what is ready for it ([`READY_INLINE_BYTES_MAX`]) take 144 MiB of the sandbox's 1 GiB.
pub const WHOLE_BODY_BYTES_MAX: u64 = 64 << 10;

/// Bytes of a body that travels in its record where `payload` is `raw`. Eight of these fill [`PREFETCH_BYTES_MAX`],
/// which counts them as it counts others, and one the [`READY_INLINE_BYTES_MAX`] that wait for the reader: 144 MiB of the
/// sandbox's 1 GiB, whatever the settings are. A host gets one in one piece, and dynamic hosts take tens of bytes for
/// each of its.
pub const RAW_BODY_BYTES_MAX: u64 = 16 << 20;

/// Records whose bodies are streams that may be read and not acked. Each holds a resource of the host, which permits
/// 16,384: 512 fetches in flight take six each, 3,072 bodies ahead of the reader two each.
pub const STREAMS_UNACKED_MAX: usize = 4096;

/// Records that may be read and not acked. Their positions take some 45 MiB; a destination acks at the latest after
/// [`BATCH_ACKS_MAX`].
pub const RECORDS_UNACKED_MAX: usize = 262_144;

/// Times that an object is followed that keeps changing while it is read, before it is left to the next poll.
pub const OVERWRITE_CHASES_MAX: u32 = 5;

/// Consecutive pages of a listing without an entry, before the listing counts as endless. Where all entries are delete
/// markers, S3 returns empty pages, each of which has skipped thousands.
pub const EMPTY_PAGES_MAX: u64 = 1000;

/// How often a listing of versions may come back to a place in the same key. A store that no longer has the version after which it was
/// to go on lists the key anew, and that can happen again; a circle comes back without end.
pub const LISTING_RETURNS_MAX: u32 = 8;

/// Bytes of a key: S3's own limit.
pub const KEY_BYTES_MAX: usize = 1024;

/// Batches on their way to the bucket while the next one fills. A thousand small records are encoded in 2 to 7 ms, so that a store
/// that takes 30 ms for one keeps up with 16.
pub const UPLOADS_IN_FLIGHT_MAX: usize = 16;

/// Records that a batch takes before uploads are driven on again.
pub const RECORDS_UNDRIVEN_MAX: usize = 64;

/// Bytes of an object that is stored by one request. What is larger is stored in parts, which takes two requests more
/// and is faster from about here on.
pub const PUT_BYTES_MAX: usize = 16 << 20;

/// Bytes of a part. S3 permits 10,000 of them in an object, and none below 5 MiB but the last.
pub const PART_BYTES: usize = 8 << 20;

/// Parts of one object on their way at the same time: at 50 MiB/s per connection they fill 3 Gbit/s.
pub const PARTS_IN_FLIGHT_MAX: usize = 8;

/// Memory that a record takes which is stored in parts while it arrives: those on their way, and the one that is being made.
pub const PARTS_HELD_BYTES: u64 = ((PARTS_IN_FLIGHT_MAX + 1) * PART_BYTES + (1 << 20)) as u64;

/// Bytes of a payload that is stored while it arrives: the largest object that S3 takes by one request.
pub const STREAMED_BYTES_MAX: u64 = 5 << 30;

/// Uploads that are remembered until they are known to be completed or aborted: many times what can be on its way.
pub const UPLOADS_REMEMBERED_MAX: usize = 256;

/// Bytes of records in a batch: in base64 they are [`OBJECT_BYTES_MAX`]. A batch is held in memory until it is stored, since
/// its name follows from all of it.
pub const BATCH_BYTES_MAX: u64 = 192 << 20;

/// Bytes of one record that a destination holds in memory until it is stored.
pub const RECORD_BYTES_MAX: u64 = 64 << 20;

/// Bytes of the object that a batch becomes: with escapes, the text may be six times as long as a record's bytes.
pub const OBJECT_BYTES_MAX: u64 = 256 << 20;

/// Bytes of batches in memory, from their first record until they are stored: four of 64 MiB on their way and one
/// that fills are 5 × 86 MiB in base64, twenty of 16 MiB are as much. Where the next record would exceed it, writing waits for an upload.
///
/// A component has 1 GiB. Beside these 448 MiB there may be 144 MiB of records as they are handed over (the host
/// gives 16 MiB at a time, or one record of which the largest text is 128 MiB), and either a record of 64 MiB whose
/// body is read in pieces and put together (128 MiB), or one that waits while a value of 64 MiB becomes a page of
/// Parquet (64 MiB; encoded, with its levels, and compressed by what grows by a sixth: 203 MiB). These 859 MiB leave
/// room for acks, for what an allocator can't use, and for the connector.
pub const HELD_BYTES_MAX: u64 = 448 << 20;

/// Records that are taken while a batch fills, whichever batches they are in: their acks wait for it, and must not fill the
/// memory, nor reach [`RECORDS_UNACKED_MAX`], at which a source waits for them.
pub const BATCH_ACKS_MAX: usize = 200_000;

/// Acks that wait for earlier ones. With a position of 64 bytes each takes some 160: 80 MB.
pub const ACKS_WAITING_MAX: usize = 500_000;

/// Paths that may have a batch which fills, where nothing is set: a year of days, or most lists of countries.
pub const PARTITIONS_USUAL: usize = 256;

/// The same, whatever is set. Each takes some 4 KiB besides its records.
pub const PARTITIONS_MAX: u32 = 1024;

/// Memory of batches that fill, if there are several: as much as one alone may take.
pub const PARTITIONS_BYTES_MAX: u64 = OBJECT_BYTES_MAX;

/// Memory at the end of a batch's text that is not filled yet, at most: a piece of a payload doubles up to 1 MiB. Of one batch
/// it is nothing; of hundreds it counts.
pub const PARTITION_SLACK_BYTES: u64 = 512 << 10;

/// Records that are fetched and wait to be read.
pub const READY_RECORDS_MAX: usize = 1024;

/// Bytes of the objects of those records.
pub const READY_BYTES_MAX: u64 = 64 << 20;

/// Bytes of those records that are in memory. One read takes as many; more would hide no delay, since rows are made faster than
/// they are read.
pub const READY_INLINE_BYTES_MAX: u64 = 16 << 20;

/// Times that a batch is written again because the object in its way was gone when it was read. Two are an expiry and
/// the change to unconditional writes; more are another writer's doing.
pub const STORE_ROUNDS_MAX: u32 = 4;

/// Objects on their way to the bucket where each record is one: what hides 30 ms of latency at 2,000 objects per second.
pub const PUTS_IN_FLIGHT_MAX: usize = 64;

/// Bytes of those objects, unless there is only one: the host holds them until they are stored. Sixty-four of 2 MiB.
pub const PUTS_BYTES_MAX: u64 = 128 << 20;

/// Records that wait for their turn while a call takes more: after one of the same key, or for room.
pub const PUTS_WAITING_MAX: usize = 64;

/// Bytes of user metadata, names and values as they are in headers: S3's own limit.
pub const USER_METADATA_BYTES_MAX: usize = 2048;

/// Fields of user metadata, which have no limit of S3's own. A host bounds the headers of a request.
pub const USER_METADATA_FIELDS_MAX: usize = 96;

/// Parts of an object: S3's own limit.
pub const PARTS_MAX: u64 = 10_000;

/// Bytes of an object that is copied: as many parts as S3 takes, each of which a host can hold.
pub const COPY_BYTES_MAX: u64 = 1 << 40;
