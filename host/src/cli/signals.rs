//! SIGINT and SIGTERM: the first asks pipelines to end, the second ends the process. Before a command asks for this,
//! they end the process at once, as they always do.

use s3_connector_host::pipeline::Stop;
use tokio::signal::unix::{SignalKind, signal};

use super::Failure;
use super::terminal::Terminal;

/// A handle that the first signal stops. The second signal exits with 130 or 143, as shells expect.
pub(super) fn stop_on_signals(terminal: &Terminal) -> Result<Stop, Failure> {
    let listen = |kind| {
        signal(kind).map_err(|error| Failure::Failed(format!("signals cannot be caught: {error}")))
    };
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let (stop, terminal) = (Stop::new(), terminal.clone());
    let asked = stop.clone();
    tokio::spawn(async move {
        loop {
            let code = tokio::select! {
                _ = interrupt.recv() => 130,
                _ = terminate.recv() => 143,
            };
            if asked.is_stopped() {
                std::process::exit(code);
            }
            asked.stop();
            if terminal.has_bars() {
                terminal.say("stopping: what was read is being stored; once more to stop at once");
            }
        }
    });
    Ok(stop)
}
