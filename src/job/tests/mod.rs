//! Job files as their authors get them wrong, and as they are right.

mod archives;
mod errors;
mod plans;
mod schema;
mod sources;
mod sql;

use super::{JobErrors, JobFile, JobPlan, Overrides};

/// What every job needs beside what a test is about.
const SOURCE: &str = "[source.logs]\nkind = \"kafka\"\nbrokers = \"localhost:9092\"\ntopic = \"nginx\"\n";
const QUERY: &str = "[query]\nsql = \"SELECT 1\"\n";
const SINK: &str = "[sink]\nkind = \"console\"\n";

/// Returns the plan of a job, or what is wrong with it.
fn load(text: &str) -> Result<JobPlan, JobErrors> {
    JobFile::from_text("job.toml", text, &Overrides::default()).check(None)
}

/// Returns the plan of a job that is right.
#[track_caller]
fn plan(text: &str) -> JobPlan {
    load(text).unwrap_or_else(|errors| panic!("{errors}"))
}

/// Checks all that is said about a job that is wrong.
#[track_caller]
fn check(text: &str, expected: &str) {
    check_with(text, &Overrides::default(), expected);
}

#[track_caller]
fn check_with(text: &str, overrides: &Overrides, expected: &str) {
    let errors = JobFile::from_text("job.toml", text, overrides)
        .check(None)
        .expect_err("a job that is wrong");
    let found = errors.to_string();
    assert!(
        found == expected.trim_matches('\n'),
        "found:\n{found}\n\nexpected:{expected}"
    );
}

fn set(settings: &[&str]) -> Overrides {
    Overrides {
        set: settings.iter().map(|text| (*text).to_owned()).collect(),
        ..Overrides::default()
    }
}
