//! `millstream compact`: small files of an archive become larger ones.

use std::num::NonZeroUsize;
use std::sync::Arc;

use clap::Args;
use connectors::parquet::archive::Location;
use engine::Result;
use engine::metrics::Metrics;
use engine::pipeline::Outcome;
use indicatif::HumanBytes;

use super::Exit;
use super::launch::{self, Output};
use super::progress::{self, Progress};
use super::value;
use crate::archive::compact::{Effect, Plan};

const EXAMPLES: &str = "\
Examples:
  millstream compact archive --dry-run
  millstream compact archive --target 256MiB

Neighbouring files of one partition, in one folder, become one: same rows, same order. Readers see the small files or the large
one, never both. A compaction that was stopped or killed goes on when the command is given again, to the same folder.";

/// Merge the small files of an archive: same rows and order, readers never see a row twice
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Compact {
    /// The archive: its folder, or s3://BUCKET/PREFIX, gs://... or az://...
    #[arg(value_name = "PLACE")]
    location: Location,
    /// Bytes that the files which become one have together at most
    #[arg(long, value_name = "BYTES", default_value = "256MiB", value_parser = value::bytes)]
    target: u64,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Files that are written at once [default: the number of cores]
    #[arg(long, value_name = "N", value_parser = value::positive)]
    threads: Option<NonZeroUsize>,
}

impl Compact {
    /// Compacts.
    pub(super) fn run(self, output: Output) -> Result<Exit> {
        let plan = Plan {
            location: self.location,
            target: self.target,
            threads: launch::threads(self.threads),
        };
        if self.dry_run {
            super::print(to_text(&plan.effect()?))?;
            return Ok(Exit::Done);
        }
        let stop = launch::stop_on_signal("stopping after the files under way")?;
        let metrics = Arc::new(Metrics::default());
        let running = (!output.quiet).then(|| Progress::new("compact").start(Arc::clone(&metrics)));
        let outcome = plan.run(&stop, &metrics);
        if let Some(running) = running {
            running.finish(outcome.is_ok());
        }
        Ok(match outcome? {
            Outcome::Stopped => {
                launch::say_how_to_go_on(&plan.location.to_string());
                Exit::Resumable
            }
            Outcome::Finished => {
                if metrics.rows_in.get() == 0 && !output.quiet {
                    progress::say("millstream: nothing left to do: no two neighbours are small enough for the target");
                }
                Exit::Done
            }
        })
    }
}

fn to_text(effect: &Effect) -> String {
    let Effect {
        before: (files, bytes),
        merged: (merged, merged_bytes),
        into,
    } = *effect;
    let (all, some) = (HumanBytes(bytes), HumanBytes(merged_bytes));
    format!("{files} files ({all}); {merged} of them ({some}) would become {into}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dry_run_says_how_many_files_become_how_many() {
        let effect = Effect {
            before: (10, 4096),
            merged: (8, 2048),
            into: 3,
        };
        assert_eq!(
            to_text(&effect),
            "10 files (4.00 KiB); 8 of them (2.00 KiB) would become 3\n"
        );
    }
}
