//! Owns the tests that what a component makes its host hold, write and wait for stays within bounds: what is at a bound
//! passes, what is one step above it does not.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use s3_connector_host::pipeline::{CancellationToken, JsonLinesOutput, Options as PipelineOptions, Pipeline};
use s3_connector_host::state::{MemoryState, Quota, StateStore, VALUE_BYTES_MAX};
use s3_connector_host::{
    COMPONENT_BYTES_MAX, Component, Connector, Error, ErrorKind, InstanceOptions, MEMORY_BYTES_MAX, Options, Result,
};
use s3_connector_tests::hostile;
use s3_connector_tests::world::{BUCKET, Env};

use crate::siege::Siege;

/// What an attack got.
async fn loot(siege: &Siege, settings: &[(&str, &str)]) -> Result<String> {
    siege.loot_of_source(settings).await
}

#[tokio::test]
async fn memory_beyond_its_bound_is_a_trap_that_says_so() {
    let siege = Siege::of("plain").await;
    let bytes = (MEMORY_BYTES_MAX - (64 << 20)).to_string();
    let taken = loot(&siege, &[("attack", "grow"), ("bytes", &bytes)]).await;
    assert_eq!(taken.expect("it fits"), format!("{bytes} bytes"));
    let bytes = MEMORY_BYTES_MAX.to_string();
    let error = loot(&siege, &[("attack", "grow"), ("bytes", &bytes)]).await;
    let error = error.expect_err("the component's own code takes memory too");
    assert_eq!(error.kind(), ErrorKind::Trap);
    assert!(error.message().contains("more memory than an instance may have"), "{error}");
}

#[tokio::test]
async fn handles_beyond_their_bound_are_a_trap() {
    let siege = Siege::of("plain").await;
    // Some are the component's own.
    let held = loot(&siege, &[("attack", "handles"), ("count", "16000")]).await;
    assert_eq!(held.expect("they fit"), "16000 handles");
    let error = loot(&siege, &[("attack", "handles"), ("count", "16385")]).await;
    assert_eq!(error.expect_err("there are too many").kind(), ErrorKind::Trap);
}

#[tokio::test]
async fn one_call_has_the_host_do_no_more_than_it_may() {
    let siege = Siege::of("plain").await;
    let copied = "too much data is being copied between the host and the guest";
    // Random bytes; bytes that go over; elements of a list, at 48 bytes each; handles of one list, to which those that the component
    // has anyway are added; zeroes, a piece of a body at most.
    for (attack, last, first, why) in [
        ("draw", 64 << 10, (64 << 10) + 1, "bytes=`65537`, bytes_max=`65536`"),
        ("mumble", 4 << 20, (4 << 20) + 1, copied),
        ("list", (4 << 20) / 48, (4 << 20) / 48 + 1, copied),
        ("wait", 16_000, 16_384, "store handle limit exceeded"),
        ("pad", 1 << 20, (1 << 20) + 1, "cannot write more zeroes than `check_write` allows"),
    ] {
        let once = async |number: u64| {
            let number = number.to_string();
            loot(&siege, &[("attack", attack), ("count", "1"), ("bytes", &number)]).await
        };
        assert_eq!(once(last).await.as_deref(), Ok("1 calls"), "{attack}");
        let error = once(first).await.expect_err(attack);
        assert_eq!(error.kind(), ErrorKind::Trap);
        assert!(error.message().contains(why), "{attack}: {error}");
    }
    let error = loot(&siege, &[("attack", "pad"), ("count", "1"), ("bytes", &u64::MAX.to_string())]).await;
    assert_eq!(error.expect_err("no memory is taken").kind(), ErrorKind::Trap);
    siege.bucket.server().store().put(BUCKET, "key", vec![7; 5 << 20]).expect("stored");
    let largest = loot(&siege, &[("attack", "gulp"), ("request.path", &format!("/{BUCKET}/key"))]).await;
    let largest: usize = largest.expect("told").parse().expect("a number");
    assert!((1..=1 << 20).contains(&largest), "{largest}");
}

#[tokio::test]
async fn header_fields_and_texts_of_requests_are_bounded() {
    let siege = Siege::of("plain").await;
    let fields = async |bytes| loot(&siege, &[("attack", "fields"), ("bytes", bytes)]).await;
    assert_eq!(fields("8192").await.expect("told"), "it fits");
    let error = fields("16385").await.expect_err("it is too long");
    assert!(error.message().contains("total size of fields exceeds limit"), "{error}");
    let texts = async |bytes| loot(&siege, &[("attack", "texts"), ("bytes", bytes)]).await;
    assert_eq!(texts("512").await.expect("told"), "Ok(()) Ok(())");
    assert_eq!(texts("513").await.expect("told"), "Err(()) Err(())");
}

#[tokio::test]
async fn a_body_that_is_never_sent_is_taken_up_to_two_pieces() {
    let siege = Siege::of("plain").await;
    let bytes = loot(&siege, &[("attack", "unsent")]).await.expect("told");
    let bytes: usize = bytes.parse().expect("a number");
    assert!((1..=2 * (1 << 20)).contains(&bytes), "{bytes}");
}

#[tokio::test]
async fn a_message_is_cut() {
    let siege = Siege::of("plain").await;
    for at in ["configure", "open", "read"] {
        let attack = |bytes| [("attack", "fail-long"), ("at", at), ("bytes", bytes)];
        let error = loot(&siege, &attack("8192")).await.expect_err("it fails");
        assert_eq!(error.message().len(), 8192);
        let error = loot(&siege, &attack("8193")).await.expect_err("it fails");
        assert!(error.message().ends_with("x… (1 bytes more)"), "{at}");
    }
}

#[tokio::test]
async fn records_positions_and_counters_are_as_many_and_as_long_as_they_may_be() {
    let siege = Siege::of("plain").await;
    let read = async |settings: &[(&str, &str)]| -> Result<usize> {
        let attack = [&[("attack", "records"), ("at", "open")], settings].concat();
        let mut source = siege.source(&attack).await?;
        source.open(None).await?;
        Ok(source.read(10, Duration::from_millis(1)).await?.len())
    };
    let rule = |result: Result<usize>, why: &str| {
        let error = result.expect_err(why);
        assert_eq!(error.kind(), ErrorKind::Trap);
        assert!(error.message().contains(why), "{error}");
    };
    let greedy = ("greedy", "yes");
    assert_eq!(read(&[("count", "10"), greedy]).await, Ok(10));
    rule(read(&[("count", "11"), greedy]).await, "11 records where 10 were asked for");
    assert_eq!(read(&[("count", "1"), ("bytes", "65536")]).await, Ok(1));
    rule(read(&[("count", "1"), ("bytes", "65537")]).await, "a position has 65537 bytes");
    let read_at_most = async |count: &str, bytes_max| -> Result<usize> {
        let mut source = siege.source(&[("attack", "records"), ("count", count), ("bytes", "92")]).await?;
        source.open(None).await?;
        Ok(source.read_at_most(10, bytes_max, Duration::from_millis(1)).await?.len())
    };
    // Each has a key of seven bytes and a payload of one beside its position.
    assert_eq!(read_at_most("3", 300).await, Ok(3));
    assert_eq!(read_at_most("1", 0).await, Ok(1));
    rule(read_at_most("3", 299).await, "records of 300 bytes where 299 were asked for");
    let common = async |place, count, bytes_max| {
        let settings = [("attack", "records"), ("count", "3"), ("bytes", "92")];
        let shared = [("common.place", place), ("common.count", count), ("common.bytes", "94")];
        let mut source = siege.source(&[&settings[..], &shared].concat()).await?;
        source.open(None).await?;
        Ok(source.read_at_most(10, bytes_max, Duration::from_millis(1)).await?.len())
    };
    assert_eq!(common("0", "1", 600).await, Ok(3));
    rule(common("0", "1", 599).await, "records of 600 bytes where 599 were asked for");
    rule(common("1", "1", 600).await, "a record has metadata 1 of 1 in common with others");
    rule(common("0", "2", 600).await, "common metadata that no record has");
    let counters = async |count, bytes| -> Result<usize> {
        let settings = [("counters", count), ("counter-name-bytes", bytes)];
        let mut source = siege.source(&settings).await?;
        let counters = source.progress().await.map(|progress| progress.counters.len());
        // An instance that broke a rule is gone.
        assert_eq!(source.progress().await.is_err(), counters.is_err());
        counters
    };
    assert_eq!(counters("64", "64").await, Ok(64));
    rule(counters("65", "64").await, "more than 64 counters");
    rule(counters("64", "65").await, "names of more than 64 bytes");
}

#[tokio::test]
async fn a_panic_says_why_whether_it_goes_to_stderr_or_to_the_log() {
    let siege = Siege::of("plain").await;
    let attack = [("attack", "panic"), ("text", "so it went"), ("hook", "yes")];
    for settings in [&attack[..2], &attack] {
        let error = siege.loot_of_source(settings).await.expect_err("it traps");
        assert_eq!(error.kind(), ErrorKind::Trap);
        let (_, said) = error.message().split_once("; it said: ").expect("it said something");
        assert!(said.contains("so it went"), "{error}");
        assert_eq!(said.matches("so it went").count(), 1, "{error}");
    }
}

#[tokio::test]
async fn a_specification_has_bounds() {
    for variant in ["most-parameters", "most-text"] {
        assert!(hostile::connector(variant).await.is_ok(), "{variant}");
    }
    for (variant, why) in
        [("too-many-parameters", "parameters=`257`, parameters_max=`256`"), ("too-much-text", "bytes_max=`262144`")]
    {
        let error = hostile::connector(variant).await.err().expect(variant);
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains(why), "{error}");
    }
}

async fn load(options: Options) -> Error {
    Connector::load(options).await.err().expect("it is refused")
}

#[tokio::test]
async fn a_file_that_is_too_large_is_not_read_and_one_that_takes_long_is_given_up() {
    let mut file = tempfile::NamedTempFile::new().expect("there is room");
    let of_bytes = |file: &tempfile::NamedTempFile, bytes| {
        file.as_file().set_len(bytes).expect("it has holes");
        Options { component: Some(Component::File(file.path().to_owned())), ..Options::default() }
    };
    let error = load(of_bytes(&file, COMPONENT_BYTES_MAX + 1)).await;
    assert!(error.message().contains("it is larger than 32 MiB"), "{error}");
    let error = load(of_bytes(&file, COMPONENT_BYTES_MAX)).await;
    assert!(error.message().contains("no S3 connector component"), "{error}");
    let bytes = std::fs::read(hostile::file("plain")).expect("it was built");
    file.as_file().set_len(0).expect("it can be cut");
    file.write_all(&bytes).expect("there is room");
    let error = load(Options {
        component: Some(Component::File(file.path().to_owned())),
        without_cache: true,
        compile_max: Some(Duration::ZERO),
        ..Options::default()
    })
    .await;
    assert!(error.message().contains("was not compiled within 0 s"), "{error}");
}

/// A source in an instance that may compute this long.
async fn computing(attack: &[(&str, &str)]) -> Result<String> {
    let mut siege = Siege::of("plain").await;
    siege.hostile =
        Connector::load(Options { compute_max: Some(Duration::from_millis(500)), ..hostile::options("plain") }).await?;
    siege.loot_of_source(attack).await
}

#[tokio::test]
async fn computing_is_measured_by_the_processor_and_waiting_is_free() {
    for attack in ["spin", "fill", "draw"] {
        for at in ["configure", "read"] {
            let error = computing(&[("attack", attack), ("at", at), ("bytes", "65536")]).await;
            let error = error.expect_err("it never returns");
            let message = error.message();
            assert!(message.contains("it computed for 0.5 s in one call"), "{attack}: {message}");
        }
    }
    // Together more than a second.
    let naps = computing(&[("attack", "nap"), ("count", "100")]).await;
    assert_eq!(naps.expect("it did not compute"), "100 naps");
}

#[tokio::test]
async fn while_a_component_computes_others_are_served() {
    let siege = Siege::of("plain").await;
    let options = Options { compute_max: Some(Duration::from_millis(500)), ..hostile::options("plain") };
    let attacker = Connector::load(options).await.expect("it loads");
    let settings = siege.settings(&[("attack", "spin"), ("at", "read")]);
    // Both are on the one worker of this test.
    let computing = tokio::spawn(async move {
        let mut source = attacker.source(settings, InstanceOptions::default()).await?;
        source.open(None).await?;
        source.read(1, Duration::from_millis(1)).await
    });
    let mut timer = tokio::time::interval(Duration::from_millis(1));
    let mut served = 0;
    while !computing.is_finished() {
        timer.tick().await;
        served += 1;
    }
    assert!(computing.await.expect("it does not panic").is_err());
    // At each tick of the epoch, of which there are a hundred; a worker that looks at its timers every 61st time does not once.
    assert!(served >= 20, "{served}");
}

#[tokio::test]
async fn the_shipped_component_stays_within_its_bounds_at_its_widest() {
    let bucket = Env::component().plain().await;
    let content = bytes::Bytes::from(vec![7; 1 << 20]);
    for n in 0..600 {
        bucket.put(&format!("{n:04}"), content.clone()).await;
    }
    let mut source = bucket.open_with(&[("concurrency", "512")]).await.into_host();
    let (mut records, mut held) = (0, Vec::new());
    while records < 600 {
        let read = source.read(1000, Duration::from_secs(1)).await;
        let read = read.expect("nothing is in its way");
        records += read.len();
        // As many batches as a pipeline has on their way: nobody reads them yet.
        held.push(read);
        if held.len() > 4 {
            held.remove(0);
        }
    }
    assert_eq!(records, 600);
}

async fn hoard(quota: Quota, count: &str, bytes: usize) -> String {
    let siege = Siege::of("plain").await;
    let bytes = bytes.to_string();
    let attack = [("attack", "hoard"), ("count", count), ("bytes", &bytes)];
    let state: Arc<dyn StateStore> = Arc::new(MemoryState::with_quota(quota));
    siege.loot_of_source_with(&attack, state).await.expect("told")
}

#[tokio::test]
async fn state_is_refused_above_its_quota_and_not_a_trap() {
    // The limits of the contract, which both sides spell.
    assert_eq!(VALUE_BYTES_MAX, s3_connector::ports::STATE_VALUE_BYTES_MAX);
    assert_eq!(s3_connector_host::state::NAME_BYTES_MAX, s3_connector::ports::STATE_NAME_BYTES_MAX);
    assert_eq!(s3_connector_host::state::COMMIT_BYTES_MAX, s3_connector::ports::STATE_COMMIT_BYTES_MAX);
    assert_eq!(s3_connector_host::state::COMMIT_EDITS_MAX, s3_connector::ports::STATE_COMMIT_EDITS_MAX);
    let quota = Quota { bytes_max: 1000, names_max: 10 };
    assert_eq!(hoard(quota, "10", 100).await, "saved");
    let full = hoard(quota, "10", 101).await;
    assert!(full.starts_with("ErrorKind::Internal: no more state can be kept"), "{full}");
    assert!(full.ends_with("bytes=`1010`, bytes_max=`1000`"), "{full}");
    let full = hoard(quota, "11", 1).await;
    assert!(full.ends_with("names=`11`, names_max=`10`"), "{full}");
    // The largest value that is documented is the largest that crosses.
    assert_eq!(hoard(Quota::default(), "1", VALUE_BYTES_MAX).await, "saved");
    let large = hoard(Quota::default(), "1", VALUE_BYTES_MAX + 1).await;
    assert!(large.contains("a state value is too large"), "{large}");
}

/// What comes of a source as JSON lines.
async fn lines(siege: &Siege, settings: &[(&str, &str)]) -> (Result<u64>, String) {
    let source = siege.source(settings).await.expect("it is configured");
    let (sender, mut receiver) = tokio::io::duplex(64 << 20);
    let output = JsonLinesOutput::new(sender);
    let options = PipelineOptions { until_caught_up: true, ..PipelineOptions::default() };
    let done = Pipeline::new(source, output, options).run(CancellationToken::new()).await;
    let mut text = String::new();
    let read = tokio::io::AsyncReadExt::read_to_string(&mut receiver, &mut text).await;
    read.expect("lines are text");
    (done.map(|summary| summary.counts.acked), text)
}

#[tokio::test]
async fn a_body_of_another_length_than_its_record_says_is_no_line() {
    let siege = Siege::of("plain").await;
    // Both ways in which a body is written: whole, and as it comes.
    for bytes in [1000_usize, 3 << 20] {
        let store = siege.bucket.server().store();
        store.put(BUCKET, "key", "x".repeat(bytes)).expect("stored");
        let path = format!("/{BUCKET}/key");
        let attack = async |length: String| {
            let body = [("attack", "body"), ("request.path", &*path), ("bytes", &*length)];
            lines(&siege, &body).await
        };
        let (acked, text) = attack(bytes.to_string()).await;
        assert_eq!(acked, Ok(1));
        assert!(text.ends_with("\"}}\n") && text.len() > bytes, "{}", text.len());
        for (length, why) in
            [(1, "longer"), (bytes - 1, "longer"), (bytes + 1, "shorter"), (bytes + (2 << 20), "shorter")]
        {
            let (acked, text) = attack(length.to_string()).await;
            let error = acked.expect_err(why);
            assert!(error.message().contains(&format!("a body is {why} than")), "{error}");
            assert!(!text.contains('\n'), "no line is whole: {}", text.len());
            assert!(text.len() < 2 * bytes, "and no more was read than there is");
        }
    }
}

#[tokio::test]
async fn structured_data_that_are_no_object_are_no_line() {
    let siege = Siege::of("plain").await;
    let attack = async |text| lines(&siege, &[("attack", "structured"), ("text", text)]).await;
    let (acked, text) = attack("{\"a\":\n1}").await;
    assert_eq!(acked, Ok(1));
    assert!(text.contains("\"after\":{\"a\": 1}"), "{text}");
    for bad in ["ESCAPES", "{}}", "[]", "{\"a\":1},\"b\":{}"] {
        let (acked, text) = attack(bad).await;
        let error = acked.expect_err(bad);
        assert!(error.message().contains("not a JSON object"), "{error}");
        assert_eq!(text, "");
    }
}
