//! An archive's folder on disk: who works on it, what is under way, what is final.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use engine::checkpoint::{Lease, durable};
use engine::{Error, OffsetRange, Partition, Result, fault};

use super::super::folder::{self, OWNER, PRIVATE};
use super::super::staging::Staging;
use super::header::{ArchiveHeader, PartitionBounds};
use super::journal::{self, Commit};
use super::manifest::{self, FileEntry, Manifest};
use super::{HEADER, JOURNAL, MANIFEST, unusable};

/// An archive that this process alone may write to. Many threads may commit at once.
#[derive(Debug)]
pub struct ArchiveFolder {
    root: PathBuf,
    private: PathBuf,
    lease: Lease,
    staging: Staging,
    header: Option<ArchiveHeader>,
    next_commit: AtomicU64,
    next_staged: AtomicU64,
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

/// A file under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagedPath {
    /// Its name, which a commit gives.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
}

impl ArchiveFolder {
    /// Takes the right to write to the archive in `root`, or to a new folder; finishes what was committed, and removes
    /// what was not.
    ///
    /// # Errors
    /// [`Error::Held`] while another process works on it; when the folder holds something else, is damaged, or can't be
    /// written.
    pub fn open(root: &Path) -> Result<Self> {
        let root = std::path::absolute(root).map_err(Error::io("find", root))?;
        let private = root.join(PRIVATE);
        if ArchiveHeader::read(&root)?.is_none() {
            check_unused(&root, &private)?;
        }
        let lease = Lease::acquire(&private, generation()).map_err(|error| match error {
            Error::Held { pid, .. } => Error::Held {
                path: root.clone(),
                pid,
            },
            other => other,
        })?;
        let staging = Staging::take_over(&root, &private, lease.generation())?;
        let mut archive = Self {
            // Read again: the one before may have gone on until now.
            header: ArchiveHeader::read(&root)?,
            next_commit: AtomicU64::new(0),
            next_staged: AtomicU64::new(0),
            root,
            private,
            lease,
            staging,
        };
        archive.recover()?;
        Ok(archive)
    }

    /// Returns the folder.
    pub fn root(&self) -> &Path {
        &self.root
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
        let contents = Contents::read(&self.private)?;
        match contents.damage {
            Some(damage) => Err(unusable(&self.private.join(MANIFEST), damage)),
            None => Ok(contents),
        }
    }

    /// Writes the header: of a new archive, or of one that is to hold more.
    ///
    /// # Errors
    /// When it can't be written, or another process took over.
    pub fn set_header(&mut self, header: ArchiveHeader) -> Result<()> {
        self.replace(HEADER, header.to_text().as_bytes())?;
        self.make_journal()?;
        self.header = Some(header);
        Ok(())
    }

    /// Returns the number of commits, with those before the manifest was written.
    pub fn commits(&self) -> u64 {
        self.next_commit.load(Ordering::Relaxed)
    }

    /// Returns the place of a new file under way. What is not committed vanishes with the next start.
    pub fn stage(&self) -> StagedPath {
        let number = self.next_staged.fetch_add(1, Ordering::Relaxed);
        // The journal still has the names that earlier runs used.
        let name = format!("{}-{number:08}.inprogress", self.lease.generation());
        StagedPath {
            path: self.staging.join(&name),
            name,
        }
    }

    /// Makes what was staged and synced appear, and other files vanish: all of it, also if the process ends in between.
    ///
    /// # Errors
    /// When the folder can't be written, another process took over, or a name is taken.
    pub fn commit(&self, commit: &Commit) -> Result<()> {
        let number = self.next_commit.fetch_add(1, Ordering::Relaxed);
        let name = journal::name(number);
        let (staged, journal) = (self.staging.join(&name), self.private.join(JOURNAL));
        let written = durable::write_synced(&staged, commit.to_text().as_bytes());
        written.map_err(|error| self.explain(error))?;
        folder::sync_folder(self.staging.path()).map_err(|error| self.explain(error))?;
        fault::point("archive_before_journal");
        durable::publish(&staged, &journal.join(&name)).map_err(|error| self.explain(error))?;
        fault::point("archive_after_journal");
        self.apply(commit)?;
        fault::point("archive_after_publish");
        Ok(())
    }

    /// Writes the manifest, says in the header that all of it is there, and forgets the journal.
    ///
    /// # Errors
    /// When the folder can't be written, or another process took over.
    pub fn complete(&mut self) -> Result<()> {
        let contents = self.contents()?;
        self.replace(MANIFEST, manifest::to_text(&contents.files).as_bytes())?;
        fault::point("archive_after_manifest");
        if let Some(mut header) = self.header.clone() {
            header.partitions.iter_mut().for_each(PartitionBounds::complete);
            self.replace(HEADER, header.to_text().as_bytes())?;
            self.header = Some(header);
        }
        fault::point("archive_after_header");
        // All of it at once: a part of a journal could bring back what a later part of it made vanish.
        let (journal, done) = (self.private.join(JOURNAL), self.staging.join(JOURNAL));
        match fs::rename(&journal, &done) {
            Err(error) if error.kind() == ErrorKind::NotFound && self.staging.path().is_dir() => {}
            Err(error) => return Err(self.staging.failed("rename", &journal, error)),
            Ok(()) => fs::remove_dir_all(&done).map_err(Error::io("remove", &done))?,
        }
        folder::sync_folder(&self.private)
    }

    /// Ends the work, and leaves no trace of who did it. An archive that is not complete can be gone on with.
    ///
    /// # Errors
    /// When the folder can't be written.
    pub fn close(self) -> Result<()> {
        let staging = self.staging.path();
        fs::remove_dir_all(staging).map_err(|error| self.staging.failed("remove", staging, error))?;
        self.lease.release()
    }

    /// Turns the failure of an act in the folder into [`Error::Fenced`] if another process took over.
    pub fn explain(&self, error: Error) -> Error {
        self.staging.explain(error)
    }

    fn recover(&mut self) -> Result<()> {
        let commits = journal::read(&self.private.join(JOURNAL))?;
        for (_, commit) in &commits {
            self.apply(commit)?;
        }
        self.clear_staging()?;
        self.next_commit = AtomicU64::new(commits.last().map_or(0, |(number, _)| number + 1));
        match &self.header {
            Some(header) if header.is_complete() && !commits.is_empty() => self.complete(),
            _ => Ok(()),
        }
    }

    fn clear_staging(&self) -> Result<()> {
        let staging = self.staging.path();
        for item in fs::read_dir(staging).map_err(Error::io("list", staging))? {
            let path = item.map_err(Error::io("list", staging))?.path();
            let removed = match path.is_dir() {
                true => fs::remove_dir_all(&path),
                false => fs::remove_file(&path),
            };
            removed.map_err(Error::io("remove", &path))?;
        }
        Ok(())
    }

    /// Does what a commit of the journal says, as far as it is not done: first what vanishes, so that no reader sees a row
    /// twice.
    fn apply(&self, commit: &Commit) -> Result<()> {
        let mut folders = BTreeSet::new();
        for name in &commit.vanish {
            let path = self.root.join(name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(Error::io("remove", &path)(error)),
                _ => folders.extend(path.parent().filter(|folder| folder.is_dir()).map(Path::to_owned)),
            }
            fault::point("archive_mid_publish");
        }
        for appearing in &commit.appear {
            self.make_folders(&appearing.file.name, &mut folders)?;
            self.publish(&self.staging.join(&appearing.staged), &appearing.file)?;
            fault::point("archive_mid_publish");
        }
        folders.iter().try_for_each(|folder| folder::sync_folder(folder))
    }

    /// Makes the folders of a file, and adds all whose names it changes to `changed`.
    fn make_folders(&self, name: &str, changed: &mut BTreeSet<PathBuf>) -> Result<()> {
        let mut folder = self.root.clone();
        changed.insert(folder.clone());
        for part in Path::new(name).parent().into_iter().flatten() {
            folder.push(part);
            if changed.insert(folder.clone()) {
                folder::create_folder(&folder)?;
            }
        }
        Ok(())
    }

    /// Gives one staged file its final name.
    fn publish(&self, staged: &Path, file: &FileEntry) -> Result<()> {
        let target = self.root.join(&file.name);
        let present = match fs::metadata(&target) {
            Ok(metadata) => Some(metadata.len()),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(Error::io("look at", &target)(error)),
        };
        let is_staged = staged.try_exists().map_err(Error::io("look at", staged))?;
        match (is_staged, present) {
            (true, None) => fs::rename(staged, &target).map_err(|error| self.staging.failed("rename", staged, error)),
            (false, Some(bytes)) if bytes == file.bytes => Ok(()),
            (true, Some(_)) => Err(folder::refused(
                &self.root,
                format!(
                    "{} exists already and is not of this archive: move it away and start again",
                    file.name
                ),
            )),
            (false, present) => match self.staging.failed("rename", staged, ErrorKind::NotFound.into()) {
                fenced @ Error::Fenced { .. } => Err(fenced),
                _ => Err(folder::refused(
                    &self.root,
                    format!(
                        "{} is {}, expected {} bytes, and it is not staged either: restore it",
                        file.name,
                        present.map_or("missing".to_owned(), |bytes| format!("{bytes} bytes long")),
                        file.bytes
                    ),
                )),
            },
        }
    }

    /// Returns the private sub-folder.
    pub(super) fn private(&self) -> &Path {
        &self.private
    }

    /// Makes the journal's folder, which a complete archive has not.
    pub(super) fn make_journal(&self) -> Result<()> {
        folder::create_folder(&self.private.join(JOURNAL))?;
        folder::sync_folder(&self.private)
    }

    /// Removes a file of the private folder, if it is there.
    pub(super) fn remove(&self, name: &str) -> Result<()> {
        let (path, removed) = (self.private.join(name), self.staging.join(name));
        match fs::rename(&path, &removed) {
            Err(error) if error.kind() == ErrorKind::NotFound && self.staging.path().is_dir() => Ok(()),
            Err(error) => Err(self.staging.failed("rename", &path, error)),
            Ok(()) => folder::sync_folder(&self.private),
        }
    }

    /// Replaces a file of the private folder.
    pub(super) fn replace(&self, name: &str, content: &[u8]) -> Result<()> {
        let staged = self.staging.join(name);
        durable::write_synced(&staged, content).map_err(|error| self.explain(error))?;
        durable::publish(&staged, &self.private.join(name)).map_err(|error| self.explain(error))
    }
}

impl Contents {
    /// Reads the manifest and the journal of the private sub-folder.
    ///
    /// # Errors
    /// When one of them can't be read.
    pub(super) fn read(private: &Path) -> Result<Self> {
        let Manifest { files, damage } = manifest::read(&private.join(MANIFEST))?;
        let mut contents = Self {
            files,
            covered: BTreeMap::new(),
            damage,
        };
        for (_, commit) in journal::read(&private.join(JOURNAL))? {
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

impl StagedPath {
    /// Makes the file, new and empty.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn create(&self) -> Result<File> {
        File::create(&self.path).map_err(Error::io("create", &self.path))
    }
}

/// Returns the least generation of a new holder: by the clock, since a complete archive keeps no trace of earlier ones.
fn generation() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(1)
}

/// Checks that a folder without a header holds nothing of anyone else.
fn check_unused(root: &Path, private: &Path) -> Result<()> {
    match folder::read_owner(&private.join(OWNER))? {
        Some(job) => Err(folder::refused(
            root,
            format!("the folder belongs to job {job}: use another folder"),
        )),
        None => folder::check_empty(root),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that can not go on should stop there")]
mod tests;
