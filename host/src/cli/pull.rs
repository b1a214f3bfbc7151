//! Owns `s3-connector pull`: looks a component up in a registry, fetches it, checks it and prints its name by digest. Leaves requests and
//! the check to the library.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::HumanBytes;
use s3_connector_host::registry::Reference;
use s3_connector_host::{Component, Error, Options, cache_folder, inspect};

use super::terminal::{Terminal, print_data};
use super::{Failure, registry};

/// Fetches a component from an OCI registry, checks it, and prints its name by digest
///
/// What is fetched must have the digest that it is named by, and must fulfil the contract of connectors; it is compiled, and nothing of it
/// runs. It is kept in the user's cache folder, where `--component` finds it without the registry. A tag is looked up: what is printed is
/// what it stands for now, and stands for the same component tomorrow.
///
/// Credentials are those that `docker login` or `podman login` has left, or the program that they name keeps. HTTPS_PROXY and AWS_CA_BUNDLE
/// count as for S3.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(super) struct PullArguments {
    /// The component: HOST/NAME:TAG or HOST/NAME@sha256:…, with or without oci:// before it
    #[arg(value_name = "REFERENCE", value_parser = clap::value_parser!(Reference))]
    reference: Reference,
    /// Write the component to this file, too; to stdout with `-`, and its name to stderr then
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
Examples:
  s3-connector pull registry.example.com/s3-connector:0.1.0
  s3-connector run --component oci://registry.example.com/s3-connector@sha256:… pipeline.yaml
  s3-connector pull localhost:5000/s3-connector:dev --output s3_connector.wasm

Exit codes: 0 done, 1 failed, 2 wrong usage, no such component, one of another contract.";

pub(super) async fn run(arguments: &PullArguments, options: Options, terminal: &Terminal) -> Result<(), Failure> {
    if options.component.is_some() {
        return Err(Failure::Usage("pull fetches the component that it names: leave out --component".to_owned()));
    }
    let failed = |error: Error| Failure::configuring(&error);
    let (registry, options) = registry(options)?;
    if cache_folder().is_none() {
        terminal.say("warning: neither XDG_CACHE_HOME nor HOME is set, so nothing is kept for the next start");
    }
    let pinned = registry.resolve(&arguments.reference).await.map_err(failed)?;
    let component = Some(Component::Registry(pinned.clone()));
    let inspected = inspect(Options { component, ..options }).await.map_err(failed)?;
    let size = HumanBytes(inspected.bytes.len() as u64);
    let done = format!("{size}, and it fulfils the contract of connectors");
    match &arguments.output {
        Some(file) if is_stream(file) => {
            write_stream(file, &inspected.bytes).map_err(|error| cannot_write(file, &error))?;
            terminal.say(&format!("{pinned}: {done}"));
            Ok(())
        }
        output => {
            if let Some(file) = output {
                write_whole(file, &inspected.bytes).map_err(|error| cannot_write(file, &error))?;
            }
            terminal.say(&done);
            print_data(&format!("{pinned}\n"))
        }
    }
}

fn cannot_write(file: &Path, error: &io::Error) -> Failure {
    Failure::Failed(format!("{} can't be written: {error}", file.display()))
}

/// Whether it is stdout, a pipe or a device: nothing that can be replaced.
fn is_stream(file: &Path) -> bool {
    file == Path::new("-") || std::fs::metadata(file).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
}

fn write_stream(file: &Path, bytes: &[u8]) -> io::Result<()> {
    if file == Path::new("-") {
        let mut stdout = io::stdout().lock();
        return stdout.write_all(bytes).and_then(|()| stdout.flush());
    }
    OpenOptions::new().write(true).open(file)?.write_all(bytes)
}

/// Puts a file in the place of another one: what was there stays until all of it is written.
fn write_whole(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut new = file.as_os_str().to_owned();
    new.push(format!(".{}.new", std::process::id()));
    let written = std::fs::write(&new, bytes).and_then(|()| std::fs::rename(&new, file));
    if written.is_err() {
        // It may not be there.
        let _ = std::fs::remove_file(&new);
    }
    written
}
