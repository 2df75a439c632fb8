//! Files that are either there whole or not at all: write aside, fsync, rename, fsync the folder.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use crate::error::{Error, Result};

/// Makes a rename or removal in `folder` survive a power loss.
///
/// # Errors
/// When the folder can't be synced.
pub fn sync_folder(folder: &Path) -> Result<()> {
    let handle = File::open(folder).map_err(Error::io("open", folder))?;
    handle.sync_all().map_err(Error::io("sync", folder))
}

/// Writes `content` to `staged`, durably.
///
/// # Errors
/// When the file can't be written.
pub fn write_synced(staged: &Path, content: &[u8]) -> Result<()> {
    let mut file = File::create(staged).map_err(Error::io("create", staged))?;
    file.write_all(content).map_err(Error::io("write", staged))?;
    file.sync_all().map_err(Error::io("sync", staged))
}

/// Gives the durable file `staged` its final name, durably; replaces a file of that name.
///
/// # Errors
/// When the file can't be renamed.
pub fn publish(staged: &Path, target: &Path) -> Result<()> {
    fs::rename(staged, target).map_err(Error::io("rename", staged))?;
    sync_folder(target.parent().unwrap_or(Path::new(".")))
}
