//! `millstream explain`: what a job file becomes, step by step.

use std::path::PathBuf;

use clap::Args;
use engine::Result;

use super::Exit;
use super::check::{OverrideArguments, describe, load, report};
use super::launch::Output;
use crate::job::build::{BuildError, explain};

const EXAMPLES: &str = "\
Examples:
  millstream explain errors.toml
  millstream explain errors.toml --set query.mode=update";

/// Show what a job file becomes: its sources and sinks, the columns read, and each query's operators
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Explain {
    /// The job file
    #[arg(value_name = "JOB")]
    job: PathBuf,
    #[command(flatten)]
    overrides: OverrideArguments,
}

impl Explain {
    /// Shows the plan. Nothing is run, no server is asked.
    pub(super) fn run(self, _: Output) -> Result<Exit> {
        let plan = match load(&self.job, &self.overrides.overrides()) {
            Ok(plan) => plan,
            Err(errors) => return Ok(report(&self.job, &errors)),
        };
        if plan.archive.is_some() {
            super::print(describe(&plan))?;
            return Ok(Exit::Done);
        }
        match explain(&plan) {
            Ok(queries) => super::print(format!("{}\n{queries}", describe(&plan)))?,
            Err(BuildError::Job(errors)) => return Ok(report(&self.job, &errors)),
            Err(BuildError::Engine(error)) => return Err(error),
        }
        Ok(Exit::Done)
    }
}
