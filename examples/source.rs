//! A source of one's own: lines that a program holds in memory. It reads the same from any offset again, which is all that
//! exactly-once asks of a source.
//!
//! `cargo run --example source`

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use arrow::array::BinaryArray;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use millstream::connectors::console::{ConsoleOptions, ConsoleSink};
use millstream::engine::batch::Origin;
use millstream::engine::operator::OutputMode;
use millstream::engine::pipeline::run_once;
use millstream::engine::position::{OffsetRange, Partition, Positions};
use millstream::engine::source::{Event, Intake, Source, SourceState};
use millstream::engine::{Batch, Error, Result};
use millstream::wordcount;

const BATCH_LINES: usize = 8192;

/// Lines in memory; the offset of a line is its number.
struct MemorySource {
    lines: Arc<Vec<String>>,
    partition: Partition,
    reader: Option<JoinHandle<()>>,
}

impl MemorySource {
    fn new(lines: Vec<String>) -> Self {
        Self {
            lines: Arc::new(lines),
            partition: Partition::new("memory", 0),
            reader: None,
        }
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("value", DataType::Binary, false)]))
}

/// Returns the lines of an offset range as a batch.
fn batch(lines: &[String], partition: &Partition, from: usize, to: usize) -> Result<Batch> {
    let values = BinaryArray::from_iter_values(&lines[from..to]);
    let records = RecordBatch::try_new(schema(), vec![Arc::new(values)]);
    let records = records.map_err(|source| Error::Arrow {
        act: "make a batch of lines",
        source,
    })?;
    let offsets = OffsetRange {
        from: from as i64,
        to: to as i64,
    };
    let partition = partition.clone();
    Ok(Batch::new(records, Some(Origin { partition, offsets })))
}

/// Sends all lines from `from` on. A driver that takes no more has closed the intake: then there is nothing left to do.
fn read(lines: &[String], partition: &Partition, mut from: usize, intake: &Intake) {
    while from < lines.len() {
        let to = lines.len().min(from + BATCH_LINES);
        let event = batch(lines, partition, from, to).map_or_else(Event::Failed, Event::Batch);
        if intake.send(event).is_err() {
            return;
        }
        from = to;
    }
    let partition = partition.clone();
    let _ = intake.send(Event::Ended { partition });
}

impl Source for MemorySource {
    fn describe(&self) -> String {
        format!("{} lines in memory", self.lines.len())
    }

    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn open(&mut self, resume: Option<&SourceState>) -> Result<SourceState> {
        let at = |offset: usize| Positions([(self.partition.clone(), offset as i64)].into());
        let fresh = SourceState {
            positions: at(0),
            ends: Some(at(self.lines.len())),
            identity: serde_json::Value::Null,
        };
        Ok(resume.cloned().unwrap_or(fresh))
    }

    fn start(&mut self, state: &SourceState, intake: Intake) -> Result<()> {
        let (lines, partition) = (Arc::clone(&self.lines), self.partition.clone());
        let from = state.positions.get(&partition).unwrap_or(0) as usize;
        self.reader = Some(thread::spawn(move || read(&lines, &partition, from, &intake)));
        Ok(())
    }

    fn acknowledge(&mut self, _: &Positions) -> Result<()> {
        Ok(())
    }

    fn stop(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("reading lines does not panic");
        }
    }
}

fn main() -> Result<()> {
    let lines = ["to be or not to be", "that is the question"];
    let source = MemorySource::new(lines.map(str::to_owned).to_vec());
    let sink = ConsoleSink::new(Box::new(std::io::stdout()), ConsoleOptions::new(false));
    let plan = wordcount::Plan::new(wordcount::Words::default(), Box::new(source))?;
    run_once(plan.into_job(OutputMode::Complete, Box::new(sink)), NonZeroUsize::MIN)?;
    Ok(())
}
