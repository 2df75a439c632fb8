//! The ways through the kernels: one build runs everywhere, and takes the best way that the processor has.
//!
//! | path | processors | separators | places of tokens |
//! |---|---|---|---|
//! | `avx512` | x86-64 with AVX-512 F, BW and VBMI2 | 64 bytes at once, two shuffles | 16 at once, compressed |
//! | `avx2` | x86-64 with AVX2, BMI1, BMI2 and POPCNT | 32 bytes at once, two shuffles | twelve in a row |
//! | `sse2` | every other x86-64 | 16 bytes at once, range by range | twelve in a row |
//! | `neon` | aarch64 | 16 bytes at once, two table look-ups | twelve in a row |
//! | `portable` | all others | range by range, as the compiler has it | twelve in a row |
//!
//! A kernel that has ways of its own takes a [`Path`] and matches on its level; tests and benchmarks go through
//! [`Path::all`].

use std::sync::LazyLock;

/// A way through the kernels that this processor can go: there is no value of one that it can't.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path(Level);

/// What a path asks of the processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Sse2,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
    Neon,
}

impl Path {
    /// Returns the best path of this processor.
    pub fn best() -> Self {
        static BEST: LazyLock<Path> = LazyLock::new(|| *Path::all().last().expect("the portable path is always there"));
        *BEST
    }

    /// Returns every path of this processor, the best one last.
    pub fn all() -> Vec<Self> {
        LEVELS
            .iter()
            .filter(|level| level.is_supported())
            .copied()
            .map(Self)
            .collect()
    }

    /// Returns the name of the path.
    pub fn name(self) -> &'static str {
        match self.0 {
            Level::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Level::Sse2 => "sse2",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => "avx512",
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Level::Neon => "neon",
        }
    }

    /// Returns what the processor is known to have.
    #[inline]
    pub(super) fn level(self) -> Level {
        self.0
    }
}

/// The levels that the target can have, the best one last.
const LEVELS: &[Level] = &[
    Level::Portable,
    #[cfg(target_arch = "x86_64")]
    Level::Sse2,
    #[cfg(target_arch = "x86_64")]
    Level::Avx2,
    #[cfg(target_arch = "x86_64")]
    Level::Avx512,
    #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
    Level::Neon,
];

impl Level {
    fn is_supported(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Sse2 => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => has_avx2(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => has_avx2() && has_avx512(),
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Self::Neon => std::arch::is_aarch64_feature_detected!("neon"),
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    use std::arch::is_x86_feature_detected as has;
    has!("avx2") && has!("bmi1") && has!("bmi2") && has!("popcnt")
}

#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    use std::arch::is_x86_feature_detected as has;
    has!("avx512f") && has!("avx512bw") && has!("avx512vbmi2")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_portable_path_is_always_there_and_the_best_is_one_of_all() {
        let paths = Path::all();
        assert_eq!(paths[0].name(), "portable");
        assert_eq!(paths.last(), Some(&Path::best()));
        let names: HashSet<_> = paths.iter().map(|path| path.name()).collect();
        assert_eq!(names.len(), paths.len());
    }

    #[test]
    fn a_vector_path_is_taken_where_the_target_always_has_one() {
        let is_expected = cfg!(any(
            target_arch = "x86_64",
            all(target_arch = "aarch64", target_endian = "little")
        ));
        assert_eq!(Path::best().name() != "portable", is_expected);
    }
}
