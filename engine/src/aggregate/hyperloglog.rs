//! A HyperLogLog sketch: how many different hashes it has seen, in 16 KiB at most.
//!
//! ```text
//! dense    2^14 registers: the hash's high 14 bits choose one, which keeps the greatest run of zeros (plus one) of the rest
//! sparse   up to 2048 sorted numbers: the high 25 bits, then the run of zeros of the rest in 6 bits
//! ```
//! The sparse form is that of HyperLogLog++ (Heule, Nunkesser, Hall: "HyperLogLog in Practice", 2013), the estimate of the
//! dense one Ertl's ("New cardinality estimation algorithms for HyperLogLog sketches", 2017, algorithm 6), which needs
//! no tables of corrections. Whether a sketch is sparse depends on the hashes it has seen and not on their order, so
//! equal sets have equal sketches.

use crate::error::{Error, Result};
use crate::memory;

/// High bits of the hash that choose a register; the standard error is 1.04 / sqrt(2^14) = 0.81 %.
const PRECISION: u32 = 14;
const REGISTERS: usize = 1 << PRECISION;

/// The greatest value of a register: all bits after the chosen ones are zero.
const RANK_MAX: usize = 64 - PRECISION as usize + 1;

/// High bits of the hash that the sparse form keeps.
const SPARSE_PRECISION: u32 = 25;
const RANK_BITS: u32 = 6;

/// Numbers of the sparse form: 8 KiB, half of the dense one, since a growing vector may be twice as large.
const SPARSE_MAX: usize = REGISTERS / 8;

/// A sketch of a set of hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sketch {
    Sparse(Vec<u32>),
    Dense(Box<[u8]>),
}

impl Default for Sketch {
    fn default() -> Self {
        Self::Sparse(Vec::new())
    }
}

impl Sketch {
    /// Takes in a hash whose bits are all random.
    #[inline]
    pub(super) fn insert(&mut self, hash: u64) {
        match self {
            Self::Sparse(_) => self.insert_sparse(sparse(hash)),
            Self::Dense(registers) => {
                let register = &mut registers[(hash >> (64 - PRECISION)) as usize];
                *register = (*register).max(rank(hash, PRECISION));
            }
        }
    }

    /// Takes in what another sketch has seen, from its [`bytes`](Self::append_to).
    ///
    /// # Errors
    /// When the bytes are no sketch.
    pub(super) fn merge(&mut self, bytes: &[u8]) -> Result<()> {
        match bytes.as_chunks::<4>() {
            _ if bytes.len() == REGISTERS => {
                let registers = self.dense();
                registers
                    .iter_mut()
                    .zip(bytes)
                    .for_each(|(mine, theirs)| *mine = (*mine).max(*theirs));
            }
            (numbers, []) if numbers.len() <= SPARSE_MAX => {
                let numbers = numbers.iter().map(|number| u32::from_le_bytes(*number));
                numbers.for_each(|number| self.insert_sparse(number));
            }
            _ => {
                let found = bytes.len();
                return Err(Error::Invalid(format!(
                    "a state of approx_distinct can't have {found} bytes"
                )));
            }
        }
        Ok(())
    }

    /// Appends the sketch as bytes.
    pub(super) fn append_to(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Sparse(numbers) => bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes())),
            Self::Dense(registers) => bytes.extend_from_slice(registers),
        }
    }

    /// Returns the bytes that the sketch owns.
    pub(super) fn memory(&self) -> usize {
        match self {
            Self::Sparse(numbers) => memory::of(numbers),
            Self::Dense(registers) => registers.len(),
        }
    }

    pub(super) fn is_dense(&self) -> bool {
        matches!(self, Self::Dense(_))
    }

    /// Returns the number of different hashes, about.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "an estimate of at most 2^64 is no exact number"
    )]
    pub(super) fn estimate(&self) -> i64 {
        let estimate = match self {
            Self::Sparse(numbers) => {
                // Linear counting: by how much random hashes fall into the same of 2^25 places.
                let places = f64::from(1_u32 << SPARSE_PRECISION);
                -places * (-(numbers.len() as f64) / places).ln_1p()
            }
            Self::Dense(registers) => estimate(registers),
        };
        estimate.round() as i64
    }

    /// Takes in a number of the sparse form.
    fn insert_sparse(&mut self, number: u32) {
        let numbers = match self {
            Self::Sparse(numbers) => numbers,
            Self::Dense(registers) => return raise(registers, number),
        };
        let at = numbers.partition_point(|&kept| kept >> RANK_BITS < number >> RANK_BITS);
        let is_known = numbers
            .get(at)
            .is_some_and(|&kept| kept >> RANK_BITS == number >> RANK_BITS);
        if is_known {
            numbers[at] = numbers[at].max(number);
        } else if numbers.len() < SPARSE_MAX {
            numbers.insert(at, number);
        } else {
            raise(self.dense(), number);
        }
    }

    /// Turns the sketch into a dense one.
    fn dense(&mut self) -> &mut [u8] {
        if let Self::Sparse(numbers) = self {
            let mut registers = vec![0; REGISTERS].into_boxed_slice();
            numbers.iter().for_each(|&number| raise(&mut registers, number));
            *self = Self::Dense(registers);
        }
        match self {
            Self::Dense(registers) => registers,
            Self::Sparse(_) => unreachable!("it has just been made dense"),
        }
    }
}

/// Returns one more than the zeros that follow the first `precision` bits.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "at most 64")]
fn rank(hash: u64, precision: u32) -> u8 {
    // The bit that is set after the last one ends the run.
    let rest = hash << precision | 1 << (precision - 1);
    rest.leading_zeros() as u8 + 1
}

#[inline]
fn sparse(hash: u64) -> u32 {
    let place = (hash >> (64 - SPARSE_PRECISION)) as u32;
    place << RANK_BITS | u32::from(rank(hash, SPARSE_PRECISION))
}

/// Takes a number of the sparse form into registers.
#[expect(clippy::cast_possible_truncation, reason = "ranks are below 64")]
fn raise(registers: &mut [u8], number: u32) {
    const MORE: u32 = SPARSE_PRECISION - PRECISION;
    let place = number >> RANK_BITS & ((1 << SPARSE_PRECISION) - 1);
    // The bits between those of the register and those of the place, at the top.
    let between = place << (32 - MORE);
    let rank = match between {
        0 => MORE as u8 + (number & ((1 << RANK_BITS) - 1)) as u8,
        _ => between.leading_zeros() as u8 + 1,
    };
    let register = &mut registers[(place >> MORE) as usize];
    *register = (*register).max(rank);
}

/// Ertl's improved raw estimate.
#[expect(clippy::cast_precision_loss, reason = "at most 2^14")]
fn estimate(registers: &[u8]) -> f64 {
    let mut counts = [0_usize; RANK_MAX + 1];
    for &register in registers {
        counts[usize::from(register).min(RANK_MAX)] += 1;
    }
    let all = REGISTERS as f64;
    let mut sum = all * tau(1.0 - counts[RANK_MAX] as f64 / all);
    for &count in counts[1..RANK_MAX].iter().rev() {
        sum = 0.5 * (sum + count as f64);
    }
    sum += all * sigma(counts[0] as f64 / all);
    all * all / (2.0 * std::f64::consts::LN_2 * sum)
}

/// The sum of x^(2^k) 2^(k-1) over k, from x on.
fn sigma(mut x: f64) -> f64 {
    let (mut power, mut sum) = (1.0, x);
    loop {
        x *= x;
        let before = sum;
        sum += x * power;
        power += power;
        if sum == before || sum.is_infinite() {
            return sum;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut power, mut sum) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = sum;
        power *= 0.5;
        sum -= (1.0 - x) * (1.0 - x) * power;
        if sum == before {
            return sum / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hashes of a run of numbers: splitmix64, whose outputs are all different.
    fn hashes(from: u64, count: u64) -> impl Iterator<Item = u64> {
        (from..from + count).map(|number| {
            let mut hash = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            hash ^ hash >> 31
        })
    }

    fn sketch(hashes: impl Iterator<Item = u64>) -> Sketch {
        let mut sketch = Sketch::default();
        hashes.for_each(|hash| sketch.insert(hash));
        sketch
    }

    #[test]
    fn the_sparse_form_loses_no_register() {
        let mut registers = vec![0; REGISTERS];
        let edges = [0, 1, u64::MAX, 1 << 63, 1 << 39, 1 << 38, 1 << 49, 1 << 50];
        for hash in hashes(0, 100_000).chain(edges) {
            registers.fill(0);
            raise(&mut registers, sparse(hash));
            let place = (hash >> (64 - PRECISION)) as usize;
            assert_eq!(registers[place], rank(hash, PRECISION), "{hash:x}");
        }
    }

    #[test]
    fn small_sets_are_counted_within_one() {
        for count in [0_u32, 1, 2, 10, 100, 1000, 2000] {
            let sketch = sketch(hashes(u64::from(count) << 32, u64::from(count)));
            assert!(!sketch.is_dense());
            assert!((sketch.estimate() - i64::from(count)).abs() <= 1, "{count}");
        }
    }

    #[test]
    fn large_sets_are_counted_within_three_standard_errors() {
        for (count, rounds) in [(2100, 20), (10_000, 20), (40_000, 10), (100_000, 5), (1_000_000, 2)] {
            let mut errors = 0.0;
            for round in 0..rounds {
                let estimate = sketch(hashes(round << 32, count)).estimate();
                let error = estimate as f64 / count as f64 - 1.0;
                assert!(error.abs() < 3.0 * 0.0081, "{estimate} of {count}");
                errors += error;
            }
            let mean = errors / rounds as f64;
            assert!(
                mean.abs() < 3.0 * 0.0081 / (rounds as f64).sqrt(),
                "{count}: biased by {mean}"
            );
        }
    }

    #[test]
    fn equal_sets_have_equal_sketches_however_they_are_merged() {
        for count in [10, 2047, 2048, 2049, 5000] {
            let all: Vec<u64> = hashes(7, count).collect();
            let whole = sketch(all.iter().copied());
            let mut merged = Sketch::default();
            for part in all.rchunks(700) {
                let mut bytes = vec![];
                sketch(part.iter().rev().copied()).append_to(&mut bytes);
                merged.merge(&bytes).expect("a sketch");
            }
            assert_eq!(merged, whole, "{count}");
            let mut bytes = vec![];
            whole.append_to(&mut bytes);
            let mut again = Sketch::default();
            again.merge(&bytes).expect("a sketch");
            assert_eq!(again, whole, "{count}");
        }
    }

    #[test]
    fn bytes_that_are_no_sketch_are_refused() {
        for length in [1, 6, SPARSE_MAX * 4 + 4, REGISTERS - 4, REGISTERS + 4] {
            let error = Sketch::default().merge(&vec![0; length]).expect_err("no sketch");
            assert!(error.to_string().contains(&length.to_string()), "{error}");
        }
        Sketch::default()
            .merge(&[0xff; REGISTERS])
            .expect("registers that are too large are still registers");
    }
}
