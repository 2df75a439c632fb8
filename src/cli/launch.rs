//! Running a job from the command line: stop signals, checkpoint, progress, and the last word.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use connectors::parquet::archive::check_folder;
use engine::checkpoint::{LocalStore, Store};
use engine::clock::SystemClock;
use engine::metrics::Metrics;
use engine::pipeline::{Job, Outcome, Settings, Stop, Surroundings};
use engine::{Error, Result};

use super::Exit;
use super::progress::{self, Progress};

/// How much the program says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    pub(super) quiet: bool,
}

/// A job with all that it needs to run from the command line.
pub(super) struct Launch<'a> {
    pub(super) job: Job,
    pub(super) settings: Settings,
    pub(super) checkpoint: Option<&'a Path>,
    pub(super) progress: Option<Progress>,
    /// Whether the input has an end.
    pub(super) bounded: bool,
    pub(super) metrics: Arc<Metrics>,
}

impl Launch<'_> {
    /// Runs the job to its end, or until Ctrl-C or SIGTERM.
    pub(super) fn run(self) -> Result<Exit> {
        let stop = stop_on_signal("stopping after this epoch")?;
        let store = match self.checkpoint {
            Some(dir) => {
                check_folder(dir, "a checkpoint")?;
                Some(Box::new(LocalStore::open(dir, self.job.parts())?) as Box<dyn Store>)
            }
            None => None,
        };
        let is_resumed = store.as_ref().is_some_and(|store| !store.candidates().is_empty());
        let surroundings = Surroundings {
            store,
            stop: &stop,
            metrics: &self.metrics,
            clock: &SystemClock::default(),
        };
        let progress = self.progress.map(|progress| {
            let id = surroundings.store.as_ref().map(|store| store.job());
            progress.of_job(id).start(Arc::clone(&self.metrics))
        });
        let outcome = engine::pipeline::run(self.job, &self.settings, surroundings);
        if let Some(progress) = progress {
            progress.finish(outcome.is_ok());
        }
        Ok(match outcome? {
            Outcome::Stopped if self.bounded => {
                say_resumable(self.checkpoint);
                Exit::Resumable
            }
            Outcome::Finished if is_resumed && self.metrics.rows_in.get() == 0 => {
                let kept_in = self.checkpoint.map(|dir| dir.display().to_string());
                say_nothing_left(kept_in.as_deref());
                Exit::Done
            }
            Outcome::Finished | Outcome::Stopped => Exit::Done,
        })
    }
}

/// Returns the number of cores, or the number asked for.
pub(super) fn threads(asked: Option<NonZeroUsize>) -> NonZeroUsize {
    asked.unwrap_or_else(|| std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN))
}

/// Returns where the checkpoint of a Parquet folder is kept unless the user says otherwise.
pub(super) fn checkpoint_in(dir: &Path) -> PathBuf {
    dir.join("_millstream").join("checkpoint")
}

/// The first signal asks the work to stop, which `says` how; the second ends the program at once, which loses nothing either.
pub(super) fn stop_on_signal(says: &'static str) -> Result<Arc<Stop>> {
    let stop = Arc::new(Stop::default());
    let raised = Arc::clone(&stop);
    let handler = move || {
        if raised.is_raised() {
            progress::clear();
            eprintln!("millstream: stopped at once; what was not committed will be done again");
            std::process::exit(i32::from(Exit::Resumable as u8));
        }
        progress::say(&format!("millstream: {says}; once more to stop at once"));
        raised.raise();
    };
    ctrlc::set_handler(handler).map_err(|error| Error::Invalid(format!("cannot handle stop signals: {error}")))?;
    Ok(stop)
}

/// Says that there was nothing to do. Where a run ends is fixed when it is given that end, so that asking again does not go
/// further.
pub(super) fn say_nothing_left(kept_in: Option<&str>) {
    if let Some(place) = kept_in {
        eprintln!(
            "millstream: nothing left to do: the run kept in {place} has reached its end; it goes on when it is given another one"
        );
    }
}

/// Says that work was stopped, where what is done is, and how to go on.
pub(super) fn say_resumable(checkpoint: Option<&Path>) {
    match checkpoint {
        Some(dir) => say_how_to_go_on(&dir.display().to_string()),
        None => eprintln!("millstream: stopped before the end of the input"),
    }
}

/// Says where the work is that was done until now, and the command that goes on with it.
pub(super) fn say_how_to_go_on(place: &str) {
    let command: Vec<_> = std::env::args().map(|word| quoted(&word)).collect();
    eprintln!("millstream: stopped; what is done is in {place}");
    eprintln!("millstream: to go on: {}", command.join(" "));
}

fn quoted(word: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_./:=,@%+".contains(character);
    match word.chars().all(plain) && !word.is_empty() {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_command_are_quoted_for_a_shell() {
        assert_eq!(quoted("--out=parquet:a/b"), "--out=parquet:a/b");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
