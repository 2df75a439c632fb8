//! Micro-batches that have nothing to do: one word each, the next when the one before has come out.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use arrow::array::BinaryArray;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use engine::operator::OutputMode;
use engine::pipeline::Settings;
use engine::sink::{Barrier, Guarantee, Recovery, Sink, Token};
use engine::source::{Event, Intake, Source, SourceState};
use engine::{Batch, Epoch, OffsetRange, Origin, Partition, Positions, Result};

use crate::jobs::{cores, run_to_end};
use crate::word_count;

/// How long a micro-batch waits for its word: little beside what is measured, which includes it.
const TRIGGER: Duration = Duration::from_micros(50);

/// A source of `count` batches of one word, each after a signal.
struct OneWord {
    count: usize,
    signals: Option<Receiver<()>>,
    reader: Option<JoinHandle<()>>,
}

/// A sink that signals each batch.
struct SignalSink(Sender<()>);

/// Runs `count` micro-batches of a word count, each followed by an epoch without a checkpoint.
pub(crate) fn run(count: usize) {
    let settings = Settings {
        threads: cores(),
        trigger: Some(TRIGGER),
        checkpoint_interval: Some(Duration::ZERO),
        queue_bytes: 1 << 20,
    };
    let (signal, signals) = mpsc::channel();
    signal.send(()).expect("the receiver is here");
    let source = OneWord {
        count,
        signals: Some(signals),
        reader: None,
    };
    let job = word_count::job(Box::new(source), OutputMode::Update, Box::new(SignalSink(signal)));
    run_to_end(job, &settings, None);
}

fn partition() -> Partition {
    Partition::new("words", 0)
}

impl Source for OneWord {
    fn describe(&self) -> String {
        "one word".to_owned()
    }

    fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("value", DataType::Binary, false)]))
    }

    fn open(&mut self, _resume: Option<&SourceState>) -> Result<SourceState> {
        Ok(SourceState {
            positions: Positions([(partition(), 0)].into()),
            ..SourceState::default()
        })
    }

    fn start(&mut self, _state: &SourceState, intake: Intake) -> Result<()> {
        let (schema, count) = (self.schema(), self.count);
        let signals = self.signals.take().expect("started once");
        self.reader = Some(thread::spawn(move || {
            for (from, ()) in (0..).zip(signals.iter().take(count)) {
                intake.send(one_word(&schema, from)).expect("the driver takes all");
            }
            let ended = Event::Ended { partition: partition() };
            intake.send(ended).expect("the driver takes all");
        }));
        Ok(())
    }

    fn acknowledge(&mut self, _positions: &Positions) -> Result<()> {
        Ok(())
    }

    fn stop(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the reader does not panic");
        }
    }
}

fn one_word(schema: &SchemaRef, from: i64) -> Event {
    let word = Arc::new(BinaryArray::from_vec(vec![b"word"]));
    let records = RecordBatch::try_new(Arc::clone(schema), vec![word]).expect("the schema's column");
    let origin = Origin {
        partition: partition(),
        offsets: OffsetRange { from, to: from + 1 },
    };
    Event::Batch(Batch::new(records, Some(origin)))
}

impl Sink for SignalSink {
    fn describe(&self) -> String {
        "signal".to_owned()
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }

    fn recover(&mut self, _recovery: &Recovery<'_>) -> Result<Option<Epoch>> {
        Ok(None)
    }

    fn write(&mut self, _batch: &Batch) -> Result<()> {
        // After the last word nobody listens.
        let _ = self.0.send(());
        Ok(())
    }

    fn prepare(&mut self, _barrier: &Barrier<'_>) -> Result<Token> {
        Ok(Token::default())
    }

    fn commit(&mut self, _token: &Token) -> Result<()> {
        Ok(())
    }

    fn abort(&mut self) {}
}
