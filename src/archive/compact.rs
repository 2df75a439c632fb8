//! Small files of an archive become larger ones: same rows, same order, and no reader ever sees a row twice.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use connectors::parquet::archive::{ArchiveHeader, ArchiveWriter, Compaction, FileEntry, Listing, Location};
use engine::metrics::Metrics;
use engine::pipeline::{Outcome, Stop};
use engine::{Error, Partition, Positions, Result};

use super::parallel::in_parallel;

/// What to compact.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The archive.
    pub location: Location,
    /// The bytes of a file that are not to be exceeded.
    pub target: u64,
    /// Files that are written at once.
    pub threads: NonZeroUsize,
}

/// What a compaction does to an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// The files of the archive before, and their bytes.
    pub before: (u64, u64),
    /// The files that become fewer, and their bytes.
    pub merged: (u64, u64),
    /// The files that they become.
    pub into: u64,
}

impl Plan {
    /// Returns what a compaction would do, without touching the archive.
    ///
    /// # Errors
    /// When there is no complete archive, it can't be read, or a file is missing or has another length.
    pub fn effect(&self) -> Result<Effect> {
        let site = self.location.site()?;
        let listing = Listing::read(&*site)?;
        self.check_complete(&listing.header)?;
        self.check_whole(&listing)?;
        // What a compaction that was interrupted has made may not have its place yet.
        if listing.is_at_rest {
            site.check_lengths(&listing.files.values().collect::<Vec<_>>())?;
        }
        let compaction = Compaction::of(listing.files.values(), self.target);
        let names: BTreeSet<_> = compaction.groups.iter().flatten().collect();
        let merged = listing.files.values().filter(|file| names.contains(&file.name));
        Ok(Effect {
            before: totals(listing.files.values()),
            merged: totals(merged),
            into: compaction.groups.len() as u64,
        })
    }

    /// Compacts, until `stop` is raised; another run goes on.
    ///
    /// # Errors
    /// When there is no complete archive, another process works on it, a file is damaged, or the folder can't be written.
    /// Nothing is lost: another run goes on.
    pub fn run(&self, stop: &Stop, metrics: &Metrics) -> Result<Outcome> {
        // Before a start finishes what was begun: a manifest that it writes would hide that there was none.
        self.check_whole(&Listing::read(&*self.location.site()?)?)?;
        let mut archive = ArchiveWriter::open(&self.location)?;
        let outcome = self.compact(&mut archive, stop, metrics);
        let closed = archive.close();
        let outcome = outcome?;
        closed?;
        Ok(outcome)
    }

    fn compact(&self, archive: &mut ArchiveWriter, stop: &Stop, metrics: &Metrics) -> Result<Outcome> {
        if let Some(header) = archive.header() {
            self.check_complete(header)?;
        }
        // What was begun is finished as it was begun; then what is asked for now has its turn.
        while let Some(compaction) = self.next(archive)? {
            let files = archive.contents()?.files;
            let of_group = |group: &Vec<String>| -> Option<Vec<FileEntry>> {
                group.iter().map(|name| files.get(name).cloned()).collect()
            };
            // The files of a group that is done have vanished together.
            let left: Vec<_> = compaction.groups.iter().filter_map(of_group).collect();
            set_bounds(metrics, &left);
            let done = in_parallel(self.threads, &left, |group| match stop.is_raised() {
                true => Ok(false),
                false => merge(archive, group, metrics).map(|()| true),
            });
            for is_done in done {
                if !is_done? {
                    return Ok(Outcome::Stopped);
                }
            }
            archive.end_compaction()?;
        }
        Ok(Outcome::Finished)
    }

    /// Returns the compaction to do: one that was begun, or the one that is asked for; `None` when nothing is left.
    fn next(&self, archive: &ArchiveWriter) -> Result<Option<Compaction>> {
        if let Some(begun) = archive.take_up_compaction()? {
            return Ok(Some(begun));
        }
        let files = archive.contents()?.files;
        // All of them, before the first change: what lacks a file is not to look tidy.
        archive.site().check_lengths(&files.values().collect::<Vec<_>>())?;
        let asked = Compaction::of(files.values(), self.target);
        if asked.groups.is_empty() {
            return Ok(None);
        }
        archive.begin_compaction(&asked)?;
        Ok(Some(asked))
    }

    /// Checks that the list of files is there to be trusted.
    fn check_whole(&self, listing: &Listing) -> Result<()> {
        match listing.problems.first() {
            None => Ok(()),
            Some(problem) => Err(self.refused(problem.clone())),
        }
    }

    fn check_complete(&self, header: &ArchiveHeader) -> Result<()> {
        match header.is_complete() {
            true => Ok(()),
            false => Err(self.refused("it is not complete: give the command of its replay again first".to_owned())),
        }
    }

    fn refused(&self, problem: String) -> Error {
        Error::Invalid(format!("the archive {} can't be compacted: {problem}", self.location))
    }
}

fn merge(archive: &ArchiveWriter, group: &[FileEntry], metrics: &Metrics) -> Result<()> {
    let file = archive.merge(group)?;
    metrics.rows_in.add(file.rows);
    metrics.bytes_in.add(group.iter().map(|file| file.bytes).sum());
    let (place, bytes) = size(group);
    metrics.advance(&place, bytes);
    Ok(())
}

/// Lets the progress be measured in bytes of files.
fn set_bounds(metrics: &Metrics, groups: &[Vec<FileEntry>]) {
    let ends = Positions(groups.iter().map(|group| size(group)).collect());
    let starts = Positions(ends.0.keys().map(|place| (place.clone(), 0)).collect());
    metrics.set_bounds(&starts, Some(&ends));
}

/// Returns a name for a group, and its bytes.
fn size(group: &[FileEntry]) -> (Partition, i64) {
    let name = group.first().map_or("", |file| file.name.as_str());
    let bytes = group.iter().map(|file| file.bytes).sum::<u64>();
    (Partition::new(name, 0), i64::try_from(bytes).unwrap_or(i64::MAX))
}

fn totals<'f>(files: impl Iterator<Item = &'f FileEntry>) -> (u64, u64) {
    files.fold((0, 0), |(count, bytes), file| (count + 1, bytes + file.bytes))
}
