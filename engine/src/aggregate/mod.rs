//! Aggregate functions: flat state by group id, updated a column at a time.
//!
//! ```text
//! accumulator                      functions                              keeps, by group
//! count, sum, average, variance    count, sum, avg, var_*, stddev*        a few numbers
//! extreme, row_extreme             min, max, bool_*, first, last          one value
//! distinct                         count(distinct x)                      values, each once: pairs
//! top_k, collect                   top_k, string_agg, array_agg           values with counts: tally
//! quantile                         approx_quantile                        buckets with counts: tally
//! approx_distinct                  approx_distinct                        a sketch: hyperloglog
//! ```
//! `values` interns what is kept, so that an item of `pairs` and `tally` is a number.

mod approx_distinct;
mod average;
mod collect;
mod count;
mod distinct;
mod extreme;
mod function;
mod hyperloglog;
mod kind;
mod pairs;
mod quantile;
pub mod registry;
mod row_extreme;
mod sum;
mod tally;
#[cfg(test)]
mod tests;
mod top_k;
#[cfg(test)]
mod twins;
mod user;
mod values;
mod variance;

use std::fmt;

use arrow::array::{Array, ArrayRef};

pub use self::function::AggregateFunction;
pub use self::kind::{AggregateKind, COLLECTED_BYTES, COLLECTED_BYTES_MAX, Quantile, TOP_K_MAX};
pub use self::user::{UserAggregate, UserFunction};
use crate::error::Result;

/// The state of one aggregate function for many groups.
///
/// A worker updates its own accumulator; the merge takes a worker's state over into that of a state shard; a snapshot
/// writes the state of the changed groups as Arrow columns. `groups` maps rows to group ids; `total` is one more than
/// the highest id so far, so that state vectors grow once a batch.
pub trait Accumulator: Send + Sync + fmt::Debug {
    /// Takes in one row a group id. `arguments` are columns of the function's
    /// [`argument_types`](AggregateFunction::argument_types), none for `count(*)`.
    ///
    /// # Errors
    /// When a number leaves the range of the state's type, or a group its bound.
    fn update(&mut self, arguments: &[ArrayRef], groups: &[u32], total: usize) -> Result<()>;

    /// Takes in state columns made by [`state`](Self::state), one row a group id.
    ///
    /// # Errors
    /// When a number leaves the range of the state's type, or a group its bound.
    fn merge(&mut self, state: &[ArrayRef], groups: &[u32], total: usize) -> Result<()>;

    /// Puts groups back into the state of no row.
    fn reset(&mut self, groups: &[u32], total: usize);

    /// Returns the state of the groups, one row each, as columns of [`AggregateFunction::state_types`].
    fn state(&self, groups: &[u32]) -> Vec<ArrayRef>;

    /// Returns the result of the groups, one row each.
    fn evaluate(&self, groups: &[u32]) -> ArrayRef;

    /// Returns the bytes of memory that the state holds, used or not. Asked for about once a second.
    fn memory(&self) -> usize;

    /// Forgets all groups.
    fn clear(&mut self);

    /// Returns whether a worker should give its state away, since it has outgrown the caches with few groups.
    fn is_full(&self) -> bool {
        false
    }
}

/// Returns the positions of the groups' state in a flat vector.
fn places(groups: &[u32]) -> impl Iterator<Item = usize> + '_ {
    groups.iter().map(|&group| group as usize)
}

/// Calls `take` with each row that is not null.
#[inline]
fn each_valid(values: &ArrayRef, take: impl FnMut(usize)) {
    match values.logical_nulls() {
        None => (0..values.len()).for_each(take),
        Some(nulls) => nulls.valid_indices().for_each(take),
    }
}
