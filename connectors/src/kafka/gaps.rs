//! Why offsets have no record for readers: what the brokers still have in their places.

use std::thread::sleep;
use std::time::Duration;

use engine::pipeline::Stop;
use engine::position::{OffsetRange, Partition};
use engine::{Error, Result};

use super::cluster::PATIENCE;
use super::lane::Shared;
use super::wire::{GapReader, GapTrouble, Native};

/// Failures in a row after which it is given up: half a minute, with the pauses between them.
const FAILURES_MAX: u32 = 20;

/// Pauses after a failure, times the number of failures, up to ten times.
const PAUSE: Duration = Duration::from_millis(200);

/// What a partition has at an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The marker that ends a transaction.
    Marker,
    /// A record of a transaction that was aborted.
    Aborted,
    /// Nothing: compaction took it away.
    Compacted,
    /// Nothing: the partition begins after it by now.
    Deleted,
    /// A record that readers see.
    Record,
}

/// How far an explanation came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Explained {
    /// To the end.
    Whole,
    /// Up to the stop signal.
    Stopped,
    /// Not to the end, and this is why: only the native client looks into batches.
    Unknown(String),
}

/// A walk through gaps of one partition, in the order of their offsets. What is found is said to `found`, run by run.
pub(super) struct Walk<'g, F> {
    gaps: &'g [OffsetRange],
    position: i64,
    found: F,
}

impl<'g, F: FnMut(Cause, OffsetRange)> Walk<'g, F> {
    /// Starts before the first of `gaps`, which are in order, apart from each other, and not empty.
    pub(super) fn new(gaps: &'g [OffsetRange], found: F) -> Self {
        Self {
            gaps,
            position: 0,
            found,
        }
    }

    /// Returns the next offset that is to be explained.
    pub(super) fn next(&self) -> Option<i64> {
        self.gaps.first().map(|gap| gap.from.max(self.position))
    }

    /// Says of all that is left up to before `to` what it is.
    pub(super) fn pass(&mut self, to: i64, cause: Cause) {
        while let Some(gap) = self.gaps.first().filter(|gap| gap.from < to) {
            let (from, end) = (gap.from.max(self.position), gap.to.min(to));
            if from < end {
                (self.found)(cause, OffsetRange { from, to: end });
            }
            if gap.to > to {
                break;
            }
            self.gaps = &self.gaps[1..];
        }
        self.position = self.position.max(to);
    }
}

/// Says of each offset of `gaps` what the partition has there.
///
/// The gaps are walked through in one pass, over one connection: a request has what lies between two of them too, if both are within
/// an answer's size, and else begins at the next one.
pub(super) fn explain(
    shared: &Shared,
    native: Result<&Native, String>,
    partition: &Partition,
    gaps: &[OffsetRange],
    stop: &Stop,
    found: impl FnMut(Cause, OffsetRange),
) -> Result<Explained> {
    let mut walk = Walk::new(gaps, found);
    if walk.next().is_none() {
        return Ok(Explained::Whole);
    }
    let native = match native {
        Ok(native) => native,
        Err(reason) => return Ok(Explained::Unknown(reason)),
    };
    let mut reader = GapReader::new(native.network()?, partition, shared.options.read_committed);
    let mut failures = 0;
    walk.pass(start(shared, partition)?, Cause::Deleted);
    while let Some(offset) = walk.next() {
        if stop.is_raised() {
            return Ok(Explained::Stopped);
        }
        let problem = match reader.read(offset, &mut walk) {
            Ok(()) => "its answers have nothing of it".to_owned(),
            Err(GapTrouble::OutOfRange) => {
                walk.pass(start(shared, partition)?, Cause::Deleted);
                "there is no such offset".to_owned()
            }
            Err(GapTrouble::Away(problem)) => problem,
            Err(GapTrouble::NotNative(reason)) => return Ok(Explained::Unknown(reason)),
            Err(GapTrouble::Refused(problem)) => return Err(connect_error(shared, problem)),
            Err(GapTrouble::Damaged(problem)) => {
                let input = partition.to_string();
                return Err(Error::Source { input, problem });
            }
        };
        if walk.next() != Some(offset) {
            failures = 0;
            continue;
        }
        failures += 1;
        if failures == FAILURES_MAX {
            let problem = format!("{partition} can't be read at offset {offset}: {problem}");
            return Err(connect_error(shared, problem));
        }
        sleep(PAUSE * failures.min(10));
    }
    Ok(Explained::Whole)
}

/// Returns the first offset of a partition.
fn start(shared: &Shared, partition: &Partition) -> Result<i64> {
    let spans = shared.cluster.spans(std::slice::from_ref(partition), PATIENCE)?;
    Ok(spans.get(partition).map_or(0, |span| span.low))
}

fn connect_error(shared: &Shared, problem: String) -> Error {
    Error::Connect {
        endpoint: shared.options.connection.brokers().to_owned(),
        problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(from: i64, to: i64) -> OffsetRange {
        OffsetRange { from, to }
    }

    #[test]
    fn only_what_is_in_a_gap_is_told_and_each_offset_once() {
        let gaps = [range(2, 4), range(6, 10), range(20, 21)];
        let mut told = Vec::new();
        let mut walk = Walk::new(&gaps, |cause, offsets| told.push((cause, offsets)));
        assert_eq!(walk.next(), Some(2));
        walk.pass(3, Cause::Deleted);
        assert_eq!(walk.next(), Some(3));
        walk.pass(1, Cause::Record);
        walk.pass(7, Cause::Marker);
        walk.pass(7, Cause::Record);
        assert_eq!(walk.next(), Some(7));
        walk.pass(15, Cause::Aborted);
        assert_eq!(walk.next(), Some(20));
        walk.pass(30, Cause::Compacted);
        assert_eq!(walk.next(), None);
        let expected = [
            (Cause::Deleted, range(2, 3)),
            (Cause::Marker, range(3, 4)),
            (Cause::Marker, range(6, 7)),
            (Cause::Aborted, range(7, 10)),
            (Cause::Compacted, range(20, 21)),
        ];
        assert_eq!(told, expected);
    }
}
