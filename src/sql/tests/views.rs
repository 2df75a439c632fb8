//! Queries that read other queries.

use super::*;
use crate::sql::{Scope, View, plan_with};

/// Plans a query over `logs` and these views.
fn planned(sql: &str, views: &[(&str, &str)], mode: OutputMode) -> Result<Planned, SqlError> {
    let view = |(name, sql): &(&str, &str)| View {
        name: (*name).to_owned(),
        sql: (*sql).to_owned(),
    };
    let scope = Scope {
        tables: vec![table(false)],
        views: views.iter().map(view).collect(),
        ..Scope::default()
    };
    plan_with(sql, &scope, mode)
}

#[test]
fn a_view_is_read_as_if_it_stood_there() {
    let views = [
        ("failed", "SELECT path, status, time FROM logs WHERE status >= 400"),
        ("unused", "SELECT nothing FROM nowhere"),
        ("by_path", "SELECT path, count(*) AS hits FROM failed GROUP BY path"),
    ];
    let read = planned("SELECT path FROM by_path WHERE hits > 1", &views, OutputMode::Complete);
    let written = planned(
        "SELECT path FROM (SELECT path, count(*) AS hits FROM logs WHERE status >= 400 GROUP BY path) WHERE hits > 1",
        &[],
        OutputMode::Complete,
    );
    let (read, written) = (read.expect("a plan"), written.expect("a plan"));
    assert_eq!(read.inputs[0].table, "logs");
    assert_eq!(read.explain(), written.explain());
}

#[test]
fn names_that_a_query_gives_itself_hide_views() {
    let views = [("failed", "SELECT nothing FROM nowhere")];
    let sql = "WITH failed AS (SELECT path FROM logs) SELECT path FROM failed";
    assert_eq!(
        planned(sql, &views, OutputMode::Append).expect("a plan").inputs[0].table,
        "logs"
    );
}

#[test]
fn windows_of_a_view_close_for_its_readers() {
    let windows = "SELECT tumble(time, '1 minute') AS minute, count(*) AS hits FROM logs GROUP BY minute";
    let alerts = planned(
        "SELECT minute FROM counts WHERE hits > 100",
        &[("counts", windows)],
        OutputMode::Append,
    );
    assert!(alerts.expect("a plan").window.is_some());
}

#[track_caller]
fn check_refusal(sql: &str, view: &str, expected: &str) {
    let error = planned(sql, &[("a", view)], OutputMode::Complete).expect_err("refused");
    assert!(error.render().contains(expected), "{}", error.render());
}

#[test]
fn what_can_not_run_over_a_view_is_refused() {
    check_refusal(
        "SELECT path FROM a",
        "SELECT path, count(*) AS n FROM logs GROUP BY path ORDER BY n LIMIT 3",
        "the result of `a` has an order or a limit",
    );
    check_refusal(
        "SELECT n, count(*) FROM a GROUP BY n",
        "SELECT path, count(*) AS n FROM logs GROUP BY path",
        "an aggregate over an aggregate can't run as a stream",
    );
    check_refusal("SELECT path FROM b", "SELECT path FROM logs", "there are: logs, a");
}
