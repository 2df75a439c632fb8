//! Archives: jobs without a query. What such a job can't have is refused, with what to write instead.

use arrow::datatypes::Schema;
use connectors::kafka::options::{DataLossPolicy, Start};

use super::source::{names, no_column};
use super::{Checker, list, sink};
use crate::archive::SEGMENT_OFFSETS;
use crate::job::error::Report;
use crate::job::file::{
    ArchiveLayout, BadRows, Format, FormatKind, JobTables, KafkaSource, ParquetSink, Sink, SinkKind, Source,
    SourceKeys, SourceKind,
};
use crate::job::place::{At, Place};
use crate::job::plan::{ArchivePlan, FormatPlan, SourcePlan};
use crate::job::setting::{OneOrNamed, Part};

impl Checker<'_> {
    /// Returns the archive, if the job is one: it has no query, and a folder of Parquet files for the records themselves.
    pub(super) fn archive(&mut self, tables: &JobTables, sources: &mut [SourcePlan]) -> Option<ArchivePlan> {
        if !self.is_archive || matches!(tables.sink, Part::Broken) {
            return None;
        }
        let Some((at, sink)) = folder(tables) else {
            let help = "[query] says in SQL what goes to the [sink]; without one, `millstream replay` archives the records \
                        as they are, to a [sink] of kind = \"parquet\"";
            self.report
                .error_with_help(Place::default(), "missing `query` in the job file", help);
            return None;
        };
        let layout = sink.layout.map_or(ArchiveLayout::Envelope, |layout| layout.value);
        self.check_archive_tables(tables);
        self.check_archive_sink(at.place, sink);
        self.check_archive_sources(tables, layout);
        if layout == ArchiveLayout::Envelope {
            // The records as they are, whatever the default is.
            sources
                .iter_mut()
                .for_each(|source| source.formats = vec![FormatPlan::Raw]);
        }
        archive_plan(at, sink, layout, self.report)
    }

    /// Refuses the keys of an archive in the sink of a query.
    pub(super) fn refuse_archive_keys(&mut self, sink: &ParquetSink) {
        let places = [
            (sink.layout.as_ref().map(|key| key.place), "layout"),
            (sink.bloom_filter.as_ref().map(|key| key.place), "bloom_filter"),
            (sink.file_span.as_ref().map(|key| key.place), "file_span"),
            (sink.segment.as_ref().map(|key| key.place), "segment"),
        ];
        for (place, key) in places {
            self.refuse(place, format!("`{key}` is a key of an archive, which has no query"));
        }
    }

    fn check_archive_tables(&mut self, tables: &JobTables) {
        let dead_letter = tables.dead_letter.found().map(|table| table.place);
        self.refuse(
            dead_letter,
            "a replay has no dead letters: write on_bad = \"fail\", \"skip\" or \"null\" in the source",
        );
        let tests = tables.test.found().map(|tests| tests.place);
        self.refuse(tests, "a test is of queries, and an archive has none");
        let Some(run) = tables.run.found() else { return };
        let (at, run) = (run.place, &run.value);
        let places = [
            (given(&run.trigger, at), "trigger"),
            (run.checkpoint.as_ref().map(|key| key.place), "checkpoint"),
            (given(&run.checkpoint_interval, at), "checkpoint_interval"),
            (given(&run.queue, at), "queue"),
            (given(&run.batch_rows, at), "batch_rows"),
        ];
        for (place, key) in places {
            let message = format!(
                "`{key}` is a key of jobs with a query: an archive, which knows itself how far it is, has `threads` only"
            );
            self.refuse(place, message);
        }
    }

    fn check_archive_sink(&mut self, at: Place, sink: &ParquetSink) {
        let places = [
            (sink.file_age.as_ref().map(|key| key.place), "file_age"),
            (given(&sink.row_group_rows, at), "row_group_rows"),
            (given(&sink.row_group_bytes, at), "row_group_bytes"),
        ];
        for (place, key) in places {
            let message = format!(
                "`{key}` is a key of jobs with a query: files of an archive end by `file_rows`, `file_bytes`, `file_span` and \
                 `segment`"
            );
            self.refuse(place, message);
        }
        if sink.file_bytes.value.0 == 0 {
            self.report.error(sink.file_bytes.place, "expected 1 byte or more");
        }
    }

    fn check_archive_sources(&mut self, tables: &JobTables, layout: ArchiveLayout) {
        let sources = tables.source.found().map_or(&[][..], |sources| &sources.value.0);
        for (name, _) in sources.iter().skip(1) {
            let message = "an archive has one source: `topics` or `topic_pattern` in it stand for several topics";
            self.report.error(name.place, message);
        }
        for (name, source) in sources {
            let SourceKind::Kafka(kafka) = &source.value.kind else {
                let message =
                    "an archive is of Kafka topics: expected kind = \"kafka\", or a [query] for another source";
                self.report.error(name.place, message);
                continue;
            };
            self.check_archive_topics(source.place, kafka);
            self.check_archive_values(source, layout);
        }
    }

    fn check_archive_topics(&mut self, at: Place, kafka: &KafkaSource) {
        let is_committed = kafka.from.value == Start::Committed;
        let without_group = (is_committed && kafka.group.is_none()).then_some(kafka.from.place);
        self.refuse(without_group, "whose offsets? `committed` needs `group`");
        let group = kafka.group.as_ref().filter(|_| !is_committed);
        self.refuse(
            group.map(|key| key.place),
            "a replay joins no group: `group` goes with from = \"committed\", to start where that group is",
        );
        let reset = kafka.on_data_loss.value == DataLossPolicy::Reset;
        self.refuse(
            reset.then_some(kafka.on_data_loss.place),
            "an archive can't begin again: expected fail or skip",
        );
        self.refuse(
            given(&kafka.readers, at),
            "a replay reads with all its threads: write threads = ... in [run]",
        );
    }

    /// Checks what is said of the records' values.
    fn check_archive_values(&mut self, source: &At<Source>, layout: ArchiveLayout) {
        let SourceKeys {
            format,
            columns,
            time_zone,
            time,
            on_bad,
            max_error_ratio,
        } = &source.value.common;
        self.refuse(
            time.as_ref().map(|key| key.place),
            "event time is for queries: an archive has no windows",
        );
        self.refuse(
            max_error_ratio.as_ref().map(|key| key.place),
            "a replay has no `max_error_ratio`: on_bad = \"fail\" stops it at the first bad record",
        );
        let format_place = given(format, source.place);
        if layout != ArchiveLayout::Envelope {
            let is_raw = |format: &At<Format>| matches!(format.value.kind, FormatKind::Raw(_));
            let has_columns = format_place.is_some() && !format.value.0.iter().any(is_raw);
            let message = format!(
                "layout = \"{layout}\" needs a `format` with columns, such as json: \"envelope\" keeps records as they are"
            );
            let dead_letter = on_bad.filter(|policy| policy.value == BadRows::DeadLetter);
            self.refuse(
                dead_letter.map(|policy| policy.place),
                "a replay has no dead letters: expected fail, skip or null",
            );
            self.refuse((!has_columns).then_some(format_place.unwrap_or(source.place)), message);
            return;
        }
        let places = [
            (format_place, "format"),
            (columns.as_ref().map(|key| key.place), "columns"),
            (given(time_zone, source.place), "time_zone"),
            (on_bad.as_ref().map(|key| key.place), "on_bad"),
        ];
        for (place, key) in places {
            let message = format!(
                "an archive keeps records as they are: for `{key}` write layout = \"parsed\" or \"both\" in [sink]"
            );
            self.refuse(place, message);
        }
    }

    /// Reports a key that is there and can't be.
    fn refuse(&mut self, place: Option<Place>, message: impl Into<String>) {
        if let Some(place) = place {
            self.report.error(place, message);
        }
    }
}

/// Checks that the files of an archive have the columns that its keys name. `schema` is what its records are decoded to.
pub(super) fn check_columns(archive: &ArchivePlan, schema: &Schema, report: &mut Report) {
    for column in &archive.columns {
        if schema.column_with_name(&column.value).is_none() {
            report.error(column.place, no_column(&column.value, &names(schema)));
        }
    }
}

/// Returns the only sink, if it is a folder of Parquet files.
fn folder(tables: &JobTables) -> Option<(&At<Sink>, &ParquetSink)> {
    match &tables.sink.found()?.value {
        OneOrNamed::One(at) => match &at.value.kind {
            SinkKind::Parquet(sink) => Some((at, sink)),
            SinkKind::Console(_) | SinkKind::Kafka(_) | SinkKind::File(_) => None,
        },
        OneOrNamed::Named(_) => None,
    }
}

/// Returns where a key stands that has a default, if it is in the file: a default stands where its table does.
fn given<T>(key: &At<T>, table: Place) -> Option<Place> {
    (key.place != table).then_some(key.place)
}

fn archive_plan(at: &At<Sink>, sink: &ParquetSink, layout: ArchiveLayout, report: &mut Report) -> Option<ArchivePlan> {
    let bloom_filter = || list(sink.bloom_filter.as_ref());
    let mut columns = sink::columns(at);
    columns.extend(bloom_filter().map(|column| At::new(column.value.0.clone(), column.place)));
    let location = sink.dir.value.0.parse();
    let location = location
        .map_err(|problem: String| report.error(sink.dir.place, problem))
        .ok()?;
    Some(ArchivePlan {
        location,
        layout,
        compression: sink.compression.value,
        bloom_filter: bloom_filter().map(|column| column.value.0.clone()).collect(),
        partition_by: list(sink.partition_by.as_ref())
            .map(|entry| entry.value.clone())
            .collect(),
        file_rows: sink.file_rows.map(|rows| rows.value),
        file_bytes: sink.file_bytes.value.0,
        file_span: sink.file_span.map(|span| span.value),
        segment_offsets: sink.segment.map_or(SEGMENT_OFFSETS, |segment| segment.value),
        columns,
    })
}
