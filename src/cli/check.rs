//! `millstream check`: says everything that is wrong with a job file, without a network and without secrets.

use std::path::{Path, PathBuf};

use clap::Args;
use engine::Result;

use super::Exit;
#[cfg(feature = "sql")]
use super::exit;
use super::launch::Output;
#[cfg(feature = "sql")]
use crate::job::build::probe::probe;
use crate::job::{JobErrors, JobFile, JobPlan, Overrides};

const EXAMPLES: &str = "\
Examples:
  millstream check errors.toml
  millstream check errors.toml --set run.threads=2 --set source.logs.topic=nginx-test
  millstream check errors.toml --from 1h --to latest
  millstream check errors.toml --connect";

/// Check a job file: everything that is wrong with it, without a network and without secrets
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Check {
    /// The job file
    #[arg(value_name = "JOB")]
    job: PathBuf,
    #[command(flatten)]
    overrides: OverrideArguments,
    /// Also look at brokers, topics, files and folders; nothing is made or changed
    #[cfg(feature = "sql")]
    #[arg(long)]
    connect: bool,
}

/// What changes a job file for one run.
#[derive(Clone, Debug, Args)]
pub(super) struct OverrideArguments {
    /// Change a key of the job, as in run.threads=2; may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Where every Kafka source starts: earliest, latest, committed, a time, an age (1h), or offsets (0:120,1:4000)
    #[arg(long, value_name = "WHERE")]
    from: Option<String>,
    /// Where every Kafka source ends: latest, a time, an age or offsets
    #[arg(long, value_name = "WHERE")]
    to: Option<String>,
}

impl OverrideArguments {
    /// Returns what the job file is read with.
    pub(super) fn overrides(&self) -> Overrides {
        Overrides {
            set: self.set.clone(),
            from: self.from.clone(),
            to: self.to.clone(),
        }
    }
}

impl Check {
    /// Checks the job.
    pub(super) fn run(self, output: Output) -> Result<Exit> {
        let plan = match load_with_tests(&self.job, &self.overrides.overrides()) {
            Ok(plan) => plan,
            Err(errors) => return Ok(report(&self.job, &errors)),
        };
        if !output.quiet {
            super::print(format!("{}: ok\n{}", self.job.display(), describe(&plan)))?;
        }
        #[cfg(feature = "sql")]
        if self.connect {
            return self.look(&plan, output);
        }
        Ok(Exit::Done)
    }

    /// Says what of the outside world stands in the job's way, all of it. The exit code is that of what the user must see to
    /// first: a server that is away hides what is on it.
    #[cfg(feature = "sql")]
    fn look(&self, plan: &JobPlan, output: Output) -> Result<Exit> {
        let mut exits = vec![];
        for finding in probe(plan) {
            match finding.outcome {
                Ok(_) if output.quiet => {}
                Ok(what) => super::print(format!("  {}: ok, {what}\n", finding.part))?,
                Err(error) => exits.push(exit::report_of(&finding.part, &error)),
            }
        }
        if !exits.is_empty() {
            let noun = if exits.len() == 1 { "problem" } else { "problems" };
            eprintln!("millstream: {}: {} {noun}", self.job.display(), exits.len());
        }
        let first = exits.iter().find(|&&exit| exit == Exit::Connect).or(exits.first());
        Ok(first.copied().unwrap_or(Exit::Done))
    }
}

/// Says what is wrong with a job file.
pub(super) fn report(job: &Path, errors: &JobErrors) -> Exit {
    let count = errors.len();
    let noun = if count == 1 { "error" } else { "errors" };
    eprintln!("{errors}\n\nmillstream: {}: {count} {noun}", job.display());
    Exit::Invalid
}

/// Returns the checked job.
pub(super) fn load(job: &Path, overrides: &Overrides) -> Result<JobPlan, JobErrors> {
    checked(&JobFile::read(job, overrides)?)
}

/// Returns the checked job with the tests that stand beside it.
pub(super) fn load_with_tests(job: &Path, overrides: &Overrides) -> Result<JobPlan, JobErrors> {
    checked(&JobFile::read_with_tests(job, overrides)?)
}

/// With SQL built in, the statements are checked too.
fn checked(file: &JobFile<'_>) -> Result<JobPlan, JobErrors> {
    #[cfg(feature = "sql")]
    return file.check(Some(&crate::job::build::SqlAnalysis::default()));
    #[cfg(not(feature = "sql"))]
    file.check(None)
}

/// Returns a line a source, query, sink and archive.
pub(super) fn describe(plan: &JobPlan) -> String {
    let mut text = String::new();
    for source in &plan.sources {
        text.push_str(&format!("  source {}: {source}\n", source.name));
    }
    for query in &plan.queries {
        let target = match &query.sink {
            Some(sink) => sink.to_string(),
            None => "later queries".to_owned(),
        };
        text.push_str(&format!("  query {}: {} -> {target}\n", query.name, query.mode));
    }
    if let Some(archive) = &plan.archive {
        text.push_str(&format!("  archive, by `millstream replay`: {archive}\n"));
    }
    if let Some(sink) = &plan.dead_letter {
        text.push_str(&format!("  dead letters: {sink}\n"));
    }
    if let Some(dir) = &plan.run.checkpoint {
        text.push_str(&format!("  checkpoint: {}\n", dir.display()));
    }
    text
}
