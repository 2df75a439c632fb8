//! How the records of a source are read and decoded, as its job says.

use std::sync::Arc;

use connectors::decode::list::List;
use connectors::decode::registry::{self, FormatOptions, Setting};
use connectors::decode::{BadRows, ColumnType, DeclaredColumn, Decoder, TimeFormat, TimeSettings};
use connectors::kafka::options::SourceOptions;
use engine::{Error, Result};

use super::plan::BadRows as BadRowsPlan;
use super::plan::{ColumnPlan, ColumnType as ColumnTypePlan, FormatPlan, KafkaSourcePlan, SourcePlan, Topics};

impl From<BadRowsPlan> for BadRows {
    fn from(plan: BadRowsPlan) -> Self {
        match plan {
            BadRowsPlan::DeadLetter => Self::DeadLetter,
            BadRowsPlan::Null => Self::Null,
            BadRowsPlan::Skip => Self::Skip,
            BadRowsPlan::Fail => Self::Fail,
        }
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
