//! The threads that read segments and write them.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use connectors::decode::DecodeRows;
use connectors::kafka::ranges::{PartitionRange, Ranges, Reading};
use connectors::parquet::archive::{ArchiveWriter, FileEntry, FilePlan, SegmentWriter};
use engine::batch::Batch;
use engine::metrics::Metrics;
use engine::operator::Operator;
use engine::pipeline::Stop;
use engine::queue::{Permit, Receiver};
use engine::source::{Event, Intake};
use engine::{Error, Partition, Positions, Result};

use super::pace::Pace;

/// How long a thread waits for an event before it looks at the stop signal again.
const STOP_CHECK: Duration = Duration::from_millis(50);

/// What the threads have in common.
pub(super) struct Work<'a> {
    pub(super) archive: &'a ArchiveWriter,
    pub(super) ranges: &'a Ranges,
    /// Topics that are deleted or made again are noticed here.
    pub(super) watched: &'a Receiver<Event>,
    pub(super) plan: &'a FilePlan,
    /// Reads the values, where they are.
    pub(super) decode: Option<&'a DecodeRows>,
    pub(super) metrics: &'a Metrics,
    pub(super) stop: &'a Stop,
    /// How long a segment under way waits for the brokers after the stop signal; `None` to give it up at once.
    pub(super) patience: Option<Duration>,
    pub(super) pace: Option<&'a Pace>,
    /// Bytes of batches that wait for a thread.
    pub(super) queue_bytes: usize,
}

/// One run of all threads.
struct Run<'a> {
    work: &'a Work<'a>,
    left: Mutex<VecDeque<PartitionRange>>,
    /// What went wrong first.
    failure: Mutex<Option<Error>>,
    has_failed: AtomicBool,
    working: AtomicUsize,
}

/// The events of one range. The receiver is dropped first, which ends the reading.
struct Feed {
    receiver: Receiver<Event>,
    reading: Reading,
}

impl Feed {
    /// Returns the next event; `None` when there is none yet.
    ///
    /// # Errors
    /// When the reader ended without saying why.
    fn next(&self, range: &PartitionRange) -> Result<Option<(Event, Permit)>> {
        // Asked before the look, so that what the reader said at its very end counts.
        let is_over = self.reading.is_over();
        match self.receiver.receive(STOP_CHECK) {
            None if is_over => Err(Error::Source {
                input: format!("{} offsets {}", range.partition, range.offsets),
                problem: "the thread that reads it broke off".to_owned(),
            }),
            next => Ok(next),
        }
    }
}

impl Work<'_> {
    /// Reads and writes `pending`, until all is done or the stop signal comes. Each segment that was begun before is finished
    /// after it, if there is some patience.
    ///
    /// # Errors
    /// What went wrong first in any thread.
    pub(super) fn run(&self, pending: Vec<PartitionRange>, threads: NonZeroUsize) -> Result<()> {
        self.show_bounds(&pending);
        let threads = threads.get().min(pending.len());
        let run = Run {
            work: self,
            left: Mutex::new(pending.into()),
            failure: Mutex::new(None),
            has_failed: AtomicBool::new(false),
            working: AtomicUsize::new(threads),
        };
        thread::scope(|scope| {
            for number in 0..threads {
                let named = thread::Builder::new().name(format!("replay-{number}"));
                if let Err(error) = named.spawn_scoped(scope, || run.work_on()) {
                    run.working.fetch_sub(1, Ordering::AcqRel);
                    run.fail(Error::io("start a thread for", self.archive.root())(error));
                }
            }
            while run.working.load(Ordering::Acquire) > 0 {
                if let Some((Event::Failed(error), _)) = self.watched.receive(STOP_CHECK) {
                    run.fail(error);
                }
            }
        });
        match run.failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Tells who watches how much there is to do. Segments are read in no order, so a position is a number of offsets that
    /// are done, counted from the first one of the partition that was not.
    fn show_bounds(&self, pending: &[PartitionRange]) {
        let (mut starts, mut ends) = (BTreeMap::new(), BTreeMap::new());
        for PartitionRange { partition, offsets } in pending {
            let start = *starts.entry(partition.clone()).or_insert(offsets.from);
            *ends.entry(partition.clone()).or_insert(start) += offsets.to - offsets.from;
        }
        self.metrics.set_bounds(&Positions(starts), Some(&Positions(ends)));
    }
}

impl Run<'_> {
    fn is_over(&self) -> bool {
        self.has_failed.load(Ordering::Acquire) || self.work.stop.is_raised()
    }

    fn fail(&self, error: Error) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert(error);
        self.has_failed.store(true, Ordering::Release);
    }

    fn work_on(&self) {
        while !self.is_over() {
            let next = self.left.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(range) = next else {
                break;
            };
            if let Err(error) = self.copy(&range) {
                self.fail(error);
            }
        }
        self.working.fetch_sub(1, Ordering::AcqRel);
    }

    /// Returns whether a segment that last got something at `last` is not worked on any more.
    fn gives_up(&self, last: Instant) -> bool {
        let is_impatient = || self.work.patience.is_none_or(|patience| last.elapsed() > patience);
        self.has_failed.load(Ordering::Acquire) || self.work.stop.is_raised() && is_impatient()
    }

    /// Copies a range into the archive. If the run is over before, the file under way is given up.
    fn copy(&self, range: &PartitionRange) -> Result<()> {
        let Work { archive, plan, .. } = self.work;
        let (intake, receiver) = Intake::new(self.work.queue_bytes);
        let feed = Feed {
            reading: self.work.ranges.read(range, intake)?,
            receiver,
        };
        let mut writer = SegmentWriter::new(archive, plan, range.partition.clone(), range.offsets);
        let (mut position, mut last) = (range.offsets.from, Instant::now());
        while !self.gives_up(last) {
            let Some((event, permit)) = feed.next(range)? else {
                continue;
            };
            last = Instant::now();
            match event {
                Event::Batch(batch) => {
                    let to = batch.origin().map_or(position, |origin| origin.offsets.to);
                    self.take_in(batch, &mut writer)?;
                    self.advance(&range.partition, &mut position, to);
                }
                Event::Advanced { position: to, .. } => self.advance(&range.partition, &mut position, to),
                Event::Ended { .. } => {
                    self.count(writer.finish()?);
                    self.advance(&range.partition, &mut position, range.offsets.to);
                    return Ok(());
                }
                Event::Failed(error) => return Err(error),
                Event::Added { .. } | Event::Latest { .. } => {}
            }
            drop(permit);
        }
        Ok(())
    }

    fn take_in(&self, mut batch: Batch, writer: &mut SegmentWriter<'_>) -> Result<()> {
        if let Some(pace) = self.work.pace {
            pace.wait(batch.bytes(), || self.is_over());
        }
        self.work.metrics.rows_in.add(batch.rows() as u64);
        self.work.metrics.bytes_in.add(batch.bytes() as u64);
        if let Some(decode) = self.work.decode {
            batch = decode.apply(batch, self.work.metrics)?;
        }
        self.count(writer.write(&batch.to_records()?)?);
        Ok(())
    }

    fn advance(&self, partition: &Partition, position: &mut i64, to: i64) {
        let metrics = self.work.metrics;
        metrics.move_on(partition, to - *position);
        *position = to;
    }

    fn count(&self, committed: impl IntoIterator<Item = FileEntry>) {
        let metrics = self.work.metrics;
        for file in committed {
            metrics.files_out.add(1);
            metrics.bytes_out.add(file.bytes);
            metrics.rows_out.add(file.rows);
            metrics.micro_batches.add(1);
        }
    }
}
