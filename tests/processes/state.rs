//! The state folder: who has it, and what happens where nothing more can be written.

use std::path::{Path, PathBuf};
use std::process::Command;

use s3_connector_tests::process::{Running, Signal};

use crate::sandbox::{Sandbox, decode_lines, keys, numbered};

#[tokio::test]
async fn a_second_process_on_a_state_folder_is_told_who_has_it() {
    let sandbox = Sandbox::new().await;
    sandbox.fill(3);
    let mut first = sandbox.source_with_state().start();
    first.lines(3).await;
    let second = sandbox.source_with_state().args(&["--until-caught-up"]);
    let second = second.run().await.with_code(1);
    assert_eq!(second.stdout, b"");
    let pid = first.id().to_string();
    let _ = second.saying(&["error: ", "in use", &sandbox.text_path("state"), &pid]);

    // The first one never noticed.
    sandbox.put("0003", "new");
    first.lines(4).await;
    let _ = first.kill().await;
    assert!(sandbox.rest().await.len() <= 1, "a lock ends with its process");
}

#[tokio::test]
async fn a_second_process_on_a_pipeline_is_told_who_has_it() {
    let sandbox = Sandbox::new().await;
    sandbox.fill(3);
    let yaml = "pipelines: [{id: copy, connectors: [
        {id: in, type: source, plugin: s3, settings: {aws.bucket: photos}},
        {id: out, type: destination, plugin: file, settings: {path: /dev/stdout}}]}]";
    let file = sandbox.file("copy.yaml", yaml);
    let mut first = sandbox.command(&["run", &file]).start();
    first.lines(3).await;
    let second = sandbox.command(&["run", &file]).run().await.with_code(1);
    let pid = first.id().to_string();
    let _ = second.saying(&["in use", "s3-connector-state/copy", &pid]);
    let _ = first.kill().await;
}

#[tokio::test]
async fn a_state_folder_that_cannot_be_made_is_named() {
    let sandbox = Sandbox::new().await;
    let file = sandbox.file("a-file", "");
    let state = format!("{file}/state");
    let source = sandbox.source().args(&["--until-caught-up", "--state", &state]);
    let ended = source.run().await.with_code(1);
    let _ = ended.saying(&["error: ", &state]);
}

#[tokio::test]
async fn a_state_that_was_damaged_is_named_and_left_as_it_is() {
    let sandbox = Sandbox::new().await;
    sandbox.fill(3);
    assert_eq!(sandbox.rest().await.len(), 3);
    let position = sandbox.path("state/position");
    let mut bytes = std::fs::read(&position).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&position, &bytes).unwrap();
    let ended = sandbox.source_with_state().args(&["--until-caught-up"]);
    let ended = ended.run().await.with_code(1);
    assert_eq!(ended.stdout, b"", "it does not begin anew by itself");
    let _ = ended.saying(&["corrupt", &position.display().to_string()]);
    assert_eq!(std::fs::read(&position).unwrap(), bytes);
}

/// A disk of 64 KiB, mounted for as long as this lives.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// None where this user may not mount.
    fn mount(at: &Path) -> Option<Self> {
        std::fs::create_dir(at).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "none"]).arg(at).output();
        let is_mounted = mounted.is_ok_and(|output| output.status.success());
        is_mounted.then(|| Self(at.to_owned()))
    }

    /// Takes all room but what a file of this many bytes needs.
    fn fill(&self, left_bytes: usize) {
        let room = self.0.join("room");
        std::fs::write(&room, vec![0; left_bytes]).unwrap();
        let mut taken = 64 << 10;
        while std::fs::write(self.0.join("taken"), vec![0; taken]).is_err() {
            taken -= 1024;
        }
        std::fs::remove_file(room).unwrap();
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("taken")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// Prints past the harness why a test does less than its name says.
fn skip(why: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout().lock(), "skipped: {why}");
}

#[tokio::test]
async fn a_disk_that_fills_up_ends_a_source_that_shall_fail_fast_and_loses_no_acked_position() {
    let sandbox = Sandbox::new().await;
    let Some(disk) = SmallDisk::mount(&sandbox.path("disk")) else {
        return skip("a disk that fills up, since this user may not mount one");
    };
    sandbox.fill(20);
    let state = sandbox.text_path("disk/state");
    let source = || sandbox.source().args(&["--fail-fast", "--state", &state]);
    let mut running = source().start();
    running.lines(20).await;
    is_kept(&running, &sandbox.path("disk/state/position")).await;
    disk.fill(0);
    for n in 20..40 {
        sandbox.put(&format!("{n:04}"), "new");
    }
    let ended = running.ended().await.with_code(1);
    let printed = keys(&ended.records());
    let ended = ended.saying(&["error: ", "No space left on device", &state]);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);

    // Still full: it does not get further, and breaks nothing.
    let again = source().args(&["--until-caught-up"]).run().await;
    let _ = again.with_code(1).saying(&["No space left on device", &state]);

    disk.free();
    let rest = source().args(&["--until-caught-up"]).run().await.well();
    let rest = keys(&rest.records());
    let first_new = rest.first().cloned().unwrap();
    assert!(first_new.as_str() <= "0020" || printed.contains(&first_new));
    assert_eq!(rest, numbered(40 - rest.len()..40), "nothing between is lost");
    assert!(rest.len() >= 20 - (printed.len() - 20));
    assert!(rest.len() <= 20, "what was acked before does not come again");
}

#[tokio::test]
async fn a_disk_that_fills_up_is_waited_for() {
    let sandbox = Sandbox::new().await;
    let Some(disk) = SmallDisk::mount(&sandbox.path("disk")) else {
        return skip("a disk that fills up, since this user may not mount one");
    };
    sandbox.fill(20);
    let state = sandbox.text_path("disk/state");
    let source = || sandbox.source().args(&["--state", &state]);
    let mut running = source().args(&["--retry-pause", "50ms"]).start();
    running.lines(20).await;
    is_kept(&running, &sandbox.path("disk/state/position")).await;
    disk.fill(0);
    for n in 20..40 {
        sandbox.put(&format!("{n:04}"), "new");
    }
    running.says("interrupted: ").await;
    disk.free();
    running.lines(40).await;
    running.says("resumed after an interruption of ").await;
    is_kept(&running, &sandbox.path("disk/state/position")).await;
    running.signal(Signal::Terminate).await;
    let ended = running.ended().await.well();
    assert_eq!(keys(&ended.records()), numbered(0..40), "once each");
    let _ = ended.saying(&["No space left on device", &state]);
    let rest = source().args(&["--until-caught-up"]).run().await.well();
    assert!(rest.records().is_empty());
}

#[tokio::test]
async fn a_position_that_cannot_be_written_ends_a_source_that_shall_fail_fast_with_the_folder_named() {
    let sandbox = Sandbox::new().await;
    sandbox.fill(3);
    let mut source = sandbox.source_with_state().args(&["--fail-fast"]).start();
    source.lines(3).await;
    is_kept(&source, &sandbox.path("state/position")).await;
    // Stands where the position is written to before it takes its place: fails for every user.
    let obstacle = sandbox.path("state/position.new");
    std::fs::create_dir(&obstacle).unwrap();
    sandbox.put("0003", "new");
    let ended = source.ended().await.with_code(1);
    assert_eq!(keys(&ended.records()), numbered(0..4));
    let _ = ended.saying(&["error: ", "write", &sandbox.text_path("state")]);
    std::fs::remove_dir(&obstacle).unwrap();
    assert_eq!(keys(&sandbox.rest().await), ["0003"], "it was not acked");
}

/// Waits until the position of the last line is kept.
async fn is_kept(running: &Running, position: &Path) {
    let last = decode_lines(&running.printed()).pop().unwrap().position;
    // The file ends with what is kept in it.
    while !std::fs::read(position).is_ok_and(|bytes| bytes.ends_with(&last)) {
        tokio::task::yield_now().await;
    }
}
