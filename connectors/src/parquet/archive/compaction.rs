//! Small files of one partition become one file with the same rows.
//!
//! Which files become one is fixed in `compaction.json` before the first of them vanishes, since the sizes of those that are
//! done would give other groups. So a compaction that was killed goes on to the same folder.

use engine::{Error, OffsetRange, Result};
use serde::{Deserialize, Serialize};

use super::super::stored::StoredFile;
use super::file::{ArchiveFile, Making};
use super::journal::{Appearing, Commit};
use super::limits::FileLimits;
use super::listing::checksum;
use super::manifest::{FileEntry, check_name};
use super::plan::FilePlan;
use super::site::{LocalFile, Site};
use super::writer::ArchiveWriter;
use super::{FORMAT, check_format, private_path, unusable};

/// The groups of files that become one, in the private sub-folder while a compaction is under way.
pub(super) const COMPACTION: &str = "compaction.json";

/// Which files become one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compaction {
    /// The version of this layout.
    pub format: u32,
    /// The names of the files of each group, by offset.
    pub groups: Vec<Vec<String>>,
}

impl Compaction {
    /// Returns the groups of successive files of one partition in one folder whose bytes together are at most `target`. A
    /// file that has no neighbour to go with is in none.
    pub fn of<'f>(files: impl IntoIterator<Item = &'f FileEntry>, target: u64) -> Self {
        let mut files: Vec<_> = files.into_iter().collect();
        files.sort_by_key(|file| (folder(&file.name), &file.topic, file.partition, file.from));
        let mut groups: Vec<(u64, Vec<&FileEntry>)> = Vec::new();
        for file in files {
            match groups.last_mut() {
                Some((bytes, group)) if *bytes + file.bytes <= target && follows(group.last(), file) => {
                    *bytes += file.bytes;
                    group.push(file);
                }
                _ => groups.push((file.bytes, vec![file])),
            }
        }
        let names = |(_, group): (u64, Vec<&FileEntry>)| group.iter().map(|file| file.name.clone()).collect();
        Self {
            format: FORMAT,
            groups: groups
                .into_iter()
                .filter(|(_, group)| group.len() > 1)
                .map(names)
                .collect(),
        }
    }

    fn read(site: &dyn Site) -> Result<Option<Self>> {
        let Some(bytes) = site.read(COMPACTION)? else {
            return Ok(None);
        };
        let path = &private_path(site, COMPACTION);
        let found: Self = serde_json::from_slice(&bytes).map_err(|error| unusable(path, error))?;
        check_format(path, found.format)?;
        found
            .groups
            .iter()
            .flatten()
            .try_for_each(|name| check_name(path, name))?;
        Ok(Some(found))
    }
}

impl ArchiveWriter {
    /// Takes up the compaction that was begun and not finished, if there is one.
    ///
    /// # Errors
    /// When it can't be read, or the folder can't be written.
    pub fn take_up_compaction(&self) -> Result<Option<Compaction>> {
        let begun = Compaction::read(self.site())?;
        if begun.is_some() {
            // A start that found commits of it has put them into the manifest, and the journal away.
            self.held().begin_journal()?;
        }
        Ok(begun)
    }

    /// Begins a compaction: another start goes on with it.
    ///
    /// # Errors
    /// When it can't be written, or another process took over.
    pub fn begin_compaction(&self, compaction: &Compaction) -> Result<()> {
        let text = serde_json::to_string(compaction).expect("a compaction has string keys only");
        self.held().replace(COMPACTION, text.as_bytes())?;
        self.held().begin_journal()
    }

    /// Writes the manifest of all files as they are now, and ends the compaction.
    ///
    /// # Errors
    /// When the folder can't be written, or another process took over.
    pub fn end_compaction(&mut self) -> Result<()> {
        self.complete()?;
        self.held().remove(COMPACTION)
    }

    /// Makes one file of `files`, which are of one partition and in order; it appears when they have vanished.
    ///
    /// # Errors
    /// When one of them was changed, can't be read, or has other columns, the folder can't be written, or another process
    /// took over.
    pub fn merge(&self, files: &[FileEntry]) -> Result<FileEntry> {
        let (Some(first), Some(last)) = (files.first(), files.last()) else {
            return Err(Error::Invalid("there are no files to merge".to_owned()));
        };
        let plan = self.plan_of(first)?;
        let making = Making {
            archive: self,
            plan: &plan,
            partition: first.partition(),
        };
        let offsets = OffsetRange {
            from: first.from,
            to: last.to,
        };
        let appearing = self.written(&making, files, offsets);
        let appearing = appearing.map_err(|error| self.explain(error))?;
        let mut commit = Commit::new(None, vec![appearing]);
        commit.vanish = files.iter().map(|file| file.name.clone()).collect();
        self.commit(&commit)?;
        Ok(commit.appear.swap_remove(0).file)
    }

    /// Writes the rows of `files` to one file.
    fn written(&self, making: &Making<'_>, files: &[FileEntry], offsets: OffsetRange) -> Result<Appearing> {
        let mut merged = ArchiveFile::begin(making)?;
        for file in files {
            self.append(&mut merged, making.plan, file)?;
        }
        let folders = files.first().and_then(|file| folder(&file.name));
        merged.finish(making, folders, offsets)
    }

    /// Returns how a file that takes the place of `file` is made: as the archive's files are, whatever their size.
    fn plan_of(&self, file: &FileEntry) -> Result<FilePlan> {
        let local = self.site().fetch(&file.name)?;
        let stored = stored(&local)?;
        let header = self
            .header()
            .ok_or_else(|| unusable(self.root(), "there is no header"))?;
        let compression = header.settings.compression.parse()?;
        let bloom_filter = &header.settings.bloom_filter;
        let place = |column: &str| stored.record_column(column).unwrap_or(column).to_owned();
        let (schema, places) = (stored.arrow_schema(), ["offset", "timestamp"].map(place));
        let limits = FileLimits::default();
        let plan = FilePlan::new(schema, places, compression, bloom_filter, limits, Vec::new())?;
        Ok(plan.of(header.cluster_id.clone(), header.topics.clone()))
    }

    /// Adds the rows of a file. Its checksum is looked at first: what is damaged must not look whole afterwards.
    fn append(&self, merged: &mut ArchiveFile, plan: &FilePlan, file: &FileEntry) -> Result<()> {
        let path = self.root().join(&file.name);
        let local = self.site().fetch(&file.name)?;
        if checksum(local.path())? != (file.bytes, file.crc32c) {
            return Err(unusable(&path, "it is not what the manifest says: run verify"));
        }
        let (stored, mut rows) = (stored(&local)?, 0);
        if stored.arrow_schema().fields() != plan.schema.fields() {
            return Err(unusable(&path, "its columns are not those of the files beside it"));
        }
        for batch in stored.all_rows()? {
            let mut rest = batch?;
            rows += rest.num_rows() as u64;
            while rest.num_rows() > 0 {
                let taken = merged.take(&rest, plan.timestamp)?;
                rest = rest.slice(taken, rest.num_rows() - taken);
            }
        }
        match rows == file.rows {
            true => Ok(()),
            false => Err(unusable(&path, format!("it has {rows} rows, expected {}", file.rows))),
        }
    }
}

fn stored(file: &LocalFile) -> Result<StoredFile> {
    let path = file.path();
    let name = path.to_str().ok_or_else(|| unusable(path, "the path is not UTF-8"))?;
    StoredFile::open_as_written(name)
}

fn folder(name: &str) -> Option<&str> {
    name.rsplit_once('/').map(|(folder, _)| folder)
}

/// Returns whether `file` is of the same partition and folder as `last`, and after it.
fn follows(last: Option<&&FileEntry>, file: &FileEntry) -> bool {
    last.is_some_and(|last| {
        last.partition() == file.partition() && folder(&last.name) == folder(&file.name) && last.to <= file.from
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(partition: i32, from: i64, bytes: u64) -> FileEntry {
        FileEntry {
            name: format!("topic=web/partition-{partition}-{from}"),
            rows: 10,
            bytes,
            crc32c: 0,
            topic: "web".to_owned(),
            partition,
            from,
            to: from + 10,
            least_timestamp: None,
            greatest_timestamp: None,
        }
    }

    #[test]
    fn neighbours_go_together_up_to_the_target() {
        let files = [
            file(0, 0, 40),
            file(0, 10, 40),
            file(0, 20, 40),
            file(0, 50, 10),
            file(1, 0, 5),
            file(1, 10, 99),
        ];
        let name = |at: usize| files[at].name.clone();
        let groups = |target| Compaction::of(&files, target).groups;
        assert_eq!(groups(100), [vec![name(0), name(1)], vec![name(2), name(3)]]);
        assert_eq!(groups(1000).len(), 2);
        assert_eq!(groups(49), Vec::<Vec<String>>::new());
    }
}
