//! An aggregate function of one's own, called from SQL: the longest text of each group. Its state is a column, so it is
//! merged, put out and kept in checkpoints as that of any other.
//!
//! `cargo run --example aggregate_function`

use std::num::NonZeroUsize;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringArray};
use arrow::datatypes::DataType;
use millstream::connectors::console::{ConsoleOptions, ConsoleSink};
use millstream::connectors::decode::{BadRows, DecodeRows, FormatOptions, registry};
use millstream::connectors::file::{FileOptions, FileSource};
use millstream::engine::aggregate::{Accumulator, UserAggregate};
use millstream::engine::operator::{Operator, OutputMode};
use millstream::engine::pipeline::{Input, Job, run_once};
use millstream::engine::source::Source;
use millstream::engine::{Error, Result};
use millstream::sql::{Functions, Scope, Table, plan_with};

const QUERY: &str = "SELECT method, longest(path) AS path FROM logs WHERE status = 200 GROUP BY method";

/// `longest(text)`: of several of one length the first in the order of their bytes, so that the order of rows is no matter.
#[derive(Debug)]
struct Longest;

impl UserAggregate for Longest {
    fn name(&self) -> &str {
        "longest"
    }

    fn result_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [DataType::Utf8] => Ok(DataType::Utf8),
            _ => Err(Error::Invalid("longest takes one column of strings".to_owned())),
        }
    }

    fn state_types(&self, _: &[DataType]) -> Vec<DataType> {
        vec![DataType::Utf8]
    }

    fn accumulator(&self, _: &[DataType]) -> Box<dyn Accumulator> {
        Box::<LongestTexts>::default()
    }
}

/// The longest text of each group so far.
#[derive(Debug, Default)]
struct LongestTexts(Vec<Option<String>>);

impl Accumulator for LongestTexts {
    fn update(&mut self, arguments: &[ArrayRef], groups: &[u32], total: usize) -> Result<()> {
        self.0.resize(total, None);
        let texts = arguments[0].as_string::<i32>();
        for (&group, text) in groups.iter().zip(texts) {
            let Some(text) = text else { continue };
            let longest = &mut self.0[group as usize];
            let is_longer = |kept: &String| (text.len(), kept.as_str()) > (kept.len(), text);
            if longest.as_ref().is_none_or(is_longer) {
                *longest = Some(text.to_owned());
            }
        }
        Ok(())
    }

    fn merge(&mut self, state: &[ArrayRef], groups: &[u32], total: usize) -> Result<()> {
        self.update(state, groups, total)
    }

    fn reset(&mut self, groups: &[u32], total: usize) {
        self.0.resize(total, None);
        groups.iter().for_each(|&group| self.0[group as usize] = None);
    }

    fn state(&self, groups: &[u32]) -> Vec<ArrayRef> {
        vec![self.evaluate(groups)]
    }

    fn evaluate(&self, groups: &[u32]) -> ArrayRef {
        let texts = groups.iter().map(|&group| self.0[group as usize].as_deref());
        Arc::new(texts.collect::<StringArray>())
    }

    fn memory(&self) -> usize {
        let owned = self.0.iter().flatten().map(String::capacity);
        self.0.capacity() * size_of::<Option<String>>() + owned.sum::<usize>()
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

fn main() -> Result<()> {
    let source = FileSource::new(FileOptions::new(vec!["data/access.log".into()]))?;
    let format = registry::build(&["combined".to_owned()], &FormatOptions::default())?;
    let decode = DecodeRows::new(format, &source.schema(), None, BadRows::Skip)?;
    let table = Table {
        name: "logs".to_owned(),
        schema: decode.schema(),
        event_time: None,
        bounded: true,
        record: None,
    };
    let scope = Scope {
        tables: vec![table],
        functions: Functions::default().with_aggregate(Longest),
        ..Scope::default()
    };
    let planned = plan_with(QUERY, &scope, OutputMode::Complete)?;
    let sink = ConsoleSink::new(Box::new(std::io::stdout()), ConsoleOptions::new(false));
    let query = planned.into_query(&decode.schema(), OutputMode::Complete, Box::new(sink))?;
    let input = Input {
        operators: vec![Arc::new(decode)],
        ..Input::new(Box::new(source))
    };
    run_once(Job::over(input, query), NonZeroUsize::MIN)?;
    Ok(())
}
