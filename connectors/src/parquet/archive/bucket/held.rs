//! A bucket that this process alone may write to.
//!
//! ```text
//! stage     a file is written to the spool, on this machine
//! commit    uploads are begun, and named by the head, so that the next start can abort them;
//!           their parts go out; the head names the commit with the parts: from here on it will happen;
//!           what vanishes vanishes, then the uploads are completed, by which the files appear
//! ```
//!
//! A start finishes what the head names, and aborts the other uploads. So a process that was replaced finds nothing left to
//! complete, as it finds nothing left to rename in a folder.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Mutex, PoisonError};

use engine::{Error, Result, fault};
use object_store::UpdateVersion;

use super::super::super::folder::{self, OWNER, PRIVATE};
use super::super::HEADER;
use super::super::journal::Commit;
use super::super::manifest::FileEntry;
use super::super::site::{HeldSite, Site, StagedPath};
use super::Bucket;
use super::client::{Client, Part};
use super::head::{Change, Entry, Head, Upload};
use super::ledger::{self, CHAPTERS, Heartbeat, Ledger};

/// Bytes of a part: stores want 5 MiB at least, and some that all parts but the last are alike.
const PART_BYTES: u64 = 8 << 20;

/// Parts of an upload at most, in all stores.
const PARTS_MAX: u64 = 10_000;

/// A bucket that this process alone may write to.
#[derive(Debug)]
pub(in super::super) struct HeldBucket {
    bucket: Bucket,
    ledger: Arc<Ledger>,
    heartbeat: Heartbeat,
    /// The versions of the files of the private sub-folder, as this process saw them last: `None` for what is not there.
    versions: Mutex<BTreeMap<String, Option<UpdateVersion>>>,
}

impl HeldBucket {
    /// Takes the right to write to the bucket; finishes what was committed, and aborts what was not.
    ///
    /// # Errors
    /// [`Error::HeldBy`] while another process works on it; when something else is there, or it can't be used.
    pub(super) fn new(bucket: Bucket) -> Result<Self> {
        if bucket.read(HEADER)?.is_none() {
            check_unused(&bucket)?;
        }
        bucket.spool.make()?;
        let (ledger, before) = Ledger::acquire(Arc::clone(&bucket.client))?;
        let ledger = Arc::new(ledger);
        let held = Self {
            heartbeat: Heartbeat::start(Arc::clone(&ledger))?,
            bucket,
            ledger,
            versions: Mutex::default(),
        };
        held.recover(before)?;
        Ok(held)
    }

    fn client(&self) -> &Client {
        &self.bucket.client
    }

    fn recover(&self, before: Head) -> Result<()> {
        for upload in &before.uploads {
            self.client().abort_upload(&upload.name, &upload.id)?;
        }
        if !before.uploads.is_empty() {
            self.ledger.change(Change::Abort(before.uploads.clone()))?;
        }
        let entries = self.bucket.entries(&before)?;
        if entries.is_empty() {
            return Ok(());
        }
        let present = self.bucket.lengths()?;
        for entry in entries {
            let is_there = |name: &&String| present.contains_key(*name);
            let vanish: Vec<_> = entry
                .commit
                .vanish
                .iter()
                .filter(is_there)
                .map(String::as_str)
                .collect();
            self.client().remove(&vanish)?;
            for (appearing, upload) in entry.commit.appear.iter().zip(&entry.uploads) {
                if present.get(&appearing.file.name) != Some(&appearing.file.bytes) {
                    self.complete(&appearing.file, upload)?;
                }
            }
        }
        Ok(())
    }

    /// Makes a file appear whose upload is whole.
    fn complete(&self, file: &FileEntry, upload: &Upload) -> Result<()> {
        let completed = self.client().complete_upload(&upload.name, &upload.id, &upload.parts);
        let Err(error) = completed else {
            return Ok(());
        };
        // It may be that it was completed before, or by whoever took over.
        match self.client().length(&file.name)? {
            Some(bytes) if bytes == file.bytes => Ok(()),
            found => {
                // Only the head tells whether somebody took over.
                self.ledger.change(Change::Beat)?;
                Err(folder::refused(
                    self.bucket.root(),
                    format!(
                        "{} is {}, expected {} bytes, and its upload can't be completed ({error}): restore it",
                        file.name,
                        found.map_or("missing".to_owned(), |bytes| format!("{bytes} bytes long")),
                        file.bytes
                    ),
                ))
            }
        }
    }

    /// Uploads the staged files of a commit, and returns their uploads, which are not completed.
    fn upload(&self, commit: &Commit) -> Result<Vec<Upload>> {
        let names: Vec<_> = commit
            .appear
            .iter()
            .map(|appearing| appearing.file.name.as_str())
            .collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let begun = self.client().begin_uploads(&names)?;
        let upload = |(name, id): (&&str, String)| Upload {
            name: (*name).to_owned(),
            id,
            parts: Vec::new(),
        };
        let mut uploads: Vec<_> = names.iter().zip(begun).map(upload).collect();
        let done = self.ledger.change(Change::Begin(uploads.clone()));
        let done = done.and_then(|()| self.send_parts(commit, &mut uploads));
        let Err(error) = done else {
            return Ok(uploads);
        };
        // If they can't be aborted now, the next start does it.
        for upload in &uploads {
            let _ = self.client().abort_upload(&upload.name, &upload.id);
        }
        // Whoever took over has aborted them: only the head tells.
        let _ = self.ledger.change(Change::Beat);
        Err(self.explain(error))
    }

    fn send_parts(&self, commit: &Commit, uploads: &mut [Upload]) -> Result<()> {
        let paths: Vec<_> = commit
            .appear
            .iter()
            .map(|file| self.bucket.spool.join(&file.staged))
            .collect();
        let mut parts = Vec::new();
        for ((appearing, upload), file) in commit.appear.iter().zip(&*uploads).zip(&paths) {
            let ranges = part_ranges(appearing.file.bytes).enumerate();
            parts.extend(ranges.map(|(index, (from, bytes))| Part {
                name: &upload.name,
                upload: &upload.id,
                index,
                file,
                from,
                bytes,
            }));
        }
        let counts: Vec<_> = commit
            .appear
            .iter()
            .map(|file| part_ranges(file.file.bytes).count())
            .collect();
        let mut sent = self.client().put_parts(&parts)?.into_iter();
        drop(parts);
        for (upload, count) in uploads.iter_mut().zip(counts) {
            upload.parts = sent.by_ref().take(count).collect();
        }
        Ok(())
    }
}

impl HeldSite for HeldBucket {
    fn site(&self) -> &dyn Site {
        &self.bucket
    }

    fn stage(&self) -> StagedPath {
        let name = self.bucket.spool.new_name();
        StagedPath {
            path: self.bucket.spool.join(&name),
            name,
        }
    }

    fn commit(&self, commit: &Commit) -> Result<()> {
        let uploads = self.upload(commit)?;
        fault::point("archive_before_journal");
        let entry = Entry {
            commit: commit.clone(),
            uploads,
        };
        self.ledger.change(Change::Commit(Box::new(entry.clone())))?;
        fault::point("archive_after_journal");
        let vanish: Vec<_> = commit.vanish.iter().map(String::as_str).collect();
        self.client().remove(&vanish)?;
        if !vanish.is_empty() {
            fault::point("archive_mid_publish");
        }
        for (appearing, upload) in commit.appear.iter().zip(&entry.uploads) {
            self.complete(&appearing.file, upload)?;
            let staged = self.bucket.spool.join(&appearing.staged);
            fs::remove_file(&staged).map_err(Error::io("remove", &staged))?;
            fault::point("archive_mid_publish");
        }
        fault::point("archive_after_publish");
        Ok(())
    }

    fn replace(&self, name: &str, content: &[u8]) -> Result<()> {
        self.ledger.change(Change::Beat)?;
        let object = ledger::private(name);
        let known = self
            .versions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .cloned();
        let expected = match known {
            Some(known) => known,
            None => self.client().get(&object)?.map(|found| found.version),
        };
        match ledger::put_known(self.client(), &object, content, expected.as_ref())? {
            Some(version) => {
                let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
                versions.insert(name.to_owned(), Some(version));
                Ok(())
            }
            None => Err(self.ledger.fenced()),
        }
    }

    fn remove(&self, name: &str) -> Result<()> {
        // Whoever was replaced must not remove what the one after it has written.
        self.ledger.change(Change::Beat)?;
        self.client().remove(&[&ledger::private(name)])?;
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        versions.insert(name.to_owned(), None);
        Ok(())
    }

    fn begin_journal(&self) -> Result<()> {
        Ok(())
    }

    fn end_journal(&self) -> Result<()> {
        self.ledger.change(Change::Forget)?;
        // From here on nothing names them.
        let chapters = self.client().list(&ledger::private(CHAPTERS), usize::MAX)?;
        let chapters: Vec<_> = chapters.iter().map(|(name, _)| name.as_str()).collect();
        self.client().remove(&chapters)
    }

    fn close(self: Box<Self>) -> Result<()> {
        let Self { ledger, heartbeat, .. } = *self;
        drop(heartbeat);
        ledger.change(Change::Release)
    }

    fn explain(&self, error: Error) -> Error {
        match self.ledger.is_fenced() {
            true => self.ledger.fenced(),
            false => error,
        }
    }
}

/// Returns the parts of a file of so many bytes, as where each begins and how long it is.
fn part_ranges(bytes: u64) -> impl Iterator<Item = (u64, u64)> {
    let size = PART_BYTES.max(bytes.div_ceil(PARTS_MAX));
    (0..bytes.div_ceil(size)).map(move |index| (index * size, size.min(bytes - index * size)))
}

/// Checks that a place without a header holds nothing of anyone else.
fn check_unused(bucket: &Bucket) -> Result<()> {
    if bucket.read(OWNER)?.is_some() {
        let problem = "it belongs to a job: use another prefix".to_owned();
        return Err(folder::refused(bucket.root(), problem));
    }
    // What is in the private sub-folder may be of a start that was interrupted: a few objects.
    let found = bucket.client.list("", 16)?;
    let stranger = found
        .iter()
        .map(|(name, _)| name)
        .find(|name| !name.starts_with(PRIVATE));
    match stranger {
        None => Ok(()),
        Some(name) => Err(folder::refused(
            bucket.root(),
            format!("it is not empty (it holds {name}) and no archive: use a new prefix"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_cut_into_parts_that_stores_take() {
        let parts = |bytes| part_ranges(bytes).collect::<Vec<_>>();
        assert_eq!(parts(1), [(0, 1)]);
        assert_eq!(parts(PART_BYTES), [(0, PART_BYTES)]);
        assert_eq!(parts(PART_BYTES + 1), [(0, PART_BYTES), (PART_BYTES, 1)]);
        let huge = parts(PART_BYTES * PARTS_MAX * 3 + 1);
        assert!(huge.len() as u64 <= PARTS_MAX);
        assert_eq!(
            huge.iter().map(|(_, bytes)| bytes).sum::<u64>(),
            PART_BYTES * PARTS_MAX * 3 + 1
        );
    }
}
