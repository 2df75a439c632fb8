//! How fast records are read at most.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a thread that waits sleeps before it looks at the stop signal again.
const STOP_CHECK: Duration = Duration::from_millis(100);

/// A limit of bytes a second that threads share.
#[derive(Debug)]
pub(super) struct Pace {
    bytes_per_second: f64,
    /// When the bytes that were let through are due.
    due: Mutex<Instant>,
}

impl Pace {
    pub(super) fn new(bytes_per_second: f64) -> Self {
        Self {
            bytes_per_second,
            due: Mutex::new(Instant::now()),
        }
    }

    /// Returns when a thread that has `bytes` more may go on. Time that was not used is not saved up.
    fn book(&self, bytes: usize, now: Instant) -> Instant {
        #[expect(clippy::cast_precision_loss, reason = "a batch has fewer than 2^52 bytes")]
        let cost = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second);
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let start = (*due).max(now);
        *due = start + cost;
        start
    }

    /// Waits until `bytes` more may be taken in, or `is_over`.
    pub(super) fn wait(&self, bytes: usize, is_over: impl Fn() -> bool) {
        let until = self.book(bytes, Instant::now());
        while !is_over() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            thread::sleep(left.min(STOP_CHECK));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_due_at_the_rate_and_idle_time_is_not_saved() {
        let pace = Pace::new(1000.0);
        let start = Instant::now() + Duration::from_secs(1);
        let second = Duration::from_secs(1);
        assert_eq!(pace.book(500, start), start);
        assert_eq!(pace.book(1000, start), start + second / 2);
        assert_eq!(pace.book(1, start), start + second * 3 / 2);
        let later = start + 10 * second;
        assert_eq!(pace.book(1000, later), later);
        assert_eq!(pace.book(1000, later), later + second);
    }
}
