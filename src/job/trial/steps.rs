//! The records of a test, step by step, and the clock that goes with them.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{Schema, SchemaRef};
use connectors::kafka::given::{self, GivenRecord};
use connectors::kafka::options::KafkaColumn;
use engine::clock::Clock;
use engine::metrics::Metrics;
use engine::pipeline::Stop;
use engine::source::{Event, Intake, Source, SourceState};
use engine::{Batch, Partition, Positions, Result};

use crate::job::plan::{SourceKind, SourcePlan, TestRecordPlan, Topics};

/// What a step takes by the clock of the test: more than a driver waits for another batch.
pub(super) const TICK: Duration = Duration::from_secs(1);

/// The records that come at a time: a batch for each of their partitions.
pub(super) type Step = Vec<Batch>;

/// Returns the steps of `records`, each of `rows` of them, or one of all.
///
/// # Errors
/// When a record is larger than a batch can hold.
pub(super) fn of(
    source: &SourcePlan,
    records: &[TestRecordPlan],
    rows: Option<NonZeroUsize>,
    columns: &[KafkaColumn],
) -> Result<Vec<Step>> {
    let stream = stream(source);
    let mut next = Positions::default();
    let mut steps = vec![];
    for records in records.chunks(rows.map_or(usize::MAX, NonZeroUsize::get)) {
        let mut parts: BTreeMap<Partition, Vec<GivenRecord>> = BTreeMap::new();
        for record in records {
            let topic = record.topic.as_deref().unwrap_or(&stream);
            let partition = Partition::new(topic, record.partition);
            parts.entry(partition).or_default().push(record.record.clone());
        }
        let mut step = vec![];
        for (partition, records) in parts {
            let from = next.get(&partition).unwrap_or(0);
            let batch = given::batch(&partition, from, &records, columns)?;
            let reached = batch.origin().map_or(from, |origin| origin.offsets.to);
            next.advance(&partition, reached);
            step.push(batch);
        }
        steps.push(step);
    }
    Ok(steps)
}

/// Returns the stream of records that do not name theirs.
fn stream(source: &SourcePlan) -> String {
    match &source.kind {
        SourceKind::Kafka(kafka) => match &kafka.topics {
            Topics::Names(names) => names[0].clone(),
            Topics::Pattern(_) => source.name.clone(),
        },
        SourceKind::File { paths } => paths[0].clone(),
        SourceKind::Generate(_) => source.name.clone(),
    }
}

/// Hands over a step at a time, the next when the one before was committed. Then the input ends, or the run is stopped.
pub(super) struct GivenSource {
    schema: SchemaRef,
    steps: VecDeque<Step>,
    /// What each partition holds in all.
    ends: Positions,
    is_bounded: bool,
    stop: Arc<Stop>,
    intake: Option<Intake>,
    /// What was handed over.
    sent: Positions,
}

impl GivenSource {
    pub(super) fn new(columns: &[KafkaColumn], steps: Vec<Step>, is_bounded: bool, stop: Arc<Stop>) -> Self {
        let fields: Vec<_> = columns.iter().map(|column| column.field()).collect();
        let mut ends = Positions::default();
        steps.iter().flatten().for_each(|batch| advance(&mut ends, batch));
        Self {
            schema: Arc::new(Schema::new(fields)),
            steps: steps.into(),
            ends,
            is_bounded,
            stop,
            intake: None,
            sent: Positions::default(),
        }
    }

    fn send(&self, event: Event) {
        // A driver that takes no more has failed, and says so itself.
        let _ = self.intake.as_ref().map(|intake| intake.send(event));
    }

    fn send_step(&mut self) {
        let step = self.steps.pop_front();
        let has_step = step.is_some();
        for batch in step.unwrap_or_default() {
            advance(&mut self.sent, &batch);
            self.send(Event::Batch(batch));
        }
        if self.steps.is_empty() && self.is_bounded {
            for partition in std::mem::take(&mut self.ends).0.into_keys() {
                self.send(Event::Ended { partition });
            }
        } else if !has_step {
            self.stop.raise();
        }
    }
}

fn advance(positions: &mut Positions, batch: &Batch) {
    if let Some(origin) = batch.origin() {
        positions.advance(&origin.partition, origin.offsets.to);
    }
}

impl Source for GivenSource {
    fn describe(&self) -> String {
        "the records of a test".to_owned()
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn open(&mut self, _: Option<&SourceState>) -> Result<SourceState> {
        let begin = |partition: &Partition| (partition.clone(), 0);
        Ok(SourceState {
            positions: Positions(self.ends.0.keys().map(begin).collect()),
            ends: self.is_bounded.then(|| self.ends.clone()),
            ..SourceState::default()
        })
    }

    fn start(&mut self, _: &SourceState, intake: Intake) -> Result<()> {
        self.intake = Some(intake);
        self.send_step();
        Ok(())
    }

    fn acknowledge(&mut self, positions: &Positions) -> Result<()> {
        if self
            .sent
            .0
            .iter()
            .all(|(partition, &sent)| positions.get(partition) == Some(sent))
        {
            self.send_step();
        }
        Ok(())
    }

    fn stop(&mut self) {
        self.intake = None;
    }
}

/// The clock of a test: a tick for each step whose records were all taken in. It stands still during the last step of an
/// input that ends, so that the end comes with its records.
pub(super) struct StepClock {
    metrics: Arc<Metrics>,
    /// The rows of all sources up to the end of each step.
    ends: Vec<u64>,
}

impl StepClock {
    /// Returns a clock that stands still.
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, ends: vec![] }
    }

    /// Adds the steps of a source; all sources have as many.
    pub(super) fn add_steps(&mut self, steps: &[Step], is_bounded: bool) {
        let rows = steps
            .iter()
            .map(|step| step.iter().map(|batch| batch.rows() as u64).sum());
        let mut total = 0;
        let end = |rows: u64| {
            total += rows;
            total
        };
        let mut ends: Vec<_> = rows.map(end).collect();
        if is_bounded {
            ends.pop();
        }
        self.ends.resize(ends.len(), 0);
        self.ends.iter_mut().zip(ends).for_each(|(all, end)| *all += end);
    }
}

impl Clock for StepClock {
    fn monotonic(&self) -> Duration {
        let taken = self.metrics.rows_in.get();
        let done = self.ends.iter().take_while(|&&end| end <= taken).count();
        TICK * u32::try_from(done).unwrap_or(u32::MAX)
    }

    fn wall_micros(&self) -> i64 {
        i64::try_from(self.monotonic().as_micros()).unwrap_or(i64::MAX)
    }
}
