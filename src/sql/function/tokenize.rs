//! `tokenize(text [, mode])`: the tokens of a text, for `unnest`.

use std::hash::Hash;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion_common::{Result, ScalarValue, exec_err};
use datafusion_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use engine::operator::tokenize::SplitMode;

use super::wrong_call;

pub(in crate::sql) const TOKENIZE: &str = "tokenize";
const USAGE: &str = "tokenize(text), or tokenize(text, 'ascii' | 'space' | 'unicode' | 'word' | 'bytes:CHARACTERS')";

/// The plan replaces `unnest(tokenize(...))` by the operator of that name, so this is never called.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Tokenize(Signature);

/// What a call of `tokenize` asks for.
#[derive(Debug)]
pub(in crate::sql) struct Tokens<'a> {
    pub(in crate::sql) text: &'a Expr,
    pub(in crate::sql) mode: SplitMode,
    /// Whether the text is put into lower case first: `tokenize(lower(text))`.
    pub(in crate::sql) lower: bool,
}

impl Default for Tokenize {
    fn default() -> Self {
        Self(Signature::user_defined(Volatility::Volatile))
    }
}

impl ScalarUDFImpl for Tokenize {
    fn name(&self) -> &str {
        TOKENIZE
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let is_text =
            |data_type: &DataType| matches!(data_type, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8);
        match types {
            [text] if is_text(text) => Ok(vec![DataType::Utf8]),
            [text, mode] if is_text(text) && is_text(mode) => Ok(vec![DataType::Utf8; 2]),
            [other, ..] if !is_text(other) => Err(wrong_call(USAGE, format!("what is to be tokenized is {other}"))),
            _ => Err(wrong_call(USAGE, "the arguments of tokenize do not fit")),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, false))))
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        exec_err!("tokenize makes several rows of one: write unnest(tokenize(text))")
    }
}

/// Returns what a call of `tokenize` asks for; `None` of any other expression.
///
/// # Errors
/// When the mode is no literal, or unknown.
pub(in crate::sql) fn tokens_of(expr: &Expr) -> Result<Option<Tokens<'_>>> {
    let call = match expr {
        Expr::Alias(alias) => return tokens_of(&alias.expr),
        Expr::ScalarFunction(call) if call.func.name() == TOKENIZE => call,
        _ => return Ok(None),
    };
    let mode = match call.args.get(1) {
        None => SplitMode::Ascii,
        Some(Expr::Literal(ScalarValue::Utf8(Some(mode)), _)) => {
            mode.parse().map_err(|error| wrong_call(USAGE, error))?
        }
        Some(other) => return Err(wrong_call(USAGE, format!("the mode `{other}` is no literal"))),
    };
    let (text, lower) = match &call.args[0] {
        Expr::ScalarFunction(inner) if inner.func.name() == "lower" => (&inner.args[0], true),
        text => (text, false),
    };
    Ok(Some(Tokens { text, mode, lower }))
}
