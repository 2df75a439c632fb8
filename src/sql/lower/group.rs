//! `GROUP BY`: keys and arguments are columns, then the engine groups and aggregates.

use std::collections::HashSet;

use datafusion_expr::expr::AggregateFunction as Call;
use datafusion_expr::logical_plan::Aggregate;
use datafusion_expr::{Expr, lit, when};
use engine::aggregate::AggregateKind;
use engine::operator::aggregate::{AggregateCall, HashAggregate};
use engine::operator::expression::column;
use engine::operator::session::{BOUNDS, SessionAggregate};
use engine::operator::{OutputMode, StatefulOperator};

use super::super::aggregate::kind_of;
use super::super::error::{Result, SqlError};
use super::super::expression::as_sql;
use super::super::function::session_of;
use super::super::planned::Window;
use super::{Lowering, Slot, Wanted, names_for, plain_column, unique};

/// A call over places in the list of the columns that are made for it.
struct Placed {
    kind: AggregateKind,
    arguments: Vec<usize>,
}

/// A session among the keys.
struct Session {
    /// Which of the keys it is.
    place: usize,
    gap_micros: i64,
    time: Expr,
    /// Whether it is one of the event time, so that it closes.
    closes: bool,
}

impl Lowering<'_> {
    pub(super) fn aggregate(&mut self, aggregate: &Aggregate, wanted: Wanted<'_>) -> Result<Vec<Slot>> {
        let names = names_for(&aggregate.schema, wanted);
        let below = aggregate.input.schema();
        let mut wanted_below = vec![None; below.fields().len()];
        for (key, name) in aggregate.group_expr.iter().zip(&names) {
            if let Some(column) = plain_column(key) {
                wanted_below[below.index_of_column(column)?] = Some(name.clone());
            }
        }
        let slots = self.lower(&aggregate.input, &wanted_below)?;
        self.check_input()?;
        let session = self.session(aggregate, &slots)?;
        let is_key = |index: &usize| session.as_ref().is_none_or(|session| session.place != *index);
        let key_places: Vec<_> = (0..aggregate.group_expr.len()).filter(is_key).collect();
        let mut exprs: Vec<_> = key_places
            .iter()
            .map(|&place| aggregate.group_expr[place].clone())
            .collect();
        let calls = aggregate
            .aggr_expr
            .iter()
            .map(|call| placed(call, &mut exprs))
            .collect::<Result<Vec<_>>>()?;
        exprs.extend(session.iter().map(|session| session.time.clone()));
        let name_of = |(index, expr): (usize, &Expr)| match (key_places.get(index), plain_column(expr)) {
            (Some(&place), _) => Ok(names[place].clone()),
            (None, Some(column)) => Ok(column.name.clone()),
            (None, None) => as_sql(expr),
        };
        let names_made = exprs.iter().enumerate().map(name_of).collect::<Result<_>>()?;
        let made = self.make(&exprs, names_made, below, slots)?;
        let made = self.apart(made, key_places.len())?;
        match session {
            None => self.group(key_places.len(), &calls, names, &made),
            Some(session) => self.group_sessions(&session, &calls, names, &made),
        }
    }

    /// Returns the session that is one of the keys.
    fn session(&self, aggregate: &Aggregate, slots: &[Slot]) -> Result<Option<Session>> {
        for (place, key) in aggregate.group_expr.iter().enumerate() {
            if let Some((gap_micros, time)) = session_of(key)? {
                return Ok(Some(Session {
                    place,
                    gap_micros,
                    time: time.clone(),
                    closes: self.is_event_time(time, aggregate.input.schema(), slots)?,
                }));
            }
        }
        Ok(None)
    }

    pub(super) fn check_input(&self) -> Result<()> {
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
        self.project(columns.collect())?;
        let renamed = |(slot, name)| Slot { name, ..slot };
        Ok(made.into_iter().zip(names).map(renamed).collect())
    }

    fn group(&mut self, keys: usize, calls: &[Placed], names: Vec<String>, made: &[Slot]) -> Result<Vec<Slot>> {
        let key_names = made[..keys].iter().map(|slot| slot.name.clone());
        let names = unique(key_names.chain(names.into_iter().skip(keys)).collect());
        let calls = calls_of(calls, &names[keys..], made);
        let key_names: Vec<_> = names[..keys].iter().map(String::as_str).collect();
        let mut operator = HashAggregate::new(&key_names, &calls, &self.schema)?;
        let windows = made[..keys].iter().filter_map(|slot| Some((slot, slot.window?)));
        // Of several windows, one that closes.
        if let Some((slot, starts)) = windows.max_by_key(|(_, starts)| starts.close) {
            if starts.close {
                operator = operator.with_window(&slot.name, starts.window.size_micros)?;
            }
            (self.is_windowed, self.closes) = (true, starts.close);
            self.window = Some(Window {
                key: slot.name.clone(),
                size_micros: starts.window.size_micros,
                slide_micros: starts.window.slide_micros,
            });
        }
        self.schema = operator.schema();
        self.aggregate = Some(Box::new(operator));
        let slot = |(index, name): (usize, String)| Slot {
            name,
            source: None,
            window: made.get(index).filter(|_| index < keys).and_then(|slot| slot.window),
            key: None,
        };
        Ok(names.into_iter().enumerate().map(slot).collect())
    }

    /// Groups by the keys and by sessions; the time is the last column that was made.
    fn group_sessions(
        &mut self,
        session: &Session,
        calls: &[Placed],
        names: Vec<String>,
        made: &[Slot],
    ) -> Result<Vec<Slot>> {
        let count = names.len() - calls.len() - 1;
        let key_names: Vec<_> = made[..count].iter().map(|slot| slot.name.clone()).collect();
        let bounds = BOUNDS.map(str::to_owned);
        let taken = key_names.iter().chain(&bounds).cloned();
        let all = unique(taken.chain(names.into_iter().skip(count + 1)).collect());
        let calls = calls_of(calls, &all[count + BOUNDS.len()..], made);
        let time = made.last().expect("the time was made");
        let keys: Vec<_> = key_names.iter().map(String::as_str).collect();
        let mut operator = SessionAggregate::new(&keys, &time.name, session.gap_micros, &calls, &self.schema)?;
        if self.mode == OutputMode::Update {
            operator = operator.with_updates();
            self.retracting_keys = Some(keys.len() + 1);
        }
        self.schema = operator.schema();
        self.aggregate = Some(Box::new(operator));
        (self.is_windowed, self.closes) = (true, session.closes);
        let named = |(key, name): (usize, String)| Slot {
            key: Some(key),
            ..Slot::new(name, None)
        };
        let start = named((count, BOUNDS[0].to_owned()));
        let mut slots: Vec<_> = key_names.into_iter().enumerate().map(named).collect();
        slots.insert(session.place, start);
        slots.extend(calls.into_iter().map(|call| Slot::new(call.name, None)));
        Ok(slots)
    }
}

/// Returns the engine's calls over the columns that were made for them.
fn calls_of(calls: &[Placed], names: &[String], made: &[Slot]) -> Vec<AggregateCall> {
    let call = |(call, name): (&Placed, &String)| AggregateCall {
        name: name.clone(),
        kind: call.kind.clone(),
        arguments: call.arguments.iter().map(|&place| made[place].name.clone()).collect(),
    };
    calls.iter().zip(names).map(call).collect()
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
