//! What a name in `FROM` stands for: files of lines, decoded.

use std::fs;
use std::io::ErrorKind;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use connectors::decode::{BadRows, DecodeRows, Decoder};
use connectors::file::{FileOptions, FileSource, STDIN};
use engine::operator::Operator;
use engine::source::Source;
use engine::{Error, Result};

use crate::sql::Table;

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

/// Returns the files of a name; `*` and `?` in its last part stand for any characters, and for one.
fn paths(name: &str) -> Result<Vec<PathBuf>> {
    let path = Path::new(name);
    if name == STDIN || path.exists() {
        return Ok(vec![path.to_owned()]);
    }
    let pattern = path.file_name().and_then(|last| last.to_str()).unwrap_or_default();
    if !pattern.contains(['*', '?']) {
        return Err(Error::io("read", path)(ErrorKind::NotFound.into()));
    }
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let entries = fs::read_dir(dir.unwrap_or(Path::new("."))).map_err(Error::io("list", dir.unwrap_or(path)))?;
    let mut found = vec![];
    for entry in entries {
        let entry = entry.map_err(Error::io("list", dir.unwrap_or(path)))?;
        let name = entry.file_name();
        let is_meant = name
            .to_str()
            .is_some_and(|name| !name.starts_with('.') && matches(pattern, name));
        if is_meant && entry.path().is_file() {
            found.push(dir.map_or_else(|| PathBuf::from(&name), |dir| dir.join(&name)));
        }
    }
    match found.len() {
        0 => Err(Error::Invalid(format!("there is no file like `{name}`"))),
        count if count > FILES_MAX => Err(Error::Invalid(format!(
            "`{name}` stands for {count} files, at most {FILES_MAX}"
        ))),
        _ => {
            found.sort_unstable();
            Ok(found)
        }
    }
}

/// Returns whether a name fits a pattern, going back to the last `*` at a mismatch: no worse than their lengths multiplied.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<_>, Vec<_>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&letter) if letter == '?' || letter == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (p, n) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&letter| letter == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_characters_and_a_question_mark_one() {
        for (pattern, name, expected) in [
            ("*.log", "a.log", true),
            ("*.log", ".log", true),
            ("*.log", "a.log.gz", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b", false),
            ("?.log", "ä.log", true),
            ("?.log", ".log", false),
            ("*", "", true),
            ("**a", "aaab", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

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
