//! The driver over a source and a sink in memory, broken off at every step and started again.

mod inputs;
pub(super) mod ledger;
mod queries;
mod windows;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use arrow::array::{ArrayRef, AsArray, BinaryArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::*;
use crate::aggregate::AggregateKind;
use crate::batch::{Batch, Origin};
use crate::checkpoint::LocalStore;
use crate::clock::SystemClock;
use crate::error::Error;
use crate::operator::aggregate::{AggregateCall, HashAggregate};
use crate::operator::text::Text;
use crate::operator::tokenize::{SplitMode, Tokenize};
use crate::operator::{Operator, StatefulOperator};
use crate::position::{Epoch, OffsetRange, Partition, Positions};
use crate::sink::{Barrier, Guarantee, Recovery, Sink, Token};
use crate::source::{Event, Intake, Source, SourceState};

const PARTITIONS: i32 = 3;
const ROWS: i64 = 1000;

/// Rows `word-K line-N` of three partitions, in batches of `batch_rows`.
struct MemorySource {
    stream: &'static str,
    batch_rows: i64,
    reader: Option<JoinHandle<()>>,
    acknowledged: Arc<Mutex<Positions>>,
}

/// What the world sees of the sink: it outlives a crash.
#[derive(Default)]
struct World {
    visible: BTreeMap<Epoch, Vec<RecordBatch>>,
}

/// A sink that fails at one call of one step.
struct MemorySink {
    world: Arc<Mutex<World>>,
    written: Vec<RecordBatch>,
    prepared: Vec<RecordBatch>,
    fails: Option<(Step, u64)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Write,
    Prepare,
    BeforeCommit,
    AfterCommit,
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("value", DataType::Binary, true)]))
}

fn line(partition: i32, offset: i64) -> String {
    format!("word-{} line-{partition}-{offset}", offset % 7)
}

impl Source for MemorySource {
    fn describe(&self) -> String {
        self.stream.to_owned()
    }

    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn open(&mut self, resume: Option<&SourceState>) -> Result<SourceState> {
        let all = |offset: i64| {
            let mut positions = Positions::default();
            (0..PARTITIONS).for_each(|index| positions.advance(&Partition::new(self.stream, index), offset));
            positions
        };
        Ok(resume.cloned().unwrap_or_else(|| SourceState {
            positions: all(0),
            ends: Some(all(ROWS)),
            identity: serde_json::Value::Null,
        }))
    }

    fn start(&mut self, state: &SourceState, intake: Intake) -> Result<()> {
        let (positions, step) = (state.positions.clone(), self.batch_rows);
        let read = move || {
            for (partition, &position) in &positions.0 {
                for from in (position..ROWS).step_by(usize::try_from(step).expect("a few rows")) {
                    let to = (from + step).min(ROWS);
                    let lines = (from..to).map(|offset| Some(line(partition.index, offset).into_bytes()));
                    let lines: ArrayRef = Arc::new(lines.collect::<BinaryArray>());
                    let records = RecordBatch::try_new(schema(), vec![lines]).expect("one binary column");
                    let partition = partition.clone();
                    let offsets = OffsetRange { from, to };
                    let batch = Batch::new(records, Some(Origin { partition, offsets }));
                    if intake.send(Event::Batch(batch)).is_err() {
                        return;
                    }
                }
                let partition = partition.clone();
                if intake.send(Event::Ended { partition }).is_err() {
                    return;
                }
            }
        };
        self.reader = Some(std::thread::spawn(read));
        Ok(())
    }

    fn acknowledge(&mut self, positions: &Positions) -> Result<()> {
        self.acknowledged.lock().expect("no panic").clone_from(positions);
        Ok(())
    }

    fn stop(&mut self) {
        self.reader
            .take()
            .into_iter()
            .for_each(|reader| reader.join().expect("the reader ends"));
    }
}

impl MemorySink {
    fn pass(&mut self, step: Step) -> Result<()> {
        match &mut self.fails {
            Some((at, 0)) if *at == step => Err(Error::Sink {
                output: "memory".to_owned(),
                problem: format!("it fails at {step:?}"),
            }),
            Some((at, left)) if *at == step => {
                *left -= 1;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl Sink for MemorySink {
    fn describe(&self) -> String {
        "memory".to_owned()
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    /// The commit point is the world's, as with a Kafka transaction: what was not committed is done again.
    fn recover(&mut self, recovery: &Recovery<'_>) -> Result<Option<Epoch>> {
        let world = self.world.lock().expect("no panic");
        let committed = world.visible.keys().next_back().copied().unwrap_or(Epoch(0));
        Ok(recovery
            .candidates
            .iter()
            .map(|candidate| candidate.epoch)
            .find(|&epoch| epoch == committed))
    }

    fn write(&mut self, batch: &Batch) -> Result<()> {
        self.pass(Step::Write)?;
        self.written.push(batch.to_records()?);
        Ok(())
    }

    fn prepare(&mut self, barrier: &Barrier<'_>) -> Result<Token> {
        self.pass(Step::Prepare)?;
        self.prepared = std::mem::take(&mut self.written);
        Ok(Token(barrier.epoch.0.into()))
    }

    fn commit(&mut self, token: &Token) -> Result<()> {
        self.pass(Step::BeforeCommit)?;
        let epoch = Epoch(token.0.as_u64().expect("prepare made it"));
        let prepared = std::mem::take(&mut self.prepared);
        let before = self.world.lock().expect("no panic").visible.insert(epoch, prepared);
        assert!(before.is_none(), "an epoch is committed once");
        self.pass(Step::AfterCommit)
    }

    fn abort(&mut self) {
        self.written.clear();
        self.prepared.clear();
    }
}

/// What one run needs: its size of batches and threads, and where it fails.
#[derive(Clone, Copy)]
struct Run {
    batch_rows: i64,
    threads: usize,
    fails: Option<(Step, u64)>,
}

fn start(root: &Path, world: &Arc<Mutex<World>>, words: bool, run: Run) -> Result<Outcome> {
    let acknowledged = Arc::default();
    let source = MemorySource {
        stream: "memory",
        batch_rows: run.batch_rows,
        reader: None,
        acknowledged: Arc::clone(&acknowledged),
    };
    let sink = MemorySink {
        world: Arc::clone(world),
        written: vec![],
        prepared: vec![],
        fails: run.fails,
    };
    let text = Text::new("value", &schema()).expect("a binary column");
    let tokenize = Tokenize::new("value", SplitMode::Ascii, false, &[], "word", &text.schema()).expect("text");
    let count = AggregateCall {
        name: "count".to_owned(),
        kind: AggregateKind::Count,
        arguments: vec![],
    };
    let aggregate = HashAggregate::new(&["word"], &[count], &tokenize.schema()).expect("a word column");
    let query = Query {
        branches: Branch::only(if words {
            vec![Arc::new(text), Arc::new(tokenize)]
        } else {
            vec![Arc::new(text)]
        }),
        aggregate: words.then(|| Box::new(aggregate) as Box<dyn StatefulOperator>),
        ..Query::new(Box::new(sink))
    };
    let job = Job::new(Box::new(source), query);
    let settings = Settings {
        threads: NonZeroUsize::new(run.threads).expect("a thread"),
        trigger: Some(Duration::from_micros(200)),
        checkpoint_interval: Some(Duration::ZERO),
        queue_bytes: 1 << 16,
    };
    let store = LocalStore::open(root, job.parts()).expect("a scratch folder");
    let surroundings = Surroundings {
        store: Some(Box::new(store)),
        stop: &Stop::default(),
        metrics: &Metrics::default(),
        clock: &SystemClock::default(),
    };
    let outcome = super::run(job, &settings, surroundings);
    if outcome.is_ok() {
        let positions = acknowledged.lock().expect("no panic");
        assert!(
            positions.0.values().all(|&position| position == ROWS),
            "all is acknowledged: {positions:?}"
        );
    }
    outcome
}

/// Folds the changes of all epochs, later ones replacing earlier ones.
fn counts(world: &World) -> BTreeMap<String, i64> {
    let mut counts = BTreeMap::new();
    for records in world.visible.values().flatten() {
        let numbers = records.column(1).as_primitive::<Int64Type>();
        let words = records.column(0).as_string::<i32>();
        counts.extend(
            words
                .iter()
                .flatten()
                .map(str::to_owned)
                .zip(numbers.values().iter().copied()),
        );
    }
    counts
}

fn check_words(world: &World) {
    let mut naive = BTreeMap::new();
    let lines = (0..PARTITIONS).flat_map(|partition| (0..ROWS).map(move |offset| line(partition, offset)));
    lines.for_each(|line| {
        line.split(' ')
            .for_each(|word| *naive.entry(word.to_owned()).or_insert(0) += 1)
    });
    assert_eq!(counts(world), naive);
}

/// Every line once, and in order within its partition.
fn check_lines(world: &World) {
    let mut next = BTreeMap::new();
    for records in world.visible.values().flatten() {
        for line in records.column(0).as_string::<i32>().iter().flatten() {
            let (partition, offset) = line.rsplit_once('-').expect("a line");
            let partition = partition.rsplit_once('-').expect("a line").1.to_owned();
            let expected = next.entry(partition).or_insert(0);
            assert_eq!(offset.parse(), Ok(*expected), "{line}");
            *expected += 1;
        }
    }
    assert!(next.len() == 3 && next.values().all(|&next| next == ROWS), "{next:?}");
}

#[test]
fn every_size_of_batch_and_number_of_threads_gives_the_same() {
    for (batch_rows, threads) in [(1, 1), (7, 2), (8192, 1), (8192, 2)] {
        let run = Run {
            batch_rows,
            threads,
            fails: None,
        };
        for words in [true, false] {
            let root = tempfile::tempdir().expect("a scratch folder");
            let world = Arc::default();
            assert_eq!(
                start(root.path(), &world, words, run).expect("nothing fails"),
                Outcome::Finished
            );
            let world = world.lock().expect("no panic");
            if words {
                check_words(&world)
            } else {
                check_lines(&world)
            }
        }
    }
}

#[test]
fn a_run_that_fails_at_any_step_is_resumed_without_loss_or_repetition() {
    for step in [Step::Write, Step::Prepare, Step::BeforeCommit, Step::AfterCommit] {
        for words in [true, false] {
            let root = tempfile::tempdir().expect("a scratch folder");
            let world = Arc::default();
            let mut failed = 0;
            // Each run gets one epoch or a few further, then fails; batches and threads differ from run to run.
            for attempt in 0_u64.. {
                let run = Run {
                    batch_rows: 5 + i64::try_from(attempt % 40).expect("small"),
                    threads: 1 + usize::try_from(attempt % 2).expect("small"),
                    fails: (failed < 6).then_some((step, attempt % 3)),
                };
                match start(root.path(), &world, words, run) {
                    Ok(outcome) => {
                        assert_eq!(outcome, Outcome::Finished);
                        break;
                    }
                    Err(Error::Sink { .. }) => failed += 1,
                    Err(error) => panic!("{error}"),
                }
            }
            assert!(failed > 0, "{step:?} was reached");
            let world = world.lock().expect("no panic");
            if words {
                check_words(&world)
            } else {
                check_lines(&world)
            }
        }
    }
}

#[test]
fn a_finished_job_started_again_has_nothing_to_do() {
    let root = tempfile::tempdir().expect("a scratch folder");
    let world = Arc::default();
    let run = Run {
        batch_rows: 100,
        threads: 2,
        fails: None,
    };
    for _ in 0..2 {
        assert_eq!(
            start(root.path(), &world, true, run).expect("nothing fails"),
            Outcome::Finished
        );
        check_words(&world.lock().expect("no panic"));
    }
}
