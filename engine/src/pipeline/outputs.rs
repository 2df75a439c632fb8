//! All sinks of a job as one: an epoch appears in every one of them, or in none.
//!
//! At most one sink decides by a commit point of its own whether an epoch happened (a Kafka transaction, which publishes the
//! source's positions too). It commits first, and the others, which can always finish a commit from their tokens, after
//! it; it recovers first, and the others follow its answer:
//!
//! ```text
//! prepare all -> store.write(tokens of all) -> commit the decider -> commit the others
//!                                            |                     |
//!                     a crash: epoch N-1 ----+                     +---- a crash: epoch N, the others finish it
//! ```

use serde_json::Value;

use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::fault;
use crate::position::Epoch;
use crate::sink::{Barrier, Candidate, Recovery, Sink, Token};

/// The sinks of a job's queries, by number of the query, and after them that of its dead letters.
pub(super) struct Outputs {
    sinks: Vec<Box<dyn Sink>>,
    /// The sinks' numbers, the one that decides first.
    order: Vec<usize>,
}

impl Outputs {
    /// Returns the sinks as one.
    pub(super) fn new(sinks: Vec<Box<dyn Sink>>) -> Self {
        let mut order: Vec<_> = (0..sinks.len()).collect();
        order.sort_by_key(|&index| !sinks[index].publishes_positions());
        Self { sinks, order }
    }

    /// Returns whether a commit also publishes the source's positions.
    pub(super) fn publishes_positions(&self) -> bool {
        self.sinks.iter().any(|sink| sink.publishes_positions())
    }

    /// Puts all outputs in the state of one of the checkpoints, and says which: see [`Sink::recover`].
    pub(super) fn recover(&mut self, recovery: &Recovery<'_>) -> Result<Option<Epoch>> {
        let mut candidates = recovery.candidates.to_vec();
        let mut chosen: Option<Epoch> = None;
        for &index in &self.order {
            let own: Vec<_> = candidates.iter().map(|candidate| own(candidate, index)).collect();
            let sink = &mut self.sinks[index];
            let answer = sink.recover(&Recovery {
                candidates: &own,
                ..*recovery
            })?;
            if chosen.is_some_and(|chosen| answer != Some(chosen)) {
                let (output, chosen) = (sink.describe(), chosen.expect("it was compared"));
                return Err(Error::Sink {
                    output,
                    problem: format!(
                        "the other outputs of the job are of epoch {chosen}, this one is not: start afresh with another \
                         checkpoint folder and other outputs"
                    ),
                });
            }
            candidates.retain(|candidate| answer.is_some_and(|answer| candidate.epoch <= answer));
            chosen = answer;
            if chosen.is_none() && !recovery.candidates.is_empty() {
                return Ok(None);
            }
        }
        Ok(chosen)
    }

    /// Writes rows to sink `index`.
    pub(super) fn write(&mut self, index: usize, batch: &Batch) -> Result<()> {
        self.sinks[index].write(batch)
    }

    /// Makes the epoch's rows durable in all sinks, and returns the tokens of all as one.
    pub(super) fn prepare(&mut self, barrier: &Barrier<'_>) -> Result<Token> {
        let tokens = self
            .sinks
            .iter_mut()
            .map(|sink| sink.prepare(barrier).map(|token| token.0));
        Ok(Token(Value::Array(tokens.collect::<Result<_>>()?)))
    }

    /// Makes the prepared epoch visible, first where it is decided.
    pub(super) fn commit(&mut self, token: &Token) -> Result<()> {
        for (nth, &index) in self.order.iter().enumerate() {
            if nth > 0 {
                fault::point("between_commits");
            }
            self.sinks[index].commit(&part(token, index))?;
        }
        Ok(())
    }

    /// Gives up what was written since the last commit.
    pub(super) fn abort(&mut self) {
        self.sinks.iter_mut().for_each(|sink| sink.abort());
    }

    /// Ends the use of the sinks after the last commit.
    pub(super) fn close(&mut self) -> Result<()> {
        self.sinks.iter_mut().try_for_each(|sink| sink.close())
    }
}

/// Returns a checkpoint as sink `index` knows it.
fn own(candidate: &Candidate, index: usize) -> Candidate {
    Candidate {
        token: part(&candidate.token, index),
        ..candidate.clone()
    }
}

/// Returns the token of sink `index`; null for epoch 0, which has none.
fn part(token: &Token, index: usize) -> Token {
    Token(token.0.get(index).cloned().unwrap_or_default())
}
