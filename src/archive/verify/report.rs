//! What was found, for people and for programs.

use connectors::parquet::archive::{FileEntry, Listing, Location};
use engine::{OffsetRange, Partition};
use serde::Serialize;

use super::super::PartitionReport;
use super::gaps::GapKind;

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The archive.
    pub archive: String,
    /// Whether nothing is as it should not be.
    pub ok: bool,
    /// Whether it holds all that it is to hold.
    pub complete: bool,
    /// The partitions.
    pub partitions: Vec<PartitionFacts>,
    /// What should not be.
    pub findings: Vec<Remark>,
    /// What the reader should know.
    pub notes: Vec<Remark>,
}

/// What was found of one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartitionFacts {
    /// What is held of it, by the files that can be read.
    #[serde(flatten)]
    pub held: PartitionReport,
    /// The offset of the first record, if there is one.
    pub first_offset: Option<i64>,
    /// The offset of the last record.
    pub last_offset: Option<i64>,
    /// Runs of offsets without a record.
    pub gaps: u64,
    /// Offsets in them.
    pub offsets_without_record: u64,
    /// What the brokers have there, of each kind that there is, if they were asked and could be.
    pub gap_kinds: Option<Vec<GapKind>>,
    /// The gaps themselves.
    #[serde(skip)]
    pub(super) gap_ranges: Vec<OffsetRange>,
    /// Records that were compared with those of the brokers, if any were.
    pub compared: Option<u64>,
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Remark {
    /// The topic, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// The number of the partition, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<i32>,
    /// The file's name, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// What it is.
    pub problem: String,
}

impl Report {
    /// Returns the report of an archive that does not say what it is.
    pub(super) fn unreadable(location: &Location, problem: String) -> Self {
        Self {
            archive: location.to_string(),
            ok: false,
            complete: false,
            partitions: Vec::new(),
            findings: vec![Remark::of_archive(problem)],
            notes: Vec::new(),
        }
    }

    pub(super) fn new(location: &Location, listing: &Listing) -> Self {
        let mut report = Self {
            archive: location.to_string(),
            ok: true,
            complete: listing.header.is_complete(),
            partitions: Vec::new(),
            findings: Vec::new(),
            notes: Vec::new(),
        };
        let problems = listing.problems.iter().cloned();
        report.findings.extend(problems.map(Remark::of_archive));
        if listing.is_followed {
            let problem =
                "a replay with --follow works on it, or was killed: what it has committed until now is looked at";
            report.notes.push(Remark::of_archive(problem.to_owned()));
        } else if report.complete && !listing.is_at_rest {
            let problem = "a compaction is under way, or was interrupted: give its command again to finish it";
            report.findings.push(Remark::of_archive(problem.to_owned()));
        }
        if listing.under_way > 0 {
            report.notes.push(Remark::of_archive(format!(
                "{} files are under way in _millstream: somebody works on the archive, or was interrupted",
                listing.under_way
            )));
        }
        report
    }

    pub(super) fn partition_mut(&mut self, partition: &Partition) -> Option<&mut PartitionFacts> {
        self.partitions.iter_mut().find(|part| part.partition() == *partition)
    }

    /// Notes the offsets without a record, whose cause only the brokers know. A choosy archive leaves bad records out.
    pub(super) fn note_gaps(&mut self, is_choosy: bool) {
        let causes = match is_choosy {
            true => "bad records that were left out (on_bad skip), compaction or transactions",
            false => "compaction or transactions",
        };
        let gaps = self.partitions.iter().filter(|part| part.gaps > 0);
        let notes = gaps.map(|part| {
            let offsets = part.offsets_without_record;
            let runs = match part.gaps {
                1 => "one run".to_owned(),
                count => format!("{count} runs"),
            };
            let problem = format!("{offsets} offsets in {runs} have no record: {causes}; --against asks the brokers");
            Remark::of_partition(&part.partition(), problem)
        });
        let notes: Vec<_> = notes.collect();
        self.notes.extend(notes);
    }

    pub(super) fn finish(&mut self) {
        self.ok = self.findings.is_empty();
    }

    /// Returns the report as lines of text: a table of the partitions, then what was found.
    pub fn to_text(&self) -> String {
        let titles = [
            "partition",
            "from",
            "to",
            "first",
            "last",
            "rows",
            "files",
            "bytes",
            "gaps",
            "compared",
        ];
        let mut lines = vec![titles.map(str::to_owned)];
        let offset = |offset: Option<i64>| offset.map_or("-".to_owned(), |offset| offset.to_string());
        lines.extend(self.partitions.iter().map(|part| {
            let held = &part.held;
            [
                part.partition().to_string(),
                held.from.to_string(),
                held.to.to_string(),
                offset(part.first_offset),
                offset(part.last_offset),
                held.rows.to_string(),
                held.files.to_string(),
                held.bytes.to_string(),
                part.offsets_without_record.to_string(),
                part.compared.map_or("-".to_owned(), |rows| rows.to_string()),
            ]
        }));
        let mut text = aligned(&lines);
        for (kind, remarks) in [("finding", &self.findings), ("note", &self.notes)] {
            for remark in remarks {
                text.push_str(&format!("{kind}: {}\n", remark.to_text()));
            }
        }
        text.push_str(&match self.findings.len() {
            0 => "nothing is wrong\n".to_owned(),
            1 => "1 finding\n".to_owned(),
            count => format!("{count} findings\n"),
        });
        text
    }

    /// Returns the report as an object of JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a report has string keys only") + "\n"
    }
}

impl PartitionFacts {
    /// Returns the partition.
    pub(super) fn partition(&self) -> Partition {
        Partition::new(self.held.topic.as_str(), self.held.partition)
    }
}

impl Remark {
    pub(super) fn of_archive(problem: String) -> Self {
        Self {
            topic: None,
            partition: None,
            file: None,
            problem,
        }
    }

    pub(super) fn of_name(name: &str, problem: String) -> Self {
        Self {
            file: Some(name.to_owned()),
            ..Self::of_archive(problem)
        }
    }

    pub(super) fn of_partition(partition: &Partition, problem: String) -> Self {
        Self {
            topic: Some(partition.stream.to_string()),
            partition: Some(partition.index),
            ..Self::of_archive(problem)
        }
    }

    pub(super) fn of_file(file: &FileEntry, problem: String) -> Self {
        Self {
            file: Some(file.name.clone()),
            ..Self::of_partition(&file.partition(), problem)
        }
    }

    fn to_text(&self) -> String {
        match (&self.file, &self.topic, self.partition) {
            (Some(file), _, _) => format!("{file} {}", self.problem),
            (None, Some(topic), Some(partition)) => format!("{topic}[{partition}]: {}", self.problem),
            (None, _, _) => self.problem.clone(),
        }
    }
}

/// Returns lines of cells below each other: the first to the left, numbers to the right.
fn aligned<const N: usize>(lines: &[[String; N]]) -> String {
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let text = |line: &[String; N]| {
        let cells = line.iter().zip(widths).enumerate();
        let cells = cells.map(|(column, (cell, width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    lines.iter().map(text).collect()
}
