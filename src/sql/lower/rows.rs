//! What makes several rows of one: `unnest(tokenize(...))` and `hop(...)`.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, DFSchema};
use datafusion_expr::logical_plan::{Projection, Unnest};
use datafusion_expr::{Cast, Expr, LogicalPlan};
use engine::operator::hop::Hop;
use engine::operator::late::RECORD_COLUMN;
use engine::operator::tokenize::Tokenize;

use super::super::error::{Result, SqlError};
use super::super::expression::as_sql;
use super::super::function::{HOP, SESSION, TOKENIZE, Window, tokens_of, window_of};
use super::{Lowering, Slot, Starts, Wanted, names_for, plain_column};

/// The column that stands for a call of `hop` in the plan.
const HOPPED: &str = "__hop";

/// Expressions without `hop`, over columns of which one may hold the starts of the windows.
pub(super) struct Hopped {
    pub(super) exprs: Vec<Expr>,
    pub(super) schema: DFSchema,
    pub(super) slots: Vec<Slot>,
}

/// Refuses calls that make rows where an expression makes one value a row.
pub(super) fn refuse_rows(expr: &Expr) -> Result<()> {
    match call_of(expr, &[HOP, SESSION, TOKENIZE])? {
        Some(Expr::ScalarFunction(call)) if call.func.name() == SESSION => Err(SqlError::new(
            "session depends on other rows: it stands in GROUP BY, by itself",
        )),
        Some(Expr::ScalarFunction(call)) if call.func.name() == HOP => Err(SqlError::new(
            "hop makes several rows of one: it may stand in GROUP BY and in SELECT, not in WHERE",
        )),
        Some(_) => Err(SqlError::new(
            "tokenize makes several rows of one: write unnest(tokenize(text))",
        )),
        None => Ok(()),
    }
}

/// Returns the first call of one of these functions.
fn call_of(expr: &Expr, names: &[&str]) -> Result<Option<Expr>> {
    let mut found = None;
    expr.apply(|part| match part {
        Expr::ScalarFunction(call) if names.contains(&call.func.name()) => {
            found = Some(part.clone());
            Ok(TreeNodeRecursion::Stop)
        }
        _ => Ok(TreeNodeRecursion::Continue),
    })?;
    Ok(found)
}

impl Lowering<'_> {
    /// Returns the windows whose starts a call of `tumble` gives; `None` of any other expression.
    pub(super) fn tumbling(&self, expr: &Expr, below: &DFSchema, slots: &[Slot]) -> Result<Option<Starts>> {
        match window_of(expr)? {
            Some((window, time)) => Ok(Some(self.starts(window, time, below, slots)?)),
            None => Ok(None),
        }
    }

    fn starts(&self, window: Window, time: &Expr, below: &DFSchema, slots: &[Slot]) -> Result<Starts> {
        let close = self.is_event_time(time, below, slots)?;
        Ok(Starts { window, close })
    }

    /// Returns whether an expression is the source's event time, by which windows close.
    pub(super) fn is_event_time(&self, time: &Expr, below: &DFSchema, slots: &[Slot]) -> Result<bool> {
        let mut time = time;
        while let Expr::Cast(Cast { expr, .. }) = time {
            time = expr;
        }
        let source = match plain_column(time) {
            Some(column) => slots[below.index_of_column(column)?].source.as_ref(),
            None => None,
        };
        Ok(source.is_some() && source == self.table.event_time.as_ref())
    }

    /// Replaces the call of `hop` in the expressions by a column, which the operator of that name makes.
    pub(super) fn hop(&mut self, exprs: &[Expr], below: &DFSchema, slots: Vec<Slot>) -> Result<Hopped> {
        let mut calls = vec![];
        for expr in exprs {
            calls.extend(call_of(expr, &[HOP])?.filter(|call| !calls.contains(call)));
        }
        let call = match calls.as_slice() {
            [] => {
                return Ok(Hopped {
                    exprs: exprs.to_vec(),
                    schema: below.clone(),
                    slots,
                });
            }
            [call] => call,
            [_, second, ..] => {
                return Err(SqlError::new(format!(
                    "one hop is enough: `{}` is a second",
                    as_sql(second)?
                )));
            }
        };
        let (window, time) = window_of(call)?.expect("this is a call of hop");
        let starts = self.starts(window, time, below, &slots)?;
        let time_name = self.time_column(time, below, &slots)?;
        let taken = |name: &str| self.schema.field_with_name(name).is_ok();
        let output = (0..).map(|number| format!("window_{number}")).find(|name| !taken(name));
        let output = output.expect("numbers do not end");
        self.push(Hop::new(
            &time_name,
            window.slide_micros,
            window.size_micros,
            &output,
            &self.schema,
        )?);
        let mut slots = slots;
        slots.push(Slot::new(output, Some(starts)));
        let replace = |expr: &Expr| {
            let with_column = |part: Expr| match part == *call {
                true => Ok(Transformed::yes(Expr::Column(Column::new_unqualified(HOPPED)))),
                false => Ok(Transformed::no(part)),
            };
            Ok(expr.clone().transform(with_column)?.data)
        };
        Ok(Hopped {
            exprs: exprs.iter().map(replace).collect::<Result<_>>()?,
            schema: with_starts(below)?,
            slots,
        })
    }

    /// Returns the engine's column that holds a time, which is made if need be.
    fn time_column(&mut self, time: &Expr, below: &DFSchema, slots: &[Slot]) -> Result<String> {
        if let Some(column) = plain_column(time) {
            return Ok(slots[below.index_of_column(column)?].name.clone());
        }
        let added = self.add(std::slice::from_ref(time), below, slots)?;
        Ok(added.last().expect("the time was added").name.clone())
    }

    pub(super) fn unnest(&mut self, unnest: &Unnest, wanted: Wanted<'_>) -> Result<Vec<Slot>> {
        let refused = || SqlError::new("unnest takes the tokens of a text: write unnest(tokenize(text))");
        let LogicalPlan::Projection(projection) = unnest.input.as_ref() else {
            return Err(refused());
        };
        let list = match unnest.list_type_columns.as_slice() {
            [(index, list)] if list.depth == 1 && unnest.struct_type_columns.is_empty() => *index,
            _ => return Err(refused()),
        };
        let tokens = tokens_of(&projection.expr[list])?.ok_or_else(refused)?;
        let names = names_for(&unnest.schema, wanted);
        let name_of = |input: usize| {
            let output = unnest.dependency_indices.iter().position(|&index| index == input);
            output.map_or_else(
                || projection.schema.field(input).name().clone(),
                |output| names[output].clone(),
            )
        };
        let kept: Vec<_> = (0..projection.expr.len()).filter(|&index| index != list).collect();
        let made = self.token_inputs(projection, tokens.text, &kept, name_of)?;
        let (text, kept_slots) = made.split_first().expect("the text comes first");
        let mut kept_names: Vec<_> = kept_slots.iter().map(|slot| slot.name.as_str()).collect();
        kept_names.sort_unstable();
        kept_names.dedup();
        if self.schema.field_with_name(RECORD_COLUMN).is_ok() {
            kept_names.push(RECORD_COLUMN);
        }
        let mut token = name_of(list);
        while kept_names.contains(&token.as_str()) {
            token.push('_');
        }
        self.push(Tokenize::new(
            &text.name,
            tokens.mode,
            tokens.lower,
            &kept_names,
            &token,
            &self.schema,
        )?);
        let slot = |input: &usize| match kept.iter().position(|index| index == input) {
            Some(place) => kept_slots[place].clone(),
            None => Slot::new(token.clone(), None),
        };
        Ok(unnest.dependency_indices.iter().map(slot).collect())
    }

    /// Makes the text to be tokenized and the columns that are kept beside its tokens.
    fn token_inputs(
        &mut self,
        projection: &Projection,
        text: &Expr,
        kept: &[usize],
        name_of: impl Fn(usize) -> String,
    ) -> Result<Vec<Slot>> {
        let below = projection.input.schema();
        let mut wanted = vec![None; below.fields().len()];
        for &index in kept {
            if let Some(column) = plain_column(&projection.expr[index]) {
                wanted[below.index_of_column(column)?] = Some(name_of(index));
            }
        }
        let slots = self.lower(&projection.input, &wanted)?;
        let text_name = as_sql(text)?;
        let names = std::iter::once(text_name)
            .chain(kept.iter().map(|&index| name_of(index)))
            .collect();
        let exprs: Vec<_> = std::iter::once(text)
            .chain(kept.iter().map(|&index| &projection.expr[index]))
            .cloned()
            .collect();
        self.make(&exprs, names, below, slots)
    }
}

/// Returns the columns with one more for the starts of windows.
fn with_starts(below: &DFSchema) -> Result<DFSchema> {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let mut fields: Vec<_> = below
        .iter()
        .map(|(of, field)| (of.cloned(), Arc::clone(field)))
        .collect();
    fields.push((None, Arc::new(Field::new(HOPPED, time, true))));
    Ok(DFSchema::new_with_metadata(fields, HashMap::new())?)
}
