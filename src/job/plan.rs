//! A checked job: plain values that need no further validation.

use std::collections::BTreeMap;
use std::fmt;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use connectors::console::Order;
use connectors::decode::{AvroFormat, Framing};
use connectors::generate::GenerateOptions;
use connectors::kafka::config::Connection;
use connectors::kafka::given::GivenRecord;
use connectors::kafka::options::{Client, DataLossPolicy, End, Start};
use connectors::parquet::Compression;
use connectors::parquet::archive::Location;
pub use connectors::parquet::{DatePart, PartitionBy};
use engine::{Error, Result};
use serde_json::Value;

use super::error::{JobErrors, Report};
pub use super::file::{ArchiveLayout, BadRows, Delivery, LateRows, Mode, RowFormat, TextFormat};
use super::place::{At, Place, Texts};
use super::sql::SqlProblem;

/// A job that is right as far as can be told without a network.
#[derive(Clone, Debug)]
pub struct JobPlan {
    /// Its name.
    pub name: String,
    /// What is read; at least one.
    pub sources: Vec<SourcePlan>,
    /// What is made of it, each after those that it may read; at least one, unless the job is an archive.
    pub queries: Vec<QueryPlan>,
    /// What is kept of the one source, by a job without a query.
    pub archive: Option<ArchivePlan>,
    /// Where bad records go.
    pub dead_letter: Option<SinkPlan>,
    /// How the job runs.
    pub run: RunPlan,
    /// Its tests.
    pub tests: Vec<TestPlan>,
    pub(super) texts: Texts,
}

/// A source.
#[derive(Clone, Debug)]
pub struct SourcePlan {
    /// Its name in SQL.
    pub name: String,
    /// What is read.
    pub kind: SourceKind,
    /// How payloads are decoded: the first that fits; at least one.
    pub formats: Vec<FormatPlan>,
    /// The columns that the job declares, in its order.
    pub columns: Vec<ColumnPlan>,
    /// The zone of times that name none: `UTC`, or as `+02:00`.
    pub time_zone: String,
    /// The event time.
    pub time: Option<TimePlan>,
    /// What becomes of bad payloads.
    pub on_bad: BadRows,
    /// The share of bad payloads at which the job stops.
    pub max_error_ratio: Option<f64>,
    pub(super) place: Place,
    /// That of the event time's column.
    pub(super) time_place: Option<Place>,
}

/// What a source reads.
#[derive(Clone, Debug)]
pub enum SourceKind {
    /// Topics.
    Kafka(KafkaSourcePlan),
    /// Files: paths that may hold wildcards; at least one.
    File {
        /// The paths.
        paths: Vec<String>,
    },
    /// Made-up lines.
    Generate(GenerateOptions),
}

/// Topics as a source.
#[derive(Clone, Debug)]
pub struct KafkaSourcePlan {
    /// How to reach the cluster.
    pub connection: ConnectionPlan,
    /// Which topics.
    pub topics: Topics,
    /// The consumer group.
    pub group: String,
    /// Where a first run starts.
    pub from: Start,
    /// Where the job ends.
    pub to: Option<End>,
    /// What to do when records are gone.
    pub on_data_loss: DataLossPolicy,
    /// Whether records of open and aborted transactions are left out.
    pub read_committed: bool,
    /// Reader threads.
    pub readers: NonZeroUsize,
    /// Who reads.
    pub client: Client,
}

/// Which topics are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topics {
    /// These; at least one, each once.
    Names(Vec<String>),
    /// All that a regular expression matches.
    Pattern(String),
}

/// How to reach a cluster. Secrets are named here and not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionPlan {
    /// The brokers, `HOST:PORT[,HOST:PORT]`.
    pub brokers: String,
    /// A file of settings.
    pub properties: Option<PathBuf>,
    /// Settings, after those of the file.
    pub settings: BTreeMap<String, SettingValue>,
}

/// The value of a librdkafka setting.
#[derive(Clone, PartialEq, Eq)]
pub enum SettingValue {
    /// As it is.
    Literal(String),
    /// In an environment variable.
    Env(String),
    /// In a file, but for its last line end.
    File(PathBuf),
}

/// How payloads become columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FormatPlan {
    /// Text: the column `line`.
    Lines,
    /// Bytes as they are: the column `value`.
    Raw,
    /// One JSON object.
    Json,
    /// `key=value` pairs.
    Logfmt,
    /// The common log format.
    Common,
    /// The combined log format.
    Combined,
    /// Syslog.
    Syslog,
    /// Values between delimiters.
    Delimited {
        /// An ASCII character.
        delimiter: u8,
        /// Whether payloads that repeat the columns' names are left out.
        header: bool,
    },
    /// A regular expression with named groups.
    Regex(String),
    /// A grok pattern.
    Grok {
        /// The pattern.
        pattern: String,
        /// Named patterns of the user's own.
        patterns: BTreeMap<String, String>,
    },
    /// Avro, by the writer's schema.
    Avro(AvroPlan),
    /// Parquet files.
    Parquet,
}

/// Payloads of Avro.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AvroPlan {
    /// The file of the schema.
    pub schema: PathBuf,
    /// What stands before a record.
    pub framing: Framing,
}

/// A declared column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnPlan {
    /// Its name, which is also that of the field in the payload.
    pub name: String,
    /// Its type.
    pub column_type: ColumnType,
}

/// The type of a declared column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// UTF-8.
    String,
    /// 64 bits.
    Int,
    /// 64 bits.
    Float,
    /// True or false.
    Bool,
    /// Bytes as they are.
    Bytes,
    /// Microseconds.
    Timestamp {
        /// How it is written; found out if none.
        format: Option<String>,
    },
}

/// The event time of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimePlan {
    /// The column.
    pub column: String,
    /// How much later than others a row may come.
    pub lateness: Duration,
    /// How long a partition may be silent before it no longer holds the watermark back.
    pub idle: Option<Duration>,
}

/// A query.
#[derive(Clone, Debug)]
pub struct QueryPlan {
    /// Its name, under which later queries read it; `query` if the job has one only.
    pub name: String,
    /// The statement.
    pub sql: String,
    /// Which rows are put out.
    pub mode: Mode,
    /// What becomes of late rows.
    pub late: LateRows,
    /// Where the result goes; nowhere if only later queries read it.
    pub sink: Option<SinkPlan>,
    /// That of the statement.
    pub(super) place: Place,
    pub(super) sink_place: Place,
    /// The columns that the sink is told of.
    pub(super) sink_columns: Vec<At<String>>,
}

/// Where rows go.
#[derive(Clone, Debug)]
pub enum SinkPlan {
    /// The terminal.
    Console {
        /// Rows of a table.
        rows: NonZeroUsize,
        /// The rows to show first.
        order: Option<Order>,
    },
    /// A folder of Parquet files.
    Parquet(ParquetPlan),
    /// A topic.
    Kafka(KafkaSinkPlan),
    /// A file of text.
    File {
        /// The file; `-` for the standard output.
        path: PathBuf,
        /// How rows are written.
        format: TextFormat,
    },
}

/// A folder of Parquet files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParquetPlan {
    /// The folder.
    pub dir: PathBuf,
    /// What makes its folders, from the outside in.
    pub partition_by: Vec<PartitionBy>,
    /// The codec.
    pub compression: Compression,
    /// Rows of a file at most.
    pub file_rows: Option<NonZeroU64>,
    /// Bytes of a file at most, about.
    pub file_bytes: u64,
    /// How long a file takes rows at most.
    pub file_age: Option<Duration>,
    /// Rows of a row group at most.
    pub row_group_rows: NonZeroUsize,
    /// Bytes of a row group at most.
    pub row_group_bytes: u64,
}

impl ParquetPlan {
    /// Returns a folder with the defaults of the job file.
    pub(super) fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            partition_by: vec![],
            compression: Compression::default(),
            file_rows: None,
            file_bytes: 256 << 20,
            file_age: None,
            row_group_rows: NonZeroUsize::new(1 << 20).expect("not zero"),
            row_group_bytes: 64 << 20,
        }
    }
}

/// A folder or bucket that keeps the records of topics.
#[derive(Clone, Debug)]
pub struct ArchivePlan {
    /// Where it is.
    pub location: Location,
    /// What is kept of a record.
    pub layout: ArchiveLayout,
    /// The codec.
    pub compression: Compression,
    /// The columns that get a bloom filter.
    pub bloom_filter: Vec<String>,
    /// What makes its folders, from the outside in.
    pub partition_by: Vec<PartitionBy>,
    /// Rows of a file at most.
    pub file_rows: Option<NonZeroU64>,
    /// Bytes of a file at most, about.
    pub file_bytes: u64,
    /// Time between a file's first and last record at most.
    pub file_span: Option<Duration>,
    /// A file ends at each multiple of so many offsets.
    pub segment_offsets: NonZeroU64,
    /// The columns that its keys name.
    pub(super) columns: Vec<At<String>>,
}

/// A topic as a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaSinkPlan {
    /// How to reach the cluster.
    pub connection: ConnectionPlan,
    /// The topic.
    pub topic: String,
    /// The columns that make the key.
    pub key: Vec<String>,
    /// What makes the value.
    pub value: ValuePlan,
    /// How sure the delivery is.
    pub delivery: Delivery,
}

/// What makes the value of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValuePlan {
    /// The whole row.
    Row(RowFormat),
    /// The whole row, as Avro.
    Avro(AvroPlan),
    /// The bytes of a column.
    Column(String),
}

/// How a job runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunPlan {
    /// How often results are put out.
    pub trigger: Duration,
    /// Where positions and state are kept. There is one whenever a sink is exactly once.
    pub checkpoint: Option<PathBuf>,
    /// How often a checkpoint is made; zero: at each trigger.
    pub checkpoint_interval: Duration,
    /// Worker threads; the number of cores if none.
    pub threads: Option<NonZeroUsize>,
    /// Bytes of batches that wait or are worked on.
    pub queue_bytes: u64,
    /// Rows of a batch at most.
    pub batch_rows: NonZeroUsize,
}

/// A test of a job.
#[derive(Clone, Debug)]
pub struct TestPlan {
    /// What it shows.
    pub name: String,
    /// Records in their order, by their source's name.
    pub input: Vec<(String, Vec<TestRecordPlan>)>,
    /// How many records come at a time; all at once if none.
    pub micro_batch_rows: Option<NonZeroUsize>,
    /// The watermark after all records, in microseconds since 1970 UTC; if none, the input ends.
    pub watermark_micros: Option<i64>,
    /// Rows by their query's name; the order counts only if the query has one.
    pub expect: Vec<(String, Vec<TestRow>)>,
    /// Dead letters in any order.
    pub dead_letters: Option<Vec<TestRow>>,
    /// How many rows come too late.
    pub late: Option<u64>,
    /// How many payloads can't be decoded.
    pub bad: Option<u64>,
    pub(super) place: Place,
}

/// A row that a test expects: values by column. Times are RFC 3339 texts; a column that only other rows have is null.
pub type TestRow = BTreeMap<String, Value>;

/// A record that a test gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TestRecordPlan {
    /// The topic, if it is not the source's first.
    pub topic: Option<String>,
    /// The partition.
    pub partition: i32,
    /// What is in it.
    pub record: GivenRecord,
}

impl JobPlan {
    /// Returns whether all sources end.
    pub fn is_bounded(&self) -> bool {
        let ends = |source: &SourcePlan| match &source.kind {
            SourceKind::Kafka(kafka) => kafka.to.is_some(),
            SourceKind::File { .. } => true,
            SourceKind::Generate(options) => options.lines.is_some(),
        };
        self.sources.iter().all(ends)
    }

    /// Returns what is wrong with a query's statement, at its line of the job file.
    pub fn sql_error(&self, query: &QueryPlan, problem: &SqlProblem) -> JobErrors {
        problem.to_errors(&self.texts, query.place)
    }

    /// Returns what keeps a replay from running the job: its queries.
    pub fn not_an_archive(&self) -> Option<JobErrors> {
        let query = self.queries.first()?;
        let mut report = Report::default();
        let help = "write no [query], and one [sink] of kind = \"parquet\"; or give the job to `millstream run`";
        report.error_with_help(
            query.place,
            "a replay keeps records as they are, and has no query",
            help,
        );
        Some(report.into_errors(self.texts.clone()))
    }

    /// Returns where a test stands: `FILE:LINE:COLUMN`.
    pub fn place_of_test(&self, test: &TestPlan) -> String {
        self.texts.position(test.place).to_string()
    }

    /// Returns where the statement of a query starts, for messages: `FILE:LINE:COLUMN`.
    pub fn place_of_query(&self, query: &QueryPlan) -> String {
        self.texts.position(query.place).to_string()
    }

    /// Returns where a source stands: `FILE:LINE:COLUMN`.
    pub fn place_of_source(&self, source: &SourcePlan) -> String {
        self.texts.position(source.place).to_string()
    }
}

impl ConnectionPlan {
    /// Returns the connection, with the secrets in it.
    ///
    /// # Errors
    /// When the file of settings, an environment variable or a secret's file can't be read; never shows a value.
    pub fn connect(&self) -> Result<Connection> {
        let mut connection = match &self.properties {
            Some(path) => Connection::with_properties(&self.brokers, path)?,
            None => Connection::new(&self.brokers),
        };
        for (name, value) in &self.settings {
            connection.set(name, value.resolve(name)?)?;
        }
        Ok(connection)
    }
}

impl AvroPlan {
    /// Returns the format, with the schema that the file holds now.
    ///
    /// # Errors
    /// When the file can't be read, or holds no schema of a record.
    pub fn load(&self) -> Result<AvroFormat> {
        let path = &self.schema;
        let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
        let schema = text.parse();
        let schema = schema.map_err(|error| Error::Invalid(format!("{}: {error}", path.display())))?;
        Ok(AvroFormat {
            schema: Arc::new(schema),
            framing: self.framing,
        })
    }
}

impl SettingValue {
    fn resolve(&self, name: &str) -> Result<String> {
        match self {
            Self::Literal(value) => Ok(value.clone()),
            Self::Env(variable) => std::env::var(variable)
                .map_err(|_| Error::Invalid(format!("{name}: the environment variable {variable} is not set"))),
            Self::File(path) => {
                let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
                let text = text.strip_suffix('\n').unwrap_or(&text);
                Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
            }
        }
    }
}

impl fmt::Debug for SettingValue {
    /// Writes where a value is kept, and hides one that is known: only its setting says whether it is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(_) => f.write_str("(set)"),
            Self::Env(name) => write!(f, "env {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
        }
    }
}

impl fmt::Display for SourcePlan {
    /// Writes what is read, in a line: `kafka localhost:9092, topic nginx, as combined`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            SourceKind::Kafka(kafka) => write!(f, "kafka {}, {}", kafka.connection.brokers, kafka.topics)?,
            SourceKind::File { paths } => write!(f, "file {}", paths.join(", "))?,
            SourceKind::Generate(_) => f.write_str("generate")?,
        }
        let formats: Vec<_> = self.formats.iter().map(FormatPlan::name).collect();
        write!(f, ", as {}", formats.join(" or "))?;
        match &self.time {
            Some(time) => write!(f, ", event time {}", time.column),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Topics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Names(names) if names.len() == 1 => write!(f, "topic {}", names[0]),
            Self::Names(names) => write!(f, "topics {}", names.join(", ")),
            Self::Pattern(pattern) => write!(f, "topics like {pattern}"),
        }
    }
}

impl fmt::Display for SinkPlan {
    /// Writes where rows go, in a line: `parquet out/errors`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Console { .. } => f.write_str("console"),
            Self::Parquet(parquet) => write!(f, "parquet {}", parquet.dir.display()),
            Self::Kafka(kafka) => write!(f, "kafka {}, topic {}", kafka.connection.brokers, kafka.topic),
            Self::File { path, .. } => write!(f, "file {}", path.display()),
        }
    }
}

impl fmt::Display for ArchivePlan {
    /// Writes where records go, and what of them, in a line: `parquet out/logs, layout envelope`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "parquet {}, layout {}", self.location, self.layout)
    }
}

impl FormatPlan {
    /// Returns the format's name as the job file has it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Lines => "lines",
            Self::Raw => "raw",
            Self::Json => "json",
            Self::Logfmt => "logfmt",
            Self::Common => "common",
            Self::Combined => "combined",
            Self::Syslog => "syslog",
            Self::Delimited { delimiter: b'\t', .. } => "tsv",
            Self::Delimited { .. } => "csv",
            Self::Regex(_) => "regex",
            Self::Grok { .. } => "grok",
            Self::Avro(_) => "avro",
            Self::Parquet => "parquet",
        }
    }
}
