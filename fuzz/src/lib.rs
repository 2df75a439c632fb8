//! Targets for fuzzing: each takes any bytes, and panics if what reads them does not keep its promises.
//!
//! A target is a file here, a line in [`TARGETS`] and a folder of inputs in `corpus/`. `make fuzz` lets libFuzzer look
//! for more; the tests run each target over its corpus, and over some thousand changed inputs of it.

mod avro_schema;
mod decoders;
mod job_file;
#[cfg(test)]
mod mutations;
mod record_batches;

/// What runs over inputs.
pub type Target = fn(&[u8]);

/// The targets by name, which is also the name of the folder of their corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("avro", |input| decoders::run("avro", input)),
    ("avro_schema", avro_schema::run),
    ("combined", |input| decoders::run("combined", input)),
    ("common", |input| decoders::run("common", input)),
    ("csv", |input| decoders::run("csv", input)),
    ("grok", |input| decoders::run("grok", input)),
    ("job_file", job_file::run),
    ("json", |input| decoders::run("json", input)),
    ("lines", |input| decoders::run("lines", input)),
    ("list", |input| decoders::run("list", input)),
    ("logfmt", |input| decoders::run("logfmt", input)),
    ("record_batches", record_batches::run),
    ("regex", |input| decoders::run("regex", input)),
    ("syslog", |input| decoders::run("syslog", input)),
    ("tsv", |input| decoders::run("tsv", input)),
];

/// Returns the target of this name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, run)| *run)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    fn paths(folder: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut paths: Vec<_> = entries
            .map(|entry| entry.expect("a file of the corpus").path())
            .collect();
        paths.sort();
        paths
    }

    #[test]
    fn every_format_has_a_target() {
        for entry in connectors::decode::registry::ENTRIES {
            assert!(target(entry.name).is_some(), "{}", entry.name);
        }
    }

    #[test]
    fn every_target_takes_its_corpus() {
        let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
        let folders = paths(&corpora);
        let mut expected: Vec<_> = TARGETS.iter().map(|(name, _)| corpora.join(name)).collect();
        expected.sort();
        assert_eq!(folders, expected, "a folder a target");
        for (name, run) in TARGETS {
            let inputs = paths(&corpora.join(name));
            assert!(!inputs.is_empty(), "{name} has no inputs");
            for input in inputs {
                let bytes = fs::read(&input).expect("a file of the corpus");
                let result = std::panic::catch_unwind(|| run(&bytes));
                assert!(result.is_ok(), "{name} does not take {}", input.display());
            }
        }
    }
}
