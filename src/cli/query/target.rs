//! Where the rows of a query go: the standard output, or a file that appears when it is whole.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use engine::{Error, Result};

/// What is written to.
#[derive(Debug)]
pub(super) struct Target {
    path: Option<PathBuf>,
    /// The file under way, until it is whole.
    part: Option<PathBuf>,
}

impl Target {
    /// Returns the file of this path, or the standard output.
    pub(super) fn new(path: Option<PathBuf>) -> Self {
        Self { path, part: None }
    }

    /// Opens it.
    ///
    /// # Errors
    /// When the file can't be made.
    pub(super) fn writer(&mut self) -> Result<Box<dyn Write + Send>> {
        let Some(path) = &self.path else {
            return Ok(Box::new(BufWriter::new(io::stdout())));
        };
        let mut name = path.clone().into_os_string();
        name.push(".part");
        let part = PathBuf::from(name);
        let file = File::create(&part).map_err(Error::io("create", &part))?;
        self.part = Some(part);
        Ok(Box::new(BufWriter::new(file)))
    }

    /// Gives the file its name. All of it was written and flushed.
    ///
    /// # Errors
    /// When it can't be renamed.
    pub(super) fn publish(&mut self) -> Result<()> {
        match (self.part.take(), &self.path) {
            (Some(part), Some(path)) => fs::rename(&part, path).map_err(Error::io("rename to", path)),
            _ => Ok(()),
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some(part) = self.part.take() {
            // What is not whole is of no use; one that can't be removed stays under a name that says so.
            let _ = fs::remove_file(part);
        }
    }
}
