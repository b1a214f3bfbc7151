//! Owns what the linker is told when it makes the component: which imports the stub stands in for. Leaves the rest of the
//! component's build to the package `s3-connector-component`.

use std::path::PathBuf;

/// The imports that `stub.wat` stands in for, by the names that the standard library gives them.
const STUBBED: [&str; 11] = [
    "wasi:cli/environment@0.2.0",
    "wasi:cli/exit@0.2.0",
    "wasi:cli/stderr@0.2.0",
    "wasi:cli/stdin@0.2.0",
    "wasi:cli/stdout@0.2.0",
    "wasi:cli/terminal-input@0.2.0",
    "wasi:cli/terminal-output@0.2.0",
    "wasi:cli/terminal-stderr@0.2.0",
    "wasi:cli/terminal-stdin@0.2.0",
    "wasi:cli/terminal-stdout@0.2.0",
    "wasi:random/insecure-seed@0.2.4",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_FAMILY").as_deref() != Ok("wasm") {
        return;
    }
    let package = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let stub = package.join("stub.wat");
    println!("cargo::rerun-if-changed={}", stub.display());
    for name in STUBBED {
        println!("cargo::rustc-link-arg-cdylib=--adapt={name}={}", stub.display());
    }
}
