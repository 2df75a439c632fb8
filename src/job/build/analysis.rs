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
use crate::sql::{self, Planned, SqlError, Table};

/// Knows the formats and plans the statements.
#[derive(Debug, Default)]
pub struct SqlAnalysis {
    /// The sources seen so far: what a table's schema does not say.
    sources: RefCell<Vec<Table>>,
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
                record: None,
            })
        };
        let tables: Vec<_> = tables.iter().map(table).collect();
        let planned = planned(query, &tables)?;
        check_values(query, &planned.schema).map_err(|error| SqlProblem {
            message: error.to_string(),
            at: None,
        })?;
        Ok(planned.schema)
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

/// Plans a query over one of `tables`; with the records of its rows, if late ones are to be dead letters.
///
/// # Errors
/// When the statement is wrong, or none of its rows can be late.
pub(super) fn planned(query: &QueryPlan, tables: &[Table]) -> Result<Planned, SqlProblem> {
    let keeps_late = query.late == LateRows::DeadLetter;
    let table = |table: &Table| Table {
        record: table.record.clone().filter(|_| keeps_late),
        ..table.clone()
    };
    let tables: Vec<_> = tables.iter().map(table).collect();
    let planned = sql::plan(&query.sql, &tables, query.mode.into()).map_err(|error| problem(&error))?;
    match late_refusal(query, &planned).filter(|_| keeps_late) {
        Some(reason) => Err(SqlProblem {
            message: format!("late = \"dead_letter\": {reason}"),
            at: None,
        }),
        None => Ok(planned),
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
    let has_record = planned.input.field_with_name(RECORD_COLUMN).is_ok();
    (!has_record).then_some("it is a record as it came, and Parquet files have none: write late = \"drop\"")
}

/// Returns what of a query the job file can say and nothing can run, with what to write instead.
fn refusal(query: &QueryPlan) -> Option<String> {
    match &query.sink {
        None => Some("a query needs a sink: no query can read the result of another yet".to_owned()),
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
