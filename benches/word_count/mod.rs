//! The word count, as the program runs it, and the hash of its counts.

use std::collections::HashMap;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;
use engine::operator::OutputMode;
use engine::pipeline::Job;
use engine::sink::Sink;
use engine::source::Source;
use millstream::wordcount::{Plan, Words};

use crate::plain_loop::hash_count;

/// Returns the job that counts the words of `source` into `sink`.
pub(crate) fn job(source: Box<dyn Source>, mode: OutputMode, sink: Box<dyn Sink>) -> Job {
    let plan = Plan::new(Words::default(), source).expect("the source has a text column");
    plan.into_job(mode, sink)
}

/// Returns the hash of the counts: of each word the last one that was put out.
pub(crate) fn hash(batches: &[RecordBatch]) -> u64 {
    let mut counts = HashMap::new();
    for batch in batches {
        let (words, numbers) = (batch.column(0).as_string::<i32>(), batch.column(1));
        let numbers = numbers.as_primitive::<Int64Type>().values();
        counts.extend(words.iter().flatten().zip(numbers.iter().copied()));
    }
    let share = |(word, count): (&str, i64)| hash_count(word.as_bytes(), count.cast_unsigned());
    counts.into_iter().map(share).fold(0, u64::wrapping_add)
}
