//! `first(x, t)` and `last(x, t)`, and `min` and `max` of types without an accumulator of their own: the least or greatest
//! row in Arrow's row format, whose bytes compare as the rows do.
//!
//! The rows of `first` and `last` are `(t, x)`: what is kept is the value with the least or greatest `t`, and where several
//! rows have that, the least or greatest value. So the result does not depend on the order in which rows arrive.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};

use super::extreme::Side;
use super::values::check_held;
use super::{Accumulator, places};
use crate::error::{Error, Result};
use crate::memory;

/// Keeps one row a group.
#[derive(Debug)]
pub(super) struct RowExtreme {
    converter: RowConverter,
    /// The order of a row that is better than the one kept.
    better: Ordering,
    /// The row that stands for none in columns.
    null: Vec<u8>,
    /// By group: the encoded row, empty for none.
    kept: Vec<Vec<u8>>,
    held: usize,
}

impl RowExtreme {
    /// Returns an accumulator for arguments of these types: the value, then what it is ordered by, if that is another.
    pub(super) fn new(arguments: &[DataType], side: Side) -> Self {
        let fields = arguments.iter().rev().cloned().map(SortField::new).collect();
        let converter = RowConverter::new(fields).expect("the plan has checked the types");
        let nulls: Vec<_> = arguments
            .iter()
            .rev()
            .map(|argument| new_null_array(argument, 1))
            .collect();
        let null = converter.convert_columns(&nulls).expect("a null of each type");
        let null = null.row(0).data().to_vec();
        let better = match side {
            Side::Least => Ordering::Less,
            Side::Greatest => Ordering::Greater,
        };
        Self {
            converter,
            better,
            null,
            kept: Vec::new(),
            held: 0,
        }
    }

    fn grow(&mut self, total: usize) {
        self.kept.resize(total, Vec::new());
    }
}

impl Accumulator for RowExtreme {
    fn update(&mut self, arguments: &[ArrayRef], groups: &[u32], total: usize) -> Result<()> {
        self.grow(total);
        let columns: Vec<_> = arguments.iter().rev().map(Arc::clone).collect();
        let rows = self.converter.convert_columns(&columns);
        let rows = rows.map_err(Error::arrow("encode the arguments of an aggregate"))?;
        let nulls = arguments
            .iter()
            .map(|argument| argument.logical_nulls())
            .reduce(|a, b| NullBuffer::union(a.as_ref(), b.as_ref()))
            .flatten();
        for ((index, group), row) in places(groups).enumerate().zip(rows.iter()) {
            if nulls.as_ref().is_some_and(|nulls| nulls.is_null(index)) {
                continue;
            }
            let (kept, row) = (&mut self.kept[group], row.data());
            if kept.is_empty() || row.cmp(kept) == self.better {
                self.held = self.held - kept.len() + row.len();
                kept.clear();
                kept.extend_from_slice(row);
            }
        }
        check_held("min, max, first or last", self.held)
    }

    fn merge(&mut self, state: &[ArrayRef], groups: &[u32], total: usize) -> Result<()> {
        self.update(state, groups, total)
    }

    fn reset(&mut self, groups: &[u32], total: usize) {
        self.grow(total);
        for group in places(groups) {
            self.held -= self.kept[group].len();
            self.kept[group].clear();
        }
    }

    fn state(&self, groups: &[u32]) -> Vec<ArrayRef> {
        let parser = self.converter.parser();
        let rows = places(groups).map(|group| match self.kept[group].as_slice() {
            [] => parser.parse(&self.null),
            row => parser.parse(row),
        });
        let columns = self.converter.convert_rows(rows);
        let mut columns = columns.expect("the rows were encoded from such columns");
        columns.reverse();
        columns
    }

    fn evaluate(&self, groups: &[u32]) -> ArrayRef {
        self.state(groups).swap_remove(0)
    }

    fn memory(&self) -> usize {
        memory::of(&self.kept) + self.kept.iter().map(memory::of).sum::<usize>()
    }

    fn clear(&mut self) {
        self.kept.clear();
        self.held = 0;
    }
}
