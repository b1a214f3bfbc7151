//! Commands whose component hangs, computes or logs without end: a signal ends them within the grace all the same, and
//! the log stays readable.

use std::time::Duration;

use s3_connector_tests::hostile;
use s3_connector_tests::process::{Invocation, Running, Signal};

use crate::sandbox::{PHOTOS, Sandbox};

/// The grace that the tests leave, and how long the end may take on a machine that is busy with other tests. It is a
/// fraction of what a component takes that is stopped by its time for computing.
const GRACE: &str = "200ms";
const END_MAX: Duration = Duration::from_secs(20);

/// A command on the component that attacks.
fn hostile(sandbox: &Sandbox, command: &str, grace: &str, settings: &[(&str, &str)]) -> Invocation {
    let component = hostile::file("plain").display().to_string();
    let mut hostile =
        sandbox.command(&[command, "--component", &component, "--grace", grace]).set("aws.bucket", PHOTOS);
    for (name, value) in settings {
        hostile = hostile.set(name, value);
    }
    hostile
}

/// Waits for the end; the exit code. One that was forced says why.
async fn ended(mut running: Running) -> Option<i32> {
    assert!(running.has_ended_within(END_MAX).await, "it goes on");
    let ended = running.ended().await;
    let code = ended.code;
    if code == Some(143) {
        let _ = ended.saying(&["did not return within 0.2 s of the stop"]);
    }
    code
}

#[tokio::test]
async fn a_call_that_never_returns_ends_with_the_grace() {
    for call in ["open", "read", "progress"] {
        let sandbox = Sandbox::new().await;
        let attack = [("attack", "hang"), ("at", call)];
        let mut running = hostile(&sandbox, "source", GRACE, &attack).start();
        running.says("it hangs").await;
        running.signal(Signal::Terminate).await;
        let code = ended(running).await;
        assert!(code.is_some_and(|code| [0, 1, 143].contains(&code)), "{call}: {code:?}");
    }
}

#[tokio::test]
async fn a_teardown_that_never_returns_ends_with_the_grace() {
    let after_all = ("attack.configure", "settings");
    let after_failure = ("attack.open", "fail");
    for (command, first) in [("source", after_all), ("source", after_failure), ("destination", after_failure)] {
        let sandbox = Sandbox::new().await;
        let attack = [first, ("attack.teardown", "hang"), ("text", "it fails to open")];
        let invocation = hostile(&sandbox, command, GRACE, &attack);
        let mut running = match command {
            "source" => invocation.args(&["--until-caught-up"]).start(),
            _ => invocation.start(),
        };
        running.says("it hangs").await;
        running.signal(Signal::Terminate).await;
        let code = ended(running).await;
        assert!(code.is_some_and(|code| [1, 2, 143].contains(&code)), "{command}: {code:?}");
    }
}

#[tokio::test]
async fn a_component_that_keeps_the_only_worker_busy_ends_with_the_grace() {
    for attack in ["spin", "fill", "draw"] {
        for at in ["open", "read"] {
            let sandbox = Sandbox::new().await;
            let settings = [("attack", attack), ("at", at), ("bytes", "65536")];
            let mut running = hostile(&sandbox, "source", GRACE, &settings).env("TOKIO_WORKER_THREADS", "1").start();
            running.says("it computes").await;
            running.signal(Signal::Terminate).await;
            let code = ended(running).await;
            assert!(code.is_some_and(|code| [0, 1, 143].contains(&code)), "{attack}: {code:?}");
        }
    }
}

#[tokio::test]
async fn a_second_signal_ends_a_component_that_keeps_the_only_worker_busy() {
    let sandbox = Sandbox::new().await;
    let settings = [("attack", "draw"), ("at", "read"), ("bytes", "65536")];
    let mut running = hostile(&sandbox, "source", "1h", &settings).env("TOKIO_WORKER_THREADS", "1").start();
    running.says("it computes").await;
    running.signal(Signal::Terminate).await;
    // Two that arrive together are one to a process.
    while !running.has_ended_within(Duration::from_millis(50)).await {
        running.signal(Signal::Terminate).await;
    }
    let _ = running.ended().await.with_code(143);
}

#[tokio::test]
async fn few_descriptors_are_raised_to_what_the_system_permits() {
    let sandbox = Sandbox::new().await;
    sandbox.fill(300);
    let script = "ulimit -S -n 40 && exec s3-connector source --state ./state --until-caught-up \
                  --set aws.bucket=photos --set concurrency=256";
    // They are all asked for at once, over as many connections.
    let mut pause = sandbox.server.pause(embedded_s3::S3Operation::GetObject);
    let mut source = Invocation::script(script).at(&sandbox.server).within(&sandbox.path("")).start();
    let mut held = Vec::new();
    while held.len() < 100 {
        held.push(pause.arrived().await);
    }
    drop((held, pause));
    source.lines(300).await;
    let _ = source.ended().await.well();
}

#[tokio::test]
async fn a_flood_of_lines_is_dropped_and_counted_and_none_is_forged() {
    let sandbox = Sandbox::new().await;
    let flood = [("attack", "flood"), ("count", "100000"), ("bytes", "5000")];
    let ended = hostile(&sandbox, "source", GRACE, &flood)
        .args(&["--until-caught-up"])
        .run()
        .await
        .well()
        .saying(&["lines of the connector were dropped: it may log 256 per second"]);
    let lines: Vec<_> = ended.stderr.lines().collect();
    assert!(lines.len() < 100_000 / 4, "{}", lines.len());
    for line in &lines {
        assert!(line.len() < 5000, "{}", line.len());
        assert!(line.contains("ERROR") || line.contains("WARN"), "{line}");
    }
    let first = lines.iter().find(|line| line.contains("line 0")).expect("it came");
    assert!(first.contains("line 0\\nxxx"), "{first}");
    assert!(first.contains(" bytes more)"), "{first}");
}

#[tokio::test]
async fn refused_requests_are_logged_as_few_times_and_counted() {
    let sandbox = Sandbox::new().await;
    let refused = [("attack", "ask"), ("count", "5000"), ("request.path", "/elsewhere/key")];
    let ended = hostile(&sandbox, "source", GRACE, &refused)
        .args(&["--until-caught-up"])
        .run()
        .await
        .well()
        .saying(&["request denied", "denied requests are not logged"]);
    assert!(ended.stderr.lines().count() < 5000);
}

#[tokio::test]
async fn quiet_holds_what_a_component_says_below_an_error() {
    let sandbox = Sandbox::new().await;
    for (level, is_seen) in [("warn", false), ("error", true)] {
        let lines = [("attack", "flood"), ("count", "1000"), ("bytes", "1"), ("level", level)];
        let ended =
            hostile(&sandbox, "source", GRACE, &lines).args(&["--until-caught-up", "--quiet"]).run().await.well();
        assert_eq!(ended.stderr.contains("line 0"), is_seen, "{}", ended.stderr);
    }
}
