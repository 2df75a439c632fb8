//! `millstream verify`: whether an archive is what it says it is.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use connectors::kafka::config::Connection;
use connectors::kafka::options::{End, Start};
use connectors::parquet::archive::Location;
use engine::metrics::Metrics;
use engine::{Error, Result};

use super::Exit;
use super::launch::{self, Output};
use super::progress::{self, Progress};
use super::value;
use crate::archive::verify::{Against, Plan, Restored};

const EXAMPLES: &str = "\
Examples:
  millstream verify archive
  millstream verify archive --against localhost:9092
  millstream verify archive --against localhost:9092 --restored-as logs-again
  millstream verify archive --against localhost:9092 --restored-as replayed --from 2026-01-31 --to 2026-02-01
  millstream verify s3://bucket/archive
  millstream verify archive --format json --report verified.json

Exit code 6: something is not as it should be; each finding names its file, or its partition and offset.";

/// Check an archive: its files, checksums, footers, rows and offsets, and its records against the topics
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Verify {
    /// The archive: its folder, or s3://BUCKET/PREFIX, gs://... or az://...
    #[arg(value_name = "PLACE")]
    location: Location,
    /// Only this topic of the archive
    #[arg(long, short = 't', value_name = "TOPIC")]
    topic: Option<String>,
    /// Brokers whose records are compared with the archive's: value, key, headers and time by offset
    #[arg(long, value_name = "BROKERS")]
    against: Option<String>,
    /// Compare with the topic that the archive was restored to, in order, since offsets differ
    #[arg(long, value_name = "TOPIC", requires = "against")]
    restored_as: Option<String>,
    /// Where the restore started: earliest, a time (2026-01-31T12:00:00Z), or offsets (0:120,1:4000)
    #[arg(long, value_name = "WHERE", default_value = "earliest", requires = "restored_as")]
    from: Start,
    /// Where it ended: latest, a time or offsets
    #[arg(long, value_name = "WHERE", default_value = "latest", requires = "restored_as")]
    to: End,
    /// File of librdkafka settings, `name=value` lines, as for replay
    #[arg(long, value_name = "FILE", requires = "against")]
    properties: Option<PathBuf>,
    /// Files that are read at once [default: the number of cores]
    #[arg(long, value_name = "N", value_parser = value::positive)]
    threads: Option<NonZeroUsize>,
    /// How the report is written on the standard output
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    format: Format,
    /// File for the report, as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

impl Verify {
    /// Verifies, and writes the report.
    pub(super) fn run(self, output: Output) -> Result<Exit> {
        let connection = |brokers: &String| match &self.properties {
            Some(path) => Connection::with_properties(brokers, path),
            None => Ok(Connection::new(brokers)),
        };
        let against = self.against.as_ref().map(|brokers| {
            Ok::<_, Error>(Against {
                connection: connection(brokers)?,
                restored_as: self.restored_as.clone().map(|topic| Restored {
                    topic,
                    from: self.from.clone(),
                    to: self.to.clone(),
                }),
            })
        });
        let plan = Plan {
            location: self.location,
            topic: self.topic,
            against: against.transpose()?,
            threads: launch::threads(self.threads),
        };
        let stop = launch::stop_on_signal("stopping")?;
        let metrics = Arc::new(Metrics::default());
        let running = (!output.quiet).then(|| Progress::new("verify").start(Arc::clone(&metrics)));
        let report = plan.run(&stop, &metrics);
        if let Some(running) = running {
            running.finish(report.is_ok());
        }
        let Some(report) = report? else {
            progress::say("millstream: stopped before all of it was verified");
            return Ok(Exit::Resumable);
        };
        if let Some(path) = &self.report {
            std::fs::write(path, report.to_json()).map_err(Error::io("write", path))?;
        }
        super::print(match self.format {
            Format::Text => report.to_text(),
            Format::Json => report.to_json(),
        })?;
        Ok(match report.ok {
            true => Exit::Done,
            false => Exit::Missing,
        })
    }
}
