//! What stands in `FROM`: names, and calls of functions that stand for what they read.

use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, ObjectNamePart, Spanned, Statement, TableAlias, TableFactor,
    UnaryOperator, Value, VisitMut, VisitorMut,
};

use super::error::{Result, SqlError};

/// Something in `FROM` that is no common table of the query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Its name: that of the [`Table`](super::Table) that the planner wants for it.
    pub name: String,
    /// The call that it is, if it is one.
    pub call: Option<Call>,
}

/// A call in `FROM`: `kafka('nginx', format => 'combined')`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The function, in lower case.
    pub function: String,
    /// The arguments in their order, as texts: the name, in lower case, of those that have one.
    pub arguments: Vec<(Option<String>, String)>,
}

/// Puts names in the place of calls in `FROM`: the planner knows names only. Returns each call with its name.
///
/// # Errors
/// When an argument is not a plain value.
pub(super) fn take_calls(statement: &mut Statement) -> Result<Vec<(String, Call)>> {
    let mut calls = Calls::default();
    match statement.visit(&mut calls) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(calls.found),
    }
}

#[derive(Default)]
struct Calls {
    found: Vec<(String, Call)>,
}

impl VisitorMut for Calls {
    type Break = SqlError;

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<SqlError> {
        let TableFactor::Table { name, alias, args, .. } = factor else {
            return ControlFlow::Continue(());
        };
        let Some(given) = args.take() else {
            return ControlFlow::Continue(());
        };
        let span = name.span();
        let function = name.to_string().to_lowercase();
        let mut arguments = vec![];
        for argument in &given.args {
            match plain(argument) {
                Some(argument) => arguments.push(argument),
                None => {
                    let message = format!(
                        "`{argument}` is no argument of {function}: write a text, as in 'nginx' or format => 'json'"
                    );
                    return ControlFlow::Break(SqlError::at(span, message));
                }
            }
        }
        let shown: Vec<_> = given.args.iter().map(ToString::to_string).collect();
        let text = format!("{function}({})", shown.join(", "));
        let ident = |text: &str| Ident {
            value: text.to_owned(),
            quote_style: Some('"'),
            span,
        };
        // So that `kafka.status` is a column of it.
        alias.get_or_insert_with(|| TableAlias {
            explicit: true,
            name: ident(&function),
            columns: vec![],
            at: None,
        });
        *name = ObjectName(vec![ObjectNamePart::Identifier(ident(&text))]);
        self.found.push((text, Call { function, arguments }));
        ControlFlow::Continue(())
    }
}

/// Returns an argument that is a text, a number or a truth value.
fn plain(argument: &FunctionArg) -> Option<(Option<String>, String)> {
    let (name, value) = match argument {
        FunctionArg::Named { name, arg, .. } => (Some(name.value.to_lowercase()), arg),
        FunctionArg::ExprNamed {
            name: Expr::Identifier(name),
            arg,
            ..
        } => (Some(name.value.to_lowercase()), arg),
        FunctionArg::ExprNamed { .. } => return None,
        FunctionArg::Unnamed(arg) => (None, arg),
    };
    let FunctionArgExpr::Expr(value) = value else {
        return None;
    };
    Some((name, text(value)?))
}

fn text(value: &Expr) -> Option<String> {
    match value {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text.clone()),
            Value::Number(number, _) => Some(number.to_string()),
            Value::Boolean(flag) => Some(flag.to_string()),
            _ => None,
        },
        Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr,
        } => text(expr).map(|text| format!("-{text}")),
        _ => None,
    }
}
