//! Whether an archive is what it says it is: its files against its manifest, its rows against its names, and, if brokers are
//! given, its records against the topics they came from or went back to.
//!
//! A *finding* is what should not be: a file that is missing, changed or not listed, rows that are twice, out of order or not
//! those of the topic. A *note* is what the reader should know: offsets without a record, records that the brokers have
//! deleted since.

mod broker;
mod coverage;
mod file;
mod gaps;
mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use connectors::kafka::config::Connection;
use connectors::kafka::options::{End, Start};
use connectors::parquet::archive::{FileEntry, Listing, Location};
use engine::metrics::Metrics;
use engine::pipeline::Stop;
use engine::{Error, Partition, Positions, Result};

use self::file::FileFacts;
pub use self::gaps::GapKind;
pub use self::report::{PartitionFacts, Remark, Report};
use super::parallel::in_parallel;

/// What to verify.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The archive.
    pub location: Location,
    /// Only this topic of it.
    pub topic: Option<String>,
    /// What to compare the records with.
    pub against: Option<Against>,
    /// Files, and partitions of the brokers, that are read at once.
    pub threads: NonZeroUsize,
}

/// What to compare the records with.
#[derive(Clone, Debug)]
pub struct Against {
    /// The cluster.
    pub connection: Connection,
    /// The topic that the archive was restored to; `None` for the topics that it was made of.
    pub restored_as: Option<Restored>,
}

/// A topic that records of an archive went back to.
#[derive(Clone, Debug)]
pub struct Restored {
    /// The topic.
    pub topic: String,
    /// The first records that did.
    pub from: Start,
    /// The first records that did not.
    pub to: End,
}

impl Plan {
    /// Verifies. `None` when it was asked to stop.
    ///
    /// # Errors
    /// When there is no archive, or it or the brokers can't be read. Damage is no error but a finding.
    pub fn run(&self, stop: &Stop, metrics: &Metrics) -> Result<Option<Report>> {
        let site = self.location.site()?;
        // Before the list is read: a file is on it before it appears.
        let found = site.names()?;
        let listing = match Listing::read(&*site) {
            Err(Error::Sink { output, problem }) => {
                return Ok(Some(Report::unreadable(&self.location, format!("{output}: {problem}"))));
            }
            listing => listing?,
        };
        let header = &listing.header;
        if let Some(topic) = self.topic.as_ref().filter(|topic| !header.topics.contains_key(*topic)) {
            let topics: Vec<_> = header.topics.keys().map(String::as_str).collect();
            return Err(Error::Invalid(format!(
                "the archive {} holds no topic {topic}, it holds {}",
                self.location,
                topics.join(", ")
            )));
        }
        let mut report = Report::new(&self.location, &listing);
        find_strangers(&found, &listing, &mut report);
        let files: Vec<_> = listing
            .files
            .values()
            .filter(|file| self.is_meant(&file.topic))
            .collect();
        set_bounds(metrics, &files);
        let facts = in_parallel(self.threads, &files, |file| {
            (!stop.is_raised()).then(|| file::check(&*site, &listing, file, metrics))
        });
        let mut by_partition: BTreeMap<Partition, Vec<(&FileEntry, FileFacts)>> = BTreeMap::new();
        for (file, facts) in files.iter().zip(facts) {
            let Some(facts) = facts else {
                return Ok(None);
            };
            let (facts, problems) = facts?;
            report
                .findings
                .extend(problems.into_iter().map(|problem| Remark::of_file(file, problem)));
            by_partition
                .entry(file.partition())
                .or_default()
                .extend(facts.map(|facts| (*file, facts)));
        }
        for bounds in header.partitions.iter().filter(|bounds| self.is_meant(&bounds.topic)) {
            let files = by_partition.remove(&bounds.partition()).unwrap_or_default();
            coverage::check(bounds, &files, &mut report);
        }
        if self.against.is_none() {
            report.note_gaps(header.settings.skips_bad_rows());
        }
        if let Some(against) = &self.against {
            let compared = broker::check(self, &site, against, &listing, stop, metrics, &mut report)?;
            if !compared {
                return Ok(None);
            }
        }
        report.finish();
        Ok(Some(report))
    }

    fn is_meant(&self, topic: &str) -> bool {
        self.topic.as_ref().is_none_or(|meant| meant == topic)
    }
}

/// Looks for Parquet files that the archive does not list.
fn find_strangers(found: &BTreeSet<String>, listing: &Listing, report: &mut Report) {
    for name in found {
        if !listing.files.contains_key(name) {
            report.findings.push(Remark::of_name(
                name,
                "is not in the manifest: readers see its rows, and the archive does not know it".to_owned(),
            ));
        }
    }
}

/// Lets the progress be measured in bytes of files.
fn set_bounds(metrics: &Metrics, files: &[&FileEntry]) {
    let place = |file: &FileEntry| Partition::new(file.name.as_str(), 0);
    let end = |file: &&FileEntry| (place(file), i64::try_from(file.bytes).unwrap_or(i64::MAX));
    let ends = Positions(files.iter().map(end).collect());
    let starts = Positions(ends.0.keys().map(|partition| (partition.clone(), 0)).collect());
    metrics.set_bounds(&starts, Some(&ends));
}
