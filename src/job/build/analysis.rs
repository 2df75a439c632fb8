//! SQL for the check of a job file.

use std::cell::RefCell;

use arrow::datatypes::{Schema, SchemaRef};
use connectors::encode::AvroEncoder;
use connectors::kafka::sink::ValueFormat;
use engine::Error;
use engine::operator::late::RECORD_COLUMN;

use super::{input, output};
use crate::job::plan::{LateRows, Mode, QueryPlan, SinkPlan, SourcePlan};
use crate::job::{Analysis, SqlProblem};
use crate::sql::{self, Functions, Planned, PlannedInput, Scope, SqlError, View};

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
        let planned = planned(query, &self.scope.borrow())?;
        check_values(query, &planned.schema).map_err(|error| SqlProblem {
            message: error.to_string(),
            at: None,
        })?;
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

/// Checks that the rows of a query can be values of its topic.
fn check_values(query: &QueryPlan, schema: &Schema) -> Result<(), Error> {
    let Some(SinkPlan::Kafka(sink)) = &query.sink else {
        return Ok(());
    };
    let in_topic = |error| Error::Invalid(format!("the topic `{}`: {error}", sink.topic));
    match output::value_format(&sink.value).map_err(in_topic)? {
        ValueFormat::Avro(format) => AvroEncoder::new(format, schema).map(drop).map_err(in_topic),
        // What is wrong about the column of a value is shown where it stands in the job file.
        ValueFormat::Json | ValueFormat::Delimited(_) | ValueFormat::Column(_) => Ok(()),
    }
}

/// Plans a query; with the records of its rows, if late ones are to be dead letters.
///
/// # Errors
/// When the statement is wrong, or none of its rows can be late.
pub(super) fn planned(query: &QueryPlan, scope: &Scope) -> Result<Planned, SqlProblem> {
    let keeps_late = query.late == LateRows::DeadLetter;
    let mut scope = scope.clone();
    if !keeps_late {
        scope.tables.iter_mut().for_each(|table| table.record = None);
    }
    let planned = sql::plan_with(&query.sql, &scope, query.mode.into()).map_err(|error| problem(&error))?;
    check_retractions(query, &planned)?;
    match late_refusal(query, &planned).filter(|_| keeps_late) {
        Some(reason) => Err(SqlProblem {
            message: format!("late = \"dead_letter\": {reason}"),
            at: None,
        }),
        None => Ok(planned),
    }
}

/// Checks that what a query takes back can be taken back where it goes.
fn check_retractions(query: &QueryPlan, planned: &Planned) -> Result<(), SqlProblem> {
    let (Some(key), Some(sink)) = (&planned.retraction_key, &query.sink) else {
        return Ok(());
    };
    let is_same = |other: &[String]| other.len() == key.len() && key.iter().all(|name| other.contains(name));
    match sink {
        SinkPlan::Kafka(kafka) if is_same(&kafka.key) => Ok(()),
        _ => Err(SqlProblem {
            message: format!(
                "mode update takes a session back when it joins another or begins earlier than it was known to, which only \
                 records can: use a Kafka sink with key = {key:?}, or mode append"
            ),
            at: None,
        }),
    }
}

/// Returns why no late row of a query can be a dead letter.
fn late_refusal(query: &QueryPlan, planned: &Planned) -> Option<&'static str> {
    let aggregate = planned.aggregate.as_ref();
    if !aggregate.is_some_and(|aggregate| aggregate.is_windowed()) {
        return Some("no row of this query is late, since it has no windows of the event time");
    }
    if query.mode == Mode::Complete {
        return Some("no row is late in mode complete, which keeps every window");
    }
    let has_record = |input: &PlannedInput| input.schema.field_with_name(RECORD_COLUMN).is_ok();
    (!planned.inputs.iter().all(has_record))
        .then_some("it is a record as it came, and Parquet files have none: write late = \"drop\"")
}

/// Returns an error of a statement as one of the job file that it stands in.
pub(super) fn problem(error: &SqlError) -> SqlProblem {
    SqlProblem {
        message: error.message.clone(),
        at: error.place(),
    }
}
