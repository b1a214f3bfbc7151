//! Owns the list of targets. Leaves what must hold to each of them.

mod avro;
mod document;
mod durations;
mod parquet;
mod pipeline_file;
#[cfg(feature = "host")]
mod policy;
mod position;
mod records;
mod rows;
mod settings;
#[cfg(feature = "host")]
mod signature;
mod state;
#[cfg(feature = "host")]
mod state_file;
mod tables;

/// Something that is fuzzed.
#[derive(Debug)]
pub struct Target {
    /// Its name, and that of the folder of its corpus.
    pub name: &'static str,
    /// Panics where a promise does not hold of these bytes.
    pub run: fn(&[u8]),
    /// Inputs to begin with that are not worth a file: they follow from the code.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Words of its format.
    pub words: &'static [&'static str],
}

/// All targets.
pub static TARGETS: &[Target] = &[
    Target { name: "position", run: position::run, seeds: position::seeds, words: &["_s", "_c", "~", "_c0~"] },
    Target { name: "state", run: state::run, seeds: state::seeds, words: &[] },
    #[cfg(feature = "host")]
    Target { name: "state-file", run: state_file::run, seeds: state_file::seeds, words: &[] },
    Target { name: "xml", run: document::run, seeds: Vec::new, words: document::WORDS },
    Target { name: "settings", run: settings::run, seeds: settings::seeds, words: settings::WORDS },
    Target { name: "durations", run: durations::run, seeds: Vec::new, words: durations::WORDS },
    #[cfg(feature = "host")]
    Target { name: "policy", run: policy::run, seeds: Vec::new, words: policy::WORDS },
    Target { name: "records", run: records::run, seeds: Vec::new, words: records::WORDS },
    Target { name: "yaml", run: pipeline_file::run, seeds: Vec::new, words: pipeline_file::WORDS },
    Target { name: "rows", run: rows::run, seeds: rows::seeds, words: rows::WORDS },
    Target { name: "avro", run: avro::run, seeds: avro::seeds, words: avro::WORDS },
    Target { name: "parquet", run: parquet::run, seeds: parquet::seeds, words: &["PAR1"] },
    Target { name: "tables", run: tables::run, seeds: Vec::new, words: tables::WORDS },
];

/// The target of that name.
pub fn named(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What once failed is in the corpora, so that this is the test of it.
    #[test]
    fn every_kept_input_holds() {
        for target in TARGETS {
            let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("corpora").join(target.name);
            let files = std::fs::read_dir(&corpus).map(|entries| entries.map(|entry| entry.unwrap().path()));
            let kept = files.into_iter().flatten().map(|path| std::fs::read(path).unwrap());
            let all: Vec<_> = kept.chain((target.seeds)()).collect();
            assert!(!all.is_empty(), "{} has no inputs", target.name);
            all.iter().for_each(|input| (target.run)(input));
        }
    }
}
