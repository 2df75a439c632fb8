//! From what a job file says to a plan: what no single key can tell is checked here, and everything is reported.

mod archive;
mod connection;
mod query;
mod sink;
mod source;
mod test;

use std::path::PathBuf;

use super::error::Report;
use super::file::{JobTables, Run};
use super::node::TableNode;
use super::place::{At, Place, Texts};
use super::plan::{ConnectionPlan, JobPlan, QueryPlan, RunPlan, SinkPlan, SourceKind, SourcePlan};
use super::setting::Part;
use super::sql::Analysis;
use super::table::Table;

/// What the parts of a job need to know of each other while they are checked.
struct Checker<'a> {
    job: &'a str,
    /// Whether several sources are Kafka's, which share a group then.
    shares_group: bool,
    has_dead_letter: bool,
    /// Whether there is no query, so that the job is an archive, or nothing.
    is_archive: bool,
    /// The clusters of the sources, for sinks that name no brokers.
    clusters: Vec<ConnectionPlan>,
    report: &'a mut Report,
}

/// Returns the plan of a job. If anything is wrong, that is reported, and the plan lacks what could not be understood.
pub(super) fn plan(tables: &JobTables, file_stem: &str, texts: Texts, report: &mut Report) -> JobPlan {
    let name = tables.name.found().map_or(file_stem, |name| &name.value.0);
    let mut checker = Checker {
        job: name,
        shares_group: source::kafka_sources(tables) > 1,
        has_dead_letter: !matches!(tables.dead_letter, Part::Missing),
        is_archive: matches!(tables.query, Part::Missing),
        clusters: vec![],
        report,
    };
    let mut sources = checker.sources(tables);
    let queries = checker.queries(tables);
    let archive = checker.archive(tables, &mut sources);
    let dead_letter = tables.dead_letter.found();
    let dead_letter = dead_letter.and_then(|sink| checker.dead_letter(sink));
    checker.check_outputs(
        &queries,
        dead_letter
            .as_ref()
            .zip(tables.dead_letter.found().map(|sink| sink.place)),
    );
    checker.check_loops(&sources, &queries);
    checker.check_read_once(&sources);
    checker.check_groups(&sources, &queries, dead_letter.as_ref());
    let run = checker.run(tables, &queries, dead_letter.as_ref());
    let tests = checker.tests(tables, &sources);
    JobPlan {
        name: name.to_owned(),
        sources,
        queries,
        archive,
        dead_letter,
        run,
        tests,
        texts,
    }
}

/// Checks columns and statements, as far as the plan goes. `declared` are the names of all sources and queries of the
/// file: a statement that reads one which could not be understood would only be told so again, and is left out.
pub(super) fn analyse(plan: &JobPlan, declared: &[&str], analysis: &dyn Analysis, report: &mut Report) {
    let sources = plan.sources.iter().map(|source| source.name.as_str());
    let planned: Vec<_> = sources
        .chain(plan.queries.iter().map(|query| query.name.as_str()))
        .collect();
    let mut broken: Vec<&str> = declared
        .iter()
        .copied()
        .filter(|name| !planned.contains(name))
        .collect();
    for source in &plan.sources {
        match analysis.source_schema(source) {
            Ok(schema) => {
                source::check_time(source, &schema, report);
                if let Some(archive) = &plan.archive {
                    archive::check_columns(archive, &schema, report);
                }
            }
            Err(problem) => {
                report.error(source.place, problem);
                broken.push(&source.name);
            }
        }
    }
    check_all_are_read(plan, report);
    for query in &plan.queries {
        if broken.iter().any(|name| mentions(&query.sql, name)) {
            broken.push(&query.name);
            continue;
        }
        match analysis.check_sql(query) {
            Ok(schema) => query::check_columns(query, &schema, report),
            Err(problem) => {
                report.error(problem.locate(&plan.texts, query.place), problem.message.clone());
                broken.push(&query.name);
            }
        }
    }
}

/// A source that no statement names would not be read, without a word.
fn check_all_are_read(plan: &JobPlan, report: &mut Report) {
    // What an error has left out of the plan may be what reads it.
    if !report.is_empty() || plan.archive.is_some() {
        return;
    }
    let is_read = |source: &SourcePlan| plan.queries.iter().any(|query| mentions(&query.sql, &source.name));
    for source in plan.sources.iter().filter(|source| !is_read(source)) {
        report.error(source.place, format!("no query reads the source `{}`", source.name));
    }
}

/// Whether a statement may read a table.
pub(super) fn mentions(sql: &str, table: &str) -> bool {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    sql.split(|letter| !is_part(letter))
        .any(|word| word.eq_ignore_ascii_case(table))
}

impl Checker<'_> {
    fn sources(&mut self, tables: &JobTables) -> Vec<SourcePlan> {
        let Some(sources) = tables.source.found() else {
            return vec![];
        };
        if sources.value.0.is_empty() && self.report.is_empty() {
            self.report.error(sources.place, "expected at least one [source.NAME]");
        }
        let sources = sources.value.0.iter();
        sources.filter_map(|(name, source)| self.source(name, source)).collect()
    }

    /// Two outputs at one place would destroy each other.
    fn check_outputs(&mut self, queries: &[QueryPlan], dead_letter: Option<(&SinkPlan, Place)>) {
        let sinks = queries
            .iter()
            .filter_map(|query| Some((query.sink.as_ref()?, query.sink_place)));
        let mut seen: Vec<PathBuf> = vec![];
        for (sink, place) in sinks.chain(dead_letter) {
            let path = match sink {
                SinkPlan::Parquet(parquet) => &parquet.dir,
                SinkPlan::File { path, .. } if path.as_os_str() != "-" => path,
                SinkPlan::File { .. } | SinkPlan::Console { .. } | SinkPlan::Kafka(_) => continue,
            };
            let path = lexical(path);
            match seen.contains(&path) {
                true => self
                    .report
                    .error(place, format!("{} is written by two sinks", path.display())),
                false => seen.push(path),
            }
        }
    }

    /// What a job writes it would read again, for ever.
    fn check_loops(&mut self, sources: &[SourcePlan], queries: &[QueryPlan]) {
        for query in queries {
            let Some(SinkPlan::Kafka(sink)) = &query.sink else {
                continue;
            };
            let reads = |source: &&SourcePlan| match &source.kind {
                SourceKind::Kafka(kafka) => {
                    kafka.connection.brokers == sink.connection.brokers && kafka.topics.contain(&sink.topic)
                }
                SourceKind::File { .. } | SourceKind::Generate(_) => false,
            };
            if let Some(source) = sources.iter().find(reads) {
                let message = format!(
                    "the topic {} is read by [source.{}]: the job would read what it writes",
                    sink.topic, source.name
                );
                self.report.error(query.sink_place, message);
            }
        }
    }

    /// A record that two sources read would count twice, and a position could not say whose it is.
    fn check_read_once(&mut self, sources: &[SourcePlan]) {
        for (number, source) in sources.iter().enumerate() {
            for stream in source.kind.streams() {
                let other = sources[..number]
                    .iter()
                    .find(|other| other.kind.streams().any(|read| read == stream));
                if let Some(other) = other {
                    let message = format!(
                        "{stream} is read by [source.{}] too: a topic or file is read by one source, which may try several \
                         formats",
                        other.name
                    );
                    self.report.error(source.place, message);
                }
            }
        }
    }

    /// A transaction marks one group with its epoch, and publishes the positions of all sources there.
    fn check_groups(&mut self, sources: &[SourcePlan], queries: &[QueryPlan], dead_letter: Option<&SinkPlan>) {
        let sinks = queries
            .iter()
            .filter_map(|query| query.sink.as_ref())
            .chain(dead_letter);
        let exact = sinks.filter(|sink| sink.is_exactly_once());
        let clusters = exact.filter_map(|sink| match sink {
            SinkPlan::Kafka(kafka) => Some(&kafka.connection.brokers),
            _ => None,
        });
        let Some(brokers) = clusters.into_iter().next() else {
            return;
        };
        let mut first: Option<&str> = None;
        for source in sources {
            let SourceKind::Kafka(kafka) = &source.kind else {
                continue;
            };
            if kafka.connection.brokers != *brokers {
                continue;
            }
            if *first.get_or_insert(&kafka.group) != kafka.group {
                let message = format!(
                    "exactly-once output to Kafka publishes the offsets of all sources in one transaction, to one group: [source.{}] \
                     has `{}`, an earlier source `{}`",
                    source.name,
                    kafka.group,
                    first.unwrap_or_default()
                );
                self.report.error(source.place, message);
            }
        }
    }

    fn run(&mut self, tables: &JobTables, queries: &[QueryPlan], dead_letter: Option<&SinkPlan>) -> RunPlan {
        let run = match tables.run.found() {
            Some(run) => run.value.clone(),
            None => default_run(),
        };
        let sinks: Vec<_> = queries
            .iter()
            .filter_map(|query| query.sink.as_ref())
            .chain(dead_letter)
            .collect();
        let exact = sinks.iter().find(|sink| sink.is_exactly_once());
        let checkpoint = match (&run.checkpoint, sinks.as_slice(), exact) {
            (Some(dir), ..) => Some(PathBuf::from(&dir.value.0)),
            (None, [SinkPlan::Parquet(parquet)], _) => Some(parquet.dir.join("_millstream").join("checkpoint")),
            (None, _, Some(sink)) if !matches!(tables.run, Part::Broken) => {
                self.need_checkpoint(tables, sink);
                None
            }
            (None, ..) => None,
        };
        RunPlan {
            trigger: run.trigger.value,
            checkpoint,
            checkpoint_interval: run.checkpoint_interval.value,
            threads: run.threads.map(|threads| threads.value),
            queue_bytes: run.queue.value.0,
            batch_rows: run.batch_rows.value,
        }
    }

    fn need_checkpoint(&mut self, tables: &JobTables, sink: &SinkPlan) {
        let place = match (&tables.run, &tables.sink, &tables.query) {
            (Part::Found(run), ..) => run.place,
            (_, Part::Found(sink), _) => sink.place,
            (_, _, Part::Found(query)) => query.place,
            _ => return,
        };
        let message = format!("exactly-once output needs a checkpoint: {sink}");
        let help = match sink {
            SinkPlan::Kafka(_) => {
                "write checkpoint = \"state/...\" in [run], or delivery = \"at_least_once\" in the sink"
            }
            _ => "write checkpoint = \"state/...\" in [run]",
        };
        self.report.error_with_help(place, message, help);
    }

    /// A name in SQL, without quotes.
    fn check_name(&mut self, what: &str, name: &At<String>) {
        let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let text = name.value.as_str();
        if !text.bytes().all(legal) || !text.starts_with(|first: char| first.is_ascii_lowercase() || first == '_') {
            let message = format!(
                "expected a name of lower-case letters, digits and `_` for a {what}, as SQL has them, not `{text}`"
            );
            self.report.error(name.place, message);
        }
    }
}

/// Returns `[run]` of a file that has none.
fn default_run() -> Run {
    let empty = TableNode::default();
    Run::read_keys(At::new(&empty, Place::default()), &mut Report::default())
        .expect("no key of [run] is required, and the defaults are right")
}

/// Returns the entries of a list that may not be there.
fn list<T>(list: Option<&At<Vec<At<T>>>>) -> impl Iterator<Item = &At<T>> {
    list.into_iter().flat_map(|list| &list.value)
}

/// Returns a path without `.` and doubled slashes, to compare.
fn lexical(path: &std::path::Path) -> PathBuf {
    let parts = path.components();
    parts.filter(|part| *part != std::path::Component::CurDir).collect()
}
