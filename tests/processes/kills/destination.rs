//! `destination`, which is fed the same lines after each kill.

use std::collections::BTreeSet;

use embedded_s3::{S3Operation, Stage};

use super::trigger::Doom;
use crate::dice::Dice;
use crate::sandbox::{LAKE, Sandbox, encode_lines, records};

/// Kills in a round.
const KILLS: usize = 8;

/// Lines that are fed until they are all stored.
pub async fn round(mut dice: Dice) -> usize {
    let sandbox = Sandbox::new().await;
    let input = records(0..1 + dice.below(400));
    let lines = encode_lines(&input);
    let size = 1 + dice.below(30);
    let batches = input.len().div_ceil(size);
    let format = dice.pick(&["json", "parquet"]);
    let mut kills = 0;
    for _ in 0..KILLS {
        let is_open = dice.one_in(2) && input.len() >= size;
        let doom = if is_open {
            // Without an end of the input only full batches go out, and one of them must.
            let stage = *dice.pick(&[Stage::BeforeAct, Stage::AfterAct]);
            let skipped = dice.below(input.len() / size);
            Doom::at(&sandbox.server, stage, S3Operation::PutObject.into(), skipped)
        } else {
            Doom::random(&sandbox.server, &mut dice, &[(S3Operation::PutObject, batches)], batches + 2)
        };
        let mut running = sandbox.destination(format, size).start();
        running.feed(lines.clone(), !is_open);
        let ended = doom.kill(running).await;
        kills += usize::from(ended.signal == Some(9));
        // Where it had fewer requests to send than that, it came to its end.
        assert!(ended.signal == Some(9) || ended.code == Some(0), "{}", ended.stderr);
        // Whatever is there is whole, and nothing of it is there twice.
        is_once(&sandbox, size);
    }
    let _ = sandbox.destination(format, size).feed(&lines).await.well();
    assert_eq!(sandbox.stored(), input);
    assert_eq!(sandbox.batches().len(), batches);
    is_once(&sandbox, size);
    kills
}

/// Fails if a record is in two objects, or an object was written twice.
fn is_once(sandbox: &Sandbox, size: usize) {
    let mut seen = BTreeSet::new();
    for batch in sandbox.batches() {
        assert!((1..=size).contains(&batch.len()));
        for record in batch {
            assert!(seen.insert(record.position.clone()), "stored twice");
        }
    }
    let versions = sandbox.server.store().versions(LAKE).unwrap();
    let keys: BTreeSet<&str> = versions.iter().map(|v| v.key.as_str()).collect();
    assert_eq!(keys.len(), versions.len(), "written over");
}
