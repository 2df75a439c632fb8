//! What is wrong with a job file: all of it at once, each with its line.
//!
//! ```text
//! errors.toml:7:1: unknown key `formt` in [source.logs]: did you mean `format`?
//!   |
//! 7 | formt = "combined"
//!   | ^^^^^
//!   = the keys here: kind, brokers, topic, ...
//! ```

use std::fmt;

use super::place::{Place, Position, Texts};

/// The most errors that are shown; a file that has more is not a job file.
const ERRORS_MAX: usize = 50;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobError {
    /// Where; none when the file could not be read.
    pub place: Option<Place>,
    /// What was found, and what was expected.
    pub message: String,
    /// What to do about it, if there is more to say.
    pub help: Option<String>,
}

/// Everything that is wrong with a job, in the order of the file. There is at least one error.
#[derive(Clone, Debug)]
pub struct JobErrors {
    pub(super) texts: Texts,
    pub(super) errors: Vec<JobError>,
}

/// Collects errors while a job file is read.
#[derive(Debug, Default)]
pub(super) struct Report {
    errors: Vec<JobError>,
    secrets: Vec<Place>,
}

impl Report {
    /// Adds an error.
    pub(super) fn error(&mut self, place: Place, message: impl Into<String>) {
        self.add(Some(place), message.into(), None);
    }

    /// Adds an error, and what to do about it.
    pub(super) fn error_with_help(&mut self, place: Place, message: impl Into<String>, help: impl Into<String>) {
        self.add(Some(place), message.into(), Some(help.into()));
    }

    /// Adds the error of a result, at a place.
    pub(super) fn check<T>(&mut self, place: Place, result: Result<T, impl fmt::Display>) -> Option<T> {
        result.map_err(|error| self.error(place, error.to_string())).ok()
    }

    /// Keeps what stands at a place out of every message.
    pub(super) fn hide(&mut self, place: Place) {
        self.secrets.push(place);
    }

    fn add(&mut self, place: Option<Place>, message: String, help: Option<String>) {
        let error = JobError { place, message, help };
        if !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    /// Returns the errors in the order of the texts.
    pub(super) fn into_errors(mut self, mut texts: Texts) -> JobErrors {
        self.secrets.iter().for_each(|secret| texts.hide(*secret));
        self.errors.sort_by_key(|error| error.place);
        JobErrors {
            texts,
            errors: self.errors,
        }
    }
}

impl JobErrors {
    /// Returns the one error of a file that could not be read.
    pub(super) fn unreadable(message: String) -> Self {
        let mut report = Report::default();
        report.add(None, message, None);
        report.into_errors(Texts::default())
    }

    /// Returns every error with its position.
    pub fn iter(&self) -> impl Iterator<Item = (Option<Position<'_>>, &JobError)> {
        let with_position = |error: &'_ JobError| error.place.map(|place| self.texts.position(place));
        self.errors.iter().map(move |error| (with_position(error), error))
    }

    /// Returns the number of errors.
    #[expect(clippy::len_without_is_empty, reason = "there is at least one")]
    pub fn len(&self) -> usize {
        self.errors.len()
    }
}

impl std::error::Error for JobErrors {}

impl fmt::Display for JobErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (position, error)) in self.iter().take(ERRORS_MAX).enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            match position {
                Some(position) => write_error(f, &position, error)?,
                None => f.write_str(&error.message)?,
            }
        }
        match self.len().saturating_sub(ERRORS_MAX) {
            0 => Ok(()),
            more => write!(f, "\n\n... and {more} more"),
        }
    }
}

fn write_error(f: &mut fmt::Formatter<'_>, position: &Position<'_>, error: &JobError) -> fmt::Result {
    write!(f, "{position}: {}", error.message)?;
    let margin = match position.line {
        Some(_) if may_hold_secret(position.text) => " ".to_owned(),
        Some(line) => {
            let line = line.to_string();
            let margin = " ".repeat(line.len());
            // Tabs become single spaces, so that the caret stands below its character.
            let text = position.text.replace('\t', " ");
            let indent = " ".repeat(position.column - 1);
            let caret = "^".repeat(position.width);
            let shown = format!("{line} | {text}");
            write!(f, "\n{margin} |\n{}\n{margin} | {indent}{caret}", shown.trim_end())?;
            margin
        }
        None => " ".to_owned(),
    };
    match &error.help {
        Some(help) => write!(f, "\n{margin} = {help}"),
        None => Ok(()),
    }
}

/// Whether a line might show a secret, even one that stands at the wrong place or is no TOML. It is not shown then.
pub(super) fn may_hold_secret(line: &str) -> bool {
    let line = line.to_lowercase();
    ["password", "passphrase", "secret", ".pem", "oauthbearer", "private key"]
        .iter()
        .any(|word| line.contains(word))
}
