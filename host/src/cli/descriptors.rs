//! Owns how many files and connections the process may have open. Leaves to the library's egress how many one instance
//! may have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors to ask for: enough for sixty instances with as many requests in flight as they may have. The usual default
/// is 256 or 1,024, which one source and its state can use up.
const WANTED: u64 = 65_536;

/// Raises the limit as far as the administrator permits; a failure to raise it is not fatal.
pub(crate) fn raise() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(WANTED, |maximum| maximum.min(WANTED));
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::debug!(%error, "cannot raise the limit of open files");
        }
    }
}
