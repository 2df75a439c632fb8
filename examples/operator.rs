//! An operator of one's own between source and aggregate: addresses lose their last part before anything counts them.
//!
//! `cargo run --example operator`

use std::num::NonZeroUsize;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringArray};
use arrow::datatypes::SchemaRef;
use millstream::connectors::console::{ConsoleOptions, ConsoleSink};
use millstream::connectors::decode::{BadRows, DecodeRows, FormatOptions, registry};
use millstream::connectors::file::{FileOptions, FileSource};
use millstream::engine::aggregate::AggregateKind;
use millstream::engine::metrics::Metrics;
use millstream::engine::operator::aggregate::{AggregateCall, HashAggregate};
use millstream::engine::operator::expression::column_index;
use millstream::engine::operator::{Operator, OutputMode};
use millstream::engine::pipeline::{Branch, Input, Job, Query, run_once};
use millstream::engine::source::Source;
use millstream::engine::{Batch, Column, Result};

/// Makes networks of IPv4 addresses: `203.0.113.9` becomes `203.0.113.0`; other text stays.
#[derive(Debug)]
struct Anonymize {
    column: usize,
    schema: SchemaRef,
}

impl Anonymize {
    fn new(column: &str, schema: SchemaRef) -> Result<Self> {
        Ok(Self {
            column: column_index(&schema, column)?,
            schema,
        })
    }
}

fn network(address: &str) -> String {
    match address.parse::<std::net::Ipv4Addr>() {
        Ok(address) => std::net::Ipv4Addr::from(u32::from(address) & 0xffff_ff00).to_string(),
        Err(_) => address.to_owned(),
    }
}

impl Operator for Anonymize {
    fn describe(&self) -> String {
        format!("anonymize {}", self.schema.field(self.column).name())
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn apply(&self, mut batch: Batch, _: &Metrics) -> Result<Batch> {
        let addresses = batch.column(self.column).to_array();
        let networks = addresses.as_string::<i32>().iter().map(|text| text.map(network));
        let networks: ArrayRef = Arc::new(networks.collect::<StringArray>());
        let mut columns = batch.columns().to_vec();
        columns[self.column] = Column::Array(networks);
        // Rows that an earlier operator has put aside travel on with the batch.
        let rejected = batch.take_rejected();
        let (rows, origin) = (batch.rows(), batch.origin().cloned());
        Ok(Batch::from_columns(self.schema(), columns, rows, origin).with_rejected(rejected))
    }
}

fn main() -> Result<()> {
    let source = FileSource::new(FileOptions::new(vec!["data/access.log".into()]))?;
    let format = registry::build(&["combined".to_owned()], &FormatOptions::default())?;
    let decode = DecodeRows::new(format, &source.schema(), None, BadRows::Skip)?;
    let anonymize = Anonymize::new("host", decode.schema())?;
    let count = AggregateCall {
        name: "hits".to_owned(),
        kind: AggregateKind::Count,
        arguments: vec![],
    };
    let aggregate = HashAggregate::new(&["host"], &[count], &anonymize.schema())?;
    let sink = ConsoleSink::new(Box::new(std::io::stdout()), ConsoleOptions::new(false));
    let query = Query {
        branches: Branch::only(vec![Arc::new(anonymize)]),
        aggregate: Some(Box::new(aggregate)),
        mode: OutputMode::Complete,
        ..Query::new(Box::new(sink))
    };
    let input = Input {
        operators: vec![Arc::new(decode)],
        ..Input::new(Box::new(source))
    };
    run_once(Job::over(input, query), NonZeroUsize::MIN)?;
    Ok(())
}
