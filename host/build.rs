//! Owns which component goes into the binary: the one that `S3_CONNECTOR_COMPONENT` names, or one that is built now. Leaves
//! how it is built to the package `s3-connector-component`.
//!
//! It is built by a cargo of its own, into a folder of its own under the target folder, since this build holds the
//! lock of that one.

use std::path::{Path, PathBuf};

fn main() {
    println!("cargo::rerun-if-env-changed=S3_CONNECTOR_COMPONENT");
    let component = match std::env::var_os("S3_CONNECTOR_COMPONENT") {
        Some(given) => {
            let given = PathBuf::from(given);
            println!("cargo::rerun-if-changed={}", given.display());
            given
        }
        None => build(),
    };
    println!("cargo::rustc-env=S3_CONNECTOR_COMPONENT={}", component.display());
    println!("cargo::rustc-env=S3_CONNECTOR_CODE={}", code().display());
    println!("cargo::rustc-env=S3_CONNECTOR_TARGET={}", std::env::var("TARGET").expect("cargo sets it"));
}

/// The file of the component's code, beside the command, which includes it. It is made empty here; `make build` fills it by
/// the command itself and has the command linked once more. Not watched: a change would have the library compiled again,
/// which has nothing of it.
fn code() -> PathBuf {
    let profile = out_folder().ancestors().nth(3).expect("`PROFILE/build/PACKAGE/out`").to_path_buf();
    let file = profile.join("s3_connector.code");
    if !file.exists() {
        std::fs::write(&file, []).expect("the target folder can be written to");
    }
    file
}

fn build() -> PathBuf {
    // Read now, not when this was compiled: another checkout may use the same target folder.
    let package = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let workspace = package.parent().expect("the host is in a workspace");
    for source in
        ["guest/src", "guest/Cargo.toml", "guest/build.rs", "guest/stub.wat", "wit", "Cargo.toml", "Cargo.lock"]
    {
        println!("cargo::rerun-if-changed={}", workspace.join(source).display());
    }
    let target = target_folder(workspace).join("component");
    let cargo = PathBuf::from(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let built = s3_connector_component::build(&cargo, workspace, &target).expect("the component can be built");
    // A copy, so that this build stands alone. Neither is watched: both are newer than the start of this run, which
    // Cargo would take for a change and compile the host once more.
    let copy = out_folder().join("s3_connector.wasm");
    std::fs::copy(built, &copy).expect("the component is there, and can be copied");
    copy
}

fn out_folder() -> PathBuf {
    PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"))
}

/// The folder that this build is in: `OUT_DIR` is `TARGET/PROFILE/build/PACKAGE/out`, with the triple after
/// `TARGET` where one was given.
fn target_folder(workspace: &Path) -> PathBuf {
    let folder = out_folder().ancestors().nth(4).map_or_else(|| workspace.join("target"), Path::to_path_buf);
    if folder.ends_with(std::env::var("TARGET").unwrap_or_default()) {
        folder.parent().map_or(folder.clone(), Path::to_path_buf)
    } else {
        folder
    }
}
