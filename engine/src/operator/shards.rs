//! The state's shards: which one a key belongs to, and rows out of all of them.

use std::ops::Range;

use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use rayon::ThreadPool;
use rayon::prelude::*;

use crate::error::{Error, Result};

/// The number of state shards: a constant of the checkpoint format, whatever the threads and partitions. 64 keeps the
/// merge of a few workers balanced; it is the number of high hash bits that choose the shard, to the power of two.
pub const SHARDS: usize = 1 << SHARD_BITS;
pub(super) const SHARD_BITS: u32 = 6;

/// Rows that an emitted or snapshot batch is filled up to: small enough for the second-level cache.
const ROWS_TARGET: usize = 8192;

/// Groups of a partial after which it is merged. A table of 131,072 groups takes about 8 MiB: that bounds the workers'
/// memory, while a merge still costs less than a third of what was absorbed.
pub(super) const PARTIAL_GROUPS_MAX: usize = 1 << 17;

/// Groups in the order of their shards.
#[derive(Debug)]
pub(super) struct ByShard {
    /// All ids; those of shard `s` are `order[bounds[s]..bounds[s + 1]]`.
    pub(super) order: Vec<u32>,
    bounds: Vec<usize>,
}

impl ByShard {
    /// Sorts groups by shard, by counting: `hashes` gives the hash of each with its id.
    pub(super) fn new(hashes: impl Iterator<Item = (u32, u64)> + Clone) -> Self {
        let mut bounds = vec![0; SHARDS + 1];
        hashes.clone().for_each(|(_, hash)| bounds[shard_of(hash) + 1] += 1);
        (0..SHARDS).for_each(|shard| bounds[shard + 1] += bounds[shard]);
        let mut next = bounds.clone();
        let mut order = vec![0; bounds[SHARDS]];
        for (id, hash) in hashes {
            let place = &mut next[shard_of(hash)];
            order[*place] = id;
            *place += 1;
        }
        Self { order, bounds }
    }

    /// Returns where the groups of a shard are in the order.
    pub(super) fn range(&self, shard: usize) -> Range<usize> {
        self.bounds[shard]..self.bounds[shard + 1]
    }
}

/// Returns the rows that `rows_of` makes of every shard, in batches of some thousand rows.
pub(super) fn collect<S: Send>(
    shards: &mut [S],
    schema: &SchemaRef,
    pool: &ThreadPool,
    rows_of: impl Fn(&mut S) -> Result<Option<RecordBatch>> + Sync + Send,
) -> Result<Vec<RecordBatch>> {
    let parts: Vec<_> = pool.install(|| shards.par_iter_mut().map(rows_of).collect::<Result<_>>())?;
    let mut batches = vec![];
    let mut waiting = vec![];
    let mut rows = 0;
    for part in parts.into_iter().flatten() {
        rows += part.num_rows();
        waiting.push(part);
        if rows >= ROWS_TARGET {
            batches.push(concat_batches(schema, &waiting).map_err(Error::arrow("join the shards' rows"))?);
            waiting.clear();
            rows = 0;
        }
    }
    if rows > 0 {
        batches.push(concat_batches(schema, &waiting).map_err(Error::arrow("join the shards' rows"))?);
    }
    Ok(batches)
}

fn shard_of(hash: u64) -> usize {
    (hash >> (64 - SHARD_BITS)) as usize
}
