//! A producer that says when it has something to report.
//!
//! rdkafka's `poll` takes all of its timeout even when what it waits for has come, so waiting would be looking again and again.
//! librdkafka calls back when its queue of events gets its first one.

use std::ffi::c_void;
use std::ops::Deref;
use std::ptr::{self, NonNull};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::bindings as rd;
use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext};

/// A producer with a bell.
pub(in crate::kafka) struct Watched<C: ProducerContext + 'static> {
    // Before the producer, which it must not outlive.
    bell: Bell,
    producer: BaseProducer<C>,
}

/// Rings when an event comes into an empty queue.
struct Bell {
    queue: NonNull<rd::rd_kafka_queue_t>,
    /// librdkafka has its address.
    rung: Box<Rung>,
}

#[derive(Default)]
struct Rung {
    rung: Mutex<bool>,
    changed: Condvar,
}

// SAFETY: librdkafka's queues may be used from any thread, and `Rung` is `Sync`.
unsafe impl Send for Bell {}

// SAFETY: as above.
unsafe impl Sync for Bell {}

impl<C: ProducerContext + 'static> Watched<C> {
    pub(in crate::kafka) fn new(producer: BaseProducer<C>) -> Self {
        // SAFETY: the client is valid; the queue is a reference of our own to its main queue, which it always has.
        let queue = unsafe { rd::rd_kafka_queue_get_main(producer.client().native_ptr()) };
        let queue = NonNull::new(queue).expect("a client has a main queue");
        let rung = Box::<Rung>::default();
        let opaque = ptr::from_ref(&*rung).cast_mut().cast();
        // SAFETY: the queue is valid; what the opaque pointer points to lives until the callback is taken back, in `drop`.
        unsafe { rd::rd_kafka_queue_cb_event_enable(queue.as_ptr(), Some(ring), opaque) };
        Self {
            bell: Bell { queue, rung },
            producer,
        }
    }

    /// Waits until there is an event for [`BaseProducer::poll`], which handles one a call, or `timeout` has passed.
    pub(in crate::kafka) fn wait(&self, timeout: Duration) {
        let Rung { rung, changed } = &*self.bell.rung;
        *rung.lock().unwrap_or_else(PoisonError::into_inner) = false;
        // The lock is not held: librdkafka rings while it holds the queue's.
        // SAFETY: the queue is valid.
        if unsafe { rd::rd_kafka_queue_length(self.bell.queue.as_ptr()) } > 0 {
            return;
        }
        let rung = rung.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever is woken looks for himself.
        let _ = changed.wait_timeout_while(rung, timeout, |rung| !*rung);
    }

    /// Returns the producer without the bell.
    pub(in crate::kafka) fn into_producer(self) -> BaseProducer<C> {
        self.producer
    }
}

impl<C: ProducerContext + 'static> Deref for Watched<C> {
    type Target = BaseProducer<C>;

    fn deref(&self) -> &BaseProducer<C> {
        &self.producer
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        // SAFETY: the queue is valid. It is locked while it rings and while the callback is taken back, so that nobody rings
        // afterwards.
        unsafe {
            rd::rd_kafka_queue_cb_event_enable(self.queue.as_ptr(), None, ptr::null_mut());
            rd::rd_kafka_queue_destroy(self.queue.as_ptr());
        }
    }
}

unsafe extern "C" fn ring(_: *mut rd::rd_kafka_t, opaque: *mut c_void) {
    // SAFETY: the opaque pointer is the `Rung` that `Bell` keeps.
    let Rung { rung, changed } = unsafe { &*opaque.cast::<Rung>() };
    *rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
    changed.notify_one();
}
