//! Job files: TOML that says what is read, what SQL makes of it, and where that goes.
//!
//! ```text
//! text --toml--> nodes with places --forms--> tables of file.rs --check/--> JobPlan
//!  ^ overrides are merged into the nodes      one key at a time   what goes together
//! ```
//!
//! Every step reports all that is wrong, not the first thing only. `file.rs` declares every key once; the reader, the JSON
//! schema and the reference of keys come from there.

#[cfg(feature = "sql")]
pub mod build;
mod check;
mod error;
mod file;
mod form;
mod nearest;
mod node;
mod overrides;
mod place;
pub mod plan;
mod records;
pub mod replay;
mod schema;
mod setting;
mod sql;
mod table;
pub mod template;
#[cfg(test)]
mod tests;
#[cfg(feature = "sql")]
pub mod trial;
mod value;

use std::path::Path;

pub use self::error::{JobError, JobErrors};
pub use self::overrides::Overrides;
pub use self::place::{Place, Position};
pub use self::plan::JobPlan;
pub use self::schema::{json_schema, reference};
pub use self::sql::{Analysis, SqlProblem};
pub(crate) use self::value::partition_by;

use self::error::Report;
use self::file::JobTables;
use self::node::{Node, TableNode};
use self::place::{At, Texts};

/// The largest job file: no person writes more, and every error costs a walk through it.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The key of a job's tests.
const TESTS: &str = "test";

/// A job file, and what overrides it.
#[derive(Debug)]
pub struct JobFile<'a> {
    /// What the file is called in errors.
    name: String,
    text: String,
    /// A file of tests beside it: what it is called, and its text.
    tests: Option<(String, String)>,
    overrides: &'a Overrides,
}

impl<'a> JobFile<'a> {
    /// Reads and checks a job file. Nothing but the file is looked at: no network, no secret, no other file.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(path: &Path, overrides: &'a Overrides) -> Result<JobPlan, JobErrors> {
        Self::read(path, overrides)?.check(None)
    }

    /// Reads a job file.
    ///
    /// # Errors
    /// When it can't be read, is larger than 1 MiB, or is not UTF-8.
    pub fn read(path: &Path, overrides: &'a Overrides) -> Result<Self, JobErrors> {
        Ok(Self::from_text(path.display().to_string(), read(path)?, overrides))
    }

    /// Reads a job file and the tests that stand beside it, in `JOB.test.toml` for `JOB.toml`, if there are any.
    ///
    /// # Errors
    /// When one of the files can't be read, is larger than 1 MiB, or is not UTF-8.
    pub fn read_with_tests(path: &Path, overrides: &'a Overrides) -> Result<Self, JobErrors> {
        let job = Self::read(path, overrides)?;
        let beside = path.with_extension("test.toml");
        Ok(match beside.exists() {
            true => job.with_tests(beside.display().to_string(), read(&beside)?),
            false => job,
        })
    }

    /// Returns the job with tests of another text, that errors call `name`.
    #[must_use]
    pub fn with_tests(self, name: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            tests: Some((name.into(), text.into())),
            ..self
        }
    }

    /// Returns a job file of this text, that errors call `name`.
    pub fn from_text(name: impl Into<String>, text: impl Into<String>, overrides: &'a Overrides) -> Self {
        Self {
            name: name.into(),
            text: text.into(),
            tests: None,
            overrides,
        }
    }

    /// Checks the job: with an analysis also its columns and statements.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn check(&self, analysis: Option<&dyn Analysis>) -> Result<JobPlan, JobErrors> {
        let mut texts = Texts::default();
        let mut report = Report::default();
        let start = texts.add_file(self.name.clone(), self.text.clone());
        let mut table = node::parse(&self.text, start, &mut report);
        if let Some((name, text)) = &self.tests {
            let start = texts.add_file(name.clone(), text.clone());
            add_tests(
                &mut table.value,
                node::parse(text, start, &mut report).value,
                &mut report,
            );
        }
        // What the rest means can't be told from half a text.
        if !report.is_empty() {
            return Err(report.into_errors(texts));
        }
        self.overrides.apply(&mut table.value, &mut texts, &mut report);
        let Some(tables) = table::read_table::<JobTables>(At::new(&table.value, table.place), &mut report) else {
            return Err(report.into_errors(texts));
        };
        let plan = check::plan(&tables, &self.stem(), texts.clone(), &mut report);
        if let Some(analysis) = analysis {
            check::analyse(&plan, &names(&table.value), analysis, &mut report);
        }
        match report.is_empty() {
            true => Ok(plan),
            false => Err(report.into_errors(texts)),
        }
    }

    /// Returns the file's name without folder and ending: the job's name unless it has one.
    fn stem(&self) -> String {
        let stem = Path::new(&self.name).file_stem().unwrap_or_default();
        stem.to_string_lossy().into_owned()
    }
}

fn read(path: &Path) -> Result<String, JobErrors> {
    let cannot = |problem: String| JobErrors::unreadable(format!("cannot read {}: {problem}", path.display()));
    let size = std::fs::metadata(path)
        .map_err(|error| cannot(error.to_string()))?
        .len();
    if size > FILE_BYTES_MAX {
        return Err(cannot(format!(
            "it has {size} bytes, a job file at most {FILE_BYTES_MAX}"
        )));
    }
    std::fs::read_to_string(path).map_err(|error| cannot(error.to_string()))
}

/// Adds the tests of another file to those of the job.
fn add_tests(job: &mut TableNode, other: TableNode, report: &mut Report) {
    for entry in other.entries {
        if entry.key.value != TESTS {
            let message = format!(
                "`{}` stands in the job file; here are its tests only, as [[test]]",
                entry.key.value
            );
            report.error(entry.key.place, message);
            continue;
        }
        let known = job.entries.iter_mut().find(|known| known.key.value == TESTS);
        match known.map(|known| &mut known.value.value) {
            None => job.entries.push(entry),
            Some(Node::List(tests)) => match entry.value.value {
                Node::List(more) => tests.extend(more),
                // What is no list is told so where it is read.
                _ => tests.push(entry.value),
            },
            Some(_) => {}
        }
    }
}

/// Returns the names of all sources and queries, whatever is in them.
fn names(job: &TableNode) -> Vec<&str> {
    let groups = ["source", "query"]
        .into_iter()
        .filter_map(|key| job.get(key)?.value.as_table());
    let entries = groups.flat_map(|group| &group.entries);
    let named = entries.filter(|entry| entry.value.value.as_table().is_some());
    named.map(|entry| entry.key.value.as_str()).collect()
}
