//! What a name in `FROM` stands for: files of lines, decoded, or files of Parquet.

use std::io::ErrorKind;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use connectors::decode::{BadRows, DecodeRows, Decoder};
use connectors::file::{FileOptions, FileSource, STDIN};
use connectors::parquet::source::{ParquetSource, ParquetSourceOptions};
use engine::operator::Operator;
use engine::source::Source;
use engine::{Error, Result};

use crate::sql::Table;
use crate::wildcard;

/// The most files that a pattern may stand for.
const FILES_MAX: usize = 100_000;

/// A source that a query can read.
pub(super) struct Opened {
    pub(super) name: String,
    pub(super) source: Box<dyn Source>,
    /// What happens to its batches first: decoding.
    pub(super) operators: Vec<Arc<dyn Operator>>,
    /// The columns after that.
    pub(super) schema: SchemaRef,
}

impl Opened {
    /// Returns the source as the planner knows it.
    pub(super) fn table(&self) -> Table {
        Table {
            name: self.name.clone(),
            schema: self.schema.clone(),
            event_time: None,
            bounded: true,
            record: None,
        }
    }
}

/// Returns the source that `name` stands for: a file, a pattern of files, or `-`. Without a decoder a line is the column
/// `value`; with one, bad lines are left out and counted.
///
/// # Errors
/// When there is no such file.
pub(super) fn open_table(name: &str, threads: NonZeroUsize, decoder: Option<Arc<dyn Decoder>>) -> Result<Opened> {
    let mut options = FileOptions::new(paths(name)?);
    options.threads = threads.get().min(options.paths.len());
    let source = FileSource::new(options)?;
    let mut operators: Vec<Arc<dyn Operator>> = vec![];
    if let Some(decoder) = decoder {
        operators.push(Arc::new(DecodeRows::new(
            decoder,
            &source.schema(),
            Some(&[]),
            BadRows::Skip,
        )?));
    }
    let schema = operators
        .last()
        .map_or_else(|| source.schema(), |operator| operator.schema());
    Ok(Opened {
        name: name.to_owned(),
        source: Box::new(source),
        operators,
        schema,
    })
}

/// Returns whether a name stands for Parquet files.
pub(super) fn is_parquet(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|ending| ending == "parquet")
}

/// Returns the source of the Parquet files that `name` stands for: of their columns those wanted, or all.
///
/// # Errors
/// When there is no such file, or it is no Parquet file.
pub(super) fn open_parquet(name: &str, threads: NonZeroUsize, wanted: Option<&[String]>) -> Result<Opened> {
    let mut options = ParquetSourceOptions::new(paths(name)?);
    options.threads = threads.get().min(options.paths.len());
    options.columns = wanted.map(<[String]>::to_vec);
    let source = ParquetSource::new(options)?;
    Ok(Opened {
        name: name.to_owned(),
        schema: source.schema(),
        source: Box::new(source),
        operators: vec![],
    })
}

/// Returns the files of a name, in the order of their names; `*`, `?`, `[...]` and `**` stand for many.
fn paths(name: &str) -> Result<Vec<PathBuf>> {
    let path = Path::new(name);
    if name == STDIN || path.exists() {
        return Ok(vec![path.to_owned()]);
    }
    if !wildcard::is_pattern(name) {
        return Err(Error::io("read", path)(ErrorKind::NotFound.into()));
    }
    let found = wildcard::files(name)?;
    if found.len() > FILES_MAX {
        return Err(Error::Invalid(format!(
            "`{name}` stands for {} files, at most {FILES_MAX}",
            found.len()
        )));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_stands_for_files_in_the_order_of_their_names() {
        let found = paths("data/*.log").expect("there are some");
        let names: Vec<_> = found.iter().map(|path| path.display().to_string()).collect();
        assert_eq!(names, ["data/access.log", "data/dpkg.log", "data/kafka-server.log"]);
        assert_eq!(paths("data/access.log").expect("it is there").len(), 1);
    }

    #[test]
    fn files_that_are_not_there_are_named() {
        let error = paths("data/acess.log").expect_err("no such file").to_string();
        assert!(error.contains("data/acess.log"), "{error}");
        let error = paths("data/*.nothing").expect_err("no such file").to_string();
        assert!(error.contains("no file like `data/*.nothing`"), "{error}");
    }
}
