//! Whoever reads what a command prints: `source | head -1` has ended once `head` has, not at the next record. Files and
//! terminals have no such end and are left alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FileType, fstat};
use s3_connector_host::pipeline::Stop;

use super::Failure;

/// Stops the pipelines when nobody reads stdout any more, and notes it.
pub(super) fn watch(is_gone: Arc<AtomicBool>, stop: Stop) -> Result<(), Failure> {
    let status = fstat(std::io::stdout());
    let is_read =
        status.is_ok_and(|status| matches!(FileType::from_raw_mode(status.st_mode), FileType::Fifo | FileType::Socket));
    if !is_read {
        return Ok(());
    }
    // A thread: it sleeps in the system for as long as there is a reader, and ends with the process.
    let watching = std::thread::Builder::new().name("reader".to_owned()).spawn(move || {
        if has_gone() {
            is_gone.store(true, Ordering::Relaxed);
            stop.stop();
        }
    });
    watching.map(drop).map_err(|error| Failure::Failed(format!("no threads can be started: {error}")))
}

/// Waits until the other end of stdout is closed; false where that can't be told.
fn has_gone() -> bool {
    let stdout = std::io::stdout();
    // Nothing is asked for: an error and a hang-up are told unasked.
    let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
    loop {
        match poll(&mut watched, None) {
            Ok(_) => {
                let events = watched[0].revents();
                return events.intersects(PollFlags::ERR | PollFlags::HUP);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}
