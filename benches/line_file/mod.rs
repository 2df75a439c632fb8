//! A file of log lines, counted by the pipeline and by the plain loop.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::num::NonZeroUsize;
use std::path::Path;

use arrow::record_batch::RecordBatch;
use connectors::file::{FileOptions, FileSource};
use engine::operator::OutputMode;
use engine::pipeline::Settings;

use crate::jobs::{KeepSink, run_to_end};
use crate::lines::line;
use crate::plain_loop::PlainCount;
use crate::word_count;

/// Writes a file of `count` lines.
///
/// # Panics
/// When it can't be written.
pub(crate) fn write(path: &Path, count: u64) {
    let mut file = BufWriter::new(File::create(path).expect("the scratch folder can be written"));
    let mut text = Vec::new();
    for number in 0..count {
        text.clear();
        line(number, &mut text);
        text.push(b'\n');
        file.write_all(&text).expect("there is room for the file");
    }
    file.flush().expect("there is room for the file");
}

/// Counts the words of a file by the plain loop.
///
/// # Panics
/// When it can't be read.
pub(crate) fn count_plain(path: &Path) -> PlainCount {
    let file = BufReader::new(File::open(path).expect("the file is there"));
    let mut counts = PlainCount::default();
    for line in file.lines() {
        counts.add(&line.expect("the file is text"));
    }
    counts
}

/// Counts the words of a file by the pipeline on that many threads, and returns what came out.
pub(crate) fn count(path: &Path, threads: NonZeroUsize) -> Vec<RecordBatch> {
    let source = FileSource::new(FileOptions::new(vec![path.to_owned()])).expect("the file is there");
    let sink = KeepSink::default();
    let job = word_count::job(Box::new(source), OutputMode::Complete, Box::new(sink.clone()));
    run_to_end(job, &Settings::bounded(threads), None);
    sink.take()
}
