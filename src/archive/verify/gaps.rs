//! What the brokers have where a partition of an archive has no record: by kind, with the offsets.

use std::collections::BTreeMap;

use connectors::kafka::gaps::{Cause, Explained};
use connectors::kafka::ranges::Ranges;
use engine::pipeline::Stop;
use engine::{OffsetRange, Partition, Result};
use serde::Serialize;

use super::report::{PartitionFacts, Remark, Report};

/// Runs of offsets that are kept of a kind, so that the report has a bound; further ones are counted.
const RUNS_MAX: usize = 100;

/// Runs of offsets that are told in words.
const TOLD_MAX: usize = 5;

/// Offsets without a record, of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GapKind {
    /// What they are: `marker`, `aborted`, `compacted`, `deleted`, `left_out` or `missing`.
    pub kind: &'static str,
    /// How many.
    pub offsets: u64,
    /// How many runs of successive ones.
    pub runs: u64,
    /// The first runs, 100 at most, half-open.
    pub ranges: Vec<OffsetRange>,
}

/// What was found of the gaps of one partition.
#[derive(Clone, Debug)]
pub(super) enum Gaps {
    /// What they are.
    Explained(Causes),
    /// Why nobody looked.
    Unknown(String),
}

/// Offsets by what the brokers have there.
#[derive(Clone, Debug, Default)]
pub(super) struct Causes(BTreeMap<Cause, Found>);

#[derive(Clone, Debug, Default)]
struct Found {
    offsets: u64,
    runs: u64,
    ranges: Vec<OffsetRange>,
    /// Where the last run ends.
    end: i64,
}

/// Asks the brokers what they have at the offsets of `gaps`; `None` when it was asked to stop.
pub(super) fn explain(
    ranges: &Ranges,
    partition: &Partition,
    gaps: &[OffsetRange],
    stop: &Stop,
) -> Result<Option<Gaps>> {
    let mut causes = Causes::default();
    let explained = ranges.explain_gaps(partition, gaps, stop, |cause, offsets| causes.add(cause, offsets))?;
    Ok(match explained {
        Explained::Whole => Some(Gaps::Explained(causes)),
        Explained::Stopped => None,
        Explained::Unknown(reason) => Some(Gaps::Unknown(reason)),
    })
}

impl Causes {
    /// Returns the causes of gaps that the brokers have deleted, all of them.
    pub(super) fn deleted(gaps: &[OffsetRange]) -> Self {
        let mut causes = Self::default();
        for &gap in gaps {
            causes.add(Cause::Deleted, gap);
        }
        causes
    }

    fn add(&mut self, cause: Cause, offsets: OffsetRange) {
        let found = self.0.entry(cause).or_default();
        found.offsets += offsets.from.abs_diff(offsets.to);
        if found.runs > 0 && found.end == offsets.from {
            if let Some(last) = found.ranges.last_mut().filter(|last| last.to == offsets.from) {
                last.to = offsets.to;
            }
        } else {
            found.runs += 1;
            if found.ranges.len() < RUNS_MAX {
                found.ranges.push(offsets);
            }
        }
        found.end = offsets.to;
    }

    /// Returns at how many offsets the brokers have a record.
    pub(super) fn records(&self) -> u64 {
        self.0.get(&Cause::Record).map_or(0, |found| found.offsets)
    }

    /// Puts them in the report. An archive that `is_choosy` leaves records out by right.
    pub(super) fn tell(self, partition: &Partition, is_choosy: bool, report: &mut Report) {
        for (cause, found) in &self.0 {
            let (count, at) = (found.offsets, found.to_text());
            let what = match cause {
                Cause::Marker => "markers of transactions",
                Cause::Aborted => "records of aborted transactions",
                Cause::Compacted => "compacted away",
                Cause::Deleted => "before the partition's start by now (retention)",
                // They are counted when the records are compared.
                Cause::Record if is_choosy => continue,
                Cause::Record => {
                    let problem =
                        format!("records of the topic are missing in the archive: {count}, of the offsets {at}");
                    report.findings.push(Remark::of_partition(partition, problem));
                    continue;
                }
            };
            let note = format!("offsets without a record: {count}, {what}: {at}");
            report.notes.push(Remark::of_partition(partition, note));
        }
        let kinds = self
            .0
            .into_iter()
            .map(|(cause, found)| found.of(kind(cause, is_choosy)));
        if let Some(part) = report.partition_mut(partition) {
            part.gap_kinds = Some(kinds.collect());
        }
    }
}

fn kind(cause: Cause, is_choosy: bool) -> &'static str {
    match cause {
        Cause::Marker => "marker",
        Cause::Aborted => "aborted",
        Cause::Compacted => "compacted",
        Cause::Deleted => "deleted",
        Cause::Record if is_choosy => "left_out",
        Cause::Record => "missing",
    }
}

impl Found {
    fn of(self, kind: &'static str) -> GapKind {
        GapKind {
            kind,
            offsets: self.offsets,
            runs: self.runs,
            ranges: self.ranges,
        }
    }

    /// Returns the first runs in words, and how many more there are.
    fn to_text(&self) -> String {
        let told: Vec<_> = self.ranges.iter().take(TOLD_MAX).map(OffsetRange::to_string).collect();
        let text = told.join(", ");
        match self.runs - told.len() as u64 {
            0 => text,
            more => format!("{text} and {more} more runs"),
        }
    }
}

/// Returns what of a partition's gaps lies before `end`.
pub(super) fn before(part: &PartitionFacts, end: i64) -> Vec<OffsetRange> {
    let cut = |gap: &OffsetRange| OffsetRange {
        from: gap.from,
        to: gap.to.min(end),
    };
    let gaps = part.gap_ranges.iter().map(cut);
    gaps.filter(|gap| gap.from < gap.to).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(from: i64, to: i64) -> OffsetRange {
        OffsetRange { from, to }
    }

    #[test]
    fn runs_that_touch_are_one_and_many_are_counted() {
        let mut causes = Causes::default();
        causes.add(Cause::Aborted, range(0, 1));
        causes.add(Cause::Aborted, range(1, 3));
        let count = RUNS_MAX as i64 + 10;
        for number in 1..count {
            // The last ones in two parts: they are not kept, and yet one run each.
            causes.add(Cause::Aborted, range(number * 10, number * 10 + 1));
            causes.add(Cause::Aborted, range(number * 10 + 1, number * 10 + 2));
        }
        let found = causes.0.remove(&Cause::Aborted).expect("it was added");
        let kept = (found.offsets, found.runs, found.ranges.len());
        assert_eq!(kept, (3 + 2 * (count as u64 - 1), count as u64, RUNS_MAX));
        assert_eq!((found.ranges[0], found.ranges[1]), (range(0, 3), range(10, 12)));
        let text = found.to_text();
        assert!(text.starts_with("[0, 3), [10, 12), "), "{text}");
        assert!(text.ends_with(&format!(" and {} more runs", count - 5)), "{text}");
    }
}
