//! `millstream generate`: log lines to try things with, the same for the same seed.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{ArgGroup, Args};
use connectors::console::{ConsoleOptions, ConsoleSink};
use connectors::generate::{GenerateOptions, GenerateSource, Shape};
use connectors::kafka::sink::{Delivery, KafkaSink, SinkOptions, ValueFormat};
use engine::pipeline::{Job, Query, Settings};
use engine::sink::Sink;
use engine::source::Source;
use engine::{Error, Result};

use super::Exit;
use super::kafka::ConnectionArguments;
use super::launch::{Launch, Output};
use super::progress::Progress;
use super::value;

const EXAMPLES: &str = "\
Examples:
  millstream generate --lines 10
  millstream generate --lines 1000000 --file access.log
  millstream generate --rate 5000 --brokers localhost:9092 --topic logs";

/// Make log lines: to the standard output, a file or a topic; the same for the same seed
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, group(ArgGroup::new("amount").args(["lines", "rate"]).required(true).multiple(true)))]
pub(super) struct Generate {
    /// Lines to make
    #[arg(long, short = 'n', value_name = "N", value_parser = value::count)]
    lines: Option<u64>,
    /// Lines a second; without --lines it goes on until Ctrl-C
    #[arg(long, value_name = "R", value_parser = value::rate, allow_negative_numbers = true)]
    rate: Option<f64>,
    /// Another seed makes other lines
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    connection: ConnectionArguments,
    /// Topic to write to
    #[arg(
        long,
        short = 't',
        value_name = "TOPIC",
        requires = "brokers",
        conflicts_with = "file"
    )]
    topic: Option<String>,
    /// File to write; an existing one is replaced
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Generate {
    /// Makes the lines.
    pub(super) fn run(self, output: Output) -> Result<Exit> {
        let source = GenerateSource::new(GenerateOptions {
            lines: self.lines,
            rate: self.rate,
            seed: self.seed,
            shape: Shape::default(),
        })?;
        let sink = self.sink(&source)?;
        let to_stdout = self.topic.is_none() && self.file.is_none();
        let launch = Launch {
            settings: Settings {
                threads: NonZeroUsize::MIN,
                trigger: Some(Duration::from_millis(100)),
                checkpoint_interval: Some(Duration::ZERO),
                queue_bytes: 16 << 20,
            },
            job: Job::new(Box::new(source), Query::new(sink)),
            checkpoint: None,
            progress: (!output.quiet && !to_stdout).then(|| Progress::new("generate")),
            bounded: false,
            metrics: Arc::default(),
        };
        launch.run()
    }

    fn sink(&self, source: &GenerateSource) -> Result<Box<dyn Sink>> {
        let (Some(topic), Some(brokers)) = (&self.topic, &self.connection.brokers) else {
            let writer: Box<dyn std::io::Write + Send> = match &self.file {
                Some(path) => Box::new(std::fs::File::create(path).map_err(Error::io("create", path))?),
                None => Box::new(std::io::stdout()),
            };
            let writer = Box::new(std::io::BufWriter::with_capacity(1 << 16, writer));
            return Ok(Box::new(ConsoleSink::new(writer, ConsoleOptions::new(false))));
        };
        Ok(Box::new(KafkaSink::new(SinkOptions {
            connection: self.connection.connection(brokers)?,
            topic: topic.clone(),
            group: format!("millstream-generate-{topic}"),
            key: vec![],
            value: ValueFormat::Column("value".to_owned()),
            delivery: Delivery::AtLeastOnce,
            source_topics: vec![],
            schema: source.schema(),
        })?))
    }
}
