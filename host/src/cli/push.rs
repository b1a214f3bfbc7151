//! Owns `s3-connector push`: publishes a component in a registry, and prints its name by digest. Leaves requests, the form and the check
//! to the library.

use std::collections::BTreeMap;

use clap::Args;
use s3_connector_host::registry::{Notes, Reference};
use s3_connector_host::{EMBEDDED, Error, Options, inspect};

use super::terminal::{Terminal, print_data};
use super::{Failure, registry};

/// The variable that says when something was made, for builds that can be repeated
/// (<https://reproducible-builds.org/specs/source-date-epoch/>).
const EPOCH: &str = "SOURCE_DATE_EPOCH";

/// Publishes a component in an OCI registry, and prints its name by digest
///
/// It publishes the built-in component, or the one that --component names, if it fulfils the contract of connectors, in the form that wkg,
/// wasmCloud and others read: one layer of `application/wasm`. The same component gets the same digest each time, from the same version of this
/// command; the time that the form wants is SOURCE_DATE_EPOCH, otherwise 1970. A tag that stands for another component is moved. To copy what
/// is in another registry with the digest that it has there, use crane or oras.
///
/// Credentials are those that `docker login` or `podman login` has left, or the program that they name keeps. HTTPS_PROXY and AWS_CA_BUNDLE
/// count as for S3.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(super) struct PushArguments {
    /// Where to: HOST/NAME:TAG, or HOST/NAME for a component without a tag
    #[arg(value_name = "REFERENCE", value_parser = clap::value_parser!(Reference))]
    reference: Reference,
}

const AFTER_HELP: &str = "\
Examples:
  s3-connector push registry.example.com/s3-connector:0.1.0
  s3-connector push --component mine.wasm localhost:5000/mine:dev

Exit codes: 0 done, 1 failed, 2 wrong usage, or no component of this contract.";

pub(super) async fn run(arguments: &PushArguments, options: Options, terminal: &Terminal) -> Result<(), Failure> {
    let created = created(std::env::var(EPOCH).ok().as_deref())?;
    let (registry, options) = registry(options)?;
    let failed = |error: Error| Failure::configuring(&error);
    let inspected = inspect(options).await.map_err(failed)?;
    // It is known by its bytes, wherever they come from.
    let annotations = if inspected.bytes == EMBEDDED { annotations() } else { BTreeMap::new() };
    let notes = Notes { created, annotations };
    let published = registry.publish(&arguments.reference, inspected.bytes, &inspected.interfaces, &notes).await;
    let published = published.map_err(failed)?;
    if let Some(tag) = arguments.reference.tag() {
        terminal.say(&format!("published with the tag `{tag}`"));
    }
    print_data(&format!("{published}\n"))
}

/// What is known of the built-in component.
fn annotations() -> BTreeMap<String, String> {
    let known = [
        ("title", "s3-connector"),
        ("version", env!("CARGO_PKG_VERSION")),
        ("licenses", "Apache-2.0"),
        ("revision", env!("S3_CONNECTOR_COMMIT")),
    ];
    let known = known.into_iter().filter(|(_, value)| !value.is_empty());
    known.map(|(name, value)| (format!("org.opencontainers.image.{name}"), value.to_owned())).collect()
}

fn created(epoch: Option<&str>) -> Result<u64, Failure> {
    /// The last second that the form of the time can say: the end of the year 9999.
    const LAST: u64 = 253_402_300_799;
    let Some(epoch) = epoch.filter(|epoch| !epoch.is_empty()) else { return Ok(0) };
    let seconds = epoch.parse().ok().filter(|seconds| *seconds <= LAST);
    seconds.ok_or_else(|| {
        Failure::Usage(format!("{EPOCH} must be seconds since 1970, such as 1767225600; it is `{epoch}`"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_build_is_read() {
        assert_eq!(created(None), Ok(0));
        assert_eq!(created(Some("")), Ok(0));
        assert_eq!(created(Some("1767225600")), Ok(1_767_225_600));
        for wrong in ["now", "-1", "1.5", "253402300800"] {
            assert!(matches!(created(Some(wrong)), Err(Failure::Usage(_))), "{wrong}");
        }
    }
}
