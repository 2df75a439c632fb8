//! The archive without an end: the same replay again and again, each time of what came since.
//!
//! ```text
//! round          the ends are looked up, the header is given them, what is between is read and written; then a rest
//! at times       the journal becomes part of the manifest
//! stop signal    segments under way are finished, the header's ends go back to where they were, and all of it is complete
//! ```
//!
//! So the folder is at any time what a replay with an end would have left if it had been killed, and after a stop it is
//! complete: what is true of an archive is true of this one.

use std::time::{Duration, Instant};

use connectors::kafka::options::End;
use connectors::kafka::ranges::{PartitionRange, Ranges};
use connectors::parquet::archive::{ArchiveHeader, Contents, NO_END, PartitionBounds, reach};
use engine::metrics::Metrics;
use engine::pipeline::Stop;
use engine::source::Event;
use engine::{Error, Positions, Result};

use super::replay::Replay;
use super::{Outcome, ReplayOptions, begin, segments};

/// How long a rest goes on before it looks at the stop signal again.
const STOP_CHECK: Duration = Duration::from_millis(50);

/// How long a segment under way waits for the brokers after the stop signal.
const PATIENCE_AT_STOP: Duration = Duration::from_secs(5);

/// Commits of the journal after which they become part of the manifest: a file each until then, and the manifest is
/// written as a whole.
const COMMITS_MAX: u64 = 1000;

/// An archive that follows its topics.
struct Following<'a> {
    options: &'a ReplayOptions,
    replay: Replay<'a>,
    /// Up to where all is in the journal or the manifest, if that is known.
    reached: Option<Positions>,
    /// The number of commits when the manifest was written last.
    listed: u64,
    /// Whether the brokers did not answer the last time.
    is_alone: bool,
}

impl ReplayOptions {
    /// Archives what there is and what comes, until `stop` is raised: each time `every` has passed, all that came since is put
    /// into files, whether it fills them or not. The end of the source's options does not count.
    ///
    /// # Errors
    /// As those of [`run`](Self::run); but for the start, brokers that are away are waited for.
    pub fn follow(mut self, every: Duration, stop: &Stop, metrics: &Metrics) -> Result<Outcome> {
        self.source.to = Some(End::Latest);
        let form = self.form()?;
        let begun = begin::begin(&self, &form.settings, NO_END)?;
        let ranges = begun.ranges.expect("an archive without an end is never done");
        let mut following = Following {
            listed: begun.archive.commits(),
            replay: Replay::new(&self, form, begun.archive, ranges, stop, metrics)?,
            options: &self,
            reached: None,
            is_alone: false,
        };
        let followed = following.go_on(begun.pending, begun.is_new, every);
        // Also after a failure: what is there is to be seen as what it is.
        let settled = following.settle();
        following.replay.end(followed.and(settled))
    }
}

impl Following<'_> {
    /// Goes on round by round until the stop signal comes.
    fn go_on(&mut self, pending: Vec<PartitionRange>, is_new: bool, every: Duration) -> Result<()> {
        let mut begun = Instant::now();
        let mut done = self.read(pending, is_new);
        loop {
            self.bear(done)?;
            self.rest(begun, every)?;
            if self.replay.stop.is_raised() {
                return Ok(());
            }
            begun = Instant::now();
            done = self.round();
        }
    }

    /// Takes it that the brokers are away, and says so once.
    fn bear(&mut self, done: Result<()>) -> Result<()> {
        match done {
            Err(error @ Error::Connect { .. }) => {
                if !self.is_alone {
                    tracing::warn!(%error, "the topics are followed again when the brokers answer");
                }
                self.is_alone = true;
                Ok(())
            }
            done => {
                self.is_alone &= done.is_err();
                done
            }
        }
    }

    /// Waits until `every` has passed since `begun`, or the stop signal comes.
    fn rest(&self, begun: Instant, every: Duration) -> Result<()> {
        while !self.replay.stop.is_raised() {
            let left = every.saturating_sub(begun.elapsed());
            if left.is_zero() {
                break;
            }
            if let Some((Event::Failed(error), _)) = self.replay.watched.receive(left.min(STOP_CHECK)) {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Archives what came since the last round.
    fn round(&mut self) -> Result<()> {
        self.take_new_topics()?;
        let header = begin::extended(self.replay.header(), &End::Latest, NO_END, &self.replay.ranges)?;
        let pending = match &self.reached {
            Some(reached) => ahead(&header, reached),
            None => segments::pending(&header, &self.replay.archive.contents()?),
        };
        if header != *self.replay.header() {
            self.replay.archive.set_header(header)?;
        }
        match pending.is_empty() {
            // Nothing is under way: a good time.
            true => self.list(1),
            false => self.read(pending, false),
        }
    }

    /// Reads and writes `pending`, all that is left up to the header's ends.
    fn read(&mut self, pending: Vec<PartitionRange>, is_new: bool) -> Result<()> {
        self.reached = None;
        self.replay.read(pending, is_new, Some(PATIENCE_AT_STOP))?;
        if self.replay.stop.is_raised() {
            return Ok(());
        }
        let reached = ends(self.replay.header());
        self.replay.ranges.acknowledge(&reached)?;
        self.reached = Some(reached);
        self.list(COMMITS_MAX)
    }

    /// Makes the journal part of the manifest, if it has so many commits.
    fn list(&mut self, commits: u64) -> Result<()> {
        let now = self.replay.archive.commits();
        if now >= self.listed + commits {
            self.replay.archive.complete()?;
            self.listed = now;
        }
        Ok(())
    }

    /// Looks for topics that match the pattern now.
    fn take_new_topics(&mut self) -> Result<()> {
        match self.replay.ranges.is_outdated()? {
            true => self.replay.turn_to(Ranges::open(self.options.source.clone())?),
            false => Ok(()),
        }
    }

    /// Ends the archive where it is; returns whether it is complete by that.
    fn settle(&mut self) -> Result<bool> {
        let contents = self.replay.archive.contents()?;
        let mut header = self.replay.header().clone();
        let mut is_whole = true;
        for bounds in &mut header.partitions {
            let known = self
                .reached
                .as_ref()
                .and_then(|reached| reached.get(&bounds.partition()));
            let covered = contents.covered_of(&bounds.partition());
            bounds.to = reach(known.unwrap_or(bounds.archived), covered);
            is_whole &= covered.iter().all(|range| range.to <= bounds.to);
        }
        if is_whole {
            if header != *self.replay.header() {
                self.replay.archive.set_header(header)?;
            }
            self.replay.archive.complete()?;
            self.replay.ranges.acknowledge_last(&ends(self.replay.header()));
        }
        Ok(is_whole)
    }
}

/// Returns where the partitions of a header end.
fn ends(header: &ArchiveHeader) -> Positions {
    let end = |bounds: &PartitionBounds| (bounds.partition(), bounds.to);
    Positions(header.partitions.iter().map(end).collect())
}

/// Returns what is between `reached` and the ends of a header, without a look at the journal.
fn ahead(header: &ArchiveHeader, reached: &Positions) -> Vec<PartitionRange> {
    let mut header = header.clone();
    for bounds in &mut header.partitions {
        bounds.archived = reached.get(&bounds.partition()).unwrap_or(bounds.archived);
    }
    segments::pending(&header, &Contents::default())
}
