//! `millstream query`: SQL over files, once.

mod input;
mod result;

use std::io::{BufWriter, IsTerminal};
use std::num::NonZeroUsize;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use connectors::decode::{DeclaredColumn, FormatOptions, TimeSettings, TimeZone, registry};
use engine::operator::OutputMode;
use engine::pipeline::{Job, Query as JobQuery, Settings};
use engine::{Result, aggregate};

use self::input::{Opened, open_table};
use self::result::ResultSink;
use super::Exit;
use super::launch::{self, Launch, Output};
use super::progress::Progress;
use super::value;
use crate::sql::{self, Planned};

const EXAMPLES: &str = "\
Examples:
  millstream query \"SELECT count(*) FROM 'logs/*.log.gz'\"
  millstream query \"SELECT word, count(*) AS n
                    FROM (SELECT unnest(tokenize(value)) AS word FROM 'access.log')
                    GROUP BY word ORDER BY n DESC LIMIT 10\"
  millstream query -f combined \"SELECT tumble(time, '1 minute') AS minute, status, count(*) AS hits
                                FROM 'access.log' WHERE status >= 400
                                GROUP BY minute, status ORDER BY minute\"
  millstream query -f json --columns level:string,took:float --format csv \\
                   \"SELECT level, avg(took) FROM 'app.log' GROUP BY level\"
  millstream query \"EXPLAIN SELECT upper(value) FROM 'app.log'\"";

const FUNCTIONS: &str = "\
Functions, beside the usual ones of text, time and numbers:
  unnest(tokenize(text [, mode])), json_get(text, 'a.b[0]'),
  tumble(time, size), hop(time, slide, size), session(time, gap)";

/// The longest line of names in the help: with its comma it fits a terminal of 80 columns.
const LINE_CHARACTERS_MAX: usize = 76;

/// Answer a query in SQL over files
#[derive(Debug, Args)]
#[command(after_help = after_help())]
pub(super) struct Query {
    /// The query. The files that it reads stand in FROM, in single quotes: 'access.log', 'logs/*.log.gz', or '-', the standard
    /// input
    #[arg(value_name = "SQL")]
    sql: String,
    /// Format of the lines, as combined or json,logfmt: each line has the first that reads it. Without one, a line is the
    /// column `value`
    #[arg(short = 'f', long = "as", value_name = "FORMAT", value_delimiter = ',')]
    formats: Vec<String>,
    /// Columns to make, for formats without columns of their own; types: int, float, bool, string, bytes, timestamp,
    /// timestamp:FORMAT
    #[arg(long, value_name = "NAME:TYPE", value_delimiter = ',', requires = "formats", value_parser = str::parse::<DeclaredColumn>)]
    columns: Vec<DeclaredColumn>,
    /// Pattern of the lines, for formats that have one
    #[arg(long, value_name = "PATTERN", requires = "formats")]
    pattern: Option<String>,
    /// Zone of times that do not say theirs, such as +02:00
    #[arg(long, value_name = "ZONE", default_value = "UTC", allow_hyphen_values = true, value_parser = str::parse::<TimeZone>)]
    zone: TimeZone,
    /// How to show the rows
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Shape::Table)]
    format: Shape,
    /// Worker threads [default: the number of cores]
    #[arg(long, value_name = "N", value_parser = value::positive)]
    threads: Option<NonZeroUsize>,
}

/// How rows are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shape {
    /// Columns under their names
    Table,
    /// Comma-separated values under the columns' names
    Csv,
    /// An object a line
    Json,
}

/// Returns the names of formats and functions, from their registries, and the examples.
fn after_help() -> String {
    let formats = listed(registry::ENTRIES.iter().map(|entry| entry.name));
    let aggregates = listed(aggregate::registry::ENTRIES.iter().map(|entry| entry.usage));
    format!(
        "Formats (`millstream parse --help` says more):\n{formats}\n\nAggregates:\n{aggregates}\n\n{FUNCTIONS}\n\n{EXAMPLES}"
    )
}

/// Returns the names with commas, in lines that fit a terminal.
fn listed(names: impl Iterator<Item = &'static str>) -> String {
    let (mut text, mut width) = (" ".to_owned(), 1);
    for name in names {
        if width + name.len() > LINE_CHARACTERS_MAX {
            text.push_str("\n ");
            width = 1;
        }
        text.push_str(&format!(" {name},"));
        width += name.len() + 2;
    }
    text.trim_end_matches(',').to_owned()
}

impl Query {
    /// Runs the query.
    pub(super) fn run(self, output: Output) -> Result<Exit> {
        let threads = launch::threads(self.threads);
        let names = sql::sources(&self.sql)?;
        let open = |name: &String| self.open(name, threads, None);
        let opened = names.iter().map(open).collect::<Result<Vec<_>>>()?;
        let tables: Vec<_> = opened.iter().map(Opened::table).collect();
        let planned = sql::plan(&self.sql, &tables, OutputMode::Complete)?;
        if planned.explain_only {
            return result::show_plan(&planned.explain());
        }
        let launch = Launch {
            job: self.job(planned, threads)?,
            settings: Settings::bounded(threads),
            checkpoint: None,
            progress: self.progress(output),
            bounded: true,
            metrics: Arc::default(),
        };
        launch.run()
    }

    /// Opens the files again, for the columns that the query uses and no others.
    fn job(&self, planned: Planned, threads: NonZeroUsize) -> Result<Job> {
        let opened = self.open(&planned.table, threads, Some(planned.columns_used()))?;
        let mut operators = opened.operators;
        operators.extend(planned.narrow(&opened.schema)?);
        operators.extend(planned.operators);
        let sink = ResultSink::new(
            BufWriter::new(std::io::stdout()),
            self.format,
            planned.schema,
            planned.whole,
        )?;
        let query = JobQuery {
            operators,
            aggregate: planned.aggregate,
            finish: planned.finish,
            mode: OutputMode::Complete,
            ..JobQuery::new(Box::new(sink))
        };
        Ok(Job::new(opened.source, query))
    }

    fn open(&self, name: &str, threads: NonZeroUsize, wanted: Option<Vec<String>>) -> Result<Opened> {
        if self.formats.is_empty() {
            return open_table(name, threads, None);
        }
        let options = FormatOptions {
            columns: self.columns.clone(),
            pattern: self.pattern.clone(),
            time: TimeSettings {
                zone: self.zone,
                ..TimeSettings::default()
            },
            wanted,
            ..FormatOptions::default()
        };
        open_table(name, threads, Some(registry::build(&self.formats, &options)?))
    }

    /// Rows on a terminal are progress enough.
    fn progress(&self, output: Output) -> Option<Progress> {
        let is_shown = !output.quiet && std::io::stderr().is_terminal();
        is_shown.then(|| Progress::new("query"))
    }
}
