//! `millstream tap`: the last or the next records of a topic, decoded.

mod newest;

use std::io::{self, BufWriter, Stdout};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::{Field, Schema};
use arrow::record_batch::RecordBatch;
use clap::{ArgGroup, Args};
use connectors::decode::{Decoded, Decoder};
use connectors::kafka::config::Connection;
use connectors::kafka::options::{End, KafkaColumn, SourceOptions, Start};
use connectors::kafka::source::KafkaSource;
use engine::pipeline::Stop;
use engine::queue::Receiver;
use engine::source::{Event, Intake, Source, SourceState};
use engine::{Error, Positions, Result};

use self::newest::Newest;
use super::Exit;
use super::check::{load, report};
use super::format::Format;
use super::kafka::ConnectionArguments;
use super::launch::{self, Output};
use super::shown::{Report, Shape};
use crate::job::Overrides;
use crate::job::build::source_decoder;
use crate::job::plan::{KafkaSourcePlan, SourceKind, SourcePlan, Topics};

const EXAMPLES: &str = "\
Examples:
  millstream tap nginx -b localhost:9092
  millstream tap nginx -b localhost:9092 -f combined --last 100
  millstream tap nginx -b localhost:9092 -f combined --follow --output-format json | jq .status
  millstream tap --job errors.toml --next 5";

/// The most records that are shown before new ones: they are kept in memory to be sorted.
const LAST_MAX: u64 = 100_000;

/// The client's name in the brokers' logs. It is no group: nothing is joined or committed.
const CLIENT: &str = "millstream-tap";

/// Bytes of records that wait to be shown.
const QUEUE_BYTES: usize = 16 << 20;

/// How long the readers are waited for before the stop signal is looked at.
const STOP_CHECK: Duration = Duration::from_millis(50);

/// What stands before a record's payload.
const ENVELOPE: [KafkaColumn; 4] = [
    KafkaColumn::Partition,
    KafkaColumn::Offset,
    KafkaColumn::Timestamp,
    KafkaColumn::Key,
];

/// Show the last or the next records of a topic, decoded; no group is joined, nothing is committed
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, group(ArgGroup::new("input").required(true).multiple(true).args(["topic", "job"])))]
pub(super) struct Tap {
    /// The topic; with --job the job's first by default
    #[arg(value_name = "TOPIC")]
    topic: Option<String>,
    /// Job file whose Kafka source says brokers, topic and format
    #[arg(long, value_name = "JOB", conflicts_with = "formats")]
    job: Option<PathBuf>,
    /// The source of the job, if it has several
    #[arg(long, value_name = "NAME", requires = "job")]
    source: Option<String>,
    /// How many of the newest records to show
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(..=LAST_MAX))]
    last: u64,
    /// Wait for this many new records instead
    #[arg(long, value_name = "N", conflicts_with = "last", value_parser = clap::value_parser!(u64).range(1..))]
    next: Option<u64>,
    /// Go on with new records, until Ctrl-C
    #[arg(long, conflicts_with = "next")]
    follow: bool,
    #[command(flatten)]
    format: Format,
    /// How to show the records: json has a field `_error`, null for good records
    #[arg(long = "output-format", visible_alias = "format", value_name = "HOW", value_enum, default_value_t = Shape::Table)]
    shape: Shape,
    #[command(flatten)]
    connection: ConnectionArguments,
}

/// What is tapped.
struct Tapped {
    connection: Connection,
    topic: String,
    /// Without one, the payload is the column `value`.
    decoder: Option<Arc<dyn Decoder>>,
    read_committed: bool,
}

/// Partitions being read.
struct Reading {
    source: KafkaSource,
    receiver: Receiver<Event>,
    /// The partitions that have not ended.
    open: usize,
}

impl Tap {
    /// Shows the records.
    pub(super) fn run(self, output: Output) -> Result<Exit> {
        let tapped = match &self.job {
            Some(job) => match load(job, &Overrides::default()) {
                Ok(plan) => self.of_job(&plan.sources)?,
                Err(errors) => return Ok(report(job, &errors)),
            },
            None => self.of_topic()?,
        };
        let stop = launch::stop_on_signal("stopping after this epoch")?;
        let mut view = View::new(&tapped, self.shape, !output.quiet)?;
        let ends = match self.next {
            Some(_) => tapped.open(Start::Latest)?.1.positions,
            None => self.show_last(&tapped, &mut view, &stop)?,
        };
        match self.next {
            Some(count) => tapped.follow(&ends, count, &mut view, &stop)?,
            None if self.follow => tapped.follow(&ends, u64::MAX, &mut view, &stop)?,
            None => {}
        }
        Ok(view.report.exit())
    }

    fn of_topic(&self) -> Result<Tapped> {
        let missing = || Error::Invalid("no brokers: give --brokers HOST:PORT".to_owned());
        let brokers = self.connection.brokers.as_deref().ok_or_else(missing)?;
        Ok(Tapped {
            connection: self.connection.connection(brokers)?,
            topic: self.topic.clone().unwrap_or_default(),
            decoder: self.format.decoder(None)?,
            read_committed: true,
        })
    }

    /// The job's settings and secrets are those of its connection; the command line may name another topic of it.
    fn of_job(&self, sources: &[SourcePlan]) -> Result<Tapped> {
        let (source, kafka) = self.source_of(sources)?;
        let topic = match (&self.topic, &kafka.topics) {
            (Some(topic), _) => topic.clone(),
            (None, Topics::Names(names)) => names[0].clone(),
            (None, Topics::Pattern(pattern)) => {
                let text = format!("the job reads all topics like {pattern}: say which one to tap");
                return Err(Error::Invalid(text));
            }
        };
        Ok(Tapped {
            connection: kafka.connection.connect()?,
            topic,
            decoder: source_decoder(source)?,
            read_committed: kafka.read_committed,
        })
    }

    /// Returns the source to tap: the one that is named, or that reads the topic, or the only one.
    fn source_of<'a>(&self, sources: &'a [SourcePlan]) -> Result<(&'a SourcePlan, &'a KafkaSourcePlan)> {
        let kafka = |source: &'a SourcePlan| match &source.kind {
            SourceKind::Kafka(kafka) => Some((source, kafka)),
            SourceKind::File { .. } | SourceKind::Generate(_) => None,
        };
        let all: Vec<_> = sources.iter().filter_map(kafka).collect();
        let reads = |topic: &String| {
            let reads = move |(_, kafka): &&(&SourcePlan, &KafkaSourcePlan)| kafka.topics.contain(topic);
            all.iter().find(reads)
        };
        let found = match (&self.source, &self.topic, all.as_slice()) {
            (Some(name), ..) => all.iter().find(|(source, _)| source.name == *name),
            (None, _, [only]) => Some(only),
            (None, Some(topic), _) => reads(topic),
            (None, None, _) => None,
        };
        found.copied().ok_or_else(|| {
            let names: Vec<_> = all.iter().map(|(source, _)| source.name.as_str()).collect();
            Error::Invalid(match (names.as_slice(), &self.source) {
                ([], _) => "the job has no Kafka source to tap".to_owned(),
                (_, Some(name)) => format!("the job has no Kafka source `{name}`; it has: {}", names.join(", ")),
                (_, None) => format!(
                    "the job has several sources: say which with --source: {}",
                    names.join(", ")
                ),
            })
        })
    }

    /// Shows the newest records, and returns where the partitions ended.
    fn show_last(&self, tapped: &Tapped, view: &mut View, stop: &Stop) -> Result<Positions> {
        let (_, state) = tapped.open(Start::Earliest)?;
        let ends = state.ends.unwrap_or_default();
        let wanted = usize::try_from(self.last).unwrap_or(usize::MAX);
        let mut back = i64::try_from(self.last).unwrap_or(i64::MAX);
        if wanted == 0 {
            return Ok(ends);
        }
        loop {
            let mut newest = Newest::new(wanted);
            let is_all = tapped.read_back(back, &mut newest, stop)?;
            // Offsets have gaps: markers of transactions, records that compaction removed.
            if is_all || newest.is_full() || stop.is_raised() {
                if let Some(records) = newest.into_records()? {
                    view.show(&records)?;
                }
                return Ok(ends);
            }
            back = back.saturating_mul(8);
        }
    }
}

impl Tapped {
    /// Returns the source, opened, from `from` to what is there now.
    fn open(&self, from: Start) -> Result<(KafkaSource, SourceState)> {
        let mut source = self.source(Some(End::Latest), from)?;
        let state = source.open(None)?;
        Ok((source, state))
    }

    fn source(&self, to: Option<End>, from: Start) -> Result<KafkaSource> {
        let mut options = SourceOptions::new(self.connection.clone(), vec![self.topic.clone()], CLIENT);
        options.commits = false;
        options.read_committed = self.read_committed;
        options.from = from;
        options.to = to;
        options.columns = ENVELOPE.into_iter().chain([KafkaColumn::Value]).collect();
        KafkaSource::new(options)
    }

    /// Reads at most `back` offsets of each partition up to its end. Returns whether that is all that there is.
    fn read_back(&self, back: i64, newest: &mut Newest, stop: &Stop) -> Result<bool> {
        let (source, mut state) = self.open(Start::Earliest)?;
        let ends = state.ends.clone().unwrap_or_default();
        let mut is_all = true;
        for (partition, position) in &mut state.positions.0 {
            let from = ends.get(partition).unwrap_or(*position).saturating_sub(back);
            is_all &= from <= *position;
            *position = from.max(*position);
        }
        let mut reading = Reading::start(source, &state)?;
        while let Some(records) = reading.next(stop)? {
            newest.absorb(&records)?;
        }
        Ok(is_all)
    }

    /// Shows records from `positions` on as they come, at most `count` of them.
    fn follow(&self, positions: &Positions, count: u64, view: &mut View, stop: &Stop) -> Result<()> {
        let mut source = self.source(None, Start::Latest)?;
        let mut state = source.open(None)?;
        for (partition, position) in &mut state.positions.0 {
            *position = positions.get(partition).unwrap_or(*position);
        }
        let mut reading = Reading::start(source, &state)?;
        let mut left = count;
        while left > 0 {
            let Some(records) = reading.next(stop)? else { break };
            let rows = usize::try_from(left).unwrap_or(usize::MAX).min(records.num_rows());
            view.show(&records.slice(0, rows))?;
            left -= rows as u64;
        }
        Ok(())
    }
}

impl Reading {
    fn start(mut source: KafkaSource, state: &SourceState) -> Result<Self> {
        let (intake, receiver) = Intake::new(QUEUE_BYTES);
        source.start(state, intake)?;
        Ok(Self {
            source,
            receiver,
            open: state.positions.0.len(),
        })
    }

    /// Returns the next records; `None` at the end of all partitions, or when the stop signal came.
    fn next(&mut self, stop: &Stop) -> Result<Option<RecordBatch>> {
        while self.open > 0 && !stop.is_raised() {
            match self.receiver.receive(STOP_CHECK).map(|(event, _)| event) {
                Some(Event::Batch(batch)) => return batch.to_records().map(Some),
                Some(Event::Ended { .. }) => self.open -= 1,
                Some(Event::Added { .. }) => self.open += 1,
                Some(Event::Failed(error)) => return Err(error),
                Some(Event::Advanced { .. } | Event::Latest { .. }) | None => {}
            }
        }
        Ok(None)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.receiver.close();
        self.source.stop();
    }
}

/// Shows records as they come.
struct View {
    decoder: Option<Arc<dyn Decoder>>,
    report: Report<BufWriter<Stdout>>,
}

impl View {
    fn new(tapped: &Tapped, shape: Shape, names_bad: bool) -> Result<Self> {
        let decoded = match &tapped.decoder {
            Some(decoder) => decoder.schema(),
            None => Arc::new(Schema::new(vec![KafkaColumn::Value.field()])),
        };
        let envelope = ENVELOPE.iter().map(|column| {
            let field = column.field();
            match decoded.index_of(field.name()) {
                Ok(_) => field.clone().with_name(format!("_{}", field.name())),
                Err(_) => field,
            }
        });
        let fields: Vec<Field> = envelope
            .chain(decoded.fields().iter().map(|field| field.as_ref().clone()))
            .collect();
        let names_bad = shape == Shape::Table && names_bad;
        Ok(Self {
            report: Report::new(BufWriter::new(io::stdout()), shape, &Schema::new(fields), names_bad)?,
            decoder: tapped.decoder.clone(),
        })
    }

    fn show(&mut self, records: &RecordBatch) -> Result<()> {
        let payloads = records.column(ENVELOPE.len());
        let decoded = match &self.decoder {
            Some(decoder) => decoder.decode(payloads.as_binary())?,
            None => Decoded {
                columns: vec![Arc::clone(payloads)],
                rejects: vec![],
            },
        };
        let columns = records.columns()[..ENVELOPE.len()]
            .iter()
            .cloned()
            .chain(decoded.columns);
        let shown = Decoded {
            columns: columns.collect(),
            rejects: decoded.rejects,
        };
        let (partitions, offsets) = (records.column(0).clone(), records.column(1).clone());
        let place = |row: usize| {
            let partition = partitions.as_primitive::<arrow::datatypes::Int32Type>().value(row);
            let offset = offsets.as_primitive::<arrow::datatypes::Int64Type>().value(row);
            format!("partition {partition}, offset {offset}")
        };
        self.report.show(shown, records.num_rows(), place)
    }
}
