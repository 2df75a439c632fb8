//! The engine's aggregate functions as the planner sees them: names and types. They run on the engine's accumulators.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::{Result, ScalarValue, not_impl_err, plan_datafusion_err};
use datafusion_expr::expr::AggregateFunction as Call;
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Expr, Signature, Volatility};
use engine::aggregate::registry::{ENTRIES, Entry, entry};
use engine::aggregate::{AggregateFunction, AggregateKind};

use super::error::SqlError;
use super::expression::kept_type;

/// An aggregate function of the engine.
#[derive(Debug)]
struct Native {
    entry: &'static Entry,
    aliases: Vec<String>,
    signature: Signature,
}

impl PartialEq for Native {
    fn eq(&self, other: &Self) -> bool {
        self.entry.name == other.entry.name
    }
}

impl Eq for Native {}

impl Hash for Native {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.entry.name.hash(state);
    }
}

/// Returns every aggregate function that a query may call.
pub(super) fn all() -> Vec<Arc<AggregateUDF>> {
    let native = |entry: &'static Entry| {
        Arc::new(AggregateUDF::from(Native {
            aliases: entry.aliases.iter().map(|&alias| alias.to_owned()).collect(),
            signature: Signature::user_defined(Volatility::Immutable),
            entry,
        }))
    };
    ENTRIES.iter().map(native).collect()
}

/// Returns the engine's function of a call, and the arguments that are columns.
pub(super) fn kind_of(call: &Call) -> Result<(AggregateKind, Vec<Expr>), SqlError> {
    let entry = entry(call.func.name())?;
    let (name, args) = (entry.name, call.params.args.as_slice());
    if call.params.distinct && !matches!(name, "count" | "min" | "max" | "bool_and" | "bool_or") {
        return Err(SqlError::new(format!(
            "{name}(distinct x) is not known: write count(distinct x)"
        )));
    }
    let name = match (name, call.params.distinct) {
        ("count", true) => "count_distinct",
        (name, _) => name,
    };
    if let [order] = call.params.order_by.as_slice()
        && let ("first" | "last", [value]) = (name, args)
    {
        let name = if (name == "first") == order.asc {
            "first"
        } else {
            "last"
        };
        let kind = AggregateKind::from_name(name, &[])?;
        return Ok((kind, vec![value.clone(), order.expr.clone()]));
    }
    if !call.params.order_by.is_empty() {
        return Err(SqlError::new(format!(
            "{name} knows no ORDER BY, expected {}",
            entry.usage
        )));
    }
    if name == "count" && counts_rows(args) {
        return Ok((AggregateKind::Count, vec![]));
    }
    let (columns, parameters) = args.split_at(args.len().min(entry.columns));
    let parameters = parameters
        .iter()
        .map(|parameter| literal(parameter, entry))
        .collect::<Result<Vec<_>, _>>()?;
    let parameters: Vec<_> = parameters.iter().map(String::as_str).collect();
    Ok((AggregateKind::from_name(name, &parameters)?, columns.to_vec()))
}

/// Returns whether what is counted is never null: `count(*)`, `count(1)`.
#[expect(deprecated, reason = "the planner of SQL still makes it of a `*`")]
fn counts_rows(args: &[Expr]) -> bool {
    match args {
        [Expr::Wildcard { .. }] => true,
        [Expr::Literal(value, _)] => !value.is_null(),
        _ => false,
    }
}

fn literal(parameter: &Expr, entry: &Entry) -> Result<String, SqlError> {
    match parameter {
        Expr::Literal(ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)), _) => Ok(text.clone()),
        Expr::Literal(value, _) => Ok(value.to_string()),
        other => Err(SqlError::new(format!(
            "`{other}` is no literal, expected {}",
            entry.usage
        ))),
    }
}

impl Native {
    /// Returns the function over columns of these types. Parameters do not change the types, so any will do.
    fn function(&self, types: &[DataType]) -> Result<AggregateFunction> {
        let mut columns = types[..self.entry.columns.min(types.len())].to_vec();
        if let ([value], 2) = (columns.as_slice(), self.entry.columns) {
            // The second is in an `ORDER BY`, and the result is of the first.
            columns.push(value.clone());
        }
        let name = self.entry.name;
        let kind = AggregateKind::from_name(name, &[]).or_else(|_| AggregateKind::from_name(name, &["1"]));
        kind.and_then(|kind| AggregateFunction::new(kind, &columns))
            .map_err(|error| plan_datafusion_err!("{error}: {}", self.entry.usage))
    }
}

impl AggregateUDFImpl for Native {
    fn name(&self) -> &str {
        self.entry.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let coerced = |data_type: &DataType| match data_type {
            DataType::Decimal128(..) | DataType::Decimal256(..) => DataType::Float64,
            other => kept_type(other),
        };
        Ok(types.iter().map(coerced).collect())
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(self.function(types)?.result_type())
    }

    fn is_nullable(&self) -> bool {
        !matches!(self.entry.name, "count" | "count_distinct" | "approx_distinct")
    }

    fn accumulator(&self, _: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        not_impl_err!("the engine accumulates {}", self.entry.name)
    }

    fn state_fields(&self, _: StateFieldsArgs<'_>) -> Result<Vec<arrow::datatypes::FieldRef>> {
        not_impl_err!("the engine keeps the state of {}", self.entry.name)
    }

    fn supports_null_handling_clause(&self) -> bool {
        false
    }
}
