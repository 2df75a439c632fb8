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
mod reference;
mod syntax;
#[cfg(test)]
mod tests;
mod user;

use arrow::datatypes::{FieldRef, SchemaRef};
use engine::operator::OutputMode;

pub use self::error::SqlError;
pub use self::planned::{Planned, PlannedInput, Window};
pub use self::reference::{Call, Reference};
pub use self::user::Functions;

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

/// A query whose result others may read by its name, as if it stood there in parentheses.
#[derive(Clone, Debug)]
pub struct View {
    /// Its name in `FROM`.
    pub name: String,
    /// Its statement.
    pub sql: String,
}

/// What a statement may name.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// The sources.
    pub tables: Vec<Table>,
    /// Queries that it may read. A later one may read an earlier one.
    pub views: Vec<View>,
    /// What it may call beside the known functions.
    pub functions: Functions,
}

/// Plans a query over `tables`, to be put out in `mode`.
///
/// # Errors
/// When the text is no query, a name is unknown, types do not fit, or the query can't run as a stream: with what to write
/// instead.
pub fn plan(sql: &str, tables: &[Table], mode: OutputMode) -> Result<Planned, SqlError> {
    let scope = Scope {
        tables: tables.to_vec(),
        ..Scope::default()
    };
    plan_with(sql, &scope, mode)
}

/// Plans a query over sources of `scope`, read directly or by its views.
///
/// # Errors
/// As [`plan`].
pub fn plan_with(sql: &str, scope: &Scope, mode: OutputMode) -> Result<Planned, SqlError> {
    planned(sql, scope, mode).map_err(|error| error.within(sql))
}

/// Returns what stands in `FROM` and is no common table of the query, each once.
///
/// # Errors
/// When the text is no query that can run.
pub fn sources(sql: &str) -> Result<Vec<Reference>, SqlError> {
    syntax::sources(sql).map_err(|error| error.within(sql))
}

fn planned(sql: &str, scope: &Scope, mode: OutputMode) -> Result<Planned, SqlError> {
    let parsed = syntax::parse(sql, scope)?;
    let calls = syntax::calls(&parsed.statement);
    let lowered = optimize::logical(parsed.statement, scope)
        .and_then(|plan| lower::lower(&plan, &scope.tables, mode, parsed.marks, parsed.explain));
    lowered.map_err(|error| error.near(&calls))
}
