//! Owns the command that builds the shipped component, `make guest`. Leaves how that is done to the library.

use std::path::{Path, PathBuf};

fn main() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let workspace = package.parent().expect("the package is in the workspace");
    let cargo = std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from);
    match s3_connector_component::build(&cargo, workspace, &workspace.join("target/component")) {
        Ok(file) => println!("{}", file.strip_prefix(workspace).unwrap_or(&file).display()),
        Err(why) => {
            eprintln!("error: {why}");
            std::process::exit(1);
        }
    }
}
