//! Owns the checks of the component's file: that it fits its world, what it imports, what it says of itself, and that
//! it names no place of the machine that built it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use s3_connector_host::EMBEDDED;
use wit_component::DecodedWasm;
use wit_parser::{Resolve, WorldId, WorldItem, WorldKey};

/// The contract, and one of its worlds.
fn declared(world: &str) -> (Resolve, WorldId) {
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests are in the workspace").join("wit");
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(wit).expect("the contract can be read");
    let world = resolve.select_world(&[package], Some(world)).expect("the world is there");
    (resolve, world)
}

/// The names of what a world imports or exports.
fn names<'w>(resolve: &Resolve, items: impl IntoIterator<Item = (&'w WorldKey, &'w WorldItem)>) -> BTreeSet<String> {
    items.into_iter().map(|(key, _)| resolve.name_world_key(key)).collect()
}

#[test]
fn the_component_targets_each_of_its_worlds() {
    for world in ["connector", "source-connector", "destination-connector"] {
        let (resolve, world) = declared(world);
        if let Err(why) = wit_component::targets(&resolve, world, EMBEDDED) {
            panic!("{why:#}");
        }
    }
}

#[test]
fn it_imports_and_exports_what_its_world_says_and_nothing_else() {
    let (resolve, world) = declared("connector");
    let DecodedWasm::Component(built, built_world) = wit_component::decode(EMBEDDED).expect("it can be read") else {
        panic!("it is a component");
    };
    let (said, done) = (&resolve.worlds[world], &built.worlds[built_world]);
    assert_eq!(names(&built, &done.imports), names(&resolve, &said.imports));
    assert_eq!(names(&built, &done.exports), names(&resolve, &said.exports));
}

/// A component's own custom sections, those of what is in it left out.
fn sections(component: &[u8]) -> Vec<(String, Vec<u8>)> {
    let number = |at: &mut usize| {
        let (mut number, mut shift) = (0, 0);
        loop {
            let byte = component[*at];
            *at += 1;
            number |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return number;
            }
        }
    };
    let (mut at, mut sections) = (8, Vec::new());
    while at < component.len() {
        let kind = component[at];
        at += 1;
        let length = number(&mut at);
        let end = at + length;
        if kind == 0 {
            let length = number(&mut at);
            let name = String::from_utf8(component[at..at + length].to_vec()).expect("names are UTF-8");
            sections.push((name, component[at + length..end].to_vec()));
        }
        at = end;
    }
    sections
}

#[test]
fn it_says_what_it_is() {
    let sections = sections(EMBEDDED);
    let last = |name: &str| {
        let found = sections.iter().rfind(|(known, _)| known == name);
        let (_, content) = found.unwrap_or_else(|| panic!("there is a section `{name}`"));
        String::from_utf8_lossy(content).into_owned()
    };
    assert_eq!(last("version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(last("licenses"), "Apache-2.0");
    assert!(last("description").contains("S3"));
    assert_eq!(last("component-name"), "\0\u{d}\u{c}s3-connector");
}

#[test]
fn it_names_no_place_of_the_machine_that_built_it() {
    let home = std::env::var_os("CARGO_HOME").or_else(|| std::env::var_os("HOME")).map(PathBuf::from);
    let home = home.filter(|home| home.components().count() > 1).map(|home| home.display().to_string());
    // Each user of cargo has a folder of sources; homes are put together here, since no file may name one.
    let places =
        ["/registry/src/", "/.cargo/", concat!("/ho", "me/"), concat!("/ro", "ot/"), env!("CARGO_MANIFEST_DIR")]
            .map(str::to_owned);
    for place in places.into_iter().chain(home) {
        let found = EMBEDDED.windows(place.len()).position(|window| window == place.as_bytes());
        let Some(at) = found else { continue };
        let around = &EMBEDDED[at.saturating_sub(60)..(at + 120).min(EMBEDDED.len())];
        panic!("it names {place}: {}", String::from_utf8_lossy(around));
    }
}
