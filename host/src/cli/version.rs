//! Owns what `--version` says: version, commit, component and engine. Leaves finding the commit to the build script.

use std::sync::LazyLock;

use s3_connector_host::EMBEDDED;
use s3_connector_host::registry::Digest;

/// What `--version` says, made once it is asked for.
static LONG: LazyLock<String> = LazyLock::new(describe);

/// The version, and what this program was built from. `-V` says the version alone.
pub(super) fn long() -> &'static str {
    &LONG
}

fn describe() -> String {
    let commit = match env!("S3_CONNECTOR_COMMIT") {
        "" => String::new(),
        commit => format!("commit {commit}, "),
    };
    let digest = Digest::of(EMBEDDED);
    let (version, wasmtime) = (env!("CARGO_PKG_VERSION"), env!("S3_CONNECTOR_WASMTIME"));
    format!("{version} ({commit}component {digest}, wasmtime {wasmtime})")
}
