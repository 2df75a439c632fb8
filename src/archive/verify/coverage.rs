//! One partition: whether its files together hold each offset once, and which offsets have no record.

use connectors::parquet::archive::{FileEntry, PartitionBounds};
use engine::OffsetRange;

use super::super::PartitionReport;
use super::file::FileFacts;
use super::report::{PartitionFacts, Remark, Report};

/// Adds a partition to the report, out of its files that can be read, and what is wrong with them together.
pub(super) fn check(bounds: &PartitionBounds, files: &[(&FileEntry, FileFacts)], report: &mut Report) {
    let partition = bounds.partition();
    let mut runs: Vec<(i64, i64)> = files.iter().flat_map(|(_, facts)| facts.runs.iter().copied()).collect();
    runs.sort_unstable();
    let mut held = PartitionReport::new(bounds);
    for (file, facts) in files {
        held.add(facts.rows, file.bytes);
    }
    let mut part = PartitionFacts {
        held,
        first_offset: runs.first().map(|run| run.0),
        last_offset: runs.iter().map(|run| run.1 - 1).max(),
        gaps: 0,
        offsets_without_record: 0,
        gap_kinds: None,
        gap_ranges: Vec::new(),
        compared: None,
    };
    let mut next = bounds.from;
    for &(from, to) in &runs {
        if from < next && next > bounds.from {
            let offsets = format!("the offsets [{from}, {}) are there twice", next.min(to));
            report.findings.push(Remark::of_partition(&partition, offsets));
        }
        count_gap(&mut part, next, from);
        next = next.max(to);
    }
    if bounds.archived < bounds.to {
        report.findings.push(Remark::of_partition(
            &partition,
            format!(
                "is not complete: it is to end at offset {}, give the command of its replay again",
                bounds.to
            ),
        ));
    }
    count_gap(&mut part, next, bounds.to);
    report.partitions.push(part);
}

fn count_gap(part: &mut PartitionFacts, from: i64, to: i64) {
    if from < to {
        part.gaps += 1;
        part.offsets_without_record += from.abs_diff(to);
        part.gap_ranges.push(OffsetRange { from, to });
    }
}
