//! Runs the tests of a job: the real plan on the real engine, between a source and sinks that are memory.
//!
//! ```text
//! records of the test -> steps -> GivenSources -> the job -> KeptRows -> rows as JSON, compared with those expected
//! ```
//! A step is a micro-batch and an epoch: the sources hand the next one over when the one before is committed, and the clock
//! stands still until all records of a step were taken in. So a test is the same every time.

mod cells;
mod compare;
mod kept;
mod steps;
#[cfg(test)]
mod tests;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use connectors::decode::dead_letter_schema;
use connectors::kafka::options::KafkaColumn;
use engine::metrics::Metrics;
use engine::pipeline::{Settings, Stop, Surroundings};
use engine::sink::Sink;
use engine::source::Source;
use engine::{Error, Result};

use self::compare::Expected;
use self::kept::{Kept, KeptRows};
use self::steps::{GivenSource, StepClock};
use super::build::{BuildError, Ends, build_between};
use super::plan::{FormatPlan, JobPlan, Mode, QueryPlan, SinkPlan, SourcePlan, TestPlan, TestRecordPlan};
use crate::sql::{Functions, Planned};

/// Bytes that may wait for the driver: a source that hands over in the driver's own thread must never wait for it.
const QUEUE_BYTES: usize = usize::MAX / 2;

/// Runs a test of the job. Nothing outside is looked at or touched but the files that the job's formats name.
///
/// Returns what is not as expected, each a text of one or more lines; nothing if the test holds.
///
/// # Errors
/// When the job can't be made: a statement is wrong, or what a test can't have.
pub fn run(job: &JobPlan, test: &TestPlan) -> Result<Vec<String>, BuildError> {
    let mut bench = Bench::new(test);
    let mut built = build_between(job, &mut bench, NonZeroUsize::MIN, &Functions::default())?;
    // Silence is a matter of the wall's clock, which a test does not have.
    for time in built.job.inputs.iter_mut().filter_map(|input| input.time.as_mut()) {
        time.idle = Duration::MAX;
    }
    let settings = Settings {
        trigger: Some(steps::TICK),
        checkpoint_interval: Some(Duration::ZERO),
        queue_bytes: QUEUE_BYTES,
        ..built.settings
    };
    let surroundings = Surroundings {
        store: None,
        stop: &bench.stop,
        metrics: &bench.metrics,
        clock: &bench.clock,
    };
    if let Err(error) = engine::pipeline::run(built.job, &settings, surroundings) {
        return Ok(vec![format!("the job stopped: {error}")]);
    }
    bench.differences().map_err(BuildError::Engine)
}

/// A test under way: what the job is given, and what is kept of what it gives.
struct Bench<'a> {
    test: &'a TestPlan,
    stop: Arc<Stop>,
    metrics: Arc<Metrics>,
    clock: StepClock,
    queries: Vec<(String, Output)>,
    dead_letters: Option<Output>,
}

/// The rows of one sink.
struct Output {
    kept: Kept,
    schema: SchemaRef,
    is_ordered: bool,
}

impl<'a> Bench<'a> {
    fn new(test: &'a TestPlan) -> Self {
        let metrics = Arc::new(Metrics::default());
        Self {
            test,
            stop: Arc::default(),
            clock: StepClock::new(Arc::clone(&metrics)),
            metrics,
            queries: vec![],
            dead_letters: None,
        }
    }

    /// Returns the test's records for a source.
    fn records(&self, source: &SourcePlan) -> &'a [TestRecordPlan] {
        let given = self.test.input.iter().find(|(name, _)| *name == source.name);
        given.map_or(&[][..], |(_, records)| records)
    }

    /// Returns the number of steps: as many as the longest input has.
    fn steps(&self) -> usize {
        let rows = self.test.micro_batch_rows.map_or(usize::MAX, NonZeroUsize::get);
        let inputs = self.test.input.iter();
        inputs
            .map(|(_, records)| records.len().div_ceil(rows))
            .max()
            .unwrap_or(0)
    }

    /// Returns what is not as expected, now that the job has ended.
    fn differences(&self) -> Result<Vec<String>> {
        let mut found = vec![];
        for (name, rows) in &self.test.expect {
            let Some((_, output)) = self.queries.iter().find(|(query, _)| query == name) else {
                continue;
            };
            found.extend(output.difference(&format!("expect.{name}"), rows)?);
        }
        if let (Some(rows), Some(output)) = (&self.test.dead_letters, &self.dead_letters) {
            found.extend(output.difference("dead_letter", rows)?);
        }
        let metrics = &self.metrics;
        for (what, expected, came) in [
            ("late", self.test.late, metrics.rows_late.get()),
            ("bad", self.test.bad, metrics.rows_bad.get()),
        ] {
            if let Some(expected) = expected.filter(|&expected| expected != came) {
                found.push(format!("{what}: expected {expected}, got {came}"));
            } else if expected.is_none() && came > 0 && !found.is_empty() {
                // No difference of its own, but a likely reason of one.
                found.push(format!("{what}: {came}, of which the test says nothing"));
            }
        }
        let watermark = metrics.watermark_micros();
        if let Some(expected) = self.test.watermark_micros.filter(|&micros| Some(micros) != watermark) {
            let shown = |micros| cells::time_of(micros).unwrap_or_else(|| "none".to_owned());
            let (expected, came) = (shown(Some(expected)), shown(watermark));
            found.push(format!("watermark: expected {expected}, got {came}"));
        }
        Ok(found)
    }

    fn keep(&self, schema: SchemaRef, is_table: bool, is_ordered: bool) -> (Box<dyn Sink>, Output) {
        let sink = KeptRows::new(is_table);
        let output = Output {
            kept: sink.kept(),
            schema,
            is_ordered,
        };
        (Box::new(sink), output)
    }
}

impl Output {
    fn difference(&self, what: &str, rows: &[super::plan::TestRow]) -> Result<Option<String>> {
        let expected = Expected {
            rows,
            is_ordered: self.is_ordered,
        };
        let came = kept::as_json(&self.kept, &self.schema)?;
        Ok(expected.difference(what, &self.schema, &came))
    }
}

impl Ends for Bench<'_> {
    fn source(&mut self, plan: &SourcePlan, columns: &[KafkaColumn]) -> Result<Box<dyn Source>> {
        if plan.formats.contains(&FormatPlan::Parquet) {
            let text = "a test gives payloads, and Parquet files have none: try the query on a small file instead";
            return Err(Error::Invalid(text.to_owned()));
        }
        let mut steps = steps::of(plan, self.records(plan), self.test.micro_batch_rows, columns)?;
        // All sources take as many steps, so that all of one step come together.
        steps.resize_with(self.steps(), Vec::new);
        let ends = self.test.watermark_micros.is_none();
        self.clock.add_steps(&steps, ends);
        Ok(Box::new(GivenSource::new(columns, steps, ends, Arc::clone(&self.stop))))
    }

    fn sink(&mut self, query: &QueryPlan, _: &SinkPlan, planned: &Planned) -> Result<Box<dyn Sink>> {
        let is_table = query.mode == Mode::Complete && planned.aggregate.is_some();
        let (sink, output) = self.keep(planned.schema.clone(), is_table, planned.is_ordered);
        self.queries.push((query.name.clone(), output));
        Ok(sink)
    }

    fn dead_letters(&mut self, _: &SinkPlan) -> Result<Box<dyn Sink>> {
        let (sink, output) = self.keep(dead_letter_schema(), false, false);
        self.dead_letters = Some(output);
        Ok(sink)
    }
}
