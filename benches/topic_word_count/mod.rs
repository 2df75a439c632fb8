//! The word count of a topic.

use std::time::Duration;

use arrow::record_batch::RecordBatch;
use connectors::kafka::options::KafkaColumn;
use engine::operator::OutputMode;
use engine::pipeline::Settings;

use crate::jobs::{KeepSink, cores, run_to_end};
use crate::lines::line;
use crate::plain_loop::PlainCount;
use crate::topic::Topic;
use crate::word_count;

/// Counts the words of a topic as `millstream wordcount` does: counts that changed are put out every second, and the
/// group's offsets committed.
pub(crate) fn run(topic: &Topic) -> Vec<RecordBatch> {
    let settings = Settings {
        trigger: Some(Duration::from_secs(1)),
        checkpoint_interval: Some(Duration::ZERO),
        ..Settings::bounded(cores())
    };
    let sink = KeepSink::default();
    let source = topic.source(&[KafkaColumn::Value]);
    run_to_end(
        word_count::job(Box::new(source), OutputMode::Update, Box::new(sink.clone())),
        &settings,
        None,
    );
    sink.take()
}

/// Returns the hash of the counts by the plain loop over what the topic was made of.
pub(crate) fn expected(topic: &Topic) -> u64 {
    let mut counts = PlainCount::default();
    let mut text = Vec::new();
    for number in 0..topic.messages {
        text.clear();
        line(number, &mut text);
        counts.add(std::str::from_utf8(&text).expect("lines are ASCII"));
    }
    counts.hash()
}
