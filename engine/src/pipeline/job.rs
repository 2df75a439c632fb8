//! What a job is: one source, read once, and the queries that work on it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, SchemaRef, TimeUnit};

use crate::checkpoint::JobPart;
use crate::error::{Error, Result};
use crate::operator::expression::column_index;
use crate::operator::{Operator, OutputMode, StatefulOperator};
use crate::sink::Sink;
use crate::source::Source;

/// A pipeline, ready to run.
pub struct Job {
    /// What is read.
    pub source: Box<dyn Source>,
    /// What happens to each batch before the queries take it, once for all of them: decoding. Their batches are handed to
    /// several queries by reference, unless they hold spans.
    pub operators: Vec<Arc<dyn Operator>>,
    /// Which column is the event time, if windows depend on it.
    pub time: Option<EventTime>,
    /// What is computed.
    pub queries: Vec<Query>,
    /// Where rows go that operators put aside; without one they are only counted.
    pub dead_letters: Option<Box<dyn Sink>>,
}

/// One way from the decoded rows to a sink.
pub struct Query {
    /// Its name in messages; the only query of a job may do without.
    pub name: String,
    /// What happens to each batch, in order.
    pub operators: Vec<Arc<dyn Operator>>,
    /// What is kept over batches, if anything.
    pub aggregate: Option<Box<dyn StatefulOperator>>,
    /// What happens to the rows that the aggregate puts out after a micro-batch. They come as one batch, so that a sort
    /// sees all of them.
    pub finish: Vec<Arc<dyn Operator>>,
    /// Which rows the aggregate puts out.
    pub mode: OutputMode,
    /// What makes dead letters of the rows that the aggregate finds late; without it they are only counted.
    pub late: Option<Arc<dyn Operator>>,
    /// What is written.
    pub sink: Box<dyn Sink>,
}

/// The time at which the rows' events happened, and how long to wait for those that come late.
///
/// The watermark is the least of the partitions' newest event times, minus `lateness`; it never goes back, and moves at
/// the end of a micro-batch. A partition that has ended does not hold it back. One that has been silent for `idle` does
/// not either while another is not silent, unless the run is bounded: then its rows or its end are sure to come, and a
/// replay gives the windows of the live run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventTime {
    /// The column after the shared operators, a timestamp in microseconds.
    pub column: String,
    /// How much older than the newest row of its partition a row may be and still be in time.
    pub lateness: Duration,
    /// How long a partition without rows holds the watermark back.
    pub idle: Duration,
}

impl Job {
    /// Returns the job of one query over what `source` reads.
    pub fn new(source: Box<dyn Source>, query: Query) -> Self {
        Self {
            source,
            operators: vec![],
            time: None,
            queries: vec![query],
            dead_letters: None,
        }
    }

    /// Returns the columns of the batches that the queries take.
    pub fn schema(&self) -> SchemaRef {
        let last = self.operators.last();
        last.map_or_else(|| self.source.schema(), |operator| operator.schema())
    }

    /// Checks what can be checked without running: queries, modes, the event time, the sinks.
    ///
    /// # Errors
    /// What is not valid, and what would be.
    pub fn check(&self) -> Result<()> {
        if self.queries.is_empty() {
            return Err(Error::Invalid("the job has no query".to_owned()));
        }
        let mut names = BTreeSet::new();
        if let Some(twice) = self.queries.iter().find(|query| !names.insert(&query.name)) {
            return Err(Error::Invalid(format!("two queries are called `{}`", twice.name)));
        }
        self.time_column()?;
        self.queries
            .iter()
            .try_for_each(|query| query.check(self.time.is_some()))?;
        self.check_late()?;
        self.check_sinks()
    }

    /// Returns the index of the event time's column.
    pub(super) fn time_column(&self) -> Result<Option<usize>> {
        let Some(time) = &self.time else {
            return Ok(None);
        };
        let schema = self.schema();
        let index = column_index(&schema, &time.column)?;
        match schema.field(index).data_type() {
            DataType::Timestamp(TimeUnit::Microsecond, _) => Ok(Some(index)),
            other => Err(Error::Invalid(format!(
                "the event time `{}` is {other}, expected a timestamp in microseconds",
                time.column
            ))),
        }
    }

    /// Late rows that are kept must have a place to go.
    fn check_late(&self) -> Result<()> {
        let keeps = self.queries.iter().find(|query| query.late.is_some());
        match keeps.filter(|_| self.dead_letters.is_none()) {
            Some(query) => Err(Error::Invalid(format!(
                "{}late rows are to be dead letters, and the job has no output for those",
                query.label()
            ))),
            None => Ok(()),
        }
    }

    /// A sink whose commit is the commit point of the epoch decides alone which epoch happened.
    fn check_sinks(&self) -> Result<()> {
        let sinks = self.queries.iter().map(|query| &query.sink).chain(&self.dead_letters);
        let mut deciders = sinks.filter(|sink| sink.decides());
        match (deciders.next(), deciders.next()) {
            (Some(first), Some(second)) => Err(Error::Invalid(format!(
                "two outputs would each decide whether an epoch happened: `{}` and `{}`; at most one exactly-once output \
                 to Kafka fits a job, the others may be files or at-least-once",
                first.describe(),
                second.describe()
            ))),
            _ => Ok(()),
        }
    }

    /// Returns the job's parts, as a checkpoint records them.
    pub fn parts(&self) -> Vec<JobPart> {
        let part = |name: String, description| JobPart { name, description };
        let mut parts = vec![part("the source".to_owned(), self.source.describe())];
        for (number, operator) in (1..).zip(&self.operators) {
            parts.push(part(format!("operator {number}"), operator.describe()));
        }
        if let Some(time) = &self.time {
            parts.push(part("the event time".to_owned(), time.column.clone()));
        }
        for query in &self.queries {
            let of = match self.queries.len() {
                1 => String::new(),
                _ => format!(" of query {}", query.name),
            };
            for (number, description) in (self.operators.len() + 1..).zip(query.descriptions()) {
                parts.push(part(format!("operator {number}{of}"), description));
            }
            // Without windows any mode can go on with the state of any other.
            if query
                .aggregate
                .as_ref()
                .is_some_and(|aggregate| aggregate.is_windowed())
            {
                parts.push(part(format!("the output mode{of}"), query.mode.to_string()));
            }
            parts.push(part(format!("the sink{of}"), query.sink.describe()));
        }
        let dead_letters = self.dead_letters.iter();
        parts.extend(dead_letters.map(|sink| part("the dead letters".to_owned(), sink.describe())));
        parts
    }
}

impl Query {
    /// Returns a query without name or operators: every row goes to `sink` as it is.
    pub fn new(sink: Box<dyn Sink>) -> Self {
        Self {
            name: String::new(),
            operators: vec![],
            aggregate: None,
            finish: vec![],
            mode: OutputMode::Update,
            late: None,
            sink,
        }
    }

    fn check(&self, has_time: bool) -> Result<()> {
        let Some(aggregate) = &self.aggregate else {
            return Ok(());
        };
        let no_time = "windows close by the event time, and the source has none: give it an event time, or use mode update \
                       or complete";
        let is_timeless = self.mode == OutputMode::Append && !has_time;
        let Some(problem) = aggregate.refusal(self.mode).or(is_timeless.then_some(no_time)) else {
            return Ok(());
        };
        Err(Error::Invalid(format!(
            "{}mode {} is not possible: {problem}",
            self.label(),
            self.mode
        )))
    }

    /// Returns how messages begin that are about the query.
    fn label(&self) -> String {
        match self.name.as_str() {
            "" => String::new(),
            name => format!("query `{name}`: "),
        }
    }

    fn descriptions(&self) -> Vec<String> {
        let operators = self.operators.iter().map(|operator| operator.describe());
        let aggregate = self.aggregate.iter().map(|aggregate| aggregate.describe());
        let finish = self.finish.iter().map(|operator| operator.describe());
        operators.chain(aggregate).chain(finish).collect()
    }
}
