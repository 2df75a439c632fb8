//! Sources: what is read, how it is decoded, and its event time.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, Schema};
use connectors::generate::{GenerateOptions, Shape};
use connectors::kafka::options::{KafkaColumn, check_times};

use super::Checker;
use super::connection::ConnectionKeys;
use crate::job::error::Report;
use crate::job::file::{
    self, BadRows, Column, Delimited, EventTime, Format, FormatKind, GenerateSource, GrokPattern, JobTables,
    KafkaSource, Source, SourceKeys,
};
use crate::job::form::one_of;
use crate::job::nearest;
use crate::job::place::{At, Place};
use crate::job::plan::{ColumnPlan, ColumnType, FormatPlan, KafkaSourcePlan, SourceKind, SourcePlan, TimePlan, Topics};
use crate::job::value::Topic;

/// Returns how many sources of a file are Kafka's.
pub(super) fn kafka_sources(tables: &JobTables) -> usize {
    let sources = tables.source.found().map_or(&[][..], |sources| &sources.value.0);
    let is_kafka = |source: &Source| matches!(source.kind, file::SourceKind::Kafka(_));
    sources.iter().filter(|(_, source)| is_kafka(&source.value)).count()
}

impl SourceKind {
    /// Returns what is read, as messages call it, as far as names tell: not what patterns and wildcards stand for.
    pub(super) fn streams(&self) -> impl Iterator<Item = String> {
        let names: Vec<_> = match self {
            Self::Kafka(kafka) => match &kafka.topics {
                Topics::Names(names) => names.iter().map(|name| format!("the topic {name}")).collect(),
                Topics::Pattern(_) => vec![],
            },
            Self::File { paths } => paths.iter().map(|path| format!("the file {path}")).collect(),
            Self::Generate(_) => vec!["the generator".to_owned()],
        };
        names.into_iter()
    }
}

impl Topics {
    /// Returns whether a topic is one of these.
    pub(crate) fn contain(&self, topic: &str) -> bool {
        match self {
            Self::Names(names) => names.iter().any(|name| name == topic),
            // Whether a pattern matches is for who reads the list of topics.
            Self::Pattern(_) => false,
        }
    }
}

impl Checker<'_> {
    pub(super) fn source(&mut self, name: &At<String>, source: &At<Source>) -> Option<SourcePlan> {
        self.check_name("source", name);
        let Source { common, kind } = &source.value;
        let kind_plan = match kind {
            file::SourceKind::Kafka(kafka) => self.kafka(&name.value, kafka, source.place).map(SourceKind::Kafka),
            file::SourceKind::File(file) => Some(SourceKind::File {
                paths: file.paths.value.0.iter().map(|path| path.value.0.clone()).collect(),
            }),
            file::SourceKind::Generate(generate) => Some(SourceKind::Generate(options(generate))),
        };
        let formats: Vec<_> = common
            .format
            .value
            .0
            .iter()
            .filter_map(|format| self.format(format, kind))
            .collect();
        let columns: Vec<_> = match &common.columns {
            Some(columns) => columns
                .value
                .0
                .iter()
                .map(|(name, column)| column_plan(name, column))
                .collect(),
            None => vec![],
        };
        if let Some(time) = &common.time {
            self.check_declared_time(&time.value, &formats, &columns);
        }
        Some(SourcePlan {
            name: name.value.clone(),
            kind: kind_plan?,
            formats,
            columns,
            time_zone: common.time_zone.value.0.clone(),
            time: common.time.as_ref().map(|time| time_plan(&time.value)),
            on_bad: self.on_bad(common),
            max_error_ratio: common.max_error_ratio.as_ref().map(|ratio| ratio.value.0),
            place: name.place,
            time_place: common.time.as_ref().map(|time| time.value.column.place),
        })
    }

    fn kafka(&mut self, name: &str, source: &KafkaSource, place: Place) -> Option<KafkaSourcePlan> {
        let connection = self.connection(ConnectionKeys::from(source));
        self.clusters.push(connection.clone());
        let topics = self.topics(source, place);
        let to = source.to.as_ref();
        if let Some(to) = to {
            self.report
                .check(to.place, check_times(&source.from.value, Some(&to.value)));
        }
        let group = source.group.as_ref().map(|group| group.value.0.clone());
        Some(KafkaSourcePlan {
            connection,
            topics: topics?,
            group: group.unwrap_or_else(|| match self.shares_group {
                true => format!("millstream-{}", self.job),
                false => format!("millstream-{}-{name}", self.job),
            }),
            from: source.from.value.clone(),
            to: to.map(|to| to.value.clone()),
            on_data_loss: source.on_data_loss.value,
            read_committed: !source.read_uncommitted.value,
            readers: source.readers.value,
            client: source.client.value,
        })
    }

    fn topics(&mut self, source: &KafkaSource, place: Place) -> Option<Topics> {
        match (&source.topic, &source.topics, &source.topic_pattern) {
            (Some(topic), None, None) => Some(Topics::Names(vec![topic.value.0.clone()])),
            (None, Some(topics), None) if topics.value.is_empty() => {
                self.report.error(topics.place, "expected at least one topic");
                None
            }
            (None, Some(topics), None) => Some(self.topic_names(&topics.value)),
            (None, None, Some(pattern)) => Some(Topics::Pattern(pattern.value.0.clone())),
            (None, None, None) => {
                self.report.error(
                    place,
                    "missing the topics: expected `topic`, `topics` or `topic_pattern`",
                );
                None
            }
            (topic, topics, pattern) => {
                let places = [
                    topic.as_ref().map(|key| key.place),
                    topics.as_ref().map(|key| key.place),
                    pattern.as_ref().map(|key| key.place),
                ];
                let last = places.into_iter().flatten().max().unwrap_or(place);
                self.report
                    .error(last, "expected only one of `topic`, `topics` and `topic_pattern`");
                None
            }
        }
    }

    fn topic_names(&mut self, topics: &[At<Topic>]) -> Topics {
        let mut names: Vec<String> = vec![];
        for topic in topics {
            let name = &topic.value.0;
            match names.contains(name) {
                true => self
                    .report
                    .error(topic.place, format!("the topic {name} is named twice")),
                false => names.push(name.clone()),
            }
        }
        Topics::Names(names)
    }

    fn format(&mut self, format: &At<Format>, source: &file::SourceKind) -> Option<FormatPlan> {
        let is_file = matches!(source, file::SourceKind::File(_));
        Some(match &format.value.kind {
            FormatKind::Lines(_) => FormatPlan::Lines,
            FormatKind::Raw(_) => FormatPlan::Raw,
            FormatKind::Json(_) => FormatPlan::Json,
            FormatKind::Logfmt(_) => FormatPlan::Logfmt,
            FormatKind::Common(_) => FormatPlan::Common,
            FormatKind::Combined(_) => FormatPlan::Combined,
            FormatKind::Syslog(_) => FormatPlan::Syslog,
            FormatKind::Csv(keys) => delimited(keys, b','),
            FormatKind::Tsv(keys) => delimited(keys, b'\t'),
            FormatKind::Regex(regex) => FormatPlan::Regex(regex.pattern.value.0.clone()),
            FormatKind::Grok(grok) => FormatPlan::Grok {
                pattern: grok.pattern.value.0.clone(),
                patterns: own_patterns(grok),
            },
            FormatKind::Avro(_) if !matches!(source, file::SourceKind::Kafka(_)) => {
                let message = "avro is a format of records, not of lines: it goes with kind = \"kafka\"";
                self.report.error(format.place, message);
                return None;
            }
            FormatKind::Avro(avro) => {
                FormatPlan::Avro(self.avro(&avro.schema, avro.framing, avro.schema_id.as_ref())?)
            }
            FormatKind::Parquet(_) if !is_file => {
                self.report.error(
                    format.place,
                    "parquet is a format of files: it goes with kind = \"file\"",
                );
                return None;
            }
            FormatKind::Parquet(_) => FormatPlan::Parquet,
        })
    }

    /// What can be told of the event time when all columns are those that the job declares.
    fn check_declared_time(&mut self, time: &EventTime, formats: &[FormatPlan], columns: &[ColumnPlan]) {
        let is_declared = |format: &FormatPlan| matches!(format, FormatPlan::Json | FormatPlan::Logfmt);
        let name = time.column.value.0.as_str();
        if columns.is_empty() || !formats.iter().all(is_declared) || name == KafkaColumn::Timestamp.name() {
            return;
        }
        match columns.iter().find(|column| column.name == name) {
            Some(column) if matches!(column.column_type, ColumnType::Timestamp { .. }) => {}
            Some(_) => self.report.error(
                time.column.place,
                format!("`{name}` is declared, but not as a timestamp"),
            ),
            None => {
                let names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
                let message = no_column(name, &names);
                self.report.error(time.column.place, message);
            }
        }
    }

    fn on_bad(&mut self, common: &SourceKeys) -> BadRows {
        match &common.on_bad {
            Some(policy) => {
                // An archive has none, and says so.
                if policy.value == BadRows::DeadLetter && !self.is_archive {
                    self.need_dead_letter(policy.place);
                }
                policy.value
            }
            None if self.has_dead_letter => BadRows::DeadLetter,
            None => BadRows::Fail,
        }
    }

    pub(super) fn need_dead_letter(&mut self, place: Place) {
        if !self.has_dead_letter {
            self.report.error(place, "there is no [dead_letter] for them to go to");
        }
    }
}

/// Checks that a source has the column of its event time, and that it is one.
pub(super) fn check_time(source: &SourcePlan, schema: &Schema, report: &mut Report) {
    let Some((time, place)) = source.time.as_ref().zip(source.time_place) else {
        return;
    };
    match schema.column_with_name(&time.column) {
        Some((_, field)) if matches!(field.data_type(), DataType::Timestamp(..)) => {}
        Some((_, field)) => {
            let message = format!("expected a timestamp, but `{}` is {}", time.column, field.data_type());
            report.error(place, message);
        }
        None => report.error(place, no_column(&time.column, &names(schema))),
    }
}

pub(super) fn names(schema: &Schema) -> Vec<&str> {
    schema.fields().iter().map(|field| field.name().as_str()).collect()
}

/// Returns the error about a column that is not there.
pub(super) fn no_column(name: &str, names: &[&str]) -> String {
    let hint = nearest::hint(name, names.iter().copied());
    match hint.is_empty() {
        true => format!("there is no column `{name}`: expected {}", one_of(names)),
        false => format!("there is no column `{name}`{hint}"),
    }
}

fn options(source: &GenerateSource) -> GenerateOptions {
    GenerateOptions {
        lines: source.lines.map(|lines| lines.value),
        rate: source.rate.map(|rate| rate.value.0),
        seed: source.seed.value,
        shape: Shape::default(),
    }
}

fn time_plan(time: &EventTime) -> TimePlan {
    TimePlan {
        column: time.column.value.0.clone(),
        lateness: time.lateness.value,
        idle: time.idle.map(|idle| idle.value),
    }
}

fn delimited(keys: &Delimited, default: u8) -> FormatPlan {
    FormatPlan::Delimited {
        delimiter: keys.delimiter.map_or(default, |delimiter| delimiter.value.0),
        header: keys.header.value,
    }
}

fn own_patterns(grok: &GrokPattern) -> BTreeMap<String, String> {
    let named = grok.patterns.iter().flat_map(|patterns| &patterns.value.0);
    named
        .map(|(name, pattern)| (name.value.clone(), pattern.value.0.clone()))
        .collect()
}

fn column_plan(name: &At<String>, column: &At<Column>) -> ColumnPlan {
    let column_type = match &column.value.kind {
        file::ColumnType::String(_) => ColumnType::String,
        file::ColumnType::Int(_) => ColumnType::Int,
        file::ColumnType::Float(_) => ColumnType::Float,
        file::ColumnType::Bool(_) => ColumnType::Bool,
        file::ColumnType::Bytes(_) => ColumnType::Bytes,
        file::ColumnType::Timestamp(keys) => ColumnType::Timestamp {
            format: keys.format.as_ref().map(|format| format.value.0.clone()),
        },
    };
    ColumnPlan {
        name: name.value.clone(),
        column_type,
    }
}
