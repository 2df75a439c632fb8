//! The progress of a job as programs read it.

use std::fs;

use serde_json::{Value, json};

use crate::harness::PATIENCE;
use crate::harness::broker::Broker;
use crate::harness::process::Run;
use crate::harness::records::NewRecord;
use crate::harness::scratch::Scratch;

/// Runs the job until it has read `rows` rows and said that it is not behind, and returns its lines.
#[track_caller]
fn lines_until(scratch: &Scratch, rows: u64) -> Vec<Value> {
    let arguments = ["run", "job.toml", "--progress", "json"];
    let mut run = Run::millstream(scratch, "run").args(arguments).start();
    let objects = |text: String| -> Vec<Value> {
        let lines = text.lines().filter(|line| line.starts_with('{'));
        lines.filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    run.wait_until(PATIENCE, "all rows are told", |run| {
        let lines = objects(run.stderr());
        let told: u64 = lines.iter().filter_map(|line| line["numInputRows"].as_u64()).sum();
        let is_behind = lines.last()?["sources"][0]["metrics"]["maxOffsetsBehindLatest"] != "0";
        (told == rows && !is_behind).then_some(())
    });
    run.signal("INT");
    objects(run.wait(PATIENCE).expect_code(0).stderr)
}

#[test]
fn progress_as_json_has_sparks_names_and_goes_on_over_restarts() {
    let (scratch, broker) = (Scratch::new("progress"), Broker::shared());
    let topic = broker.new_topic("progress", 1);
    broker.produce(&topic, 0, (0..10).map(|number| NewRecord::of(format!("n={number}"))));
    let job = format!(
        "name = \"numbers\"\n[source.logs]\nkind = \"kafka\"\nbrokers = \"{}\"\ntopic = \"{topic}\"\nformat = \"logfmt\"\n\
         columns = {{ n = \"int\" }}\non_bad = \"skip\"\n[query]\nmode = \"update\"\n\
         sql = \"SELECT n % 2 AS odd, count(*) AS n FROM logs GROUP BY n % 2\"\n[sink]\nkind = \"console\"\n\
         [run]\ntrigger = \"100ms\"\ncheckpoint = \"state\"\n",
        broker.bootstrap()
    );
    fs::write(scratch.join("job.toml"), job).expect("the scratch folder can be written");
    let first = lines_until(&scratch, 10);
    let line = first
        .iter()
        .find(|line| line["numInputRows"] == 10)
        .expect("ten rows came at once");
    for (path, expected) in [
        ("/name", json!("numbers")),
        ("/stateOperators/0/numRowsTotal", json!(2)),
        ("/sources/0/numInputRows", json!(10)),
        ("/sources/0/endOffset", json!({ topic.as_str(): { "0": 10 } })),
        ("/sink/numOutputRows", json!(2)),
        ("/observedMetrics/rows/bad", json!(0)),
    ] {
        assert_eq!(line.pointer(path), Some(&expected), "{path} of {line}");
    }
    assert!(line["durationMs"]["triggerExecution"].as_u64() > Some(0), "{line}");
    assert!(
        line["stateOperators"][0]["memoryUsedBytes"].as_u64() > Some(0),
        "{line}"
    );
    broker.produce(&topic, 0, ["n=10", "n=x"].map(NewRecord::of));
    let second = lines_until(&scratch, 2);
    let (before, after) = (first.last().expect("a line"), second.last().expect("a line"));
    assert_eq!(before["id"], after["id"]);
    assert_ne!(before["runId"], after["runId"]);
    assert!(
        after["batchId"].as_u64() > before["batchId"].as_u64(),
        "{before} {after}"
    );
    let bad: u64 = second
        .iter()
        .filter_map(|line| line["observedMetrics"]["rows"]["bad"].as_u64())
        .sum();
    assert_eq!(bad, 1);
}
