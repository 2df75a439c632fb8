//! `millstream replay`: archives the records of topics as Parquet files, all columns, each record once.

mod follow;
mod job;

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use connectors::decode::BadRows;
use connectors::kafka::options::{Client, DataLossPolicy, End, KafkaColumn, SourceOptions, Start};
use connectors::parquet::archive::{FileLimits, Location};
use connectors::parquet::{Compression, PartitionBy};
use engine::metrics::Metrics;
use engine::{Error, Result};

use self::follow::FollowArguments;
use super::Exit;
use super::check;
use super::format::Format;
use super::kafka::ConnectionArguments;
use super::launch::{self, Output};
use super::progress::{self, ProgressArguments};
use super::value;
use crate::archive::{Layout, Outcome, ReplayOptions, Report, SEGMENT_OFFSETS};

const EXAMPLES: &str = "\
Examples:
  millstream replay --brokers localhost:9092 --topic logs --out archive
  millstream replay -b localhost:9092 -t logs --out archive --from 7d --to 1d --compression zstd:3
  millstream replay -b localhost:9092 --topic-pattern '^web-' --out archive --file-span 1h --rate 50MB/s
  millstream replay -b localhost:9092 -t logs --out archive --partition-by 'date(timestamp),topic'
  millstream replay -b localhost:9092 -t access --out archive --layout both --input-format combined --on-bad null
  AWS_REGION=eu-central-1 millstream replay -b localhost:9092 -t logs --out s3://bucket/archive
  millstream replay -b localhost:9092 -t logs --out archive --follow
  millstream new replay --out archive.toml && millstream replay archive.toml --from 7d --set sink.dir=week
  duckdb -c \"SELECT count(*) FROM 'archive/**/*.parquet'\"

A replay that was stopped or killed goes on after its last file when the same command is given again, to the end that was
fixed when it began. A finished one takes in what came since, new partitions too, if its --to is latest or an age; given another
--to, it goes on to that. The same range gives the same files, byte for byte, whatever the threads and interruptions.";

/// What of a record is kept, as the command line says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kept {
    Envelope,
    Parsed,
    Both,
}

/// Archive topics to Parquet: every record once, with key, headers, time, partition and offset
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[group(id = "input", required = true, args = ["job", "topics", "topic_pattern"])]
pub(super) struct Replay {
    /// Job file without a query: its [source.NAME] is read, and its [sink] is the archive; --set, --from and --to change it
    #[arg(value_name = "JOB", conflicts_with_all = job::OPTIONS)]
    job: Option<PathBuf>,
    /// Change a key of the job, as in sink.dir=archive; may be given several times
    #[arg(long, value_name = "KEY=VALUE", requires = "job")]
    set: Vec<String>,
    #[command(flatten)]
    connection: ConnectionArguments,
    /// Topic to archive; may be given several times
    #[arg(
        long = "topic",
        short = 't',
        value_name = "TOPIC",
        requires = "brokers",
        value_delimiter = ','
    )]
    topics: Vec<String>,
    /// Archive all topics whose names match this regular expression, internal ones left out
    #[arg(long, value_name = "REGEX", requires = "brokers")]
    topic_pattern: Option<String>,
    /// Folder for the Parquet files; or s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX, with their settings in
    /// AWS_*, GOOGLE_* and AZURE_*
    #[arg(long, short, value_name = "PLACE", required_unless_present = "job")]
    out: Option<Location>,
    /// Where to start: earliest, latest, committed, a time (2026-01-31T12:00:00Z), an age (1h), or offsets (0:120,1:4000)
    /// [default: earliest, or that of the job]
    #[arg(long, value_name = "WHERE")]
    from: Option<Start>,
    /// Where to end: latest, a time, an age or offsets; a number for each partition when the replay begins [default: latest, or
    /// that of the job]
    #[arg(long, value_name = "WHERE", conflicts_with = "follow")]
    to: Option<End>,
    /// Consumer group whose offsets `--from committed` looks up; only with --follow it learns how far the replay is
    #[arg(long)]
    group: Option<String>,
    /// What to do when records were deleted before they were read: fail; skip
    #[arg(long, value_name = "POLICY", default_value = "fail")]
    on_data_loss: DataLossPolicy,
    /// Read records of open and aborted transactions too
    #[arg(long)]
    read_uncommitted: bool,
    /// Who reads: native, librdkafka, or auto (native, but librdkafka for what only that can)
    #[arg(long, value_name = "CLIENT", default_value = "auto")]
    client: Client,
    /// What of a record is kept: envelope, the record as it is; parsed, the columns of its value by --input-format, and its
    /// place; or both
    #[arg(long, value_name = "LAYOUT", value_enum, default_value_t = Kept::Envelope)]
    layout: Kept,
    #[command(flatten)]
    format: Format,
    /// What becomes of a record whose value can't be decoded: fail, skip, or null (in all columns of the format)
    #[arg(
        long,
        value_name = "POLICY",
        default_value = "fail",
        value_parser = str::parse::<BadRows>
    )]
    on_bad: BadRows,
    /// none, snappy, lz4 or zstd[:LEVEL]
    #[arg(long, value_name = "CODEC", default_value = "zstd:1")]
    compression: Compression,
    /// Column with a bloom filter, such as key; may be given several times
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    bloom_filter: Vec<String>,
    /// Folders by columns, from the outside in: topic, partition, year(timestamp), month(timestamp), date(timestamp) or
    /// hour(timestamp)
    #[arg(
        long,
        value_name = "COLUMNS",
        value_delimiter = ',',
        value_parser = crate::job::partition_by
    )]
    partition_by: Vec<PartitionBy>,
    /// Rows of a file at most
    #[arg(long, value_name = "ROWS")]
    file_rows: Option<NonZeroU64>,
    /// Bytes of a file on disk, about, at most
    #[arg(long, value_name = "BYTES", default_value = "256MiB", value_parser = value::bytes)]
    file_bytes: u64,
    /// Time between a file's first and last record at most, by the records' own times
    #[arg(long, value_name = "DURATION", value_parser = value::duration)]
    file_span: Option<Duration>,
    /// A file ends at each multiple of so many offsets; a thread takes so many at once
    #[arg(long, value_name = "OFFSETS", default_value_t = SEGMENT_OFFSETS)]
    segment: NonZeroU64,
    /// Segments that are read and written at once [default: the number of cores]
    #[arg(long, value_name = "N", value_parser = value::positive)]
    threads: Option<NonZeroUsize>,
    /// Memory for batches and row groups; fewer threads work if it is too little for all
    #[arg(long, value_name = "BYTES", value_parser = value::bytes)]
    memory: Option<u64>,
    /// Bytes of records to read a second at most, such as 50MB/s
    #[arg(long, value_name = "RATE", value_parser = value::bytes_a_second)]
    rate: Option<f64>,
    /// File for what the archive holds at the end, as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    #[command(flatten)]
    follow: FollowArguments,
    #[command(flatten)]
    progress: ProgressArguments,
}

impl Replay {
    /// Runs the replay.
    pub(super) fn run(self, output: Output) -> Result<Exit> {
        let options = match &self.job {
            Some(job) => match job::options(&self, job)? {
                Ok(options) => options,
                Err(errors) => return Ok(check::report(job, &errors)),
            },
            None => self.options()?,
        };
        self.archive(options, output)
    }

    fn archive(&self, options: ReplayOptions, output: Output) -> Result<Exit> {
        let place = options.location.to_string();
        let age = self.follow.age();
        let stop = launch::stop_on_signal(match age {
            None => "stopping; files under way will be written again",
            Some(_) => "stopping after the segments under way",
        })?;
        let metrics = Arc::<Metrics>::default();
        let progress = (!output.quiet).then(|| {
            let source = &options.source;
            let input = source.topic_pattern.clone().unwrap_or_else(|| source.topics.join(","));
            let progress = self.progress.of_work("replay", &input, &place);
            progress.start(Arc::clone(&metrics))
        });
        let outcome = match age {
            None => options.run(&stop, &metrics),
            Some(age) => options.follow(age, &stop, &metrics),
        };
        if let Some(progress) = progress {
            progress.finish(outcome.is_ok());
        }
        let (report, exit) = match outcome? {
            Outcome::Complete(report) => (report, Exit::Done),
            Outcome::NothingLeft(report) => {
                eprintln!("millstream: nothing left to do: {place} holds all up to its end");
                (report, Exit::Done)
            }
            Outcome::Stopped(report) => {
                launch::say_how_to_go_on(&place);
                (report, Exit::Resumable)
            }
        };
        if !output.quiet {
            progress::say(report.to_table().trim_end());
        }
        if let Some(path) = &self.report {
            write_report(path, &report)?;
        }
        Ok(exit)
    }

    fn options(&self) -> Result<ReplayOptions> {
        let micros = |span: Duration| i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        let mut source = self.source()?;
        source.to = Some(self.to.clone().unwrap_or(End::Latest));
        if source.from == Start::Committed && self.group.is_none() {
            return Err(Error::Invalid("`--from committed` needs --group".to_owned()));
        }
        if self.on_data_loss == DataLossPolicy::Reset {
            let problem = "an archive can't begin again: expected `--on-data-loss fail` or skip";
            return Err(Error::Invalid(problem.to_owned()));
        }
        if self.file_bytes == 0 {
            return Err(Error::Invalid("`--file-bytes` must be at least 1".to_owned()));
        }
        Ok(ReplayOptions {
            location: self.location().clone(),
            source,
            layout: self.layout()?,
            compression: self.compression,
            bloom_filter: self.bloom_filter.clone(),
            partition_by: self.partition_by.clone(),
            limits: FileLimits {
                rows: self.file_rows.map(NonZeroU64::get),
                bytes: Some(self.file_bytes),
                span_micros: self.file_span.map(micros),
            },
            segment_offsets: self.segment,
            threads: launch::threads(self.threads),
            memory: self.memory,
            rate: self.rate,
        })
    }

    /// Returns where a replay without a job writes to.
    fn location(&self) -> &Location {
        self.out.as_ref().expect("`--out` is required without a job")
    }

    fn layout(&self) -> Result<Layout> {
        let decoder = self.format.decoder(None)?;
        if self.on_bad == BadRows::DeadLetter {
            let problem = "a replay has no dead letters: expected `--on-bad fail`, skip or null";
            return Err(Error::Invalid(problem.to_owned()));
        }
        match (self.layout, decoder) {
            (Kept::Envelope, None) => Ok(Layout::Envelope),
            (Kept::Parsed, Some(decoder)) => Ok(Layout::Parsed(decoder, self.on_bad)),
            (Kept::Both, Some(decoder)) => Ok(Layout::Both(decoder, self.on_bad)),
            (Kept::Envelope, Some(_)) => Err(Error::Invalid(
                "`--input-format` is for `--layout parsed` or both".to_owned(),
            )),
            (Kept::Parsed | Kept::Both, None) => Err(Error::Invalid(
                "`--layout parsed` and both need --input-format".to_owned(),
            )),
        }
    }

    fn source(&self) -> Result<SourceOptions> {
        let brokers = self.connection.brokers.as_deref().unwrap_or("localhost:9092");
        let group = self.group.clone().unwrap_or_else(|| {
            let topics = self.topic_pattern.clone().unwrap_or_else(|| self.topics.join("-"));
            format!("millstream-replay-{topics}")
        });
        let mut options = SourceOptions::new(self.connection.connection(brokers)?, self.topics.clone(), group);
        options.topic_pattern.clone_from(&self.topic_pattern);
        options.from = self.from.clone().unwrap_or(Start::Earliest);
        options.columns = KafkaColumn::ALL.to_vec();
        options.read_committed = !self.read_uncommitted;
        options.on_data_loss = self.on_data_loss;
        options.client = self.client;
        Ok(options)
    }
}

fn write_report(path: &Path, report: &Report) -> Result<()> {
    let text = serde_json::to_string_pretty(report).expect("a report has plain fields") + "\n";
    std::fs::write(path, text).map_err(Error::io("write", path))
}
