//! `millstream query`: SQL over files and topics, once.

mod input;
mod result;
mod target;
mod topic;

use std::io::{IsTerminal, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use connectors::decode::registry;
use engine::metrics::Metrics;
use engine::operator::OutputMode;
use engine::pipeline::{Input as JobInput, Job, Query as JobQuery, Settings};
use engine::{Error, Result, aggregate};

use self::input::{Opened, open_parquet, open_table};
use self::result::ResultSink;
use self::target::Target;
use self::topic::Topic;
use super::Exit;
use super::format::Format;
use super::kafka::ConnectionArguments;
use super::launch::{self, Launch, Output};
use super::progress::Progress;
use super::value;
use crate::sql::{self, Planned, Reference};

const EXAMPLES: &str = "\
Examples:
  millstream query \"SELECT count(*) FROM 'logs/*.log.gz'\"
  millstream query \"SELECT word, count(*) AS n
                    FROM (SELECT unnest(tokenize(value)) AS word FROM 'access.log')
                    GROUP BY word ORDER BY n DESC LIMIT 10\"
  millstream query -f combined \"SELECT tumble(time, '1 minute') AS minute, status, count(*) AS hits
                                FROM 'access.log' WHERE status >= 400
                                GROUP BY minute, status ORDER BY minute\"
  millstream query -f json --columns level:string,took:float --output-format csv \\
                   \"SELECT level, avg(took) FROM 'app.log' GROUP BY level\"
  millstream query \"SELECT status, count(*) FROM kafka('nginx', brokers => 'localhost:9092', format => 'combined',
                                                       from => '1h') GROUP BY status\"
  millstream query \"SELECT minute, hits FROM 'out/errors/**/*.parquet' ORDER BY minute\"
  millstream query -f combined --output-format parquet -o slow.parquet \"SELECT * FROM 'access.log' WHERE bytes > 1000\"
  millstream query \"EXPLAIN SELECT upper(value) FROM 'app.log'\"";

const FUNCTIONS: &str = "\
Functions, beside the usual ones of text, time and numbers:
  unnest(tokenize(text [, mode])), json_get(text, 'a.b[0]'),
  tumble(time, size), hop(time, slide, size), session(time, gap)";

/// The longest line of names in the help: with its comma it fits a terminal of 80 columns.
const LINE_CHARACTERS_MAX: usize = 76;

/// Answer a query in SQL over files and topics
#[derive(Debug, Args)]
#[command(after_help = after_help())]
pub(super) struct Query {
    /// The query. What it reads stands in FROM: files in single quotes ('access.log', 'logs/*.log.gz', 'out/**/*.parquet', or
    /// '-', the standard input), or a topic, kafka('nginx', ...). Without a format, a line or record is the column `value`
    #[arg(value_name = "SQL")]
    sql: String,
    #[command(flatten)]
    format: Format,
    /// How to write the rows
    #[arg(long = "output-format", visible_alias = "format", value_name = "HOW", value_enum, default_value_t = Shape::Table)]
    shape: Shape,
    /// File to write instead of the standard output; it appears when it is whole
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    connection: ConnectionArguments,
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
    /// A Parquet file
    Parquet,
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
        let references = sql::sources(&self.sql)?;
        let open = |reference: &Reference| self.open(reference, threads, None);
        let opened = references.iter().map(open).collect::<Result<Vec<_>>>()?;
        let tables: Vec<_> = opened.iter().map(Opened::table).collect();
        let planned = sql::plan(&self.sql, &tables, OutputMode::Complete)?;
        if planned.explain_only {
            super::print(planned.explain())?;
            return Ok(Exit::Done);
        }
        let mut target = self.target()?;
        let (writer, metrics) = (target.writer()?, Arc::<Metrics>::default());
        let progress = self.progress(output);
        let is_silent = progress.is_none() && !output.quiet;
        let launch = Launch {
            job: self.job(planned, &references, threads, writer)?,
            settings: Settings::bounded(threads),
            checkpoint: None,
            progress,
            bounded: true,
            metrics: Arc::clone(&metrics),
        };
        let exit = launch.run()?;
        if exit == Exit::Done {
            target.publish()?;
        }
        let bad = metrics.rows_bad.get();
        if is_silent && bad > 0 {
            eprintln!(
                "millstream: {bad} of {} rows could not be decoded and were left out",
                metrics.rows_in.get()
            );
        }
        Ok(exit)
    }

    /// Opens the sources again, for the columns that the query uses and no others.
    fn job(
        &self,
        planned: Planned,
        references: &[Reference],
        threads: NonZeroUsize,
        writer: Box<dyn Write + Send>,
    ) -> Result<Job> {
        let (mut inputs, mut branches) = (vec![], vec![]);
        for input in planned.inputs {
            let reference = references.iter().find(|reference| reference.name == input.table);
            let reference = reference.expect("a query reads its references");
            let opened = self.open(reference, threads, Some(&input.columns_used()))?;
            branches.push(input.into_branch(inputs.len(), &opened.schema)?);
            inputs.push(JobInput {
                name: opened.name,
                operators: opened.operators,
                ..JobInput::new(opened.source)
            });
        }
        let sink = ResultSink::new(writer, self.shape, planned.schema, planned.whole)?;
        let query = JobQuery {
            branches,
            aggregate: planned.aggregate,
            finish: planned.finish,
            mode: OutputMode::Complete,
            ..JobQuery::new(Box::new(sink))
        };
        Ok(Job {
            inputs,
            queries: vec![query],
            dead_letters: None,
        })
    }

    fn open(&self, reference: &Reference, threads: NonZeroUsize, wanted: Option<&[String]>) -> Result<Opened> {
        match &reference.call {
            Some(call) if call.function == topic::FUNCTION => {
                let topic = Topic::new(reference, call, &self.connection, &self.format)?;
                topic.open(&self.connection, threads, wanted)
            }
            Some(call) => Err(Error::Invalid(format!(
                "there is no function `{}` to read from: write kafka('topic', ...), or a file in single quotes",
                call.function
            ))),
            None if input::is_parquet(&reference.name) => open_parquet(&reference.name, threads, wanted),
            None => open_table(&reference.name, threads, self.format.decoder(wanted)?),
        }
    }

    fn target(&self) -> Result<Target> {
        if self.shape == Shape::Parquet && self.out.is_none() && std::io::stdout().is_terminal() {
            let text = "a Parquet file is nothing for a terminal: give --out FILE, or send the output elsewhere";
            return Err(Error::Invalid(text.to_owned()));
        }
        Ok(Target::new(self.out.clone()))
    }

    /// Rows on a terminal are progress enough.
    fn progress(&self, output: Output) -> Option<Progress> {
        let is_shown = !output.quiet && std::io::stderr().is_terminal();
        is_shown.then(|| Progress::new("query"))
    }
}
