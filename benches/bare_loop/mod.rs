//! Reading a topic with nothing but librdkafka's batch interface: what reading through librdkafka costs at least.
#![expect(unsafe_code, reason = "librdkafka's batch interface is reachable through C only")]

use std::time::Duration;

use connectors::kafka::options::SourceOptions;
use rdkafka::bindings as rd;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;

use crate::seen::Seen;

/// Messages asked for at once, and how long they are waited for, as the source does it.
const MESSAGES_MAX: usize = 4096;
const LINGER: Duration = Duration::from_millis(5);

/// Reads `count` messages of partitions `0..partitions` of a topic, with the settings of the source.
///
/// # Panics
/// When the broker does not answer.
pub(crate) fn read(options: &SourceOptions, partitions: i32, count: u64) -> Seen {
    let consumer: BaseConsumer = options.client_config().create().expect("valid settings");
    let mut all = TopicPartitionList::new();
    for partition in 0..partitions {
        all.add_partition_offset(&options.topics[0], partition, Offset::Offset(0))
            .expect("an offset that is no marker");
    }
    consumer.assign(&all).expect("the partitions exist");
    let mut seen = Seen::default();
    let mut slots = vec![std::ptr::null_mut(); MESSAGES_MAX];
    // SAFETY: the client lives as long as `consumer`; the queue is given back below, before that.
    let queue = unsafe { rd::rd_kafka_queue_get_consumer(consumer.client().native_ptr()) };
    assert!(!queue.is_null(), "a consumer has a queue");
    while seen.messages < count {
        // SAFETY: the queue is valid, and the array has room for as many pointers as it says.
        let got = unsafe {
            let timeout = i32::try_from(LINGER.as_millis()).expect("a short time");
            rd::rd_kafka_consume_batch_queue(queue, timeout, slots.as_mut_ptr(), slots.len())
        };
        for &message in &slots[..usize::try_from(got).expect("a valid queue")] {
            // SAFETY: librdkafka filled this slot with a message that is given back here, once.
            unsafe {
                let record = &*message;
                if record.err == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                    seen.see(std::slice::from_raw_parts(record.payload.cast::<u8>(), record.len));
                }
                rd::rd_kafka_message_destroy(message);
            }
        }
    }
    // SAFETY: the queue is valid and not used any more.
    unsafe { rd::rd_kafka_queue_destroy(queue) };
    seen
}
