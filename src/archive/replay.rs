//! A replay under way: the archive, the topics, and what the threads that copy from one to the other have in common.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::time::Duration;

use connectors::decode::DecodeRows;
use connectors::kafka::ranges::{PartitionRange, Ranges};
use connectors::parquet::archive::{ArchiveHeader, ArchiveWriter, FilePlan, Settings};
use engine::metrics::Metrics;
use engine::pipeline::Stop;
use engine::queue::Receiver;
use engine::source::{Event, Intake};
use engine::{Error, Result};

use super::pace::Pace;
use super::work::Work;
use super::{Outcome, ReplayOptions, Report, segments};

/// Bytes of batches that wait for a worker.
const QUEUE_BYTES: usize = 8 << 20;

/// What the options come to.
pub(super) struct Form {
    /// The most segments at a time.
    pub(super) threads: NonZeroUsize,
    /// Reads the values, where they are.
    pub(super) decode: Option<DecodeRows>,
    /// How files are made.
    pub(super) plan: FilePlan,
    /// What decides names and bytes.
    pub(super) settings: Settings,
}

/// A replay under way.
pub(super) struct Replay<'a> {
    pub(super) archive: ArchiveWriter,
    pub(super) ranges: Ranges,
    /// Topics that are deleted or made again are noticed here.
    pub(super) watched: Receiver<Event>,
    pub(super) stop: &'a Stop,
    form: Form,
    pace: Option<Pace>,
    metrics: &'a Metrics,
}

impl<'a> Replay<'a> {
    /// Returns the replay of the topics of `ranges` into `archive`, which has a header.
    ///
    /// # Errors
    /// When there is no thread that watches the topics.
    pub(super) fn new(
        options: &ReplayOptions,
        form: Form,
        archive: ArchiveWriter,
        mut ranges: Ranges,
        stop: &'a Stop,
        metrics: &'a Metrics,
    ) -> Result<Self> {
        let watched = watch(&mut ranges, header(&archive))?;
        Ok(Self {
            archive,
            ranges,
            watched,
            stop,
            form,
            pace: options.rate.map(Pace::new),
            metrics,
        })
    }

    /// Looks at other topics from now on.
    ///
    /// # Errors
    /// When there is no thread that watches them.
    pub(super) fn turn_to(&mut self, mut ranges: Ranges) -> Result<()> {
        self.watched = watch(&mut ranges, header(&self.archive))?;
        self.ranges = ranges;
        Ok(())
    }

    /// Returns the header as it is now.
    pub(super) fn header(&self) -> &ArchiveHeader {
        header(&self.archive)
    }

    /// Reads and writes `pending`, until all is done or the stop signal comes. Segments under way are given up then, unless
    /// there is a `patience`: they are finished, as long as the brokers send something within it.
    ///
    /// # Errors
    /// What went wrong first in any thread; by policy, when records are gone.
    pub(super) fn read(&self, pending: Vec<PartitionRange>, is_new: bool, patience: Option<Duration>) -> Result<()> {
        let header = self.header();
        let ids = known_ids(header);
        let pending = match is_new {
            true => pending,
            false => self.ranges.still_there(&ids, &pending)?,
        };
        let plan = self.form.plan.clone();
        let plan = plan.of(header.cluster_id.clone(), header.topics.clone());
        let work = Work {
            archive: &self.archive,
            ranges: &self.ranges,
            watched: &self.watched,
            plan: &plan,
            decode: self.form.decode.as_ref(),
            metrics: self.metrics,
            stop: self.stop,
            patience,
            pace: self.pace.as_ref(),
            queue_bytes: QUEUE_BYTES,
        };
        let done = work.run(pending, self.form.threads);
        done.map_err(|error| self.exact(error, &ids))
    }

    /// Completes the archive, unless the stop signal has left something to do; returns whether it is complete.
    ///
    /// # Errors
    /// When the folder can't be read or written, or another process took over.
    pub(super) fn complete(&mut self) -> Result<bool> {
        if self.stop.is_raised() && !segments::pending(self.header(), &self.archive.contents()?).is_empty() {
            return Ok(false);
        }
        self.archive.complete()?;
        Ok(true)
    }

    /// Ends the work, of which `done` says whether the archive is complete.
    ///
    /// # Errors
    /// That of `done`; when the folder can't be written.
    pub(super) fn end(self, done: Result<bool>) -> Result<Outcome> {
        let reported = done.and_then(|is_complete| Ok((is_complete, Report::of(&self.archive)?)));
        let closed = self.archive.close();
        // What went wrong first is what is told.
        let (is_complete, report) = reported?;
        closed?;
        Ok(match is_complete {
            true => Outcome::Complete(report),
            false => Outcome::Stopped(report),
        })
    }

    /// Returns the error of a read, with all ranges of the archive that can't be read any more, if there are such: whoever met
    /// the loss knew of its own segment only.
    fn exact(&self, error: Error, ids: &BTreeMap<String, String>) -> Error {
        let (Error::DataLoss { .. } | Error::Source { .. }) = &error else {
            return error;
        };
        let contents = self.archive.contents();
        let pending = contents.map(|contents| segments::pending(self.header(), &contents));
        match pending.and_then(|pending| self.ranges.still_there(ids, &pending)) {
            Err(loss @ Error::DataLoss { .. }) => loss,
            _ => error,
        }
    }
}

fn header(archive: &ArchiveWriter) -> &ArchiveHeader {
    archive.header().expect("a replay that is under way was begun")
}

fn watch(ranges: &mut Ranges, header: &ArchiveHeader) -> Result<Receiver<Event>> {
    let (intake, watched) = Intake::new(0);
    ranges.watch(known_ids(header), intake)?;
    Ok(watched)
}

/// Returns the ids of those topics that have one.
fn known_ids(header: &ArchiveHeader) -> BTreeMap<String, String> {
    let known = |(topic, id): (&String, &Option<String>)| Some((topic.clone(), id.clone()?));
    header.topics.iter().filter_map(known).collect()
}
