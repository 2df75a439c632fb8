//! A queue bounded in bytes: what waits in it, and what was taken out but not yet let go, fits a budget.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel as channel;

/// Entries that may wait at once. Bytes are the real bound; this one caps what empty events cost.
const ENTRIES_MAX: usize = 4096;

/// How long a sender waits for room before it looks again whether the queue was closed.
const CLOSED_CHECK: Duration = Duration::from_millis(100);

/// The receiver takes no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the queue is closed")]
pub struct Closed;

/// The end that many threads put entries in.
#[derive(Debug)]
pub struct Sender<T> {
    entries: channel::Sender<(T, Permit)>,
    budget: Arc<Budget>,
    /// The bytes that may be in use when this sender puts more in.
    limit: usize,
    number: usize,
}

/// The end that the driver takes entries from. Closes the queue when it is dropped.
#[derive(Debug)]
pub struct Receiver<T> {
    entries: channel::Receiver<(T, Permit)>,
    budget: Arc<Budget>,
}

/// Room in a queue, given back on drop.
#[derive(Debug)]
pub struct Permit {
    bytes: usize,
    sender: usize,
    budget: Arc<Budget>,
}

#[derive(Debug)]
struct Budget {
    used: Mutex<usize>,
    freed: Condvar,
    closed: AtomicBool,
}

/// Returns the two ends of a queue that holds `limit` bytes. One entry larger than that still passes, alone.
pub fn bounded<T>(limit: usize) -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = channel::bounded(ENTRIES_MAX);
    let budget = Arc::new(Budget {
        used: Mutex::new(0),
        freed: Condvar::new(),
        closed: AtomicBool::new(false),
    });
    let sender = Sender {
        entries: sender,
        budget: Arc::clone(&budget),
        limit,
        number: 0,
    };
    let receiver = Receiver {
        entries: receiver,
        budget,
    };
    (sender, receiver)
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self {
            entries: self.entries.clone(),
            budget: Arc::clone(&self.budget),
            limit: self.limit,
            number: self.number,
        }
    }
}

impl<T> Sender<T> {
    /// Returns the sender with a bound of its own, if `bytes` is less than the queue's.
    pub fn bounded_to(self, bytes: usize) -> Self {
        let limit = self.limit.min(bytes);
        Self { limit, ..self }
    }

    /// Returns the sender with a number, by which the receiver tells its entries from those of others.
    pub fn numbered(self, number: usize) -> Self {
        Self { number, ..self }
    }

    /// Puts an entry of `bytes` bytes in, waiting while there is no room.
    ///
    /// # Errors
    /// [`Closed`] when the receiver takes no more.
    pub fn send(&self, entry: T, bytes: usize) -> Result<(), Closed> {
        let permit = Budget::acquire(&self.budget, bytes, self)?;
        self.entries.send((entry, permit)).map_err(|_| Closed)
    }

    /// Returns whether the receiver takes no more.
    pub fn is_closed(&self) -> bool {
        self.budget.closed.load(Ordering::Acquire)
    }
}

impl<T> Receiver<T> {
    /// Takes the next entry, waiting at most `timeout`. `None` when none came.
    pub fn receive(&self, timeout: Duration) -> Option<(T, Permit)> {
        self.entries.recv_timeout(timeout).ok()
    }

    /// Closes the queue: waiting and future senders get [`Closed`], entries in it are dropped.
    pub fn close(&self) {
        self.budget.closed.store(true, Ordering::Release);
        self.budget.freed.notify_all();
        while self.entries.try_recv().is_ok() {}
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.close();
    }
}

impl Budget {
    fn acquire<T>(budget: &Arc<Self>, bytes: usize, sender: &Sender<T>) -> Result<Permit, Closed> {
        let mut used = budget.used.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if budget.closed.load(Ordering::Acquire) {
                return Err(Closed);
            }
            if *used == 0 || *used + bytes <= sender.limit {
                *used += bytes;
                let budget = Arc::clone(budget);
                let sender = sender.number;
                return Ok(Permit { bytes, sender, budget });
            }
            let waited = budget.freed.wait_timeout(used, CLOSED_CHECK);
            used = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Permit {
    /// Returns the number of the sender by which the entry came: 0 unless it has one.
    pub fn sender(&self) -> usize {
        self.sender
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        *self.budget.used.lock().unwrap_or_else(PoisonError::into_inner) -= self.bytes;
        self.budget.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn a_full_queue_makes_the_sender_wait_until_room_is_given_back() {
        let (sender, receiver) = bounded(10);
        let producer = thread::spawn(move || (0..100).try_for_each(|entry| sender.send(entry, 6)));
        for expected in 0..100 {
            let (entry, permit) = receiver.receive(SOON).expect("the producer sends a hundred entries");
            assert_eq!(entry, expected);
            assert_eq!(receiver.entries.len(), 0, "two entries of 6 bytes do not fit 10");
            drop(permit);
        }
        producer
            .join()
            .expect("the producer ends")
            .expect("nothing closed the queue");
    }

    #[test]
    fn a_bound_of_its_own_holds_a_sender_back_before_the_queue_is_full() {
        let (sender, receiver) = bounded(100);
        sender.send(0, 20).expect("room for five");
        let held = sender.clone().bounded_to(30);
        let waiting = thread::spawn(move || held.send(2, 20));
        sender.send(1, 20).expect("this one has room still");
        for expected in 0..3 {
            assert_eq!(receiver.receive(SOON).map(|(entry, _)| entry), Some(expected));
        }
        waiting.join().expect("it returns").expect("nothing closed the queue");
    }

    #[test]
    fn an_entry_larger_than_the_queue_passes_alone() {
        let (sender, receiver) = bounded(10);
        sender.send("large", 1000).expect("an empty queue takes any entry");
        assert_eq!(receiver.receive(SOON).map(|(entry, _)| entry), Some("large"));
    }

    #[test]
    fn closing_wakes_a_waiting_sender() {
        let (sender, receiver) = bounded(10);
        sender.send(0, 10).expect("room for one");
        let waiting = thread::spawn(move || sender.send(1, 10));
        drop(receiver);
        assert_eq!(waiting.join().expect("the sender returns"), Err(Closed));
    }
}
