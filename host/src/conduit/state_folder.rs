//! Owns where a plugin keeps the state of its connectors: one folder for each. Leaves what is in one to `state`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::error::{Error, ErrorKind, Result, with_causes};
use crate::state::{self, FileState, StateStore};

/// What stands for itself in the name of a folder. A dot does not, so that no id leads anywhere else.
const NAME: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_');

/// Bytes of a folder's name at most; a longer id has no folder.
const NAME_BYTES_MAX: usize = 250;

/// How long a lock is waited for. The plugin of a Conduit that was killed ends within some seconds, and keeps it until then.
const LOCK_WAIT: Duration = Duration::from_secs(15);

/// The folder of all state: of `S3_CONNECTOR_STATE`, `XDG_STATE_HOME` and `HOME` what is set first.
fn base(variable: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let set = |name: &str| variable(name).filter(|text| !text.is_empty()).map(PathBuf::from);
    set("S3_CONNECTOR_STATE")
        // The specification of these folders has relative ones ignored.
        .or_else(|| set("XDG_STATE_HOME").filter(|path| path.is_absolute()).map(|path| path.join("s3-connector")))
        .or_else(|| set("HOME").map(|path| path.join(".local/state/s3-connector")))
}

/// The folder of a connector.
fn folder(connector_id: &str, variable: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let name = utf8_percent_encode(connector_id, &NAME).to_string();
    (!name.is_empty() && name.len() <= NAME_BYTES_MAX).then_some(())?;
    Some(base(variable)?.join(name))
}

fn process(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Opens the state of a connector. Without a folder that can be written there is none, which is logged once, with what is
/// lost by it.
///
/// # Errors
///
/// `Corrupt` where the state is damaged, `Unavailable` where another process holds it for longer than it takes to end.
pub(super) async fn open(connector_id: &str, loss: &str) -> Result<Option<Arc<dyn StateStore>>> {
    let Some(folder) = folder(connector_id, process) else {
        warn("neither S3_CONNECTOR_STATE, XDG_STATE_HOME nor HOME is set, or the connector has no id", loss);
        return Ok(None);
    };
    match locked(&folder).await? {
        Ok(state) => Ok(Some(Arc::new(state))),
        Err(error) if is_unwritable(&folder) => {
            warn(&with_causes(&error), loss);
            Ok(None)
        }
        Err(error) => Err(failure(&error)),
    }
}

fn failure(error: &state::Error) -> Error {
    Error::new(error.kind(ErrorKind::Unavailable), with_causes(error))
}

/// Opens a folder, and waits for a while where another process has it locked.
async fn locked(folder: &Path) -> Result<Result<FileState, state::Error>> {
    let begun = Instant::now();
    loop {
        let at = folder.to_owned();
        let opened = tokio::task::spawn_blocking(move || FileState::open(at)).await;
        match opened.map_err(|lost| super::lost_task(&lost))? {
            Err(state::Error::Locked { .. }) if begun.elapsed() < LOCK_WAIT => {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            opened => return Ok(opened),
        }
    }
}

fn warn(why: &str, loss: &str) {
    tracing::warn!("no state is kept: {why}; {loss}");
}

/// Whether a folder can't be made, or nothing can be written there: then there is no state in it either. A disk that is full or
/// broken is another matter.
fn is_unwritable(folder: &Path) -> bool {
    use rustix::io::Errno;
    let is_trouble = |error: &io::Error| {
        let trouble = [Errno::NOSPC, Errno::DQUOT, Errno::IO];
        error.raw_os_error().is_some_and(|code| trouble.iter().any(|errno| errno.raw_os_error() == code))
    };
    std::fs::create_dir_all(folder).is_err_and(|error| !is_trouble(&error))
        || rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_err()
}

/// Removes the state of a connector that was deleted.
///
/// # Errors
///
/// `Unavailable` where it can't be removed, or another process has it.
pub(super) async fn remove(connector_id: &str) -> Result<()> {
    let Some(folder) = folder(connector_id, process) else { return Ok(()) };
    let is_there = |error: &io::Error| !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
    if std::fs::symlink_metadata(&folder).is_err_and(|error| !is_there(&error)) {
        return Ok(());
    }
    // Held until it is gone, so that no running plugin loses it. What is damaged has nobody who holds it.
    let held = locked(&folder).await?;
    if let Err(error @ state::Error::Locked { .. }) = &held {
        return Err(failure(error).context("the connector's state cannot be removed"));
    }
    match std::fs::remove_dir_all(&folder) {
        Err(error) if is_there(&error) => {
            let message = format!("the connector's state cannot be removed; folder=`{}`: {error}", folder.display());
            Err(Error::new(ErrorKind::Unavailable, message))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(id: &str, set: &[(&str, &str)]) -> Option<PathBuf> {
        let value = |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        folder(id, value)
    }

    #[test]
    fn a_folder_is_where_the_first_variable_says() {
        let all = [("S3_CONNECTOR_STATE", "/s"), ("XDG_STATE_HOME", "/x"), ("HOME", "/h")];
        assert_eq!(at("a:b", &all).unwrap(), Path::new("/s/a%3Ab"));
        assert_eq!(at("a", &all[1..]).unwrap(), Path::new("/x/s3-connector/a"));
        assert_eq!(at("a", &all[2..]).unwrap(), Path::new("/h/.local/state/s3-connector/a"));
        assert_eq!(at("a", &[("XDG_STATE_HOME", "x"), ("HOME", "")]), None);
    }

    #[test]
    fn no_id_leads_elsewhere() {
        let all = [("S3_CONNECTOR_STATE", "/s")];
        assert_eq!(at("../x", &all).unwrap(), Path::new("/s/%2E%2E%2Fx"));
        assert_eq!(at("..", &all).unwrap(), Path::new("/s/%2E%2E"));
        assert_eq!(at("", &all), None);
        assert_eq!(at(&"x".repeat(251), &all), None);
    }
}
