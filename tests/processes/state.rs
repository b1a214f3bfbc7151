//! The state folder: who has it, and what happens where nothing more can be written.

use std::path::{Path, PathBuf};
use std::process::Command;

use embedded_s3::{Filter, S3Operation};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use s3_connector_tests::process::{Invocation, Running, Signal};

use crate::sandbox::{PHOTOS, Sandbox, decode_lines, keys, numbered};

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
    let position = sandbox.position("state").unwrap();
    let file = sandbox.path("state/state.redb");
    let mut bytes = std::fs::read(&file).unwrap();
    let at: Vec<_> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(&position)).collect();
    assert!(!at.is_empty());
    at.into_iter().for_each(|at| bytes[at] ^= 1);
    std::fs::write(&file, &bytes).unwrap();
    let ended = sandbox.source_with_state().args(&["--until-caught-up"]);
    let ended = ended.run().await.with_code(1);
    assert_eq!(ended.stdout, b"", "it does not begin anew by itself");
    let _ =
        ended.saying(&["corrupt", "restore it from a copy, or remove it to begin anew", &file.display().to_string()]);
    assert!(std::fs::read(&file).unwrap() == bytes);
}

/// A disk of 1 MiB, mounted for as long as this lives.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// None where this user may not mount.
    fn mount(at: &Path) -> Option<Self> {
        std::fs::create_dir(at).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "none"]).arg(at).output();
        let is_mounted = mounted.is_ok_and(|output| output.status.success());
        is_mounted.then(|| Self(at.to_owned()))
    }

    /// Takes all room but what a file of this many bytes needs.
    fn fill(&self, left_bytes: usize) {
        let room = self.0.join("room");
        std::fs::write(&room, vec![0; left_bytes]).unwrap();
        let mut taken = 1 << 20;
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

/// Objects that come while the disk is full: what is planned of them needs more room than the state file has.
const NEW: std::ops::Range<usize> = 20..120;

/// A key of nearly 1 KiB.
fn long_key(n: usize) -> String {
    format!("{n:04}-{}", "x".repeat(900))
}

/// The numbers that keys begin with, as keys.
fn short(keys: &[String]) -> Vec<String> {
    keys.iter().map(|key| key[..4].to_owned()).collect()
}

/// Puts all new objects between two listings, and takes all room before.
async fn fill_and_put(sandbox: &Sandbox, disk: &SmallDisk) {
    let mut pause = sandbox.server.pause(Filter::from(S3Operation::ListObjectVersions));
    let held = pause.arrived().await;
    disk.fill(0);
    for n in NEW {
        sandbox.put(&long_key(n), "new");
    }
    held.release();
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
    is_kept(&running, &sandbox, "disk/state").await;
    fill_and_put(&sandbox, &disk).await;
    let ended = running.ended().await.with_code(1);
    let printed = short(&keys(&ended.records()));
    let ended = ended.saying(&["error: ", "No space left on device", &state]);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);

    // Still full: it does not get further, and breaks nothing.
    let again = source().args(&["--until-caught-up"]).run().await;
    let _ = again.with_code(1).saying(&["No space left on device", &state]);

    disk.free();
    let rest = source().args(&["--until-caught-up"]).run().await.well();
    let rest = short(&keys(&rest.records()));
    let first_new = rest.first().cloned().unwrap();
    assert!(first_new.as_str() <= "0020" || printed.contains(&first_new));
    assert_eq!(rest, numbered(NEW.end - rest.len()..NEW.end), "nothing between is lost");
    assert!(rest.len() >= NEW.len() - (printed.len() - 20));
    assert!(rest.len() <= NEW.len(), "what was acked before does not come again");
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
    is_kept(&running, &sandbox, "disk/state").await;
    fill_and_put(&sandbox, &disk).await;
    running.says("interrupted: ").await;
    disk.free();
    running.lines(NEW.end).await;
    running.says("resumed after an interruption of ").await;
    is_kept(&running, &sandbox, "disk/state").await;
    running.signal(Signal::Terminate).await;
    let ended = running.ended().await.well();
    assert_eq!(short(&keys(&ended.records())), numbered(0..NEW.end), "once each");
    let _ = ended.saying(&["No space left on device", &state]);
    let rest = source().args(&["--until-caught-up"]).run().await.well();
    assert!(rest.records().is_empty());
}

#[tokio::test]
async fn a_position_that_cannot_be_written_ends_a_source_that_shall_fail_fast_with_the_folder_named() {
    let sandbox = Sandbox::new().await;
    sandbox.fill(3);
    // Without the trap, the limit below would end it by a signal.
    let script = format!(
        "trap '' XFSZ; exec s3-connector source --set aws.bucket={PHOTOS} --set pollingPeriod=20ms --state state --fail-fast"
    );
    let mut source = Invocation::script(&script).at(&sandbox.server).within(&sandbox.path("")).start();
    source.lines(3).await;
    is_kept(&source, &sandbox, "state").await;
    // The plan that has the new object is saved, its position is not.
    let mut pause = sandbox.server.pause(Filter::from(S3Operation::GetObject).key("0003"));
    sandbox.put("0003", "new");
    let held = pause.arrived().await;
    // No file of its own can be written from here on: fails for every user.
    let limit = Rlimit { current: Some(0), maximum: Some(0) };
    prlimit(Pid::from_raw(source.id().try_into().unwrap()), Resource::Fsize, limit).unwrap();
    held.release();
    drop(pause);
    let ended = source.ended().await.with_code(1);
    assert_eq!(keys(&ended.records()), numbered(0..4));
    let _ = ended.saying(&["error: ", "write", "folder=`state`"]);
    assert_eq!(keys(&sandbox.rest().await), ["0003"], "it was not acked");
}

/// Waits until the position of the last line is kept.
async fn is_kept(running: &Running, sandbox: &Sandbox, folder: &str) {
    let last = decode_lines(&running.printed()).pop().unwrap().position;
    while !sandbox.peek(folder).is_ok_and(|position| position.is_some_and(|position| position == last)) {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}
