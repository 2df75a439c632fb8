//! A job's progress as JSON lines, with the names of Spark's `StreamingQueryProgress` where the meaning is the same.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, Utc};
use engine::Positions;
use engine::metrics::Metrics;
use engine::pipeline::Job;
use serde_json::{Map, Value, json};

/// How long nothing is said while nothing comes, as Spark has it.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// What does not change while a job runs.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// The job's name.
    name: String,
    /// The job's id, the same for every run of it; without a checkpoint that of the run.
    id: String,
    run_id: String,
    sources: Vec<String>,
    sinks: Vec<String>,
    has_state: bool,
}

/// The progress of a run, line by line: each tells what happened since the one before.
pub(super) struct Lines {
    facts: Facts,
    last: Seen,
    /// Whether there was a line.
    has_told: bool,
}

/// The counters at a line.
struct Seen {
    rows_in: u64,
    rows_out: u64,
    rows_bad: u64,
    rows_late: u64,
    rows_repaired: u64,
    micro_batches: u64,
    epoch: u64,
    commit_micros: u64,
    positions: Positions,
    /// The rows of each input.
    inputs: Vec<u64>,
    at: Instant,
}

impl Facts {
    /// Returns the facts of a run of `job`.
    pub(super) fn new(name: &str, job: &Job) -> Self {
        let sinks = job.queries.iter().map(|query| query.sink.describe());
        Self {
            sources: job.inputs.iter().map(|input| input.source.describe()).collect(),
            sinks: sinks.collect(),
            has_state: job.queries.iter().any(|query| query.aggregate.is_some()),
            ..Self::of_work(name, "", "")
        }
    }

    /// Returns the facts of work from `source` to `sink` that is no job.
    pub(super) fn of_work(name: &str, source: &str, sink: &str) -> Self {
        let run_id = random_id();
        Self {
            name: name.to_owned(),
            id: run_id.clone(),
            run_id,
            sources: vec![source.to_owned()],
            sinks: vec![sink.to_owned()],
            has_state: false,
        }
    }

    /// Sets the id that the job's checkpoint has.
    pub(super) fn set_id(&mut self, id: &str) {
        id.clone_into(&mut self.id);
    }
}

impl Lines {
    pub(super) fn new(facts: Facts, metrics: &Metrics) -> Self {
        Self {
            facts,
            last: Seen::now(metrics),
            has_told: false,
        }
    }

    /// Returns the next line, unless there is nothing new to tell.
    pub(super) fn next(&mut self, metrics: &Metrics) -> Option<String> {
        let is_new = metrics.micro_batches.get() > self.last.micro_batches;
        (is_new || self.last.at.elapsed() >= SILENCE_MAX).then(|| self.line(metrics))
    }

    /// Returns the last line of a run, unless the one before has told all.
    pub(super) fn finish(&mut self, metrics: &Metrics) -> Option<String> {
        let told = (self.last.rows_in, self.last.rows_out, self.last.epoch);
        let is_new = told != (metrics.rows_in.get(), metrics.rows_out.get(), metrics.epoch.get());
        (is_new || !self.has_told).then(|| self.line(metrics))
    }

    /// Returns the line of what happened since the last one.
    fn line(&mut self, metrics: &Metrics) -> String {
        self.has_told = true;
        let now = Seen::now(metrics);
        let last = std::mem::replace(&mut self.last, now);
        let (facts, now) = (&self.facts, &self.last);
        let rows = now.rows_in - last.rows_in;
        let millis = u64::try_from((now.at - last.at).as_millis()).unwrap_or(u64::MAX);
        let rate = per_second(rows, now.at - last.at);
        let late = now.rows_late - last.rows_late;
        // The first line may have begun before the run did.
        let start = match last.positions.0.is_empty() {
            true => metrics.starts(),
            false => last.positions.clone(),
        };
        let mut state = vec![];
        if facts.has_state {
            state.push(json!({
                "numRowsTotal": metrics.groups.get(),
                "numRowsDroppedByWatermark": late,
                "memoryUsedBytes": metrics.state_bytes.get(),
            }));
        }
        let sources = sources(facts, metrics, &start, &last, now);
        let watermark = metrics.watermark_micros().and_then(DateTime::from_timestamp_micros);
        let event_time = watermark.map_or_else(|| json!({}), |time| json!({ "watermark": rfc3339(time) }));
        let mut line = json!({
            "id": facts.id,
            "runId": facts.run_id,
            "name": facts.name,
            "timestamp": rfc3339(Utc::now()),
            "batchId": now.epoch,
            "numInputRows": rows,
            "inputRowsPerSecond": rate,
            "processedRowsPerSecond": rate,
            "durationMs": {
                "triggerExecution": millis,
                "commitOffsets": (now.commit_micros - last.commit_micros) / 1000,
            },
            "eventTime": event_time,
            "stateOperators": state,
            "sources": sources,
            "sink": { "description": facts.sinks.join(", "), "numOutputRows": now.rows_out - last.rows_out },
            "observedMetrics": { "rows": {
                "bad": now.rows_bad - last.rows_bad,
                "late": late,
                "repaired": now.rows_repaired - last.rows_repaired,
            } },
        });
        if metrics.files_out.get() > 0 {
            line["sink"]["files"] = json!(metrics.files_out.get());
            line["sink"]["bytes"] = json!(metrics.bytes_out.get());
        }
        line.to_string()
    }
}

impl Seen {
    fn now(metrics: &Metrics) -> Self {
        Self {
            rows_in: metrics.rows_in.get(),
            rows_out: metrics.rows_out.get(),
            rows_bad: metrics.rows_bad.get(),
            rows_late: metrics.rows_late.get(),
            rows_repaired: metrics.rows_repaired.get(),
            micro_batches: metrics.micro_batches.get(),
            epoch: metrics.epoch.get(),
            commit_micros: metrics.commit_micros.get(),
            positions: metrics.positions(),
            inputs: metrics.inputs().iter().map(|input| input.rows_in.get()).collect(),
            at: Instant::now(),
        }
    }
}

/// Returns what happened in each source since `last`, when the positions were `start`.
fn sources(facts: &Facts, metrics: &Metrics, start: &Positions, last: &Seen, now: &Seen) -> Vec<Value> {
    let latest = metrics.latest();
    let source = |(number, description): (usize, &String)| {
        let own = |positions: &Positions| match metrics.inputs().get(number) {
            Some(input) => input.of(positions),
            None => positions.clone(),
        };
        let rows_at = |seen: &Seen| seen.inputs.get(number).copied().unwrap_or(0);
        let rows = rows_at(now) - rows_at(last);
        let rate = per_second(rows, now.at - last.at);
        let (start, end) = (own(start), own(&now.positions));
        let mut source = json!({
            "description": description,
            "startOffset": offsets(&start),
            "endOffset": offsets(&end),
            "numInputRows": rows,
            "inputRowsPerSecond": rate,
            "processedRowsPerSecond": rate,
        });
        if let Some(latest) = latest.as_ref().map(own).filter(|latest| !latest.0.is_empty()) {
            source["latestOffset"] = offsets(&latest);
            source["metrics"] = behind(&end, &latest);
        }
        source
    };
    facts.sources.iter().enumerate().map(source).collect()
}

/// Returns offsets as Spark's Kafka source has them: `{"nginx":{"0":120,"1":118}}`.
fn offsets(positions: &Positions) -> Value {
    let mut streams = Map::new();
    for (partition, &offset) in &positions.0 {
        let stream = streams.entry(partition.stream.to_string()).or_insert_with(|| json!({}));
        stream[partition.index.to_string()] = json!(offset);
    }
    Value::Object(streams)
}

/// Returns how far the partitions are behind their ends, as texts, as Spark has them.
fn behind(positions: &Positions, latest: &Positions) -> Value {
    let lags: Vec<i64> = latest
        .0
        .iter()
        .map(|(partition, &end)| (end - positions.get(partition).unwrap_or(end)).max(0))
        .collect();
    let count = i64::try_from(lags.len()).unwrap_or(i64::MAX).max(1);
    json!({
        "avgOffsetsBehindLatest": (lags.iter().sum::<i64>() / count).to_string(),
        "maxOffsetsBehindLatest": lags.iter().max().unwrap_or(&0).to_string(),
        "minOffsetsBehindLatest": lags.iter().min().unwrap_or(&0).to_string(),
    })
}

#[expect(clippy::cast_precision_loss, reason = "for the eye")]
fn per_second(rows: u64, time: Duration) -> f64 {
    let rate = rows as f64 / time.as_secs_f64().max(0.001);
    (rate * 10.0).round() / 10.0
}

fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Returns 128 random bits. The standard library's hashers begin with such.
fn random_id() -> String {
    let half = || RandomState::new().hash_one(0);
    format!("{:016x}{:016x}", half(), half())
}

#[cfg(test)]
mod tests {
    use engine::Partition;

    use super::*;

    fn positions(offsets: [i64; 2]) -> Positions {
        let entry = |(index, offset)| (Partition::new("nginx", index), offset);
        Positions((0..).zip(offsets).map(entry).collect())
    }

    fn facts() -> Facts {
        Facts {
            name: "errors".to_owned(),
            id: "job".to_owned(),
            run_id: "run".to_owned(),
            sources: vec!["kafka topics=nginx".to_owned()],
            sinks: vec!["a".to_owned(), "b".to_owned()],
            has_state: true,
        }
    }

    #[test]
    fn a_line_tells_what_happened_since_the_one_before() {
        let metrics = Metrics::default();
        metrics.set_bounds(&positions([5, 7]), None);
        let mut lines = Lines::new(facts(), &metrics);
        assert_eq!(lines.next(&metrics), None, "there is nothing to tell yet");
        metrics.rows_in.add(30);
        metrics.rows_late.add(2);
        metrics.micro_batches.add(1);
        metrics.epoch.set(4);
        metrics.groups.set(9);
        metrics.state_bytes.set(4096);
        metrics.set_positions(&positions([20, 22]));
        metrics.set_latest(&positions([20, 32]));
        metrics.set_watermark(1_500_000);
        let line: Value = serde_json::from_str(&lines.next(&metrics).expect("rows came")).expect("JSON");
        for (path, expected) in [
            ("/id", json!("job")),
            ("/name", json!("errors")),
            ("/batchId", json!(4)),
            ("/numInputRows", json!(30)),
            ("/eventTime/watermark", json!("1970-01-01T00:00:01.500Z")),
            ("/stateOperators/0/numRowsTotal", json!(9)),
            ("/stateOperators/0/numRowsDroppedByWatermark", json!(2)),
            ("/stateOperators/0/memoryUsedBytes", json!(4096)),
            ("/sources/0/startOffset", json!({ "nginx": { "0": 5, "1": 7 } })),
            ("/sources/0/endOffset", json!({ "nginx": { "0": 20, "1": 22 } })),
            ("/sources/0/latestOffset/nginx/1", json!(32)),
            ("/sources/0/metrics/maxOffsetsBehindLatest", json!("10")),
            ("/sources/0/metrics/avgOffsetsBehindLatest", json!("5")),
            ("/sink/description", json!("a, b")),
        ] {
            assert_eq!(line.pointer(path), Some(&expected), "{path} of {line}");
        }
        metrics.rows_in.add(1);
        metrics.micro_batches.add(1);
        let line: Value = serde_json::from_str(&lines.next(&metrics).expect("a row came")).expect("JSON");
        assert_eq!(
            (&line["numInputRows"], &line["sources"][0]["startOffset"]["nginx"]["0"]),
            (&json!(1), &json!(20))
        );
    }
    #[test]
    fn the_last_line_tells_only_what_is_new() {
        let metrics = Metrics::default();
        let mut lines = Lines::new(facts(), &metrics);
        assert!(lines.finish(&metrics).is_some(), "a run has at least one line");
        assert_eq!(lines.finish(&metrics), None);
        metrics.rows_out.add(1);
        assert!(lines.finish(&metrics).is_some(), "the end of the input put a row out");
    }
}
