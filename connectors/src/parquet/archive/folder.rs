//! An archive in a folder on disk: who works on it, what is under way, what is final.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use engine::checkpoint::{Lease, durable};
use engine::{Error, Result, fault};

use super::super::archived;
use super::super::folder::{self, OWNER, PRIVATE};
use super::super::staging::Staging;
use super::journal::{self, Commit};
use super::manifest::FileEntry;
use super::site::{HeldSite, LocalFile, Site, StagedPath};
use super::{HEADER, JOURNAL, unusable};

/// A folder, for those who only read it.
#[derive(Debug)]
pub(super) struct FolderSite {
    root: PathBuf,
    private: PathBuf,
}

/// A folder that this process alone may write to.
#[derive(Debug)]
pub(super) struct HeldFolder {
    site: FolderSite,
    lease: Lease,
    staging: Staging,
    next_commit: AtomicU64,
    next_staged: AtomicU64,
}

impl FolderSite {
    /// Returns the folder `root`, which need not be there.
    pub(super) fn new(root: &Path) -> Self {
        Self {
            private: root.join(PRIVATE),
            root: root.to_owned(),
        }
    }

    /// Takes the right to write to the folder; finishes what was committed, and removes what was not.
    ///
    /// # Errors
    /// [`Error::Held`] while another process works on it; when the folder holds something else, is damaged, or can't be
    /// written.
    pub(super) fn hold(&self) -> Result<HeldFolder> {
        let site = Self::new(&std::path::absolute(&self.root).map_err(Error::io("find", &self.root))?);
        if site.read(HEADER)?.is_none() {
            check_unused(&site.root, &site.private)?;
        }
        let lease = Lease::acquire(&site.private, generation()).map_err(|error| match error {
            Error::Held { pid, .. } => Error::Held {
                path: site.root.clone(),
                pid,
            },
            other => other,
        })?;
        let staging = Staging::take_over(&site.root, &site.private, lease.generation())?;
        let mut held = HeldFolder {
            next_commit: AtomicU64::new(0),
            next_staged: AtomicU64::new(0),
            site,
            lease,
            staging,
        };
        held.recover()?;
        Ok(held)
    }
}

impl Site for FolderSite {
    fn root(&self) -> &Path {
        &self.root
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let path = self.private.join(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read", &path)(error)),
        }
    }

    fn journal(&self) -> Result<Vec<Commit>> {
        let commits = journal::read(&self.private.join(JOURNAL))?;
        Ok(commits.into_iter().map(|(_, commit)| commit).collect())
    }

    fn under_way(&self) -> Result<u64> {
        under_way(&self.private)
    }

    fn names(&self) -> Result<BTreeSet<String>> {
        let name = |path: PathBuf| {
            let name = path.strip_prefix(&self.root).unwrap_or(&path);
            name.to_string_lossy().into_owned()
        };
        Ok(archived::paths(&self.root)?.into_iter().map(name).collect())
    }

    fn check_lengths(&self, files: &[&FileEntry]) -> Result<()> {
        for file in files {
            let path = self.root.join(&file.name);
            let problem = match fs::metadata(&path) {
                Ok(found) if !found.is_file() => "it is no file".to_owned(),
                Ok(found) if found.len() == file.bytes => continue,
                Ok(found) => format!("it is {} bytes long, expected {}", found.len(), file.bytes),
                Err(error) if error.kind() == ErrorKind::NotFound => "it is missing".to_owned(),
                Err(error) => error.to_string(),
            };
            return Err(unusable(&path, format!("{problem}: run verify")));
        }
        Ok(())
    }

    fn fetch(&self, name: &str) -> Result<LocalFile> {
        Ok(LocalFile::own(self.root.join(name)))
    }
}

impl HeldSite for HeldFolder {
    fn site(&self) -> &dyn Site {
        &self.site
    }

    fn stage(&self) -> StagedPath {
        let number = self.next_staged.fetch_add(1, Ordering::Relaxed);
        // The journal still has the names that earlier runs used.
        let name = format!("{}-{number:08}.inprogress", self.lease.generation());
        StagedPath {
            path: self.staging.join(&name),
            name,
        }
    }

    fn commit(&self, commit: &Commit) -> Result<()> {
        let number = self.next_commit.fetch_add(1, Ordering::Relaxed);
        let name = journal::name(number);
        let (staged, journal) = (self.staging.join(&name), self.site.private.join(JOURNAL));
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

    fn replace(&self, name: &str, content: &[u8]) -> Result<()> {
        let staged = self.staging.join(name);
        durable::write_synced(&staged, content).map_err(|error| self.explain(error))?;
        durable::publish(&staged, &self.site.private.join(name)).map_err(|error| self.explain(error))
    }

    fn remove(&self, name: &str) -> Result<()> {
        let (path, removed) = (self.site.private.join(name), self.staging.join(name));
        match fs::rename(&path, &removed) {
            Err(error) if error.kind() == ErrorKind::NotFound && self.staging.path().is_dir() => Ok(()),
            Err(error) => Err(self.staging.failed("rename", &path, error)),
            Ok(()) => folder::sync_folder(&self.site.private),
        }
    }

    fn begin_journal(&self) -> Result<()> {
        folder::create_folder(&self.site.private.join(JOURNAL))?;
        folder::sync_folder(&self.site.private)
    }

    fn end_journal(&self) -> Result<()> {
        // All of it at once: a part of a journal could bring back what a later part of it made vanish.
        let (journal, done) = (self.site.private.join(JOURNAL), self.staging.join(JOURNAL));
        match fs::rename(&journal, &done) {
            Err(error) if error.kind() == ErrorKind::NotFound && self.staging.path().is_dir() => {}
            Err(error) => return Err(self.staging.failed("rename", &journal, error)),
            Ok(()) => fs::remove_dir_all(&done).map_err(Error::io("remove", &done))?,
        }
        folder::sync_folder(&self.site.private)
    }

    fn close(self: Box<Self>) -> Result<()> {
        let staging = self.staging.path();
        fs::remove_dir_all(staging).map_err(|error| self.staging.failed("remove", staging, error))?;
        self.lease.release()
    }

    fn explain(&self, error: Error) -> Error {
        self.staging.explain(error)
    }
}

impl HeldFolder {
    fn recover(&mut self) -> Result<()> {
        let commits = journal::read(&self.site.private.join(JOURNAL))?;
        for (_, commit) in &commits {
            self.apply(commit)?;
        }
        self.clear_staging()?;
        self.next_commit = AtomicU64::new(commits.last().map_or(0, |(number, _)| number + 1));
        Ok(())
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
            let path = self.site.root.join(name);
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
        let mut folder = self.site.root.clone();
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
        let target = self.site.root.join(&file.name);
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
                &self.site.root,
                format!(
                    "{} exists already and is not of this archive: move it away and start again",
                    file.name
                ),
            )),
            (false, present) => match self.staging.failed("rename", staged, ErrorKind::NotFound.into()) {
                fenced @ Error::Fenced { .. } => Err(fenced),
                _ => Err(folder::refused(
                    &self.site.root,
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
}

/// Returns the number of files in the staging folders.
fn under_way(private: &Path) -> Result<u64> {
    let mut count = 0;
    for item in list(private)? {
        let path = item.map_err(Error::io("list", private))?.path();
        let is_staging = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("staging-"));
        if !is_staging {
            continue;
        }
        for file in list(&path)? {
            let file = file.map_err(Error::io("list", &path))?.path();
            count += u64::from(file.extension().is_some_and(|extension| extension == "inprogress"));
        }
    }
    Ok(count)
}

/// Lists a folder; one that is gone meanwhile is empty.
fn list(folder: &Path) -> Result<impl Iterator<Item = std::io::Result<fs::DirEntry>>> {
    match fs::read_dir(folder) {
        Ok(items) => Ok(Some(items).into_iter().flatten()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None.into_iter().flatten()),
        Err(error) => Err(Error::io("list", folder)(error)),
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
