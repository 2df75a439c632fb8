//! From a checked job to a pipeline: sources are made, statements planned, sinks opened.
//!
//! ```text
//! SourcePlans -> columns -> sql::plan of every query -> the columns of each source that any of them uses
//!     -> source and decoder of just those -> Query (operators, aggregate, sink) -> Job
//! ```

mod analysis;
mod explained;
mod input;
mod output;
pub mod probe;

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use connectors::decode::{Decoder, LateLetters};
use connectors::kafka::options::KafkaColumn;
use engine::operator::{Operator, OutputMode};
use engine::pipeline::{EventTime, Input as JobInput, Job, Query, Settings};
use engine::sink::Sink;
use engine::source::Source;
use engine::{Error, Result};

pub use self::analysis::SqlAnalysis;
use self::input::Input;
use self::output::Outside;
use super::plan::{JobPlan, LateRows, Mode, QueryPlan, SinkPlan, SourcePlan};
use crate::job::JobErrors;
use crate::job::records::decoder;
use crate::sql::{Functions, Planned, PlannedInput, Scope};

/// How long a partition without rows holds windows back, unless the job says otherwise: for ever.
const IDLE: Duration = Duration::MAX;

/// A job that can run.
pub struct Built {
    /// The pipeline.
    pub job: Job,
    /// How it runs.
    pub settings: Settings,
    /// Where positions and state are kept.
    pub checkpoint: Option<PathBuf>,
    /// Whether its input has an end.
    pub bounded: bool,
}

/// Why a job can't run.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// What is wrong in the job file.
    #[error(transparent)]
    Job(#[from] JobErrors),
    /// What stands in the way outside of it.
    #[error(transparent)]
    Engine(#[from] Error),
}

/// Returns the pipeline of a job. Secrets are read; servers are asked for nothing but the topics of a pattern.
///
/// # Errors
/// When a statement is wrong or can't run as a stream, or a source or sink can't be made.
pub fn build(plan: &JobPlan) -> Result<Built, BuildError> {
    build_with(plan, &Functions::default())
}

/// Returns the pipeline of a job whose statements may also call `functions`.
///
/// # Errors
/// As [`build`].
pub fn build_with(plan: &JobPlan, functions: &Functions) -> Result<Built, BuildError> {
    let threads = plan.run.threads.or_else(|| std::thread::available_parallelism().ok());
    let threads = threads.unwrap_or(NonZeroUsize::MIN);
    build_between(plan, &mut Outside::new(plan, threads), threads, functions)
}

/// What a job stands between: the outside world, or the memory of a test.
pub(in crate::job) trait Ends {
    /// Returns the source that hands over records with these columns.
    fn source(&mut self, plan: &SourcePlan, columns: &[KafkaColumn]) -> Result<Box<dyn Source>>;

    /// Returns the sink of a query's result. All sinks are made after the sources.
    fn sink(&mut self, query: &QueryPlan, sink: &SinkPlan, planned: &Planned) -> Result<Box<dyn Sink>>;

    /// Returns the sink of dead letters.
    fn dead_letters(&mut self, sink: &SinkPlan) -> Result<Box<dyn Sink>>;
}

/// Returns the pipeline of a job between these ends.
pub(in crate::job) fn build_between(
    plan: &JobPlan,
    ends: &mut dyn Ends,
    threads: NonZeroUsize,
    functions: &Functions,
) -> Result<Built, BuildError> {
    if plan.archive.is_some() {
        let problem = "the job has no query: `millstream replay JOB` archives what its source has";
        return Err(Error::Invalid(problem.to_owned()).into());
    }
    let queries = planned(plan, functions)?;
    let sources = read_by(plan, &queries);
    let input = |source: &&SourcePlan| Input::new(source, &wanted(source, &queries), plan, threads, ends);
    let inputs = sources.iter().map(input).collect::<Result<Vec<_>>>()?;
    let dead_letters = plan.dead_letter.as_ref().map(|sink| ends.dead_letters(sink));
    let dead_letters = dead_letters.transpose()?;
    let mut built = vec![];
    for (query, planned) in written(plan).zip(queries) {
        built.push(build_query(query, planned, &sources, &inputs, ends)?);
    }
    let job = Job {
        inputs: sources
            .into_iter()
            .zip(inputs)
            .map(|(source, input)| job_input(source, input))
            .collect(),
        queries: built,
        dead_letters,
    };
    job.check()?;
    Ok(Built {
        job,
        settings: Settings {
            threads,
            trigger: Some(plan.run.trigger),
            checkpoint_interval: Some(plan.run.checkpoint_interval),
            queue_bytes: usize::try_from(plan.run.queue_bytes).unwrap_or(usize::MAX),
        },
        checkpoint: plan.run.checkpoint.clone(),
        bounded: plan.is_bounded(),
    })
}

fn job_input(source: &SourcePlan, input: Input) -> JobInput {
    JobInput {
        name: source.name.clone(),
        source: input.source,
        operators: input.operators,
        time: source.time.as_ref().map(|time| EventTime {
            column: time.column.clone(),
            lateness: time.lateness,
            idle: time.idle.unwrap_or(IDLE),
        }),
        max_error_ratio: source.max_error_ratio,
    }
}

/// Returns each query's steps as text: the columns that are read, the operators in the order in which rows pass them, the
/// columns of the result; then what is kept, and how it runs.
///
/// # Errors
/// When a statement is wrong or can't run as a stream.
pub fn explain(plan: &JobPlan) -> Result<String, BuildError> {
    let queries = planned(plan, &Functions::default())?;
    let explained = written(plan).zip(&queries);
    let text = |(query, planned): (&QueryPlan, &Planned)| {
        let how = explained::how(planned, query.mode.into());
        let steps = planned.explain();
        let lines = steps.lines().chain(how.iter().map(String::as_str));
        let lines: String = lines.map(|line| format!("  {line}\n")).collect();
        format!("query {} ({}):\n{lines}", query.name, query.mode)
    };
    Ok(explained.map(text).collect::<Vec<_>>().join("\n"))
}

/// Returns the decoder of a source's payloads, with every column that it can make; `None` for payloads as they are.
///
/// # Errors
/// When a format lacks what it needs.
pub fn source_decoder(source: &SourcePlan) -> Result<Option<Arc<dyn Decoder>>> {
    decoder(source, None)
}

/// Returns the plan of every query that has a sink.
///
/// # Errors
/// When a statement is wrong.
pub(super) fn planned(plan: &JobPlan, functions: &Functions) -> Result<Vec<Planned>, BuildError> {
    let mut scope = Scope {
        tables: plan.sources.iter().map(input::table).collect::<Result<_>>()?,
        functions: functions.clone(),
        ..Scope::default()
    };
    let mut queries = vec![];
    for query in &plan.queries {
        // A query without a sink is part of those that read it.
        if query.sink.is_some() {
            let planned = analysis::planned(query, &scope);
            queries.push(planned.map_err(|problem| plan.sql_error(query, &problem))?);
        }
        scope.views.push(analysis::view(query));
    }
    Ok(queries)
}

/// Returns the sources that the queries read.
fn read_by<'a>(plan: &'a JobPlan, queries: &[Planned]) -> Vec<&'a SourcePlan> {
    let is_read = |source: &&SourcePlan| queries.iter().any(|planned| planned.input(&source.name).is_some());
    plan.sources.iter().filter(is_read).collect()
}

/// Returns the queries whose rows go to a sink.
fn written(plan: &JobPlan) -> impl Iterator<Item = &QueryPlan> {
    plan.queries.iter().filter(|query| query.sink.is_some())
}

/// Returns the columns of a source that any query uses, and its event time.
fn wanted(source: &SourcePlan, queries: &[Planned]) -> Vec<String> {
    let inputs = queries.iter().filter_map(|planned| planned.input(&source.name));
    let used = inputs.flat_map(PlannedInput::columns_used);
    let time = source.time.iter().map(|time| time.column.clone());
    used.chain(time).collect::<BTreeSet<_>>().into_iter().collect()
}

fn build_query(
    plan: &QueryPlan,
    planned: Planned,
    sources: &[&SourcePlan],
    inputs: &[Input],
    ends: &mut dyn Ends,
) -> Result<Query> {
    let Some(sink) = &plan.sink else {
        return Err(Error::Invalid(format!("query {}: expected a sink", plan.name)));
    };
    let sink = ends.sink(plan, sink, &planned)?;
    let input_of = |table: &str| {
        let number = sources.iter().position(|source| source.name == table);
        let number = number.expect("the sources are those that queries read");
        (number, &*inputs[number].schema)
    };
    let query = planned.into_query_over(input_of, plan.mode.into(), sink);
    let query = query.map_err(|error| Error::Invalid(format!("query {}: {error}", plan.name)))?;
    Ok(Query {
        name: plan.name.clone(),
        late: (plan.late == LateRows::DeadLetter).then(|| Arc::new(LateLetters::new(&plan.name)) as Arc<dyn Operator>),
        ..query
    })
}

impl From<Mode> for OutputMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Append => Self::Append,
            Mode::Update => Self::Update,
            Mode::Complete => Self::Complete,
        }
    }
}
