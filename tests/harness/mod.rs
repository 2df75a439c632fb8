//! What the tests stand on: a real Kafka broker, the built program as a child process, scratch folders, seeds.

pub(crate) mod broker;
pub(crate) mod duckdb;
pub(crate) mod groups;
pub(crate) mod jvm;
pub(crate) mod leash;
pub(crate) mod parquet;
pub(crate) mod ports;
pub(crate) mod process;
pub(crate) mod records;
#[cfg(feature = "object-store")]
pub(crate) mod s3;
pub(crate) mod scratch;
pub(crate) mod seeded;
pub(crate) mod topics;

use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for what should be there in an instant or a few seconds, before it fails.
/// Generous, since continuous integration shares its two cores with a broker.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How often a condition is looked at while waiting for it.
const POLL: Duration = Duration::from_millis(10);

/// Waits until `look` finds something and returns it.
///
/// # Panics
/// When nothing was found within `patience`; the message says that `what` was awaited.
#[track_caller]
pub(crate) fn eventually<T>(patience: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {patience:?} in vain: {what}");
        thread::sleep(POLL);
    }
}
