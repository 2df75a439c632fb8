//! Event-time windows: out of order, late, idle, restarted and replayed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use arrow::array::{ArrayRef, AsArray, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use proptest::prelude::*;

use super::ledger::{Ledger, World};
use crate::aggregate::AggregateKind;
use crate::batch::{Batch, Column, Origin};
use crate::checkpoint::LocalStore;
use crate::clock::{Clock, SystemClock};
use crate::error::Result;
use crate::metrics::Metrics;
use crate::operator::aggregate::{AggregateCall, HashAggregate};
use crate::operator::expression::column;
use crate::operator::project::Project;
use crate::operator::{Operator, OutputMode};
use crate::pipeline::*;
use crate::position::{OffsetRange, Partition, Positions};
use crate::source::{Event, Intake, Source, SourceState};

const SIZE: i64 = 10;
const LATENESS: i64 = 7;

/// A row: partition, event time in microseconds, key.
type Row = (i32, Option<i64>, &'static str);
/// By window start and key: the number of rows, and the sum of their numbers.
type Windows = BTreeMap<(i64, String), (i64, i64)>;

/// Rows in the order in which they are sent; the number of a row is its place in the list.
struct ScriptedSource {
    rows: Vec<Row>,
    batch_rows: usize,
    bounded: bool,
    reader: Option<JoinHandle<()>>,
}

/// A clock that moves a second with each row that the driver takes in, so that a test knows where micro-batches end.
struct RowClock(Arc<Metrics>);

/// Appends the start of each row's window.
#[derive(Debug)]
struct Tumble(SchemaRef);

fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("time", time_type(), true),
        Field::new("key", DataType::Utf8, true),
        Field::new("number", DataType::Int64, true),
    ]))
}

fn partition(index: i32) -> Partition {
    Partition::new("script", index)
}

fn start_of(time: i64) -> i64 {
    time - time.rem_euclid(SIZE)
}

fn times(values: Vec<Option<i64>>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC"))
}

impl Clock for RowClock {
    fn monotonic(&self) -> Duration {
        Duration::from_secs(self.0.rows_in.get())
    }

    fn wall_micros(&self) -> i64 {
        0
    }
}

impl Tumble {
    fn new() -> Self {
        let mut fields = schema().fields().to_vec();
        fields.push(Field::new("window", time_type(), true).into());
        Self(Arc::new(Schema::new(fields)))
    }
}

impl Operator for Tumble {
    fn describe(&self) -> String {
        "tumble".to_owned()
    }

    fn schema(&self) -> SchemaRef {
        self.0.clone()
    }

    fn apply(&self, batch: Batch, _: &Metrics) -> Result<Batch> {
        let time = batch.column(0).to_array();
        let time = time.as_primitive::<TimestampMicrosecondType>();
        let starts = times(time.iter().map(|time| time.map(start_of)).collect());
        let columns = batch.columns().iter().cloned().chain([Column::Array(starts)]);
        Ok(Batch::from_columns(
            self.0.clone(),
            columns.collect(),
            batch.rows(),
            batch.origin().cloned(),
        ))
    }
}

impl ScriptedSource {
    fn partitions(&self) -> BTreeSet<i32> {
        self.rows.iter().map(|row| row.0).collect()
    }

    /// Returns the batches from `positions` on: each is full, or the last of its partition.
    fn batches(&self, positions: &Positions) -> Vec<Batch> {
        let mut counts = BTreeMap::new();
        let mut waiting: BTreeMap<i32, Vec<(i64, usize)>> = BTreeMap::new();
        let mut batches = vec![];
        for (number, row) in self.rows.iter().enumerate() {
            let offset = counts.entry(row.0).or_insert(0);
            if *offset >= positions.get(&partition(row.0)).unwrap_or(0) {
                let rows = waiting.entry(row.0).or_default();
                rows.push((*offset, number));
                if rows.len() == self.batch_rows {
                    batches.push(self.batch(row.0, &std::mem::take(rows)));
                }
            }
            *offset += 1;
        }
        let rest = waiting.into_iter().filter(|(_, rows)| !rows.is_empty());
        batches.extend(rest.map(|(index, rows)| self.batch(index, &rows)));
        batches
    }

    fn batch(&self, index: i32, rows: &[(i64, usize)]) -> Batch {
        let row = |&(_, number): &(i64, usize)| self.rows[number];
        let keys: StringArray = rows.iter().map(|at| Some(row(at).2)).collect();
        let numbers = rows.iter().map(|at| i64::try_from(at.1).expect("small"));
        let columns: Vec<ArrayRef> = vec![
            times(rows.iter().map(|at| row(at).1).collect()),
            Arc::new(keys),
            Arc::new(numbers.collect::<Int64Array>()),
        ];
        let offsets = OffsetRange {
            from: rows[0].0,
            to: rows[rows.len() - 1].0 + 1,
        };
        let origin = Origin {
            partition: partition(index),
            offsets,
        };
        Batch::new(
            RecordBatch::try_new(schema(), columns).expect("the schema's columns"),
            Some(origin),
        )
    }
}

impl Source for ScriptedSource {
    fn describe(&self) -> String {
        "script".to_owned()
    }

    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn open(&mut self, resume: Option<&SourceState>) -> Result<SourceState> {
        let mut positions = Positions::default();
        self.partitions()
            .iter()
            .for_each(|&index| positions.advance(&partition(index), 0));
        Ok(resume.cloned().unwrap_or_else(|| SourceState {
            ends: self.bounded.then(|| positions.clone()),
            positions,
            identity: serde_json::Value::Null,
        }))
    }

    fn start(&mut self, state: &SourceState, intake: Intake) -> Result<()> {
        let (batches, partitions) = (self.batches(&state.positions), self.partitions());
        let ends = partitions.into_iter().map(|index| Event::Ended {
            partition: partition(index),
        });
        let events: Vec<_> = batches.into_iter().map(Event::Batch).chain(ends).collect();
        self.reader = Some(std::thread::spawn(move || {
            // The driver may stop before the end.
            let _ = events.into_iter().try_for_each(|event| intake.send(event));
        }));
        Ok(())
    }

    fn acknowledge(&mut self, _: &Positions) -> Result<()> {
        Ok(())
    }

    fn stop(&mut self) {
        let reader = self.reader.take().into_iter();
        reader.for_each(|reader| reader.join().expect("the reader ends"));
    }
}

/// What became visible of the windows, and of the late rows.
type Worlds = [Arc<Mutex<World>>; 2];

/// How a test runs its rows.
#[derive(Clone)]
struct Run {
    rows: Vec<Row>,
    mode: OutputMode,
    batch_rows: usize,
    threads: usize,
    bounded: bool,
    /// Micro-batches in rows, with a clock that knows no other time; `None`: by the machine's clock, as short as they get.
    trigger_rows: Option<u64>,
    /// Whether the run stops after each epoch and is started again.
    in_pieces: bool,
}

impl Run {
    fn new(rows: &[Row], mode: OutputMode) -> Self {
        Self {
            rows: rows.to_vec(),
            mode,
            batch_rows: 1,
            threads: 1,
            bounded: true,
            trigger_rows: None,
            in_pieces: false,
        }
    }

    /// Late rows are dead letters: their numbers.
    fn job(&self, sink: Ledger, letters: Ledger) -> Job {
        let call = |name: &str, kind, arguments: &[&str]| AggregateCall {
            name: name.to_owned(),
            kind,
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
        };
        let calls = [
            call("rows", AggregateKind::Count, &[]),
            call("sum", AggregateKind::Sum, &["number"]),
        ];
        let tumble = Tumble::new();
        let aggregate = HashAggregate::new(&["window", "key"], &calls, &tumble.schema()).expect("columns that exist");
        let number = vec![("number".to_owned(), column("number"))];
        let late = Project::new(number, &tumble.schema()).expect("a column that exists");
        let query = Query {
            branches: Branch::only(vec![Arc::new(tumble)]),
            aggregate: Some(Box::new(aggregate.with_window("window", SIZE).expect("a timestamp"))),
            mode: self.mode,
            late: Some(Arc::new(late)),
            ..Query::new(Box::new(sink))
        };
        let source = ScriptedSource {
            rows: self.rows.clone(),
            batch_rows: self.batch_rows,
            bounded: self.bounded,
            reader: None,
        };
        let time = EventTime {
            column: "time".to_owned(),
            lateness: Duration::from_micros(LATENESS.unsigned_abs()),
            idle: Duration::from_secs(5),
        };
        let input = Input {
            time: Some(time),
            ..Input::new(Box::new(source))
        };
        Job {
            inputs: vec![input],
            dead_letters: Some(Box::new(letters)),
            queries: vec![query],
        }
    }

    /// Runs to the end of the rows, and returns what became visible and the counters of the last run.
    fn finish(&self, root: &Path) -> (World, Arc<Metrics>) {
        let (world, _, metrics) = self.finish_with_letters(root);
        (world, metrics)
    }

    /// Runs to the end of the rows, and returns the numbers of the late ones too, in their order.
    fn finish_with_letters(&self, root: &Path) -> (World, Vec<i64>, Arc<Metrics>) {
        let worlds = Worlds::default();
        for _ in 0..10_000 {
            let (stop, metrics) = (Arc::new(Stop::default()), Arc::new(Metrics::default()));
            if self.start(root, &worlds, &stop, &metrics) == Outcome::Finished {
                let [world, letters] = worlds.map(|world| std::mem::take(&mut *world.lock().expect("no panic")));
                let numbers = letters.batches().flat_map(|letters| {
                    let numbers = letters.column(0).as_primitive::<Int64Type>();
                    numbers.values().to_vec()
                });
                let mut numbers: Vec<_> = numbers.collect();
                numbers.sort_unstable();
                return (world, numbers, metrics);
            }
        }
        panic!("every run gets further")
    }

    fn start(&self, root: &Path, worlds: &Worlds, stop: &Arc<Stop>, metrics: &Arc<Metrics>) -> Outcome {
        let [world, letters] = worlds;
        let mut sink = Ledger::new(world);
        sink.stop = self.in_pieces.then(|| Arc::clone(stop));
        let job = self.job(sink, Ledger::new(letters));
        let store = LocalStore::open(root, job.parts()).expect("a scratch folder");
        let settings = Settings {
            trigger: Some(self.trigger_rows.map_or(Duration::ZERO, Duration::from_secs)),
            checkpoint_interval: Some(Duration::ZERO),
            ..Settings::bounded(NonZeroUsize::new(self.threads).expect("a thread"))
        };
        let clock: Box<dyn Clock> = match self.trigger_rows {
            Some(_) => Box::new(RowClock(Arc::clone(metrics))),
            None => Box::<SystemClock>::default(),
        };
        let surroundings = Surroundings {
            store: Some(Box::new(store)),
            stop,
            metrics,
            clock: clock.as_ref(),
        };
        run(job, &settings, surroundings).expect("nothing fails")
    }
}

fn rows_of(records: &RecordBatch) -> Vec<((i64, String), (i64, i64))> {
    let starts = records.column(0).as_primitive::<TimestampMicrosecondType>();
    let keys = records.column(1).as_string::<i32>();
    let number = |column: usize, row| records.column(column).as_primitive::<Int64Type>().value(row);
    let row = |row| {
        let key = (starts.value(row), keys.value(row).to_owned());
        (key, (number(2, row), number(3, row)))
    };
    (0..records.num_rows()).map(row).collect()
}

/// Returns the windows that became visible; in append mode none may come twice.
fn windows(world: &World, mode: OutputMode) -> Windows {
    let mut windows = Windows::new();
    for (window, total) in world.batches().flat_map(rows_of) {
        let before = windows.insert(window.clone(), total);
        assert!(
            before.is_none() || mode != OutputMode::Append,
            "{window:?} was put out twice"
        );
    }
    windows
}

/// Returns the windows by a plain loop over the rows that `is_in_time` lets through.
fn naive(rows: &[Row], is_in_time: impl Fn(usize) -> bool) -> Windows {
    let mut windows = Windows::new();
    for (number, &(_, time, key)) in rows.iter().enumerate() {
        let Some(time) = time.filter(|_| is_in_time(number)) else {
            continue;
        };
        let total = windows.entry((start_of(time), key.to_owned())).or_default();
        *total = (total.0 + 1, total.1 + i64::try_from(number).expect("small"));
    }
    windows
}

/// Runs the rows in every way that must not make a difference.
#[track_caller]
fn check(rows: &[Row], mode: OutputMode) {
    for (batch_rows, threads) in [(1, 1), (1, 2), (7, 1), (7, 2), (8192, 1), (8192, 2)] {
        for (bounded, in_pieces) in [(true, false), (false, false), (true, true)] {
            let run = Run {
                batch_rows,
                threads,
                bounded,
                in_pieces,
                ..Run::new(rows, mode)
            };
            let root = tempfile::tempdir().expect("a scratch folder");
            let (world, metrics) = run.finish(root.path());
            let how = format!("{batch_rows} rows, {threads} threads, bounded: {bounded}, in pieces: {in_pieces}");
            assert_eq!(windows(&world, mode), naive(rows, |_| true), "{how}");
            assert_eq!(metrics.rows_late.get(), 0, "{how}");
        }
    }
}

/// Rows of one partition that are never more than the lateness older than the newest before.
fn in_time(index: i32) -> impl Strategy<Value = Vec<Row>> {
    let key = prop::sample::select(vec!["a", "b", "c"]);
    let step = (0..6_i64, 0..=LATENESS, key);
    prop::collection::vec(step, 1..40).prop_map(move |steps| {
        let mut newest = -20;
        let row = |(step, delay, key)| {
            newest += step;
            (index, Some(newest - delay), key)
        };
        steps.into_iter().map(row).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn rows_out_of_order_within_the_lateness_give_the_batch_answer(
        first in in_time(0),
        second in in_time(1),
        mode in prop::sample::select(vec![OutputMode::Append, OutputMode::Update, OutputMode::Complete]),
        in_turn in any::<bool>(),
    ) {
        let mut rows: Vec<Row> = first.clone().into_iter().chain(second.clone()).collect();
        if in_turn {
            rows = first.iter().zip(&second).flat_map(|(first, second)| [*first, *second]).collect();
        }
        check(&rows, mode);
    }

    #[test]
    fn late_rows_are_counted_to_the_row(
        rows in prop::collection::vec((0..2_i32, prop::option::weighted(0.95, 0..200_i64), prop::sample::select(vec!["a", "b"])), 1..80),
        trigger_rows in 1..9_u64,
        mode in prop::sample::select(vec![OutputMode::Append, OutputMode::Update, OutputMode::Complete]),
    ) {
        let late = late_rows(&rows, trigger_rows, mode);
        let run = Run { trigger_rows: Some(trigger_rows), ..Run::new(&rows, mode) };
        let root = tempfile::tempdir().expect("a scratch folder");
        let (world, letters, metrics) = run.finish_with_letters(root.path());
        prop_assert_eq!(metrics.rows_late.get(), late.len() as u64);
        let late_numbers: Vec<_> = late.iter().map(|&number| i64::try_from(number).expect("small")).collect();
        prop_assert_eq!(letters, late_numbers);
        prop_assert_eq!(windows(&world, mode), naive(&rows, |number| !late.contains(&number)));
    }

    #[test]
    fn a_row_is_in_its_window_or_a_dead_letter_whatever_interrupts_the_run(
        rows in prop::collection::vec((0..2_i32, prop::option::weighted(0.95, 0..200_i64), prop::sample::select(vec!["a", "b"])), 1..60),
        batch_rows in 1..5_usize,
        threads in 1..3_usize,
        mode in prop::sample::select(vec![OutputMode::Append, OutputMode::Update]),
    ) {
        let run = Run { batch_rows, threads, in_pieces: true, ..Run::new(&rows, mode) };
        let root = tempfile::tempdir().expect("a scratch folder");
        let (world, letters, _) = run.finish_with_letters(root.path());
        prop_assert!(letters.is_sorted_by(|earlier, later| earlier < later), "each late row once");
        let is_late = |number: usize| letters.contains(&i64::try_from(number).expect("small"));
        prop_assert_eq!(windows(&world, mode), naive(&rows, |number| !is_late(number)));
    }
}

/// Returns the numbers of the rows that are late, by a plain loop: the first micro-batch has one row, the others
/// `trigger_rows`.
fn late_rows(rows: &[Row], trigger_rows: u64, mode: OutputMode) -> BTreeSet<usize> {
    let partitions: BTreeSet<i32> = rows.iter().map(|row| row.0).collect();
    let mut newest = BTreeMap::new();
    let mut watermark = None;
    let mut late = BTreeSet::new();
    for (number, &(index, time, _)) in rows.iter().enumerate() {
        let closed = watermark.filter(|_| mode != OutputMode::Complete);
        if time.is_none_or(|time| Some(start_of(time) + SIZE) <= closed) {
            late.insert(number);
        }
        if let Some(time) = time {
            let newest = newest.entry(index).or_insert(time);
            *newest = time.max(*newest);
        }
        if (number as u64).is_multiple_of(trigger_rows) && newest.len() == partitions.len() {
            let least = newest.values().min().map(|least| least - LATENESS);
            watermark = watermark.max(least);
        }
    }
    late
}

#[test]
fn an_idle_partition_does_not_hold_windows_back() {
    let rows: Vec<Row> = [(1, Some(0), "b")]
        .into_iter()
        .chain((0..40).map(|second| (0, Some(4 * second), "a")))
        .collect();
    let run = Run {
        trigger_rows: Some(1),
        bounded: false,
        ..Run::new(&rows, OutputMode::Append)
    };
    let root = tempfile::tempdir().expect("a scratch folder");
    let (world, metrics) = run.finish(root.path());
    assert_eq!(windows(&world, OutputMode::Append), naive(&rows, |_| true));
    assert_eq!(metrics.watermark_micros(), Some(4 * 39 - LATENESS));
    let first = world
        .visible
        .iter()
        .find(|(_, rows)| !rows.is_empty())
        .map(|(epoch, _)| epoch.0);
    // Row 6 comes when partition 1 has been silent for five seconds; window 0 needs the watermark at 10, which is the row
    // at 20.
    assert_eq!(
        first,
        Some(7),
        "the first window closes when the other partition is idle"
    );

    // In a bounded run the other partition is waited for.
    let run = Run { bounded: true, ..run };
    let root = tempfile::tempdir().expect("a scratch folder");
    let (world, _) = run.finish(root.path());
    assert_eq!(windows(&world, OutputMode::Append), naive(&rows, |_| true));
    let epochs = world.visible.values().filter(|rows| !rows.is_empty());
    assert_eq!(epochs.count(), 1, "all windows close with the input");
}

#[test]
fn closed_windows_leave_the_state() {
    let rows: Vec<Row> = (0..300).map(|second| (0, Some(4 * second), "a")).collect();
    for mode in [OutputMode::Append, OutputMode::Update, OutputMode::Complete] {
        let run = Run {
            trigger_rows: Some(3),
            ..Run::new(&rows, mode)
        };
        let root = tempfile::tempdir().expect("a scratch folder");
        let (world, metrics) = run.finish(root.path());
        assert_eq!(windows(&world, mode), naive(&rows, |_| true));
        let expected = match mode {
            OutputMode::Append => 0..=0,
            OutputMode::Update => 1..=4,
            OutputMode::Complete => 120..=120,
        };
        assert!(
            expected.contains(&metrics.groups.get()),
            "{mode}: {}",
            metrics.groups.get()
        );
    }
}

#[test]
fn append_is_refused_where_no_group_becomes_final() {
    let run = Run::new(&[], OutputMode::Append);
    let mut job = run.job(Ledger::default(), Ledger::default());
    job.check().expect("windows and an event time");
    job.inputs[0].time = None;
    let error = job.check().expect_err("no event time").to_string();
    assert!(
        error.contains("mode append is not possible: windows close by the event time"),
        "{error}"
    );

    let mut job = run.job(Ledger::default(), Ledger::default());
    job.queries[0].name = "errors".to_owned();
    let count = AggregateCall {
        name: "rows".to_owned(),
        kind: AggregateKind::Count,
        arguments: vec![],
    };
    let aggregate = HashAggregate::new(&["key"], &[count], &schema()).expect("a key");
    job.queries[0].aggregate = Some(Box::new(aggregate));
    let error = job.check().expect_err("no window").to_string();
    assert!(
        error.contains("query `errors`: mode append is not possible: a group must be final"),
        "{error}"
    );

    let mut job = run.job(Ledger::default(), Ledger::default());
    job.inputs[0].time.as_mut().expect("it has one").column = "key".to_owned();
    let error = job.check().expect_err("no time").to_string();
    assert!(error.contains("`key` is Utf8, expected a timestamp"), "{error}");
}

#[test]
fn a_micro_batch_has_its_time_and_no_more_whatever_waits() {
    let rows: Vec<Row> = (0..40).map(|time| (0, Some(time), "a")).collect();
    let run = Run {
        trigger_rows: Some(2),
        ..Run::new(&rows, OutputMode::Update)
    };
    let root = tempfile::tempdir().expect("a scratch folder");
    let (world, _) = run.finish(root.path());
    assert!(world.visible.len() >= rows.len() / 2, "{} epochs", world.visible.len());
}

#[test]
fn late_rows_that_are_kept_need_a_place() {
    let mut job = Run::new(&[], OutputMode::Append).job(Ledger::default(), Ledger::default());
    job.queries[0].name = "errors".to_owned();
    job.dead_letters = None;
    let error = job.check().expect_err("nowhere to go").to_string();
    let expected = "query `errors`: late rows are to be dead letters, and the job has no output for those";
    assert_eq!(error, expected);
}

#[test]
fn a_job_whose_windows_are_put_out_otherwise_is_another_job() {
    let root = tempfile::tempdir().expect("a scratch folder");
    let parts = |mode| Run::new(&[], mode).job(Ledger::default(), Ledger::default()).parts();
    drop(LocalStore::open(root.path(), parts(OutputMode::Append)).expect("a scratch folder"));
    let error = LocalStore::open(root.path(), parts(OutputMode::Update)).expect_err("another mode");
    let error = error.to_string();
    assert!(
        error.contains("the output mode was `append`, now it is `update`"),
        "{error}"
    );
}
