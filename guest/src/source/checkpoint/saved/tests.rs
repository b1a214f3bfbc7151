//! Compares saved values with bytes that earlier builds have written.

use super::*;
use crate::source::catalogue::{Known, Reader};
use crate::source::witness::{bytes_of as bytes_of_witness, hex};
use crate::testing::SplitMix64;

/// Lines of a name and bytes in hexadecimal digits; other lines begin with `#`.
const WITNESS: &str = include_str!("witness.txt");

const WHAT_TO_DO: &str = "users have saved values of these bytes. witness.txt is append only: take the change back, or \
                          make it a new version that reads the old one too, with a line of its own";

fn plan(id: u64, phase: Phase) -> Plan {
    let runs = vec![1, 300];
    Plan { id, phase, cut: Timestamp(1_700_000_000_789), runs, count: 1 << 40, bytes: 250 << 10 }
}

/// A head of each stage.
fn head(stage: Stage) -> Head {
    Head {
        stage,
        has_versions: Some(true),
        cut: Timestamp(1_700_000_000_123),
        plans: [plan(1, Phase::Snapshot), plan(129, Phase::Changes)].into(),
        next_plan: 130,
        acked: Some((1, 1 << 33)),
        has_dropped: true,
        next_segment: 300,
        manifest: (77, 2),
        corrections: 5,
        garbage: vec!["s-3".to_owned(), "p-1-0-0".to_owned()],
        ..Head::new(0xfedc_ba98_7654_3210, Digester { keys: (0x0102_0304_0506_0708, u64::MAX) }, Rule::Now)
    }
}

fn heads() -> Vec<Head> {
    let since = Timestamp(1_699_999_700_789);
    let first = |rule, covered: Option<&str>| Stage::First { rule, covered: covered.map(str::to_owned) };
    vec![
        Head::new(1, Digester { keys: (2, 3) }, Rule::Changes),
        head(first(Rule::Snapshot, Some("photos/ä b"))),
        head(first(Rule::Now, None)),
        head(first(Rule::Since(since), None)),
        head(first(Rule::Resumed { after: "b/ä".to_owned(), since }, Some(""))),
        head(Stage::Polls),
    ]
}

fn chunk() -> Vec<Due> {
    let due = |key: &str, age, operation, had| Due {
        order: Timestamp(1_700_000_001_000),
        key: key.to_owned(),
        age,
        operation,
        last_modified: Timestamp(1_700_000_000_999),
        version_id: "3sL4kqtJlcpXroDTDmJ+rmSpXd3dIbrHY".to_owned(),
        is_latest: age > 0,
        etag: if operation == Operation::Delete { "" } else { "9b2cf535f27731c974343645a3985328" }.to_owned(),
        size: 300 << 30,
        digest: Digest(0x1122_3344_5566_7788),
        had,
        previous: None,
        gone: None,
    };
    let previous = Previous {
        version_id: "null".to_owned(),
        last_modified: Timestamp(1_700_000_000_000),
        etag: "9b2cf535f27731c974343645a3985328-2".to_owned(),
        size: 7,
    };
    vec![
        due("a", 0, Operation::Create, Has::Nothing),
        Due { previous: Some(Box::new(previous)), ..due("a", 1, Operation::Update, Has::Object(Digest(9))) },
        due("photos/ä b", u32::MAX, Operation::Delete, Has::Doubtful),
        due("z", 300, Operation::Snapshot, Has::Nothing),
        Due::gone("zz".to_owned(), vec![1, 2, 3], Timestamp(1_700_000_001_000)),
    ]
}

fn corrections() -> Vec<Correction> {
    let known = Known { reader: Reader::Doubtful, listed: vec![Digest(1), Digest(u64::MAX)], groups: vec![5] };
    let of = |key: &str, now| Correction { key: key.to_owned(), digest: Digest(0x1122_3344_5566_7788), now };
    vec![
        of("a", Corrected::Untold { has: Has::Nothing }),
        of("a/b", Corrected::Untold { has: Has::Object(Digest(7)) }),
        of("", Corrected::Untold { has: Has::Doubtful }),
        of("ä", Corrected::Told(Digest(300))),
        of("z", Corrected::Kept(known)),
    ]
}

fn encode_chunk(due: &[Due]) -> Vec<u8> {
    encode(&due.iter().map(SavedDue::from).collect::<Vec<_>>())
}

fn decode_chunk(bytes: &[u8]) -> Option<Vec<Due>> {
    Some(decode::<Vec<SavedDue<'_>>>(bytes)?.into_iter().map(Due::from).collect())
}

fn encode_corrections(list: &[Correction]) -> Vec<u8> {
    encode(&list.iter().map(SavedCorrection::from).collect::<Vec<_>>())
}

fn decode_corrections(bytes: &[u8]) -> Option<Vec<Correction>> {
    Some(decode::<Vec<SavedCorrection<'_>>>(bytes)?.into_iter().map(Correction::from).collect())
}

fn decode_head(bytes: &[u8]) -> Option<Head> {
    decode::<SavedHead<'_>>(bytes).map(Head::from)
}

/// The saved form of each sample, by name.
fn values() -> Vec<(&'static str, Vec<u8>)> {
    let heads = ["head-1-new", "head-1-snapshot", "head-1-now", "head-1-since", "head-1-resumed", "head-1-polls"];
    let heads = heads.into_iter().zip(self::heads()).map(|(name, head)| (name, encode(&SavedHead::from(&head))));
    let others = [("chunk-1", encode_chunk(&chunk())), ("corrections-1", encode_corrections(&corrections()))];
    heads.chain(others).collect()
}

fn witness(name: &str) -> Vec<u8> {
    bytes_of_witness(WITNESS, name)
}

#[test]
fn saved_values_are_append_only() {
    let lines: Vec<_> = values().iter().map(|(name, bytes)| format!("{name} {}", hex(bytes))).collect();
    let witness_lines: Vec<_> = WITNESS.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines, witness_lines, "{WHAT_TO_DO}");
    for (head, (name, _)) in heads().into_iter().zip(values()) {
        assert_eq!(decode_head(&witness(name)), Some(head), "{WHAT_TO_DO}");
    }
    assert_eq!(decode_chunk(&witness("chunk-1")), Some(chunk()), "{WHAT_TO_DO}");
    assert_eq!(decode_corrections(&witness("corrections-1")), Some(corrections()), "{WHAT_TO_DO}");
}

#[test]
fn values_that_are_cut_short_or_newer_are_refused() {
    for (name, value) in values() {
        let decodes = |bytes: &[u8]| match name {
            "chunk-1" => decode_chunk(bytes).is_some(),
            "corrections-1" => decode_corrections(bytes).is_some(),
            _ => decode_head(bytes).is_some(),
        };
        assert!(decodes(&value));
        for length in 0..value.len() {
            assert!(!decodes(&value[..length]), "{name} {length}");
        }
        assert!(!decodes(&[&[VERSION + 1], &value[1..]].concat()), "{name}");
        assert!(!decodes(&[&value[..], &[0]].concat()), "{name}: there is something after it");
    }
}

#[test]
fn no_damage_makes_a_panic_or_much_memory() {
    let decode_all = |bytes: &[u8]| {
        decode_head(bytes);
        decode_chunk(bytes);
        decode_corrections(bytes);
    };
    for (_, value) in values() {
        for at in 0..value.len() {
            for byte in [0, 1, 0x7f, 0x80, 0xff, value[at] ^ 1, value[at] ^ 0x80] {
                let mut damaged = value.clone();
                damaged[at] = byte;
                decode_all(&damaged);
            }
        }
    }
    let mut random = SplitMix64::new(5);
    for _ in 0..2000 {
        let mut bytes: Vec<_> = (0..random.next() % 60).map(|_| random.next() as u8).collect();
        bytes.insert(0, VERSION);
        decode_all(&bytes);
    }
    // A list of more than there is memory for.
    decode_all(&[&[VERSION][..], &[0xff; 9], &[1]].concat());
}

#[test]
fn a_head_that_no_source_saves_is_not_sound() {
    assert!(heads().iter().all(Head::is_sound));
    let damage: [fn(&mut Head); 8] = [
        |head| head.garbage.push(String::new()),
        |head| head.garbage.push("head".to_owned()),
        |head| head.garbage.push("s-3".to_owned()),
        |head| head.plans[0].count = 0,
        |head| head.plans[0].id = 0,
        |head| head.plans[1].runs.push(u32::MAX),
        |head| head.next_plan = 129,
        |head| head.next_segment = u64::MAX,
    ];
    for (number, damage) in damage.into_iter().enumerate() {
        let mut damaged = head(Stage::Polls);
        damage(&mut damaged);
        assert!(!damaged.is_sound(), "{number}");
    }
}
