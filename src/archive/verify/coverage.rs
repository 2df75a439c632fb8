//! One partition: whether its files together hold each offset once, and which offsets have no record.

use connectors::parquet::archive::{FileEntry, PartitionBounds};

use super::file::FileFacts;
use super::report::{PartitionReport, Remark, Report};

/// Adds a partition to the report, out of its files that can be read, and what is wrong with them together.
pub(super) fn check(bounds: &PartitionBounds, files: &[(&FileEntry, FileFacts)], report: &mut Report) {
    let partition = bounds.partition();
    let mut runs: Vec<(i64, i64)> = files.iter().flat_map(|(_, facts)| facts.runs.iter().copied()).collect();
    runs.sort_unstable();
    let mut part = PartitionReport {
        topic: bounds.topic.clone(),
        partition: bounds.partition,
        from: bounds.from,
        to: bounds.to,
        first_offset: runs.first().map(|run| run.0),
        last_offset: runs.iter().map(|run| run.1 - 1).max(),
        rows: files.iter().map(|(_, facts)| facts.rows).sum(),
        files: files.len() as u64,
        bytes: files.iter().map(|(file, _)| file.bytes).sum(),
        gaps: 0,
        offsets_without_record: 0,
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

fn count_gap(part: &mut PartitionReport, from: i64, to: i64) {
    if from < to {
        part.gaps += 1;
        part.offsets_without_record += from.abs_diff(to);
    }
}
