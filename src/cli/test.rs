//! `millstream test`: runs the tests of job files.

use std::path::{Path, PathBuf};

use clap::Args;
use engine::Result;

use super::Exit;
use super::check::{OverrideArguments, load_with_tests, report};
use super::launch::Output;
use crate::job::build::BuildError;
use crate::job::plan::{JobPlan, TestPlan};
use crate::job::trial;

const EXAMPLES: &str = "\
A test, in the job file or in JOB.test.toml beside it:
  [[test]]
  name = \"errors are counted by the minute\"
  input.logs = ['127.0.0.1 - - [24/Nov/2026:06:30:16 +0000] \"GET /a HTTP/1.1\" 404 10 \"-\" \"curl\"']
  expect.query = [{ minute = 2026-11-24T06:30:00Z, status = 404, hits = 1 }]

All keys: millstream schema job --keys

Examples:
  millstream test errors.toml
  millstream test jobs/*.toml --filter minute";

/// Run the tests of job files: given records in, expected rows out; no server and no folder is touched
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Test {
    /// The job files
    #[arg(value_name = "JOB", required = true)]
    jobs: Vec<PathBuf>,
    /// Only tests whose names contain this
    #[arg(long, value_name = "NAME")]
    filter: Option<String>,
    #[command(flatten)]
    overrides: OverrideArguments,
}

/// What became of the tests.
#[derive(Default)]
struct Tally {
    passed: usize,
    filtered_out: usize,
    /// Each failed test: its place and name, and what was not as expected.
    failed: Vec<(String, String)>,
}

impl Test {
    /// Runs the tests of all jobs.
    pub(super) fn run(self, output: Output) -> Result<Exit> {
        let mut tally = Tally::default();
        let mut exit = Exit::Done;
        for job in &self.jobs {
            match load_with_tests(job, &self.overrides.overrides()) {
                Ok(plan) => self.run_job(job, &plan, output, &mut tally)?,
                Err(errors) => exit = report(job, &errors),
            }
        }
        tally.show(output)?;
        Ok(match tally.failed.is_empty() {
            true => exit,
            false => Exit::TestFailed,
        })
    }

    fn run_job(&self, job: &Path, plan: &JobPlan, output: Output, tally: &mut Tally) -> Result<()> {
        let is_asked = |test: &&TestPlan| self.filter.as_ref().is_none_or(|part| test.name.contains(part));
        let tests: Vec<_> = plan.tests.iter().filter(is_asked).collect();
        tally.filtered_out += plan.tests.len() - tests.len();
        if !output.quiet {
            let noun = if tests.len() == 1 { "test" } else { "tests" };
            super::print(format!("running {} {noun} of {}\n", tests.len(), job.display()))?;
        }
        for test in tests {
            let differences = match trial::run(plan, test) {
                Ok(differences) => differences,
                Err(BuildError::Job(errors)) => vec![errors.to_string()],
                Err(BuildError::Engine(error)) => vec![error.to_string()],
            };
            let word = match differences.is_empty() {
                true => "ok",
                false => "FAILED",
            };
            if !output.quiet {
                super::print(format!("test {} ... {word}\n", test.name))?;
            }
            match differences.is_empty() {
                true => tally.passed += 1,
                false => {
                    let title = format!("{}: {}", plan.place_of_test(test), test.name);
                    tally.failed.push((title, differences.join("\n")));
                }
            }
        }
        Ok(())
    }
}

impl Tally {
    /// Shows what failed and, unless all is well and no one wants to know, the counts.
    fn show(&self, output: Output) -> Result<()> {
        for (title, differences) in &self.failed {
            super::print(format!("\n{title}\n{differences}\n"))?;
        }
        if output.quiet && self.failed.is_empty() {
            return Ok(());
        }
        let word = if self.failed.is_empty() { "ok" } else { "FAILED" };
        super::print(format!(
            "\ntest result: {word}. {} passed; {} failed; {} filtered out\n",
            self.passed,
            self.failed.len(),
            self.filtered_out
        ))
    }
}
