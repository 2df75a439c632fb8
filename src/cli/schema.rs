//! `millstream schema`: what a job file may hold, for editors and for people.

use clap::{Args, Subcommand};
use engine::Result;

use super::Exit;
use super::launch::Output;
use crate::job;

const EXAMPLES: &str = "\
Examples:
  millstream schema job > job.schema.json
  millstream schema job --keys

An editor that knows TOML schemas takes the file by a first line in the job:
  #:schema ./job.schema.json";

/// Show what a job file may hold: as JSON schema for editors, or as tables of its keys
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Schema {
    #[command(subcommand)]
    of: Of,
}

#[derive(Debug, Subcommand)]
enum Of {
    /// The JSON schema (draft 2020-12) of job files
    Job {
        /// Every table and key with its type, default and meaning instead, as Markdown
        #[arg(long)]
        keys: bool,
    },
}

impl Schema {
    /// Writes the schema to the standard output.
    pub(super) fn run(self, _: Output) -> Result<Exit> {
        let Of::Job { keys } = self.of;
        let text = match keys {
            true => job::reference(),
            false => format!("{:#}\n", job::json_schema()),
        };
        super::print(&text)?;
        Ok(Exit::Done)
    }
}
