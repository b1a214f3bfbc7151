//! `source --state`, whose stdout is read to where the kill cut it off.

use embedded_s3::S3Operation;
use s3_connector::record::json;
use s3_connector_tests::process::{Ended, Record};

use super::churn::{self, Churn, Kind};
use super::ledger::Ledger;
use super::trigger::Doom;
use crate::dice::Dice;
use crate::sandbox::Sandbox;

/// Kills in a round.
const KILLS: usize = 12;

/// What was delivered.
#[derive(Default)]
struct Delivered {
    /// Every record of a whole line.
    all: Vec<Record>,
    /// Those up to the position that was kept.
    acked: Vec<Record>,
    /// Records of lines that the kill cut off before their newline.
    unended: Vec<Record>,
}

impl Delivered {
    /// Takes what a process printed, and where its state stands.
    fn take(&mut self, ended: &Ended, position: Option<&[u8]>) {
        let records = ended.records();
        let (_, torn) = ended.lines();
        self.unended.extend(json::decode_line(torn).ok());
        let kept = records.iter().rposition(|record| Some(&record.position[..]) == position);
        let last = self.acked.last().map(|record| &record.position[..]);
        assert!(
            kept.is_some() || position == last,
            "the position {:?} is that of no line",
            position.map(String::from_utf8_lossy)
        );
        let acked = &records[..kept.map_or(0, |at| at + 1)];
        self.acked.extend_from_slice(acked);
        self.all.extend(records);
    }
}

/// A bucket that changes, and a source that is killed and started again until it has had enough.
pub async fn round(mut dice: Dice) -> usize {
    let sandbox = Sandbox::with(churn::options(&mut dice)).await;
    let kind = Kind::draw(&mut dice);
    let churn = Churn::start(&sandbox.server, kind, &mut dice);
    let mut delivered = Delivered::default();
    for _ in 0..KILLS {
        churn.starts(is_past_snapshot(delivered.acked.last().map(|record| &record.position[..])));
        let ended = run_and_kill(&sandbox, &mut dice).await;
        churn.rest();
        assert_eq!(ended.signal, Some(9), "{}", ended.stderr);
        let position = sandbox.peek("state").unwrap();
        delivered.take(&ended, position.as_deref());
    }
    let acked = delivered.acked.last().map(|record| &record.position[..]);
    let (stored, line) = churn.end(is_past_snapshot(acked));
    let last = sandbox.source_with_state().args(&["--until-caught-up"]);
    let last = last.run().await.well();
    assert!(last.lines().1.is_empty());
    let position = sandbox.peek("state").unwrap();
    delivered.take(&last, position.as_deref());

    let ledger = Ledger::of(kind, sandbox.server.store(), stored);
    delivered.unended.iter().for_each(|record| ledger.is_true(record));
    ledger.is_right(&delivered.all, &line);
    ledger.is_right(&delivered.acked, &line);
    ledger.is_in_order(&delivered.acked);
    KILLS
}

/// Whether a position tells that the first listing is over: what is stored from then on are changes.
pub fn is_past_snapshot(position: Option<&[u8]>) -> bool {
    // The keys have no such text.
    position.is_some_and(|position| position.windows(2).any(|text| text == b"_c"))
}

async fn run_and_kill(sandbox: &Sandbox, dice: &mut Dice) -> Ended {
    let concurrency = 1 + dice.below(16);
    let source = sandbox.source_with_state().set("concurrency", &concurrency.to_string());
    if dice.one_in(2) {
        let mut running = source.start();
        running.lines(dice.below(120)).await;
        return running.kill().await;
    }
    // The bucket is looked at first.
    let operations =
        [(S3Operation::ListObjectsV2, 1), (S3Operation::ListObjectVersions, 20), (S3Operation::GetObject, 30)];
    let doom = Doom::random(&sandbox.server, dice, &operations, 160);
    doom.kill(source.start()).await
}
