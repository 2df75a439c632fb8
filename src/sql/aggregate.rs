//! The engine's aggregate functions as the planner sees them: names and types. They run on the engine's accumulators.

use std::any::Any;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::{Result, ScalarValue, not_impl_err, plan_datafusion_err};
use datafusion_expr::expr::AggregateFunction as Call;
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Expr, Signature, Volatility};
use engine::aggregate::registry::{ENTRIES, Entry, entry};
use engine::aggregate::{AggregateFunction, AggregateKind, UserFunction};

use super::error::SqlError;
use super::expression::kept_type;

/// An aggregate function as the planner sees it.
#[derive(Debug)]
struct Planned {
    origin: Origin,
    aliases: Vec<String>,
    signature: Signature,
}

/// Who brings an aggregate function.
#[derive(Debug)]
enum Origin {
    Engine(&'static Entry),
    User(UserFunction),
}

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Planned {}

impl Hash for Planned {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

/// Returns every aggregate function that a query may call: the engine's, then the user's, which hide those of their name.
pub(super) fn all(own: &[UserFunction]) -> Vec<Arc<AggregateUDF>> {
    let engine = ENTRIES
        .iter()
        .map(|entry| Planned::new(Origin::Engine(entry), entry.aliases));
    let own = own
        .iter()
        .map(|function| Planned::new(Origin::User(function.clone()), &[]));
    engine.chain(own).map(|function| Arc::new(function.into())).collect()
}

/// Returns the engine's function of a call, and the arguments that are columns.
pub(super) fn kind_of(call: &Call) -> Result<(AggregateKind, Vec<Expr>), SqlError> {
    let inner: &dyn Any = call.func.inner().as_ref();
    let entry = match inner.downcast_ref::<Planned>().map(|function| &function.origin) {
        Some(Origin::User(function)) => return user_kind_of(function, call),
        Some(Origin::Engine(entry)) => entry,
        None => entry(call.func.name())?,
    };
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

/// Returns a call of a user's function: all arguments are columns.
fn user_kind_of(function: &UserFunction, call: &Call) -> Result<(AggregateKind, Vec<Expr>), SqlError> {
    if call.params.distinct || !call.params.order_by.is_empty() {
        let name = function.definition().name();
        return Err(SqlError::new(format!("{name} knows no DISTINCT and no ORDER BY")));
    }
    Ok((AggregateKind::User(function.clone()), call.params.args.clone()))
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

impl Planned {
    fn new(origin: Origin, aliases: &[&str]) -> Self {
        Self {
            origin,
            aliases: aliases.iter().map(|&alias| alias.to_owned()).collect(),
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }

    /// Returns the type of the result for arguments of these types.
    fn result_type(&self, types: &[DataType]) -> Result<DataType> {
        match &self.origin {
            Origin::Engine(entry) => {
                let function = engine_function(entry, types);
                let function = function.map_err(|error| plan_datafusion_err!("{error}: {}", entry.usage))?;
                Ok(function.result_type())
            }
            Origin::User(function) => {
                let result = function.definition().result_type(types);
                result.map_err(|error| plan_datafusion_err!("{error}"))
            }
        }
    }
}

/// Returns a function of the engine over columns of these types. Parameters do not change the types, so any will do.
fn engine_function(entry: &Entry, types: &[DataType]) -> engine::Result<AggregateFunction> {
    let mut columns = types[..entry.columns.min(types.len())].to_vec();
    if let ([value], 2) = (columns.as_slice(), entry.columns) {
        // The second is in an `ORDER BY`, and the result is of the first.
        columns.push(value.clone());
    }
    let kind = AggregateKind::from_name(entry.name, &[]).or_else(|_| AggregateKind::from_name(entry.name, &["1"]));
    AggregateFunction::new(kind?, &columns)
}

impl AggregateUDFImpl for Planned {
    fn name(&self) -> &str {
        match &self.origin {
            Origin::Engine(entry) => entry.name,
            Origin::User(function) => function.definition().name(),
        }
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
        self.result_type(types)
    }

    fn is_nullable(&self) -> bool {
        !matches!(self.name(), "count" | "count_distinct" | "approx_distinct")
    }

    fn accumulator(&self, _: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        not_impl_err!("the engine accumulates {}", self.name())
    }

    fn state_fields(&self, _: StateFieldsArgs<'_>) -> Result<Vec<arrow::datatypes::FieldRef>> {
        not_impl_err!("the engine keeps the state of {}", self.name())
    }

    fn supports_null_handling_clause(&self) -> bool {
        false
    }
}
