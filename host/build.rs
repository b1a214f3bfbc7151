//! Owns which component goes into the binary, the one that `S3_CONNECTOR_COMPONENT` names or one that is built now, and what the binary
//! says that it was built from. Leaves how the component is built to the package `s3-connector-component`.
//!
//! It is built by a cargo of its own, into a folder of its own under the target folder, since this build holds the
//! lock of that one.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Digits of a commit that are shown.
const COMMIT_DIGITS: usize = 12;

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
    let workspace = workspace();
    println!("cargo::rustc-env=S3_CONNECTOR_COMMIT={}", commit(&workspace));
    println!("cargo::rustc-env=S3_CONNECTOR_WASMTIME={}", wasmtime(&workspace));
}

fn workspace() -> PathBuf {
    // Read now, not when this was compiled: another checkout may use the same target folder.
    let package = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    package.parent().expect("the host is in a workspace").to_path_buf()
}

/// The commit that is built: `S3_CONNECTOR_COMMIT`, for builds from an archive, or the repository's. Builds for tests have none, since
/// each commit would have the library compiled once more. Empty where it is not known.
fn commit(workspace: &Path) -> String {
    println!("cargo::rerun-if-env-changed=S3_CONNECTOR_COMMIT");
    if let Ok(given) = std::env::var("S3_CONNECTOR_COMMIT") {
        let is_one = given.len() >= 7 && given.bytes().all(|byte| byte.is_ascii_hexdigit());
        assert!(is_one, "S3_CONNECTOR_COMMIT must be 7 or more hexadecimal digits, not `{given}`");
        return given[..given.len().min(COMMIT_DIGITS)].to_owned();
    }
    let is_release = out_folder().ancestors().nth(3).is_some_and(|profile| profile.ends_with("release"));
    // An archive that was unpacked in somebody else's repository is not of that one.
    let is_ours = git(workspace, &["rev-parse", "--show-toplevel"])
        .is_some_and(|top| Path::new(&top).canonicalize().ok() == workspace.canonicalize().ok());
    let Some(commit) = git(workspace, &["rev-parse", "--verify", "HEAD"]).filter(|_| is_release && is_ours) else {
        return String::new();
    };
    // What changes with a commit. In a worktree these are not below `.git`; a branch without a file of its own is in `packed-refs`, and
    // a file that is not there would have this run each time.
    let branch = git(workspace, &["symbolic-ref", "--quiet", "HEAD"]);
    for name in ["HEAD", "logs/HEAD", "packed-refs"].into_iter().chain(branch.as_deref()) {
        let path = git(workspace, &["rev-parse", "--git-path", name]).map(|path| workspace.join(path));
        if let Some(path) = path.filter(|path| path.exists()) {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    println!("cargo::rerun-if-changed={}", workspace.join("host/src").display());
    let is_changed =
        git(workspace, &["status", "--porcelain", "--untracked-files=no"]).is_none_or(|changes| !changes.is_empty());
    format!("{}{}", &commit[..commit.len().min(COMMIT_DIGITS)], if is_changed { " with changes" } else { "" })
}

/// What git prints; `None` where it fails, or is not there.
fn git(workspace: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").current_dir(workspace).args(arguments).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim_end().to_owned())
}

/// The release of wasmtime, out of the lock.
fn wasmtime(workspace: &Path) -> String {
    let lock = workspace.join("Cargo.lock");
    println!("cargo::rerun-if-changed={}", lock.display());
    let text = std::fs::read_to_string(lock).expect("a workspace that is built has a lock");
    let (_, rest) = text.split_once("name = \"wasmtime\"\nversion = \"").expect("the host runs on wasmtime");
    rest.split('"').next().unwrap_or_default().to_owned()
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
    let workspace = &workspace();
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
