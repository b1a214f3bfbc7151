//! Owns `s3-connector pull`: looks a component up in a registry, fetches it, checks it and prints its name by digest. Leaves requests and
//! the check to the library.

use std::path::PathBuf;

use clap::Args;
use indicatif::HumanBytes;
use s3_connector_host::registry::Reference;
use s3_connector_host::{Component, Error, Options, inspect};

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
    /// Write the component to this file, too
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
Examples:
  s3-connector pull registry.example.com/s3-connector:0.1.0
  s3-connector run --component oci://registry.example.com/s3-connector@sha256:… pipeline.yaml
  s3-connector pull localhost:5000/s3-connector:dev --output s3_connector.wasm

Exit codes: 0 done, 1 failed, 2 wrong usage, or no component of this contract.";

pub(super) async fn run(arguments: &PullArguments, options: Options, terminal: &Terminal) -> Result<(), Failure> {
    if options.component.is_some() {
        return Err(Failure::Usage("pull fetches the component that it names: leave out --component".to_owned()));
    }
    let failed = |error: Error| Failure::configuring(&error);
    let pinned = registry(&options)?.resolve(&arguments.reference).await.map_err(failed)?;
    let component = Some(Component::Registry(pinned.clone()));
    let inspected = inspect(Options { component, ..options }).await.map_err(failed)?;
    if let Some(file) = &arguments.output {
        std::fs::write(file, &inspected.bytes)
            .map_err(|error| Failure::Failed(format!("{} can't be written: {error}", file.display())))?;
    }
    terminal.say(&format!("{}, and it fulfils the contract of connectors", HumanBytes(inspected.bytes.len() as u64)));
    print_data(&format!("{pinned}\n"))
}
