//! How the program ends: exit codes that scripts can rely on.

use std::io::ErrorKind;
use std::process::ExitCode;

use engine::Error;

/// The exit codes, as every verb's help shows them.
pub(super) const TABLE: &str = "\
Exit codes:
  0   done, or stopped with nothing left to resume
  1   a test of a job failed
  2   the command line is wrong
  3   the job is not valid, or not that of its checkpoint
  4   cannot connect or authenticate
  5   too many bad records
  6   records are missing: lost before they were read; or verify found something
  7   reading or writing failed: source, sink, disk
  75  stopped but resumable, or another process is at work on it
  101 a bug";

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// A test of a job failed.
    TestFailed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The job is not valid, or not that of its checkpoint.
    Invalid = 3,
    /// A server could not be reached, or refused us.
    Connect = 4,
    /// Too many bad records.
    Bad = 5,
    /// Records are missing.
    Missing = 6,
    /// Reading or writing failed.
    Failed = 7,
    /// Stopped, but resumable; or another process is at work.
    Resumable = 75,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Says what went wrong, and returns the exit code for it.
pub(super) fn report(error: &Error) -> Exit {
    let exit = exit_of(error);
    if exit != Exit::Done {
        eprintln!("millstream: {error}");
    }
    exit
}

/// Says what stands in the way of a part of a job, and returns the exit code for it.
#[cfg(feature = "sql")]
pub(super) fn report_of(part: &str, error: &Error) -> Exit {
    eprintln!("{part}: {error}");
    exit_of(error)
}

fn exit_of(error: &Error) -> Exit {
    match error {
        // The reader of a pipe has seen enough.
        Error::Io { source, .. } if source.kind() == ErrorKind::BrokenPipe => Exit::Done,
        Error::Invalid(_) | Error::JobChanged { .. } | Error::Checkpoint { .. } => Exit::Invalid,
        Error::Connect { .. } => Exit::Connect,
        Error::BadRecord { .. } | Error::TooManyBadRows { .. } => Exit::Bad,
        Error::DataLoss { .. } => Exit::Missing,
        Error::Held { .. } | Error::HeldBy { .. } | Error::Fenced { .. } | Error::Interrupted => Exit::Resumable,
        _ => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exit_code_is_in_the_table() {
        let codes: Vec<_> = TABLE
            .lines()
            .filter_map(|line| line.split_whitespace().next())
            .collect();
        for exit in [
            Exit::Done,
            Exit::TestFailed,
            Exit::Usage,
            Exit::Invalid,
            Exit::Connect,
            Exit::Bad,
            Exit::Missing,
            Exit::Failed,
            Exit::Resumable,
        ] {
            assert!(codes.contains(&(exit as u8).to_string().as_str()), "{exit:?}");
        }
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let closed = Error::io("write to", "<standard output>")(ErrorKind::BrokenPipe.into());
        assert_eq!(exit_of(&closed), Exit::Done);
        let full = Error::io("write", "out.parquet")(ErrorKind::StorageFull.into());
        assert_eq!(exit_of(&full), Exit::Failed);
    }
}
