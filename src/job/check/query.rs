//! Queries, each with its sink.

use arrow::datatypes::Schema;

use super::source::{names, no_column};
use super::{Checker, Part, mentions};
use crate::job::error::Report;
use crate::job::file::{JobTables, LateRows, Query, Sink};
use crate::job::nearest;
use crate::job::place::At;
use crate::job::plan::QueryPlan;
use crate::job::setting::OneOrNamed;

/// The name of a job's only query.
pub(super) const ONLY: &str = "query";

/// A query with the table `[sink]` that goes with it.
struct Pair<'a> {
    name: At<String>,
    query: &'a At<Query>,
    sink: Option<&'a At<Sink>>,
}

impl Checker<'_> {
    pub(super) fn queries(&mut self, tables: &JobTables) -> Vec<QueryPlan> {
        let mut pairs = pairs(tables);
        self.add_sinks(tables, &mut pairs);
        let may_lack_sink = matches!(tables.sink, Part::Broken);
        let is_read = |index: usize| {
            let name = &pairs[index].name.value;
            pairs[index + 1..]
                .iter()
                .any(|later| mentions(&later.query.value.sql.value.0, name))
        };
        let plan = |(index, pair): (usize, &Pair<'_>)| self.query(pair, tables, may_lack_sink || is_read(index));
        pairs.iter().enumerate().map(plan).collect()
    }

    /// Finds the query of each `[sink]`.
    fn add_sinks<'a>(&mut self, tables: &'a JobTables, pairs: &mut [Pair<'a>]) {
        let sinks = match tables.sink.found().map(|sink| &sink.value) {
            Some(OneOrNamed::Named(sinks)) => sinks.as_slice(),
            Some(OneOrNamed::One(sink)) => {
                match pairs {
                    [] => {}
                    [pair] => pair.sink = Some(sink),
                    _ => {
                        let message = "which query has this [sink]? with several, write [sink.NAME] for [query.NAME]";
                        self.report.error(sink.place, message);
                        pairs.iter_mut().for_each(|pair| pair.sink = Some(sink));
                    }
                }
                return;
            }
            None => return,
        };
        for (name, sink) in sinks {
            let found = pairs.iter().position(|pair| pair.name.value == name.value);
            match found {
                Some(index) => pairs[index].sink = Some(sink),
                None if pairs.is_empty() => {}
                None => {
                    let hint = nearest::hint(&name.value, pairs.iter().map(|pair| pair.name.value.as_str()));
                    self.report
                        .error(name.place, format!("there is no query `{}`{hint}", name.value));
                }
            }
        }
    }

    fn query(&mut self, pair: &Pair<'_>, tables: &JobTables, may_lack_sink: bool) -> QueryPlan {
        let Pair { name, query, sink } = pair;
        self.check_query_name(name, tables);
        let keys = &query.value;
        if keys.late.value == LateRows::DeadLetter {
            self.need_dead_letter(keys.late.place);
        }
        if let (Some(inner), Some(_)) = (&keys.sink, sink) {
            let message = format!("the query `{}` has a sink already: [sink.{0}], or [sink]", name.value);
            self.report.error(inner.place, message);
        }
        let sink = keys.sink.as_ref().or(*sink);
        if sink.is_none() && !may_lack_sink {
            let table = match name.value.as_str() {
                ONLY => "[sink]".to_owned(),
                name => format!("[sink.{name}], or a later query that reads it"),
            };
            let message = format!(
                "the result of the query `{}` goes nowhere: expected {table}",
                name.value
            );
            self.report
                .error_with_help(name.place, message, "for a start: sink = { kind = \"console\" }");
        }
        QueryPlan {
            name: name.value.clone(),
            sql: keys.sql.value.0.clone(),
            mode: keys.mode.value,
            late: keys.late.value,
            sink: sink.and_then(|sink| self.sink(sink)),
            place: keys.sql.place,
            sink_place: sink.map_or(name.place, |sink| sink.place),
            sink_columns: sink.map_or_else(Vec::new, super::sink::columns),
        }
    }

    fn check_query_name(&mut self, name: &At<String>, tables: &JobTables) {
        if name.value != ONLY {
            self.check_name("query", name);
        }
        let sources = tables.source.found().map_or(&[][..], |sources| &sources.value.0);
        if sources.iter().any(|(source, _)| source.value == name.value) {
            let message = format!("`{}` is the name of a source and of a query: SQL needs two", name.value);
            self.report.error(name.place, message);
        }
    }
}

fn pairs(tables: &JobTables) -> Vec<Pair<'_>> {
    let pair = |name, query| Pair {
        name,
        query,
        sink: None,
    };
    match tables.query.found().map(|query| &query.value) {
        Some(OneOrNamed::One(query)) => vec![pair(At::new(ONLY.to_owned(), query.place), query)],
        Some(OneOrNamed::Named(queries)) => queries.iter().map(|(name, query)| pair(name.clone(), query)).collect(),
        None => vec![],
    }
}

/// Checks that a query's result has the columns that its sink is told of.
pub(super) fn check_columns(query: &QueryPlan, schema: &Schema, report: &mut Report) {
    for column in &query.sink_columns {
        if schema.column_with_name(&column.value).is_none() {
            report.error(column.place, no_column(&column.value, &names(schema)));
        }
    }
}
