//! SQL for the check of a job file.

use std::cell::RefCell;

use arrow::datatypes::SchemaRef;

use super::input;
use crate::job::plan::{LateRows, QueryPlan, RowFormat, SinkPlan, SourcePlan, ValuePlan};
use crate::job::{Analysis, SqlProblem};
use crate::sql::{self, Functions, SqlError, Table};

/// Knows the formats and plans the statements.
#[derive(Debug, Default)]
pub struct SqlAnalysis {
    /// What statements may call beside the known functions.
    functions: Functions,
    /// The sources seen so far: what a table's schema does not say.
    sources: RefCell<Vec<Table>>,
}

impl SqlAnalysis {
    /// Returns an analysis of statements that may also call `functions`.
    pub fn new(functions: Functions) -> Self {
        Self {
            functions,
            ..Self::default()
        }
    }
}

impl Analysis for SqlAnalysis {
    fn source_schema(&self, source: &SourcePlan) -> Result<SchemaRef, String> {
        let table = input::table(source).map_err(|error| error.to_string())?;
        let schema = table.schema.clone();
        self.sources.borrow_mut().push(table);
        Ok(schema)
    }

    fn check_sql(&self, query: &QueryPlan, tables: &[(String, SchemaRef)]) -> Result<SchemaRef, SqlProblem> {
        if let Some(message) = refusal(query) {
            return Err(SqlProblem { message, at: None });
        }
        let sources = self.sources.borrow();
        let table = |(name, schema): &(String, SchemaRef)| {
            let source = sources.iter().find(|source| source.name == *name);
            source.cloned().unwrap_or_else(|| Table {
                name: name.clone(),
                schema: schema.clone(),
                event_time: None,
                bounded: false,
            })
        };
        let tables: Vec<_> = tables.iter().map(table).collect();
        let planned = sql::plan_with(&query.sql, &tables, query.mode.into(), &self.functions);
        planned.map(|planned| planned.schema).map_err(|error| problem(&error))
    }
}

/// Returns what of a query the job file can say and nothing can run, with what to write instead.
fn refusal(query: &QueryPlan) -> Option<String> {
    if query.late == LateRows::DeadLetter {
        let text = "late = \"dead_letter\" can't be run yet: write late = \"drop\", and late rows are counted";
        return Some(text.to_owned());
    }
    match &query.sink {
        None => Some("a query needs a sink: no query can read the result of another yet".to_owned()),
        Some(SinkPlan::Kafka(sink)) if sink.value == ValuePlan::Row(RowFormat::Csv) => {
            Some("value = \"csv\" can't be written to Kafka yet: write value = \"json\", or name one column".to_owned())
        }
        Some(_) => None,
    }
}

/// Returns an error of a statement as one of the job file that it stands in.
pub(super) fn problem(error: &SqlError) -> SqlProblem {
    SqlProblem {
        message: error.message.clone(),
        at: error.place(),
    }
}
