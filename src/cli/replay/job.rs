//! `replay JOB`: the job file of an archive instead of options.

use std::env;
use std::path::Path;

use engine::{Error, Result};

use super::super::check::load;
use super::super::launch;
use super::Replay;
use crate::archive::ReplayOptions;
use crate::job::{JobErrors, Overrides, replay};

/// The options that a job has keys for.
pub(super) const OPTIONS: [&str; 19] = [
    "properties",
    "out",
    "group",
    "on_data_loss",
    "read_uncommitted",
    "client",
    "layout",
    "formats",
    "columns",
    "pattern",
    "zone",
    "on_bad",
    "compression",
    "bloom_filter",
    "partition_by",
    "file_rows",
    "file_bytes",
    "file_span",
    "segment",
];

/// Returns the replay of a job file, as the options change it; or what is wrong with the file.
pub(super) fn options(replay: &Replay, job: &Path) -> Result<Result<ReplayOptions, JobErrors>> {
    refuse_brokers(replay)?;
    let overrides = Overrides {
        set: replay.set.clone(),
        from: replay.from.as_ref().map(ToString::to_string),
        to: replay.to.as_ref().map(ToString::to_string),
    };
    let plan = match load(job, &overrides) {
        Ok(plan) => plan,
        Err(errors) => return Ok(Err(errors)),
    };
    if let Some(errors) = plan.not_an_archive() {
        return Ok(Err(errors));
    }
    if replay.follow.age().is_some() && plan.is_bounded() {
        let problem = "the job has an end, and `--follow` has none: leave out `to` of its source";
        return Err(Error::Invalid(problem.to_owned()));
    }
    let threads = launch::threads(replay.threads.or(plan.run.threads));
    let mut options = replay::options(&plan, threads)?;
    options.memory = replay.memory;
    options.rate = replay.rate;
    Ok(Ok(options))
}

/// Refuses brokers beside those of the job. Those of the environment are for command lines without a job.
fn refuse_brokers(replay: &Replay) -> Result<()> {
    let of_environment = env::var("MILLSTREAM_BROKERS").ok();
    match replay.connection.brokers.is_some() && replay.connection.brokers != of_environment {
        true => Err(Error::Invalid(
            "the job names its brokers: instead of `--brokers` write --set source.NAME.brokers=HOST:PORT".to_owned(),
        )),
        false => Ok(()),
    }
}
