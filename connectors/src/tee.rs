//! Two sinks as one: what is written goes to both, and the first one's epochs are the truth.

use engine::sink::{Barrier, Guarantee, Recovery, Sink, Token};
use engine::{Batch, Epoch, Result};
use serde_json::Value;

/// Writes to two sinks. The second is for looking on: it has no say in where a run goes on.
pub struct Tee {
    first: Box<dyn Sink>,
    second: Box<dyn Sink>,
}

impl Tee {
    /// Returns a sink that writes to both.
    pub fn new(first: Box<dyn Sink>, second: Box<dyn Sink>) -> Self {
        Self { first, second }
    }
}

impl Sink for Tee {
    fn describe(&self) -> String {
        format!("{} and {}", self.first.describe(), self.second.describe())
    }

    fn guarantee(&self) -> Guarantee {
        self.first.guarantee()
    }

    fn decides(&self) -> bool {
        self.first.decides()
    }

    fn publishes(&self, stream: &str) -> bool {
        self.first.publishes(stream)
    }

    fn recover(&mut self, recovery: &Recovery<'_>) -> Result<Option<Epoch>> {
        let chosen = self.first.recover(recovery)?;
        self.second.recover(&Recovery {
            candidates: &[],
            ..*recovery
        })?;
        Ok(chosen)
    }

    fn write(&mut self, batch: &Batch) -> Result<()> {
        self.first.write(batch)?;
        self.second.write(batch)
    }

    fn prepare(&mut self, barrier: &Barrier<'_>) -> Result<Token> {
        let (first, second) = (self.first.prepare(barrier)?, self.second.prepare(barrier)?);
        Ok(Token(Value::Array(vec![first.0, second.0])))
    }

    fn commit(&mut self, token: &Token) -> Result<()> {
        let part = |index: usize| Token(token.0.get(index).cloned().unwrap_or_default());
        self.first.commit(&part(0))?;
        self.second.commit(&part(1))
    }

    fn abort(&mut self) {
        self.first.abort();
        self.second.abort();
    }

    fn close(&mut self) -> Result<()> {
        self.first.close()?;
        self.second.close()
    }
}
