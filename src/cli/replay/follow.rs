//! `replay --follow`: the endless archive, a job whose files are closed by size and age.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use connectors::kafka::source::KafkaSource;
use connectors::parquet::{Layout, ParquetOptions, ParquetSink};
use engine::pipeline::{Job, Query, Settings};
use engine::source::Source;
use engine::{Error, Result};

use super::super::Exit;
use super::super::launch::{self, Launch, Output};
use super::super::value;
use super::Replay;

/// How long a file takes rows, unless it is full before.
const FILE_AGE: &str = "30s";

/// What only a replay without an end has.
#[derive(Debug, Args)]
pub(super) struct FollowArguments {
    /// Go on with what comes, for ever: files are closed by age and size, and not the same in each run
    #[arg(long)]
    follow: bool,
    /// With --follow: how often files are closed and become visible, whether rows come or not
    #[arg(long, value_name = "DURATION", default_value = FILE_AGE, value_parser = value::duration, requires = "follow")]
    file_age: Duration,
    /// With --follow: folder that keeps positions [default: DIR/_millstream/checkpoint]
    #[arg(long, value_name = "DIR", requires = "follow")]
    checkpoint: Option<PathBuf>,
    /// With --follow: memory for batches that wait
    #[arg(long, value_name = "BYTES", default_value = "32MiB", value_parser = value::bytes, requires = "follow")]
    queue: u64,
}

impl FollowArguments {
    /// Returns whether the replay is to have no end.
    pub(super) fn is_asked(&self) -> bool {
        self.follow
    }
}

/// Runs a replay without an end, until a signal stops it.
pub(super) fn run(replay: Replay, output: Output) -> Result<Exit> {
    if !replay.format.formats.is_empty() {
        let problem = "`--follow` keeps records as they are: --input-format is for a replay with an end";
        return Err(Error::Invalid(problem.to_owned()));
    }
    let follow = &replay.follow;
    let checkpoint = follow
        .checkpoint
        .clone()
        .unwrap_or_else(|| launch::checkpoint_in(replay.folder()));
    let source = KafkaSource::new(replay.source()?)?;
    let mut options = ParquetOptions::new(replay.folder(), source.schema(), Layout::Append);
    options.compression = replay.compression;
    options.file_rows_max = replay.file_rows.map(Into::into);
    options.file_bytes_max = Some(replay.file_bytes);
    let job = Job::new(Box::new(source), Query::new(Box::new(ParquetSink::new(options)?)));
    let launch = Launch {
        progress: (!output.quiet).then(|| replay.progress.of("replay", &job)),
        job,
        settings: Settings {
            threads: NonZeroUsize::MIN,
            trigger: None,
            checkpoint_interval: Some(follow.file_age),
            queue_bytes: usize::try_from(follow.queue).unwrap_or(usize::MAX),
        },
        checkpoint: Some(&checkpoint),
        bounded: false,
        metrics: Arc::default(),
    };
    launch.run()
}
