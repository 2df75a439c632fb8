//! What a job is: what is read, each source once, and the queries that work on it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Schema, SchemaRef, TimeUnit};

use crate::checkpoint::JobPart;
use crate::error::{Error, Result};
use crate::operator::expression::column_index;
use crate::operator::{Operator, OutputMode, StatefulOperator};
use crate::sink::Sink;
use crate::source::Source;

/// A pipeline, ready to run.
pub struct Job {
    /// What is read; at least one, and no partition by two of them.
    pub inputs: Vec<Input>,
    /// What is computed.
    pub queries: Vec<Query>,
    /// Where rows go that operators put aside; without one they are only counted.
    pub dead_letters: Option<Box<dyn Sink>>,
}

/// What is read of one source, and what becomes of it before the queries take it.
pub struct Input {
    /// Its name in messages; the only input of a job may do without.
    pub name: String,
    /// What is read.
    pub source: Box<dyn Source>,
    /// What happens to each batch before the queries take it, once for all of them: decoding. Their batches are handed to
    /// several queries by reference, unless they hold spans.
    pub operators: Vec<Arc<dyn Operator>>,
    /// Which column is the event time, if windows depend on it.
    pub time: Option<EventTime>,
    /// The share of rows, 0 to 1, that may be undecodable before the job stops with [`Error::TooManyBadRows`]; `None`: any.
    pub max_error_ratio: Option<f64>,
}

/// One way from the decoded rows to a sink.
pub struct Query {
    /// Its name in messages; the only query of a job may do without.
    pub name: String,
    /// What it reads; at least one input, each once. All branches end in the same columns.
    pub branches: Vec<Branch>,
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

/// What a query makes of the batches of one input.
pub struct Branch {
    /// The number of the input in its job.
    pub input: usize,
    /// What happens to each batch, in order.
    pub operators: Vec<Arc<dyn Operator>>,
}

/// The time at which the rows' events happened, and how long to wait for those that come late.
///
/// The watermark is the least of the partitions' newest event times, minus `lateness`; it never goes back, and moves at
/// the end of a micro-batch. A job has one: the partitions of all inputs with an event time count. A partition that has ended does not hold it back. One that has been silent for `idle` does
/// not either while another is not silent, unless its input is bounded: then its rows or its end are sure to come, and a
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
        Self::over(Input::new(source), query)
    }

    /// Returns the job of one query over one input.
    pub fn over(input: Input, query: Query) -> Self {
        Self {
            inputs: vec![input],
            queries: vec![query],
            dead_letters: None,
        }
    }

    /// Checks what can be checked without running: inputs, queries, modes, event times, the sinks.
    ///
    /// # Errors
    /// What is not valid, and what would be.
    pub fn check(&self) -> Result<()> {
        if self.queries.is_empty() {
            return Err(Error::Invalid("the job has no query".to_owned()));
        }
        check_names("queries", self.queries.iter().map(|query| &query.name))?;
        check_names("inputs", self.inputs.iter().map(|input| &input.name))?;
        for input in &self.inputs {
            input.time_column()?;
        }
        self.queries.iter().try_for_each(|query| query.check(&self.inputs))?;
        self.check_all_are_read()?;
        self.check_late()?;
        self.check_sinks()
    }

    /// An input that no query takes would be read for nothing, and hold the watermark back.
    fn check_all_are_read(&self) -> Result<()> {
        let is_read = |number: usize| self.queries.iter().any(|query| query.branch(number).is_some());
        match self.inputs.iter().enumerate().find(|(number, _)| !is_read(*number)) {
            Some((_, input)) => Err(Error::Invalid(format!("no query reads the input `{}`", input.name))),
            None => Ok(()),
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
        let mut parts = vec![];
        for input in &self.inputs {
            let of = self.of_input(input);
            let source = match self.inputs.len() {
                1 => "the source".to_owned(),
                _ => format!("the source {}", input.name),
            };
            parts.push(part(source, input.source.describe()));
            for (number, operator) in (1..).zip(&input.operators) {
                parts.push(part(format!("operator {number}{of}"), operator.describe()));
            }
            let time = input.time.iter();
            parts.extend(time.map(|time| part(format!("the event time{of}"), time.column.clone())));
        }
        for query in &self.queries {
            let of = match self.queries.len() {
                1 => String::new(),
                _ => format!(" of query {}", query.name),
            };
            let mut steps_before = 0;
            for branch in &query.branches {
                let input = &self.inputs[branch.input];
                let of = format!("{of}{}", self.over_input(input));
                let first = input.operators.len() + 1;
                for (number, operator) in (first..).zip(&branch.operators) {
                    parts.push(part(format!("operator {number}{of}"), operator.describe()));
                }
                steps_before = steps_before.max(input.operators.len() + branch.operators.len());
            }
            for (number, description) in (steps_before + 1..).zip(query.descriptions()) {
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

    fn of_input(&self, input: &Input) -> String {
        match self.inputs.len() {
            1 => String::new(),
            _ => format!(" of source {}", input.name),
        }
    }

    fn over_input(&self, input: &Input) -> String {
        match self.inputs.len() {
            1 => String::new(),
            _ => format!(" over source {}", input.name),
        }
    }
}

impl Input {
    /// Returns an input without name, operators or event time.
    pub fn new(source: Box<dyn Source>) -> Self {
        Self {
            name: String::new(),
            source,
            operators: vec![],
            time: None,
            max_error_ratio: None,
        }
    }

    /// Returns the columns of the batches that the queries take.
    pub fn schema(&self) -> SchemaRef {
        let last = self.operators.last();
        last.map_or_else(|| self.source.schema(), |operator| operator.schema())
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
}

impl Branch {
    /// Returns the branches of a query over the only input of its job.
    pub fn only(operators: Vec<Arc<dyn Operator>>) -> Vec<Self> {
        vec![Self { input: 0, operators }]
    }

    fn schema(&self, input: &Input) -> SchemaRef {
        let last = self.operators.last();
        last.map_or_else(|| input.schema(), |operator| operator.schema())
    }
}

impl Query {
    /// Returns a query without name or operators: every row of the only input goes to `sink` as it is.
    pub fn new(sink: Box<dyn Sink>) -> Self {
        Self {
            name: String::new(),
            branches: Branch::only(vec![]),
            aggregate: None,
            finish: vec![],
            mode: OutputMode::Update,
            late: None,
            sink,
        }
    }

    /// Returns what it makes of an input, if it reads it.
    pub(super) fn branch(&self, input: usize) -> Option<&Branch> {
        self.branches.iter().find(|branch| branch.input == input)
    }

    fn check(&self, inputs: &[Input]) -> Result<()> {
        self.check_branches(inputs)?;
        let has_time = self.branches.iter().all(|branch| inputs[branch.input].time.is_some());
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

    fn check_branches(&self, inputs: &[Input]) -> Result<()> {
        let invalid = |problem: String| Err(Error::Invalid(format!("{}{problem}", self.label())));
        let mut seen = BTreeSet::new();
        let mut schemas = vec![];
        for branch in &self.branches {
            match inputs.get(branch.input) {
                Some(input) if seen.insert(branch.input) => schemas.push(branch.schema(input)),
                Some(input) => return invalid(format!("it has two branches over the input `{}`", input.name)),
                None => return invalid(format!("the job has no input {}", branch.input)),
            }
        }
        let Some((first, others)) = schemas.split_first() else {
            return invalid("it reads no input".to_owned());
        };
        match others.iter().find(|other| !has_same_columns(first, other)) {
            Some(other) => invalid(format!("its branches end in different columns: {first} and {other}")),
            None => Ok(()),
        }
    }

    /// Returns how messages begin that are about the query.
    fn label(&self) -> String {
        match self.name.as_str() {
            "" => String::new(),
            name => format!("query `{name}`: "),
        }
    }

    fn descriptions(&self) -> Vec<String> {
        let aggregate = self.aggregate.iter().map(|aggregate| aggregate.describe());
        let finish = self.finish.iter().map(|operator| operator.describe());
        aggregate.chain(finish).collect()
    }
}

fn check_names<'a>(what: &str, names: impl Iterator<Item = &'a String>) -> Result<()> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(Error::Invalid(format!("two {what} are called `{name}`")));
        }
    }
    Ok(())
}

/// Whether names and types are the same; a column that may be null in one branch only is null-able in both.
fn has_same_columns(first: &Schema, other: &Schema) -> bool {
    let columns = |schema: &Schema| -> Vec<_> {
        let fields = schema.fields().iter();
        fields
            .map(|field| (field.name().clone(), field.data_type().clone()))
            .collect()
    };
    columns(first) == columns(other)
}
