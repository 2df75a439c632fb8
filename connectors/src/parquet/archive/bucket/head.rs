//! The head of a bucket's journal: one small object, `_millstream/journal.json`, that says who may write to the archive and
//! which commits count.
//!
//! It is only ever replaced as the object that it was before (a conditional put), and never has the same content twice. So
//! whoever was replaced can't change it any more, whenever it wakes: that is the fence, and it has no window.

use std::path::Path;

use engine::Result;
use serde::{Deserialize, Serialize};

use super::super::journal::Commit;
use super::super::{FORMAT, check_format, unusable};
use super::holder::Holder;

/// Commits that stand in the head itself at most; then they become an object of their own, a chapter.
const COMMITS_MAX: usize = 64;

/// Files of these commits at most: they are sent with each change.
const FILES_MAX: usize = 256;

/// What the head says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    /// The version of this layout.
    pub(super) format: u32,
    /// Who may write; nobody when the work was ended.
    pub(super) holder: Option<Holder>,
    /// A name of the run that may write, or of the last one that might, which no other run has.
    pub(super) run: String,
    /// Counts the changes by a run: also the sign that it lives.
    pub(super) beat: u64,
    /// Uploads of files that no commit names yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) uploads: Vec<Upload>,
    /// The names of the objects with earlier commits, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) chapters: Vec<String>,
    /// The commits after those.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) commits: Vec<Entry>,
}

/// A commit, and the uploads whose ends make its files appear, in the order of the files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// The commit.
    #[serde(flatten)]
    pub(super) commit: Commit,
    /// The uploads.
    pub(super) uploads: Vec<Upload>,
}

/// An object that is uploaded in parts: nobody sees it before the upload is completed, and it is completed once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Upload {
    /// The object's name, relative to the archive.
    pub(super) name: String,
    /// The store's id of the upload.
    pub(super) id: String,
    /// The store's ids of the parts, once all are there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) parts: Vec<String>,
}

/// What happens to the head at once.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// Nothing: the holder lives.
    Beat,
    /// Uploads are begun.
    Begin(Vec<Upload>),
    /// Uploads are given up.
    Abort(Vec<Upload>),
    /// A commit, with its uploads.
    Commit(Box<Entry>),
    /// All commits are in the manifest.
    Forget,
    /// The holder ends its work.
    Release,
}

impl Head {
    /// Reads a head out of the object at `path`.
    ///
    /// # Errors
    /// When it is none, or of a later version.
    pub(super) fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self> {
        let head: Self = serde_json::from_slice(bytes).map_err(|error| unusable(path, error))?;
        check_format(path, head.format)?;
        head.commits.iter().try_for_each(|entry| entry.commit.check(path))?;
        Ok(head)
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a head has string keys only")
    }

    /// Returns the head as `holder` takes it over, or begins it, as the run `run`.
    pub(super) fn held_by(self, holder: Holder, run: String) -> Self {
        Self {
            format: FORMAT,
            holder: Some(holder),
            run,
            beat: 0,
            ..self
        }
    }

    /// Does what a change says.
    pub(super) fn apply(&mut self, change: Change) {
        match change {
            Change::Beat => {}
            Change::Begin(uploads) => self.uploads.extend(uploads),
            Change::Abort(uploads) => self.uploads.retain(|upload| !uploads.contains(upload)),
            Change::Commit(entry) => {
                let is_of_it = |upload: &Upload| entry.uploads.iter().any(|its| its.id == upload.id);
                self.uploads.retain(|upload| !is_of_it(upload));
                self.commits.push(*entry);
            }
            Change::Forget => {
                self.chapters.clear();
                self.commits.clear();
            }
            Change::Release => self.holder = None,
        }
    }

    /// Returns whether the commits are to become a chapter before another one is added.
    pub(super) fn is_full(&self) -> bool {
        let files: usize = self.commits.iter().map(|entry| entry.uploads.len()).sum();
        self.commits.len() >= COMMITS_MAX || files >= FILES_MAX
    }
}

/// Returns the text of a chapter: a line of JSON for each commit.
pub(super) fn chapter(commits: &[Entry]) -> Vec<u8> {
    let line = |entry: &Entry| serde_json::to_string(entry).expect("a commit has string keys only") + "\n";
    commits.iter().map(line).collect::<String>().into_bytes()
}

/// Reads the chapter at `path`.
///
/// # Errors
/// When it is none, or of a later version.
pub(super) fn read_chapter(bytes: &[u8], path: &Path) -> Result<Vec<Entry>> {
    let text = std::str::from_utf8(bytes).map_err(|error| unusable(path, error))?;
    let entry = |line: &str| {
        let entry: Entry = serde_json::from_str(line).map_err(|error| unusable(path, error))?;
        entry.commit.check(path)?;
        Ok(entry)
    };
    text.lines().map(entry).collect()
}
