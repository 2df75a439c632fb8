//! Random choices that can be repeated: the seed is printed when a test fails.

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::time::Duration;

/// Set this to a printed seed to repeat a failed test's choices.
const SEED_VARIABLE: &str = "MILLSTREAM_TEST_SEED";

/// A pseudo-random generator (SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).
#[derive(Debug)]
pub(crate) struct Seeded {
    seed: u64,
    state: u64,
    is_reported: bool,
}

impl Seeded {
    /// Returns a generator seeded by `MILLSTREAM_TEST_SEED`, or afresh; it prints its seed when the test panics.
    ///
    /// # Panics
    /// When `MILLSTREAM_TEST_SEED` is not a number.
    pub(crate) fn new() -> Self {
        let fresh = Self::from_entropy();
        let seed = match std::env::var(SEED_VARIABLE) {
            Ok(text) => text.parse().expect("MILLSTREAM_TEST_SEED is a number"),
            Err(_) => fresh.seed,
        };
        Self {
            is_reported: true,
            ..Self::from_seed(seed)
        }
    }

    /// Returns a generator that makes the same choices for the same seed.
    pub(crate) fn from_seed(seed: u64) -> Self {
        Self {
            seed,
            state: seed,
            is_reported: false,
        }
    }

    /// Returns a generator that differs from run to run, for choices that a test's outcome does not depend on.
    pub(crate) fn from_entropy() -> Self {
        Self::from_seed(RandomState::new().hash_one(std::process::id()))
    }

    /// Returns the next 64 random bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number of the half-open `range`.
    ///
    /// # Panics
    /// When the range is empty.
    pub(crate) fn in_range(&mut self, range: Range<u64>) -> u64 {
        assert!(!range.is_empty(), "the range {range:?} holds a number");
        // The bias of the remainder is below 2^-32 for the small ranges of tests.
        range.start + self.next() % (range.end - range.start)
    }

    /// Returns a time between `least` and `most`, to the millisecond: the moment at which to kill.
    pub(crate) fn time_between(&mut self, least: Duration, most: Duration) -> Duration {
        let millis = |time: Duration| u64::try_from(time.as_millis()).expect("a time that a test can wait");
        Duration::from_millis(self.in_range(millis(least)..millis(most) + 1))
    }

    /// Waits for a random time of at most `most`. The moment at which a process is killed is such a test's input: nothing is
    /// waited for, so there is no condition to wait on.
    pub(crate) fn wait_at_most(&mut self, most: Duration) {
        std::thread::sleep(self.time_between(Duration::ZERO, most));
    }
}

impl Drop for Seeded {
    fn drop(&mut self) {
        if self.is_reported && std::thread::panicking() {
            eprintln!("to repeat the random choices: {SEED_VARIABLE}={}", self.seed);
        }
    }
}
