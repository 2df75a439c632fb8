//! `tumble`, `hop` and `window_end`: the start and the end of the windows that a time belongs to.
//!
//! Windows are half-open, `[start, start + size)`, and aligned to 1970 UTC.

use std::hash::Hash;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, PrimitiveArray};
use arrow::datatypes::{DataType, IntervalUnit, TimeUnit, TimestampMicrosecondType};
use datafusion_common::{Result, ScalarValue, exec_err};
use datafusion_expr::{Cast, ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use super::wrong_call;
use crate::units;

pub(in crate::sql) const TUMBLE: &str = "tumble";
pub(in crate::sql) const HOP: &str = "hop";
pub(in crate::sql) const SESSION: &str = "session";
const WINDOW_END: &str = "window_end";

const TUMBLE_USAGE: &str = "tumble(time, '1 minute')";
const HOP_USAGE: &str = "hop(time, slide, size), as hop(time, '1 minute', '5 minutes')";
const SESSION_USAGE: &str = "session(time, '30 minutes')";
const WINDOW_END_USAGE: &str = "window_end(start, '1 minute')";

type Times = PrimitiveArray<TimestampMicrosecondType>;

/// The windows that a call of `tumble` or `hop` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sql) struct Window {
    /// From the start of one window to that of the next, in microseconds.
    pub(in crate::sql) slide_micros: i64,
    /// From the start of a window to its end, in microseconds.
    pub(in crate::sql) size_micros: i64,
}

/// `tumble(time, size)`: the start of the one window of `size` that `time` is in.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Tumble(Signature);

/// `hop(time, slide, size)`: the start of each window that `time` is in. It makes rows, so the plan replaces it by the
/// operator of that name; that it counts as volatile keeps the optimizer from moving filters below it.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Hop(Signature);

/// `session(time, gap)`: the start of the session that `time` is in. It depends on other rows, so the plan replaces it by an
/// aggregate over sessions.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Session(Signature);

/// `window_end(start, size)`: the end of a window.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct WindowEnd(Signature);

impl Default for Tumble {
    fn default() -> Self {
        Self(Signature::user_defined(Volatility::Immutable))
    }
}

impl Default for Hop {
    fn default() -> Self {
        Self(Signature::user_defined(Volatility::Volatile))
    }
}

impl Default for Session {
    fn default() -> Self {
        Self(Signature::user_defined(Volatility::Volatile))
    }
}

impl Default for WindowEnd {
    fn default() -> Self {
        Self(Signature::user_defined(Volatility::Immutable))
    }
}

impl ScalarUDFImpl for Tumble {
    fn name(&self) -> &str {
        TUMBLE
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        coerced(types, 1, TUMBLE_USAGE)
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(time_type())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let size = literal_micros(&args.args[1], TUMBLE_USAGE)?;
        mapped(&args, |time| time.checked_sub(time.rem_euclid(size)))
    }
}

impl ScalarUDFImpl for Hop {
    fn name(&self) -> &str {
        HOP
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        coerced(types, 2, HOP_USAGE)
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(time_type())
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        exec_err!("hop makes several rows of one: it may stand in GROUP BY and in SELECT")
    }
}

impl ScalarUDFImpl for Session {
    fn name(&self) -> &str {
        SESSION
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        coerced(types, 1, SESSION_USAGE)
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(time_type())
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        exec_err!("session depends on other rows: it stands in GROUP BY")
    }
}

impl ScalarUDFImpl for WindowEnd {
    fn name(&self) -> &str {
        WINDOW_END
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        coerced(types, 1, WINDOW_END_USAGE)
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(time_type())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let size = literal_micros(&args.args[1], WINDOW_END_USAGE)?;
        mapped(&args, |start| start.checked_add(size))
    }
}

/// Returns the windows that a call of `tumble` or `hop` names, and its time; `None` of any other expression.
///
/// # Errors
/// When a size is no literal, or no span of time.
pub(in crate::sql) fn window_of(expr: &Expr) -> Result<Option<(Window, &Expr)>> {
    let Expr::ScalarFunction(call) = unaliased(expr) else {
        return Ok(None);
    };
    let spans = |usage| {
        let span = |arg: &Expr| micros_of(arg, usage);
        call.args[1..].iter().map(span).collect::<Result<Vec<_>>>()
    };
    let (slide_micros, size_micros) = match call.func.name() {
        TUMBLE => match spans(TUMBLE_USAGE)?.as_slice() {
            [size] => (*size, *size),
            _ => return Err(wrong_call(TUMBLE_USAGE, "tumble takes two arguments")),
        },
        HOP => match spans(HOP_USAGE)?.as_slice() {
            [slide, size] if slide <= size => (*slide, *size),
            [_, _] => {
                return Err(wrong_call(
                    HOP_USAGE,
                    "the slide is longer than the window: rows would be in none",
                ));
            }
            _ => return Err(wrong_call(HOP_USAGE, "hop takes three arguments")),
        },
        _ => return Ok(None),
    };
    let window = Window {
        slide_micros,
        size_micros,
    };
    Ok(Some((window, &call.args[0])))
}

/// Returns the gap in microseconds that a call of `session` names, and its time; `None` of any other expression.
///
/// # Errors
/// When the gap is no literal, or no span of time.
pub(in crate::sql) fn session_of(expr: &Expr) -> Result<Option<(i64, &Expr)>> {
    match unaliased(expr) {
        Expr::ScalarFunction(call) if call.func.name() == SESSION => match call.args.as_slice() {
            [time, gap] => Ok(Some((micros_of(gap, SESSION_USAGE)?, time))),
            _ => Err(wrong_call(SESSION_USAGE, "session takes two arguments")),
        },
        _ => Ok(None),
    }
}

fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}

fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// A time, then `spans` spans: text like `5m` or `1 minute`, or intervals.
fn coerced(types: &[DataType], spans: usize, usage: &str) -> Result<Vec<DataType>> {
    if types.len() != spans + 1 {
        return Err(wrong_call(
            usage,
            format!("{} arguments are not the right number", types.len()),
        ));
    }
    match &types[0] {
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 | DataType::Null => {}
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => {
            return Err(wrong_call(usage, "the time is text: write to_timestamp(x)"));
        }
        other => return Err(wrong_call(usage, format!("the time is {other}, not a timestamp"))),
    }
    let span = |data_type: &DataType| match data_type {
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => Ok(DataType::Utf8),
        DataType::Interval(_) => Ok(DataType::Interval(IntervalUnit::MonthDayNano)),
        other => Err(wrong_call(usage, format!("a span of time is {other}"))),
    };
    let spans = types[1..].iter().map(span).collect::<Result<Vec<_>>>()?;
    Ok(std::iter::once(time_type()).chain(spans).collect())
}

fn micros_of(expr: &Expr, usage: &str) -> Result<i64> {
    match unaliased(expr) {
        Expr::Literal(value, _) => micros(value, usage),
        Expr::Cast(Cast { expr, .. }) => micros_of(expr, usage),
        other => Err(wrong_call(usage, format!("the span of time `{other}` is no literal"))),
    }
}

fn literal_micros(value: &ColumnarValue, usage: &str) -> Result<i64> {
    match value {
        ColumnarValue::Scalar(value) => micros(value, usage),
        ColumnarValue::Array(_) => Err(wrong_call(usage, "the span of time is no literal")),
    }
}

/// Returns a span of fixed length, longer than nothing.
fn micros(value: &ScalarValue, usage: &str) -> Result<i64> {
    let wrong = |problem: &str| wrong_call(usage, format!("the span of time {value} {problem}"));
    let micros = match value {
        ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)) | ScalarValue::LargeUtf8(Some(text)) => {
            if has_calendar_unit(text) {
                return Err(wrong("has no fixed length: use days at most"));
            }
            let span = units::span(text).map_err(|error| wrong(&format!("can't be read ({error})")))?;
            if span.subsec_nanos() % 1000 != 0 {
                return Err(wrong("is finer than a microsecond"));
            }
            i64::try_from(span.as_micros()).ok()
        }
        ScalarValue::IntervalMonthDayNano(Some(span)) => {
            if span.months != 0 {
                return Err(wrong("has no fixed length: use days at most"));
            }
            if span.nanoseconds % 1000 != 0 {
                return Err(wrong("is finer than a microsecond"));
            }
            let days = i64::from(span.days).checked_mul(86_400_000_000);
            days.and_then(|days| days.checked_add(span.nanoseconds / 1000))
        }
        _ => None,
    };
    micros
        .filter(|&micros| micros > 0)
        .ok_or_else(|| wrong("is not longer than nothing"))
}

fn has_calendar_unit(text: &str) -> bool {
    let words = text.split(|letter: char| !letter.is_alphabetic());
    words
        .into_iter()
        .any(|word| word == "M" || word.starts_with("mon") || word.starts_with('y'))
}

/// Returns `of` each time; null where it is out of range.
fn mapped(args: &ScalarFunctionArgs, of: impl Fn(i64) -> Option<i64>) -> Result<ColumnarValue> {
    let times = args.args[0].to_array(args.number_rows)?;
    let times: &Times = times.as_primitive();
    let starts: Times = times.unary_opt(of);
    let starts: ArrayRef = Arc::new(starts.with_timezone("UTC"));
    Ok(ColumnarValue::Array(starts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: std::result::Result<i64, &str>) {
        let found = micros(&ScalarValue::from(text), TUMBLE_USAGE);
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{text}"),
            (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
            (found, expected) => panic!("{text}: {found:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn spans_of_time_are_read_as_people_write_them() {
        check("1 minute", Ok(60_000_000));
        check("5m", Ok(300_000_000));
        check("1h 30m", Ok(5_400_000_000));
        check("250ms", Ok(250_000));
        check("250 milliseconds", Ok(250_000));
        check("1 day", Ok(86_400_000_000));
    }

    #[test]
    fn spans_without_a_fixed_length_are_refused() {
        check("1 month", Err("has no fixed length"));
        check("2 years", Err("has no fixed length"));
        check("1M", Err("has no fixed length"));
        check("0s", Err("not longer than nothing"));
        check("10ns", Err("finer than a microsecond"));
        check("soon", Err("can't be read"));
    }
}
