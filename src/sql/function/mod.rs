//! The scalar functions of SQL: DataFusion's, and those that only streams of logs need.

mod json;
mod tokenize;
mod window;

use std::sync::Arc;

use datafusion_common::{DataFusionError, plan_datafusion_err};
use datafusion_expr::ScalarUDF;

pub(super) use tokenize::{TOKENIZE, tokens_of};
pub(super) use window::{HOP, SESSION, Window, session_of, window_of};

/// Functions whose value depends on when the query was planned: an endless query would keep that moment.
pub(super) const OF_THE_MOMENT: [&str; 6] = [
    "now",
    "current_timestamp",
    "current_date",
    "today",
    "current_time",
    "localtimestamp",
];

/// Returns every scalar function that a query may call: the user's last, which hide those of their name.
pub(super) fn all(user: &[Arc<ScalarUDF>]) -> Vec<Arc<ScalarUDF>> {
    let own = [
        ScalarUDF::from(window::Tumble::default()),
        ScalarUDF::from(window::Hop::default()),
        ScalarUDF::from(window::Session::default()),
        ScalarUDF::from(window::WindowEnd::default()),
        ScalarUDF::from(tokenize::Tokenize::default()),
        ScalarUDF::from(json::JsonGet::default()),
    ];
    let mut functions = datafusion_functions::all_default_functions();
    functions.extend(own.into_iter().map(Arc::new));
    functions.extend(user.iter().cloned());
    functions
}

/// Returns the planning error of a call with wrong arguments.
fn wrong_call(usage: &str, problem: impl std::fmt::Display) -> DataFusionError {
    plan_datafusion_err!("{problem}, expected {usage}")
}
