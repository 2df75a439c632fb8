//! `millstream restore`: an archive goes back to a topic.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use connectors::kafka::options::{End, Start};
use connectors::parquet::archive::Location;
use engine::Result;
use engine::metrics::Metrics;
use engine::pipeline::Outcome;

use super::Exit;
use super::kafka::ConnectionArguments;
use super::launch::{self, Output};
use super::progress::{self, Progress};
use super::value;
use crate::archive::restore::Plan;

const EXAMPLES: &str = "\
Examples:
  millstream restore archive --brokers localhost:9092 --to-topic logs-again --create
  millstream restore archive -b localhost:9092 --topic logs --to-topic replayed --from 2026-01-31 --to 2026-02-01
  millstream restore archive -b localhost:9092 --to-topic load-test --speed 10x
  millstream verify archive --against localhost:9092 --restored-as logs-again

Records keep key, value, headers, time, partition and order. A restore that was stopped or killed goes on where it was when
the same command is given again: each record is there once for readers with isolation.level=read_committed. A record of the
time 1970-01-01T00:00:00.000Z is refused: the client has no way to send it.";

/// Write an archive back to a topic: same keys, values, headers, times, partitions and order, each record once
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Restore {
    /// The archive: its folder, or s3://BUCKET/PREFIX, gs://... or az://...
    #[arg(value_name = "PLACE")]
    location: Location,
    #[command(flatten)]
    connection: ConnectionArguments,
    /// Topic of the archive, if it holds several
    #[arg(long, short = 't', value_name = "TOPIC")]
    topic: Option<String>,
    /// Topic to write to
    #[arg(long, value_name = "TOPIC", requires = "brokers")]
    to_topic: String,
    /// Make the topic if it is not there: as many partitions, records kept for ever
    #[arg(long)]
    create: bool,
    /// Where to start: earliest, a time (2026-01-31T12:00:00Z), or offsets (0:120,1:4000)
    #[arg(long, value_name = "WHERE", default_value = "earliest")]
    from: Start,
    /// Where to end: latest, a time or offsets
    #[arg(long, value_name = "WHERE", default_value = "latest")]
    to: End,
    /// Consumer group that keeps how far the restore is, as offsets of the archive [default: millstream-restore-TOPIC]
    #[arg(long)]
    group: Option<String>,
    /// Send records at their original pace times this (1x, 10x, 0.5x) instead of as fast as can be
    #[arg(long, value_name = "FACTOR", value_parser = speed)]
    speed: Option<f64>,
    /// How often a transaction ends, and readers see its records
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = value::duration)]
    commit_interval: Duration,
}

impl Restore {
    /// Restores.
    pub(super) fn run(self, output: Output) -> Result<Exit> {
        let brokers = self.connection.brokers.as_deref().unwrap_or("localhost:9092");
        let group = self
            .group
            .unwrap_or_else(|| format!("millstream-restore-{}", self.to_topic));
        let plan = Plan {
            connection: self.connection.connection(brokers)?,
            location: self.location,
            topic: self.topic,
            from: self.from,
            to: self.to,
            to_topic: self.to_topic,
            create: self.create,
            speed: self.speed,
            commit_interval: self.commit_interval,
            group,
        };
        let done = format!("the topic {}", plan.to_topic);
        let stop = launch::stop_on_signal("stopping after this transaction")?;
        let restore = plan.prepare()?;
        restore.notes().iter().for_each(|note| tracing::warn!("{note}"));
        let metrics = Arc::new(Metrics::default());
        let running = (!output.quiet).then(|| Progress::new("restore").start(Arc::clone(&metrics)));
        let summary = restore.run(&stop, &metrics);
        if let Some(running) = running {
            running.finish(summary.is_ok());
        }
        let summary = summary?;
        match summary.outcome {
            Outcome::Stopped => {
                launch::say_how_to_go_on(&done);
                return Ok(Exit::Resumable);
            }
            Outcome::Finished if summary.is_resumed && metrics.rows_in.get() == 0 && !output.quiet => {
                progress::say(&format!("millstream: nothing left to do: all of it is in {done}"));
            }
            Outcome::Finished => {}
        }
        Ok(Exit::Done)
    }
}

/// Reads `10x`, `0.5x` or `10`.
fn speed(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('x').unwrap_or(text).parse::<f64>().ok();
    let number = number.filter(|number| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| format!("expected a factor such as 1x, 10x or 0.5x, not `{text}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_is_a_factor_above_zero() {
        assert_eq!(speed("10x"), Ok(10.0));
        assert_eq!(speed("0.5"), Ok(0.5));
        for text in ["", "x", "0x", "-1x", "inf", "NaN", "fast"] {
            speed(text).expect_err("no speed");
        }
    }
}
