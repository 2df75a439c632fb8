//! The logical plan, node by node from the input up, as operators of the engine.
//!
//! ```text
//! TableScan, Projection, Filter, Unnest, Union      -> operators      each batch
//! Aggregate                                         -> aggregate
//! Projection, Filter, Sort, Limit above it          -> finish         what the aggregate puts out
//! Sort, Limit without an aggregate, and above       -> whole          the whole result
//! ```
//! A plan is lowered once for each source that it reads: of a union those branches that read the source. So every source has
//! operators of its own, and what they end in is the same for all.
//!
//! A projection that only chooses and renames columns makes no operator: names are given where columns are made.

mod distinct;
mod group;
pub(super) mod input;
mod rows;

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion_common::{Column, DFSchema};
use datafusion_expr::logical_plan::{
    Distinct, FetchType, Limit as LimitPlan, Projection, SkipType, Sort as SortPlan, Union as UnionPlan,
};
use datafusion_expr::{Expr, LogicalPlan};
use engine::operator::expression::{Connective, ExpressionRef, column, logic};
use engine::operator::filter::Filter;
use engine::operator::late::RECORD_COLUMN;
use engine::operator::project::Project;
use engine::operator::retract::RETRACTED_COLUMN;
use engine::operator::sort::{Limit, Sort, SortKey};
use engine::operator::union::Union;
use engine::operator::{Operator, OutputMode, StatefulOperator};

use super::Table;
use super::error::{Result, SqlError};
use super::expression::{as_sql, kept_type, planned};
use super::function;
use super::planned::{Planned, PlannedInput, Window};
use super::syntax::Marks;

use self::rows::Hopped;

/// A plan on its way to operators, as it is for one source.
struct Lowering<'a> {
    table: &'a Table,
    /// Whether the plan reads others too.
    is_one_of_several: bool,
    mode: OutputMode,
    marks: Marks,
    input: SchemaRef,
    /// The columns after the last operator.
    schema: SchemaRef,
    operators: Vec<Arc<dyn Operator>>,
    aggregate: Option<Box<dyn StatefulOperator>>,
    /// How many columns name a row of the aggregate, if it may take rows back; and which columns of the result those are.
    retracting_keys: Option<usize>,
    retraction_key: Option<Vec<String>>,
    window: Option<Window>,
    /// Whether groups belong to windows or sessions, and whether those close by the event time.
    is_windowed: bool,
    closes: bool,
    finish: Vec<Arc<dyn Operator>>,
    whole: Vec<Arc<dyn Operator>>,
}

/// A column of the logical plan: what it is in the engine.
#[derive(Clone, Debug)]
struct Slot {
    /// The engine's column.
    name: String,
    /// The column of the source that it is, unchanged.
    source: Option<String>,
    /// The windows that it holds the starts of.
    window: Option<Starts>,
    /// Which of the columns it is that name a row, where rows may be taken back.
    key: Option<usize>,
}

/// The windows that a column holds the starts of.
#[derive(Clone, Copy, Debug)]
struct Starts {
    window: function::Window,
    /// Whether they are windows of the source's event time, so that they close.
    close: bool,
}

/// The names that columns should get, one a column of the plan; `None` where no one cares.
type Wanted<'a> = &'a [Option<String>];

impl Slot {
    fn new(name: impl Into<String>, window: Option<Starts>) -> Self {
        Self {
            name: name.into(),
            source: None,
            window,
            key: None,
        }
    }
}

/// Lowers a plan over `tables`.
pub(super) fn lower(
    plan: &LogicalPlan,
    tables: &[Table],
    mode: OutputMode,
    marks: Marks,
    explain_only: bool,
) -> Result<Planned> {
    let read = input::of(plan, tables)?;
    let is_one_of_several = read.len() > 1;
    let lowered = read.into_iter().map(|(table, input)| {
        let mut lowering = Lowering::new(table, input, mode, marks)?;
        lowering.is_one_of_several = is_one_of_several;
        lowering.lower_all(plan)?;
        Ok(lowering)
    });
    let mut lowered = lowered.collect::<Result<Vec<_>>>()?.into_iter();
    let mut first = lowered.next().expect("a plan reads a source");
    let mut inputs = vec![first.take_input()];
    for mut other in lowered {
        first.check_same(&other)?;
        inputs.push(other.take_input());
    }
    Ok(Planned {
        inputs,
        aggregate: first.aggregate,
        retraction_key: first.retraction_key,
        window: first.window,
        finish: first.finish,
        whole: first.whole,
        is_ordered: is_ordered(plan),
        schema: visible(&first.schema)?,
        explain_only,
    })
}

impl<'a> Lowering<'a> {
    /// Returns the beginning: what the plan reads of a source, with bytes made text.
    fn new(table: &'a Table, input: SchemaRef, mode: OutputMode, marks: Marks) -> Result<Self> {
        let mut lowering = Self {
            table,
            is_one_of_several: false,
            mode,
            marks,
            schema: input.clone(),
            input,
            operators: vec![],
            aggregate: None,
            retracting_keys: None,
            retraction_key: None,
            window: None,
            is_windowed: false,
            closes: false,
            finish: vec![],
            whole: vec![],
        };
        lowering.make_text()?;
        Ok(lowering)
    }

    fn lower_all(&mut self, plan: &LogicalPlan) -> Result<()> {
        let names: Vec<_> = plan
            .schema()
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect();
        let names = unique(names);
        let wanted: Vec<_> = names.iter().cloned().map(Some).collect();
        let slots = self.lower(plan, &wanted)?;
        self.give_names(&slots, &names)?;
        self.find_retraction_key(&slots, &names)?;
        self.check_mode()
    }

    /// Finds the result's columns that name a row, where rows may be taken back.
    fn find_retraction_key(&mut self, slots: &[Slot], names: &[String]) -> Result<()> {
        let Some(count) = self.retracting_keys else {
            return Ok(());
        };
        let place = |key| slots.iter().position(|slot| slot.key == Some(key));
        let key: Option<Vec<_>> = (0..count).map(|key| Some(names[place(key)?].clone())).collect();
        match key {
            Some(key) => self.retraction_key = Some(key),
            None => {
                let message = "mode update takes sessions back by their names: put every column of GROUP BY into SELECT, as it is";
                return Err(self.marks.at_group_by(message));
            }
        }
        Ok(())
    }

    fn take_input(&mut self) -> PlannedInput {
        PlannedInput {
            table: self.table.name.clone(),
            schema: self.input.clone(),
            operators: std::mem::take(&mut self.operators),
        }
    }

    /// Rows of all sources go into one aggregate.
    fn check_same(&self, other: &Self) -> Result<()> {
        let described = |lowering: &Self| lowering.aggregate.as_ref().map(|aggregate| aggregate.describe());
        if described(self) == described(other) {
            return Ok(());
        }
        let [closing, open] = match self.closes {
            true => [self, other],
            false => [other, self],
        };
        let (closing, open) = (&closing.table.name, &open.table.name);
        Err(self.marks.at_group_by(format!(
            "the window is one of the event time of {closing}, but not of {open}: a column of a UNION ALL is the event time if it \
             is that of every source"
        )))
    }

    /// The last projection, unless the columns have these names in this order already.
    fn give_names(&mut self, slots: &[Slot], names: &[String]) -> Result<()> {
        let found = self.schema.fields().iter().map(|field| field.name());
        let found = found.filter(|name| *name != RETRACTED_COLUMN);
        if found.eq(names) && slots.iter().map(|slot| &slot.name).eq(names) {
            return Ok(());
        }
        let columns = slots
            .iter()
            .zip(names)
            .map(|(slot, name)| (name.clone(), column(slot.name.clone())));
        self.project(columns.collect())
    }

    fn check_mode(&self) -> Result<()> {
        let Some(aggregate) = &self.aggregate else {
            if self.mode == OutputMode::Complete && !self.table.bounded {
                let message = "mode complete keeps the groups of a GROUP BY, and there is none: use mode append";
                return Err(SqlError::at(self.marks.query, message));
            }
            return Ok(());
        };
        if self.mode == OutputMode::Append && !self.closes {
            let instead = "or use mode update or complete";
            let source = match self.is_one_of_several {
                true => format!("the source {}", self.table.name),
                false => "the source".to_owned(),
            };
            let message = match (self.is_windowed, &self.table.event_time) {
                (false, _) => format!(
                    "a group must be final to be appended: group by a window of the event time, as tumble(time, '1 minute'), {instead}"
                ),
                (true, None) => {
                    format!("windows close by the event time, and {source} has none: give it an event time, {instead}")
                }
                (true, Some(time)) => {
                    let of = match self.is_one_of_several {
                        true => format!(" in {}", self.table.name),
                        false => String::new(),
                    };
                    format!(
                        "windows close by the event time, which is `{time}`{of}: make the window of that column, {instead}"
                    )
                }
            };
            return Err(self.marks.at_group_by(message));
        }
        match aggregate.refusal(self.mode) {
            Some(refusal) => Err(self.marks.at_group_by(refusal)),
            None => Ok(()),
        }
    }

    fn push(&mut self, operator: impl Operator + 'static) {
        self.schema = operator.schema();
        let part = match (&self.aggregate, self.whole.is_empty()) {
            (_, false) => &mut self.whole,
            (Some(_), true) => &mut self.finish,
            (None, true) => &mut self.operators,
        };
        part.push(Arc::new(operator));
    }

    /// Pushes a projection to these columns, and to those that no statement sees if there are any.
    fn project(&mut self, mut columns: Vec<(String, ExpressionRef)>) -> Result<()> {
        for hidden in [RECORD_COLUMN, RETRACTED_COLUMN] {
            if self.schema.field_with_name(hidden).is_ok() {
                columns.push((hidden.to_owned(), column(hidden)));
            }
        }
        self.push(Project::new(columns, &self.schema)?);
        Ok(())
    }

    fn lower(&mut self, plan: &LogicalPlan, wanted: Wanted<'_>) -> Result<Vec<Slot>> {
        match plan {
            LogicalPlan::TableScan(scan) => Ok(input::slots(scan)),
            LogicalPlan::SubqueryAlias(alias) => self.lower(&alias.input, wanted),
            LogicalPlan::Projection(projection) => self.projection(projection, wanted),
            LogicalPlan::Filter(filter) => {
                let slots = self.lower(&filter.input, wanted)?;
                let mut predicate = self.planned(&filter.predicate, filter.input.schema(), &slots)?;
                // A row that takes back has nothing in it that a condition could be about.
                if self.schema.field_with_name(RETRACTED_COLUMN).is_ok() {
                    predicate = logic(Connective::Or, vec![column(RETRACTED_COLUMN), predicate]);
                }
                self.push(Filter::new(predicate, self.schema.clone())?);
                Ok(slots)
            }
            LogicalPlan::Unnest(unnest) => self.unnest(unnest, wanted),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate, wanted),
            LogicalPlan::Distinct(Distinct::On(distinct)) => self.distinct_on(distinct, wanted),
            LogicalPlan::Union(union) => self.union(union, wanted),
            LogicalPlan::Sort(sort) => self.sort(sort, wanted),
            LogicalPlan::Limit(limit) => self.limit(limit, wanted),
            other => Err(SqlError::at(
                self.marks.query,
                format!("this query can't run as a stream: {}", other.display()),
            )),
        }
    }

    /// Returns an expression of the plan over the columns as they are now.
    fn planned(&self, expr: &Expr, schema: &DFSchema, slots: &[Slot]) -> Result<ExpressionRef> {
        rows::refuse_rows(expr)?;
        let names: Vec<_> = slots.iter().map(|slot| slot.name.as_str()).collect();
        planned(expr, schema, &names)
    }

    fn projection(&mut self, projection: &Projection, wanted: Wanted<'_>) -> Result<Vec<Slot>> {
        let below = projection.input.schema();
        let names = names_for(&projection.schema, wanted);
        let mut wanted_below = vec![None; below.fields().len()];
        for (expr, name) in projection.expr.iter().zip(&names).rev() {
            if let Some(column) = plain_column(expr) {
                wanted_below[below.index_of_column(column)?] = Some(name.clone());
            }
        }
        let slots = self.lower(&projection.input, &wanted_below)?;
        self.make(&projection.expr, names, below, slots)
    }

    /// Makes the columns of `exprs`; when they are all there, there is nothing to make.
    fn make(&mut self, exprs: &[Expr], names: Vec<String>, below: &DFSchema, slots: Vec<Slot>) -> Result<Vec<Slot>> {
        let of = |expr: &Expr| -> Result<Option<Slot>> {
            let column = plain_column(expr)
                .map(|column| below.index_of_column(column))
                .transpose()?;
            Ok(column.map(|index| slots[index].clone()))
        };
        let found = exprs.iter().map(of).collect::<Result<Vec<_>>>()?;
        if let Some(chosen) = found.iter().cloned().collect::<Option<Vec<_>>>() {
            return Ok(chosen);
        }
        let Hopped { exprs, schema, slots } = self.hop(exprs, below, slots)?;
        let mut columns = vec![];
        let mut made = vec![];
        for (expr, name) in exprs.iter().zip(unique(names)) {
            let mut slot = match plain_column(expr) {
                Some(column) => slots[schema.index_of_column(column)?].clone(),
                None => Slot::new("", self.tumbling(expr, &schema, &slots)?),
            };
            columns.push((name.clone(), self.planned(expr, &schema, &slots)?));
            slot.name = name;
            made.push(slot);
        }
        self.project(columns)?;
        Ok(made)
    }

    fn union(&mut self, union: &UnionPlan, wanted: Wanted<'_>) -> Result<Vec<Slot>> {
        let names = unique(names_for(&union.schema, wanted));
        let types: Vec<_> = union
            .schema
            .fields()
            .iter()
            .map(|field| kept_type(field.data_type()))
            .collect();
        let mut branches: Vec<Vec<Arc<dyn Operator>>> = vec![];
        let mut schema = self.schema.clone();
        let mut made: Vec<Slot> = names.iter().map(|name| Slot::new(name, None)).collect();
        for input in &union.inputs {
            if !input::reads(input, self.table)? {
                continue;
            }
            let mut branch = self.branch();
            let wanted: Vec<_> = names.iter().cloned().map(Some).collect();
            let slots = branch.lower(input, &wanted)?;
            if branch.aggregate.is_some() || !branch.whole.is_empty() {
                let message = "a branch of UNION ALL can't have GROUP BY, ORDER BY or LIMIT: put them around the union, or write several queries";
                return Err(SqlError::at(self.marks.query, message));
            }
            // What is one column of the source in every branch still is it: the event time, say.
            for (made, slot) in made.iter_mut().zip(&slots) {
                match branches.len() {
                    0 => made.source.clone_from(&slot.source),
                    _ => made.source = made.source.take().filter(|source| slot.source.as_ref() == Some(source)),
                }
            }
            branch.give_names(&slots, &names)?;
            if branch.operators.is_empty() {
                let columns = names.iter().map(|name| (name.clone(), column(name.clone())));
                branch.project(columns.collect())?;
            }
            let found = branch.schema.fields().iter().map(|field| field.data_type());
            debug_assert!(found.take(types.len()).eq(&types));
            schema = branch.schema;
            branches.push(branch.operators);
        }
        match <[_; 1]>::try_from(branches) {
            Ok([branch]) => {
                self.operators.extend(branch);
                self.schema = schema;
            }
            Err(branches) => self.push(Union::new(branches)?),
        }
        Ok(made)
    }

    /// Returns the beginning of a branch: the columns as they are now.
    fn branch(&self) -> Self {
        Self {
            table: self.table,
            is_one_of_several: self.is_one_of_several,
            mode: self.mode,
            marks: self.marks,
            input: self.input.clone(),
            schema: self.schema.clone(),
            operators: vec![],
            aggregate: None,
            retracting_keys: None,
            retraction_key: None,
            window: None,
            is_windowed: false,
            closes: false,
            finish: vec![],
            whole: vec![],
        }
    }

    fn sort(&mut self, sort: &SortPlan, wanted: Wanted<'_>) -> Result<Vec<Slot>> {
        let below = sort.input.schema();
        let slots = self.lower(&sort.input, wanted)?;
        self.check_order("ORDER BY")?;
        let mut slots_made = slots.clone();
        let by: Vec<_> = sort.expr.iter().map(|key| key.expr.clone()).collect();
        let mut keys = vec![];
        if by.iter().any(|expr| plain_column(expr).is_none()) {
            slots_made = self.add(&by, below, &slots)?;
        }
        for (index, key) in sort.expr.iter().enumerate() {
            let slot = match plain_column(&key.expr) {
                Some(column) => &slots_made[below.index_of_column(column)?],
                None => &slots_made[slots.len() + index],
            };
            keys.push(SortKey {
                column: slot.name.clone(),
                descending: !key.asc,
                nulls_first: key.nulls_first,
            });
        }
        self.push_over_all(Sort::new(keys, self.schema.clone())?);
        if let Some(rows) = sort.fetch {
            self.push_over_all(Limit::new(0, rows, self.schema.clone()));
        }
        slots_made.truncate(slots.len());
        Ok(slots_made)
    }

    /// Makes the columns of `exprs` beside those there are.
    fn add(&mut self, exprs: &[Expr], below: &DFSchema, slots: &[Slot]) -> Result<Vec<Slot>> {
        let kept = below.columns().into_iter().map(Expr::Column);
        let all: Vec<_> = kept.chain(exprs.iter().cloned()).collect();
        let mut names: Vec<_> = slots.iter().map(|slot| slot.name.clone()).collect();
        for expr in exprs {
            names.push(as_sql(expr)?);
        }
        self.make(&all, names, below, slots.to_vec())
    }

    fn limit(&mut self, limit: &LimitPlan, wanted: Wanted<'_>) -> Result<Vec<Slot>> {
        let slots = self.lower(&limit.input, wanted)?;
        self.check_order("LIMIT")?;
        match (limit.get_skip_type()?, limit.get_fetch_type()?) {
            (SkipType::Literal(skipped), FetchType::Literal(rows)) => {
                let rows = rows.unwrap_or(usize::MAX);
                self.push_over_all(Limit::new(skipped, rows, self.schema.clone()));
                Ok(slots)
            }
            _ => Err(self.marks.at_order("LIMIT and OFFSET take whole numbers")),
        }
    }

    /// Pushes an operator that must see all rows: after an aggregate it does, else the whole result is gathered for it.
    fn push_over_all(&mut self, operator: impl Operator + 'static) {
        match self.aggregate {
            Some(_) => self.push(operator),
            None => {
                self.schema = operator.schema();
                self.whole.push(Arc::new(operator));
            }
        }
    }

    fn check_order(&self, what: &str) -> Result<()> {
        let whole = match &self.aggregate {
            Some(_) => self.mode == OutputMode::Complete,
            None => self.table.bounded,
        };
        match whole {
            true => Ok(()),
            false => Err(self.marks.at_order(format!(
                "{what} needs the whole result, and the input never ends: use mode complete with GROUP BY, or an input that ends"
            ))),
        }
    }
}

/// Returns the columns that a statement sees.
fn visible(schema: &Schema) -> Result<SchemaRef> {
    let is_visible = |index: &usize| schema.field(*index).name() != RETRACTED_COLUMN;
    let columns: Vec<_> = (0..schema.fields().len()).filter(is_visible).collect();
    let visible = schema.project(&columns);
    let visible = visible.map_err(|error| SqlError::new(format!("cannot choose columns: {error}")))?;
    Ok(Arc::new(visible))
}

/// Returns whether what comes last of all that can give rows an order does.
fn is_ordered(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Sort(_) => true,
        LogicalPlan::Projection(projection) => is_ordered(&projection.input),
        LogicalPlan::Filter(filter) => is_ordered(&filter.input),
        LogicalPlan::Limit(limit) => is_ordered(&limit.input),
        LogicalPlan::SubqueryAlias(alias) => is_ordered(&alias.input),
        _ => false,
    }
}

/// Returns the column that an expression is, under whatever name.
fn plain_column(expr: &Expr) -> Option<&Column> {
    match expr {
        Expr::Column(column) => Some(column),
        Expr::Alias(alias) => plain_column(&alias.expr),
        _ => None,
    }
}

/// Returns the names wanted, or else those of the plan.
fn names_for(schema: &DFSchema, wanted: Wanted<'_>) -> Vec<String> {
    let names = schema.fields().iter().zip(wanted);
    names
        .map(|(field, wanted)| wanted.clone().unwrap_or_else(|| field.name().clone()))
        .collect()
}

/// Returns the names with a number behind those that came before.
fn unique(names: Vec<String>) -> Vec<String> {
    let mut seen = HashSet::new();
    let fresh = |name: String| {
        let numbered = (2..).map(|number| format!("{name}_{number}"));
        let free = std::iter::once(name.clone())
            .chain(numbered)
            .find(|name| !seen.contains(name));
        let free = free.expect("numbers do not end");
        seen.insert(free.clone());
        free
    };
    names.into_iter().map(fresh).collect()
}
