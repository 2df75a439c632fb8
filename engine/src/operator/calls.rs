//! Calls of aggregate functions, planned for the columns of their input.

use std::fmt;

use arrow::array::ArrayRef;
use arrow::datatypes::{Field, FieldRef, Schema};

use super::expression::column_index;
use crate::aggregate::{Accumulator, AggregateFunction, AggregateKind};
use crate::batch::Batch;
use crate::error::Result;
use crate::group::keys::unpacked;

/// One aggregate function to compute: its name in the output, and its argument columns.
#[derive(Clone, Debug)]
pub struct AggregateCall {
    /// The output column's name.
    pub name: String,
    /// The function.
    pub kind: AggregateKind,
    /// The argument columns; none for `count(*)`.
    pub arguments: Vec<String>,
}

/// The functions of an operator with their columns.
#[derive(Debug)]
pub(super) struct Calls {
    /// Each function with the indices of its arguments.
    functions: Vec<(AggregateFunction, Vec<usize>)>,
    /// The columns of the results.
    pub(super) output: Vec<FieldRef>,
    /// The columns of the states.
    pub(super) state: Vec<FieldRef>,
}

impl Calls {
    /// Plans the calls over batches of `schema`.
    pub(super) fn new(calls: &[AggregateCall], schema: &Schema) -> Result<Self> {
        let mut planned = Self {
            functions: vec![],
            output: vec![],
            state: vec![],
        };
        for call in calls {
            let index = |name: &String| column_index(schema, name);
            let arguments = call.arguments.iter().map(index).collect::<Result<Vec<_>>>()?;
            let data_type = |&argument: &usize| schema.field(argument).data_type().clone();
            let types: Vec<_> = arguments.iter().map(data_type).collect();
            let function = AggregateFunction::new(call.kind.clone(), &types)?;
            let field = Field::new(&call.name, function.result_type(), function.is_nullable());
            planned.output.push(field.into());
            planned.state.extend(function.state_fields(&call.name));
            planned.functions.push((function, arguments));
        }
        Ok(planned)
    }

    /// Returns whether the only call is `count(*)`.
    pub(super) fn is_lone_count(&self) -> bool {
        matches!(self.functions.as_slice(), [(function, _)] if function.is_count_of_rows())
    }

    /// Returns an accumulator for each call, without groups.
    pub(super) fn accumulators(&self) -> Vec<Box<dyn Accumulator>> {
        self.functions
            .iter()
            .map(|(function, _)| function.accumulator())
            .collect()
    }

    /// Takes the rows of a batch into the accumulators, one id a row.
    pub(super) fn update(
        &self,
        accumulators: &mut [Box<dyn Accumulator>],
        batch: &Batch,
        ids: &[u32],
        total: usize,
    ) -> Result<()> {
        for ((_, arguments), accumulator) in self.functions.iter().zip(accumulators) {
            let array = |&argument: &usize| unpacked(batch.column(argument).to_array());
            let arguments = arguments.iter().map(array).collect::<Result<Vec<_>>>()?;
            accumulator.update(&arguments, ids, total)?;
        }
        Ok(())
    }

    /// Takes the state columns of all calls into the accumulators, one id a row.
    pub(super) fn merge(
        &self,
        accumulators: &mut [Box<dyn Accumulator>],
        mut states: &[ArrayRef],
        ids: &[u32],
        total: usize,
    ) -> Result<()> {
        for ((function, _), accumulator) in self.functions.iter().zip(accumulators) {
            let (state, rest) = states.split_at(function.state_types().len());
            accumulator.merge(state, ids, total)?;
            states = rest;
        }
        Ok(())
    }
}

/// Takes a range of the rows of state columns, by accumulator, into the accumulators, one id a row.
pub(super) fn merge_range(
    accumulators: &mut [Box<dyn Accumulator>],
    states: &[Vec<ArrayRef>],
    range: std::ops::Range<usize>,
    ids: &[u32],
    total: usize,
) -> Result<()> {
    for (accumulator, states) in accumulators.iter_mut().zip(states) {
        let slice = |state: &ArrayRef| state.slice(range.start, range.len());
        let states: Vec<_> = states.iter().map(slice).collect();
        accumulator.merge(&states, ids, total)?;
    }
    Ok(())
}

impl fmt::Display for AggregateCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut arguments = self.arguments.clone();
        if arguments.is_empty() {
            arguments.push("*".to_owned());
        }
        arguments.extend(self.kind.literals());
        write!(f, "{}({}) AS {}", self.kind, arguments.join(", "), self.name)
    }
}

/// Returns what an operator computes and by which columns, as its description says it.
pub(super) fn describe(name: &str, keys: &[&str], calls: &[AggregateCall]) -> String {
    let calls: Vec<_> = calls.iter().map(AggregateCall::to_string).collect();
    format!("{name} {} by {}", calls.join(", "), keys.join(", "))
}
