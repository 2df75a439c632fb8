//! Makes log lines: an endless, seeded access log, as fast as memory or at a steady rate.
//!
//! A line depends on the seed and its number alone, so a run can go on anywhere and two runs agree byte for byte.

mod lines;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use arrow::array::BinaryArray;
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use engine::source::{Event, Intake, Source, SourceState};
use engine::{Batch, Error, OffsetRange, Origin, Partition, Positions, Result};

pub use self::lines::{Shape, line};

/// The stream's name: the lines are partition 0 of it.
pub const STREAM: &str = "generate";

/// Lines of a batch, as many as the other sources hand over at once.
const BATCH_LINES_MAX: i64 = 8192;

/// With a rate, a batch holds what is due in this time, so that lines arrive evenly and a micro-batch of a second sees
/// about as many as the rate says.
const BATCH_INTERVAL: Duration = Duration::from_millis(20);

/// How long the reader sleeps at most before it looks again whether it should end.
const STOP_CHECK: Duration = Duration::from_millis(50);

/// Which lines to make, and how fast.
#[derive(Clone, Copy, Debug, Default)]
pub struct GenerateOptions {
    /// How many lines; without end if none.
    pub lines: Option<u64>,
    /// Lines a second; as fast as they are taken if none.
    pub rate: Option<f64>,
    /// The seed: another one gives other lines.
    pub seed: u64,
    /// What a line looks like.
    pub shape: Shape,
}

/// The generator as a source: one partition, whose offsets are line numbers.
#[derive(Debug)]
pub struct GenerateSource {
    options: GenerateOptions,
    schema: SchemaRef,
    stopping: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl GenerateSource {
    /// Returns a source of generated lines.
    ///
    /// # Errors
    /// When the rate is not a number above zero, or there are more lines than offsets.
    pub fn new(options: GenerateOptions) -> Result<Self> {
        if let Some(rate) = options.rate
            && !(rate.is_finite() && rate > 0.0)
        {
            return Err(Error::Invalid(format!(
                "expected a rate above 0 lines a second, got {rate}"
            )));
        }
        if let Some(lines) = options.lines
            && i64::try_from(lines).is_err()
        {
            return Err(Error::Invalid(format!(
                "expected at most {} lines, got {lines}",
                i64::MAX
            )));
        }
        Ok(Self {
            options,
            schema: Arc::new(Schema::new(vec![Field::new("value", DataType::Binary, false)])),
            stopping: Arc::default(),
            reader: None,
        })
    }

    /// Returns the partition that all lines are in.
    pub fn partition() -> Partition {
        Partition::new(STREAM, 0)
    }
}

impl Source for GenerateSource {
    fn describe(&self) -> String {
        let GenerateOptions { lines, seed, shape, .. } = self.options;
        let lines = lines.map_or("endless".to_owned(), |lines| lines.to_string());
        format!("generate {lines} lines, {shape:?}, seed {seed}")
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn open(&mut self, resume: Option<&SourceState>) -> Result<SourceState> {
        if let Some(state) = resume {
            return Ok(state.clone());
        }
        let only = |offset: i64| Positions([(Self::partition(), offset)].into());
        let end = self
            .options
            .lines
            .map(|lines| i64::try_from(lines).expect("checked when the source was made"));
        Ok(SourceState {
            positions: only(0),
            ends: end.map(only),
            identity: serde_json::Value::Null,
        })
    }

    fn start(&mut self, state: &SourceState, intake: Intake) -> Result<()> {
        let partition = Self::partition();
        let reader = Reader {
            options: self.options,
            schema: self.schema.clone(),
            next: state.positions.get(&partition).unwrap_or(0),
            end: state.ends.as_ref().and_then(|ends| ends.get(&partition)),
            partition,
            stopping: Arc::clone(&self.stopping),
            intake,
        };
        let thread = thread::Builder::new().name("generate".to_owned());
        let handle = thread.spawn(move || reader.run()).map_err(|error| Error::Source {
            input: STREAM.to_owned(),
            problem: format!("cannot start a thread: {error}"),
        })?;
        self.reader = Some(handle);
        Ok(())
    }

    fn acknowledge(&mut self, _positions: &Positions) -> Result<()> {
        Ok(())
    }

    fn stop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        if let Some(reader) = self.reader.take() {
            reader.join().expect("making a line does not panic");
        }
    }
}

impl Drop for GenerateSource {
    fn drop(&mut self) {
        // The thread ends by itself at its next look; waiting for it is `stop`'s part.
        self.stopping.store(true, Ordering::Release);
    }
}

/// The thread that makes the lines.
struct Reader {
    options: GenerateOptions,
    schema: SchemaRef,
    partition: Partition,
    next: i64,
    end: Option<i64>,
    stopping: Arc<AtomicBool>,
    intake: Intake,
}

impl Reader {
    fn run(mut self) {
        let (begun, first) = (Instant::now(), self.next);
        while self.end.is_none_or(|end| self.next < end) {
            let mut to = self.next.saturating_add(self.batch_lines());
            to = to.min(self.end.unwrap_or(i64::MAX));
            if !self.wait_until_due(begun, to - first) {
                return;
            }
            let batch = self.batch(to);
            if self.intake.send(Event::Batch(batch)).is_err() {
                return;
            }
            self.next = to;
        }
        let partition = self.partition;
        // A driver that takes no more has no use for the end either.
        let _ = self.intake.send(Event::Ended { partition });
    }

    fn batch_lines(&self) -> i64 {
        let due = self
            .options
            .rate
            .map(|rate| (rate * BATCH_INTERVAL.as_secs_f64()) as i64);
        due.unwrap_or(BATCH_LINES_MAX).clamp(1, BATCH_LINES_MAX)
    }

    /// Waits until `lines` lines since `begun` are due. Returns false when the reader should end.
    fn wait_until_due(&self, begun: Instant, lines: i64) -> bool {
        let due = self.options.rate.map_or(0.0, |rate| lines as f64 / rate);
        loop {
            if self.stopping.load(Ordering::Acquire) || self.intake.is_closed() {
                return false;
            }
            let left = due - begun.elapsed().as_secs_f64();
            if left <= 0.0 {
                return true;
            }
            thread::sleep(STOP_CHECK.min(Duration::from_secs_f64(left.min(1.0))));
        }
    }

    /// Returns the lines from the next one up to `to`.
    fn batch(&self, to: i64) -> Batch {
        let from = self.next;
        let lines = (to - from) as usize;
        let mut offsets = Vec::with_capacity(lines + 1);
        let mut values = Vec::with_capacity(lines * 128);
        offsets.push(0);
        for number in from..to {
            self.options.shape.line(self.options.seed, number as u64, &mut values);
            offsets.push(i32::try_from(values.len()).expect("a batch of short lines is far below 2 GiB"));
        }
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        let array = BinaryArray::new(offsets, Buffer::from_vec(values), None);
        let records = RecordBatch::try_new(self.schema.clone(), vec![Arc::new(array)]);
        let origin = Origin {
            partition: self.partition.clone(),
            offsets: OffsetRange { from, to },
        };
        Batch::new(records.expect("one binary column"), Some(origin))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that can not go on should stop there")]
mod tests {
    use arrow::array::AsArray;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    /// Runs a source from `from` on and returns its lines; fails if the batches' offsets do not follow each other.
    #[track_caller]
    fn lines(options: GenerateOptions, from: i64) -> Vec<Vec<u8>> {
        let mut source = GenerateSource::new(options).unwrap();
        let mut state = source.open(None).unwrap();
        state.positions = Positions([(GenerateSource::partition(), from)].into());
        let (intake, receiver) = Intake::new(1 << 20);
        source.start(&state, intake).unwrap();
        let (mut lines, mut position) = (Vec::new(), from);
        loop {
            match receiver.receive(SOON).expect("the source goes on").0 {
                Event::Batch(batch) => {
                    let origin = batch.origin().unwrap();
                    assert_eq!(origin.offsets.from, position);
                    position = origin.offsets.to;
                    let array = batch.column(0).to_array();
                    lines.extend(array.as_binary::<i32>().iter().map(|line| line.unwrap().to_vec()));
                    assert_eq!(position - from, lines.len() as i64);
                }
                Event::Ended { .. } => break,
                other => panic!("unexpected {other:?}"),
            }
        }
        source.stop();
        lines
    }

    #[test]
    fn a_resumed_run_goes_on_with_the_same_lines() {
        let options = GenerateOptions {
            lines: Some(20_000),
            seed: 7,
            ..GenerateOptions::default()
        };
        let whole = lines(options, 0);
        assert_eq!(whole.len(), 20_000);
        assert_eq!(lines(options, 12_345), whole[12_345..]);
        assert!(lines(options, 20_000).is_empty());
    }

    #[test]
    fn a_rate_changes_the_pace_and_not_the_lines() {
        let fast = GenerateOptions {
            lines: Some(500),
            ..GenerateOptions::default()
        };
        let paced = GenerateOptions {
            rate: Some(20_000.0),
            ..fast
        };
        assert_eq!(lines(paced, 0), lines(fast, 0));
    }

    #[test]
    fn an_endless_source_stops_when_it_is_told() {
        let mut source = GenerateSource::new(GenerateOptions::default()).unwrap();
        let state = source.open(None).unwrap();
        assert_eq!(state.ends, None);
        let (intake, receiver) = Intake::new(1 << 20);
        source.start(&state, intake).unwrap();
        assert!(receiver.receive(SOON).is_some());
        receiver.close();
        source.stop();
    }

    #[test]
    fn a_rate_that_is_no_pace_is_refused() {
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let options = GenerateOptions {
                rate: Some(rate),
                ..GenerateOptions::default()
            };
            assert!(GenerateSource::new(options).is_err(), "{rate}");
        }
    }
}
