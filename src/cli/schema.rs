//! `millstream schema`: what a job file may hold, for editors and for people, and the columns of a sample.

use std::path::PathBuf;
use std::time::Duration;

use arrow::array::AsArray;
use clap::{Args, Subcommand};
use connectors::decode::json::infer;
use connectors::decode::{ColumnType, DeclaredColumn};
use connectors::file::{FileOptions, FileSource};
use engine::source::{Event, Intake, Source};
use engine::{Error, Result};

use super::Exit;
use super::launch::Output;
use crate::job;

const EXAMPLES: &str = "\
Examples:
  millstream schema job > job.schema.json
  millstream schema job --keys
  millstream schema infer events.jsonl.gz >> events.toml
  millstream tap events -b localhost:9092 --last 500 --output-format json | jq -r .value | millstream schema infer

An editor that knows TOML schemas takes the file by a first line in the job:
  #:schema ./job.schema.json";

/// Bytes of lines that wait to be looked at.
const QUEUE_BYTES: usize = 16 << 20;

/// How long the reader is waited for at a time.
const PATIENCE: Duration = Duration::from_secs(1);

/// Show what a job file may hold, for editors and people, or the columns of a sample of JSON lines
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
    /// The columns of JSON lines, as a table for a job file
    Infer {
        /// File of JSON lines, plain, gzip or zstd; `-` is the standard input
        #[arg(value_name = "FILE", default_value = "-")]
        file: PathBuf,
        /// How many lines to look at
        #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
        sample: u64,
    },
}

impl Schema {
    /// Writes the schema to the standard output.
    pub(super) fn run(self, _: Output) -> Result<Exit> {
        let text = match self.of {
            Of::Job { keys: true } => job::reference(),
            Of::Job { keys: false } => format!("{:#}\n", job::json_schema()),
            Of::Infer { file, sample } => {
                let lines = sample_of(file.clone(), usize::try_from(sample).unwrap_or(usize::MAX))?;
                let columns = infer(lines.iter().map(Vec::as_slice));
                if columns.is_empty() {
                    return Err(Error::Invalid(format!(
                        "{}: none of {} lines is a JSON object with members",
                        file.display(),
                        lines.len()
                    )));
                }
                columns_table(&columns, lines.len())
            }
        };
        super::print(&text)?;
        Ok(Exit::Done)
    }
}

/// Returns the first lines of a file, `count` at most.
fn sample_of(file: PathBuf, count: usize) -> Result<Vec<Vec<u8>>> {
    let mut source = FileSource::new(FileOptions::new(vec![file]))?;
    let state = source.open(None)?;
    let (intake, receiver) = Intake::new(QUEUE_BYTES);
    source.start(&state, intake)?;
    let mut lines: Vec<Vec<u8>> = vec![];
    while lines.len() < count {
        match receiver.receive(PATIENCE).map(|(event, _)| event) {
            Some(Event::Batch(batch)) => {
                let values = batch.column(0).to_array();
                let values = values.as_binary::<i32>().iter().flatten();
                lines.extend(values.take(count - lines.len()).map(<[u8]>::to_vec));
            }
            Some(Event::Failed(error)) => return Err(error),
            Some(Event::Ended { .. }) => break,
            Some(_) | None => {}
        }
    }
    receiver.close();
    source.stop();
    Ok(lines)
}

/// Returns the columns as a table of a job file, and as an option of the verbs that look at lines.
fn columns_table(columns: &[DeclaredColumn], lines: usize) -> String {
    let options: Vec<_> = columns
        .iter()
        .map(|column| format!("{}:{}", column.name, type_of(column)))
        .collect();
    let mut text = format!(
        "# The columns of {lines} lines. For query, parse and tap: -f json --columns '{}'\n[source.NAME.columns]\n",
        options.join(",")
    );
    for column in columns {
        text.push_str(&format!("{} = \"{}\"\n", key_of(&column.name), type_of(column)));
    }
    text
}

/// The format of times is left to be found out: it may change from line to line.
fn type_of(column: &DeclaredColumn) -> String {
    match column.column_type {
        ColumnType::Timestamp(_) => "timestamp".to_owned(),
        ref other => other.to_string(),
    }
}

/// Returns a name as a key of TOML. In quotes both have the same escapes.
fn key_of(name: &str) -> String {
    let is_bare = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    match name.chars().all(is_bare) && !name.is_empty() {
        true => name.to_owned(),
        false => serde_json::Value::from(name).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{JobFile, Overrides};

    #[test]
    fn the_columns_of_a_sample_are_a_table_that_a_job_takes() {
        let lines: [&[u8]; 2] = [
            br#"{"time": "2026-01-31T12:00:00Z", "user": {"name": "Ada"}, "a b\"c": 1, "paid": true}"#,
            br#"{"time": "2026-01-31T12:00:01Z", "a b\"c": 2.5}"#,
        ];
        let table = columns_table(&infer(lines), 2);
        let expected = "[source.NAME.columns]\ntime = \"timestamp\"\n\"user.name\" = \"string\"\n\"a b\\\"c\" = \"float\"\npaid = \"bool\"\n";
        assert!(table.ends_with(expected), "{table}");
        let job = "[query]\nsql = \"SELECT paid FROM events\"\n[sink]\nkind = \"console\"\n[source.events]\nkind = \"file\"\npaths = \"-\"\nformat = \"json\"\n";
        let job = format!("{job}{}", table.replace("NAME", "events"));
        let plan = JobFile::from_text("job.toml", job, &Overrides::default()).check(None);
        assert_eq!(
            plan.unwrap_or_else(|errors| panic!("{errors}")).sources[0]
                .columns
                .len(),
            4
        );
    }
}
