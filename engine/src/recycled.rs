//! Memory of batches that were let go, for the next ones: to get new pages from the system for each batch was the
//! largest single cost of a reader thread in a profile of `benches/figures`, ahead of its own code.

use std::ops::RangeInclusive;
use std::sync::{Mutex, PoisonError};

use arrow::buffer::Buffer;
use bytes::Bytes;

/// Vectors kept at most: batches come back one by one, as fast as new ones are made.
const KEPT_MAX: usize = 8;

/// The sizes worth keeping: smaller ones the allocator keeps itself, larger ones are of outliers.
const SIZES: RangeInclusive<usize> = 64 << 10..=2 << 20;

/// What is kept has its old content, so that none of it need be written again before it is overwritten.
static KEPT: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Memory on loan to a batch, which sees the first `used` bytes.
struct Lent {
    data: Vec<u8>,
    used: usize,
}

/// Returns an empty vector: a recycled one, or a new one of `capacity` bytes.
pub fn take(capacity: usize) -> Vec<u8> {
    match kept(capacity) {
        Some(mut data) => {
            data.clear();
            data
        }
        None => Vec::with_capacity(capacity),
    }
}

/// Returns a vector of `len` bytes, whose content is of no meaning: recycled ones, or zeros.
pub fn take_filled(len: usize) -> Vec<u8> {
    match kept(len).filter(|data| data.capacity() >= len) {
        Some(mut data) => {
            data.resize(len, 0);
            data
        }
        None => vec![0; len],
    }
}

/// Returns the bytes as a buffer whose memory is recycled when the last batch lets it go.
pub fn buffer(data: Vec<u8>) -> Buffer {
    let used = data.len();
    first_bytes(data, used)
}

/// Returns the first `used` bytes of `data` as a buffer whose memory is recycled when the last batch lets it go.
///
/// # Panics
/// When there are fewer bytes.
pub fn first_bytes(data: Vec<u8>, used: usize) -> Buffer {
    assert!(used <= data.len(), "{used} of {} bytes", data.len());
    match SIZES.contains(&data.capacity()) {
        true => Buffer::from(Bytes::from_owner(Lent { data, used })),
        false => Buffer::from_vec(data).slice_with_length(0, used),
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.data[..self.used]
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let data = std::mem::take(&mut self.data);
        let mut kept = lock();
        if kept.len() < KEPT_MAX {
            kept.push(data);
        }
    }
}

/// Takes what was let go last, if that is of use for `capacity` bytes.
fn kept(capacity: usize) -> Option<Vec<u8>> {
    SIZES.contains(&capacity).then(|| lock().pop()).flatten()
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

    #[test]
    fn a_filled_vector_has_the_length_asked_for_whatever_is_recycled() {
        for len in [10, 100_000, 1 << 20, 1 << 22] {
            drop(buffer(vec![1; 70_000]));
            let data = take_filled(len);
            assert_eq!(data.len(), len);
            assert_eq!(first_bytes(data, 7).len(), 7);
        }
    }
}
