//! The statement as a logical plan: names resolved, types coerced, constants folded, filters and columns pushed down.

use std::sync::Arc;

use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::TreeNode;
use datafusion_expr::LogicalPlan;
use datafusion_expr::logical_plan::Distinct;
use datafusion_optimizer::analyzer::Analyzer;
use datafusion_optimizer::eliminate_duplicated_expr::EliminateDuplicatedExpr;
use datafusion_optimizer::optimize_projections::OptimizeProjections;
use datafusion_optimizer::optimize_unions::OptimizeUnions;
use datafusion_optimizer::push_down_filter::PushDownFilter;
use datafusion_optimizer::replace_distinct_aggregate::ReplaceDistinctWithAggregate;
use datafusion_optimizer::simplify_expressions::SimplifyExpressions;
use datafusion_optimizer::{Optimizer, OptimizerContext, OptimizerRule};
use datafusion_sql::planner::{ParserOptions, SqlToRel};
use datafusion_sql::sqlparser::ast::Statement;

use super::Scope;
use super::catalog::Catalog;
use super::error::{Result, SqlError};
use super::function::{HOP, SESSION};
use super::lower::input;

/// Returns the optimized plan of a statement.
pub(super) fn logical(statement: Statement, scope: &Scope) -> Result<LogicalPlan> {
    let catalog = Catalog::new(scope);
    let options = ParserOptions::new()
        .with_collect_spans(true)
        .with_map_string_types_to_utf8view(false);
    let plan = SqlToRel::new_with_options(&catalog, options).sql_statement_to_plan(statement);
    let plan = plan.map_err(|error| SqlError::from(error).with_nearest_function(&catalog))?;
    input::refuse_the_moment(&plan, &scope.tables)?;
    let plan = Analyzer::new().execute_and_check(plan, &ConfigOptions::default(), |_, _| {})?;
    if plan.exists(|node| Ok(matches!(node, LogicalPlan::Distinct(Distinct::On(_)))))? {
        // The optimizer would make it an aggregate over functions of its own, and move conditions below it.
        return optimized(plan, vec![Arc::new(SimplifyExpressions::new())]);
    }
    let rules = rules(input::call_in(&plan, &[HOP, SESSION])?.is_some());
    optimized(plan, rules)
}

fn optimized(plan: LogicalPlan, rules: Vec<Arc<dyn OptimizerRule + Send + Sync>>) -> Result<LogicalPlan> {
    let context = OptimizerContext::new().with_skip_failing_rules(false);
    Ok(Optimizer::with_rules(rules).optimize(plan, &context, |_, _| {})?)
}

/// The rules that serve a chain of operators over one input; joins are refused before. A condition on the start of a window
/// can't go below the `hop` or `session` that finds it, which the optimizer does not know.
fn rules(has_rows: bool) -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let mut rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> = vec![
        Arc::new(OptimizeUnions::new()),
        Arc::new(SimplifyExpressions::new()),
        Arc::new(ReplaceDistinctWithAggregate::new()),
        Arc::new(EliminateDuplicatedExpr::new()),
    ];
    if !has_rows {
        rules.push(Arc::new(PushDownFilter::new()));
    }
    rules.push(Arc::new(OptimizeProjections::new()));
    rules
}
