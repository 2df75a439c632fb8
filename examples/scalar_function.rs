//! A scalar function of one's own in the SQL of a job file: requests by the first part of their path.
//!
//! `cargo run --example scalar_function`

use std::process::ExitCode;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringArray};
use arrow::datatypes::DataType;
use millstream::engine;
use millstream::engine::pipeline::run_once;
use millstream::job::build::{BuildError, SqlAnalysis, build_with};
use millstream::job::{JobFile, Overrides};
use millstream::sql::Functions;

const JOB: &str = r#"
[source.logs]
kind = "file"
paths = "data/access.log"
format = "combined"

[query]
mode = "complete"
sql = "SELECT section(path) AS section, count(*) AS hits FROM logs GROUP BY section ORDER BY hits DESC, section LIMIT 3"

[sink]
kind = "console"
"#;

/// `section('/api/users/7')` is `/api`: a column of texts to a column of texts, nulls stay nulls.
fn section(columns: &[ArrayRef]) -> engine::Result<ArrayRef> {
    let paths = columns[0].as_string::<i32>().iter();
    let sections = paths.map(|path| path.map(first_part));
    Ok(Arc::new(sections.collect::<StringArray>()))
}

fn first_part(path: &str) -> &str {
    let rest = path.strip_prefix('/').unwrap_or(path);
    let length = rest.find(['/', '?']).unwrap_or(rest.len());
    &path[..path.len() - rest.len() + length]
}

fn run() -> Result<(), BuildError> {
    let functions = Functions::default().with_scalar("section", &[DataType::Utf8], DataType::Utf8, section);
    let overrides = Overrides::default();
    let file = JobFile::from_text("sections.toml", JOB, &overrides);
    let plan = file.check(Some(&SqlAnalysis::new(functions.clone())))?;
    let built = build_with(&plan, &functions)?;
    run_once(built.job, built.settings.threads)?;
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
