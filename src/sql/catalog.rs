//! What names in a query mean: tables, functions, operators of their own.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_common::config::ConfigOptions;
use datafusion_common::{DFSchema, Result, ScalarValue, TableReference, plan_err};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::planner::{ContextProvider, ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion_expr::{AggregateUDF, Expr, HigherOrderUDF, ScalarUDF, TableSource, WindowUDF, lit};
use datafusion_functions::core::planner::CoreFunctionPlanner;
use datafusion_functions::datetime::planner::DatetimeFunctionPlanner;
use datafusion_functions::unicode::planner::UnicodeFunctionPlanner;

use datafusion_sql::sqlparser::ast::BinaryOperator;

use super::{Scope, Table, aggregate, function};

/// What the planner can look up.
pub(super) struct Catalog {
    tables: Vec<(String, Arc<dyn TableSource>)>,
    functions: HashMap<String, Arc<ScalarUDF>>,
    aggregates: HashMap<String, Arc<AggregateUDF>>,
    planners: Vec<Arc<dyn ExprPlanner>>,
    options: ConfigOptions,
}

#[derive(Debug)]
struct Source(SchemaRef);

/// Plans `text -> 'key'` and `text ->> 'key'`.
#[derive(Debug)]
struct JsonArrows(Arc<ScalarUDF>);

impl Catalog {
    pub(super) fn new(scope: &Scope) -> Self {
        let user = &scope.functions;
        let source = |table: &Table| {
            let source: Arc<dyn TableSource> = Arc::new(Source(as_text(&table.schema)));
            (table.name.clone(), source)
        };
        let functions = named(function::all(&user.scalars), |function| {
            (function.name(), function.aliases())
        });
        let arrows = functions
            .get("json_get")
            .map(|get| Arc::new(JsonArrows(Arc::clone(get))) as Arc<dyn ExprPlanner>);
        let mut planners: Vec<Arc<dyn ExprPlanner>> = vec![
            Arc::new(CoreFunctionPlanner::default()),
            Arc::new(DatetimeFunctionPlanner),
            Arc::new(UnicodeFunctionPlanner),
        ];
        planners.extend(arrows);
        Self {
            tables: scope.tables.iter().map(source).collect(),
            functions,
            aggregates: named(aggregate::all(&user.aggregates), |function| {
                (function.name(), function.aliases())
            }),
            planners,
            options: ConfigOptions::default(),
        }
    }
}

/// Returns the schema as queries see it: bytes are text. The plan turns those that are used into text.
pub(super) fn as_text(schema: &Schema) -> SchemaRef {
    let field = |field: &Arc<Field>| match field.data_type() {
        DataType::Binary => Arc::new(Field::new(field.name(), DataType::Utf8, field.is_nullable())),
        _ => Arc::clone(field),
    };
    Arc::new(Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>()))
}

fn named<T>(functions: Vec<Arc<T>>, names: impl Fn(&T) -> (&str, &[String])) -> HashMap<String, Arc<T>> {
    let mut found = HashMap::new();
    for function in functions {
        let (name, aliases) = names(&function);
        let names: Vec<_> = std::iter::once(name)
            .chain(aliases.iter().map(String::as_str))
            .collect();
        for name in names {
            found.insert(name.to_lowercase(), Arc::clone(&function));
        }
    }
    found
}

impl TableSource for Source {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.0)
    }
}

impl ContextProvider for Catalog {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        let wanted = name.table();
        if let Some((_, source)) = self.tables.iter().find(|(name, _)| name == wanted) {
            return Ok(Arc::clone(source));
        }
        let names: Vec<_> = self.tables.iter().map(|(name, _)| name.as_str()).collect();
        plan_err!("there is no source `{wanted}`; there are: {}", names.join(", "))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.functions.get(name).cloned()
    }

    fn get_higher_order_meta(&self, _: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.aggregates.get(name).cloned()
    }

    fn get_window_meta(&self, _: &str) -> Option<Arc<WindowUDF>> {
        None
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.options
    }

    fn udf_names(&self) -> Vec<String> {
        self.functions.keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        vec![]
    }

    fn udaf_names(&self) -> Vec<String> {
        self.aggregates.keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        vec![]
    }
}

impl ExprPlanner for JsonArrows {
    fn plan_binary_op(&self, expr: RawBinaryExpr, _: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        if !matches!(expr.op, BinaryOperator::Arrow | BinaryOperator::LongArrow) {
            return Ok(PlannerResult::Original(expr));
        }
        let path = match &expr.right {
            Expr::Literal(ScalarValue::Utf8(Some(key)) | ScalarValue::Utf8View(Some(key)), _) => lit(key.as_str()),
            Expr::Literal(ScalarValue::Int64(Some(index)), _) => lit(format!("[{index}]")),
            _ => return Ok(PlannerResult::Original(expr)),
        };
        let call = ScalarFunction::new_udf(Arc::clone(&self.0), vec![expr.left, path]);
        Ok(PlannerResult::Planned(Expr::ScalarFunction(call)))
    }
}
