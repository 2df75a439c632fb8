//! The source of a job, with its decoder.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use connectors::decode::list::List;
use connectors::decode::registry::{self, FormatOptions, Setting};
use connectors::decode::{
    BadRows, ColumnType, DeclaredColumn, DecodeRows, Decoder, KeepRecords, TimeFormat, TimeSettings, record_field,
};
use connectors::file::{FileOptions, FileSource};
use connectors::generate::GenerateSource;
use connectors::kafka::options::{KafkaColumn, SourceOptions};
use connectors::kafka::source::KafkaSource;
use connectors::parquet::source::{ParquetSource, ParquetSourceOptions};
use engine::operator::Operator;
use engine::operator::late::RECORD_COLUMN;
use engine::source::Source;
use engine::{Error, Result};

use super::Ends;
use crate::job::plan::BadRows as BadRowsPlan;
use crate::job::plan::{
    ColumnPlan, ColumnType as ColumnTypePlan, FormatPlan, JobPlan, KafkaSourcePlan, SourceKind, SourcePlan, Topics,
};
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
    let bad_rows = match source.on_bad {
        BadRowsPlan::DeadLetter => BadRows::DeadLetter,
        BadRowsPlan::Null => BadRows::Null,
        BadRowsPlan::Skip => BadRows::Skip,
        BadRowsPlan::Fail => BadRows::Fail,
    };
    Ok(vec![Arc::new(DecodeRows::new(decoder, input, kept, bad_rows)?)])
}

/// Returns the decoder of the source's formats; `None` for payloads as they are.
pub(super) fn decoder(source: &SourcePlan, wanted: Option<&[String]>) -> Result<Option<Arc<dyn Decoder>>> {
    if matches!(source.formats[..], [FormatPlan::Raw]) {
        return Ok(None);
    }
    let build = |format: &FormatPlan| {
        let decoder = format_decoder(format, source, wanted)
            .map_err(|error| Error::Invalid(format!("source {}: {error}", source.name)))?;
        Ok((format.name().to_owned(), decoder))
    };
    let mut formats = source.formats.iter().map(build).collect::<Result<Vec<_>>>()?;
    if formats.len() == 1 {
        return Ok(formats.pop().map(|(_, decoder)| decoder));
    }
    Ok(Some(Arc::new(List::new(formats, wanted)?)))
}

fn format_decoder(format: &FormatPlan, source: &SourcePlan, wanted: Option<&[String]>) -> Result<Arc<dyn Decoder>> {
    let entry = registry::find(format.name())?;
    let mut options = FormatOptions {
        time: TimeSettings {
            zone: source.time_zone.parse().map_err(Error::Invalid)?,
            ..TimeSettings::default()
        },
        wanted: wanted.map(<[String]>::to_vec),
        ..FormatOptions::default()
    };
    if entry.takes.contains(&Setting::Columns) {
        options.columns = source.columns.iter().map(declared).collect::<Result<_>>()?;
    }
    match format {
        FormatPlan::Regex(pattern) => options.pattern = Some(pattern.clone()),
        FormatPlan::Grok { pattern, patterns } => {
            options.pattern = Some(pattern.clone());
            options.patterns.clone_from(patterns);
        }
        FormatPlan::Delimited { delimiter, header } => {
            options.delimiter = Some(*delimiter);
            options.header = *header;
        }
        FormatPlan::Avro(avro) => options.avro = Some(avro.load()?),
        _ => {}
    }
    (entry.build)(&options)
}

fn declared(column: &ColumnPlan) -> Result<DeclaredColumn> {
    let column_type = match &column.column_type {
        ColumnTypePlan::String => ColumnType::Text,
        ColumnTypePlan::Int => ColumnType::Int,
        ColumnTypePlan::Float => ColumnType::Float,
        ColumnTypePlan::Bool => ColumnType::Bool,
        ColumnTypePlan::Bytes => ColumnType::Bytes,
        ColumnTypePlan::Timestamp { format } => ColumnType::Timestamp(match format {
            Some(format) => format.parse().map_err(Error::Invalid)?,
            None => TimeFormat::Auto,
        }),
    };
    Ok(DeclaredColumn {
        name: column.name.clone(),
        column_type,
    })
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

/// Returns how a source reads its topics; secrets are read.
pub(super) fn kafka_options(kafka: &KafkaSourcePlan) -> Result<SourceOptions> {
    let (topics, pattern) = match &kafka.topics {
        Topics::Names(names) => (names.clone(), None),
        Topics::Pattern(pattern) => (vec![], Some(pattern.clone())),
    };
    let mut options = SourceOptions::new(kafka.connection.connect()?, topics, kafka.group.as_str());
    options.topic_pattern = pattern;
    options.from.clone_from(&kafka.from);
    options.to.clone_from(&kafka.to);
    options.on_data_loss = kafka.on_data_loss;
    options.read_committed = kafka.read_committed;
    options.readers = kafka.readers.get();
    options.client = kafka.client;
    Ok(options)
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
