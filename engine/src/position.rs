//! Where a job is in its input: partitions, half-open offset ranges, positions and epochs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// One ordered run of records: a partition of a Kafka topic, or a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Partition {
    /// The topic's name, or the file's path.
    pub stream: Arc<str>,
    /// The partition's number in its topic; 0 for a file.
    pub index: i32,
}

impl Partition {
    /// Returns the partition `index` of `stream`.
    pub fn new(stream: impl Into<Arc<str>>, index: i32) -> Self {
        Self {
            stream: stream.into(),
            index,
        }
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.stream, self.index)
    }
}

/// The offsets `[from, to)` of one partition. Offsets need not be dense: compaction and transaction markers leave
/// gaps, so `to - from` bounds the number of records and does not count them.
///
/// For a file the offsets are byte positions in the decompressed text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffsetRange {
    /// The first offset of the range.
    pub from: i64,
    /// The first offset after the range.
    pub to: i64,
}

impl fmt::Display for OffsetRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {})", self.from, self.to)
    }
}

/// The next offset to read of every partition.
///
/// Serialized as a list of `[stream, index, offset]`, since JSON keys are strings only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(Arc<str>, i32, i64)>", into = "Vec<(Arc<str>, i32, i64)>")]
pub struct Positions(pub BTreeMap<Partition, i64>);

impl Positions {
    /// Returns the next offset to read of `partition`, if it is known.
    pub fn get(&self, partition: &Partition) -> Option<i64> {
        self.0.get(partition).copied()
    }

    /// Returns the positions of several inputs, which have no partition in common.
    pub fn joined<'a>(parts: impl Iterator<Item = &'a Self>) -> Self {
        let entries = parts.flat_map(|part| &part.0);
        Self(
            entries
                .map(|(partition, &offset)| (partition.clone(), offset))
                .collect(),
        )
    }

    /// Returns the positions of these partitions only.
    #[must_use]
    pub fn of(&self, partitions: &BTreeSet<Partition>) -> Self {
        let entries = self.0.iter().filter(|(partition, _)| partitions.contains(*partition));
        Self(
            entries
                .map(|(partition, &offset)| (partition.clone(), offset))
                .collect(),
        )
    }

    /// Moves `partition` to `offset`; positions never move back.
    pub fn advance(&mut self, partition: &Partition, offset: i64) {
        match self.0.get_mut(partition) {
            Some(position) => *position = (*position).max(offset),
            None => {
                self.0.insert(partition.clone(), offset);
            }
        }
    }
}

impl From<Vec<(Arc<str>, i32, i64)>> for Positions {
    fn from(list: Vec<(Arc<str>, i32, i64)>) -> Self {
        let entry = |(stream, index, offset)| (Partition { stream, index }, offset);
        Self(list.into_iter().map(entry).collect())
    }
}

impl From<Positions> for Vec<(Arc<str>, i32, i64)> {
    fn from(positions: Positions) -> Self {
        let entry = |(partition, offset): (Partition, i64)| (partition.stream, partition.index, offset);
        positions.0.into_iter().map(entry).collect()
    }
}

/// The number of a checkpoint. Epoch 0 is the start of the job: positions and bounds, no rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch(pub u64);

impl Epoch {
    /// Returns the epoch after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
