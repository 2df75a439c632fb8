//! SQL for the check of a job file.

use std::cell::RefCell;

use arrow::datatypes::SchemaRef;

use super::input;
use crate::job::plan::{LateRows, QueryPlan, RowFormat, SinkPlan, SourcePlan, ValuePlan};
use crate::job::{Analysis, SqlProblem};
use crate::sql::{self, Functions, Scope, SqlError, View};

/// Knows the formats and plans the statements.
#[derive(Debug, Default)]
pub struct SqlAnalysis {
    /// The sources and queries seen so far, and what statements may call.
    scope: RefCell<Scope>,
}

impl SqlAnalysis {
    /// Returns an analysis of statements that may also call `functions`.
    pub fn new(functions: Functions) -> Self {
        let scope = Scope {
            functions,
            ..Scope::default()
        };
        Self {
            scope: RefCell::new(scope),
        }
    }
}

impl Analysis for SqlAnalysis {
    fn source_schema(&self, source: &SourcePlan) -> Result<SchemaRef, String> {
        let table = input::table(source).map_err(|error| error.to_string())?;
        let schema = table.schema.clone();
        self.scope.borrow_mut().tables.push(table);
        Ok(schema)
    }

    fn check_sql(&self, query: &QueryPlan) -> Result<SchemaRef, SqlProblem> {
        if let Some(message) = refusal(query) {
            return Err(SqlProblem { message, at: None });
        }
        let planned = sql::plan_with(&query.sql, &self.scope.borrow(), query.mode.into());
        let planned = planned.map_err(|error| problem(&error))?;
        self.scope.borrow_mut().views.push(view(query));
        Ok(planned.schema)
    }
}

/// Returns a query as later ones may read it.
pub(super) fn view(query: &QueryPlan) -> View {
    View {
        name: query.name.clone(),
        sql: query.sql.clone(),
    }
}

/// Returns what of a query the job file can say and nothing can run, with what to write instead.
fn refusal(query: &QueryPlan) -> Option<String> {
    if query.late == LateRows::DeadLetter {
        let text = "late = \"dead_letter\" can't be run yet: write late = \"drop\", and late rows are counted";
        return Some(text.to_owned());
    }
    match &query.sink {
        Some(SinkPlan::Kafka(sink)) if sink.value == ValuePlan::Row(RowFormat::Csv) => {
            Some("value = \"csv\" can't be written to Kafka yet: write value = \"json\", or name one column".to_owned())
        }
        _ => None,
    }
}

/// Returns an error of a statement as one of the job file that it stands in.
pub(super) fn problem(error: &SqlError) -> SqlProblem {
    SqlProblem {
        message: error.message.clone(),
        at: error.place(),
    }
}
