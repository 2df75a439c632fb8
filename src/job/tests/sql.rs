//! Columns and statements, with an analysis that knows a few of both.

use std::cell::RefCell;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::*;
use crate::job::plan::{QueryPlan, SourcePlan};
use crate::job::{Analysis, SqlProblem};

/// Every source has the columns `time` and `status`; a statement may only say `SELECT COLUMN` of them, and the result
/// is called that too.
#[derive(Default)]
struct Few {
    /// What was seen so far.
    tables: RefCell<Vec<(String, SchemaRef)>>,
}

fn schema(names: &[&str]) -> SchemaRef {
    let field = |name: &&str| match *name {
        "time" => Field::new("time", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        name => Field::new(name, DataType::Int64, true),
    };
    Arc::new(Schema::new(names.iter().map(field).collect::<Vec<_>>()))
}

impl Analysis for Few {
    fn source_schema(&self, source: &SourcePlan) -> Result<SchemaRef, String> {
        if source.name == "broken" {
            return Err("the schema file can't be read".to_owned());
        }
        let columns = schema(&["time", "status"]);
        self.tables
            .borrow_mut()
            .push((source.name.clone(), Arc::clone(&columns)));
        Ok(columns)
    }

    fn check_sql(&self, query: &QueryPlan) -> Result<SchemaRef, SqlProblem> {
        let mut tables = self.tables.borrow_mut();
        let words: Vec<_> = query.sql.split_whitespace().collect();
        let (column, table) = match words.as_slice() {
            ["SELECT", column, "FROM", table] => (*column, *table),
            _ => {
                return Err(SqlProblem {
                    message: "expected SELECT".to_owned(),
                    at: None,
                });
            }
        };
        let found = tables.iter().find(|(name, _)| name == table);
        let is_known = found.is_some_and(|(_, schema)| schema.column_with_name(column).is_some());
        let line = query.sql.lines().position(|line| line.contains(column)).unwrap_or(0);
        let at = query
            .sql
            .lines()
            .nth(line)
            .and_then(|line| line.find(column))
            .unwrap_or(0);
        match is_known {
            true => {
                let columns = schema(&[column]);
                tables.push((query.name.clone(), Arc::clone(&columns)));
                Ok(columns)
            }
            false => Err(SqlProblem {
                message: format!("there is no column `{column}` in `{table}`"),
                at: Some((line + 1, at + 1)),
            }),
        }
    }
}

#[track_caller]
fn check_sql(text: &str, expected: &str) {
    let overrides = Overrides::default();
    let errors = JobFile::from_text("job.toml", text, &overrides)
        .check(Some(&Few::default()))
        .expect_err("a job that is wrong");
    let found = errors.to_string();
    assert!(
        found == expected.trim_matches('\n'),
        "found:\n{found}\n\nexpected:{expected}"
    );
}

#[test]
fn an_error_in_a_statement_is_shown_at_its_line() {
    check_sql(
        &format!("{SOURCE}[query]\nsql = \"\"\"\nSELECT\n  staus\nFROM logs\n\"\"\"\n{SINK}"),
        r#"
job.toml:8:3: there is no column `staus` in `logs`
  |
8 |   staus
  |   ^^^^^
"#,
    );
}

#[test]
fn keys_and_statements_are_checked_at_once() {
    check_sql(
        &format!("{SOURCE}on_bad = \"dead_letter\"\n[query]\nsql = 'SELECT a FROM logs'\n{SINK}"),
        r#"
job.toml:5:10: there is no [dead_letter] for them to go to
  |
5 | on_bad = "dead_letter"
  |          ^^^^^^^^^^^^^

job.toml:7:15: there is no column `a` in `logs`
  |
7 | sql = 'SELECT a FROM logs'
  |               ^
"#,
    );
}

#[test]
fn a_query_reads_the_results_of_those_before_it() {
    let text = |second: &str| {
        format!(
            "{SOURCE}[query.a]\nsql = 'SELECT status FROM logs'\n[query.b]\nsql = '{second}'\nsink.kind = 'console'\n"
        )
    };
    check_sql(
        &text("SELECT status FROM logs"),
        r#"
job.toml:5:8: the result of the query `a` goes nowhere: expected [sink.a], or a later query that reads it
  |
5 | [query.a]
  |        ^
  = for a start: sink = { kind = "console" }
"#,
    );
    let overrides = Overrides::default();
    let checked = JobFile::from_text("job.toml", text("SELECT status FROM a"), &overrides).check(Some(&Few::default()));
    assert_eq!(checked.unwrap_or_else(|errors| panic!("{errors}")).queries.len(), 2);
    check_sql(
        &text("SELECT time FROM a"),
        r#"
job.toml:8:15: there is no column `time` in `a`
  |
8 | sql = 'SELECT time FROM a'
  |               ^^^^
"#,
    );
}

#[test]
fn columns_that_a_sink_or_the_event_time_names_are_there() {
    check_sql(
        &format!(
            "{SOURCE}time = {{ column = \"status\" }}\n[query]\nsql = 'SELECT status FROM logs'\n[sink]\nkind = \"parquet\"\n\
             dir = \"out\"\npartition_by = [\"date(stats)\", \"x\"]\n"
        ),
        r#"
job.toml:5:19: expected a timestamp, but `status` is Int64
  |
5 | time = { column = "status" }
  |                   ^^^^^^^^

job.toml:11:17: there is no column `stats`: did you mean `status`?
   |
11 | partition_by = ["date(stats)", "x"]
   |                 ^^^^^^^^^^^^^

job.toml:11:32: there is no column `x`: expected status
   |
11 | partition_by = ["date(stats)", "x"]
   |                                ^^^
"#,
    );
}

#[test]
fn a_source_that_can_not_be_used_hides_no_error_but_those_of_statements() {
    check_sql(
        &format!("[source.broken]\nkind = \"generate\"\n[query]\nsql = 'SELECT a FROM broken'\n{SINK}"),
        r#"
job.toml:1:9: the schema file can't be read
  |
1 | [source.broken]
  |         ^^^^^^
"#,
    );
}

#[test]
fn statements_that_read_what_is_broken_are_left_out_and_others_are_not() {
    let text = format!(
        "{SOURCE}[source.bad]\nkind = \"file\"\n[query.a]\nsql = 'SELECT x FROM bad'\n\
         [query.b]\nsql = 'SELECT x FROM a'\nsink.kind = 'console'\n[query.c]\nsql = 'SELECT x FROM logs'\nsink.kind = 'console'\n"
    );
    check_sql(
        &text,
        r#"
job.toml:5:1: missing `paths` in [source.bad]
  |
5 | [source.bad]
  | ^^^^^^^^^^^^
  = paths: Paths, with `*`, `?`, `[...]` and `**` if they stand for many; `-` is the standard input

job.toml:13:15: there is no column `x` in `logs`
   |
13 | sql = 'SELECT x FROM logs'
   |               ^
"#,
    );
}

#[test]
fn a_problem_that_shows_up_later_is_shown_in_the_same_way() {
    let plan = plan(&format!("{SOURCE}[query]\nsql = 'SELECT a FROM logs'\n{SINK}"));
    let problem = SqlProblem {
        message: "no such column".to_owned(),
        at: Some((1, 8)),
    };
    let expected = "job.toml:6:15: no such column\n  |\n6 | sql = 'SELECT a FROM logs'\n  |               ^";
    assert_eq!(plan.sql_error(&plan.queries[0], &problem).to_string(), expected);
}

#[test]
fn a_source_that_no_query_reads_is_an_error() {
    let other = "[source.other]\nkind = \"kafka\"\nbrokers = \"localhost:9092\"\ntopic = \"app\"\n";
    let text = format!("{SOURCE}{other}[query]\nsql = \"SELECT status FROM logs\"\n{SINK}");
    let errors = JobFile::from_text("job.toml", text, &Overrides::default()).check(Some(&Few::default()));
    let errors = errors.expect_err("other is read by nobody").to_string();
    assert!(
        errors.starts_with("job.toml:5:9: no query reads the source `other`\n"),
        "{errors}"
    );
}
