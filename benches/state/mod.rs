//! The state of a word count, with a local checkpoint store.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use engine::Batch;
use engine::Epoch;
use engine::aggregate::AggregateKind;
use engine::checkpoint::{Checkpoint, LocalStore, StateRows, Store, TimeState};
use engine::metrics::Metrics;
use engine::operator::aggregate::{AggregateCall, HashAggregate};
use engine::operator::{AbsorbContext, EmitContext, OutputMode, StatefulOperator};
use engine::sink::Token;
use engine::source::SourceState;
use rayon::{ThreadPool, ThreadPoolBuilder};
use tempfile::TempDir;

/// Counts by word, and where its checkpoints go.
pub(crate) struct State {
    count: HashAggregate,
    store: LocalStore,
    pool: ThreadPool,
    epoch: Epoch,
    schema: SchemaRef,
    groups: usize,
    next: usize,
    _folder: TempDir,
}

impl State {
    /// Returns a state of `groups` groups, with a checkpoint of all of them.
    pub(crate) fn new(groups: usize) -> Self {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let schema = Arc::new(Schema::new(vec![Field::new("word", DataType::Utf8, false)]));
        let call = AggregateCall {
            name: "count".to_owned(),
            kind: AggregateKind::Count,
            arguments: vec![],
        };
        let mut state = Self {
            count: HashAggregate::new(&["word"], &[call], &schema).expect("a valid aggregate"),
            store: LocalStore::open(&folder.path().join("checkpoint"), vec![]).expect("an empty folder"),
            pool: ThreadPoolBuilder::new().num_threads(2).build().expect("two threads"),
            epoch: Epoch(0),
            schema,
            groups,
            next: 0,
            _folder: folder,
        };
        state.change(groups);
        state.write_checkpoint();
        state
    }

    /// Changes the next `count` groups.
    pub(crate) fn change(&mut self, count: usize) {
        let word = |number| format!("word-{:08}", number % self.groups);
        let words: StringArray = (self.next..self.next + count)
            .map(|number| Some(word(number)))
            .collect();
        self.next += count;
        let records = RecordBatch::try_new(Arc::clone(&self.schema), vec![Arc::new(words) as ArrayRef]);
        let mut partials = vec![self.count.partial()];
        let batch = Batch::new(records.expect("the schema's column"), None);
        let context = AbsorbContext {
            closed_micros: None,
            keeps_late: false,
            metrics: &Metrics::default(),
        };
        partials[0].absorb(&batch, context).expect("counts in range");
        self.count.merge(&mut partials, &self.pool).expect("counts in range");
        let context = EmitContext {
            mode: OutputMode::Update,
            watermark_micros: None,
            last: false,
        };
        self.count.emit(context, &self.pool).expect("columns of counts");
    }

    /// Makes the changes durable.
    pub(crate) fn write_checkpoint(&mut self) {
        self.epoch = self.epoch.next();
        let checkpoint = Checkpoint {
            epoch: self.epoch,
            sources: vec![SourceState::default()],
            token: Token::default(),
            time: TimeState::default(),
        };
        let extent = self.store.extent(0);
        let rows = StateRows {
            query: 0,
            extent,
            rows: self.count.snapshot(extent),
        };
        self.store.write(checkpoint, vec![rows]).expect("the disk has room");
    }
}
