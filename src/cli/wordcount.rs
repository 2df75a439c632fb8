//! `millstream wordcount`: counts the words of files, or of Kafka topics as they grow.

use std::io::IsTerminal;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use connectors::console::{ConsoleOptions, ConsoleSink, Order};
use connectors::file::{FileOptions, FileSource};
use connectors::kafka::options::{Client, DataLossPolicy, End, SourceOptions, Start};
use connectors::kafka::sink::{Delivery, KafkaSink, SinkOptions, ValueFormat};
use connectors::kafka::source::KafkaSource;
use connectors::parquet::{Compression, Layout, ParquetOptions, ParquetSink};
use engine::operator::OutputMode;
use engine::operator::tokenize::SplitMode;
use engine::pipeline::Settings;
use engine::sink::Sink;
use engine::source::Source;
use engine::{Error, Result};

use super::Exit;
use super::kafka::ConnectionArguments;
use super::launch::{self, Launch, Output};
use super::progress::Progress;
use super::value::{self, Out};
use crate::wordcount::{Plan, Words};

const EXAMPLES: &str = "\
Examples:
  millstream wordcount access.log other.log.gz
  millstream wordcount --lower --split word access.log | sort -t$'\\t' -k2 -rn | head
  millstream wordcount --brokers localhost:9092 --topic logs
  millstream wordcount -b localhost:9092 -t logs --to latest --out parquet:counts
  millstream wordcount -b localhost:9092 -t logs --out kafka:word-counts --checkpoint state/words";

/// Both ways to say what is read; clap would show one of them.
const USAGE: &str = "millstream wordcount [OPTIONS] <FILE>...
       millstream wordcount [OPTIONS] --brokers <BROKERS> --topic <TOPIC>";

/// Count words: of files, or of Kafka topics as they grow, second by second
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, override_usage = USAGE)]
pub(super) struct Wordcount {
    /// Text files to count, plain, gzip or zstd; `-` is the standard input
    #[arg(value_name = "FILE", conflicts_with_all = ["topics"], required_unless_present = "topics")]
    files: Vec<PathBuf>,

    #[command(flatten)]
    connection: ConnectionArguments,
    /// Topic to read; may be given several times
    #[arg(
        long = "topic",
        short = 't',
        value_name = "TOPIC",
        requires = "brokers",
        value_delimiter = ','
    )]
    topics: Vec<String>,
    /// Where a first run starts: earliest, latest, committed, a time (2026-01-31T12:00:00Z), an age (1h), or offsets
    /// (0:120,1:4000)
    #[arg(long, value_name = "WHERE", default_value = "earliest", conflicts_with = "files")]
    from: Start,
    /// Where to end: latest, a time, an age or offsets; without it the count goes on
    #[arg(long, value_name = "WHERE", conflicts_with = "files")]
    to: Option<End>,
    /// Consumer group whose offsets show how far the count is [default: millstream-wordcount-TOPIC]
    #[arg(long)]
    group: Option<String>,
    /// What to do when records were deleted before they were read: fail, skip or reset
    #[arg(long, value_name = "POLICY", default_value = "fail", conflicts_with = "files")]
    on_data_loss: DataLossPolicy,
    /// Read records of open and aborted transactions too
    #[arg(long, conflicts_with = "files")]
    read_uncommitted: bool,
    /// Who reads: native, librdkafka, or auto (native, but librdkafka for what only that can)
    #[arg(long, value_name = "CLIENT", default_value = "auto", conflicts_with = "files")]
    client: Client,

    /// What separates words: ascii (white space), space, unicode (white space), word (all but letters, digits, _), or
    /// bytes:CHARACTERS
    #[arg(long, value_name = "MODE", default_value = "ascii")]
    split: SplitMode,
    /// Put words into lower case
    #[arg(long)]
    lower: bool,

    /// Where the counts go: console, parquet:DIR or kafka:TOPIC
    #[arg(long, short, value_name = "OUTPUT", default_value = "console", value_parser = value::out)]
    out: Out,
    /// Which counts to put out: those that changed (update), or all (complete) [default: complete for files and
    /// Parquet, else update]
    #[arg(long, short)]
    mode: Option<Mode>,
    /// How often counts are put out; files: once, at their end [default: 1s for topics]
    #[arg(long, value_name = "DURATION", value_parser = value::duration)]
    every: Option<Duration>,
    /// Folder that keeps positions and counts, so that the next run goes on where this one ended
    #[arg(long, value_name = "DIR")]
    checkpoint: Option<PathBuf>,
    /// How often a checkpoint is made and output committed; 0: each time counts are put out
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = value::duration)]
    checkpoint_interval: Duration,
    /// Kafka output: exactly-once (transactions), or at-least-once (sooner visible)
    #[arg(long, default_value = "exactly-once")]
    delivery: DeliveryArgument,
    /// Parquet output: none, snappy, lz4 or zstd[:LEVEL]
    #[arg(long, value_name = "CODEC", default_value = "zstd:1")]
    compression: Compression,
    /// Worker threads [default: the number of cores]
    #[arg(long, value_name = "N", value_parser = value::positive)]
    threads: Option<NonZeroUsize>,
    /// Memory for batches that wait or are worked on
    #[arg(long, value_name = "BYTES", default_value = "8MiB", value_parser = value::bytes)]
    queue: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    Update,
    Complete,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DeliveryArgument {
    ExactlyOnce,
    AtLeastOnce,
}

impl Wordcount {
    /// Runs the count.
    pub(super) fn run(self, output: Output) -> Result<Exit> {
        let bounded = self.topics.is_empty() || self.to.is_some();
        let mode = self.output_mode();
        let checkpoint = self.checkpoint_folder()?;
        let threads = launch::threads(self.threads);
        let words = Words {
            split: self.split.clone(),
            lower: self.lower,
        };
        let plan = Plan::new(words, self.source(threads)?)?;
        let sink = self.sink(plan.schema(), mode)?;
        let trigger = self
            .every
            .or_else(|| (!self.topics.is_empty()).then_some(Duration::from_secs(1)));
        let once = trigger.is_none() && checkpoint.is_none();
        let launch = Launch {
            job: plan.into_job(mode, sink),
            settings: Settings {
                threads,
                trigger,
                checkpoint_interval: (!once).then_some(self.checkpoint_interval),
                queue_bytes: usize::try_from(self.queue).unwrap_or(usize::MAX),
            },
            checkpoint: checkpoint.as_deref(),
            progress: self.progress(output),
            bounded,
            metrics: Arc::default(),
        };
        launch.run()
    }

    fn output_mode(&self) -> OutputMode {
        match (self.mode, &self.out) {
            (Some(Mode::Update), _) => OutputMode::Update,
            (Some(Mode::Complete), _) | (None, Out::Parquet(_)) => OutputMode::Complete,
            (None, Out::Kafka(_)) => OutputMode::Update,
            (None, Out::Console) if self.topics.is_empty() => OutputMode::Complete,
            (None, Out::Console) => OutputMode::Update,
        }
    }

    /// Exactly-once output needs a place for positions and counts; Parquet has one of its own.
    fn checkpoint_folder(&self) -> Result<Option<PathBuf>> {
        match (&self.checkpoint, &self.out) {
            (Some(dir), _) => Ok(Some(dir.clone())),
            (None, Out::Parquet(dir)) => Ok(Some(launch::checkpoint_in(dir))),
            (None, Out::Kafka(_)) if self.delivery == DeliveryArgument::ExactlyOnce => Err(Error::Invalid(
                "exactly-once output to Kafka needs --checkpoint DIR (or use --delivery at-least-once)".to_owned(),
            )),
            (None, _) => Ok(None),
        }
    }

    fn source(&self, threads: NonZeroUsize) -> Result<Box<dyn Source>> {
        if self.topics.is_empty() {
            let mut options = FileOptions::new(self.files.clone());
            options.threads = threads.get();
            return Ok(Box::new(FileSource::new(options)?));
        }
        let connection = self.connection.connection(self.brokers()?)?;
        let mut options = SourceOptions::new(connection, self.topics.clone(), self.group_name());
        options.from = self.from.clone();
        options.to = self.to.clone();
        options.read_committed = !self.read_uncommitted;
        options.on_data_loss = self.on_data_loss;
        options.client = self.client;
        Ok(Box::new(KafkaSource::new(options)?))
    }

    fn sink(&self, schema: arrow::datatypes::SchemaRef, mode: OutputMode) -> Result<Box<dyn Sink>> {
        match &self.out {
            Out::Console => Ok(Box::new(console())),
            Out::Parquet(dir) => parquet(dir, schema, mode, self.compression),
            Out::Kafka(topic) => {
                let connection = self.connection.connection(self.brokers()?)?;
                let delivery = match self.delivery {
                    DeliveryArgument::ExactlyOnce => Delivery::ExactlyOnce,
                    DeliveryArgument::AtLeastOnce => Delivery::AtLeastOnce,
                };
                let options = SinkOptions {
                    connection,
                    topic: topic.clone(),
                    group: self.group_name(),
                    key: vec!["word".to_owned()],
                    value: ValueFormat::Json,
                    delivery,
                    source_topics: self.topics.clone(),
                    schema,
                };
                self.check_epoch(&options)?;
                Ok(Box::new(KafkaSink::new(options)?))
            }
        }
    }

    /// An epoch is one transaction, which the broker ends when it is open for too long.
    fn check_epoch(&self, options: &SinkOptions) -> Result<()> {
        let epoch = self.checkpoint_interval.max(self.every.unwrap_or_default());
        match options.transaction_timeout() {
            Some(timeout) if epoch >= timeout => Err(Error::Invalid(format!(
                "an epoch of {} does not fit a transaction of {}: lower --checkpoint-interval or --every, or set \
                 transaction.timeout.ms in the properties file",
                humantime::format_duration(epoch),
                humantime::format_duration(timeout)
            ))),
            _ => Ok(()),
        }
    }

    /// Topics require the option; output of files does not know of it.
    fn brokers(&self) -> Result<&str> {
        let brokers = self.connection.brokers.as_deref();
        brokers.ok_or_else(|| Error::Invalid("output to Kafka needs --brokers HOST:PORT".to_owned()))
    }

    fn group_name(&self) -> String {
        let what = if self.topics.is_empty() {
            "files".to_owned()
        } else {
            self.topics.join("-")
        };
        self.group
            .clone()
            .unwrap_or_else(|| format!("millstream-wordcount-{what}"))
    }

    /// Tables on a terminal are progress enough, but not the last word.
    fn progress(&self, output: Output) -> Option<Progress> {
        let is_table = self.out == Out::Console && std::io::stdout().is_terminal();
        let progress = Progress::new("wordcount");
        (!output.quiet).then(|| if is_table { progress.at_the_end() } else { progress })
    }
}

/// Returns a console sink that shows the most frequent words first.
fn console() -> ConsoleSink {
    let mut options = ConsoleOptions::new(std::io::stdout().is_terminal());
    options.order = Some(Order {
        column: "count".to_owned(),
        descending: true,
    });
    ConsoleSink::new(Box::new(std::io::BufWriter::new(std::io::stdout())), options)
}

/// Returns a Parquet sink for counts.
pub(super) fn parquet(
    dir: &Path,
    schema: arrow::datatypes::SchemaRef,
    mode: OutputMode,
    compression: Compression,
) -> Result<Box<dyn Sink>> {
    let layout = match mode {
        OutputMode::Append | OutputMode::Update => Layout::Changes,
        OutputMode::Complete => Layout::Table,
    };
    let mut options = ParquetOptions::new(dir, schema, layout);
    options.compression = compression;
    Ok(Box::new(ParquetSink::new(options)?))
}
