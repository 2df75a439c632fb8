//! The word count: text -> tokens -> a count for each word.

use std::sync::Arc;

use engine::Result;
use engine::aggregate::AggregateKind;
use engine::operator::aggregate::{AggregateCall, HashAggregate};
use engine::operator::text::Text;
use engine::operator::tokenize::{SplitMode, Tokenize};
use engine::operator::{Operator, OutputMode, StatefulOperator};
use engine::pipeline::{Branch, Job, Query};
use engine::sink::Sink;
use engine::source::Source;

use arrow::datatypes::SchemaRef;

/// The column of the source that words are taken from.
pub const TEXT: &str = "value";

/// What counts as a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// What separates words.
    pub split: SplitMode,
    /// Whether words are put into lower case.
    pub lower: bool,
}

/// A word count that lacks only its sink.
pub struct Plan {
    source: Box<dyn Source>,
    operators: Vec<Arc<dyn Operator>>,
    aggregate: HashAggregate,
}

impl Default for Words {
    fn default() -> Self {
        Self {
            split: SplitMode::Ascii,
            lower: false,
        }
    }
}

impl Plan {
    /// Returns the plan of counting the words of the source's column [`TEXT`].
    ///
    /// # Errors
    /// When the source has no binary column of that name.
    pub fn new(words: Words, source: Box<dyn Source>) -> Result<Self> {
        let text = Text::new(TEXT, &source.schema())?;
        let tokenize = Tokenize::new(TEXT, words.split, words.lower, &[], "word", &text.schema())?;
        let count = AggregateCall {
            name: "count".to_owned(),
            kind: AggregateKind::Count,
            arguments: vec![],
        };
        let aggregate = HashAggregate::new(&["word"], &[count], &tokenize.schema())?;
        Ok(Self {
            source,
            operators: vec![Arc::new(text), Arc::new(tokenize)],
            aggregate,
        })
    }

    /// Returns the columns of the result: `word` (Utf8) and `count` (Int64).
    pub fn schema(&self) -> SchemaRef {
        self.aggregate.schema()
    }

    /// Returns the job that writes the counts that changed, or all of them, to `sink`.
    pub fn into_job(self, mode: OutputMode, sink: Box<dyn Sink>) -> Job {
        let query = Query {
            branches: Branch::only(self.operators),
            aggregate: Some(Box::new(self.aggregate)),
            mode,
            ..Query::new(sink)
        };
        Job::new(self.source, query)
    }
}
