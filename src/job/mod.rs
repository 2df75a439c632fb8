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
mod schema;
mod setting;
mod sql;
mod table;
pub mod template;
#[cfg(test)]
mod tests;
mod value;

use std::path::Path;

pub use self::error::{JobError, JobErrors};
pub use self::overrides::Overrides;
pub use self::place::{Place, Position};
pub use self::plan::JobPlan;
pub use self::schema::{json_schema, reference};
pub use self::sql::{Analysis, SqlProblem};

use self::error::Report;
use self::file::JobTables;
use self::node::TableNode;
use self::place::{At, Texts};

/// The largest job file: no person writes more, and every error costs a walk through it.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A job file, and what overrides it.
#[derive(Debug)]
pub struct JobFile<'a> {
    /// What the file is called in errors.
    name: String,
    text: String,
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
        let cannot = |problem: String| JobErrors::unreadable(format!("cannot read {}: {problem}", path.display()));
        let size = std::fs::metadata(path)
            .map_err(|error| cannot(error.to_string()))?
            .len();
        if size > FILE_BYTES_MAX {
            return Err(cannot(format!(
                "it has {size} bytes, a job file at most {FILE_BYTES_MAX}"
            )));
        }
        let text = std::fs::read_to_string(path).map_err(|error| cannot(error.to_string()))?;
        Ok(Self::from_text(path.display().to_string(), text, overrides))
    }

    /// Returns a job file of this text, that errors call `name`.
    pub fn from_text(name: impl Into<String>, text: impl Into<String>, overrides: &'a Overrides) -> Self {
        Self {
            name: name.into(),
            text: text.into(),
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

/// Returns the names of all sources and queries, whatever is in them.
fn names(job: &TableNode) -> Vec<&str> {
    let groups = ["source", "query"]
        .into_iter()
        .filter_map(|key| job.get(key)?.value.as_table());
    let entries = groups.flat_map(|group| &group.entries);
    let named = entries.filter(|entry| entry.value.value.as_table().is_some());
    named.map(|entry| entry.key.value.as_str()).collect()
}
