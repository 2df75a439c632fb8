//! Every table and key of a job file: one line of documentation and one of declaration a key.

use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

use connectors::console::Order;
use connectors::kafka::options::{Client, DataLossPolicy, End, Start};
use connectors::parquet::Compression;
use serde_json::Value;

use super::form::{Bytes, Named, OneOrMore, Rate, Ratio, Text, choice};
use super::place::At;
use super::plan::PartitionBy;
use super::setting::{AnyText, Nameable, OneOf, OneOrNamed, Part, Payloads, Setting};
use super::table::{Kinded, NoKeys, kinds, table};
use super::value::{Brokers, Delimiter, GroupPattern, Moment, Pattern, Topic, Zone};

table! {
    /// A job: what it reads, what it makes of that, and where it puts it.
    "(top)" struct JobTables {
        /// The job's name, which consumer groups are named after; the file's name by default
        name: Part<Text>,
        /// What is read: one table a source, whose name is that of a table in SQL
        source: Part<Named<Source>, true>,
        /// What is made of it, in SQL: `[query]`, or several `[query.NAME]`; a later one may read the results of those
        /// before it. Without one the job is an archive: `millstream replay` keeps what the topics have in a Parquet `[sink]`
        query: Part<OneOrNamed<Query>>,
        /// Where results go: `[sink]` for `[query]`, `[sink.NAME]` for `[query.NAME]`
        sink: Part<OneOrNamed<Sink>>,
        /// Where records go that could not be decoded, and late rows if a query says so
        dead_letter: Part<DeadLetter>,
        /// When results are put out, what is kept over restarts, and what the job may use
        run: Part<Run>,
        /// Input and expected output, for `millstream test`; may also stand in a file beside the job, JOB.test.toml
        test: Part<Vec<At<Test>>>,
    }
}

/// `[source.NAME]`.
pub(super) type Source = Kinded<SourceKind, SourceKeys>;

table! {
    /// Keys of every source, whatever its kind.
    "[source.NAME]" struct SourceKeys {
        /// What a payload holds: a format, or an ordered list of which the first that fits is taken, row by row
        format: At<OneOrMore<Format>> = "lines",
        /// Columns and their types, for formats without columns of their own; in JSON, a name with dots reaches inside
        columns: Option<At<Named<Column>>>,
        /// The zone of times that name none, as in `+02:00`
        time_zone: At<Zone> = "UTC",
        /// The column that holds the event time, for windows
        time: Option<At<EventTime>>,
        /// What becomes of a payload that can't be decoded; without it `dead_letter` if there is one, else `fail`
        on_bad: Option<At<BadRows>>,
        /// The share of bad payloads at which the job stops with exit code 5
        max_error_ratio: Option<At<Ratio>>,
    }
}

kinds! {
    /// What a source reads.
    "[source.NAME]" enum SourceKind by "kind", false {
        /// Topics of a Kafka cluster
        Kafka(KafkaSource) = "kafka",
        /// Files, plain, gzip or zstd; the job ends where they end
        File(FileSource) = "file",
        /// Made-up access log lines, the same for the same seed
        Generate(GenerateSource) = "generate",
    }
}

table! {
    /// Topics of a Kafka cluster.
    "[source.NAME]" struct KafkaSource {
        /// Brokers to connect to, as HOST:PORT[,HOST:PORT]
        brokers: At<Brokers>,
        /// The topic
        topic: Option<At<Topic>>,
        /// Several topics
        topics: Option<At<Vec<At<Topic>>>>,
        /// A regular expression: every topic that it matches, those made later too
        topic_pattern: Option<At<Pattern>>,
        /// Where a first run starts: earliest, latest, committed, a time, an age such as 1h, or offsets 0:120,1:4000
        from: At<Start> = "earliest",
        /// Where the job ends: latest, a time, an age or offsets; without it, it goes on, and an archive ends at latest
        to: Option<At<End>>,
        /// Consumer group whose offsets show how far the job is; millstream-JOB-SOURCE by default, millstream-JOB if several
        /// sources are Kafka's
        group: Option<At<Text>>,
        /// What to do when records were deleted before they were read: fail, skip or reset
        on_data_loss: At<DataLossPolicy> = "fail",
        /// Whether records of open and aborted transactions are read too
        read_uncommitted: At<bool> = "false",
        /// Reader threads, each for its share of the partitions
        readers: At<NonZeroUsize> = "1",
        /// Who reads: native, librdkafka, or auto: native, but librdkafka for what only that can
        client: At<Client> = "auto",
        /// A file of librdkafka settings, `name=value` lines
        properties: Option<At<Text>>,
        /// librdkafka settings; secrets as { env = "NAME" } or { file = "PATH" }
        librdkafka: Option<At<Named<Setting>>>,
    }
}

table! {
    /// Files.
    "[source.NAME]" struct FileSource {
        /// Paths, with `*`, `?`, `[...]` and `**` if they stand for many; `-` is the standard input
        paths: At<OneOrMore<Text>>,
    }
}

table! {
    /// Made-up log lines.
    "[source.NAME]" struct GenerateSource {
        /// How many; without it, without end
        lines: Option<At<u64>>,
        /// Lines a second; as fast as they are taken by default
        rate: Option<At<Rate>>,
        /// Another seed makes other lines
        seed: At<u64> = "1",
    }
}

/// `format`.
pub(super) type Format = Kinded<FormatKind, NoKeys>;

kinds! {
    /// What a payload holds.
    #[expect(dead_code, reason = "of a kind without keys of its own only the name is looked at")]
    "format" enum FormatKind by "kind", true {
        /// Text: the column `line`
        Lines(NoKeys) = "lines",
        /// Bytes as they are: the column `value`
        Raw(NoKeys) = "raw",
        /// One JSON object
        Json(NoKeys) = "json",
        /// `key=value` pairs
        Logfmt(NoKeys) = "logfmt",
        /// The common log format of web servers
        Common(NoKeys) = "common",
        /// The combined log format: common, with referrer and agent
        Combined(NoKeys) = "combined",
        /// Syslog, RFC 5424 and RFC 3164
        Syslog(NoKeys) = "syslog",
        /// Comma-separated values
        Csv(Delimited) = "csv",
        /// Tab-separated values
        Tsv(Delimited) = "tsv",
        /// A regular expression: its named groups are the columns
        Regex(Regex) = "regex",
        /// A grok pattern: its names are the columns
        Grok(GrokPattern) = "grok",
        /// Avro records, with the writer's schema in a file; of `kind = "kafka"` only
        Avro(Avro) = "avro",
        /// Parquet files; of `kind = "file"` only
        Parquet(NoKeys) = "parquet",
    }
}

table! {
    /// Separated values.
    "format" struct Delimited {
        /// The one ASCII character between values; a comma, or a tab for `tsv`, by default
        delimiter: Option<At<Delimiter>>,
        /// Whether payloads that repeat the columns' names, as the first line of a file, are left out
        header: At<bool> = "false",
    }
}

table! {
    /// A regular expression.
    "format" struct Regex {
        /// A regular expression with named groups: `(?<level>[A-Z]+) (?<message>.*)`
        pattern: At<GroupPattern>,
    }
}

table! {
    /// A grok pattern.
    "format" struct GrokPattern {
        /// A grok pattern: `%{TIMESTAMP_ISO8601:time} %{LOGLEVEL:level} %{GREEDYDATA:message}`
        pattern: At<Text>,
        /// Named patterns of one's own, for use in the pattern
        patterns: Option<At<Named<Text>>>,
    }
}

table! {
    /// Avro.
    "format" struct Avro {
        /// File of the writer's schema, JSON
        schema: At<Text>,
        /// What stands before the record: none, or confluent for Confluent's header of 5 bytes
        framing: At<AvroFraming> = "none",
        /// The number of the schema in Confluent's header: a record of another one is bad; any is taken by default
        schema_id: Option<At<u64>>,
    }
}

choice! {
    /// What stands before an Avro record.
    pub(super) enum AvroFraming {
        /// Nothing
        None = "none",
        /// Confluent's header: a zero byte, and the number of the schema in a registry
        Confluent = "confluent",
    }
}

/// A value of `columns`.
pub(super) type Column = Kinded<ColumnType, NoKeys>;

kinds! {
    /// The type of a column.
    #[expect(dead_code, reason = "of a kind without keys of its own only the name is looked at")]
    "columns.NAME" enum ColumnType by "type", true {
        /// Text
        String(NoKeys) = "string",
        /// Whole numbers of 64 bits
        Int(NoKeys) = "int",
        /// Numbers with a fraction
        Float(NoKeys) = "float",
        /// true or false
        Bool(NoKeys) = "bool",
        /// Points in time, microseconds
        Timestamp(Timestamp) = "timestamp",
        /// Bytes as they are
        Bytes(NoKeys) = "bytes",
    }
}

table! {
    /// Points in time.
    "columns.NAME" struct Timestamp {
        /// How it is written, as in `%d/%b/%Y:%H:%M:%S %z`; found out from the first values by default
        format: Option<At<Text>>,
    }
}

table! {
    /// The event time of a source's rows, and how long they may be late.
    "time" struct EventTime {
        /// The column; `timestamp` is that of the Kafka record
        column: At<Text>,
        /// How much later than others a row may come
        lateness: At<Duration> = "0s",
        /// How long a partition may be silent before it no longer holds windows back; for ever by default
        idle: Option<At<Duration>>,
    }
}

choice! {
    /// What becomes of a payload that can't be decoded.
    pub enum BadRows {
        /// It goes to the dead letters
        DeadLetter = "dead_letter",
        /// Its columns are null
        Null = "null",
        /// It is counted and left out
        Skip = "skip",
        /// The job stops
        Fail = "fail",
    }
}

choice! {
    /// Which rows of a result are put out, and when.
    pub enum Mode {
        /// A row once, when it is final
        Append = "append",
        /// Rows that changed
        Update = "update",
        /// The whole result each time
        Complete = "complete",
    }
}

choice! {
    /// What becomes of rows that come after their window was closed. They are counted in any case.
    pub enum LateRows {
        /// They are left out
        Drop = "drop",
        /// They go to the dead letters
        DeadLetter = "dead_letter",
    }
}

table! {
    /// A statement, and where its result goes.
    "[query] or [query.NAME]" struct Query {
        /// The SELECT
        sql: At<Text>,
        /// Which rows are put out, and when: append, update or complete
        mode: At<Mode> = "append",
        /// What becomes of rows that come after their window was closed: drop or dead_letter
        late: At<LateRows> = "drop",
        /// Where the result goes, if there is no table `[sink]` for it; nowhere, if only later queries read it
        sink: Option<At<Sink>>,
    }
}

impl Nameable for Query {
    const OWN_TABLES: &'static [&'static str] = &["sink"];
}

/// `[sink]`.
pub(super) type Sink = Kinded<SinkKind, NoKeys>;

kinds! {
    /// Where a result goes.
    "[sink] or [sink.NAME]" enum SinkKind by "kind", false {
        /// A table on a terminal, tab-separated lines elsewhere
        Console(ConsoleSink) = "console",
        /// A folder of Parquet files, exactly once
        Parquet(ParquetSink) = "parquet",
        /// A Kafka topic, exactly once
        Kafka(KafkaSink) = "kafka",
        /// One file of text, exactly once; the standard output and pipes at least once
        File(FileSink) = "file",
    }
}

impl Nameable for Sink {
    const OWN_TABLES: &'static [&'static str] = &["value", "librdkafka"];
}

table! {
    /// The terminal.
    "[sink]" struct ConsoleSink {
        /// Rows of a table
        rows: At<NonZeroUsize> = "20",
        /// The column whose largest or smallest values are shown first: `hits desc`
        order_by: Option<At<Order>>,
    }
}

table! {
    /// Parquet files.
    "[sink]" struct ParquetSink {
        /// The folder; it belongs to one query
        dir: At<Text>,
        /// Columns whose values become folders: `status`, `date(time)`; also year, month and hour
        partition_by: Option<At<Vec<At<PartitionBy>>>>,
        /// none, snappy, lz4 or zstd[:LEVEL]
        compression: At<Compression> = "zstd:1",
        /// Rows of a file at most
        file_rows: Option<At<NonZeroU64>>,
        /// Bytes of a file on disk, about, at most
        file_bytes: At<Bytes> = "256MiB",
        /// How long a file takes rows at most
        file_age: Option<At<Duration>>,
        /// Rows of a row group at most
        row_group_rows: At<NonZeroUsize> = "1048576",
        /// Bytes of a row group at most
        row_group_bytes: At<Bytes> = "64MiB",
        /// Of an archive: what is kept of a record: envelope, the record as it is, by default; parsed, the columns of its
        /// format, and its place; or both
        layout: Option<At<ArchiveLayout>>,
        /// Of an archive: columns with a bloom filter, such as `key`
        bloom_filter: Option<At<Vec<At<Text>>>>,
        /// Of an archive: time between a file's first and last record at most, by the records' own times
        file_span: Option<At<Duration>>,
        /// Of an archive: a file ends at each multiple of so many offsets; 1000000 by default
        segment: Option<At<NonZeroU64>>,
    }
}

choice! {
    /// What an archive keeps of a record.
    pub enum ArchiveLayout {
        /// The record as it is
        Envelope = "envelope",
        /// The columns of its format, and its place
        Parsed = "parsed",
        /// All of it
        Both = "both",
    }
}

table! {
    /// A Kafka topic.
    "[sink]" struct KafkaSink {
        /// Brokers to connect to; those of the source by default, with its settings
        brokers: Option<At<Brokers>>,
        /// The topic
        topic: At<Topic>,
        /// The columns that make the key; records have none by default
        key: Option<At<Vec<At<Text>>>>,
        /// What the value holds: json, csv, tsv, { column = "NAME" } for the bytes of one column, or { avro = "FILE" }
        value: At<ValueForm> = "json",
        /// exactly_once (transactions), or at_least_once (sooner visible)
        delivery: At<Delivery> = "exactly_once",
        /// A file of librdkafka settings, `name=value` lines
        properties: Option<At<Text>>,
        /// librdkafka settings; secrets as { env = "NAME" } or { file = "PATH" }
        librdkafka: Option<At<Named<Setting>>>,
    }
}

choice! {
    /// How sure the delivery to Kafka is.
    pub enum Delivery {
        /// Every row once, for readers of committed records
        ExactlyOnce = "exactly_once",
        /// Every row, some twice after a crash
        AtLeastOnce = "at_least_once",
    }
}

choice! {
    /// How rows are written as text.
    pub enum TextFormat {
        /// A JSON object a line
        Jsonl = "jsonl",
        /// Comma-separated values, the columns' names first
        Csv = "csv",
    }
}

choice! {
    /// How a row becomes the value of a record.
    pub enum RowFormat {
        /// A JSON object
        Json = "json",
        /// Comma-separated values
        Csv = "csv",
        /// Tab-separated values
        Tsv = "tsv",
    }
}

/// `value` of a Kafka sink: a format of the whole row by its name, or a table.
pub(super) type ValueForm = OneOf<RowFormat, ValueTable>;

table! {
    /// The bytes of one column, or the whole row as Avro.
    "value" struct ValueTable {
        /// The column whose bytes are the value; null makes a tombstone
        column: Option<At<Text>>,
        /// File of the Avro schema of the value, JSON: each field takes the column of its name
        avro: Option<At<Text>>,
        /// What stands before the Avro record: none, or confluent for Confluent's header of 5 bytes
        framing: At<AvroFraming> = "none",
        /// The number of the schema that Confluent's header has
        schema_id: Option<At<u64>>,
    }
}

table! {
    /// A file of text.
    "[sink]" struct FileSink {
        /// The file; `-` is the standard output
        path: At<Text>,
        /// jsonl or csv
        format: At<TextFormat> = "jsonl",
    }
}

/// `[dead_letter]`.
pub(super) type DeadLetter = Kinded<DeadLetterKind, NoKeys>;

kinds! {
    /// Where bad records go, as they came, with topic, partition, offset, timestamp, key, headers and the reason.
    "[dead_letter]" enum DeadLetterKind by "kind", false {
        /// A Kafka topic: JSON objects with topic, partition, offset, timestamp, key, headers, value and reason
        Kafka(DeadLetterTopic) = "kafka",
        /// A folder of Parquet files
        Parquet(DeadLetterFolder) = "parquet",
        /// A file of JSON lines, exactly once
        File(DeadLetterFile) = "file",
    }
}

table! {
    /// A topic of bad records.
    "[dead_letter]" struct DeadLetterTopic {
        /// Brokers to connect to; those of the source by default, with its settings
        brokers: Option<At<Brokers>>,
        /// The topic
        topic: At<Topic>,
        /// exactly_once (transactions), or at_least_once (sooner visible)
        delivery: At<Delivery> = "exactly_once",
        /// A file of librdkafka settings, `name=value` lines
        properties: Option<At<Text>>,
        /// librdkafka settings; secrets as { env = "NAME" } or { file = "PATH" }
        librdkafka: Option<At<Named<Setting>>>,
    }
}

table! {
    /// A folder of bad records.
    "[dead_letter]" struct DeadLetterFolder {
        /// The folder
        dir: At<Text>,
        /// none, snappy, lz4 or zstd[:LEVEL]
        compression: At<Compression> = "zstd:1",
    }
}

table! {
    /// A file of bad records.
    "[dead_letter]" struct DeadLetterFile {
        /// The file
        path: At<Text>,
    }
}

table! {
    /// When results are put out, what is kept over restarts, and what the job may use.
    "[run]" struct Run {
        /// How often results are put out
        trigger: At<Duration> = "1s",
        /// Folder that keeps positions and state, so that the next run goes on where this one ended
        checkpoint: Option<At<Text>>,
        /// How often a checkpoint is made and output committed; 0s: at each trigger
        checkpoint_interval: At<Duration> = "0s",
        /// Worker threads; the number of cores by default
        threads: Option<At<NonZeroUsize>>,
        /// Memory for batches that wait or are worked on
        queue: At<Bytes> = "8MiB",
        /// Rows of a batch at most
        batch_rows: At<NonZeroUsize> = "8192",
    }
}

table! {
    /// A test of the job: input rows, and the rows that are expected of them. What is not named is not compared: neither a
    /// query, nor a column that no row of the query names.
    "[[test]]" struct Test {
        /// What is shown to be true
        name: At<Text>,
        /// Payloads by source: a list of texts or records, or one text of a payload a line
        input: At<Named<Payloads<TestRecord>>>,
        /// How many records come at a time: after so many the watermark moves and results are put out; all by default
        micro_batch_rows: Option<At<NonZeroUsize>>,
        /// The watermark after all records, of an input that goes on; without it the input ends, and all windows close
        watermark: Option<At<Moment>>,
        /// Rows by query, in any order unless the query has one; of `[query]` under the name `query`
        expect: Option<At<Named<Vec<At<Named<Value>>>>>>,
        /// Dead letters in any order: topic, partition, offset, timestamp, key, headers, value, reason
        dead_letter: Option<At<Vec<At<Named<Value>>>>>,
        /// How many rows come too late
        late: Option<At<u64>>,
        /// How many payloads can't be decoded
        bad: Option<At<u64>>,
    }
}

table! {
    /// A record as input of a test; of sources other than Kafka it has a value only.
    "input" struct TestRecord {
        /// The payload; without it the record is a tombstone
        value: Option<At<AnyText>>,
        /// The key
        key: Option<At<AnyText>>,
        /// The record's time
        timestamp: Option<At<Moment>>,
        /// The topic; the source's first by default
        topic: Option<At<Topic>>,
        /// The partition
        partition: At<u64> = "0",
        /// Headers
        headers: Option<At<Named<AnyText>>>,
    }
}
