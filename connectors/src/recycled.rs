//! Memory of batches that were let go, for the next ones: to get new pages from the system for each batch was the
//! largest single cost of a reader thread in a profile of `benches/figures`, ahead of its own code.

use std::ops::RangeInclusive;
use std::sync::{Mutex, PoisonError};

use arrow::buffer::Buffer;
use bytes::Bytes;

/// Buffers kept at most: batches come back one by one, as fast as new ones are made.
const KEPT_MAX: usize = 8;

/// The sizes worth keeping: smaller ones the allocator keeps itself, larger ones are of outliers.
const SIZES: RangeInclusive<usize> = 64 << 10..=2 << 20;

static KEPT: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Memory on loan to a batch.
struct Lent(Vec<u8>);

/// Returns an empty vector: a recycled one, or a new one of `capacity` bytes.
pub(crate) fn take(capacity: usize) -> Vec<u8> {
    let kept = SIZES.contains(&capacity).then(|| lock().pop()).flatten();
    kept.unwrap_or_else(|| Vec::with_capacity(capacity))
}

/// Returns the bytes as a buffer whose memory is recycled when the last batch lets it go.
pub(crate) fn buffer(data: Vec<u8>) -> Buffer {
    match SIZES.contains(&data.capacity()) {
        true => Buffer::from(Bytes::from_owner(Lent(data))),
        false => Buffer::from_vec(data),
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut data = std::mem::take(&mut self.0);
        data.clear();
        let mut kept = lock();
        if kept.len() < KEPT_MAX {
            kept.push(data);
        }
    }
}

fn lock() -> std::sync::MutexGuard<'static, Vec<Vec<u8>>> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back_when_the_last_buffer_lets_it_go() {
        let mut data = take(1 << 20);
        data.extend_from_slice(b"some bytes");
        let first = buffer(data);
        let second = first.slice(5);
        drop(first);
        assert_eq!(second.as_slice(), b"bytes");
        drop(second);
        let again = take(1 << 20);
        assert!(again.is_empty() && again.capacity() >= 64 << 10, "{}", again.capacity());
    }

    #[test]
    fn no_more_is_kept_than_needed() {
        let buffers: Vec<_> = (0..3 * KEPT_MAX).map(|_| buffer(Vec::with_capacity(1 << 20))).collect();
        drop(buffers);
        assert!(lock().len() <= KEPT_MAX);
        drop(buffer(Vec::with_capacity(64 << 20)));
        assert!(lock().iter().all(|kept| SIZES.contains(&kept.capacity())));
    }
}
