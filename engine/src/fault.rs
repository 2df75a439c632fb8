//! Named points at which a test can kill the process, to prove that a crash there loses and doubles nothing.
//!
//! Debug builds read `MILLSTREAM_CRASH_AT=NAME` or `NAME:K` (the K-th time it is passed, from 1) and end the process there,
//! with no clean-up, as SIGKILL would. Release builds contain none of it.

/// Every crash point, in the order in which an epoch passes them.
pub const POINTS: &[&str] = &[
    "mid_epoch",
    "after_snapshot",
    "mid_file",
    "after_prepare",
    "before_store_rename",
    "after_store_rename",
    "mid_commit",
    "between_commits",
    "after_commit",
    "after_acknowledge",
];

/// Every crash point of an archive, in the order in which it passes them; the first five once or more for each file.
pub const ARCHIVE_POINTS: &[&str] = &[
    "archive_mid_file",
    "archive_before_journal",
    "archive_after_journal",
    "archive_mid_publish",
    "archive_after_publish",
    "archive_after_manifest",
    "archive_after_header",
];

/// Ends the process here if the environment asks for it.
///
/// # Panics
/// In debug builds, when `name` is not one of [`POINTS`] or [`ARCHIVE_POINTS`].
#[inline]
pub fn point(name: &str) {
    #[cfg(debug_assertions)]
    armed::pass(name);
    #[cfg(not(debug_assertions))]
    let _ = name;
}

/// Returns how many batches a micro-batch has at most: where the environment of a debug build says so in
/// `MILLSTREAM_BATCHES_MAX`, for tests of several epochs whatever the machine's speed.
#[inline]
pub fn batches_max() -> usize {
    #[cfg(debug_assertions)]
    return armed::batches_max();
    #[cfg(not(debug_assertions))]
    usize::MAX
}

#[cfg(debug_assertions)]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static ARMED: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);

    pub(super) fn pass(name: &str) {
        let is_listed = super::POINTS.contains(&name) || super::ARCHIVE_POINTS.contains(&name);
        assert!(is_listed, "{name} is listed");
        let Some((armed, count)) = ARMED.get_or_init(read) else {
            return;
        };
        if armed == name && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == *count {
            std::process::abort();
        }
    }

    pub(super) fn batches_max() -> usize {
        static MAX: OnceLock<usize> = OnceLock::new();
        *MAX.get_or_init(|| {
            let text = std::env::var("MILLSTREAM_BATCHES_MAX").ok();
            text.and_then(|text| text.parse().ok()).unwrap_or(usize::MAX)
        })
    }

    fn read() -> Option<(String, u64)> {
        let text = std::env::var("MILLSTREAM_CRASH_AT").ok()?;
        match text.split_once(':') {
            Some((name, count)) => Some((name.to_owned(), count.parse().ok()?)),
            None => Some((text, 1)),
        }
    }
}
