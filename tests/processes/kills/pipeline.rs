//! `run` from one bucket to the other, with state.

use embedded_s3::S3Operation;

use super::churn::{self, Churn, Line};
use super::ledger::Ledger;
use super::trigger::Doom;
use crate::dice::Dice;
use crate::sandbox::Sandbox;

/// Kills in a round.
const KILLS: usize = 8;

const STATE: &str = "s3-connector-state/copy";

/// A bucket that changes, and a pipeline that is killed and started again.
pub async fn round(mut dice: Dice) -> usize {
    let sandbox = Sandbox::with(churn::options(&mut dice)).await;
    let churn = Churn::start(&sandbox.server, &mut dice);
    let format = dice.pick(&["json", "parquet"]);
    let file = sandbox.file("copy.yaml", yaml(format, 1 + dice.below(20)));
    let mut line = Line::new();
    for _ in 0..KILLS {
        if sandbox.peek(STATE).unwrap().is_none() {
            line = churn.line();
        }
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
    if sandbox.peek(STATE).unwrap().is_none() {
        line = churn.line();
    }
    churn.end();
    let last = sandbox.command(&["run", "--until-caught-up", &file]);
    let _ = last.run().await.well();
    let stored = sandbox.stored();
    let ledger = Ledger::of(sandbox.server.store());
    for record in &stored {
        ledger.is_true(record);
    }
    ledger.is_covered(&stored, &line);
    KILLS
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
