//! Owns the hidden command `compile`, by which `make build` puts compiled code into the command. Leaves compiling to the
//! library.

use std::path::PathBuf;

use clap::Args;
use s3_connector_host::compile_ahead;

use super::Failure;

/// Compile the built-in component into a file, for a build that includes it
#[derive(Debug, Args)]
pub(super) struct CompileArguments {
    /// The file; one that holds the same already is left as it is
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(super) fn run(arguments: &CompileArguments) -> Result<(), Failure> {
    let code = compile_ahead().map_err(|error| Failure::running(&error))?;
    // A file that is written anew has the command linked once more.
    if std::fs::read(&arguments.file).is_ok_and(|held| held == code) {
        return Ok(());
    }
    std::fs::write(&arguments.file, code)
        .map_err(|error| Failure::Failed(format!("{} can't be written: {error}", arguments.file.display())))
}
