//! The command line: one file a verb. Data goes to the standard output, everything else to the standard error.

mod check;
mod compact;
mod completions;
mod demo;
mod exit;
#[cfg(feature = "sql")]
mod explain;
mod format;
mod generate;
mod kafka;
mod launch;
mod man;
mod new;
mod parse;
mod progress;
#[cfg(feature = "sql")]
mod query;
mod replay;
mod restore;
#[cfg(feature = "sql")]
mod run;
mod schema;
mod shown;
#[cfg(feature = "sql")]
mod tap;
#[cfg(feature = "sql")]
mod test;
mod value;
mod verify;
mod wordcount;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

pub use exit::Exit;

#[cfg(feature = "sql")]
const FIRST_STEPS: &str = "\
First steps:
  millstream demo
  millstream query -f combined \"SELECT status, count(*) AS hits FROM 'access.log' GROUP BY status\"
  millstream new errors_a_minute --out errors.toml
  millstream check errors.toml
  millstream run errors.toml";
#[cfg(not(feature = "sql"))]
const FIRST_STEPS: &str = "\
First steps:
  millstream demo
  millstream wordcount access.log";

/// Where the options that every verb has stand in its help: after its own.
const GLOBAL: usize = 900;

/// Runs SQL over the logs of Kafka topics and files, and writes Parquet or Kafka: batch by batch, exactly once.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 110, arg_required_else_help = true, after_help = after_help())]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
    /// Say more on the standard error; twice: also what librdkafka does
    #[arg(short, long, global = true, display_order = GLOBAL, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    verbose: u8,
    /// Say nothing but errors
    #[arg(short, long, global = true, display_order = GLOBAL)]
    quiet: bool,
}

/// The verbs: one line each.
#[derive(Debug, Subcommand)]
enum Verb {
    Demo(demo::Demo),
    Wordcount(wordcount::Wordcount),
    Replay(Box<replay::Replay>),
    Verify(verify::Verify),
    Restore(restore::Restore),
    Compact(compact::Compact),
    Generate(generate::Generate),
    Parse(parse::Parse),
    #[cfg(feature = "sql")]
    Tap(tap::Tap),
    #[cfg(feature = "sql")]
    Query(query::Query),
    #[cfg(feature = "sql")]
    Run(run::Run),
    Check(check::Check),
    #[cfg(feature = "sql")]
    Test(test::Test),
    #[cfg(feature = "sql")]
    Explain(explain::Explain),
    New(new::New),
    Schema(schema::Schema),
    Completions(completions::Completions),
    Man(man::Man),
}

impl Verb {
    fn run(self, output: launch::Output) -> Result<Exit, engine::Error> {
        match self {
            Self::Demo(demo) => demo.run(output),
            Self::Wordcount(wordcount) => wordcount.run(output),
            Self::Replay(replay) => replay.run(output),
            Self::Verify(verify) => verify.run(output),
            Self::Restore(restore) => restore.run(output),
            Self::Compact(compact) => compact.run(output),
            Self::Generate(generate) => generate.run(output),
            Self::Parse(parse) => parse.run(output),
            #[cfg(feature = "sql")]
            Self::Tap(tap) => tap.run(output),
            #[cfg(feature = "sql")]
            Self::Query(query) => query.run(output),
            #[cfg(feature = "sql")]
            Self::Run(run) => run.run(output),
            Self::Check(check) => check.run(output),
            #[cfg(feature = "sql")]
            Self::Test(test) => test.run(output),
            #[cfg(feature = "sql")]
            Self::Explain(explain) => explain.run(output),
            Self::New(new) => new.run(output),
            Self::Schema(schema) => schema.run(output),
            Self::Completions(completions) => completions.run(output),
            Self::Man(man) => man.run(output),
        }
    }
}

fn after_help() -> String {
    format!("{FIRST_STEPS}\n\n{}", exit::TABLE)
}

/// Returns the command line's definition, for completions and for tests of the documentation.
pub fn command() -> clap::Command {
    Arguments::command()
}

/// Runs the program with the process's arguments.
pub fn main() -> ExitCode {
    let arguments = match Arguments::command()
        .try_get_matches()
        .and_then(|mut matches| Arguments::from_arg_matches_mut(&mut matches))
    {
        Ok(arguments) => arguments,
        Err(error) => error.exit(),
    };
    start_log(arguments.verbose, arguments.quiet);
    let output = launch::Output { quiet: arguments.quiet };
    match arguments.verb.run(output) {
        Ok(exit) => exit.into(),
        Err(error) => exit::report(&error).into(),
    }
}

/// Writes a text to the standard output.
fn print(text: impl AsRef<[u8]>) -> engine::Result<()> {
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(text.as_ref()).and_then(|()| stdout.flush());
    written.map_err(engine::Error::io("write to", "<standard output>"))
}

fn start_log(verbose: u8, quiet: bool) {
    let default = match (quiet, verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "info,librdkafka=warn,rdkafka=warn",
        (false, _) => "debug",
    };
    let filter = EnvFilter::try_from_env("MILLSTREAM_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| progress::Stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}
