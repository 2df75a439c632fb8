//! An archive in a bucket of an object store.
//!
//! ```text
//! PREFIX/topic=web/partition-….parquet       the files, by the names that they have in a folder
//! PREFIX/_millstream/archive.json            header, manifest, groups of a compaction: as in a folder, replaced on condition
//! PREFIX/_millstream/manifest.jsonl            that they are those that the writer saw last
//! PREFIX/_millstream/journal.json            the head of the journal: who writes, and which commits count
//! PREFIX/_millstream/journal/….jsonl         commits that have no room in the head
//! ```
//!
//! The store has no rename, so what stands for it is the end of an upload in parts: nobody sees a part, an upload is completed
//! once, and its end needs no more than what the head keeps of it.

mod client;
mod head;
mod held;
mod holder;
mod ledger;
mod spool;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use engine::{Error, Result};

use super::journal::Commit;
use super::location::Address;
use super::manifest::FileEntry;
use super::site::{LocalFile, Site};
use super::unusable;
use client::Client;
use head::{Entry, Head};
pub(super) use held::HeldBucket;
use spool::Spool;

/// Reads of a journal that its writer changes meanwhile.
const TRIES: usize = 5;

/// A bucket, and what the names of the archive in it begin with.
#[derive(Debug)]
pub(super) struct Bucket {
    client: Arc<Client>,
    spool: Spool,
}

impl Bucket {
    /// Returns the bucket, with its settings from the environment, after a first look at it.
    ///
    /// # Errors
    /// [`Error::Connect`] when it is not there or can't be reached; when the settings can't be used.
    pub(super) fn new(address: &Address) -> Result<Self> {
        let client = Arc::new(Client::new(address)?);
        let looked = client.list("", 1);
        looked.map_err(|error| match error {
            Error::Source { problem, .. } => Error::Connect {
                endpoint: address.to_string(),
                problem: format!(
                    "{problem}; look at the name of the bucket, and at {} in the environment",
                    client::variables(address.service)
                ),
            },
            other => other,
        })?;
        Ok(Self {
            client,
            spool: Spool::new(),
        })
    }

    /// Takes the right to write to it.
    ///
    /// # Errors
    /// [`Error::HeldBy`] while another process works on it; when something else is there, or it can't be written.
    pub(super) fn hold(self) -> Result<HeldBucket> {
        HeldBucket::new(self)
    }

    /// Returns the commits that a head names, oldest first.
    fn entries(&self, head: &Head) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for name in &head.chapters {
            let (object, path) = (ledger::private(name), super::private_path(self, name));
            let found = self.client.get(&object)?;
            let found = found.ok_or_else(|| unusable(&path, "it is missing, and the journal names it"))?;
            entries.extend(head::read_chapter(&found.bytes, &path)?);
        }
        entries.extend(head.commits.iter().cloned());
        Ok(entries)
    }

    /// Returns the lengths of the Parquet files that readers see, by their names.
    fn lengths(&self) -> Result<BTreeMap<String, u64>> {
        let is_seen = |name: &str| {
            let is_hidden = |part: &str| part.starts_with(['_', '.']);
            name.ends_with(".parquet") && !name.split('/').any(is_hidden)
        };
        let mut lengths: BTreeMap<_, _> = self.client.list("", usize::MAX)?.into_iter().collect();
        lengths.retain(|name, _| is_seen(name));
        Ok(lengths)
    }
}

impl Site for Bucket {
    fn root(&self) -> &Path {
        self.client.root()
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let found = self.client.get(&ledger::private(name))?;
        Ok(found.map(|found| found.bytes))
    }

    fn journal(&self) -> Result<Vec<Commit>> {
        for tried in 1.. {
            let head = ledger::read(&self.client)?.map(|(head, _)| head).unwrap_or_default();
            match self.entries(&head) {
                Ok(entries) => return Ok(entries.into_iter().map(|entry| entry.commit).collect()),
                // The manifest may have taken them up since.
                Err(error) if tried == TRIES => return Err(error),
                Err(_) => {}
            }
        }
        unreachable!("the loop ends by itself")
    }

    fn under_way(&self) -> Result<u64> {
        let head = ledger::read(&self.client)?.map(|(head, _)| head).unwrap_or_default();
        Ok(head.uploads.len() as u64)
    }

    fn names(&self) -> Result<BTreeSet<String>> {
        Ok(self.lengths()?.into_keys().collect())
    }

    fn check_lengths(&self, files: &[&FileEntry]) -> Result<()> {
        let lengths = self.lengths()?;
        for file in files {
            let problem = match lengths.get(&file.name) {
                Some(&bytes) if bytes == file.bytes => continue,
                Some(bytes) => format!("it is {bytes} bytes long, expected {}", file.bytes),
                None => "it is missing".to_owned(),
            };
            return Err(unusable(
                &self.root().join(&file.name),
                format!("{problem}: run verify"),
            ));
        }
        Ok(())
    }

    fn fetch(&self, name: &str) -> Result<LocalFile> {
        self.spool.make()?;
        // Removed also if the object is not there, or breaks off.
        let local = LocalFile::copy(self.spool.join(&self.spool.new_name()));
        self.client.fetch(name, local.path())?;
        Ok(local)
    }
}
