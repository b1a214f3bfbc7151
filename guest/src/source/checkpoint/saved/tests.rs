//! Compares saved values with bytes that earlier builds have written.

use super::*;
use crate::s3::UploadEntry;

/// Lines of a name and bytes in hexadecimal digits; other lines begin with `#`.
const WITNESS: &str = include_str!("witness.txt");

const WHAT_TO_DO: &str = "users have saved values of these bytes. witness.txt is append only: take the change back, or \
                          make it a new version that reads the old one too, with a line of its own";

fn uploads() -> Uploads {
    let mut uploads = Uploads::default();
    for (key, initiated) in [("b/ä", 1_700_000_000_123), ("a", 5), ("b/ä", 1_700_000_000_456)] {
        uploads.insert(UploadEntry { key: key.to_owned(), initiated: Timestamp(initiated), ..UploadEntry::default() });
    }
    uploads
}

fn seen() -> Seen {
    let mut seen = Seen::new((0x0102_0304_0506_0708, u64::MAX));
    seen.insert(Slot(u128::MAX - 1), Mark { content: 0x1122_3344_5566_7788, time: Timestamp(1_700_000_000_000) });
    seen.insert(Slot(3), Mark { content: 0, time: Timestamp(0) });
    seen
}

fn start() -> SnapshotStart {
    SnapshotStart { run: 0xfedc_ba98_7654_3210, cut: Timestamp(1_700_000_000_789), uploads: uploads(), seen: seen() }
}

fn plan() -> Plan {
    let due = |key: &str, age, operation| Due {
        order: Timestamp(1_700_000_001_000),
        key: key.to_owned(),
        age,
        last_modified: Timestamp(1_700_000_000_999),
        version_id: "3sL4kqtJlcpXroDTDmJ+rmSpXd3dIbrHY".to_owned(),
        is_latest: age > 0,
        etag: if operation == Operation::Delete { "" } else { "9b2cf535f27731c974343645a3985328" }.to_owned(),
        size: 300 << 30,
        operation,
    };
    let due =
        vec![due("a", 0, Operation::Create), due("a", 1, Operation::Update), due("photos/ä b", 300, Operation::Delete)];
    let next = Checkpoint { low_watermark: Timestamp(1_699_999_700_789), uploads: uploads(), seen: seen() };
    Plan { run: 1, poll: 129, due, cut: Timestamp(1_700_000_000_789), next }
}

fn handed_out() -> Vec<HandedOut> {
    let mark = |content| Mark { content, time: Timestamp(1_700_000_000_000) };
    vec![
        HandedOut { index: 0, slot: Slot(1 << 127), mark: mark(0) },
        HandedOut { index: 1 << 40, slot: Slot(7), mark: mark(u64::MAX) },
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn witness(name: &str) -> Vec<u8> {
    let line = WITNESS.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let digits = line.unwrap_or_else(|| panic!("no line of `{name}`"));
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("digits")).collect()
}

#[test]
fn saved_values_are_append_only() {
    let piece: Vec<_> = handed_out().iter().map(SavedHandedOut::from).collect();
    let written = [
        ("snapshot-1", encode(&SavedStart::from(&start()))),
        ("plan-1", encode(&SavedPlan::from(&plan()))),
        ("seen-1", encode(&piece)),
    ];
    let lines: Vec<_> = written.iter().map(|(name, bytes)| format!("{name} {}", hex(bytes))).collect();
    let witness_lines: Vec<_> = WITNESS.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines, witness_lines, "{WHAT_TO_DO}");
    let bytes = witness("snapshot-1");
    assert_eq!(decode::<SavedStart<'_>>(&bytes).map(SnapshotStart::from), Some(start()), "{WHAT_TO_DO}");
    let bytes = witness("plan-1");
    assert_eq!(decode::<SavedPlan<'_>>(&bytes).map(Plan::from), Some(plan()), "{WHAT_TO_DO}");
    let read = decode::<Vec<SavedHandedOut>>(&witness("seen-1")).expect(WHAT_TO_DO);
    assert_eq!(read.into_iter().map(HandedOut::from).collect::<Vec<_>>(), handed_out(), "{WHAT_TO_DO}");
}
