//! One job: a command over one topic, and all that belongs to its runs.

use std::cell::Cell;
use std::fs;
use std::path::PathBuf;

use crate::harness::broker::Broker;
use crate::harness::process::Run;
use crate::harness::scratch::Scratch;

use super::input::{self, Input};
use super::output;

/// A pause for [`Job::paced`] that makes a run over [`Input::small`] take about nine seconds.
pub(super) const SLOW: u32 = 300;

/// What a job does with its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Counts words into a topic: those that changed, one transaction an epoch.
    Kafka,
    /// Counts words into one Parquet file, which each epoch replaces.
    Table,
    /// Counts words into Parquet files: those that changed, a file an epoch.
    Changes,
    /// Archives the records as Parquet files.
    Replay,
    /// Counts words into tables on the standard output.
    Console,
}

impl Kind {
    /// Those whose output is exact whatever happens.
    pub(super) const ALL: [Self; 4] = [Self::Kafka, Self::Table, Self::Changes, Self::Replay];
}

/// A job on a broker. Its runs are the same command, unless a test adds to it.
pub(super) struct Job<'a> {
    pub(super) broker: &'a Broker,
    pub(super) input: &'a Input,
    pub(super) kind: Kind,
    pub(super) scratch: Scratch,
    /// The consumer group.
    pub(super) group: String,
    /// The topic that [`Kind::Kafka`] writes to.
    pub(super) topic: String,
    /// How often counts are put out; each is an epoch. An archive's files end by their rows.
    every: &'static str,
    /// Rows of an archive's file, if it has a limit.
    file_rows: Option<&'static str>,
    /// What the command has beside.
    options: Vec<String>,
    runs: Cell<u32>,
}

impl<'a> Job<'a> {
    /// Prepares a job in a scratch folder of the test `name`.
    pub(super) fn new(kind: Kind, broker: &'a Broker, input: &'a Input, name: &str) -> Self {
        let topic = match kind {
            Kind::Kafka => broker.new_topic("counts", 2),
            _ => String::new(),
        };
        Self {
            broker,
            input,
            kind,
            scratch: Scratch::new(name),
            group: Broker::unique(name),
            topic,
            every: "1ms",
            file_rows: Some("250"),
            options: Vec::new(),
            runs: Cell::new(0),
        }
    }

    /// Ends an epoch every `every`; otherwise they are as short as can be.
    pub(super) fn every(mut self, every: &'static str) -> Self {
        self.every = every;
        self
    }

    /// Puts all that is read out at once: in one epoch, or in files without a limit.
    pub(super) fn at_once(self) -> Self {
        Self {
            every: "10s",
            file_rows: None,
            ..self
        }
    }

    /// Lets a partition's next batch be fetched `pause_ms` after the one before at the earliest, however fast the machine
    /// is: so a run lasts long enough to be interrupted.
    pub(super) fn paced(self, pause_ms: u32) -> Self {
        // An answer brings one batch of one partition, for only the first may be larger than what is asked for; and the
        // broker waits in vain for more bytes.
        let wait_ms = u64::from(pause_ms) / input::PARTITIONS;
        let settings =
            format!("fetch.message.max.bytes=1000\nfetch.min.bytes=100000000\nfetch.wait.max.ms={wait_ms}\n");
        fs::write(self.pace(), settings).expect("the scratch folder can be written");
        let path = self.pace().display().to_string();
        self.with(&["--properties", &path])
    }

    /// Lets the runs that start from now on read as fast as they can.
    pub(super) fn unleash(&self) {
        fs::write(self.pace(), "").expect("the scratch folder can be written");
    }

    fn pace(&self) -> PathBuf {
        self.scratch.join("pace.properties")
    }

    /// Adds options to the command of all runs.
    pub(super) fn with(mut self, options: &[&str]) -> Self {
        self.options.extend(options.iter().map(|&option| option.to_owned()));
        self
    }

    /// Returns the command, up to what the topic held when the first run began.
    pub(super) fn run(&self) -> Run {
        let bounded = ["--to", "latest"].map(str::to_owned);
        self.prepare().args(self.arguments()).args(bounded)
    }

    /// Returns the command without an end.
    pub(super) fn run_on(&self) -> Run {
        assert_ne!(self.kind, Kind::Replay, "a replay always ends");
        self.prepare().args(self.arguments())
    }

    /// Returns the command under a limit of `blocks` of 512 bytes for each file: a disk that is full, to the program.
    pub(super) fn run_within(&self, blocks: u32) -> Run {
        // The limit's signal is ignored, so that the write fails with an error of the kernel.
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
        let program = env!("CARGO_BIN_EXE_millstream").to_owned();
        let name = self.next_name();
        Run::program("sh", &self.scratch, &name)
            .args(["-c", &script, "limited", &program])
            .args(self.arguments())
            .args(["--to", "latest"])
    }

    /// Returns the epoch of the newest checkpoint, or the number of an archive's files; 0 before there is one.
    pub(super) fn epoch(&self) -> u64 {
        if self.kind == Kind::Replay {
            return crate::harness::parquet::files(&self.folder()).len() as u64;
        }
        let Ok(entries) = fs::read_dir(self.scratch.join("checkpoint")) else {
            return 0;
        };
        let epoch = |name: String| name.strip_prefix("epoch-")?.strip_suffix(".json")?.parse().ok();
        let names = entries
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter_map(epoch).max().unwrap_or(0)
    }

    /// Returns whether the group's offsets are the ends of the topic's partitions.
    pub(super) fn has_committed_all(&self) -> bool {
        let committed = self.broker.committed(&self.group, &self.input.topic);
        let bounds = self.broker.bounds(&self.input.topic);
        let pairs = committed.iter().zip(&bounds);
        bounds.len() == committed.len()
            && pairs
                .into_iter()
                .all(|(committed, bounds)| committed.offset == Some(bounds.end))
    }

    /// Returns the folder of the Parquet files.
    pub(super) fn folder(&self) -> PathBuf {
        self.scratch.join("out")
    }

    /// Checks that the output is what the whole input gives, each row once.
    ///
    /// # Panics
    /// When it is not; the message shows what differs.
    #[track_caller]
    pub(super) fn expect_exact(&self) {
        match self.kind {
            Kind::Replay => output::expect_records(&self.folder(), self.input),
            _ => self.expect_counts(self.input.counts()),
        }
    }

    /// Checks that the output of a word count folds to `expected`, each row once.
    ///
    /// # Panics
    /// When it does not; the message shows what differs.
    #[track_caller]
    pub(super) fn expect_counts(&self, expected: &super::input::Counts) {
        let counts = match self.kind {
            Kind::Kafka => output::fold_topic(self.broker, &self.topic),
            Kind::Table => output::read_table(&self.folder()),
            Kind::Changes => output::fold_changes(&self.folder()),
            Kind::Replay | Kind::Console => panic!("{:?} can't be read back as counts", self.kind),
        };
        output::expect_equal(&counts, expected);
    }

    /// Checks that DuckDB finds the same in the Parquet files, if there are any: it shares no code with what wrote them.
    ///
    /// # Panics
    /// When it does not; the message shows what differs.
    #[track_caller]
    pub(super) fn expect_exact_in_duckdb(&self) {
        let counts = match self.kind {
            Kind::Kafka | Kind::Console => return,
            Kind::Table => output::table_in_duckdb(self.scratch.path()),
            Kind::Changes => output::changes_in_duckdb(self.scratch.path()),
            Kind::Replay => output::words_of_records_in_duckdb(self.scratch.path(), self.input),
        };
        output::expect_equal(&counts, self.input.counts());
    }

    /// Returns all that a reader of the output sees, to be compared with what is seen later.
    pub(super) fn snapshot(&self) -> Vec<(String, Vec<u8>)> {
        match self.kind {
            Kind::Kafka => output::topic_content(self.broker, &self.topic),
            _ => output::folder_content(&self.folder()),
        }
    }

    fn arguments(&self) -> Vec<String> {
        let (verb, out) = match self.kind {
            Kind::Kafka => ("wordcount", format!("kafka:{}", self.topic)),
            Kind::Table | Kind::Changes => ("wordcount", "parquet:out".to_owned()),
            Kind::Console => ("wordcount", "console".to_owned()),
            Kind::Replay => ("replay", "out".to_owned()),
        };
        let mut arguments = vec![verb, "--brokers", self.broker.bootstrap(), "--topic", &self.input.topic];
        arguments.extend(["--group", &self.group, "--out", &out]);
        match (self.kind, self.file_rows) {
            (Kind::Replay, Some(rows)) => arguments.extend(["--segment", "10000", "--file-rows", rows]),
            (Kind::Replay, None) => {}
            _ => arguments.extend(["--checkpoint", "checkpoint", "--every", self.every]),
        }
        if self.kind == Kind::Changes {
            arguments.extend(["--mode", "update"]);
        }
        let arguments = arguments.into_iter().map(str::to_owned);
        arguments.chain(self.options.iter().cloned()).collect()
    }

    fn prepare(&self) -> Run {
        Run::millstream(&self.scratch, &self.next_name())
    }

    fn next_name(&self) -> String {
        self.runs.set(self.runs.get() + 1);
        format!("run-{:02}", self.runs.get())
    }
}
