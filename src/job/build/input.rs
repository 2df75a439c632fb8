//! The source of a job, with its decoder.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use connectors::decode::{DecodeRows, KeepRecords, record_field};
use connectors::file::{FileOptions, FileSource};
use connectors::generate::GenerateSource;
use connectors::kafka::options::KafkaColumn;
use connectors::kafka::source::KafkaSource;
use connectors::parquet::source::{ParquetSource, ParquetSourceOptions};
use engine::Result;
use engine::operator::Operator;
use engine::operator::late::RECORD_COLUMN;
use engine::source::Source;

use super::Ends;
use crate::job::plan::BadRows as BadRowsPlan;
use crate::job::plan::{FormatPlan, JobPlan, SourceKind, SourcePlan};
use crate::job::records::{decoder, kafka_options};
use crate::sql::Table;
use crate::wildcard;

/// The column of every source that holds the payload.
const VALUE: &str = "value";

/// What the queries of a job read of one source.
pub(super) struct Input {
    pub(super) source: Box<dyn Source>,
    pub(super) operators: Vec<Arc<dyn Operator>>,
    /// The columns that the queries see.
    pub(super) schema: SchemaRef,
}

/// Returns a source as queries see it: with every column that it can have.
///
/// # Errors
/// When its format is not one, or its columns do not fit it.
pub(super) fn table(source: &SourcePlan) -> Result<Table> {
    // The rows of Parquet files were made of no records.
    let (schema, record) = match parquet_files(source)? {
        Some(options) => (ParquetSource::new(options)?.schema(), None),
        None => (decoded(source)?, Some(record_field())),
    };
    Ok(Table {
        name: source.name.clone(),
        schema,
        event_time: source.time.as_ref().map(|time| time.column.clone()),
        bounded: is_bounded(&source.kind),
        record,
    })
}

/// Returns every column that a source's decoder can make, and those of its records.
fn decoded(source: &SourcePlan) -> Result<SchemaRef> {
    let input = SourceColumns::of(source, KafkaColumn::ALL);
    let operators = decoding(source, &input.schema(), None, None)?;
    Ok(operators
        .last()
        .map_or_else(|| input.schema(), |operator| operator.schema()))
}

/// Returns what is read of files that need no decoder; `None` for all other sources.
fn parquet_files(source: &SourcePlan) -> Result<Option<ParquetSourceOptions>> {
    match &source.kind {
        SourceKind::File { paths } if matches!(source.formats[..], [FormatPlan::Parquet]) => {
            Ok(Some(ParquetSourceOptions::new(matching(paths)?)))
        }
        _ => Ok(None),
    }
}

fn is_bounded(kind: &SourceKind) -> bool {
    match kind {
        SourceKind::Kafka(kafka) => kafka.to.is_some(),
        SourceKind::File { .. } => true,
        SourceKind::Generate(options) => options.lines.is_some(),
    }
}

/// The columns that a source's batches have before they are decoded.
struct SourceColumns(Vec<KafkaColumn>);

impl SourceColumns {
    /// Files and the generator have the value only.
    fn of(source: &SourcePlan, columns: &[KafkaColumn]) -> Self {
        match source.kind {
            SourceKind::Kafka(_) => Self(columns.to_vec()),
            _ => Self(vec![KafkaColumn::Value]),
        }
    }

    fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(
            self.0.iter().map(|column| column.field()).collect::<Vec<_>>(),
        ))
    }
}

impl Input {
    /// Returns the source and its decoder for the columns `wanted`.
    pub(super) fn new(
        source: &SourcePlan,
        wanted: &[String],
        job: &JobPlan,
        threads: NonZeroUsize,
        ends: &mut dyn Ends,
    ) -> Result<Self> {
        let keeps_records = wanted.iter().any(|name| name == RECORD_COLUMN);
        if let Some(mut options) = parquet_files(source)? {
            options.columns = Some(wanted.to_vec());
            options.batch_rows_max = job.run.batch_rows.get();
            options.threads = threads.get();
            let source = ParquetSource::new(options)?;
            return Ok(Self {
                schema: source.schema(),
                source: Box::new(source),
                operators: vec![],
            });
        }
        let mut kept = kept(source, wanted)?;
        let needs_all = keeps_records || matches!(source.on_bad, BadRowsPlan::DeadLetter | BadRowsPlan::Fail);
        let is_needed = |column: &KafkaColumn| {
            let name = column.field().name().clone();
            needs_all || name == VALUE || kept.contains(&name)
        };
        let columns: Vec<_> = KafkaColumn::ALL.iter().copied().filter(is_needed).collect();
        let columns = SourceColumns::of(source, &columns);
        let mut operators: Vec<Arc<dyn Operator>> = vec![];
        if keeps_records {
            operators.push(Arc::new(KeepRecords::new(&columns.schema())));
            kept.push(RECORD_COLUMN.to_owned());
        }
        let after = |operators: &[Arc<dyn Operator>]| {
            let last = operators.last();
            last.map_or_else(|| columns.schema(), |operator| operator.schema())
        };
        operators.extend(decoding(source, &after(&operators), Some(wanted), Some(&kept))?);
        let schema = after(&operators);
        Ok(Self {
            source: ends.source(source, &columns.0)?,
            operators,
            schema,
        })
    }
}

/// Returns the columns of the source that are kept beside the decoded ones, by the names that the source gives them.
fn kept(source: &SourcePlan, wanted: &[String]) -> Result<Vec<String>> {
    let Some(decoder) = decoder(source, None)? else {
        return Ok(wanted.to_vec());
    };
    let columns = SourceColumns::of(source, KafkaColumn::ALL).schema();
    Ok(DecodeRows::kept(&decoder.schema(), &columns, wanted))
}

/// Returns the operator that decodes, unless payloads are taken as they are.
fn decoding(
    source: &SourcePlan,
    input: &Schema,
    wanted: Option<&[String]>,
    kept: Option<&[String]>,
) -> Result<Vec<Arc<dyn Operator>>> {
    let Some(decoder) = decoder(source, wanted)? else {
        return Ok(vec![]);
    };
    let decode = DecodeRows::new(decoder, input, kept, source.on_bad.into())?;
    Ok(vec![Arc::new(decode)])
}

/// Returns the source, and the topics that it reads: those of a pattern are asked of the brokers.
pub(super) fn open(
    plan: &SourcePlan,
    columns: &[KafkaColumn],
    job: &JobPlan,
    threads: NonZeroUsize,
) -> Result<(Box<dyn Source>, Vec<String>)> {
    match &plan.kind {
        SourceKind::Kafka(kafka) => {
            let mut options = kafka_options(kafka)?;
            options.columns = columns.to_vec();
            options.batch_rows_max = job.run.batch_rows.get();
            let source = KafkaSource::new(options)?;
            let topics = source.topics()?;
            Ok((Box::new(source), topics))
        }
        SourceKind::File { paths } => {
            let mut options = FileOptions::new(matching(paths)?);
            options.batch_rows_max = job.run.batch_rows.get();
            options.threads = threads.get();
            Ok((Box::new(FileSource::new(options)?), vec![]))
        }
        SourceKind::Generate(options) => Ok((Box::new(GenerateSource::new(*options)?), vec![])),
    }
}

/// Returns the files that the paths name; wildcards stand for what matches, in the order of the names.
pub(super) fn matching(paths: &[String]) -> Result<Vec<PathBuf>> {
    let mut found = vec![];
    for path in paths {
        match wildcard::is_pattern(path) {
            true => found.extend(wildcard::files(path)?),
            false => found.push(PathBuf::from(path)),
        }
    }
    Ok(found)
}
