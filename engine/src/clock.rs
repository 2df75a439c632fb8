//! Time, injected so that tests own it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where the driver gets the time from.
pub trait Clock: Send + Sync {
    /// Returns the time since some fixed moment; never goes back. Triggers and intervals use it.
    fn monotonic(&self) -> Duration;

    /// Returns the microseconds since 1970-01-01 UTC.
    fn wall_micros(&self) -> i64;
}

/// The machine's clock.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn wall_micros(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }
}
