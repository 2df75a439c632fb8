//! A topic that records are given to, many a call.
//!
//! rdkafka's `send` copies the topic's name and has librdkafka look it up for each record. `rd_kafka_produce_batch` takes
//! an array of records for one topic instead, under one lock. librdkafka copies each record, into one piece of memory.

use std::ffi::{CString, c_int, c_void};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

use rdkafka::bindings as rd;
use rdkafka::client::{Client, ClientContext};
use rdkafka::types::{RDKafkaErrorCode as Code, RDKafkaRespErr};

/// The most records of one call: what a lock and the array cost is nothing for each of so many.
pub(in crate::kafka) const RECORDS_MAX: usize = 128;

/// librdkafka's mark of a partition that is to be chosen.
const ANY_PARTITION: i32 = -1;

const NO_RECORD: rd::rd_kafka_message_t = rd::rd_kafka_message_t {
    err: RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR,
    rkt: ptr::null_mut(),
    partition: ANY_PARTITION,
    payload: ptr::null_mut(),
    len: 0,
    key: ptr::null_mut(),
    key_len: 0,
    offset: 0,
    _private: ptr::null_mut(),
};

/// A topic of a producer.
pub(in crate::kafka) struct Target<'c> {
    topic: NonNull<rd::rd_kafka_topic_t>,
    _client: PhantomData<&'c ()>,
}

/// Key and value of a record; null is none.
#[derive(Clone, Copy, Debug)]
pub(in crate::kafka) struct Pair<'a> {
    pub(in crate::kafka) key: Option<&'a [u8]>,
    pub(in crate::kafka) value: Option<&'a [u8]>,
}

/// The first record of a call that was not taken, counted from 0, and why. Of those after it, some may have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kafka) struct Refused {
    pub(in crate::kafka) at: usize,
    pub(in crate::kafka) code: Code,
}

impl<'c> Target<'c> {
    /// Returns the topic `name` of a producer.
    ///
    /// # Errors
    /// When it can't be the name of a topic.
    pub(in crate::kafka) fn new<C: ClientContext>(client: &'c Client<C>, name: &str) -> Result<Self, Code> {
        let name = CString::new(name).map_err(|_| Code::InvalidTopic)?;
        // SAFETY: the client is a valid producer, and outlives the topic; the name is a C string, which is copied.
        let topic = unsafe { rd::rd_kafka_topic_new(client.native_ptr(), name.as_ptr(), ptr::null_mut()) };
        let topic = NonNull::new(topic).ok_or(Code::InvalidTopic)?;
        Ok(Self {
            topic,
            _client: PhantomData,
        })
    }

    /// Puts up to [`RECORDS_MAX`] records in the producer's queue, for one partition or for those of their keys. They are
    /// copied, and their deliveries are reported with a tag of 0.
    ///
    /// # Errors
    /// The first record that was not taken. When the queue is full, none after it was.
    pub(in crate::kafka) fn produce<'r>(
        &self,
        partition: Option<i32>,
        records: impl Iterator<Item = Pair<'r>>,
    ) -> Result<(), Refused> {
        let (mut slots, mut count) = ([NO_RECORD; RECORDS_MAX], 0);
        for (slot, record) in slots.iter_mut().zip(records) {
            (slot.payload, slot.len) = raw(record.value);
            (slot.key, slot.key_len) = raw(record.key);
            count += 1;
        }
        // SAFETY: the topic is valid; `count` slots are filled, with bytes that outlive the call, in which librdkafka copies
        // them, as the flag asks for.
        let taken = unsafe {
            rd::rd_kafka_produce_batch(
                self.topic.as_ptr(),
                partition.unwrap_or(ANY_PARTITION),
                rd::RD_KAFKA_MSG_F_COPY,
                slots.as_mut_ptr(),
                count as c_int,
            )
        };
        if usize::try_from(taken) == Ok(count) {
            return Ok(());
        }
        let is_refused = |slot: &rd::rd_kafka_message_t| slot.err != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;
        match slots[..count].iter().position(is_refused) {
            Some(at) => Err(Refused {
                at,
                code: slots[at].err.into(),
            }),
            None => Ok(()),
        }
    }
}

impl Drop for Target<'_> {
    fn drop(&mut self) {
        // SAFETY: the topic is valid and belongs to this object; librdkafka keeps it for as long as it has records of it.
        unsafe { rd::rd_kafka_topic_destroy(self.topic.as_ptr()) };
    }
}

fn raw(bytes: Option<&[u8]>) -> (*mut c_void, usize) {
    match bytes {
        Some(bytes) => (bytes.as_ptr().cast_mut().cast(), bytes.len()),
        None => (ptr::null_mut(), 0),
    }
}
