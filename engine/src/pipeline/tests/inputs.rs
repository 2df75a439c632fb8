//! Several sources in one job: one queue, one watermark, one epoch.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;

use super::ledger::{Ledger, Step, World};
use super::{MemorySource, PARTITIONS, ROWS, line, schema};
use crate::aggregate::AggregateKind;
use crate::checkpoint::LocalStore;
use crate::clock::SystemClock;
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::operator::Operator;
use crate::operator::aggregate::{AggregateCall, HashAggregate};
use crate::operator::text::Text;
use crate::operator::tokenize::{SplitMode, Tokenize};
use crate::pipeline::*;
use crate::position::Positions;
use crate::sink::Sink;

/// The names of the sources.
const STREAMS: [&str; 2] = ["blue", "green"];

/// The outputs: the words of both sources, the lines of the second.
type Worlds = [Arc<Mutex<World>>; 2];

/// How a job is run: which output decides, which fails at which step.
#[derive(Clone, Copy)]
struct Run {
    decider: Option<usize>,
    fails: Option<(usize, Step, u64)>,
    batch_rows: i64,
    threads: usize,
}

impl Run {
    fn job(self, worlds: &Worlds, acknowledged: &[Arc<Mutex<Positions>>; 2]) -> Job {
        let sink = |index: usize| -> Box<dyn Sink> {
            let mut sink = Ledger::new(&worlds[index]);
            sink.decides = self.decider == Some(index);
            sink.fails = self
                .fails
                .and_then(|(at, step, left)| (at == index).then_some((step, left)));
            Box::new(sink)
        };
        let text = || Text::new("value", &schema()).expect("a binary column");
        let input = |(stream, acknowledged): (&'static str, &Arc<Mutex<Positions>>)| {
            let source = MemorySource {
                stream,
                batch_rows: self.batch_rows,
                reader: None,
                acknowledged: Arc::clone(acknowledged),
            };
            Input {
                name: stream.to_owned(),
                operators: vec![Arc::new(text())],
                ..Input::new(Box::new(source))
            }
        };
        let tokenize = || Tokenize::new("value", SplitMode::Ascii, false, &[], "word", &text().schema()).expect("text");
        let count = AggregateCall {
            name: "count".to_owned(),
            kind: AggregateKind::Count,
            arguments: vec![],
        };
        let branch = |input| Branch {
            input,
            operators: vec![Arc::new(tokenize())],
        };
        let words = Query {
            name: "words".to_owned(),
            branches: vec![branch(0), branch(1)],
            aggregate: Some(Box::new(
                HashAggregate::new(&["word"], &[count], &tokenize().schema()).expect("a word column"),
            )),
            ..Query::new(sink(0))
        };
        let lines = Query {
            name: "lines".to_owned(),
            branches: vec![Branch {
                input: 1,
                operators: vec![],
            }],
            ..Query::new(sink(1))
        };
        Job {
            inputs: STREAMS.into_iter().zip(acknowledged).map(input).collect(),
            queries: vec![words, lines],
            dead_letters: None,
        }
    }

    fn start(self, root: &Path, worlds: &Worlds) -> Result<[Positions; 2]> {
        let acknowledged = Default::default();
        let job = self.job(worlds, &acknowledged);
        let store = LocalStore::open(root, job.parts()).expect("a scratch folder");
        let settings = Settings {
            trigger: Some(Duration::from_micros(200)),
            checkpoint_interval: Some(Duration::ZERO),
            queue_bytes: 1 << 16,
            ..Settings::bounded(NonZeroUsize::new(self.threads).expect("a thread"))
        };
        let surroundings = Surroundings {
            store: Some(Box::new(store)),
            stop: &Stop::default(),
            metrics: &Metrics::default(),
            clock: &SystemClock::default(),
        };
        run(job, &settings, surroundings)?;
        Ok(acknowledged.map(|positions| std::mem::take(&mut *positions.lock().expect("no panic"))))
    }
}

const WHOLE: Run = Run {
    decider: None,
    fails: None,
    batch_rows: 100,
    threads: 2,
};

/// Compares both outputs with a plain loop.
#[track_caller]
fn check(worlds: &Worlds) {
    let mut naive = BTreeMap::new();
    let mut lines = vec![];
    for partition in 0..PARTITIONS {
        for offset in 0..ROWS {
            let line = line(partition, offset);
            for word in line.split(' ') {
                *naive.entry(word.to_owned()).or_insert(0) += 2;
            }
            lines.push(line);
        }
    }
    lines.sort();
    let worlds = worlds.each_ref().map(|world| world.lock().expect("no panic"));
    let mut counts = BTreeMap::new();
    for records in worlds[0].batches() {
        let words = records.column(0).as_string::<i32>().iter().flatten().map(str::to_owned);
        let numbers = records.column(1).as_primitive::<Int64Type>().values();
        counts.extend(words.zip(numbers.iter().copied()));
    }
    assert_eq!(counts, naive, "each word of both sources");
    let mut found = vec![];
    for records in worlds[1].batches() {
        found.extend(records.column(0).as_string::<i32>().iter().flatten().map(str::to_owned));
    }
    found.sort();
    assert_eq!(found, lines, "each line of the second source once");
}

#[test]
fn a_query_over_two_sources_has_the_rows_of_both_and_one_over_one_those_of_one() {
    for (batch_rows, threads) in [(1, 1), (7, 2), (8192, 2)] {
        let run = Run {
            batch_rows,
            threads,
            ..WHOLE
        };
        let (root, worlds) = (tempfile::tempdir().expect("a scratch folder"), Worlds::default());
        let acknowledged = run.start(root.path(), &worlds).expect("nothing fails");
        check(&worlds);
        for (stream, positions) in STREAMS.iter().zip(acknowledged) {
            let own = |partition: &crate::Partition| *partition.stream == **stream;
            assert!(positions.0.keys().all(own), "only its own: {positions:?}");
            assert_eq!(positions.0.len(), usize::try_from(PARTITIONS).expect("a few"));
            assert!(positions.0.values().all(|&position| position == ROWS), "{positions:?}");
        }
    }
}

#[test]
fn a_failure_at_any_step_leaves_both_sources_and_all_outputs_at_one_epoch() {
    for decider in [None, Some(0), Some(1)] {
        for output in 0..2 {
            for step in [Step::Write, Step::Prepare, Step::BeforeCommit, Step::AfterCommit] {
                let (root, worlds) = (tempfile::tempdir().expect("a scratch folder"), Worlds::default());
                let mut failed = 0;
                for attempt in 0_u64.. {
                    let run = Run {
                        decider,
                        fails: (failed < 4).then_some((output, step, attempt % 3)),
                        batch_rows: 50 + i64::try_from(attempt % 40).expect("small"),
                        threads: 1 + usize::try_from(attempt % 2).expect("small"),
                    };
                    match run.start(root.path(), &worlds) {
                        Ok(_) => break,
                        Err(Error::Sink { .. }) => failed += 1,
                        Err(error) => panic!("{error}"),
                    }
                }
                assert!(failed > 0, "{step:?} was reached");
                check(&worlds);
            }
        }
    }
}

#[test]
fn two_sources_that_read_the_same_partition_are_refused() {
    let worlds = Worlds::default();
    let mut job = WHOLE.job(&worlds, &Default::default());
    job.inputs[1].source = Box::new(MemorySource {
        stream: STREAMS[0],
        batch_rows: 10,
        reader: None,
        acknowledged: Arc::default(),
    });
    let error = run_once(job, NonZeroUsize::MIN).expect_err("blue twice").to_string();
    assert!(error.contains("two sources of the job read blue[0]"), "{error}");
}

#[test]
fn inputs_and_branches_that_no_job_can_have_are_refused() {
    let job = || WHOLE.job(&Worlds::default(), &Default::default());
    let refused = |job: Job, expected: &str| {
        let error = job.check().expect_err("no job").to_string();
        assert!(error.contains(expected), "{error}");
    };
    job().check().expect("it is right");
    let mut twice = job();
    twice.inputs[1].name = "blue".to_owned();
    refused(twice, "two inputs are called `blue`");
    let mut unread = job();
    unread.queries[0].branches.remove(0);
    refused(unread, "no query reads the input `blue`");
    let mut unknown = job();
    unknown.queries[1].branches[0].input = 2;
    refused(unknown, "query `lines`: the job has no input 2");
    let mut doubled = job();
    doubled.queries[0].branches[1].input = 0;
    refused(doubled, "query `words`: it has two branches over the input `blue`");
    let mut none = job();
    none.queries[1].branches.clear();
    refused(none, "query `lines`: it reads no input");
    let mut different = job();
    different.queries[0].branches[1].operators.clear();
    refused(different, "query `words`: its branches end in different columns");
}

#[test]
fn the_parts_of_a_job_say_of_which_source_they_are() {
    let job = WHOLE.job(&Worlds::default(), &Default::default());
    let names: Vec<_> = job.parts().into_iter().map(|part| part.name).collect();
    let expected = [
        "the source blue",
        "operator 1 of source blue",
        "the source green",
        "operator 1 of source green",
        "operator 2 of query words over source blue",
        "operator 2 of query words over source green",
        "operator 3 of query words",
        "the sink of query words",
        "the sink of query lines",
    ];
    assert_eq!(names, expected);
}
