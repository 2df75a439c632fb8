//! What can go wrong, each failure naming the act that failed.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use arrow::error::ArrowError;

use crate::position::{OffsetRange, Partition};

/// The engine's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a job stopped. The program maps each variant to an exit code.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be used.
    #[error("cannot {act} {}: {source}", path.display())]
    Io {
        /// The act that failed, as a verb: "create", "write".
        act: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// An Arrow kernel or an Arrow IPC file failed.
    #[error("cannot {act}: {source}")]
    Arrow {
        /// The act that failed.
        act: &'static str,
        /// What Arrow said.
        source: ArrowError,
    },
    /// A server could not be reached, or refused who we are.
    #[error("cannot connect to {endpoint}: {problem}")]
    Connect {
        /// The brokers or the address asked for.
        endpoint: String,
        /// What went wrong and what to look at.
        problem: String,
    },
    /// A source failed while it was read.
    #[error("cannot read {input}: {problem}")]
    Source {
        /// The topic, partition and offset, or the file.
        input: String,
        /// What went wrong.
        problem: String,
    },
    /// A record could not be decoded, in a job that is to fail then.
    #[error("cannot decode {input}: {reason}")]
    BadRecord {
        /// The topic or file, partition and offset.
        input: String,
        /// What was found where, and what was expected.
        reason: String,
    },
    /// Records that the job had not read yet are gone.
    #[error("records were lost before they were read: {}", display_lost(lost))]
    DataLoss {
        /// What is missing, exactly.
        lost: Vec<LostRange>,
    },
    /// A sink failed.
    #[error("cannot write to {output}: {problem}")]
    Sink {
        /// The topic or the folder.
        output: String,
        /// What went wrong.
        problem: String,
    },
    /// More rows could not be decoded than the job tolerates.
    #[error(
        "{}{bad} of {rows} rows could not be decoded: more than the share of {ratio_max} that max_error_ratio allows",
        input.as_ref().map(|name| format!("source {name}: ")).unwrap_or_default()
    )]
    TooManyBadRows {
        /// The input, where a job has several.
        input: Option<String>,
        /// Rows that could not be decoded.
        bad: u64,
        /// All rows read.
        rows: u64,
        /// The share that is tolerated, 0 to 1.
        ratio_max: f64,
    },
    /// The job's description is not valid.
    #[error("{0}")]
    Invalid(String),
    /// The checkpoint belongs to a job that does something else.
    #[error(
        "the checkpoint in {} is of another job: {part} was `{was}`, now it is `{now}`; to start afresh, use \
         another checkpoint folder or remove this one",
        path.display()
    )]
    JobChanged {
        /// The checkpoint's folder.
        path: PathBuf,
        /// The part of the job that changed: an operator, the source, the sink.
        part: String,
        /// The recorded description.
        was: String,
        /// The present description.
        now: String,
    },
    /// A checkpoint file is torn, corrupt or of a newer version.
    #[error("cannot use the checkpoint file {}: {problem}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A living process works on this checkpoint or folder.
    #[error("{} is in use by process {pid}: stop it first", path.display())]
    Held {
        /// The checkpoint's folder.
        path: PathBuf,
        /// The holder's process id.
        pid: u32,
    },
    /// A living process works on this archive, of which no more is known than what it says of itself.
    #[error("{what} is in use by {holder}: stop it first")]
    HeldBy {
        /// The archive.
        what: String,
        /// Who it is, where, and since when.
        holder: String,
    },
    /// Another process took this job over while this one was away; nothing more is written.
    #[error("fenced: another process took over {what}; this one wrote nothing after that")]
    Fenced {
        /// The checkpoint's folder or the transactional id.
        what: String,
    },
    /// A number in the data left the range of its column's type.
    #[error("{0} is out of range for its type")]
    Overflow(String),
    /// What an aggregate keeps has outgrown its bound; the message names it.
    #[error("{0}")]
    Limit(String),
    /// A second stop signal came: the epoch under way was given up.
    #[error("stopped at once; the epoch under way was given up and will be done again")]
    Interrupted,
}

impl Error {
    /// Returns a mapper from an I/O error to [`Error::Io`], for `map_err`.
    pub fn io(act: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Io { act, path, source }
    }

    /// Returns a mapper from an Arrow error to [`Error::Arrow`], for `map_err`.
    pub fn arrow(act: &'static str) -> impl FnOnce(ArrowError) -> Self {
        move |source| Self::Arrow { act, source }
    }
}

/// Records of one partition that can't be read any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostRange {
    /// The partition.
    pub partition: Partition,
    /// The offsets that are gone.
    pub offsets: OffsetRange,
    /// Why: retention, a recreated or deleted topic.
    pub cause: String,
}

impl fmt::Display for LostRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} offsets {} ({})", self.partition, self.offsets, self.cause)
    }
}

fn display_lost(lost: &[LostRange]) -> String {
    lost.iter().map(LostRange::to_string).collect::<Vec<_>>().join("; ")
}
