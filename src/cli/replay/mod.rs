//! `millstream replay`: archives the records of topics as Parquet files, all columns, each record once.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use connectors::kafka::options::{Client, DataLossPolicy, End, KafkaColumn, SourceOptions, Start};
use connectors::kafka::source::KafkaSource;
use connectors::parquet::{Compression, Layout, ParquetOptions, ParquetSink};
use engine::Result;
use engine::pipeline::{Job, Query, Settings};
use engine::source::Source;

use super::Exit;
use super::kafka::ConnectionArguments;
use super::launch::{self, Launch, Output};
use super::progress::ProgressArguments;
use super::value;

const EXAMPLES: &str = "\
Examples:
  millstream replay --brokers localhost:9092 --topic logs --out archive
  millstream replay -b localhost:9092 -t logs --out archive --from 7d --compression zstd:3
  duckdb -c \"SELECT count(*) FROM 'archive/**/*.parquet'\"

A replay that was stopped or killed goes on where it was when the same command is given again.";

/// Archive topics to Parquet: every record once, with key, headers, time, partition and offset
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Replay {
    #[command(flatten)]
    connection: ConnectionArguments,
    /// Topic to archive; may be given several times
    #[arg(
        long = "topic",
        short = 't',
        value_name = "TOPIC",
        required = true,
        requires = "brokers",
        value_delimiter = ','
    )]
    topics: Vec<String>,
    /// Folder for the Parquet files
    #[arg(long, short, value_name = "DIR")]
    out: PathBuf,
    /// Where to start: earliest, latest, committed, a time (2026-01-31T12:00:00Z), an age (1h), or offsets (0:120,1:4000)
    #[arg(long, value_name = "WHERE", default_value = "earliest")]
    from: Start,
    /// Where to end: latest, a time, an age or offsets
    #[arg(long, value_name = "WHERE", default_value = "latest")]
    to: End,
    /// Consumer group whose offsets show how far the replay is [default: millstream-replay-TOPIC]
    #[arg(long)]
    group: Option<String>,
    /// What to do when records were deleted before they were read: fail, skip or reset
    #[arg(long, value_name = "POLICY", default_value = "fail")]
    on_data_loss: DataLossPolicy,
    /// Read records of open and aborted transactions too
    #[arg(long)]
    read_uncommitted: bool,
    /// Who reads: native, librdkafka, or auto (native, but librdkafka for what only that can)
    #[arg(long, value_name = "CLIENT", default_value = "auto")]
    client: Client,
    /// none, snappy, lz4 or zstd[:LEVEL]
    #[arg(long, value_name = "CODEC", default_value = "zstd:1")]
    compression: Compression,
    /// Rows of a file at most
    #[arg(long, value_name = "ROWS")]
    file_rows: Option<u64>,
    /// Bytes of a file on disk, about, at most
    #[arg(long, value_name = "BYTES", default_value = "256MiB", value_parser = value::bytes)]
    file_bytes: u64,
    /// How long a file takes rows at most
    #[arg(long, value_name = "DURATION", value_parser = value::duration)]
    file_age: Option<Duration>,
    /// How often files are closed and become visible
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = value::duration)]
    checkpoint_interval: Duration,
    /// Folder that keeps positions [default: DIR/_millstream/checkpoint]
    #[arg(long, value_name = "DIR")]
    checkpoint: Option<PathBuf>,
    /// Memory for batches that wait
    #[arg(long, value_name = "BYTES", default_value = "32MiB", value_parser = value::bytes)]
    queue: u64,
    #[command(flatten)]
    progress: ProgressArguments,
}

impl Replay {
    /// Runs the replay.
    pub(super) fn run(self, output: Output) -> Result<Exit> {
        let checkpoint = self
            .checkpoint
            .clone()
            .unwrap_or_else(|| launch::checkpoint_in(&self.out));
        let source = self.source()?;
        let mut options = ParquetOptions::new(&self.out, source.schema(), Layout::Append);
        options.compression = self.compression;
        options.file_rows_max = self.file_rows;
        options.file_bytes_max = Some(self.file_bytes);
        options.file_age_max = self.file_age;
        let sink = ParquetSink::new(options)?;
        let job = Job::new(Box::new(source), Query::new(Box::new(sink)));
        let launch = Launch {
            progress: (!output.quiet).then(|| self.progress.of("replay", &job)),
            job,
            settings: Settings {
                threads: NonZeroUsize::MIN,
                trigger: None,
                checkpoint_interval: Some(self.checkpoint_interval),
                queue_bytes: usize::try_from(self.queue).unwrap_or(usize::MAX),
            },
            checkpoint: Some(&checkpoint),
            bounded: true,
            metrics: Arc::default(),
        };
        launch.run()
    }

    fn source(&self) -> Result<KafkaSource> {
        let brokers = self.connection.brokers.as_deref().unwrap_or("localhost:9092");
        let group = self
            .group
            .clone()
            .unwrap_or_else(|| format!("millstream-replay-{}", self.topics.join("-")));
        let mut options = SourceOptions::new(self.connection.connection(brokers)?, self.topics.clone(), group);
        options.from = self.from.clone();
        options.to = Some(self.to.clone());
        options.columns = KafkaColumn::ALL.to_vec();
        options.read_committed = !self.read_uncommitted;
        options.on_data_loss = self.on_data_loss;
        options.client = self.client;
        KafkaSource::new(options)
    }
}
