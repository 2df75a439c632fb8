//! `millstream run`: runs a job file.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use engine::Result;

use super::Exit;
use super::check::{OverrideArguments, load, report};
use super::launch::{Launch, Output};
use super::progress::ProgressArguments;
use crate::job::build::{BuildError, build};

const EXAMPLES: &str = "\
A job:
  [source.logs]
  kind = \"file\"                        # or kafka: brokers, topic
  paths = \"access.log\"
  format = \"combined\"                  # `millstream parse --help` lists all

  [query]
  mode = \"complete\"                    # or append, update
  sql = \"SELECT status, count(*) AS hits FROM logs GROUP BY status\"

  [sink]
  kind = \"console\"                     # or kafka: topic, key; or parquet: dir

All keys: millstream schema job --keys. Functions of SQL: millstream query --help.

Examples:
  millstream new errors_a_minute --out errors.toml
  millstream run errors.toml
  millstream run errors.toml --from 1h --to latest --set sink.dir=out/last-hour
  millstream run errors.toml --set run.threads=4
  millstream run errors.toml --progress json 2> progress.jsonl";

/// Run a job file: read, decode, compute in SQL, write; for ever, or to the end of its input
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Run {
    /// The job file
    #[arg(value_name = "JOB")]
    job: PathBuf,
    #[command(flatten)]
    overrides: OverrideArguments,
    #[command(flatten)]
    progress: ProgressArguments,
}

impl Run {
    /// Runs the job.
    pub(super) fn run(self, output: Output) -> Result<Exit> {
        let plan = match load(&self.job, &self.overrides.overrides()) {
            Ok(plan) => plan,
            Err(errors) => return Ok(report(&self.job, &errors)),
        };
        let built = match build(&plan) {
            Ok(built) => built,
            Err(BuildError::Job(errors)) => return Ok(report(&self.job, &errors)),
            Err(BuildError::Engine(error)) => return Err(error),
        };
        let progress = (!output.quiet).then(|| self.progress.of(&plan.name, &built.job));
        let launch = Launch {
            job: built.job,
            settings: built.settings,
            checkpoint: built.checkpoint.as_deref(),
            progress,
            bounded: built.bounded,
            metrics: Arc::default(),
        };
        launch.run()
    }
}
