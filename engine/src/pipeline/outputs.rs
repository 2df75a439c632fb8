//! All sinks of a job as one: an epoch appears in every one of them, or in none.
//!
//! At most one sink decides by a commit point of its own whether an epoch happened (a Kafka transaction). It commits first, and the others, which can always finish a commit from their tokens, after
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
        order.sort_by_key(|&index| !sinks[index].decides());
        Self { sinks, order }
    }

    /// Returns whether a commit also publishes the positions in `stream`.
    pub(super) fn publishes(&self, stream: &str) -> bool {
        self.sinks.iter().any(|sink| sink.publishes(stream))
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::super::tests::ledger::{Ledger, Step, World};
    use super::*;
    use crate::position::Positions;

    type Worlds = [Arc<Mutex<World>>; 3];

    /// Three sinks; `decider` and `fails` name one of them.
    fn outputs(worlds: &Worlds, decider: Option<usize>, fails: Option<(usize, Step)>) -> Outputs {
        let sink = |(index, world): (usize, &Arc<Mutex<World>>)| -> Box<dyn Sink> {
            let mut sink = Ledger::new(world);
            sink.decides = decider == Some(index);
            sink.fails = fails.and_then(|(at, step)| (at == index).then_some((step, 0)));
            Box::new(sink)
        };
        Outputs::new(worlds.iter().enumerate().map(sink).collect())
    }

    fn end_epoch(outputs: &mut Outputs, epoch: u64) -> (Token, Result<()>) {
        let barrier = Barrier {
            epoch: Epoch(epoch),
            positions: &Positions::default(),
        };
        let token = outputs.prepare(&barrier).expect("there is room");
        let committed = outputs.commit(&token);
        (token, committed)
    }

    fn recover(outputs: &mut Outputs, tokens: &[(u64, Token)]) -> Result<Option<Epoch>> {
        let candidate = |(epoch, token): &(u64, Token)| Candidate {
            epoch: Epoch(*epoch),
            positions: Positions::default(),
            token: token.clone(),
        };
        let candidates: Vec<_> = tokens.iter().rev().map(candidate).collect();
        outputs.recover(&Recovery {
            job: "5e0c",
            generation: 2,
            candidates: &candidates,
        })
    }

    fn epochs(worlds: &Worlds) -> [Vec<u64>; 3] {
        let visible = |world: &Arc<Mutex<World>>| {
            world
                .lock()
                .expect("no panic")
                .visible
                .keys()
                .map(|epoch| epoch.0)
                .collect()
        };
        worlds.each_ref().map(visible)
    }

    /// Crashes in the second epoch where `fails` says, and recovers.
    #[track_caller]
    fn check(decider: Option<usize>, fails: (usize, Step), expected: u64) {
        let worlds = Worlds::default();
        let (first, committed) = end_epoch(&mut outputs(&worlds, decider, None), 1);
        committed.expect("nothing fails");
        let (second, failed) = end_epoch(&mut outputs(&worlds, decider, Some(fails)), 2);
        failed.expect_err("it fails");
        let tokens = [(1, first), (2, second)];
        let chosen = recover(&mut outputs(&worlds, decider, None), &tokens).expect("the sinks agree");
        assert_eq!(chosen, Some(Epoch(expected)));
        let all: Vec<u64> = (1..=expected).collect();
        assert_eq!(epochs(&worlds), [all.clone(), all.clone(), all]);
        // A second crash in the recovery changes nothing.
        let chosen = recover(&mut outputs(&worlds, decider, None), &tokens).expect("the sinks agree");
        assert_eq!(chosen, Some(Epoch(expected)));
    }

    #[test]
    fn a_crash_before_the_decision_undoes_the_epoch_everywhere() {
        for decider in 0..3 {
            check(Some(decider), (decider, Step::BeforeCommit), 1);
        }
    }

    #[test]
    fn a_crash_after_the_decision_is_followed_by_the_others() {
        for decider in 0..3 {
            check(Some(decider), (decider, Step::AfterCommit), 2);
            for other in (0..3).filter(|&other| other != decider) {
                check(Some(decider), (other, Step::BeforeCommit), 2);
                check(Some(decider), (other, Step::AfterCommit), 2);
            }
        }
    }

    #[test]
    fn without_a_decider_a_stored_epoch_is_finished() {
        for output in 0..3 {
            check(None, (output, Step::BeforeCommit), 2);
            check(None, (output, Step::AfterCommit), 2);
        }
    }

    #[test]
    fn outputs_of_different_epochs_are_refused() {
        /// Knows of the epoch before only.
        struct Behind(Ledger);

        impl Sink for Behind {
            fn describe(&self) -> String {
                "behind".to_owned()
            }
            fn guarantee(&self) -> crate::sink::Guarantee {
                self.0.guarantee()
            }
            fn recover(&mut self, recovery: &Recovery<'_>) -> Result<Option<Epoch>> {
                Ok(recovery.candidates.last().map(|candidate| candidate.epoch))
            }
            fn write(&mut self, batch: &Batch) -> Result<()> {
                self.0.write(batch)
            }
            fn prepare(&mut self, barrier: &Barrier<'_>) -> Result<Token> {
                self.0.prepare(barrier)
            }
            fn commit(&mut self, token: &Token) -> Result<()> {
                self.0.commit(token)
            }
            fn abort(&mut self) {}
        }

        let world = Arc::default();
        let sinks: Vec<Box<dyn Sink>> = vec![Box::new(Ledger::new(&world)), Box::new(Behind(Ledger::new(&world)))];
        let tokens = [(1, Token::default()), (2, Token::default())];
        let error = recover(&mut Outputs::new(sinks), &tokens).expect_err("one is behind");
        let error = error.to_string();
        assert!(
            error.contains("cannot write to behind: the other outputs of the job are of epoch 2"),
            "{error}"
        );
    }
}
