//! The sink's folder on disk: whose it is, what is staged, what is final.
//!
//! The staging folder is taken over by a new run ([`Staging`]), so an older run that is still alive can neither begin,
//! prepare nor commit anything.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use arrow::datatypes::SchemaRef;
use engine::{Epoch, Error, Result};
use parquet::file::properties::WriterPropertiesPtr;
use serde::{Deserialize, Serialize};

use super::archive;
use super::manifest::{self, Entry, EntryFile};
use super::naming;
use super::staged::StagedFile;
use super::staging::Staging;

/// The sub-folder for everything that is not output. Readers of data lakes pass over names that begin with `_`.
pub(super) const PRIVATE: &str = "_millstream";

/// The folder of the committed epochs' entries, in [`PRIVATE`].
pub(super) const MANIFEST: &str = "manifest";

/// The job that a folder belongs to, in [`PRIVATE`].
pub(super) const OWNER: &str = "owner.json";

/// A folder that this run of a job may write to.
#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
    manifest: PathBuf,
    staging: Staging,
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
                check_no_archive(root)?;
                fs::create_dir_all(&private).map_err(Error::io("create", &private))?;
                write_owner(&private, job)?;
                sync_folder(root)?;
                root.parent().map_or(Ok(()), sync_folder)?;
            }
        }
        let manifest = private.join(MANIFEST);
        create_folder(&manifest)?;
        let staging = Staging::take_over(root, &private, generation)?;
        sync_folder(&private)?;
        Ok(Self {
            root: root.to_owned(),
            manifest,
            staging,
        })
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
        sync(self.staging.path()).map_err(|error| self.failed("sync", self.staging.path(), error))
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
        for folder in [self.staging.path(), &self.manifest] {
            for newer in manifest::epochs(folder)? {
                if newer > epoch {
                    self.withdraw(&folder.join(naming::entry(newer)))?;
                }
            }
        }
        let staging = self.staging.path();
        for item in fs::read_dir(staging).map_err(Error::io("list", staging))? {
            let path = item.map_err(Error::io("list", staging))?.path();
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
            Err(_) if path.starts_with(self.staging.path()) => return Ok(()),
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

    fn failed(&self, act: &'static str, path: &Path, error: io::Error) -> Error {
        self.staging.failed(act, path, error)
    }

    /// Returns an error of a staged file; if the folder was taken over, that.
    pub(super) fn explain(&self, error: Error) -> Error {
        self.staging.explain(error)
    }
}

/// Returns the error of a folder that can't be written to.
pub(super) fn refused(root: &Path, problem: String) -> Error {
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
pub(super) fn check_empty(root: &Path) -> Result<()> {
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

/// Returns the job that owns a folder, as its file `owner.json` at `path` says; `None` when there is none.
pub(super) fn read_owner(path: &Path) -> Result<Option<String>> {
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

/// Checks that a folder is no archive.
fn check_no_archive(root: &Path) -> Result<()> {
    match exists(&root.join(PRIVATE).join(archive::HEADER))? {
        true => Err(refused(
            root,
            "the folder is an archive that a replay has begun: use another folder".to_owned(),
        )),
        false => Ok(()),
    }
}

/// Makes a folder that may be there.
pub(super) fn create_folder(path: &Path) -> Result<()> {
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
pub(super) fn sync_folder(path: &Path) -> Result<()> {
    sync(path).map_err(Error::io("sync", path))
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
