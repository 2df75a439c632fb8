//! Golden cases: a file holds operators, input and expected output. Each runs with batches of 1, 7 and 8192 rows, with one
//! and two threads, in one go and stopped after every epoch and resumed: all must give the one output.
//!
//! ```text
//! text value                                 the operators, one a line, as the registry reads them
//! aggregate count(*) AS count by value
//! --- input                                  lines of a file: the column `value`
//! a
//! --- output                                 tab-separated; of an aggregate: the groups, sorted
//! a       1
//! ```
//! A case that begins with `event 5s` has an event time: its lines are a number of seconds and a word, which become the
//! columns `time` and `word`; rows may be five seconds late. It runs in append mode, and all of its rows are put out, sorted.
//!
//! `UPDATE=1` rewrites the output.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::{AsArray, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;

use millstream::connectors::encode::JsonEncoder;
use millstream::connectors::file::{FileOptions, FileSource};
use millstream::engine::checkpoint::LocalStore;
use millstream::engine::clock::SystemClock;
use millstream::engine::metrics::Metrics;
use millstream::engine::operator::registry::{self, Parsed};
use millstream::engine::operator::{Operator, OutputMode, StatefulOperator};
use millstream::engine::pipeline::{Branch, EventTime, Job, Outcome, Query, Settings, Stop, Surroundings, run};
use millstream::engine::sink::{Barrier, Guarantee, Recovery, Sink, Token};
use millstream::engine::source::Source;
use millstream::engine::{Batch, Epoch, Result};

use crate::harness::scratch::Scratch;

const BATCH_ROWS: [usize; 3] = [1, 7, 8192];
const THREADS: [usize; 2] = [1, 2];

struct Case {
    path: PathBuf,
    operators: Vec<String>,
    input: String,
    output: String,
}

/// The output's rows, by the epoch that committed them.
type World = BTreeMap<Epoch, Vec<Vec<String>>>;

/// Keeps rows as text, and asks for a stop after an epoch if it should.
struct TextSink {
    world: Arc<Mutex<World>>,
    stop: Option<Arc<Stop>>,
    rows: Vec<Vec<String>>,
}

/// Takes lines apart into an event time and a word.
#[derive(Debug)]
struct Event(SchemaRef);

impl Case {
    fn read(path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).expect("a case can be read");
        let (operators, rest) = text.split_once("--- input\n").expect("a case has an input");
        let (input, output) = rest.split_once("--- output\n").expect("a case has an output");
        Self {
            operators: operators.lines().map(str::to_owned).collect(),
            input: input.to_owned(),
            output: output.to_owned(),
            path,
        }
    }

    fn is_stateful(&self) -> bool {
        self.operators.iter().any(|operator| operator.starts_with("aggregate"))
    }

    /// Returns how late rows may be, if the case has an event time.
    fn lateness(&self) -> Option<Duration> {
        let seconds = self.operators.first()?.strip_prefix("event ")?.strip_suffix('s')?;
        Some(Duration::from_secs(seconds.parse().expect("a number of seconds")))
    }

    fn job(&self, input: &Path, batch_rows: usize, sink: TextSink) -> Job {
        let mut options = FileOptions::new(vec![input.to_owned()]);
        options.batch_rows_max = batch_rows;
        let source = FileSource::new(options).expect("a file that was written");
        let mut schema = source.schema();
        let mut operators: Vec<Arc<dyn Operator>> = Vec::new();
        let mut aggregate: Option<Box<dyn StatefulOperator>> = None;
        let lateness = self.lateness();
        if lateness.is_some() {
            let event = Event::new();
            schema = event.schema();
            operators.push(Arc::new(event));
        }
        for text in self.operators.iter().skip(usize::from(lateness.is_some())) {
            match registry::parse(text, &schema).unwrap_or_else(|error| panic!("{}: {error}", self.path.display())) {
                Parsed::Stateless(operator) => {
                    schema = operator.schema();
                    operators.push(operator);
                }
                Parsed::Stateful(operator) => aggregate = Some(operator),
            }
        }
        let query = Query {
            branches: Branch::only(operators),
            aggregate,
            mode: lateness.map_or(OutputMode::Update, |_| OutputMode::Append),
            ..Query::new(Box::new(sink))
        };
        let mut job = Job::new(Box::new(source), query);
        // The event time is a column of what all queries share.
        if let Some(lateness) = lateness {
            job.inputs[0].operators = vec![job.queries[0].branches[0].operators.remove(0)];
            job.inputs[0].time = Some(EventTime {
                column: "time".to_owned(),
                lateness,
                idle: Duration::from_secs(60),
            });
        }
        job
    }

    /// Runs the case, resuming it as often as it stops, and returns its output.
    fn run(&self, scratch: &Path, batch_rows: usize, threads: usize, in_pieces: bool) -> String {
        let input = scratch.join("input.log");
        fs::write(&input, &self.input).expect("a scratch file");
        let world = Arc::default();
        let mut runs = 0;
        loop {
            let stop = Arc::new(Stop::default());
            let sink = TextSink {
                world: Arc::clone(&world),
                stop: in_pieces.then(|| Arc::clone(&stop)),
                rows: Vec::new(),
            };
            let job = self.job(&input, batch_rows, sink);
            let settings = Settings {
                trigger: Some(Duration::ZERO),
                checkpoint_interval: Some(Duration::ZERO),
                ..Settings::bounded(NonZeroUsize::new(threads).expect("a thread"))
            };
            let store = LocalStore::open(&scratch.join("checkpoint"), job.parts()).expect("a scratch folder");
            let surroundings = Surroundings {
                store: Some(Box::new(store)),
                stop: &stop,
                metrics: &Metrics::default(),
                clock: &SystemClock::default(),
            };
            runs += 1;
            assert!(runs < 10_000, "{}: every run gets further", self.path.display());
            if run(job, &settings, surroundings).expect("a case does not fail") == Outcome::Finished {
                break;
            }
        }
        let world = world.lock().expect("no panic");
        self.fold(&world)
    }

    /// Stateless: all rows in order. Aggregates: the last row of each group, sorted; a group is known by its string cells.
    fn fold(&self, world: &World) -> String {
        let rows = world.values().flatten();
        let lines: Vec<String> = if self.lateness().is_some() {
            let mut lines: Vec<_> = rows.map(|row| row.join("\t")).collect();
            lines.sort();
            lines
        } else if self.is_stateful() {
            let keys = self.operators.last().and_then(|text| text.rsplit_once(" by "));
            let keys = keys.map_or(0, |(_, keys)| {
                keys.split(',').filter(|key| !key.trim().is_empty()).count()
            });
            let groups: BTreeMap<_, _> = rows.map(|row| (row[..keys].join("\t"), row.join("\t"))).collect();
            groups.into_values().collect()
        } else {
            rows.map(|row| row.join("\t")).collect()
        };
        lines.iter().map(|line| format!("{line}\n")).collect()
    }
}

impl Event {
    fn new() -> Self {
        Self(Arc::new(Schema::new(vec![
            Field::new(
                "time",
                DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
                true,
            ),
            Field::new("word", DataType::Utf8, true),
        ])))
    }
}

impl Operator for Event {
    fn describe(&self) -> String {
        "event".to_owned()
    }

    fn schema(&self) -> SchemaRef {
        self.0.clone()
    }

    fn apply(&self, batch: Batch, _: &Metrics) -> Result<Batch> {
        let records = batch.to_records()?;
        let lines = records.column(0).as_binary::<i32>();
        let line = |line| {
            std::str::from_utf8(line)
                .expect("a case is text")
                .split_once(' ')
                .expect("time and word")
        };
        let lines: Vec<_> = lines.iter().flatten().map(line).collect();
        let micros = lines
            .iter()
            .map(|line| 1_000_000 * line.0.parse::<i64>().expect("seconds"));
        let times = TimestampMicrosecondArray::from_iter_values(micros).with_timezone("UTC");
        let words: StringArray = lines.iter().map(|line| Some(line.1)).collect();
        let records = RecordBatch::try_new(self.0.clone(), vec![Arc::new(times), Arc::new(words)]);
        Ok(Batch::new(
            records.expect("the schema's columns"),
            batch.origin().cloned(),
        ))
    }
}

impl Sink for TextSink {
    fn describe(&self) -> String {
        "text".to_owned()
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    fn recover(&mut self, recovery: &Recovery<'_>) -> Result<Option<Epoch>> {
        Ok(recovery.candidates.first().map(|candidate| candidate.epoch))
    }

    fn write(&mut self, batch: &Batch) -> Result<()> {
        let records = batch.to_records()?;
        let mut encoder = JsonEncoder::objects(&records.schema());
        for line in String::from_utf8_lossy(encoder.encode(&records)?.bytes()).lines() {
            let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).expect("JSON");
            let cell = |field: &Arc<Field>| object[field.name()].to_string();
            self.rows.push(records.schema().fields().iter().map(cell).collect());
        }
        Ok(())
    }

    fn prepare(&mut self, barrier: &Barrier<'_>) -> Result<Token> {
        Ok(Token(barrier.epoch.0.into()))
    }

    fn commit(&mut self, token: &Token) -> Result<()> {
        let epoch = Epoch(token.0.as_u64().expect("prepare made it"));
        let rows = std::mem::take(&mut self.rows);
        self.world.lock().expect("no panic").insert(epoch, rows);
        if let Some(stop) = &self.stop {
            stop.raise();
        }
        Ok(())
    }

    fn abort(&mut self) {}
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let entries = fs::read_dir(folder).expect("the cases' folder");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.into_iter().map(Case::read).collect()
}

#[test]
fn every_case_gives_its_output_however_it_is_run() {
    let scratch = Scratch::new("golden");
    for (index, case) in cases().iter().enumerate() {
        for (batch_rows, threads, in_pieces) in variants() {
            let folder = scratch
                .path()
                .join(format!("{index}-{batch_rows}-{threads}-{in_pieces}"));
            fs::create_dir_all(&folder).expect("a scratch folder");
            let output = case.run(&folder, batch_rows, threads, in_pieces);
            if std::env::var_os("UPDATE").is_some() {
                let text = format!(
                    "{}\n--- input\n{}--- output\n{output}",
                    case.operators.join("\n"),
                    case.input
                );
                fs::write(&case.path, text).expect("a case can be written");
                break;
            }
            let how = format!("{batch_rows} rows a batch, {threads} threads, in pieces: {in_pieces}");
            assert_eq!(output, case.output, "{}: {how}", case.path.display());
        }
    }
}

fn variants() -> impl Iterator<Item = (usize, usize, bool)> {
    let sizes = BATCH_ROWS
        .into_iter()
        .flat_map(|rows| THREADS.map(|threads| (rows, threads)));
    sizes.flat_map(|(rows, threads)| [false, true].map(|in_pieces| (rows, threads, in_pieces)))
}

#[test]
fn every_operator_of_the_registry_has_a_case() {
    let cases = cases();
    for entry in registry::ENTRIES {
        let used = |case: &Case| case.operators.iter().any(|text| text.starts_with(entry.name));
        assert!(cases.iter().any(used), "tests/golden has a case with `{}`", entry.name);
    }
}
