//! Owns how many files and connections the process may have open. Leaves to the library's egress how many one instance
//! may have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that are asked for: sixty instances with all the requests in flight that they may have. Systems begin
/// with 256 or 1,024, which one source and its state can use up.
const WANTED: u64 = 65_536;

/// Asks for as many as the administrator permits, and goes on with what there is.
pub(crate) fn raise() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(WANTED, |maximum| maximum.min(WANTED));
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::debug!(%error, "the number of open files stays as it is");
        }
    }
}
