//! SQL to the engine's pipeline: a query becomes operators, an aggregate, and operators over what the aggregate puts out.
//!
//! ```text
//! text -> syntax (refusals, names) -> DataFusion: plan, types, optimizer -> lower -> operators of the engine
//!
//! SELECT tumble(time, '1 minute') AS minute, count(*) AS hits FROM logs WHERE status >= 400 GROUP BY minute
//!
//! filter status >= 400
//! project tumble(time, '1 minute') AS minute
//! aggregate count(*) AS hits by minute closing 60s after minute
//! ```
//! Planner, optimizer and scalar functions are DataFusion's; rows are filtered, grouped and aggregated by the engine.

mod aggregate;
mod catalog;
mod error;
mod expression;
mod function;
mod lower;
mod optimize;
mod planned;
mod syntax;
#[cfg(test)]
mod tests;

use arrow::datatypes::{FieldRef, SchemaRef};
use engine::operator::OutputMode;

pub use self::error::SqlError;
pub use self::planned::{Planned, Window};

use self::lower::Lowering;

/// A source that a query may read.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its name in `FROM`.
    pub name: String,
    /// The columns that it has, whether the query uses them or not. Binary columns are text to a query: what is no UTF-8
    /// becomes U+FFFD, and the rows are counted.
    pub schema: SchemaRef,
    /// The column with the event time, by which windows close.
    pub event_time: Option<String>,
    /// Whether the input ends.
    pub bounded: bool,
    /// A column that no statement sees, and that stays with each row up to where late ones are found: see
    /// [`RECORD_COLUMN`](engine::operator::late::RECORD_COLUMN), its name.
    pub record: Option<FieldRef>,
}

/// Plans a query over one of `tables`, to be put out in `mode`.
///
/// # Errors
/// When the text is no query, a name is unknown, types do not fit, or the query can't run as a stream: with what to write
/// instead.
pub fn plan(sql: &str, tables: &[Table], mode: OutputMode) -> Result<Planned, SqlError> {
    planned(sql, tables, mode).map_err(|error| error.within(sql))
}

/// Returns the names in `FROM` that are no common tables of the query, each once.
///
/// # Errors
/// When the text is no query that can run.
pub fn sources(sql: &str) -> Result<Vec<String>, SqlError> {
    syntax::sources(sql).map_err(|error| error.within(sql))
}

fn planned(sql: &str, tables: &[Table], mode: OutputMode) -> Result<Planned, SqlError> {
    let parsed = syntax::parse(sql, tables)?;
    let calls = syntax::calls(&parsed.statement);
    let lowered = optimize::logical(parsed.statement, tables)
        .and_then(|plan| Lowering::of(&plan, tables, mode, parsed.marks)?.finish(&plan, parsed.explain));
    lowered.map_err(|error| error.near(&calls))
}
