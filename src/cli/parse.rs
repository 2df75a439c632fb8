//! `millstream parse`: log lines as a table or as JSON lines, to try a format out.

use std::fmt::Write as _;
use std::io::{self, BufWriter};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray;
use clap::{ArgGroup, Args};
use connectors::decode::{Decoder, registry};
use connectors::file::{FileOptions, FileSource};
use connectors::spelling;
use engine::source::{Event, Intake, Source};
use engine::{Error, Result};

use super::Exit;
use super::format::Format;
use super::launch::Output;
use super::shown::{Report, Shape};

const EXAMPLES: &str = "\
Examples:
  millstream parse -f combined access.log
  millstream parse -f combined,syslog --only time,host,status mixed.log.gz
  tail -f app.log | millstream parse -f logfmt --columns status:int,took:float --output-format json";

/// Bytes of lines that wait to be shown.
const QUEUE_BYTES: usize = 16 << 20;

/// How long the reader is waited for at a time.
const PATIENCE: Duration = Duration::from_secs(1);

/// Decode log lines and show their columns, to try a format out
#[derive(Debug, Args)]
#[command(after_help = after_help(), group(ArgGroup::new("what").required(true).arg("formats")))]
pub(super) struct Parse {
    /// Text file to read, plain, gzip or zstd; `-` is the standard input
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,
    #[command(flatten)]
    format: Format,
    /// Columns to show, instead of all
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    only: Option<Vec<String>>,
    /// How to show the lines: json has a field `_error`, null for good lines
    #[arg(long = "output-format", visible_alias = "format", value_name = "HOW", value_enum, default_value_t = Shape::Table)]
    shape: Shape,
}

impl Parse {
    /// Reads, decodes and shows the lines.
    pub(super) fn run(self, output: Output) -> Result<Exit> {
        let decoder = self.decoder()?;
        let names_bad = self.shape == Shape::Table && !output.quiet;
        let mut report = Report::new(BufWriter::new(io::stdout()), self.shape, &decoder.schema(), names_bad)?;
        let mut source = FileSource::new(FileOptions::new(vec![self.file]))?;
        let state = source.open(None)?;
        let (intake, receiver) = Intake::new(QUEUE_BYTES);
        source.start(&state, intake)?;
        loop {
            match receiver.receive(PATIENCE).map(|(event, _)| event) {
                Some(Event::Batch(batch)) => {
                    let before = report.lines;
                    let decoded = decoder.decode(batch.column(0).to_array().as_binary())?;
                    let place = |row: usize| format!("line {}", before + row as u64 + 1);
                    report.show(decoded, batch.rows(), place)?;
                }
                Some(Event::Failed(error)) => return Err(error),
                Some(Event::Ended { .. }) => break,
                Some(Event::Advanced { .. } | Event::Added { .. } | Event::Latest { .. }) | None => {}
            }
        }
        source.stop();
        if report.bad > 0 && !output.quiet {
            let formats = self.format.formats.join(" or ");
            eprintln!("millstream: {} of {} lines are not {formats}", report.bad, report.lines);
        }
        Ok(report.exit())
    }

    fn decoder(&self) -> Result<Arc<dyn Decoder>> {
        let all = self.decoder_of(None)?;
        let Some(only) = &self.only else { return Ok(all) };
        let schema = all.schema();
        let known: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        if let Some(unknown) = only.iter().find(|name| !known.contains(&name.as_str())) {
            return Err(Error::Invalid(format!(
                "there is no column `{unknown}` to show; the columns are {}{}",
                known.join(", "),
                spelling::hint(unknown, known.iter().copied())
            )));
        }
        self.decoder_of(Some(only))
    }

    fn decoder_of(&self, wanted: Option<&[String]>) -> Result<Arc<dyn Decoder>> {
        let decoder = self.format.decoder(wanted)?;
        Ok(decoder.expect("the command line requires a format"))
    }
}

/// Returns the formats and the examples, for the end of the help.
fn after_help() -> String {
    let mut help = "Formats:\n".to_owned();
    for entry in registry::ENTRIES {
        let _ = writeln!(help, "  {:<9} {}", entry.name, entry.summary);
    }
    format!("{help}\n{EXAMPLES}")
}
