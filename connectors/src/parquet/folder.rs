//! The sink's folder on disk: whose it is, what is staged, what is final.
//!
//! The staging folder carries the number of the run in its name. A new run takes it over by renaming it, so an older run
//! that is still alive finds nothing under the name that it knows: it can neither begin, prepare nor commit anything.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use arrow::datatypes::SchemaRef;
use engine::{Epoch, Error, Result};
use parquet::file::properties::WriterPropertiesPtr;
use serde::{Deserialize, Serialize};

use super::manifest::{self, Entry, EntryFile};
use super::naming;
use super::staged::StagedFile;

/// The sub-folder for everything that is not output. Readers of data lakes pass over names that begin with `_`.
pub(super) const PRIVATE: &str = "_millstream";

/// The folder of the committed epochs' entries, in [`PRIVATE`].
pub(super) const MANIFEST: &str = "manifest";

const OWNER: &str = "owner.json";
const STAGING_PREFIX: &str = "staging-";

/// A folder that this run of a job may write to.
#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
    manifest: PathBuf,
    staging: PathBuf,
}

/// The content of `owner.json`.
#[derive(Serialize, Deserialize)]
struct Owner {
    format: u32,
    job: String,
}

impl Folder {
    /// Takes the folder over for run `generation` of `job`, making it if need be. `begun` says that the job has
    /// committed before, so that the folder must be its own already.
    ///
    /// # Errors
    /// When the folder can't be written, belongs to another job, holds other files, or a later run has taken it.
    pub(super) fn claim(root: &Path, job: &str, generation: u64, begun: bool) -> Result<Self> {
        let private = root.join(PRIVATE);
        match read_owner(&private.join(OWNER))? {
            Some(owner) if owner == job => {}
            Some(owner) => return Err(refused(root, owned_by_other(&owner, job))),
            None if begun => return Err(refused(root, output_is_gone(job))),
            None => {
                check_empty(root)?;
                fs::create_dir_all(&private).map_err(Error::io("create", &private))?;
                write_owner(&private, job)?;
                sync_folder(root)?;
                root.parent().map_or(Ok(()), sync_folder)?;
            }
        }
        let folder = Self {
            manifest: private.join(MANIFEST),
            staging: private.join(format!("{STAGING_PREFIX}{generation}")),
            root: root.to_owned(),
        };
        create_folder(&folder.manifest)?;
        folder.take_over_staging(&private, generation)?;
        sync_folder(&private)?;
        Ok(folder)
    }

    /// Begins the staged file `sequence`.
    pub(super) fn create(
        &self,
        sequence: u32,
        schema: &SchemaRef,
        properties: &WriterPropertiesPtr,
    ) -> Result<StagedFile> {
        let path = self.staging.join(naming::staged(sequence));
        let file = File::create(&path).map_err(|error| self.failed("create", &path, error))?;
        StagedFile::new(file, path, sequence, schema.clone(), properties)
    }

    /// Makes the epoch's entry and the names of its staged files durable, and the folders that they will be in, so that
    /// `commit` needs no room.
    pub(super) fn stage(&self, entry: &Entry) -> Result<()> {
        self.make_folders(entry)?;
        let path = self.staging.join(naming::entry(entry.epoch));
        let text = serde_json::to_vec(entry).expect("an entry has string keys only");
        let mut file = File::create(&path).map_err(|error| self.failed("create", &path, error))?;
        file.write_all(&text).map_err(Error::io("write", &path))?;
        file.sync_all().map_err(Error::io("sync", &path))?;
        sync(&self.staging).map_err(|error| self.failed("sync", &self.staging, error))
    }

    /// Gives the epoch's files their final names, then its entry. What was done before is not done again.
    pub(super) fn commit(&self, entry: &Entry) -> Result<()> {
        let listed = self.manifest.join(naming::entry(entry.epoch));
        if exists(&listed)? {
            return Ok(());
        }
        let folders = self.make_folders(entry)?;
        for (sequence, file) in (0..).zip(&entry.files) {
            let staged = self.staging.join(naming::staged(sequence));
            self.publish(&staged, &self.root.join(&file.name), file)?;
            engine::fault::point("mid_commit");
        }
        for folder in &folders {
            sync_folder(folder)?;
        }
        let staged = self.staging.join(naming::entry(entry.epoch));
        fs::rename(&staged, &listed).map_err(|error| self.failed("rename", &staged, error))?;
        sync_folder(&self.manifest)
    }

    /// Removes everything that was staged, and the files of epochs after `epoch` that a lost checkpoint had committed.
    pub(super) fn roll_back_to(&self, epoch: Epoch) -> Result<()> {
        for folder in [&self.staging, &self.manifest] {
            for newer in manifest::epochs(folder)? {
                if newer > epoch {
                    self.withdraw(&folder.join(naming::entry(newer)))?;
                }
            }
        }
        for item in fs::read_dir(&self.staging).map_err(Error::io("list", &self.staging))? {
            let path = item.map_err(Error::io("list", &self.staging))?.path();
            fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
        Ok(())
    }

    /// Removes the files that an entry names, then the entry. A table stays until a later epoch replaces it: there is
    /// always one to read.
    fn withdraw(&self, path: &Path) -> Result<()> {
        let entry = match Entry::read(path) {
            Ok(entry) => entry,
            // An entry that was being staged when the process died may be torn. Then nothing of it was committed.
            Err(_) if path.starts_with(&self.staging) => return Ok(()),
            Err(error) => return Err(error),
        };
        for file in entry.files.iter().filter(|file| file.name != naming::TABLE) {
            let target = self.root.join(&file.name);
            match fs::remove_file(&target) {
                Ok(()) => sync_folder(target.parent().expect("a name inside the folder"))?,
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io("remove", &target)(error)),
            }
        }
        fs::remove_file(path).map_err(Error::io("remove", path))
    }

    /// Makes the folders of the epoch's files, and returns all whose names a commit changes.
    fn make_folders(&self, entry: &Entry) -> Result<BTreeSet<PathBuf>> {
        let mut folders = BTreeSet::from([self.root.clone()]);
        for file in &entry.files {
            let mut folder = self.root.clone();
            for name in Path::new(&file.name).parent().into_iter().flatten() {
                folder.push(name);
                if folders.insert(folder.clone()) {
                    create_folder(&folder)?;
                }
            }
        }
        Ok(folders)
    }

    /// Renames one staged file to its final name.
    fn publish(&self, staged: &Path, target: &Path, file: &EntryFile) -> Result<()> {
        let is_table = file.name == naming::TABLE;
        match (exists(staged)?, length(target)?) {
            (true, Some(_)) if !is_table => Err(refused(
                &self.root,
                format!(
                    "{} exists already and is not of this epoch; move it away and start again",
                    file.name
                ),
            )),
            (true, _) => fs::rename(staged, target).map_err(|error| self.failed("rename", staged, error)),
            (false, Some(bytes)) if bytes == file.bytes => Ok(()),
            (false, present) => {
                let fenced = self.failed("rename", staged, ErrorKind::NotFound.into());
                let size = present.map_or("missing".to_owned(), |bytes| format!("{bytes} bytes long"));
                Err(match fenced {
                    Error::Fenced { .. } => fenced,
                    _ => refused(
                        &self.root,
                        format!(
                            "{} is {size}, expected {} bytes, and it is not staged either: restore it",
                            file.name, file.bytes
                        ),
                    ),
                })
            }
        }
    }

    /// Renames the staging folder of the last run to this one's, or makes it.
    fn take_over_staging(&self, private: &Path, generation: u64) -> Result<()> {
        let mut runs = generations(private)?;
        runs.retain(|&run| run < generation);
        if !exists(&self.staging)?
            && let Some(last) = runs.pop()
        {
            let old = private.join(format!("{STAGING_PREFIX}{last}"));
            fs::rename(&old, &self.staging).map_err(|error| self.failed("rename", &old, error))?;
        }
        create_folder(&self.staging)?;
        for run in runs {
            let old = private.join(format!("{STAGING_PREFIX}{run}"));
            fs::remove_dir_all(&old).map_err(Error::io("remove", &old))?;
        }
        // Looked at last: of two runs that start at once, at least the older one sees the other's folder.
        match generations(private)?.last() {
            Some(&last) if last > generation => Err(self.fenced()),
            _ => Ok(()),
        }
    }

    /// Returns the error of an act in the staging folder: a folder that is gone was taken over by a later run.
    fn failed(&self, act: &'static str, path: &Path, error: io::Error) -> Error {
        if error.kind() == ErrorKind::NotFound && !self.staging.is_dir() {
            return self.fenced();
        }
        Error::io(act, path)(error)
    }

    /// Returns an error of a staged file; if the folder was taken over, that.
    pub(super) fn explain(&self, error: Error) -> Error {
        match error {
            Error::Io { act, path, source } => self.failed(act, &path, source),
            other => other,
        }
    }

    fn fenced(&self) -> Error {
        Error::Fenced {
            what: self.root.display().to_string(),
        }
    }
}

fn refused(root: &Path, problem: String) -> Error {
    let output = root.display().to_string();
    Error::Sink { output, problem }
}

fn owned_by_other(owner: &str, job: &str) -> String {
    format!(
        "the folder belongs to job {owner}, this is job {job}: use another folder, or the checkpoint of that job, or remove \
         the folder if its rows are not needed"
    )
}

fn output_is_gone(job: &str) -> String {
    format!(
        "the checkpoint says that job {job} has written there, but {PRIVATE}/{OWNER} is missing: restore the folder, or \
         start afresh with another checkpoint"
    )
}

/// Checks that a folder without an owner holds nothing that a reader would take for this job's output.
fn check_empty(root: &Path) -> Result<()> {
    let items = match fs::read_dir(root) {
        Ok(items) => items,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::io("list", root)(error)),
    };
    for item in items {
        let name = item.map_err(Error::io("list", root))?.file_name();
        let name = name.to_string_lossy();
        let is_hidden = name.starts_with('.') || name == PRIVATE || name == "lost+found";
        if !is_hidden {
            return Err(refused(
                root,
                format!("the folder is not empty (it holds {name}) and no job of Millstream owns it: use a new folder"),
            ));
        }
    }
    Ok(())
}

fn read_owner(path: &Path) -> Result<Option<String>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    match serde_json::from_slice::<Owner>(&bytes) {
        Ok(owner) => Ok(Some(owner.job)),
        Err(error) => Err(refused(path, format!("this is not the owner of a folder: {error}"))),
    }
}

fn write_owner(private: &Path, job: &str) -> Result<()> {
    let (path, temporary) = (private.join(OWNER), private.join("owner.inprogress"));
    let owner = Owner {
        format: 1,
        job: job.to_owned(),
    };
    let text = serde_json::to_vec(&owner).expect("an owner is two plain fields");
    let mut file = File::create(&temporary).map_err(Error::io("create", &temporary))?;
    file.write_all(&text).map_err(Error::io("write", &temporary))?;
    file.sync_all().map_err(Error::io("sync", &temporary))?;
    fs::rename(&temporary, &path).map_err(Error::io("rename", &temporary))?;
    sync_folder(private)
}

/// Returns the numbers of the runs that have a staging folder, ascending.
fn generations(private: &Path) -> Result<Vec<u64>> {
    let mut runs = Vec::new();
    for item in fs::read_dir(private).map_err(Error::io("list", private))? {
        let name = item.map_err(Error::io("list", private))?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(STAGING_PREFIX));
        runs.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    runs.sort_unstable();
    Ok(runs)
}

fn create_folder(path: &Path) -> Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(Error::io("create", path)(error)),
        _ => Ok(()),
    }
}

fn exists(path: &Path) -> Result<bool> {
    path.try_exists().map_err(Error::io("look at", path))
}

fn length(path: &Path) -> Result<Option<u64>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("look at", path)(error)),
    }
}

/// Makes the names in a folder durable.
fn sync_folder(path: &Path) -> Result<()> {
    sync(path).map_err(Error::io("sync", path))
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
