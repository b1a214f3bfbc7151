//! Owns the component that attacks its host: built when a test first asks for it, in the variant that the test names.
//! Leaves what an attack does to the package `s3-connector-hostile`.
//!
//! It is built by the cargo that builds the tests, into the folder of the shipped component, whose lock keeps test
//! programs that run at the same time apart.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use s3_connector_host::{Component, Connector, Options, Result};

use crate::world;

/// What stands in the file before the variant's name.
const MARK: &[u8] = b"hostile-variant:";

/// Bytes of a name; shorter ones are filled up with blanks.
const NAME_BYTES: usize = 48;

/// The file of a variant. `plain` describes itself as the shipped component does.
///
/// # Panics
///
/// If it can't be built.
pub fn file(variant: &str) -> PathBuf {
    static WRITTEN: AtomicU64 = AtomicU64::new(0);
    static BUILT: OnceLock<(PathBuf, Vec<u8>)> = OnceLock::new();
    let (folder, plain) = BUILT.get_or_init(build);
    assert!(variant.len() <= NAME_BYTES, "the name `{variant}` is too long");
    let mut marks =
        plain.windows(MARK.len()).enumerate().filter(|(_, window)| *window == MARK).map(|(at, _)| at + MARK.len());
    let (at, another) = (marks.next(), marks.next());
    let at = at.expect("the variant's place is in the file");
    assert_eq!(another, None, "and is the only one");
    let mut bytes = plain.clone();
    bytes[at..at + NAME_BYTES].fill(b' ');
    bytes[at..at + variant.len()].copy_from_slice(variant.as_bytes());
    // Moved into its place: another test program may be reading it.
    let file = folder.join(format!("hostile-{variant}.wasm"));
    // Nor does any other test of this one write to the same place.
    let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
    let new = folder.join(format!("hostile-{variant}.{}-{number}.new", std::process::id()));
    fs::write(&new, bytes).expect("the folder can be written to");
    fs::rename(&new, &file).expect("a file can be replaced");
    file
}

/// A variant, compiled and ready.
///
/// # Errors
///
/// The host's, which may refuse the variant's specification.
pub async fn connector(variant: &str) -> Result<Connector> {
    Connector::load(options(variant)).await
}

/// How a variant is loaded.
///
/// # Panics
///
/// If it can't be built.
pub fn options(variant: &str) -> Options {
    Options { component: Some(Component::File(file(variant))), ..world::load() }
}

/// Builds the component; gives the folder that it is in, and its bytes.
fn build() -> (PathBuf, Vec<u8>) {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let workspace = package.parent().expect("tests are in the workspace");
    let target = target_folder().join("component");
    let built = s3_connector_component::compile(Path::new(env!("CARGO")), "s3-connector-hostile", workspace, &target);
    let file = built.expect("the hostile component can be built");
    let folder = file.parent().expect("a file is in a folder").to_owned();
    let bytes = fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    (folder, bytes)
}

/// The folder that this program was built in: it is in `TARGET/PROFILE/deps`, or in `TARGET/PROFILE`.
fn target_folder() -> PathBuf {
    let this = std::env::current_exe().expect("a running program has a path");
    let folder = this.parent().expect("a program is in a folder");
    let up = if folder.ends_with("deps") { 2 } else { 1 };
    folder.ancestors().nth(up).expect("a profile is in a target folder").to_owned()
}
