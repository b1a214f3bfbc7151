//! What a service manager is told: a socket of our own in the place of systemd's.

use std::time::Duration;

use s3_connector_tests::hostile;
use s3_connector_tests::process::{Invocation, Running, Signal};
use tokio::net::UnixDatagram;
use tokio::time::timeout;

use crate::sandbox::{PHOTOS, Sandbox, encode_lines, records};

/// How long something may take to come.
const PATIENCE: Duration = Duration::from_secs(180);

/// A service manager that listens.
pub struct Manager {
    socket: UnixDatagram,
    /// All messages so far.
    heard: Vec<String>,
}

impl Manager {
    /// One for this command.
    pub fn of(sandbox: &Sandbox, command: Invocation) -> (Self, Invocation) {
        let path = sandbox.path("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        (Self { socket, heard: Vec::new() }, command.env("NOTIFY_SOCKET", path))
    }

    /// Waits for a message with this line, and returns all of it.
    pub async fn hears(&mut self, line: &str) -> String {
        loop {
            let mut bytes = vec![0; 65_536];
            let received = timeout(PATIENCE, self.socket.recv(&mut bytes)).await;
            let length = received.unwrap_or_else(|_| panic!("no `{line}` came: {:?}", self.heard)).unwrap();
            let message = String::from_utf8(bytes[..length].to_vec()).unwrap();
            self.heard.push(message.clone());
            if message.lines().any(|told| told.starts_with(line)) {
                return message;
            }
        }
    }

    fn count(&self, line: &str) -> usize {
        self.heard.iter().flat_map(|message| message.lines()).filter(|told| told.starts_with(line)).count()
    }
}

/// Ends it, and waits for all that it says.
async fn stopped(manager: &mut Manager, running: Running) {
    running.signal(Signal::Terminate).await;
    manager.hears("STOPPING=1").await;
    let _ = running.ended().await;
}

/// Two pipelines from what is below their id into a file; `extra` are settings of the second one's source.
fn two(sandbox: &Sandbox, extra: &str) -> String {
    let pipeline = |id: &str, extra: &str| {
        format!(
            "  - id: {id}
    connectors:
      - {{id: in, type: source, plugin: s3, settings: {{aws.bucket: {PHOTOS}, prefix: {id}/, pollingPeriod: 20ms{extra}}}}}
      - {{id: out, type: destination, plugin: file, settings: {{path: ./{id}.jsonl}}}}
"
        )
    };
    let yaml = format!("version: 2.2\npipelines:\n{}{}", pipeline("a", ""), pipeline("b", extra));
    sandbox.file("two.yaml", yaml)
}

#[tokio::test]
async fn a_service_is_not_ready_before_every_pipeline_is_open_and_lives_meanwhile() {
    let sandbox = Sandbox::new().await;
    let file = two(&sandbox, ", attack: hang, at: open");
    let component = hostile::file("plain").display().to_string();
    let command = sandbox.command(&["run", "--component", &component, "--grace", "200ms", &file]);
    let (mut manager, command) = Manager::of(&sandbox, command);
    let mut running = command.env("WATCHDOG_USEC", "100000").start();
    running.says("it hangs").await;
    for _ in 0..3 {
        manager.hears("WATCHDOG=1").await;
    }
    running.signal(Signal::Terminate).await;
    manager.hears("STOPPING=1").await;
    assert_eq!(manager.count("READY=1"), 0, "one of two is open: {:?}", manager.heard);
    let _ = running.ended().await;
}

#[tokio::test]
async fn a_service_is_ready_once_and_tells_how_its_pipelines_stand_and_that_it_lives() {
    let sandbox = Sandbox::new().await;
    sandbox.put("a/1", "content");
    let file = two(&sandbox, "");
    let (mut manager, command) = Manager::of(&sandbox, sandbox.command(&["run", &file]));
    let running = command.env("WATCHDOG_USEC", "100000").start();
    let ready = manager.hears("READY=1").await;
    assert!(ready.lines().any(|line| line.starts_with("STATUS=2 pipelines")), "{ready}");
    while manager.hears("STATUS=").await != "STATUS=2 pipelines caught-up; 1 records stored\n" {}
    manager.hears("WATCHDOG=1").await;
    assert_eq!(manager.count("READY=1"), 1);
    running.signal(Signal::HangUp).await;
    let reloading = manager.hears("RELOADING=1").await;
    assert!(reloading.lines().any(|line| line.starts_with("MONOTONIC_USEC=")), "{reloading}");
    manager.hears("READY=1").await;
    stopped(&mut manager, running).await;
}

#[tokio::test]
async fn single_connectors_tell_too_and_watch_nothing_that_is_not_asked_for() {
    let sandbox = Sandbox::new().await;
    sandbox.fill(2);
    let (mut manager, source) = Manager::of(&sandbox, sandbox.source());
    let running = source.start();
    manager.hears("READY=1").await;
    stopped(&mut manager, running).await;
    assert_eq!(manager.count("WATCHDOG=1"), 0);

    std::fs::remove_file(sandbox.path("notify")).unwrap();
    let (mut manager, destination) = Manager::of(&sandbox, sandbox.destination("json", 2));
    let mut running = destination.env("WATCHDOG_USEC", "100000").env("WATCHDOG_PID", "1").start();
    running.write(&encode_lines(&records(0..2))).await;
    manager.hears("READY=1").await;
    running.close_input();
    manager.hears("STOPPING=1").await;
    let _ = running.ended().await.well();
    assert_eq!(manager.count("WATCHDOG=1"), 0, "that of another process is not ours");
}

#[tokio::test]
async fn a_service_manager_that_is_gone_is_told_of_once_and_stops_nothing() {
    let sandbox = Sandbox::new().await;
    sandbox.fill(2);
    let source = sandbox.source().args(&["--until-caught-up"]);
    let source = source.env("NOTIFY_SOCKET", sandbox.path("nobody")).env("WATCHDOG_USEC", "10000");
    let ended = source.run().await;
    let warnings = ended.stderr.matches("service manager at NOTIFY_SOCKET can't be told").count();
    assert_eq!((ended.code, warnings), (Some(0), 1), "{}", ended.stderr);
    assert_eq!(ended.records().len(), 2);
}
