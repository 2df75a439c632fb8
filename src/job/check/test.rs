//! Tests of the job.

use serde_json::Value;

use super::query::ONLY;
use super::{Checker, Part};
use crate::job::file::{JobTables, Test};
use crate::job::form::Named;
use crate::job::nearest;
use crate::job::place::At;
use crate::job::plan::TestPlan;
use crate::job::setting::OneOrNamed;

impl Checker<'_> {
    pub(super) fn tests(&mut self, tables: &JobTables) -> Vec<TestPlan> {
        let tests = tables.test.found().map_or(&[][..], |tests| &tests.value);
        tests.iter().map(|test| self.test(tables, test)).collect()
    }

    fn test(&mut self, tables: &JobTables, test: &At<Test>) -> TestPlan {
        let keys = &test.value;
        let sources: Vec<_> = tables
            .source
            .found()
            .map_or_else(Vec::new, |sources| names(&sources.value));
        for (name, _) in &keys.input.value.0 {
            self.check_known("source", name, &sources, matches!(tables.source, Part::Broken));
        }
        let queries = match tables.query.found().map(|query| &query.value) {
            Some(OneOrNamed::One(_)) => vec![ONLY],
            Some(OneOrNamed::Named(queries)) => queries.iter().map(|(name, _)| name.value.as_str()).collect(),
            None => vec![],
        };
        for (name, _) in &keys.expect.value.0 {
            self.check_known("query", name, &queries, queries.is_empty());
        }
        TestPlan {
            name: keys.name.value.0.clone(),
            input: keys
                .input
                .value
                .0
                .iter()
                .map(|(name, lines)| (name.value.clone(), lines.value.0.clone()))
                .collect(),
            watermark_micros: keys.watermark.map(|time| time.value.0),
            expect: keys
                .expect
                .value
                .0
                .iter()
                .map(|(name, rows)| (name.value.clone(), plan_rows(&rows.value)))
                .collect(),
            place: test.place,
        }
    }

    fn check_known(&mut self, what: &str, name: &At<String>, known: &[&str], may_be_broken: bool) {
        if !may_be_broken && !known.contains(&name.value.as_str()) {
            let hint = nearest::hint(&name.value, known.iter().copied());
            self.report
                .error(name.place, format!("there is no {what} `{}`{hint}", name.value));
        }
    }
}

fn names<T>(named: &Named<T>) -> Vec<&str> {
    named.0.iter().map(|(name, _)| name.value.as_str()).collect()
}

fn plan_rows(rows: &[At<Named<Value>>]) -> Vec<std::collections::BTreeMap<String, Value>> {
    let row = |row: &At<Named<Value>>| {
        let cells = row.value.0.iter();
        cells
            .map(|(name, value)| (name.value.clone(), value.value.clone()))
            .collect()
    };
    rows.iter().map(row).collect()
}
