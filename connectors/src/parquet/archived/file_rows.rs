//! The offsets and times of one file's rows, and its footer.

use std::path::Path;

use arrow::array::{AsArray, Int64Array, TimestampMicrosecondArray};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use engine::{Error, Result};

use crate::parquet::archive::Footer;
use crate::parquet::stored::Rows;

/// The offsets and times of a file's rows, a batch at a time.
#[derive(Debug)]
pub struct FileRows {
    name: String,
    footer: Option<Footer>,
    rows: Rows,
}

impl FileRows {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn open(path: &Path) -> Result<Self> {
        let stored = super::stored(path)?;
        Ok(Self {
            name: path.display().to_string(),
            footer: Footer::from_pairs(stored.properties()),
            rows: stored.rows_from(&["offset", "timestamp"], None)?,
        })
    }

    /// Takes out what the footer says; `None` when it is not that of an archive's file.
    pub fn footer(&mut self) -> Option<Footer> {
        self.footer.take()
    }

    /// Returns the offsets and the times of the next rows, `None` at the end.
    ///
    /// # Errors
    /// When they can't be read, or the columns are not there.
    pub fn next_rows(&mut self) -> Result<Option<(Int64Array, TimestampMicrosecondArray)>> {
        let Some(batch) = self.rows.next().transpose()? else {
            return Ok(None);
        };
        let offsets = batch
            .column_by_name("offset")
            .and_then(|column| column.as_primitive_opt::<Int64Type>());
        let times = batch.column_by_name("timestamp");
        let times = times.and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
        match offsets.zip(times) {
            Some((offsets, times)) => Ok(Some((offsets.clone(), times.clone()))),
            None => Err(Error::Source {
                input: self.name.clone(),
                problem: "expected the columns offset (Int64) and timestamp (microseconds in UTC)".to_owned(),
            }),
        }
    }
}
