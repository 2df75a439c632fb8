//! A few thousand changed inputs of each corpus, the same in every run: what continuous integration does of fuzzing. libFuzzer
//! looks further, but needs the project built once more, with its instruments.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

use super::TARGETS;

/// Changed inputs of a target: a second or two of work for all targets together.
const CASES: u32 = 4000;

/// Changes of one input at most.
const CHANGES_MAX: usize = 8;

/// Bytes that readers decide by: separators, quotes, signs, ends of ranges.
const DECIDING: &[u8] = b"\0\n\r\t \"',:;=[]{}<>\\-+.eE09aZ\x7f\x80\xbf\xc0\xe2\xf4\xff";

/// A change of an input; places are shares of its length.
#[derive(Clone, Debug)]
enum Change {
    Flip(f64, u8),
    Set(f64, u8),
    Insert(f64, u8),
    Remove(f64, usize),
    Repeat(f64, usize),
    CutOff(f64),
}

impl Change {
    fn any() -> impl Strategy<Value = Self> {
        let place = 0.0..1.0;
        let byte = || prop_oneof![any::<u8>(), prop::sample::select(DECIDING)];
        prop_oneof![
            (place.clone(), 0..8_u8).prop_map(|(place, bit)| Self::Flip(place, bit)),
            (place.clone(), byte()).prop_map(|(place, byte)| Self::Set(place, byte)),
            (place.clone(), byte()).prop_map(|(place, byte)| Self::Insert(place, byte)),
            (place.clone(), 1..20_usize).prop_map(|(place, length)| Self::Remove(place, length)),
            (place.clone(), 1..40_usize).prop_map(|(place, length)| Self::Repeat(place, length)),
            place.prop_map(Self::CutOff),
        ]
    }

    fn apply(&self, input: &mut Vec<u8>) {
        let at = |place: f64| place_in(input.len(), place);
        match *self {
            Self::Insert(place, byte) => input.insert(at(place), byte),
            _ if input.is_empty() => {}
            Self::Flip(place, bit) => {
                let at = at(place);
                input[at] ^= 1 << bit;
            }
            Self::Set(place, byte) => {
                let at = at(place);
                input[at] = byte;
            }
            Self::Remove(place, length) => {
                let from = at(place);
                drop(input.drain(from..(from + length).min(input.len())));
            }
            Self::Repeat(place, length) => {
                let from = at(place);
                let part = input[from..(from + length).min(input.len())].to_vec();
                drop(input.splice(from..from, part));
            }
            Self::CutOff(place) => input.truncate(at(place)),
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "any place will do"
)]
fn place_in(length: usize, share: f64) -> usize {
    (length as f64 * share) as usize
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("a file of the corpus").path())
        .collect();
    // The order of a folder's files is not the same everywhere, and the inputs are to be.
    paths.sort();
    paths
        .iter()
        .map(|path| fs::read(path).expect("a file of the corpus"))
        .collect()
}

#[test]
fn every_target_takes_changed_inputs_of_its_corpus() {
    for (name, run) in TARGETS {
        let config = ProptestConfig {
            cases: CASES,
            failure_persistence: None,
            ..ProptestConfig::default()
        };
        let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
        let changes = prop::collection::vec(Change::any(), 1..=CHANGES_MAX);
        let inputs = (prop::sample::select(corpus(name)), changes).prop_map(|(mut input, changes)| {
            changes.iter().for_each(|change| change.apply(&mut input));
            input
        });
        let outcome = runner.run(&inputs, |input| {
            run(&input);
            Ok(())
        });
        outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}
