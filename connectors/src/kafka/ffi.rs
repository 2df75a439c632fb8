//! The native batch calls: a small safe shell around what rdkafka's safe API does not offer.
//!
//! rdkafka hands over one message a call, each with an event object of its own. librdkafka's
//! `rd_kafka_consume_batch_queue` fills an array of message pointers instead, and admits partitions by `assign` only.
//! Records are given to a producer in the same way; see [`Target`]. Here and below is the one place of the crate with unsafe
//! code.
#![expect(
    unsafe_code,
    reason = "librdkafka's batch interface and topic ids are reachable through C only"
)]

mod target;
mod watched;

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel as channel;
use engine::position::Partition;
use rdkafka::bindings as rd;
use rdkafka::client::{Client, ClientContext};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::types::{RDKafkaErrorCode as Code, RDKafkaRespErr};

pub(super) use self::target::{Pair, RECORDS_MAX, Target};
pub(super) use self::watched::Watched;
use super::health::{self, Health};

/// Room for librdkafka's error texts, as its own examples have it.
const ERROR_TEXT_BYTES: usize = 512;

/// How long a dropped consumer may take to end before it is left to end by itself.
const DESTROY_DEADLINE: Duration = Duration::from_secs(5);

/// A librdkafka consumer that reads assigned partitions in batches. It never joins its group.
pub(super) struct Consumer {
    /// Empty only while the consumer is being dropped.
    handle: Option<Handle>,
    slots: Vec<*mut rd::rd_kafka_message_t>,
}

// SAFETY: librdkafka's objects may be used from any thread; the slots are empty between calls of `consume`, which
// borrows the consumer for as long as they are not.
unsafe impl Send for Consumer {}

/// What librdkafka gave, and what it points to. Dropping it ends the consumer, which may take a while.
struct Handle {
    client: NonNull<rd::rd_kafka_t>,
    queue: NonNull<rd::rd_kafka_queue_t>,
    /// The error callback's opaque pointer points here.
    _health: Arc<Health>,
}

// SAFETY: librdkafka's client and queue are thread-safe, and `Health` is `Sync`.
unsafe impl Send for Handle {}

/// Messages that librdkafka handed over; those not taken are given back on drop.
pub(super) struct Messages<'a> {
    slots: &'a [*mut rd::rd_kafka_message_t],
    taken: usize,
    destroyed: usize,
}

/// One message, or an error that takes a message's place. It lives until the next one is taken.
#[derive(Clone, Copy)]
pub(super) struct Message<'a> {
    raw: &'a rd::rd_kafka_message_t,
}

/// Who set a message's timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimestampKind {
    Create,
    LogAppend,
}

/// The headers of one message, in their order, repeated keys included.
pub(super) struct Headers<'a> {
    list: *const rd::rd_kafka_headers_t,
    next: usize,
    message: Message<'a>,
}

impl Consumer {
    /// Returns a consumer with the settings of `config`; its errors go to `health`.
    ///
    /// # Errors
    /// What librdkafka says about a setting, without the setting's value.
    pub(super) fn new(config: &ClientConfig, health: &Arc<Health>) -> Result<Self, String> {
        let native = config
            .create_native_config()
            .map_err(|error| health::describe(&error))?;
        let mut text: [c_char; ERROR_TEXT_BYTES] = [0; ERROR_TEXT_BYTES];
        // SAFETY: `native` is a valid configuration; the copy belongs to this function until `rd_kafka_new` succeeds,
        // which takes it over. The opaque pointer stays valid: `Handle` keeps the `Arc` until the client is destroyed.
        let client = unsafe {
            let conf = rd::rd_kafka_conf_dup(native.ptr());
            rd::rd_kafka_conf_set_opaque(conf, Arc::as_ptr(health).cast_mut().cast());
            rd::rd_kafka_conf_set_error_cb(conf, Some(on_error));
            rd::rd_kafka_conf_set_log_cb(conf, Some(on_log));
            let client = rd::rd_kafka_new(
                rd::rd_kafka_type_t::RD_KAFKA_CONSUMER,
                conf,
                text.as_mut_ptr(),
                text.len(),
            );
            NonNull::new(client).ok_or_else(|| {
                rd::rd_kafka_conf_destroy(conf);
                owned_text(text.as_ptr())
            })?
        };
        // SAFETY: the client is valid; forwarding its main queue makes `consume` serve the callbacks too.
        let queue = unsafe {
            rd::rd_kafka_poll_set_consumer(client.as_ptr());
            rd::rd_kafka_queue_get_consumer(client.as_ptr())
        };
        let Some(queue) = NonNull::new(queue) else {
            // SAFETY: the client is valid and nothing else refers to it.
            unsafe { rd::rd_kafka_destroy(client.as_ptr()) };
            return Err("the consumer has no group".to_owned());
        };
        let handle = Handle {
            client,
            queue,
            _health: Arc::clone(health),
        };
        Ok(Self {
            handle: Some(handle),
            slots: Vec::new(),
        })
    }

    /// Adds partitions to those that are read, each from an offset on.
    ///
    /// # Errors
    /// What librdkafka says, for example that a partition is assigned already.
    pub(super) fn assign<'p>(&self, partitions: impl IntoIterator<Item = (&'p Partition, i64)>) -> Result<(), String> {
        let list = PartitionList::new(partitions);
        // SAFETY: client and list are valid; librdkafka copies the list.
        checked(unsafe { rd::rd_kafka_incremental_assign(self.handle().client.as_ptr(), list.0.as_ptr()) })
    }

    /// Takes partitions out of those that are read; what is queued of them is dropped.
    ///
    /// # Errors
    /// What librdkafka says, for example that a partition is not assigned.
    pub(super) fn unassign<'p>(&self, partitions: impl IntoIterator<Item = &'p Partition>) -> Result<(), String> {
        let unplaced = |partition| (partition, i64::from(rd::RD_KAFKA_OFFSET_INVALID));
        let list = PartitionList::new(partitions.into_iter().map(unplaced));
        // SAFETY: client and list are valid; librdkafka copies the list.
        checked(unsafe { rd::rd_kafka_incremental_unassign(self.handle().client.as_ptr(), list.0.as_ptr()) })
    }

    /// Waits until `max` messages are there, or `timeout` has passed, and returns what is there. Errors of partitions
    /// come as messages; those of the client go to its health.
    pub(super) fn consume(&mut self, max: usize, timeout: Duration) -> Messages<'_> {
        if self.slots.len() < max {
            self.slots.resize(max, ptr::null_mut());
        }
        let timeout_ms = c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX);
        let queue = self.handle().queue.as_ptr();
        // SAFETY: the queue is valid and the array has room for `max` pointers.
        let count = unsafe { rd::rd_kafka_consume_batch_queue(queue, timeout_ms, self.slots.as_mut_ptr(), max) };
        // A negative count reports bad arguments; there is nothing to take then.
        let count = usize::try_from(count).unwrap_or(0);
        debug_assert!(count <= max, "librdkafka fills at most the room that it was given");
        Messages {
            slots: &self.slots[..count],
            taken: 0,
            destroyed: 0,
        }
    }

    fn handle(&self) -> &Handle {
        self.handle
            .as_ref()
            .expect("the handle is taken by the consumer's drop only")
    }
}

impl Drop for Consumer {
    /// Ends the consumer on a thread of its own: librdkafka may wait for a broker that does not answer.
    fn drop(&mut self) {
        drop_within(DESTROY_DEADLINE, self.handle.take());
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: both are valid, and every message was given back, for `Messages` borrows the consumer. There is no
        // group to leave, so closing is left out.
        unsafe {
            rd::rd_kafka_queue_destroy(self.queue.as_ptr());
            rd::rd_kafka_destroy_flags(self.client.as_ptr(), rd::RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
        }
    }
}

/// Drops `value` on a thread of its own and waits for that at most `deadline`.
pub(super) fn drop_within(deadline: Duration, value: impl Send + 'static) {
    let (done, dropped) = channel::bounded::<()>(1);
    let dropping = move || {
        drop(value);
        drop(done);
    };
    if thread::Builder::new()
        .name("kafka-close".into())
        .spawn(dropping)
        .is_ok()
    {
        // Either end of the wait is fine: the sender went, or the deadline passed.
        let _ = dropped.recv_timeout(deadline);
    }
}

impl Messages<'_> {
    /// Returns how many messages were handed over.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Returns the next message, and gives the one before back to librdkafka while its memory is still warm.
    pub(super) fn take(&mut self) -> Option<Message<'_>> {
        self.destroy_until(self.taken);
        let raw = *self.slots.get(self.taken)?;
        self.taken += 1;
        // SAFETY: librdkafka filled this slot with a valid message, which is destroyed by a later `&mut self` call only.
        let raw = unsafe { &*raw };
        Some(Message { raw })
    }

    fn destroy_until(&mut self, end: usize) {
        for &message in &self.slots[self.destroyed..end] {
            // SAFETY: every slot holds a message of its own, and `destroyed` moves past each of them once.
            unsafe { rd::rd_kafka_message_destroy(message) };
        }
        self.destroyed = end;
    }
}

impl Drop for Messages<'_> {
    fn drop(&mut self) {
        self.destroy_until(self.slots.len());
    }
}

impl<'a> Message<'a> {
    /// Returns the error that this message stands for.
    #[inline]
    pub(super) fn error(self) -> Option<Code> {
        let failed = self.raw.err != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;
        failed.then(|| self.raw.err.into())
    }

    /// Returns what librdkafka says about the error.
    pub(super) fn error_text(self) -> String {
        // SAFETY: the message is valid; the text lives as long as it, or for ever.
        unsafe { owned_text(rd::rd_kafka_message_errstr(self.raw)) }
    }

    /// Returns a number that tells the topics of one batch apart without reading their names.
    #[inline]
    pub(super) fn topic_address(self) -> usize {
        self.raw.rkt.addr()
    }

    /// Returns the topic's name; `None` for an error of the client as a whole.
    pub(super) fn topic(self) -> Option<&'a str> {
        if self.raw.rkt.is_null() {
            return None;
        }
        // SAFETY: the message keeps its topic, and the topic its name, which is a C string.
        let name = unsafe { CStr::from_ptr(rd::rd_kafka_topic_name(self.raw.rkt)) };
        name.to_str().ok()
    }

    #[inline]
    pub(super) fn partition(self) -> i32 {
        self.raw.partition
    }

    #[inline]
    pub(super) fn offset(self) -> i64 {
        self.raw.offset
    }

    #[inline]
    pub(super) fn key(self) -> Option<&'a [u8]> {
        // SAFETY: librdkafka gives a key of `key_len` bytes, or null.
        unsafe { bytes(self.raw.key, self.raw.key_len) }
    }

    /// Returns the value; `None` is a tombstone, which an empty value is not.
    #[inline]
    pub(super) fn value(self) -> Option<&'a [u8]> {
        // SAFETY: librdkafka gives a payload of `len` bytes, or null.
        unsafe { bytes(self.raw.payload, self.raw.len) }
    }

    /// Returns the timestamp in milliseconds since 1970 and who set it, if there is one.
    #[inline]
    pub(super) fn timestamp(self) -> Option<(i64, TimestampKind)> {
        let mut kind = rd::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is valid, and `kind` outlives the call.
        let milliseconds = unsafe { rd::rd_kafka_message_timestamp(self.raw, &raw mut kind) };
        let kind = match kind {
            rd::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_CREATE_TIME => TimestampKind::Create,
            rd::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME => TimestampKind::LogAppend,
            rd::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE => return None,
        };
        (milliseconds >= 0).then_some((milliseconds, kind))
    }

    /// Returns the headers, which librdkafka parses at this call.
    pub(super) fn headers(self) -> Headers<'a> {
        let mut list = ptr::null_mut();
        // SAFETY: the message is valid; the list, if there is one, belongs to it.
        let code = unsafe { rd::rd_kafka_message_headers(self.raw, &raw mut list) };
        if code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            list = ptr::null_mut();
        }
        Headers {
            list,
            next: 0,
            message: self,
        }
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let Message { raw: _owner } = self.message;
        if self.list.is_null() {
            return None;
        }
        let (mut name, mut value, mut len) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the list belongs to the message, which outlives `'a`; an index past the end is answered by an error.
        unsafe {
            let code = rd::rd_kafka_header_get_all(self.list, self.next, &raw mut name, &raw mut value, &raw mut len);
            if code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                return None;
            }
            self.next += 1;
            Some((CStr::from_ptr(name).to_bytes(), bytes(value.cast_mut(), len)))
        }
    }
}

/// Commits a group's offsets without waiting, and hears the answers, which the safe API drops.
pub(super) struct Committer<C: ConsumerContext> {
    /// Keeps the client that the queue belongs to.
    consumer: Arc<BaseConsumer<C>>,
    answers: NonNull<rd::rd_kafka_queue_t>,
}

// SAFETY: librdkafka's queues are thread-safe, and so is the consumer.
unsafe impl<C: ConsumerContext> Send for Committer<C> {}
// SAFETY: as above; no method needs exclusive access.
unsafe impl<C: ConsumerContext> Sync for Committer<C> {}

impl<C: ConsumerContext> Committer<C> {
    /// Returns a committer for the group of `consumer`.
    pub(super) fn new(consumer: Arc<BaseConsumer<C>>) -> Self {
        // SAFETY: the client is valid as long as `consumer`, which this object keeps.
        let answers = unsafe { rd::rd_kafka_queue_new(consumer.client().native_ptr()) };
        let answers = NonNull::new(answers).expect("librdkafka's allocation never fails");
        Self { consumer, answers }
    }

    /// Sends the next offsets to read of partitions off. There will be one answer.
    ///
    /// # Errors
    /// What librdkafka says; there will be no answer then.
    pub(super) fn send<'p>(&self, offsets: impl IntoIterator<Item = (&'p Partition, i64)>) -> Result<(), Code> {
        let list = PartitionList::new(offsets);
        let client = self.consumer.client().native_ptr();
        // SAFETY: client, list and queue are valid; librdkafka copies the list and keeps the queue until it answers.
        let code =
            unsafe { rd::rd_kafka_commit_queue(client, list.0.as_ptr(), self.answers.as_ptr(), None, ptr::null_mut()) };
        match code {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
            code => Err(code.into()),
        }
    }

    /// Waits at most `timeout` for the next answer.
    pub(super) fn answer(&self, timeout: Duration) -> Option<Result<(), Code>> {
        let timeout_ms = c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: the queue is valid, and the event is destroyed after its last use.
        let code = unsafe {
            let event = NonNull::new(rd::rd_kafka_queue_poll(self.answers.as_ptr(), timeout_ms))?;
            let code = rd::rd_kafka_event_error(event.as_ptr());
            rd::rd_kafka_event_destroy(event.as_ptr());
            code
        };
        Some(match code {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
            code => Err(code.into()),
        })
    }
}

impl<C: ConsumerContext> Drop for Committer<C> {
    fn drop(&mut self) {
        // SAFETY: the queue is valid, and its client still is, for `consumer` is dropped after this.
        unsafe { rd::rd_kafka_queue_destroy(self.answers.as_ptr()) };
    }
}

/// Asks the broker numbered `broker` for the ids of topics, which tell a topic from another of the same name. (Left to
/// itself, librdkafka would wait for the controller, which an in-process broker does not have.)
///
/// Topics that the brokers do not know, and all topics on brokers without ids, are left out.
pub(super) fn topic_ids<C: ClientContext>(
    client: &Client<C>,
    broker: i32,
    topics: &[String],
    timeout: Duration,
) -> Vec<(String, String)> {
    let names: Vec<CString> = topics
        .iter()
        .filter_map(|topic| CString::new(topic.as_str()).ok())
        .collect();
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    let timeout_ms = c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX);
    let rk = client.native_ptr();
    let mut text: [c_char; ERROR_TEXT_BYTES] = [0; ERROR_TEXT_BYTES];
    let mut ids = Vec::new();
    // SAFETY: the client is valid; all objects made here are destroyed here, the event after its last use, and the
    // names outlive the collection.
    unsafe {
        let queue = rd::rd_kafka_queue_new(rk);
        let options = rd::rd_kafka_AdminOptions_new(rk, rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
        rd::rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, text.as_mut_ptr(), text.len());
        rd::rd_kafka_AdminOptions_set_broker(options, broker, text.as_mut_ptr(), text.len());
        let collection = rd::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        rd::rd_kafka_DescribeTopics(rk, collection, options, queue);
        // The request ends by its own timeout; this one is a margin over it.
        let event = rd::rd_kafka_queue_poll(queue, timeout_ms.saturating_add(500));
        if !event.is_null() {
            ids = described_ids(event);
            rd::rd_kafka_event_destroy(event);
        }
        rd::rd_kafka_TopicCollection_destroy(collection);
        rd::rd_kafka_AdminOptions_destroy(options);
        rd::rd_kafka_queue_destroy(queue);
    }
    ids
}

/// # Safety
/// `event` is a valid event, and stays so for the call.
unsafe fn described_ids(event: *mut rd::rd_kafka_event_t) -> Vec<(String, String)> {
    let mut ids = Vec::new();
    // SAFETY: what the event gives lives as long as the event; each pointer is checked before its use.
    unsafe {
        let result = rd::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() || rd::rd_kafka_event_error(event) != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return ids;
        }
        let mut count = 0;
        let descriptions = rd::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        if descriptions.is_null() {
            return ids;
        }
        for &description in slice::from_raw_parts(descriptions, count) {
            let error = rd::rd_kafka_error_code(rd::rd_kafka_TopicDescription_error(description));
            let id = rd::rd_kafka_TopicDescription_topic_id(description);
            if error != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR || id.is_null() {
                continue;
            }
            // Brokers from before topic ids answer zero.
            let bits = rd::rd_kafka_Uuid_most_significant_bits(id) | rd::rd_kafka_Uuid_least_significant_bits(id);
            if bits != 0 {
                let name = owned_text(rd::rd_kafka_TopicDescription_name(description));
                ids.push((name, owned_text(rd::rd_kafka_Uuid_base64str(id))));
            }
        }
    }
    ids
}

/// A list in librdkafka's form, for one call.
struct PartitionList(NonNull<rd::rd_kafka_topic_partition_list_t>);

impl PartitionList {
    fn new<'p>(partitions: impl IntoIterator<Item = (&'p Partition, i64)>) -> Self {
        // SAFETY: librdkafka's constructor has no preconditions and ends the process when memory is out.
        let list = unsafe { rd::rd_kafka_topic_partition_list_new(0) };
        let list = NonNull::new(list).expect("librdkafka's allocation never fails");
        for (partition, offset) in partitions {
            let topic = CString::new(&*partition.stream).expect("topic names of the brokers' metadata hold no NUL");
            // SAFETY: list and name are valid; the name is copied, and the new element is valid until the next call.
            unsafe {
                let element = rd::rd_kafka_topic_partition_list_add(list.as_ptr(), topic.as_ptr(), partition.index);
                (*element).offset = offset;
            }
        }
        Self(list)
    }
}

impl Drop for PartitionList {
    fn drop(&mut self) {
        // SAFETY: the list is valid and belongs to this object.
        unsafe { rd::rd_kafka_topic_partition_list_destroy(self.0.as_ptr()) };
    }
}

/// Called by librdkafka while a thread is in `consume`, or by its own threads.
unsafe extern "C" fn on_error(_: *mut rd::rd_kafka_t, code: c_int, reason: *const c_char, opaque: *mut c_void) {
    // SAFETY: the opaque pointer is the `Health` that `Handle` keeps, and `reason` a C string.
    let (health, reason) = unsafe { (&*opaque.cast::<Health>(), owned_text(reason)) };
    let code = RDKafkaRespErr::try_from(code).unwrap_or(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN);
    health.report(code.into(), &reason);
}

unsafe extern "C" fn on_log(_: *const rd::rd_kafka_t, _: c_int, facility: *const c_char, text: *const c_char) {
    // SAFETY: librdkafka gives C strings.
    let (facility, text) = unsafe { (owned_text(facility), owned_text(text)) };
    health::log(&facility, &text);
}

fn checked(error: *mut rd::rd_kafka_error_t) -> Result<(), String> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: a non-null error is valid, and belongs to the caller of the function that returned it.
    let text = unsafe {
        let text = owned_text(rd::rd_kafka_error_string(error));
        rd::rd_kafka_error_destroy(error);
        text
    };
    Err(text)
}

/// # Safety
/// `data` is null or points to `len` bytes that outlive `'a`.
#[inline]
unsafe fn bytes<'a>(data: *mut c_void, len: usize) -> Option<&'a [u8]> {
    if data.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    Some(unsafe { slice::from_raw_parts(data.cast::<u8>(), len) })
}

/// # Safety
/// `text` is null or a C string.
unsafe fn owned_text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
