//! A format of one's own, decoded straight into typed columns: the lines of dpkg's log. A line that is none is a reject with
//! a reason, and never touches its neighbours.
//!
//! `cargo run --example format`

use std::num::NonZeroUsize;
use std::sync::Arc;

use arrow::array::{Array, BinaryArray};
use arrow::datatypes::SchemaRef;
use millstream::connectors::console::{ConsoleOptions, ConsoleSink};
use millstream::connectors::decode::{
    BadRows, ColumnType, DeclaredColumn, DecodeRows, Decoded, Decoder, Rows, TimeFormat, TimeSettings, decode_rows,
};
use millstream::connectors::file::{FileOptions, FileSource};
use millstream::engine::operator::{Operator, OutputMode};
use millstream::engine::pipeline::{Input, Job, run_once};
use millstream::engine::source::Source;
use millstream::engine::{Error, Result};
use millstream::sql::{Table, plan};

const QUERY: &str = "SELECT action, min(time) AS first, count(*) AS lines FROM packages GROUP BY action";

/// `2026-06-01 12:00:00 ACTION DETAILS`
#[derive(Debug)]
struct DpkgLog {
    columns: Vec<DeclaredColumn>,
}

impl DpkgLog {
    fn new() -> Result<Self> {
        let time = "%Y-%m-%d %H:%M:%S".parse::<TimeFormat>().map_err(Error::Invalid)?;
        Ok(Self {
            columns: vec![
                DeclaredColumn::new("time", ColumnType::Timestamp(time)),
                DeclaredColumn::new("action", ColumnType::Text),
                DeclaredColumn::new("details", ColumnType::Text),
            ],
        })
    }
}

fn read_line(line: &[u8], rows: &mut Rows) -> std::result::Result<(), String> {
    const TIME_BYTES: usize = "2026-06-01 12:00:00".len();
    let expected = || format!("expected a time, an action and details, got {} bytes", line.len());
    let (time, rest) = line.split_at_checked(TIME_BYTES).ok_or_else(expected)?;
    let rest = rest.strip_prefix(b" ").ok_or_else(expected)?;
    let space = rest.iter().position(|&byte| byte == b' ').ok_or_else(expected)?;
    rows.set_text(0, time)?;
    rows.set_text(1, &rest[..space])?;
    rows.set_text(2, &rest[space + 1..])
}

impl Decoder for DpkgLog {
    fn describe(&self) -> String {
        "dpkg log".to_owned()
    }

    fn schema(&self) -> SchemaRef {
        DeclaredColumn::schema(&self.columns)
    }

    fn decode(&self, payloads: &BinaryArray) -> Result<Decoded> {
        let rows = Rows::new(&self.columns, TimeSettings::default(), payloads.len());
        decode_rows(payloads, rows, read_line)
    }
}

fn main() -> Result<()> {
    let source = FileSource::new(FileOptions::new(vec!["data/dpkg.log".into()]))?;
    let decode = DecodeRows::new(Arc::new(DpkgLog::new()?), &source.schema(), None, BadRows::Fail)?;
    let table = Table {
        name: "packages".to_owned(),
        schema: decode.schema(),
        event_time: None,
        bounded: true,
        record: None,
    };
    let planned = plan(QUERY, &[table], OutputMode::Complete)?;
    let sink = ConsoleSink::new(Box::new(std::io::stdout()), ConsoleOptions::new(false));
    let query = planned.into_query(&decode.schema(), OutputMode::Complete, Box::new(sink))?;
    let input = Input {
        operators: vec![Arc::new(decode)],
        ..Input::new(Box::new(source))
    };
    run_once(Job::over(input, query), NonZeroUsize::MIN)?;
    Ok(())
}
