//! `GROUP BY`: keys and arguments are columns, then the engine groups and aggregates.

use std::collections::HashSet;

use datafusion_expr::expr::AggregateFunction as Call;
use datafusion_expr::logical_plan::Aggregate;
use datafusion_expr::{Expr, lit, when};
use engine::aggregate::AggregateKind;
use engine::operator::StatefulOperator;
use engine::operator::aggregate::{AggregateCall, HashAggregate};
use engine::operator::expression::column;
use engine::operator::project::Project;

use super::super::aggregate::kind_of;
use super::super::error::{Result, SqlError};
use super::super::expression::as_sql;
use super::super::planned::Window;
use super::{Lowering, Slot, Wanted, names_for, plain_column, unique};

/// A call over places in the list of the columns that are made for it.
struct Placed {
    kind: AggregateKind,
    arguments: Vec<usize>,
}

impl Lowering<'_> {
    pub(super) fn aggregate(&mut self, aggregate: &Aggregate, wanted: Wanted<'_>) -> Result<Vec<Slot>> {
        let names = names_for(&aggregate.schema, wanted);
        let below = aggregate.input.schema();
        let keys = &aggregate.group_expr;
        let mut wanted_below = vec![None; below.fields().len()];
        for (key, name) in keys.iter().zip(&names) {
            if let Some(column) = plain_column(key) {
                wanted_below[below.index_of_column(column)?] = Some(name.clone());
            }
        }
        let slots = self.lower(&aggregate.input, &wanted_below)?;
        self.check_input()?;
        let mut exprs = keys.clone();
        let calls = aggregate
            .aggr_expr
            .iter()
            .map(|call| placed(call, &mut exprs))
            .collect::<Result<Vec<_>>>()?;
        let name_of = |(index, expr): (usize, &Expr)| match plain_column(expr) {
            _ if index < keys.len() => Ok(names[index].clone()),
            Some(column) => Ok(column.name.clone()),
            None => as_sql(expr),
        };
        let names_made = exprs.iter().enumerate().map(name_of).collect::<Result<_>>()?;
        let made = self.make(&exprs, names_made, below, slots)?;
        let made = self.apart(made, keys.len())?;
        self.group(keys.len(), &calls, names, &made)
    }

    fn check_input(&self) -> Result<()> {
        if self.aggregate.is_some() {
            let message = "an aggregate over an aggregate can't run as a stream: write the first into a topic or files, and read that";
            return Err(self.marks.at_group_by(message));
        }
        match self.whole.is_empty() {
            true => Ok(()),
            false => Err(self
                .marks
                .at_group_by("ORDER BY and LIMIT stand after GROUP BY, not before it")),
        }
    }

    /// Makes keys columns of their own where two are the same column.
    fn apart(&mut self, made: Vec<Slot>, keys: usize) -> Result<Vec<Slot>> {
        let different: HashSet<_> = made[..keys].iter().map(|slot| &slot.name).collect();
        if different.len() == keys {
            return Ok(made);
        }
        let names = unique(made.iter().map(|slot| slot.name.clone()).collect());
        let columns = made
            .iter()
            .zip(&names)
            .map(|(slot, name)| (name.clone(), column(slot.name.clone())));
        self.push(Project::new(columns.collect(), &self.schema)?);
        let renamed = |(slot, name)| Slot { name, ..slot };
        Ok(made.into_iter().zip(names).map(renamed).collect())
    }

    fn group(&mut self, keys: usize, calls: &[Placed], names: Vec<String>, made: &[Slot]) -> Result<Vec<Slot>> {
        let key_names = made[..keys].iter().map(|slot| slot.name.clone());
        let names = unique(key_names.chain(names.into_iter().skip(keys)).collect());
        let call = |(call, name): (&Placed, &String)| AggregateCall {
            name: name.clone(),
            kind: call.kind.clone(),
            arguments: call.arguments.iter().map(|&place| made[place].name.clone()).collect(),
        };
        let calls: Vec<_> = calls.iter().zip(&names[keys..]).map(call).collect();
        let key_names: Vec<_> = names[..keys].iter().map(String::as_str).collect();
        let mut operator = HashAggregate::new(&key_names, &calls, &self.schema)?;
        let windows = made[..keys].iter().filter_map(|slot| Some((slot, slot.window?)));
        // Of several windows, one that closes.
        if let Some((slot, starts)) = windows.max_by_key(|(_, starts)| starts.close) {
            if starts.close {
                operator = operator.with_window(&slot.name, starts.window.size_micros)?;
            }
            self.window = Some(Window {
                key: slot.name.clone(),
                size_micros: starts.window.size_micros,
                slide_micros: starts.window.slide_micros,
            });
        }
        self.schema = operator.schema();
        self.aggregate = Some(operator);
        let slot = |(index, name): (usize, String)| Slot {
            name,
            source: None,
            window: made.get(index).filter(|_| index < keys).and_then(|slot| slot.window),
        };
        Ok(names.into_iter().enumerate().map(slot).collect())
    }
}

/// Adds the arguments of a call to the columns to be made, unless they are among them.
fn placed(expr: &Expr, exprs: &mut Vec<Expr>) -> Result<Placed> {
    let call = call_of(expr)?;
    let (kind, arguments) = kind_of(call)?;
    let arguments = match &call.params.filter {
        Some(filter) => filtered(&kind, arguments, filter)?,
        None => arguments,
    };
    let mut place = |argument: Expr| match exprs.iter().position(|expr| *expr == argument) {
        Some(place) => place,
        None => {
            exprs.push(argument);
            exprs.len() - 1
        }
    };
    Ok(Placed {
        kind,
        arguments: arguments.into_iter().map(&mut place).collect(),
    })
}

fn call_of(expr: &Expr) -> Result<&Call> {
    match expr {
        Expr::Alias(alias) => call_of(&alias.expr),
        Expr::AggregateFunction(call) => Ok(call),
        other => Err(SqlError::new(format!("`{}` is no aggregate", as_sql(other)?))),
    }
}

/// `FILTER (WHERE ...)`: rows that are left out count as nulls, which no aggregate but one sees.
fn filtered(kind: &AggregateKind, mut arguments: Vec<Expr>, filter: &Expr) -> Result<Vec<Expr>> {
    if matches!(kind, AggregateKind::ArrayAgg { .. }) {
        return Err(SqlError::new(
            "array_agg takes no FILTER: it keeps nulls; write the condition into WHERE",
        ));
    }
    let value = match arguments.is_empty() {
        true => lit(true),
        false => arguments.remove(0),
    };
    arguments.insert(0, when(filter.clone(), value).end()?);
    Ok(arguments)
}
