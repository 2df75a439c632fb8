//! What an archive holds, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write;

use connectors::parquet::archive::{ArchiveWriter, PartitionBounds};
use engine::{OffsetRange, Result};
use serde::Serialize;

/// What an archive holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether it holds all that it is to hold.
    pub complete: bool,
    /// The rows of all files.
    pub rows: u64,
    /// The files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The partitions.
    pub partitions: Vec<PartitionReport>,
}

/// What an archive holds of one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartitionReport {
    /// The topic.
    pub topic: String,
    /// The number of the partition.
    pub partition: i32,
    /// The first offset that the archive is to hold.
    pub from: i64,
    /// The first offset after the last.
    pub to: i64,
    /// The rows there are.
    pub rows: u64,
    /// The files there are.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl PartitionReport {
    /// Returns the report of a partition of which nothing was looked at yet.
    pub(super) fn new(bounds: &PartitionBounds) -> Self {
        Self {
            topic: bounds.topic.clone(),
            partition: bounds.partition,
            from: bounds.from,
            to: bounds.to,
            rows: 0,
            files: 0,
            bytes: 0,
        }
    }

    /// Takes in a file with so many rows and bytes.
    pub(super) fn add(&mut self, rows: u64, bytes: u64) {
        self.rows += rows;
        self.files += 1;
        self.bytes += bytes;
    }

    /// Returns the offsets that the archive is to hold.
    pub(super) fn offsets(&self) -> OffsetRange {
        OffsetRange {
            from: self.from,
            to: self.to,
        }
    }
}

impl Report {
    /// Returns what `archive` holds.
    ///
    /// # Errors
    /// When its manifest or journal can't be read.
    pub(super) fn of(archive: &ArchiveWriter) -> Result<Self> {
        let mut report = Self {
            complete: archive.header().is_some_and(|header| header.is_complete()),
            rows: 0,
            files: 0,
            bytes: 0,
            partitions: Vec::new(),
        };
        let bounds = archive.header().into_iter().flat_map(|header| &header.partitions);
        report.partitions = bounds.map(PartitionReport::new).collect();
        let place = |(place, part): (usize, &PartitionReport)| ((part.topic.clone(), part.partition), place);
        let places: BTreeMap<_, _> = report.partitions.iter().enumerate().map(place).collect();
        for file in archive.contents()?.files.into_values() {
            report.rows += file.rows;
            report.files += 1;
            report.bytes += file.bytes;
            if let Some(&place) = places.get(&(file.topic, file.partition)) {
                report.partitions[place].add(file.rows, file.bytes);
            }
        }
        Ok(report)
    }

    /// Returns the report as a table, a line a partition, and a line of all.
    pub fn to_table(&self) -> String {
        let mut cells = vec![["partition", "from", "to", "rows", "files", "bytes"].map(str::to_owned)];
        for part in &self.partitions {
            let PartitionReport { rows, files, bytes, .. } = part;
            cells.push([
                format!("{}[{}]", part.topic, part.partition),
                part.from.to_string(),
                part.to.to_string(),
                rows.to_string(),
                files.to_string(),
                bytes.to_string(),
            ]);
        }
        let Self { rows, files, bytes, .. } = self;
        let totals = [rows, files, bytes].map(|total| total.to_string());
        let [rows, files, bytes] = totals;
        cells.push(["all".to_owned(), String::new(), String::new(), rows, files, bytes]);
        let width = |column: usize| cells.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..6).map(width).collect();
        let mut table = String::new();
        for line in &cells {
            write!(table, "{:<1$}", line[0], widths[0]).expect("a string takes any text");
            for (cell, width) in line.iter().zip(&widths).skip(1) {
                write!(table, "  {cell:>width$}").expect("a string takes any text");
            }
            table.push('\n');
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_line_a_partition_and_one_of_all() {
        let part = |partition, rows| PartitionReport {
            topic: "web".to_owned(),
            partition,
            from: 0,
            to: 1200,
            rows,
            files: 1,
            bytes: 10 * rows,
        };
        let report = Report {
            complete: true,
            rows: 1230,
            files: 2,
            bytes: 12_300,
            partitions: vec![part(0, 1200), part(1, 30)],
        };
        let expected = "\
partition  from    to  rows  files  bytes
web[0]        0  1200  1200      1  12000
web[1]        0  1200    30      1    300
all                    1230      2  12300
";
        assert_eq!(report.to_table(), expected);
    }
}
