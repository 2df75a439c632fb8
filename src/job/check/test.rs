//! Tests of the job.

use connectors::kafka::given::GivenRecord;
use serde_json::Value;

use super::query::ONLY;
use super::{Checker, Part};
use crate::job::file::{JobTables, Test, TestRecord};
use crate::job::form::Named;
use crate::job::nearest;
use crate::job::place::At;
use crate::job::plan::{SourceKind, SourcePlan, TestPlan, TestRecordPlan, TestRow};
use crate::job::setting::{AnyText, OneOf, OneOrNamed};

/// The partitions of a test, at most: each has events of its own in a queue that nothing empties meanwhile.
const PARTITIONS_MAX: u64 = 1000;

impl Checker<'_> {
    pub(super) fn tests(&mut self, tables: &JobTables, plans: &[SourcePlan]) -> Vec<TestPlan> {
        let tests = tables.test.found().map_or(&[][..], |tests| &tests.value);
        tests.iter().map(|test| self.test(tables, plans, test)).collect()
    }

    fn test(&mut self, tables: &JobTables, plans: &[SourcePlan], test: &At<Test>) -> TestPlan {
        let keys = &test.value;
        self.check_names(tables, keys);
        let has_time = plans.iter().any(|source| source.time.is_some());
        if let Some(watermark) = keys.watermark.as_ref().filter(|_| !has_time && !plans.is_empty()) {
            let message = "there is no watermark: the source has no event time";
            let help = "write time = { column = \"...\", lateness = \"...\" } in the source";
            self.report.error_with_help(watermark.place, message, help);
        }
        if let Some(rows) = keys.dead_letter.as_ref().filter(|_| !self.has_dead_letter) {
            self.report
                .error(rows.place, "the job has no [dead_letter], so bad records go nowhere");
        }
        if is_empty(keys) {
            let message = "the test expects nothing, so it could not fail";
            let help = "write expect.QUERY = [...], dead_letter = [...], late = ..., bad = ... or watermark = ...";
            self.report.error_with_help(test.place, message, help);
        }
        let mut input = vec![];
        for (name, records) in &keys.input.value.0 {
            let source = plans.iter().find(|source| source.name == name.value);
            let records = records.value.0.iter();
            let records = records.filter_map(|record| self.record(source, record));
            input.push((name.value.clone(), records.collect()));
        }
        let expect = keys.expect.iter().flat_map(|expect| &expect.value.0);
        TestPlan {
            name: keys.name.value.0.clone(),
            input,
            micro_batch_rows: keys.micro_batch_rows.map(|rows| rows.value),
            watermark_micros: keys.watermark.map(|time| time.value.0),
            expect: expect
                .map(|(name, rows)| (name.value.clone(), plan_rows(rows)))
                .collect(),
            dead_letters: keys.dead_letter.as_ref().map(plan_rows),
            late: keys.late.map(|count| count.value),
            bad: keys.bad.map(|count| count.value),
            place: test.place,
        }
    }

    /// Checks that there are the sources and queries that a test names.
    fn check_names(&mut self, tables: &JobTables, keys: &Test) {
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
        for (name, _) in keys.expect.iter().flat_map(|expect| &expect.value.0) {
            self.check_known("query", name, &queries, queries.is_empty());
        }
    }

    fn record(
        &mut self,
        source: Option<&SourcePlan>,
        record: &At<OneOf<AnyText, TestRecord>>,
    ) -> Option<TestRecordPlan> {
        let keys = match &record.value {
            OneOf::Word(text) => return Some(text_record(text)),
            OneOf::Table(keys) => keys,
        };
        let is_text = keys.value.is_some() && keys.partition.value == 0 && !has_envelope(keys);
        if source.is_some_and(|source| !matches!(source.kind, SourceKind::Kafka(_))) && !is_text {
            let message = "only records of Kafka have more than a value: write the line as a text";
            self.report.error(record.place, message);
            return None;
        }
        let partition = i32::try_from(keys.partition.value);
        let Some(partition) = partition.ok().filter(|_| keys.partition.value < PARTITIONS_MAX) else {
            let message = format!(
                "expected a partition below {PARTITIONS_MAX}, not {}",
                keys.partition.value
            );
            self.report.error(keys.partition.place, message);
            return None;
        };
        let headers = keys.headers.iter().flat_map(|headers| &headers.value.0);
        Some(TestRecordPlan {
            topic: keys.topic.as_ref().map(|topic| topic.value.0.clone()),
            partition,
            record: GivenRecord {
                timestamp_millis: keys.timestamp.map(|time| time.value.0.div_euclid(1000)),
                key: keys.key.as_ref().map(|key| bytes(&key.value)),
                value: keys.value.as_ref().map(|value| bytes(&value.value)),
                headers: headers
                    .map(|(name, value)| (name.value.clone(), bytes(&value.value)))
                    .collect(),
            },
        })
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

fn is_empty(keys: &Test) -> bool {
    let rows = keys.expect.as_ref().is_some_and(|expect| !expect.value.0.is_empty()) || keys.dead_letter.is_some();
    let counts = keys.late.is_some() || keys.bad.is_some() || keys.watermark.is_some();
    !rows && !counts
}

fn has_envelope(keys: &TestRecord) -> bool {
    keys.key.is_some() || keys.timestamp.is_some() || keys.topic.is_some() || keys.headers.is_some()
}

fn text_record(text: &AnyText) -> TestRecordPlan {
    TestRecordPlan {
        record: GivenRecord {
            value: Some(bytes(text)),
            ..GivenRecord::default()
        },
        ..TestRecordPlan::default()
    }
}

fn bytes(text: &AnyText) -> Vec<u8> {
    text.0.clone().into_bytes()
}

fn plan_rows(rows: &At<Vec<At<Named<Value>>>>) -> Vec<TestRow> {
    let row = |row: &At<Named<Value>>| {
        let cells = row.value.0.iter();
        cells
            .map(|(name, value)| (name.value.clone(), value.value.clone()))
            .collect()
    };
    rows.value.iter().map(row).collect()
}
