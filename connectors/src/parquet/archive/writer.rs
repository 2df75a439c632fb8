//! An archive that this process alone may write to, wherever it is.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use engine::{Error, OffsetRange, Partition, Result, fault};

use super::header::{ArchiveHeader, PartitionBounds};
use super::journal::Commit;
use super::location::Location;
use super::manifest::{self, FileEntry, Manifest};
use super::site::{HeldSite, Site, StagedPath};
use super::{HEADER, MANIFEST, private_path, unusable};

/// An archive that this process alone may write to. Many threads may commit at once.
#[derive(Debug)]
pub struct ArchiveWriter {
    held: Box<dyn HeldSite>,
    header: Option<ArchiveHeader>,
    commits: AtomicU64,
}

/// What an archive holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// The files, by name.
    pub files: BTreeMap<String, FileEntry>,
    /// The offsets that commits of the journal cover, beside those that the header calls archived.
    pub covered: BTreeMap<Partition, Vec<OffsetRange>>,
    /// Why the files may not be those that the manifest listed once.
    pub damage: Option<String>,
}

impl ArchiveWriter {
    /// Takes the right to write to the archive at `location`, or to a new one; finishes what was committed, and removes what
    /// was not.
    ///
    /// # Errors
    /// [`Error::Held`] or [`Error::HeldBy`] while another process works on it; when the place holds something else, is
    /// damaged, or can't be written.
    pub fn open(location: &Location) -> Result<Self> {
        let held = location.hold()?;
        let mut archive = Self {
            header: ArchiveHeader::read(held.site())?,
            held,
            commits: AtomicU64::new(0),
        };
        let is_complete = archive.header.as_ref().is_some_and(ArchiveHeader::is_complete);
        if is_complete && !archive.site().journal()?.is_empty() {
            archive.complete()?;
        }
        Ok(archive)
    }

    /// Returns the place, as those see it who only read.
    pub fn site(&self) -> &dyn Site {
        self.held.site()
    }

    /// Returns the folder, or the address of the bucket as a path, for messages.
    pub fn root(&self) -> &Path {
        self.site().root()
    }

    /// Returns the archive's header; `None` until it is begun.
    pub fn header(&self) -> Option<&ArchiveHeader> {
        self.header.as_ref()
    }

    /// Returns what the archive holds: the manifest's files, as the journal changes them.
    ///
    /// # Errors
    /// When the manifest or the journal can't be read, or is damaged.
    pub fn contents(&self) -> Result<Contents> {
        let contents = Contents::read(self.site())?;
        match contents.damage {
            Some(damage) => Err(unusable(&private_path(self.site(), MANIFEST), damage)),
            None => Ok(contents),
        }
    }

    /// Writes the header: of a new archive, or of one that is to hold more.
    ///
    /// # Errors
    /// When it can't be written, or another process took over.
    pub fn set_header(&mut self, header: ArchiveHeader) -> Result<()> {
        self.held.replace(HEADER, header.to_text().as_bytes())?;
        self.held.begin_journal()?;
        self.header = Some(header);
        Ok(())
    }

    /// Returns the place of a new file under way. What is not committed vanishes with the next start.
    pub fn stage(&self) -> StagedPath {
        self.held.stage()
    }

    /// Makes what was staged and synced appear, and other files vanish: all of it, also if the process ends in between.
    ///
    /// # Errors
    /// When it can't be written, another process took over, or a name is taken.
    pub fn commit(&self, commit: &Commit) -> Result<()> {
        self.held.commit(commit)?;
        self.commits.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Returns the number of commits since it was opened.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Writes the manifest, says in the header that all of it is there, and forgets the journal.
    ///
    /// # Errors
    /// When it can't be written, or another process took over.
    pub fn complete(&mut self) -> Result<()> {
        let contents = self.contents()?;
        self.held
            .replace(MANIFEST, manifest::to_text(&contents.files).as_bytes())?;
        fault::point("archive_after_manifest");
        if let Some(mut header) = self.header.clone() {
            header.partitions.iter_mut().for_each(PartitionBounds::complete);
            self.held.replace(HEADER, header.to_text().as_bytes())?;
            self.header = Some(header);
        }
        fault::point("archive_after_header");
        self.held.end_journal()
    }

    /// Ends the work. An archive that is not complete can be gone on with.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn close(self) -> Result<()> {
        self.held.close()
    }

    /// Turns the failure of an act on what is staged into [`Error::Fenced`] if another process took over.
    pub fn explain(&self, error: Error) -> Error {
        self.held.explain(error)
    }

    /// Returns what writes files of the private sub-folder.
    pub(super) fn held(&self) -> &dyn HeldSite {
        &*self.held
    }
}

impl Contents {
    /// Reads the manifest and the journal.
    ///
    /// # Errors
    /// When one of them can't be read.
    pub(super) fn read(site: &dyn Site) -> Result<Self> {
        let Manifest { files, damage } = manifest::read(site)?;
        let mut contents = Self {
            files,
            covered: BTreeMap::new(),
            damage,
        };
        for commit in site.journal()? {
            contents.take(commit);
        }
        Ok(contents)
    }

    /// Returns the offsets of `partition` that commits of the journal cover.
    pub fn covered_of(&self, partition: &Partition) -> &[OffsetRange] {
        self.covered.get(partition).map_or(&[], Vec::as_slice)
    }

    fn take(&mut self, commit: Commit) {
        for name in &commit.vanish {
            self.files.remove(name);
        }
        for appearing in commit.appear {
            self.files.insert(appearing.file.name.clone(), appearing.file);
        }
        if let Some(covers) = commit.covers {
            let partition = Partition::new(covers.topic, covers.partition);
            let offsets = OffsetRange {
                from: covers.from,
                to: covers.to,
            };
            self.covered.entry(partition).or_default().push(offsets);
        }
    }
}
