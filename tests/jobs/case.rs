//! A job of `data/jobs` over lines of a test's own: run with batches of 1, 7 and 8192 rows, with one and two threads, while its lines
//! are being written, and killed at a point or at every epoch and started again. All must give the answer that DuckDB gives over
//! the same lines.
//!
//! DuckDB sees the lines in `input` (topic, partition, offset, line), and `requests` if they are an access log's; and what the job
//! wrote in `output`: the columns of its Parquet files, or (row, key, place), which are a record's value, key and offset, or a
//! line's cells as a list and its number.

use std::cell::Cell;
use std::collections::HashSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::PATIENCE;
use crate::harness::broker::Broker;
use crate::harness::duckdb;
use crate::harness::process::Run;
use crate::harness::records::{Isolation, NewRecord, Record};
use crate::harness::scratch::{Scratch, root};
use crate::harness::seeded::Seeded;

/// The partitions of every topic.
const PARTITIONS: usize = 2;

/// What a process that aborts is ended by.
const SIGABRT: i32 = 6;

/// The points at which a job is killed, of those that every job with a checkpoint passes.
const CRASHES: [&str; 5] = [
    "mid_epoch",
    "after_snapshot",
    "after_prepare",
    "before_store_rename",
    "after_store_rename",
];

/// Rows of a batch where a job is killed at every epoch: few batches, so few epochs.
const ROWS_OF_A_BATCH: usize = 20;

/// The most runs that a job needs when each is killed at its first epoch.
const RUNS_MAX: usize = 64;

/// The pieces in which a live job gets its lines.
const PIECES: usize = 3;

/// An epoch at the end of each micro-batch, which are as short as can be, and next to nothing that waits between their end and
/// the reader.
const HURRY: [&str; 6] = [
    "--set",
    "run.trigger=1ms",
    "--set",
    "run.checkpoint_interval=0s",
    "--set",
    "run.queue=1B",
];

/// The batches of a micro-batch, and so of an epoch, where a job is killed: how many epochs there are at least does not depend on
/// the machine's speed.
const BATCHES_OF_AN_EPOCH: &str = "2";

/// The lines, and the requests among them: those that the combined format can have.
const INPUT: &str = r#"
    input AS (
        SELECT * FROM read_json('input.jsonl', format = 'newline_delimited',
                                columns = {topic: 'INTEGER', partition: 'INTEGER', "offset": 'BIGINT', line: 'VARCHAR'})
    ),
    fields AS (
        SELECT *, regexp_extract(line, '^(\S+) \S+ \S+ \[([^\]]+)\] "((?:[^"\\]|\\.)*)" (\d{3}) (\d+|-)( |$)',
                                 ['host', 'time', 'request', 'status', 'bytes']) AS field
        FROM input
    ),
    requests AS (
        SELECT topic, partition, "offset", field.host AS host, try_cast(field.status AS BIGINT) AS status,
               try_cast(field.bytes AS BIGINT) AS bytes, strptime(field.time, '%d/%b/%Y:%H:%M:%S +0000') AS time,
               nullif(regexp_extract(field.request, '^(\S+) (\S+) HTTP/\S+$', 1), '') AS method,
               nullif(regexp_extract(field.request, '^(\S+) (\S+) HTTP/\S+$', 2), '') AS path
        FROM fields
        WHERE field.status <> ''
    )"#;

/// A job and what it must find.
pub(super) struct Case<'a> {
    /// The job, by its name in `data/jobs`.
    pub(super) job: &'a str,
    /// The name of its source in the job file.
    pub(super) source: &'a str,
    /// What the test writes differently: texts of the job file, and what stands in their place.
    pub(super) edits: &'a [(&'a str, &'a str)],
    /// What is given to every run on the command line.
    pub(super) arguments: &'a [&'a str],
    /// What it reads.
    pub(super) reads: Reads,
    /// What it writes.
    pub(super) answers: &'a [Answer<'a>],
}

/// What a job reads.
pub(super) enum Reads {
    /// Topics of these lines, each in two partitions.
    Topics(Vec<Vec<String>>),
    /// The same, by a pattern that matches their names.
    Pattern(Vec<Vec<String>>),
    /// The file `logs/0.log` of these lines.
    File(Vec<String>),
    /// Parquet files below `logs` with the columns that these lines of an access log have: a file for each of two partitions.
    Parquet(Vec<String>),
}

/// One output of a job.
pub(super) struct Answer<'a> {
    /// Where it is.
    pub(super) output: Output<'a>,
    /// The query whose result is compared: over `output`.
    pub(super) found: &'a str,
    /// The query that must give the same: over `input`.
    pub(super) expected: &'a str,
}

/// Where a job writes to.
#[derive(Clone, Copy)]
pub(super) enum Output<'a> {
    /// Parquet files below a folder.
    Parquet(&'a str),
    /// A file of comma-separated values or of JSON lines.
    File(&'a str),
    /// The topic that this key of the job file names.
    Topic(&'a str),
    /// The standard output of all runs.
    Console,
}

/// Rows as text, in order.
type Rows = Vec<Vec<String>>;

/// A job with its input on the shared broker.
struct Prepared<'a> {
    case: &'a Case<'a>,
    /// What the names of its topics begin with.
    prefix: String,
    topics: Vec<String>,
    /// The file that DuckDB reads as `input`.
    lines: String,
}

/// The runs of a job that share outputs and a checkpoint.
struct Attempt<'a> {
    prepared: &'a Prepared<'a>,
    scratch: Scratch,
    group: String,
    /// A topic for each answer that is in one.
    topics: Vec<Option<String>>,
    runs: Cell<usize>,
}

/// Runs a case in every way, and compares.
#[track_caller]
pub(super) fn check(case: &Case<'_>) {
    let prepared = Prepared::new(case);
    let expected = prepared.expected();
    for batch_rows in [1, 7, 8192] {
        for threads in [1, 2] {
            let attempt = prepared.attempt();
            attempt.run(batch_rows, threads).finish(PATIENCE).expect_code(0);
            attempt.expect(&expected, &format!("batch_rows {batch_rows}, threads {threads}"));
        }
    }
}

/// Kills a case at two of the named points, lets the same command go on, and compares.
#[track_caller]
pub(super) fn check_killed(case: &Case<'_>) {
    let prepared = Prepared::new(case);
    let expected = prepared.expected();
    let mut seeded = Seeded::new();
    for passing in 1..=2 {
        let choice = usize::try_from(seeded.in_range(0..CRASHES.len() as u64)).expect("an index");
        let place = format!("{}:{passing}", CRASHES[choice]);
        let attempt = prepared.attempt();
        let run = || attempt.run_in_epochs(7);
        let crashed = run().env("MILLSTREAM_CRASH_AT", &place).finish(PATIENCE);
        let signal = crashed.status.signal();
        assert_eq!(signal, Some(SIGABRT), "{} passes {place}\n{}", case.job, crashed.stderr);
        run().finish(PATIENCE).expect_code(0);
        attempt.expect(&expected, &format!("killed at {place}"));
    }
}

/// Kills a case at each of its epochs, between the checkpoint and the commit and then after the commit, and compares.
#[track_caller]
pub(super) fn check_killed_at_every_epoch(case: &Case<'_>) {
    let prepared = Prepared::new(case);
    let expected = prepared.expected();
    let attempt = prepared.attempt();
    // Where a transaction decides, an epoch that is killed before its commit has not happened, and comes again.
    let places = ["after_store_rename:1", "after_commit:1"];
    let mut kills = 0;
    for place in places.iter().cycle().take(RUNS_MAX) {
        let run = attempt.run_in_epochs(ROWS_OF_A_BATCH);
        let ended = run.env("MILLSTREAM_CRASH_AT", place).finish(PATIENCE);
        if ended.status.signal() != Some(SIGABRT) {
            ended.expect_code(0);
            break;
        }
        kills += 1;
    }
    // How many epochs there are at most is a matter of speed.
    assert!((2..RUNS_MAX).contains(&kills), "{}: killed {kills} times", case.job);
    attempt.expect(&expected, &format!("killed {kills} times, at every epoch"));
}

/// Runs a case while its lines are being written, stops it, lets it go on to the end of its topics, and compares.
#[track_caller]
pub(super) fn check_live(case: &Case<'_>) {
    let prepared = Prepared::without_lines(case);
    let expected = prepared.expected();
    let attempt = prepared.attempt();
    let mut live = attempt.start(7, 2).args(HURRY).start();
    for piece in 0..PIECES {
        prepared.produce(piece, PIECES);
        live.wait_until(PATIENCE, "the job has read what was written", |_| {
            attempt.has_read_all().then_some(())
        });
    }
    live.signal("TERM");
    live.wait(PATIENCE).expect_code(0);
    // The end of the input closes the windows that are still open.
    attempt.run(7, 2).finish(PATIENCE).expect_code(0);
    attempt.expect(&expected, "live");
}

impl<'a> Prepared<'a> {
    /// Writes the input of a case.
    #[track_caller]
    fn new(case: &'a Case<'a>) -> Self {
        let prepared = Self::without_lines(case);
        prepared.produce(0, 1);
        prepared
    }

    /// Makes the topics of a case, with nothing in them.
    #[track_caller]
    fn without_lines(case: &'a Case<'a>) -> Self {
        let mut prepared = Self {
            case,
            prefix: Broker::unique(case.job),
            topics: vec![],
            lines: String::new(),
        };
        match &case.reads {
            Reads::Topics(topics) | Reads::Pattern(topics) => {
                for lines in topics {
                    prepared.make_topic(lines);
                }
            }
            Reads::File(lines) => prepared.note(0, 0, lines.iter().map(String::as_str)),
            Reads::Parquet(lines) => {
                for partition in 0..PARTITIONS {
                    prepared.note(0, partition, lines_in(lines, partition).into_iter());
                }
            }
        }
        prepared
    }

    fn make_topic(&mut self, lines: &[String]) {
        let topic = format!("{}-{}", self.prefix, self.topics.len());
        let partitions = i32::try_from(PARTITIONS).expect("few partitions");
        Broker::shared().create_topic(&topic, partitions, &[]);
        for partition in 0..PARTITIONS {
            self.note(self.topics.len(), partition, lines_in(lines, partition).into_iter());
        }
        self.topics.push(topic);
    }

    /// Writes a piece of each partition's lines, of as many pieces.
    #[track_caller]
    fn produce(&self, piece: usize, pieces: usize) {
        let (Reads::Topics(topics) | Reads::Pattern(topics)) = &self.case.reads else {
            return;
        };
        for (topic, lines) in self.topics.iter().zip(topics) {
            for partition in 0..PARTITIONS {
                let lines = lines_in(lines, partition);
                let piece = lines
                    .chunks(lines.len().div_ceil(pieces))
                    .nth(piece)
                    .unwrap_or_default();
                let records = piece.iter().map(|&line| NewRecord::of(line));
                let partition = i32::try_from(partition).expect("few partitions");
                Broker::shared().produce(topic, partition, records);
            }
        }
    }

    /// Adds the lines of a partition to what DuckDB reads.
    fn note<'l>(&mut self, topic: usize, partition: usize, lines: impl Iterator<Item = &'l str>) {
        for (offset, line) in lines.enumerate() {
            let row = json!({ "topic": topic, "partition": partition, "offset": offset, "line": line });
            self.lines.push_str(&format!("{row}\n"));
        }
    }

    /// Returns what DuckDB finds in the lines, for each answer.
    #[track_caller]
    fn expected(&self) -> Vec<Rows> {
        let scratch = Scratch::new(self.case.job);
        write(&scratch.join("input.jsonl"), &self.lines);
        let expected = |answer: &Answer<'_>| sorted(duckdb::query(scratch.path(), &with(INPUT, answer.expected)));
        let expected: Vec<_> = self.case.answers.iter().map(expected).collect();
        assert!(
            expected.iter().all(|rows| !rows.is_empty()),
            "there is something to find"
        );
        expected
    }

    /// Returns the job with outputs of its own.
    #[track_caller]
    fn attempt(&'a self) -> Attempt<'a> {
        let scratch = Scratch::new(self.case.job);
        write(&scratch.join("input.jsonl"), &self.lines);
        write(&scratch.join("job.toml"), &self.job_file());
        fs::create_dir(scratch.join("logs")).expect("the scratch folder can be written");
        match &self.case.reads {
            Reads::File(lines) => write(&scratch.join("logs/0.log"), &(lines.join("\n") + "\n")),
            Reads::Parquet(lines) => archive(&scratch, lines),
            Reads::Topics(_) | Reads::Pattern(_) => {}
        }
        let topic = |answer: &Answer<'_>| match answer.output {
            Output::Topic(_) => Some(Broker::shared().new_topic("answers", 2)),
            _ => None,
        };
        Attempt {
            prepared: self,
            scratch,
            group: Broker::unique(self.case.job),
            topics: self.case.answers.iter().map(topic).collect(),
            runs: Cell::new(0),
        }
    }

    #[track_caller]
    fn job_file(&self) -> String {
        let path = root().join("data/jobs").join(format!("{}.toml", self.case.job));
        let mut text = fs::read_to_string(&path).expect("a job of data/jobs");
        for (from, to) in self.case.edits {
            assert_eq!(text.matches(from).count(), 1, "`{from}` is once in {}", path.display());
            text = text.replace(from, to);
        }
        text
    }
}

impl Attempt<'_> {
    /// Returns the next run: to the end of what is there.
    fn run(&self, batch_rows: usize, threads: usize) -> Run {
        let run = self.start(batch_rows, threads);
        match self.prepared.topics.is_empty() {
            true => run,
            false => run.args(["--to", "latest"]),
        }
    }

    /// Returns the next run: to the end of what is there, in many epochs.
    fn run_in_epochs(&self, batch_rows: usize) -> Run {
        let run = self.run(batch_rows, 2).args(HURRY);
        run.env("MILLSTREAM_BATCHES_MAX", BATCHES_OF_AN_EPOCH)
    }

    /// Returns whether the output of all that is in the topics is committed.
    fn has_read_all(&self) -> bool {
        let broker = Broker::shared();
        self.prepared.topics.iter().all(|topic| {
            let ends: Vec<_> = broker.bounds(topic).iter().map(|bounds| Some(bounds.end)).collect();
            let committed = broker.committed(&self.group, topic);
            committed.iter().map(|committed| committed.offset).eq(ends)
        })
    }

    /// Returns the next run, which ends with its input, if that ends.
    fn start(&self, batch_rows: usize, threads: usize) -> Run {
        self.runs.set(self.runs.get() + 1);
        let case = self.prepared.case;
        let mut settings = vec![format!("run.batch_rows={batch_rows}"), format!("run.threads={threads}")];
        let answers = case.answers.iter().zip(&self.topics);
        for (answer, topic) in answers {
            if let (Output::Topic(key), Some(topic)) = (answer.output, topic) {
                settings.push(format!("{key}={topic}"));
            }
        }
        let mut run = Run::millstream(&self.scratch, &format!("run-{}", self.runs.get())).args(["run", "job.toml"]);
        if !self.prepared.topics.is_empty() {
            let (source, topics) = (format!("source.{}", case.source), &self.prepared.topics);
            settings.push(match (&case.reads, topics.as_slice()) {
                (Reads::Pattern(_), _) => format!("{source}.topic_pattern=^{}-", self.prepared.prefix),
                (_, [topic]) => format!("{source}.topic={topic}"),
                _ => format!("{source}.topics={topics:?}"),
            });
            settings.push(format!("{source}.brokers={}", Broker::shared().bootstrap()));
            settings.push(format!("{source}.group={}", self.group));
        }
        for setting in settings {
            run = run.args(["--set", &setting]);
        }
        run.args(case.arguments)
    }

    /// Compares every output with what is expected of it.
    #[track_caller]
    fn expect(&self, expected: &[Rows], how: &str) {
        let case = self.prepared.case;
        let answers = case.answers.iter().zip(&self.topics).zip(expected);
        for ((answer, topic), expected) in answers {
            let found = sorted(self.found(answer, topic.as_deref()));
            let missing: Vec<_> = expected.iter().filter(|row| !found.contains(row)).collect();
            let unexpected: Vec<_> = found.iter().filter(|row| !expected.contains(row)).collect();
            assert!(
                found == *expected,
                "{}, {how}: {} rows for {}\nmissing: {missing:?}\nnot expected: {unexpected:?}",
                case.job,
                found.len(),
                expected.len()
            );
        }
    }

    #[track_caller]
    fn found(&self, answer: &Answer<'_>, topic: Option<&str>) -> Rows {
        let output = match answer.output {
            Output::Parquet(folder) => format!("SELECT * FROM '{folder}/**/*.parquet'"),
            Output::File(path) if path.ends_with(".csv") => {
                format!("SELECT * FROM read_csv('{path}', header = true, all_varchar = true)")
            }
            Output::File(path) => format!("SELECT * FROM read_json('{path}', format = 'newline_delimited')"),
            Output::Topic(_) => self.as_rows(&records(topic.expect("an answer in a topic has one"))),
            Output::Console => self.as_rows(&self.printed()),
        };
        let tables = format!("{INPUT}, output AS ({output})");
        duckdb::query(self.scratch.path(), &with(&tables, answer.found))
    }

    /// Returns the query of rows that DuckDB is to read.
    fn as_rows(&self, rows: &[Value]) -> String {
        let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
        write(&self.scratch.join("output.jsonl"), &text);
        let columns = "{row: 'JSON', key: 'VARCHAR', place: 'BIGINT'}";
        format!("SELECT * FROM read_json('output.jsonl', format = 'newline_delimited', columns = {columns})")
    }

    /// Returns the lines that were printed by all runs. What was printed can't be taken back, so a run that follows a crash
    /// may print some of it again: that counts once.
    fn printed(&self) -> Vec<Value> {
        let mut lines: Vec<String> = vec![];
        for run in 1..=self.runs.get() {
            let path = self.scratch.join(format!("run-{run}.stdout"));
            let text = fs::read_to_string(path).expect("a run's output");
            let again: HashSet<_> = text.lines().collect();
            lines.retain(|line| !again.contains(line.as_str()));
            lines.extend(text.lines().map(str::to_owned));
        }
        let row = |(place, line): (usize, &String)| {
            let cells: Vec<_> = line.split('\t').collect();
            json!({ "row": cells, "place": place })
        };
        lines.iter().enumerate().map(row).collect()
    }
}

/// Writes the Parquet files of a case: each partition's lines, decoded.
#[track_caller]
fn archive(scratch: &Scratch, lines: &[String]) {
    for partition in 0..PARTITIONS {
        let (text, out) = (format!("{partition}.log"), format!("logs/{partition}.parquet"));
        write(&scratch.join(&text), &(lines_in(lines, partition).join("\n") + "\n"));
        let sql = format!("SELECT * FROM '{text}'");
        let arguments = [
            "query",
            "-f",
            "combined,common",
            "--output-format",
            "parquet",
            "--out",
            &out,
            &sql,
        ];
        let run = Run::millstream(scratch, "archive").args(arguments);
        run.finish(PATIENCE).expect_code(0);
    }
}

/// Returns the committed records of a topic.
#[track_caller]
fn records(topic: &str) -> Vec<Value> {
    let record = |record: Record| {
        let value = record.value.expect("no tombstone");
        let value: Value = serde_json::from_slice(&value).expect("a value in JSON");
        let key = record.key.map(|key| String::from_utf8(key).expect("a key of text"));
        json!({ "row": value, "key": key, "place": record.offset })
    };
    let records = Broker::shared().consume(topic, Isolation::ReadCommitted);
    records.into_iter().map(record).collect()
}

/// Returns the lines of a partition.
fn lines_in(lines: &[String], partition: usize) -> Vec<&str> {
    lines
        .iter()
        .skip(partition)
        .step_by(PARTITIONS)
        .map(String::as_str)
        .collect()
}

fn with(tables: &str, query: &str) -> String {
    format!("WITH {tables} {query}")
}

fn sorted(mut rows: Rows) -> Rows {
    rows.sort();
    rows
}

#[track_caller]
fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}
