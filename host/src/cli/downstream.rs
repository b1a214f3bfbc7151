//! Owns noticing that the program that reads stdout has ended: `source | head -1` ends when `head` does, not at the next
//! record. Leaves ending to the pipelines. Files and terminals have no such end and are not watched.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FileType, fstat};
use s3_connector_host::pipeline::CancellationToken;

use super::Failure;

/// Stops the pipelines when the reader of stdout is gone, and sets `is_gone`.
pub(super) fn watch(is_gone: Arc<AtomicBool>, stop: CancellationToken) -> Result<(), Failure> {
    let status = fstat(std::io::stdout());
    let is_read =
        status.is_ok_and(|status| matches!(FileType::from_raw_mode(status.st_mode), FileType::Fifo | FileType::Socket));
    if !is_read {
        return Ok(());
    }
    // A thread: it sleeps in a system call while there is a reader, and ends with the process.
    let watching = std::thread::Builder::new().name("reader".to_owned()).spawn(move || {
        if has_gone() {
            is_gone.store(true, Ordering::Relaxed);
            stop.cancel();
        }
    });
    watching.map(drop).map_err(|error| Failure::Failed(format!("cannot start a thread: {error}")))
}

/// Waits until the other end of stdout is closed; false if that can't be known.
fn has_gone() -> bool {
    let stdout = std::io::stdout();
    // No event is requested: errors and hang-ups are always reported.
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
