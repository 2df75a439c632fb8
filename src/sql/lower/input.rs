//! What a plan reads: the sources, and the columns of each that it uses.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_expr::logical_plan::TableScan;
use datafusion_expr::{Expr, LogicalPlan};
use engine::operator::text::Text;

use super::super::Table;
use super::super::error::{Result, SqlError};
use super::super::function::OF_THE_MOMENT;
use super::{Lowering, Slot};

/// Returns the sources that the plan reads, and the columns of each that are used, in the source's order, then
/// that of the record.
pub(super) fn of<'a>(plan: &LogicalPlan, tables: &'a [Table]) -> Result<Vec<(&'a Table, SchemaRef)>> {
    let scans = scans(plan)?;
    let is_read = |table: &&Table| scans.iter().any(|scan| scan.table_name.table() == table.name);
    let read: Vec<_> = tables.iter().filter(is_read).collect();
    if read.is_empty() {
        return Err(SqlError::new("a query reads a source: write FROM and its name"));
    }
    let with_columns = |table: &'a Table| Ok((table, input(table, &scans)?));
    read.into_iter().map(with_columns).collect()
}

/// Returns whether a plan reads a source.
pub(super) fn reads(plan: &LogicalPlan, table: &Table) -> Result<bool> {
    Ok(scans(plan)?.iter().any(|scan| scan.table_name.table() == table.name))
}

fn input(table: &Table, scans: &[&TableScan]) -> Result<SchemaRef> {
    let own = scans.iter().filter(|scan| scan.table_name.table() == table.name);
    let used: BTreeSet<_> = own.flat_map(|scan| columns(scan)).collect();
    let input = table.schema.project(&used.into_iter().collect::<Vec<_>>());
    let input = input.map_err(|error| SqlError::new(format!("cannot choose columns: {error}")))?;
    let fields = input.fields().iter().chain(&table.record).cloned();
    Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
}

/// Refuses functions whose value is the moment of planning where the input never ends.
pub(in crate::sql) fn refuse_the_moment(plan: &LogicalPlan, tables: &[Table]) -> Result<()> {
    let scans = scans(plan)?;
    let endless = |scan: &TableScan| {
        tables
            .iter()
            .any(|table| table.name == scan.table_name.table() && !table.bounded)
    };
    if !scans.iter().any(|scan| endless(scan)) {
        return Ok(());
    }
    match call_in(plan, &OF_THE_MOMENT)? {
        Some(name) => Err(SqlError::new(format!(
            "{name}() would stay the moment of the start, and the input never ends: use the event time"
        ))),
        None => Ok(()),
    }
}

/// Returns the name of the last of these functions that the plan calls.
pub(in crate::sql) fn call_in(plan: &LogicalPlan, names: &[&str]) -> Result<Option<String>> {
    let mut found = None;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                if let Expr::ScalarFunction(call) = part
                    && names.contains(&call.func.name())
                {
                    found = Some(call.func.name().to_owned());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(found)
}

fn scans(plan: &LogicalPlan) -> Result<Vec<&TableScan>> {
    let mut scans = vec![];
    plan.apply(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            scans.push(scan);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(scans)
}

fn columns(scan: &TableScan) -> Vec<usize> {
    let all = || (0..scan.source.schema().fields().len()).collect();
    scan.projection.clone().unwrap_or_else(all)
}

/// Returns the columns of a scan as they are called in the source.
pub(super) fn slots(scan: &TableScan) -> Vec<Slot> {
    let schema = scan.source.schema();
    let slot = |index: usize| {
        let name = schema.field(index).name().clone();
        Slot {
            source: Some(name.clone()),
            name,
            window: None,
            key: None,
        }
    };
    columns(scan).into_iter().map(slot).collect()
}

impl Lowering<'_> {
    /// Makes the columns of bytes text, as the planner has seen them.
    pub(super) fn make_text(&mut self) -> Result<()> {
        let is_bytes = |schema: &Schema, name: &str| {
            schema
                .field_with_name(name)
                .is_ok_and(|field| *field.data_type() == DataType::Binary)
        };
        let names: Vec<_> = self.input.fields().iter().map(|field| field.name().clone()).collect();
        for name in names {
            if is_bytes(&self.input, &name) {
                self.push(Text::new(&name, &self.schema)?);
            }
        }
        Ok(())
    }
}
