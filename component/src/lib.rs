//! Owns how components are built: the one command for all who need one (the host's build, `make guest`, tests), so that
//! the same sources give the same bytes, and what is added to the shipped file. Leaves which imports the linker replaces to
//! the guest's own build script.
//!
//! It has no dependencies, since the host's build waits for it.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may fail"))]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What components are compiled for.
pub const TARGET: &str = "wasm32-wasip2";

/// The shipped component's package.
const SHIPPED: &str = "s3-connector";

/// Vectors of 128 bits, which WebAssembly has had since version 2.0: with them, digests take a third of the time.
const SIMD: &str = "-Ctarget-feature=+simd128";

/// What stands in the place of cargo's folder of sources, in the texts of panics.
const REGISTRY: &str = "/cargo";

/// Builds the shipped component. Returns its file, `s3_connector.wasm` in `target`.
///
/// # Errors
///
/// Why it could not be built; cargo has then written what it thinks to stderr.
pub fn build(cargo: &Path, workspace: &Path, target: &Path) -> io::Result<PathBuf> {
    let built = compile(cargo, SHIPPED, workspace, target)?;
    let mut bytes = fs::read(built)?;
    for (name, content) in metadata() {
        append(&mut bytes, name, &content);
    }
    let file = target.join("s3_connector.wasm");
    fs::write(&file, bytes)?;
    Ok(file)
}

/// Compiles the component that a package of the workspace is, into `target`. Returns its file as cargo leaves it.
///
/// # Errors
///
/// As [`build`].
pub fn compile(cargo: &Path, package: &str, workspace: &Path, target: &Path) -> io::Result<PathBuf> {
    let mut command = Command::new(cargo);
    command
        .current_dir(workspace)
        .args(["build", "--locked", "--quiet", "--lib", "--package", package])
        .args(["--profile", "component", "--target", TARGET, "--target-dir"])
        .arg(target)
        .stdin(Stdio::null())
        // A dependency (ahash, through parquet) draws a random number when it is compiled; drawn once for all, the
        // same sources give the same component.
        .env("CONST_RANDOM_SEED", SHIPPED);
    // What was meant for the build that this is part of is not meant for this one.
    for variable in ["RUSTFLAGS", "RUSTC_WORKSPACE_WRAPPER", "RUSTC_WRAPPER", "CARGO_BUILD_TARGET"] {
        command.env_remove(variable);
    }
    command.env("CARGO_ENCODED_RUSTFLAGS", flags(&registries(cargo, workspace)?));
    let status = command.status()?;
    if !status.success() {
        let why = format!("{package} could not be built; is the target there? rustup target add {TARGET}");
        return Err(io::Error::other(why));
    }
    let name = format!("{}.wasm", package.replace('-', "_"));
    Ok(target.join(TARGET).join("component").join(name))
}

/// The folders that cargo unpacks registries into. Panics name files in them, and each user's are elsewhere.
fn registries(cargo: &Path, workspace: &Path) -> io::Result<Vec<PathBuf>> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let Some(home) = variable("CARGO_HOME").or_else(|| variable("HOME").map(|home| home.join(".cargo"))) else {
        return Ok(Vec::new());
    };
    let sources = home.join("registry/src");
    if !sources.is_dir() {
        // The first build on a machine: what is not there yet has no name yet.
        let fetch = ["fetch", "--quiet", "--locked", "--target", TARGET];
        Command::new(cargo).current_dir(workspace).args(fetch).stdin(Stdio::null()).status()?;
    }
    let Ok(entries) = fs::read_dir(sources) else {
        return Ok(Vec::new());
    };
    let mut folders = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    folders.sort();
    Ok(folders)
}

/// The compiler's flags, as cargo takes them: vectors, and another name for these folders.
fn flags(folders: &[PathBuf]) -> String {
    let renamed = folders.iter().map(|folder| format!("--remap-path-prefix={}={REGISTRY}", folder.display()));
    std::iter::once(SIMD.to_owned()).chain(renamed).collect::<Vec<_>>().join("\x1f")
}

/// The sections by which tools, such as those that fill in the annotations of an OCI artifact, know a component.
fn metadata() -> Vec<(&'static str, Vec<u8>)> {
    let texts = [
        ("version", env!("CARGO_PKG_VERSION")),
        ("description", env!("CARGO_PKG_DESCRIPTION")),
        ("licenses", env!("CARGO_PKG_LICENSE")),
        ("source", env!("CARGO_PKG_REPOSITORY")),
    ];
    let mut name = vec![0];
    let mut inner = Vec::new();
    text(&mut inner, SHIPPED);
    number(&mut name, inner.len());
    name.extend(inner);
    let texts = texts.into_iter().filter(|(_, text)| !text.is_empty());
    texts.map(|(name, text)| (name, text.as_bytes().to_vec())).chain([("component-name", name)]).collect()
}

/// Appends a custom section to a component.
fn append(component: &mut Vec<u8>, name: &str, content: &[u8]) {
    let mut section = Vec::new();
    text(&mut section, name);
    section.extend_from_slice(content);
    component.push(0);
    number(component, section.len());
    component.extend(section);
}

/// Writes a text with its length, as WebAssembly does.
fn text(to: &mut Vec<u8>, text: &str) {
    number(to, text.len());
    to.extend_from_slice(text.as_bytes());
}

/// Writes a number in LEB128.
fn number(to: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        to.push(0x80 | (number & 0x7f) as u8);
        number >>= 7;
    }
    to.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_as_webassembly_has_them() {
        let mut component = b"\0asm".to_vec();
        append(&mut component, "version", b"0.1.0");
        assert_eq!(component, b"\0asm\0\x0d\x07version0.1.0");
        let mut long = Vec::new();
        append(&mut long, "x", &[7; 300]);
        // 302 = 2 × 128 + 46.
        assert_eq!(long[..5], [0, 0x80 | 46, 2, 1, b'x']);
        assert_eq!(long.len(), 305);
    }

    #[test]
    fn every_registry_gets_the_same_name() {
        assert_eq!(flags(&[]), SIMD);
        let folders = ["/a/one".into(), "/a/two".into()];
        let renamed = "--remap-path-prefix=/a/one=/cargo\x1f--remap-path-prefix=/a/two=/cargo";
        assert_eq!(flags(&folders), format!("{SIMD}\x1f{renamed}"));
    }
}
