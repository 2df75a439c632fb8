//! What only `replay --follow`, the archive without an end, is told.

use std::time::Duration;

use clap::Args;

use super::super::value;

/// How long records wait for their file to be closed.
const FILE_AGE: &str = "30s";

/// What only a replay without an end has.
#[derive(Debug, Args)]
pub(super) struct FollowArguments {
    /// Go on with what comes, until Ctrl-C or SIGTERM
    #[arg(long)]
    follow: bool,
    /// With --follow: how often files are closed and become visible, full or not, whether more rows come or not
    #[arg(long, value_name = "DURATION", default_value = FILE_AGE, value_parser = value::duration, requires = "follow")]
    file_age: Duration,
}

impl FollowArguments {
    /// Returns how often files are closed, if the replay is to have no end.
    pub(super) fn age(&self) -> Option<Duration> {
        self.follow.then_some(self.file_age)
    }
}
