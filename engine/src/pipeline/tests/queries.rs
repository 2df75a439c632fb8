//! Several queries and dead letters in one job: decoded once, ended together.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, AsArray, BooleanArray, StringArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::ledger::{Ledger, Step, World};
use super::{MemorySource, PARTITIONS, ROWS, line};
use crate::aggregate::AggregateKind;
use crate::batch::Batch;
use crate::checkpoint::LocalStore;
use crate::clock::SystemClock;
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::operator::aggregate::{AggregateCall, HashAggregate};
use crate::operator::expression::{Comparison, column, compare, literal};
use crate::operator::filter::Filter;
use crate::operator::text::Text;
use crate::operator::tokenize::{SplitMode, Tokenize};
use crate::operator::{Operator, OutputMode, StatefulOperator};
use crate::pipeline::*;
use crate::sink::Sink;
use crate::source::Source;

/// The outputs of the job: the count of words, all good lines, the bad lines.
const OUTPUTS: usize = 3;

/// Puts the lines of every seventh offset aside.
#[derive(Debug)]
struct PutAside(SchemaRef);

impl Operator for PutAside {
    fn describe(&self) -> String {
        "put aside".to_owned()
    }

    fn schema(&self) -> SchemaRef {
        self.0.clone()
    }

    fn apply(&self, batch: Batch, metrics: &Metrics) -> Result<Batch> {
        let records = batch.to_records()?;
        let lines = records.column(0).as_string::<i32>();
        let good: BooleanArray = lines.iter().map(|line| line.map(|line| !is_bad(line))).collect();
        let bad = arrow::compute::not(&good).map_err(Error::arrow("negate"))?;
        let rows = |mask| filter_record_batch(&records, mask).map_err(Error::arrow("filter"));
        let rejected = rows(&bad)?;
        metrics.rows_bad.add(rejected.num_rows() as u64);
        Ok(Batch::new(rows(&good)?, batch.origin().cloned()).with_rejected([rejected]))
    }
}

fn is_bad(line: &str) -> bool {
    line.starts_with("word-3 ")
}

type Worlds = [Arc<Mutex<World>>; OUTPUTS];

/// How a job is run: which output decides, which fails at which step, and the settings.
#[derive(Clone, Copy, Default)]
struct Run {
    decider: Option<usize>,
    fails: Option<(usize, Step, u64)>,
    batch_rows: i64,
    threads: usize,
    has_dead_letters: bool,
    error_ratio_max: Option<f64>,
}

impl Run {
    fn job(self, worlds: &Worlds) -> Job {
        let sink = |index: usize| -> Box<dyn Sink> {
            let mut sink = Ledger::new(&worlds[index]);
            sink.decides = self.decider == Some(index);
            sink.fails = self
                .fails
                .and_then(|(at, step, left)| (at == index).then_some((step, left)));
            Box::new(sink)
        };
        let source = MemorySource {
            stream: "memory",
            batch_rows: self.batch_rows,
            reader: None,
            acknowledged: Arc::default(),
        };
        let text = Text::new("value", &source.schema()).expect("a binary column");
        let aside = PutAside(text.schema());
        let count = count_words(&aside.schema());
        let (tokenize, count) = count;
        let words = Query {
            name: "words".to_owned(),
            branches: Branch::only(vec![Arc::new(tokenize)]),
            finish: vec![Arc::new(more_than_one(&count.schema()))],
            aggregate: Some(Box::new(count)),
            ..Query::new(sink(0))
        };
        let lines = Query {
            name: "lines".to_owned(),
            ..Query::new(sink(1))
        };
        let input = Input {
            operators: vec![Arc::new(text), Arc::new(aside)],
            max_error_ratio: self.error_ratio_max,
            ..Input::new(Box::new(source))
        };
        Job {
            inputs: vec![input],
            queries: vec![words, lines],
            dead_letters: self.has_dead_letters.then(|| sink(2)),
        }
    }

    fn start(self, root: &Path, worlds: &Worlds, metrics: &Metrics) -> Result<Outcome> {
        let job = self.job(worlds);
        let store = LocalStore::open(root, job.parts()).expect("a scratch folder");
        let settings = Settings {
            trigger: Some(Duration::from_micros(200)),
            checkpoint_interval: Some(Duration::ZERO),
            // Where the share of bad rows is judged, a batch is done before the next one is taken: on a busy machine all of a
            // small input would be taken in before the first bad row is counted.
            queue_bytes: if self.error_ratio_max.is_some() { 1 } else { 1 << 16 },
            ..Settings::bounded(NonZeroUsize::new(self.threads).expect("a thread"))
        };
        let surroundings = Surroundings {
            store: Some(Box::new(store)),
            stop: &Stop::default(),
            metrics,
            clock: &SystemClock::default(),
        };
        run(job, &settings, surroundings)
    }
}

fn count_words(schema: &SchemaRef) -> (Tokenize, HashAggregate) {
    let tokenize = Tokenize::new("value", SplitMode::Ascii, false, &[], "word", schema).expect("text");
    let call = AggregateCall {
        name: "count".to_owned(),
        kind: AggregateKind::Count,
        arguments: vec![],
    };
    let aggregate = HashAggregate::new(&["word"], &[call], &tokenize.schema()).expect("a word column");
    (tokenize, aggregate)
}

/// The words `word-…`: those of the lines' own names come once.
fn more_than_one(schema: &SchemaRef) -> Filter {
    let word: ArrayRef = Arc::new(StringArray::from(vec!["word"]));
    assert_eq!(*schema.field(0).data_type(), DataType::Utf8);
    Filter::new(
        compare(column("word"), Comparison::GreaterOrEqual, literal(word)),
        schema.clone(),
    )
    .expect("a truth value")
}

fn naive_lines() -> impl Iterator<Item = String> {
    (0..PARTITIONS).flat_map(|partition| (0..ROWS).map(move |offset| line(partition, offset)))
}

fn strings(world: &World) -> Vec<String> {
    let column = |records: &RecordBatch| records.column(0).as_string::<i32>().clone();
    let strings = world.batches().map(column);
    let mut strings: Vec<String> = strings
        .flat_map(|column| column.iter().flatten().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    strings.sort();
    strings
}

/// Compares all outputs with a plain loop.
#[track_caller]
fn check(worlds: &Worlds, has_dead_letters: bool) {
    let worlds = worlds.each_ref().map(|world| world.lock().expect("no panic"));
    let (mut bad, mut good): (Vec<_>, Vec<_>) = naive_lines().partition(|line| is_bad(line));
    bad.sort();
    good.sort();
    assert_eq!(strings(&worlds[1]), good, "every good line once");
    let expected = if has_dead_letters { bad } else { vec![] };
    assert_eq!(strings(&worlds[2]), expected, "every bad line once");

    let mut naive = BTreeMap::new();
    for line in good {
        let word = line.split(' ').next().expect("a word").to_owned();
        *naive.entry(word).or_insert(0) += 1;
    }
    let mut counts = BTreeMap::new();
    for records in worlds[0].batches() {
        let words = records.column(0).as_string::<i32>().iter().flatten().map(str::to_owned);
        let numbers = records.column(1).as_primitive::<Int64Type>().values();
        counts.extend(words.zip(numbers.iter().copied()));
    }
    assert_eq!(counts, naive);
}

const WHOLE: Run = Run {
    decider: None,
    fails: None,
    batch_rows: 100,
    threads: 2,
    has_dead_letters: true,
    error_ratio_max: None,
};

#[test]
fn each_query_and_the_dead_letters_get_their_rows_once() {
    for (batch_rows, threads, has_dead_letters) in [(1, 1, true), (7, 2, true), (8192, 1, false), (8192, 2, true)] {
        let run = Run {
            batch_rows,
            threads,
            has_dead_letters,
            ..WHOLE
        };
        let (root, worlds) = (tempfile::tempdir().expect("a scratch folder"), Worlds::default());
        let metrics = Metrics::default();
        run.start(root.path(), &worlds, &metrics).expect("nothing fails");
        check(&worlds, has_dead_letters);
        let bad = naive_lines().filter(|line| is_bad(line)).count();
        assert_eq!(metrics.rows_bad.get(), bad as u64);
    }
}

#[test]
fn a_failure_of_any_output_at_any_step_leaves_all_outputs_at_the_same_epoch() {
    for decider in [None, Some(0), Some(1), Some(2)] {
        for output in 0..OUTPUTS {
            for step in [Step::Write, Step::Prepare, Step::BeforeCommit, Step::AfterCommit] {
                let (root, worlds) = (tempfile::tempdir().expect("a scratch folder"), Worlds::default());
                let mut failed = 0;
                for attempt in 0_u64.. {
                    let run = Run {
                        decider,
                        fails: (failed < 4).then_some((output, step, attempt % 3)),
                        batch_rows: 50 + i64::try_from(attempt % 40).expect("small"),
                        threads: 1 + usize::try_from(attempt % 2).expect("small"),
                        ..WHOLE
                    };
                    match run.start(root.path(), &worlds, &Metrics::default()) {
                        Ok(_) => break,
                        Err(Error::Sink { .. }) => failed += 1,
                        Err(error) => panic!("{error}"),
                    }
                }
                assert!(failed > 0, "{step:?} was reached");
                check(&worlds, true);
            }
        }
    }
}

#[test]
fn too_many_bad_rows_end_the_job() {
    let share = |ratio| Run {
        error_ratio_max: Some(ratio),
        ..WHOLE
    };
    let (root, worlds) = (tempfile::tempdir().expect("a scratch folder"), Worlds::default());
    let error = share(0.1)
        .start(root.path(), &worlds, &Metrics::default())
        .expect_err("a seventh is bad");
    let Error::TooManyBadRows { bad, rows, .. } = error else {
        panic!("{error}");
    };
    assert!(rows >= 1000 && bad * 10 > rows && rows < 3000, "{bad} of {rows}");
    // What is tolerated changes nothing of what the job computes: it may go on with more.
    share(0.15)
        .start(root.path(), &worlds, &Metrics::default())
        .expect("a seventh is tolerated");
    check(&worlds, true);
}

#[test]
fn what_no_job_can_be_is_refused() {
    let worlds = Worlds::default();
    let refused = |job: Job, expected: &str| {
        let error = job.check().expect_err("no job").to_string();
        assert!(error.contains(expected), "{error}");
    };
    let mut job = WHOLE.job(&worlds);
    job.queries[1].name = "words".to_owned();
    refused(job, "two queries are called `words`");
    let mut job = WHOLE.job(&worlds);
    job.queries.clear();
    refused(job, "the job has no query");
    let mut job = Run {
        decider: Some(0),
        ..WHOLE
    }
    .job(&worlds);
    let mut second = Ledger::new(&worlds[2]);
    second.decides = true;
    job.dead_letters = Some(Box::new(second));
    refused(job, "two outputs would each decide whether an epoch happened");
}

#[test]
fn the_parts_of_a_job_say_of_which_query_they_are() {
    let job = WHOLE.job(&Worlds::default());
    let names: Vec<_> = job.parts().into_iter().map(|part| part.name).collect();
    let expected = [
        "the source",
        "operator 1",
        "operator 2",
        "operator 3 of query words",
        "operator 4 of query words",
        "operator 5 of query words",
        "the sink of query words",
        "the sink of query lines",
        "the dead letters",
    ];
    assert_eq!(names, expected);
    assert_eq!(job.queries[0].mode, OutputMode::Update);
}
