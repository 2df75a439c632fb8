//! The sources and the sinks of a job in the outside world.

use std::io::{BufWriter, IsTerminal};
use std::num::NonZeroUsize;

use arrow::datatypes::SchemaRef;
use connectors::console::{ConsoleOptions, ConsoleSink};
use connectors::decode::{Dialect, dead_letter_schema};
use connectors::file::sink::{self, FileSink, FileSinkOptions};
use connectors::kafka::options::KafkaColumn;
use connectors::kafka::sink::{self as kafka, FellowOptions, KafkaSink, SinkOptions, ValueFormat};
use connectors::parquet::{Layout, ParquetOptions, ParquetSink};
use engine::sink::Sink;
use engine::source::Source;
use engine::{Error, Result};

use super::{Ends, input};
use crate::job::plan::{
    Delivery, JobPlan, KafkaSinkPlan, KafkaSourcePlan, Mode, ParquetPlan, QueryPlan, RowFormat, SinkPlan, SourceKind,
    SourcePlan, TextFormat, ValuePlan,
};
use crate::sql::Planned;

/// Makes the sources and the sinks of one job. The exactly-once topics of a job share one transaction: the first sink leads
/// it.
pub(super) struct Outside<'a> {
    job: &'a JobPlan,
    threads: NonZeroUsize,
    /// What is read of Kafka, as far as it is known: cluster, group and topics.
    inputs: Vec<(KafkaSourcePlan, Vec<String>)>,
    leader: Option<Leader>,
}

struct Leader {
    brokers: String,
    /// Makes the sinks of further topics.
    fellows: kafka::Fellows,
}

impl Ends for Outside<'_> {
    fn source(&mut self, plan: &SourcePlan, columns: &[KafkaColumn]) -> Result<Box<dyn Source>> {
        let (source, topics) = input::open(plan, columns, self.job, self.threads)?;
        if let SourceKind::Kafka(kafka) = &plan.kind {
            self.inputs.push((kafka.clone(), topics));
        }
        Ok(source)
    }

    fn sink(&mut self, query: &QueryPlan, sink: &SinkPlan, planned: &Planned) -> Result<Box<dyn Sink>> {
        let layout = match (query.mode, &planned.aggregate) {
            (Mode::Complete, Some(_)) => Layout::Table,
            (Mode::Update, Some(_)) => Layout::Changes,
            (Mode::Append, Some(_)) => Layout::Rows,
            // Input rows are named after their offsets, unless they are spread over folders.
            (_, None) if is_partitioned(sink) => Layout::Rows,
            (_, None) => Layout::Append,
        };
        self.open(sink, planned.schema.clone(), layout)
    }

    fn dead_letters(&mut self, sink: &SinkPlan) -> Result<Box<dyn Sink>> {
        self.open(sink, dead_letter_schema(), Layout::Append)
    }
}

impl<'a> Outside<'a> {
    pub(super) fn new(job: &'a JobPlan, threads: NonZeroUsize) -> Self {
        Self {
            job,
            threads,
            inputs: vec![],
            leader: None,
        }
    }

    fn open(&mut self, plan: &SinkPlan, schema: SchemaRef, layout: Layout) -> Result<Box<dyn Sink>> {
        match plan {
            SinkPlan::Console { rows, order } => {
                let mut options = ConsoleOptions::new(std::io::stdout().is_terminal());
                options.top = rows.get();
                options.order.clone_from(order);
                let writer = BufWriter::new(std::io::stdout());
                Ok(Box::new(ConsoleSink::new(Box::new(writer), options)))
            }
            SinkPlan::Parquet(plan) => Ok(Box::new(ParquetSink::new(parquet(plan, schema, layout)?)?)),
            SinkPlan::Kafka(plan) => self.kafka(plan, schema),
            SinkPlan::File { path, format } => Ok(Box::new(FileSink::new(FileSinkOptions {
                path: path.clone(),
                format: match format {
                    TextFormat::Jsonl => sink::TextFormat::JsonLines,
                    TextFormat::Csv => sink::TextFormat::Csv,
                },
                schema,
            })?)),
        }
    }

    fn kafka(&mut self, plan: &KafkaSinkPlan, schema: SchemaRef) -> Result<Box<dyn Sink>> {
        let value = value_format(&plan.value)?;
        if let (Delivery::ExactlyOnce, Some(leader)) = (plan.delivery, &self.leader) {
            if leader.brokers != plan.connection.brokers {
                return Err(Error::Invalid(format!(
                    "the exactly-once topics of a job share one transaction, so one cluster: `{}` is on {}, another is \
                     on {}",
                    plan.topic, plan.connection.brokers, leader.brokers
                )));
            }
            let options = FellowOptions {
                topic: plan.topic.clone(),
                key: plan.key.clone(),
                value,
                schema,
            };
            return Ok(Box::new(leader.fellows.sink(options)?));
        }
        let sink = KafkaSink::new(SinkOptions {
            connection: plan.connection.connect()?,
            topic: plan.topic.clone(),
            group: self.group(&plan.connection.brokers),
            key: plan.key.clone(),
            value,
            delivery: match plan.delivery {
                Delivery::ExactlyOnce => kafka::Delivery::ExactlyOnce,
                Delivery::AtLeastOnce => kafka::Delivery::AtLeastOnce,
            },
            source_topics: self.source_topics(&plan.connection.brokers),
            schema,
        })?;
        if plan.delivery == Delivery::ExactlyOnce {
            self.leader = Some(Leader {
                brokers: plan.connection.brokers.clone(),
                fellows: sink.fellows(),
            });
        }
        Ok(Box::new(sink))
    }

    /// Returns the group that a sink on `brokers` marks with its epochs: the one of the sources there, if there are any.
    fn group(&self, brokers: &str) -> String {
        let there = self
            .inputs
            .iter()
            .find(|(kafka, _)| kafka.connection.brokers == brokers);
        match there.or(self.inputs.first()) {
            Some((kafka, _)) => kafka.group.clone(),
            None => format!("millstream-{}", self.job.name),
        }
    }

    /// Returns the topics whose positions are part of a transaction on `brokers`: none if all sources are elsewhere.
    fn source_topics(&self, brokers: &str) -> Vec<String> {
        let there = self
            .inputs
            .iter()
            .filter(|(kafka, _)| kafka.connection.brokers == brokers);
        there.flat_map(|(_, topics)| topics).cloned().collect()
    }
}

/// Returns how values are made; the file of an Avro schema is read.
pub(super) fn value_format(plan: &ValuePlan) -> Result<ValueFormat> {
    Ok(match plan {
        ValuePlan::Row(RowFormat::Json) => ValueFormat::Json,
        ValuePlan::Row(RowFormat::Csv) => ValueFormat::Delimited(Dialect::CSV),
        ValuePlan::Row(RowFormat::Tsv) => ValueFormat::Delimited(Dialect::TSV),
        ValuePlan::Avro(avro) => ValueFormat::Avro(avro.load()?),
        ValuePlan::Column(name) => ValueFormat::Column(name.clone()),
    })
}

fn parquet(plan: &ParquetPlan, schema: SchemaRef, layout: Layout) -> Result<ParquetOptions> {
    let mut options = ParquetOptions::new(&plan.dir, schema, layout);
    options.compression = plan.compression;
    options.row_group_rows = plan.row_group_rows.get();
    options.row_group_bytes = usize::try_from(plan.row_group_bytes).unwrap_or(usize::MAX);
    options.file_rows_max = plan.file_rows.map(|rows| rows.get());
    options.file_bytes_max = Some(plan.file_bytes);
    options.file_age_max = plan.file_age;
    options.partition_by.clone_from(&plan.partition_by);
    Ok(options)
}

fn is_partitioned(plan: &SinkPlan) -> bool {
    matches!(plan, SinkPlan::Parquet(parquet) if !parquet.partition_by.is_empty())
}
