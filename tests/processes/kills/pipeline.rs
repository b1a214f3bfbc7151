//! `run` from one bucket to the other, with state.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use embedded_s3::S3Operation;

use super::churn::{self, Churn, Kind};
use super::ledger::Ledger;
use super::source::is_past_snapshot;
use super::trigger::Doom;
use crate::dice::Dice;
use crate::sandbox::Sandbox;

/// Kills in a round.
const KILLS: usize = 8;

const STATE: &str = "s3-connector-state/copy";

/// A bucket that changes, and a pipeline that is killed and started again.
pub async fn round(mut dice: Dice) -> usize {
    let sandbox = Sandbox::with(churn::options(&mut dice)).await;
    let kind = Kind::draw(&mut dice);
    let churn = Churn::start(&sandbox.server, kind, &mut dice);
    let format = dice.pick(&["json", "parquet"]);
    let file = sandbox.file("copy.yaml", yaml(format, 1 + dice.below(20)));
    for _ in 0..KILLS {
        churn.starts(is_past_snapshot(sandbox.peek(STATE).unwrap().as_deref()));
        let operations = [(S3Operation::PutObject, 8), (S3Operation::GetObject, 30)];
        let doom = Doom::random(&sandbox.server, &mut dice, &operations, 160);
        let running = sandbox.command(&["run", &file]).start();
        let ended = doom.kill(running).await;
        churn.rest();
        assert_eq!(ended.signal, Some(9), "{}", ended.stderr);
        // What the position says to be done is in the bucket, and every object there is whole.
        let stored = sandbox.stored();
        if let Some(position) = sandbox.peek(STATE).unwrap() {
            assert!(stored.iter().any(|record| record.position == position), "the position is ahead of what is stored");
        }
    }
    let (ever, line) = churn.end(is_past_snapshot(sandbox.peek(STATE).unwrap().as_deref()));
    let last = sandbox.command(&["run", "--until-caught-up", &file]);
    let _ = last.run().await.well();
    let mut stored = sandbox.stored();
    stored.sort_by_key(|record| place(&record.position));
    Ledger::of(kind, sandbox.server.store(), ever).is_right(&stored, &line);
    KILLS
}

/// Where a position stands: the number of the plan and of the change in it.
fn place(position: &[u8]) -> (u64, u64) {
    let at = position.iter().rposition(|byte| *byte == b'~').expect("it has an extension");
    let bytes = STANDARD_NO_PAD.decode(&position[at + 1..]).expect("it is base64");
    // After the version of its encoding come the run, the cut, the plan and the change, each seven bits at a time.
    let mut rest = &bytes[1..];
    let mut number = || {
        let end = rest.iter().position(|byte| byte & 0x80 == 0).expect("it ends");
        let (digits, after) = rest.split_at(end + 1);
        rest = after;
        digits.iter().rev().fold(0, |number, digit| number << 7 | u64::from(digit & 0x7f))
    };
    let [_run, _cut, plan, change] = [(); 4].map(|()| number());
    (plan, change)
}

fn yaml(format: &str, records: usize) -> String {
    format!(
        "\
version: 2.2
pipelines:
  - id: copy
    connectors:
      - {{id: in, type: source, plugin: s3, settings: {{aws.bucket: photos, pollingPeriod: 20ms}}}}
      - {{id: out, type: destination, plugin: s3, settings:
          {{aws.bucket: lake, format: {format}, bufferSize: {records}, bufferDelay: 50ms}}}}
"
    )
}
