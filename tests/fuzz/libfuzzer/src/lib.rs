//! Owns what all entries of libFuzzer have in common: it is given the inputs and the words that follow from the code. Leaves targets to
//! `s3-connector-fuzz`, inputs and runs to libFuzzer.

use std::io::Write as _;
use std::path::Path;

pub use libfuzzer_sys;
use s3_connector_fuzz::{Target, named};

/// The entry into the target of that name.
#[macro_export]
macro_rules! entry {
    ($name:literal) => {
        $crate::libfuzzer_sys::fuzz_target!(
            init: $crate::prepare($name),
            |input: &[u8]| ($crate::target($name).run)(input)
        );
    };
}

/// The target of that name.
///
/// # Panics
///
/// Where there is none.
pub fn target(name: &str) -> &'static Target {
    named(name).expect("each entry is of a target")
}

/// Writes what the target begins with to where this process was told to look: inputs into the first folder, words into the dictionary.
///
/// # Panics
///
/// Where a file can't be written.
pub fn prepare(name: &str) {
    let target = target(name);
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if let Some(folder) = arguments.iter().map(Path::new).find(|path| path.is_dir()) {
        for (number, seed) in (target.seeds)().into_iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number}")), seed).expect("the folder can be written to");
        }
    }
    if let Some(path) = arguments.iter().find_map(|argument| argument.strip_prefix("-dict=")) {
        std::fs::write(path, dictionary(target)).expect("the dictionary can be written");
    }
}

/// Words as libFuzzer reads them.
fn dictionary(target: &Target) -> Vec<u8> {
    // An empty file would be refused.
    let mut lines = b"# The words of the target.\n".to_vec();
    for word in target.words.iter().filter(|word| !word.is_empty()) {
        let escaped: String = word.bytes().map(|byte| format!("\\x{byte:02x}")).collect();
        writeln!(lines, "\"{escaped}\"").expect("memory takes all");
    }
    lines
}
