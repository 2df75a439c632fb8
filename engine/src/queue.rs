//! A queue bounded in bytes: what waits in it, and what was taken out but not yet let go, fits a budget. Its receiver can let
//! entries gather, and sleeps meanwhile: to be woken for each of many small ones costs more than they do.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
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
    is_urgent: bool,
    budget: Arc<Budget>,
}

#[derive(Debug)]
struct Budget {
    used: Mutex<Used>,
    freed: Condvar,
    filled: Condvar,
    closed: AtomicBool,
}

/// What the ends tell each other.
#[derive(Debug, Default)]
struct Used {
    bytes: usize,
    /// Senders that wait for room.
    held: usize,
    /// Entries in the queue that must not wait.
    urgent: usize,
    /// The bytes that the receiver waits for.
    wanted: Option<usize>,
}

/// What waits in a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Entries.
    pub entries: usize,
    /// Bytes of these, and of what was taken out but not yet let go.
    pub bytes: usize,
}

/// Returns the two ends of a queue that holds `limit` bytes. One entry larger than that still passes, alone.
pub fn bounded<T>(limit: usize) -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = channel::bounded(ENTRIES_MAX);
    let budget = Arc::new(Budget {
        used: Mutex::default(),
        freed: Condvar::new(),
        filled: Condvar::new(),
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

    /// Puts an entry in that the receiver is to have at once, and that counts no bytes.
    ///
    /// # Errors
    /// [`Closed`] when the receiver takes no more.
    pub fn send_urgent(&self, entry: T) -> Result<(), Closed> {
        let mut permit = Budget::acquire(&self.budget, 0, self)?;
        permit.is_urgent = true;
        self.budget.lock().urgent += 1;
        self.budget.filled.notify_all();
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

    /// Waits at most `timeout` for `bytes` bytes to be in use; less where a sender waits for room, or an urgent entry is
    /// there. Returns what waits then.
    pub fn gather(&self, bytes: usize, timeout: Duration) -> Waiting {
        let mut used = self.budget.lock();
        used.wanted = Some(bytes);
        let waited = self
            .budget
            .filled
            .wait_timeout_while(used, timeout, |used| !used.is_enough());
        let mut used = waited.unwrap_or_else(PoisonError::into_inner).0;
        used.wanted = None;
        Waiting {
            entries: self.entries.len(),
            bytes: used.bytes,
        }
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
        let mut used = budget.lock();
        loop {
            if budget.closed.load(Ordering::Acquire) {
                return Err(Closed);
            }
            if used.bytes == 0 || used.bytes + bytes <= sender.limit {
                used.bytes += bytes;
                if used.wanted.is_some() && used.is_enough() {
                    budget.filled.notify_all();
                }
                return Ok(Permit {
                    bytes,
                    sender: sender.number,
                    is_urgent: false,
                    budget: Arc::clone(budget),
                });
            }
            used.held += 1;
            budget.filled.notify_all();
            let waited = budget.freed.wait_timeout(used, CLOSED_CHECK);
            used = waited.unwrap_or_else(PoisonError::into_inner).0;
            used.held -= 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Used {
    /// Returns whether the receiver has no reason to wait for more.
    fn is_enough(&self) -> bool {
        self.held > 0 || self.urgent > 0 || self.wanted.is_none_or(|wanted| self.bytes >= wanted)
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
        if self.is_urgent {
            self.budget.lock().urgent -= 1;
        } else if self.bytes > 0 {
            self.budget.lock().bytes -= self.bytes;
            self.budget.freed.notify_all();
        }
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
    fn entries_gather_until_there_are_enough_bytes() {
        let (sender, receiver) = bounded(100);
        assert_eq!(receiver.gather(10, Duration::ZERO), Waiting::default());
        let gathering = thread::scope(|scope| {
            let gathering = scope.spawn(|| receiver.gather(10, SOON));
            (0..3)
                .try_for_each(|entry| sender.send(entry, 4))
                .expect("room for them");
            gathering.join().expect("it returns")
        });
        // It may be seen before the last one is in.
        assert_eq!((gathering.bytes, gathering.entries.max(3)), (12, 3));
        let permits: Vec<_> = (0..3).map(|_| receiver.receive(SOON)).collect();
        assert_eq!(
            receiver.gather(10, SOON),
            Waiting { entries: 0, bytes: 12 },
            "what is in use counts"
        );
        drop(permits);
        assert_eq!(receiver.gather(10, Duration::ZERO), Waiting::default());
    }

    #[test]
    fn nobody_gathers_while_something_urgent_is_there_or_a_sender_is_held() {
        let (sender, receiver) = bounded(10);
        sender.send_urgent(0).expect("it is open");
        assert_eq!(receiver.gather(1000, SOON), Waiting { entries: 1, bytes: 0 });
        let (entry, permit) = receiver.receive(SOON).expect("one entry");
        assert_eq!(entry, 0);
        drop(permit);
        let held = thread::spawn(move || (1..=2).try_for_each(|entry| sender.send(entry, 6)));
        assert_eq!(receiver.gather(1000, SOON).bytes, 6, "there is no room for more");
        drop(receiver);
        assert_eq!(held.join().expect("the sender returns"), Err(Closed));
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
