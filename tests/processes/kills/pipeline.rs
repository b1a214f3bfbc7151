//! `run` from one bucket to the other, with state.

use embedded_s3::Operation;

use super::churn::{self, Churn, Line};
use super::ledger::Ledger;
use super::trigger::Doom;
use crate::chance::Dice;
use crate::site::Site;

/// Kills in a round.
const KILLS: usize = 8;

const STATE: &str = "s3-connector-state/copy";

/// A bucket that changes, and a pipeline that is killed and started again.
pub async fn round(mut dice: Dice) -> usize {
    let site = Site::with(churn::options(&mut dice)).await;
    let churn = Churn::start(&site.server, &mut dice);
    let format = dice.pick(&["json", "parquet"]);
    let file = site.file("copy.yaml", yaml(format, 1 + dice.below(20)));
    let mut line = Line::new();
    for _ in 0..KILLS {
        if site.position(STATE).is_none() {
            line = churn.line();
        }
        let operations = [(Operation::PutObject, 8), (Operation::GetObject, 30)];
        let doom = Doom::random(&site.server, &mut dice, &operations, 160);
        let running = site.command(&["run", &file]).start();
        let ended = doom.kill(running).await;
        churn.rest();
        assert_eq!(ended.signal, Some(9), "{}", ended.stderr);
        // What the position says to be done is in the bucket, and every object there is whole.
        let stored = site.stored();
        if let Some(position) = site.position(STATE) {
            assert!(stored.iter().any(|record| record.position == position), "the position is ahead of what is stored");
        }
    }
    if site.position(STATE).is_none() {
        line = churn.line();
    }
    churn.end();
    let last = site.command(&["run", "--until-caught-up", &file]);
    let _ = last.run().await.well();
    let stored = site.stored();
    let ledger = Ledger::of(site.server.store());
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
