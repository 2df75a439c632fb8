//! `kafka('topic', ...)` in `FROM`: a topic from its earliest record to what is there now, unless the call says otherwise.

use std::num::NonZeroUsize;
use std::sync::Arc;

use arrow::datatypes::Schema;
use connectors::decode::{BadRows, DecodeRows, Decoder};
use connectors::kafka::options::{End, KafkaColumn, SourceOptions, Start};
use connectors::kafka::source::KafkaSource;
use connectors::spelling;
use engine::operator::Operator;
use engine::source::Source;
use engine::{Error, Result};

use super::super::format::Format;
use super::super::kafka::ConnectionArguments;
use super::input::Opened;
use crate::sql::{Call, Reference};

/// The function.
pub(super) const FUNCTION: &str = "kafka";

/// The names of the arguments after the topic, as errors list them.
const NAMES: &[&str] = &["brokers", "from", "to", "format", "columns", "pattern", "zone"];

/// The client's name in the brokers' logs. Nothing is committed to such a group.
const GROUP: &str = "millstream-query";

/// The column of the payloads.
const VALUE: &str = "value";

/// A topic to read, as a call says it.
#[derive(Clone, Debug)]
pub(super) struct Topic {
    name: String,
    topic: String,
    brokers: String,
    from: Start,
    to: End,
    format: Format,
}

impl Topic {
    /// Returns the topic of a call; what it does not say is taken from the command line.
    ///
    /// # Errors
    /// When an argument is missing, unknown or not valid.
    pub(super) fn new(
        reference: &Reference,
        call: &Call,
        connection: &ConnectionArguments,
        format: &Format,
    ) -> Result<Self> {
        let invalid = |problem: String| Error::Invalid(format!("{}: {problem}", reference.name));
        let mut topic = None;
        let mut found = Self {
            name: reference.name.clone(),
            topic: String::new(),
            brokers: connection.brokers.clone().unwrap_or_default(),
            from: Start::Earliest,
            to: End::Latest,
            format: format.clone(),
        };
        for (name, value) in &call.arguments {
            let read = match name.as_deref() {
                None if topic.is_none() => {
                    topic = Some(value.clone());
                    Ok(())
                }
                None => Err(format!(
                    "one topic is expected, `{value}` is one more: name the argument, as in format => 'json'"
                )),
                Some("brokers") => {
                    found.brokers.clone_from(value);
                    Ok(())
                }
                Some("from") => text_error(value.parse()).map(|from| found.from = from),
                Some("to") => text_error(value.parse()).map(|to| found.to = to),
                Some(name) if NAMES.contains(&name) => found.format.set(name, value),
                Some(name) => Err(format!(
                    "there is no argument `{name}`; there are: {}{}",
                    NAMES.join(", "),
                    spelling::hint(name, NAMES.iter().copied())
                )),
            };
            read.map_err(invalid)?;
        }
        found.topic = topic.ok_or_else(|| invalid("a topic is expected, as in kafka('nginx')".to_owned()))?;
        match found.brokers.is_empty() {
            true => Err(invalid(
                "no brokers: write brokers => 'HOST:PORT', or give --brokers".to_owned(),
            )),
            false => Ok(found),
        }
    }

    /// Returns the source, for the columns `wanted` or all.
    ///
    /// # Errors
    /// When the format or the connection's settings are not valid. No broker is asked yet.
    pub(super) fn open(
        &self,
        connection: &ConnectionArguments,
        threads: NonZeroUsize,
        wanted: Option<&[String]>,
    ) -> Result<Opened> {
        let decoder = self.format.decoder(wanted)?;
        let mut options = SourceOptions::new(connection.connection(&self.brokers)?, vec![self.topic.clone()], GROUP);
        options.commits = false;
        options.from = self.from.clone();
        options.to = Some(self.to.clone());
        options.readers = threads.get();
        options.columns = columns(decoder.as_deref(), wanted);
        let source = KafkaSource::new(options)?;
        let mut operators: Vec<Arc<dyn Operator>> = vec![];
        if let Some(decoder) = decoder {
            // Of what the source hands over, all that is wanted beside the payload was asked for.
            operators.push(Arc::new(DecodeRows::new(
                decoder,
                &source.schema(),
                None,
                BadRows::Skip,
            )?));
        }
        let schema = operators
            .last()
            .map_or_else(|| source.schema(), |operator| operator.schema());
        Ok(Opened {
            name: self.name.clone(),
            source: Box::new(source),
            operators,
            schema,
        })
    }
}

fn text_error<T>(read: Result<T>) -> Result<T, String> {
    read.map_err(|error| error.to_string())
}

/// Returns the columns that the source hands over for those `wanted`, or all.
fn columns(decoder: Option<&dyn Decoder>, wanted: Option<&[String]>) -> Vec<KafkaColumn> {
    let Some(wanted) = wanted else {
        return KafkaColumn::ALL.to_vec();
    };
    let all: Vec<_> = KafkaColumn::ALL.iter().map(|column| column.field()).collect();
    let kept = match decoder {
        Some(decoder) => DecodeRows::kept(&decoder.schema(), &Schema::new(all), wanted),
        None => wanted.to_vec(),
    };
    let is_needed = |column: &KafkaColumn| column.name() == VALUE || kept.iter().any(|name| name == column.name());
    KafkaColumn::ALL.iter().copied().filter(is_needed).collect()
}
