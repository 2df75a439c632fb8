//! Where each partition starts and ends, as numbers: resolved once at a first start, checked against what the brokers
//! still hold at a restart.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use engine::error::LostRange;
use engine::position::{OffsetRange, Partition, Positions};
use engine::source::SourceState;
use engine::{Error, Result};
use serde::{Deserialize, Serialize};

use super::cluster::{Cluster, Span, Survey};
use super::options::{DataLossPolicy, End, PartitionOffsets, SourceOptions, Start};

/// The two questions about offsets that a survey does not answer.
pub(super) trait Lookup {
    /// Returns the first offset of each partition at or after a time in milliseconds, where there is one.
    fn offsets_for_time(&self, partitions: &[Partition], milliseconds: i64) -> Result<BTreeMap<Partition, i64>>;
    /// Returns the group's committed offsets, where there are any.
    fn committed(&self, partitions: &[Partition]) -> Result<BTreeMap<Partition, i64>>;
}

impl Lookup for Cluster {
    fn offsets_for_time(&self, partitions: &[Partition], milliseconds: i64) -> Result<BTreeMap<Partition, i64>> {
        Self::offsets_for_time(self, partitions, milliseconds)
    }

    fn committed(&self, partitions: &[Partition]) -> Result<BTreeMap<Partition, i64>> {
        Self::committed(self, partitions)
    }
}

/// What a checkpoint keeps to recognise the topics, and the end of its job.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Identity {
    topic_ids: BTreeMap<String, String>,
    /// The end that was asked for, in its own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<String>,
}

/// A partition that does not hold what is to be read of it, and how reading can go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Loss {
    /// What is gone.
    pub(super) lost: LostRange,
    /// The first offset to read after the loss; `None` when the partition itself is gone.
    pub(super) position: Option<i64>,
    /// Where the partition ends now, if the job is bounded.
    pub(super) end: Option<i64>,
}

/// Resolves the bounds of a first start.
///
/// # Errors
/// When an offset is outside of its partition, a partition is not named, or a start is after its end; and, by policy,
/// when records after the committed offset are gone.
pub(super) fn fresh(options: &SourceOptions, survey: &Survey, lookup: &impl Lookup) -> Result<SourceState> {
    let positions = starts(&options.from, survey, lookup)?;
    let ends = options.to.as_ref().map(|to| ends(to, survey, lookup)).transpose()?;
    let mut state = SourceState {
        positions,
        ends,
        identity: identity(&survey.ids, options)?,
    };
    if options.from == Start::Committed {
        let bounded = state.ends.take();
        let losses = losses(&state, survey);
        settle(&mut state, &losses, options, survey, lookup)?;
        state.ends = bounded;
    }
    check_order(&state)?;
    Ok(state)
}

/// Returns the bounds of a restart: those of the checkpoint, with partitions that were added since, and with what is
/// gone left out if the policy says so. The end is the same number for as long as the same end is asked for; another one
/// is resolved now.
///
/// # Errors
/// When records are gone and the policy is to fail, or another end is asked for that does not exist.
pub(super) fn resumed(
    options: &SourceOptions,
    survey: &Survey,
    lookup: &impl Lookup,
    recorded: &SourceState,
) -> Result<SourceState> {
    let mut state = recorded.clone();
    let is_other_end = is_other_end(options.to.as_ref(), recorded);
    if is_other_end {
        // Whatever comes after the positions was to be read, also beyond the old end.
        state.ends = None;
    }
    let losses = losses(&state, survey);
    settle(&mut state, &losses, options, survey, lookup)?;
    if state.ends.is_none() {
        for (partition, span) in &survey.spans {
            state.positions.0.entry(partition.clone()).or_insert(span.low);
        }
    }
    if is_other_end {
        state.ends = renewed_ends(&state.positions, options, survey, lookup)?;
    }
    let mut ids = recorded_ids(recorded);
    ids.extend(survey.ids.clone());
    state.identity = identity(&ids, options)?;
    Ok(state)
}

/// Returns whether `to` is not the end that the job was started with. A state that does not say which that was has the
/// right one.
fn is_other_end(to: Option<&End>, recorded: &SourceState) -> bool {
    match recorded_identity(recorded).to {
        None if recorded.ends.is_some() => to.is_none(),
        was => was != to.map(End::to_string),
    }
}

/// Resolves the end anew. What was read is read: a partition that is beyond its end has reached it.
///
/// # Errors
/// When the end does not exist, or the brokers do not answer.
pub(super) fn renewed_ends(
    positions: &Positions,
    options: &SourceOptions,
    survey: &Survey,
    lookup: &impl Lookup,
) -> Result<Option<Positions>> {
    let Some(to) = &options.to else {
        return Ok(None);
    };
    let mut ends = ends(to, survey, lookup)?;
    for (partition, &position) in &positions.0 {
        ends.advance(partition, position);
    }
    Ok(Some(ends))
}

/// Returns where a partition starts again that is to be reset: as `from` says, within what the partition holds. The
/// committed offset is what was lost, so that the earliest stands for it.
///
/// # Errors
/// When the brokers do not answer.
pub(super) fn reset_position(from: &Start, partition: &Partition, span: Span, lookup: &impl Lookup) -> Result<i64> {
    let at_time = |milliseconds| -> Result<i64> {
        let found = lookup.offsets_for_time(std::slice::from_ref(partition), milliseconds)?;
        Ok(found.get(partition).copied().unwrap_or(span.high))
    };
    let position = match from {
        Start::Earliest | Start::Committed => span.low,
        Start::Latest => span.high,
        Start::Time(milliseconds) => at_time(*milliseconds)?,
        Start::Ago(age) => at_time(milliseconds_ago(*age))?,
        Start::Offsets(offsets) => named(offsets, partition).unwrap_or(span.low),
    };
    Ok(position.clamp(span.low, span.high))
}

/// Returns what of `[position, end)` is gone from a partition that holds `span`, and how to go on.
pub(super) fn examine(partition: &Partition, position: i64, end: Option<i64>, span: Span) -> Option<Loss> {
    let finished = end.is_some_and(|end| position >= end);
    let loss = |from: i64, to: i64, cause: String, position: i64, end: Option<i64>| {
        let partition = partition.clone();
        let offsets = OffsetRange { from, to };
        Some(Loss {
            lost: LostRange {
                partition,
                offsets,
                cause,
            },
            position: Some(position),
            end,
        })
    };
    if finished {
        return None;
    }
    if position < span.low {
        let first = end.map_or(span.low, |end| end.min(span.low));
        let cause = format!("retention: the first offset there is now is {}", span.low);
        return loss(position, first, cause, first, end);
    }
    let truncated = || format!("truncated: the partition ends at offset {} now", span.high);
    if position > span.high {
        return loss(span.high, position, truncated(), span.high, end.map(|_| span.high));
    }
    match end {
        Some(end) if end > span.high => loss(span.high, end, truncated(), position, Some(span.high)),
        _ => None,
    }
}

/// Says what is lost, or fails with it.
///
/// # Errors
/// [`Error::DataLoss`] when the policy is to fail.
pub(super) fn judge(policy: DataLossPolicy, losses: &[Loss]) -> Result<()> {
    if policy == DataLossPolicy::Fail && !losses.is_empty() {
        let lost = losses.iter().map(|loss| loss.lost.clone()).collect();
        return Err(Error::DataLoss { lost });
    }
    for Loss { lost, position, .. } in losses {
        tracing::warn!(%lost, ?position, ?policy, "records were lost before they were read");
    }
    Ok(())
}

/// Returns the ids of the topics that a state was recorded with.
pub(super) fn recorded_ids(state: &SourceState) -> BTreeMap<String, String> {
    recorded_identity(state).topic_ids
}

fn recorded_identity(state: &SourceState) -> Identity {
    serde_json::from_value(state.identity.clone()).unwrap_or_default()
}

/// Returns what a state keeps to recognise the topics.
///
/// # Errors
/// When the ids are no JSON.
pub(super) fn identity(ids: &BTreeMap<String, String>, options: &SourceOptions) -> Result<serde_json::Value> {
    let identity = Identity {
        topic_ids: ids.clone(),
        to: options.to.as_ref().map(End::to_string),
    };
    serde_json::to_value(identity).map_err(|error| Error::Invalid(format!("the topics' ids are no JSON: {error}")))
}

/// Applies the policy to `losses`.
fn settle(
    state: &mut SourceState,
    losses: &[Loss],
    options: &SourceOptions,
    survey: &Survey,
    lookup: &impl Lookup,
) -> Result<()> {
    judge(options.on_data_loss, losses)?;
    for loss in losses {
        let partition = &loss.lost.partition;
        let (Some(mut position), Some(&span)) = (loss.position, survey.spans.get(partition)) else {
            state.positions.0.remove(partition);
            if let Some(ends) = &mut state.ends {
                ends.0.remove(partition);
            }
            continue;
        };
        let mut end = loss.end;
        if options.on_data_loss == DataLossPolicy::Reset {
            position = reset_position(&options.from, partition, span, lookup)?;
            end = end.map(|end| end.min(span.high).max(position));
        }
        state.positions.0.insert(partition.clone(), position);
        if let (Some(ends), Some(end)) = (&mut state.ends, end) {
            ends.0.insert(partition.clone(), end);
        }
    }
    Ok(())
}

/// Returns what is gone of that which is still to be read.
pub(super) fn losses(state: &SourceState, survey: &Survey) -> Vec<Loss> {
    let ids = recorded_ids(state);
    let mut losses = Vec::new();
    for (partition, &position) in &state.positions.0 {
        let end = state.ends.as_ref().and_then(|ends| ends.get(partition));
        let (was, is) = (ids.get(&*partition.stream), survey.ids.get(&*partition.stream));
        let loss = match (survey.spans.get(partition), was.zip(is)) {
            (None, _) => unread(partition, position, end, None, "the partition is gone".to_owned()),
            (Some(&span), Some((was, is))) if was != is => {
                let cause = format!("the topic was deleted and created again: its id was {was} and is {is}");
                unread(partition, position, end, Some(span), cause)
            }
            (Some(&span), _) => examine(partition, position, end, span),
        };
        losses.extend(loss);
    }
    losses
}

/// Returns the loss of all that a partition had from `position` on. How much that is only a bounded job knows.
fn unread(partition: &Partition, position: i64, end: Option<i64>, span: Option<Span>, cause: String) -> Option<Loss> {
    if end.is_some_and(|end| position >= end) {
        return None;
    }
    let partition = partition.clone();
    let offsets = OffsetRange {
        from: position,
        to: end.unwrap_or(position),
    };
    let lost = LostRange {
        partition,
        offsets,
        cause,
    };
    // A bounded job asked for records of the old topic, so that none of the new one's are its own.
    let position = span.map(|span| end.unwrap_or(span.low));
    Some(Loss { lost, position, end })
}

fn starts(from: &Start, survey: &Survey, lookup: &impl Lookup) -> Result<Positions> {
    let positions = match from {
        Start::Earliest => each(survey, |span| span.low),
        Start::Latest => each(survey, |span| span.high),
        Start::Committed => {
            let mut positions = each(survey, |span| span.low);
            positions.extend(lookup.committed(&partitions(survey))?);
            positions
        }
        Start::Time(milliseconds) => at_time(*milliseconds, survey, lookup)?,
        Start::Ago(age) => at_time(milliseconds_ago(*age), survey, lookup)?,
        Start::Offsets(offsets) => listed("from", offsets, survey)?,
    };
    Ok(Positions(positions))
}

fn ends(to: &End, survey: &Survey, lookup: &impl Lookup) -> Result<Positions> {
    let positions = match to {
        End::Latest => each(survey, |span| span.high),
        End::Time(milliseconds) => at_time(*milliseconds, survey, lookup)?,
        End::Ago(age) => at_time(milliseconds_ago(*age), survey, lookup)?,
        End::Offsets(offsets) => listed("to", offsets, survey)?,
    };
    Ok(Positions(positions))
}

fn each(survey: &Survey, place: impl Fn(Span) -> i64) -> BTreeMap<Partition, i64> {
    let entry = |(partition, span): (&Partition, &Span)| (partition.clone(), place(*span));
    survey.spans.iter().map(entry).collect()
}

fn at_time(milliseconds: i64, survey: &Survey, lookup: &impl Lookup) -> Result<BTreeMap<Partition, i64>> {
    let mut positions = each(survey, |span| span.high);
    for (partition, offset) in lookup.offsets_for_time(&partitions(survey), milliseconds)? {
        // Records that came after the survey are beyond its end.
        positions.entry(partition).and_modify(|end| *end = offset.min(*end));
    }
    Ok(positions)
}

/// Returns the offsets of a list that names every partition, and no other.
fn listed(what: &str, offsets: &PartitionOffsets, survey: &Survey) -> Result<BTreeMap<Partition, i64>> {
    let mut positions = BTreeMap::new();
    for (partition, &Span { low, high }) in &survey.spans {
        let Some(offset) = named(offsets, partition) else {
            return Err(Error::Invalid(format!(
                "{what}: expected an offset for {partition} too"
            )));
        };
        if !(low..=high).contains(&offset) {
            return Err(Error::Invalid(format!(
                "{what}: expected an offset of {low} to {high} for {partition}, not {offset}"
            )));
        }
        positions.insert(partition.clone(), offset);
    }
    if offsets.len() > positions.len() {
        let unknown = |(topic, index): &&(Option<String>, i32)| {
            !survey.spans.keys().any(|partition| {
                partition.index == *index && topic.as_ref().is_none_or(|topic| **topic == *partition.stream)
            })
        };
        let (topic, index) = offsets.keys().find(unknown).cloned().unwrap_or_default();
        let topic = topic.map_or_else(String::new, |topic| format!(" of {topic}"));
        return Err(Error::Invalid(format!(
            "{what}: there is no partition {index}{topic}, or it is named twice"
        )));
    }
    Ok(positions)
}

fn named(offsets: &PartitionOffsets, partition: &Partition) -> Option<i64> {
    let with_topic = (Some(partition.stream.to_string()), partition.index);
    offsets
        .get(&with_topic)
        .or_else(|| offsets.get(&(None, partition.index)))
        .copied()
}

fn check_order(state: &SourceState) -> Result<()> {
    let Some(ends) = &state.ends else {
        return Ok(());
    };
    for (partition, &from) in &state.positions.0 {
        if let Some(to) = ends.get(partition).filter(|&to| from > to) {
            return Err(Error::Invalid(format!(
                "{partition}: from (offset {from}) is after to (offset {to})"
            )));
        }
    }
    Ok(())
}

fn partitions(survey: &Survey) -> Vec<Partition> {
    survey.spans.keys().cloned().collect()
}

fn milliseconds_ago(age: Duration) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.saturating_sub(age).as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::config::Connection;

    /// Answers from tables: the offsets of one time, and the group's.
    #[derive(Default)]
    struct Tables {
        at_time: BTreeMap<Partition, i64>,
        committed: BTreeMap<Partition, i64>,
    }

    impl Lookup for Tables {
        fn offsets_for_time(&self, _: &[Partition], _: i64) -> Result<BTreeMap<Partition, i64>> {
            Ok(self.at_time.clone())
        }
        fn committed(&self, _: &[Partition]) -> Result<BTreeMap<Partition, i64>> {
            Ok(self.committed.clone())
        }
    }

    fn p(index: i32) -> Partition {
        Partition::new("access", index)
    }

    /// Partition 0 holds [100, 200), partition 1 is empty at 50.
    fn survey() -> Survey {
        let spans = [(p(0), Span { low: 100, high: 200 }), (p(1), Span { low: 50, high: 50 })];
        Survey {
            spans: spans.into(),
            ids: [("access".to_owned(), "id-1".to_owned())].into(),
        }
    }

    fn options(from: &str, to: Option<&str>, policy: DataLossPolicy) -> SourceOptions {
        let mut options = SourceOptions::new(Connection::new("localhost:1"), vec!["access".into()], "g");
        options.from = from.parse().expect("a start");
        options.to = to.map(|to| to.parse().expect("an end"));
        options.on_data_loss = policy;
        options
    }

    fn positions(offsets: [i64; 2]) -> Positions {
        Positions([(p(0), offsets[0]), (p(1), offsets[1])].into())
    }

    #[track_caller]
    fn check_fresh(from: &str, to: &str, lookup: &Tables, expected: [[i64; 2]; 2]) {
        let options = options(from, Some(to), DataLossPolicy::Fail);
        let state = fresh(&options, &survey(), lookup).expect("valid bounds");
        assert_eq!(state.positions, positions(expected[0]));
        assert_eq!(state.ends, Some(positions(expected[1])));
    }

    #[track_caller]
    fn check_refused(from: &str, to: &str, message: &str) {
        let options = options(from, Some(to), DataLossPolicy::Fail);
        let error = fresh(&options, &survey(), &Tables::default()).expect_err(message);
        assert_eq!(error.to_string(), message);
    }

    #[track_caller]
    fn check_resumed(policy: DataLossPolicy, was: SourceState, expected: Result<[i64; 2], &str>) {
        let options = options("earliest", None, policy);
        match (resumed(&options, &survey(), &Tables::default(), &was), expected) {
            (Ok(state), Ok(expected)) => assert_eq!(state.positions, positions(expected)),
            (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
            (result, expected) => panic!("{result:?} is not {expected:?}"),
        }
    }

    fn recorded(offsets: [i64; 2], id: &str) -> SourceState {
        SourceState {
            positions: positions(offsets),
            ends: None,
            identity: serde_json::json!({ "topic_ids": { "access": id } }),
        }
    }

    #[test]
    fn bounds_become_numbers() {
        let lookup = Tables {
            at_time: [(p(0), 150)].into(),
            committed: [(p(0), 120)].into(),
        };
        check_fresh("earliest", "latest", &lookup, [[100, 50], [200, 50]]);
        check_fresh("latest", "latest", &lookup, [[200, 50], [200, 50]]);
        check_fresh("committed", "latest", &lookup, [[120, 50], [200, 50]]);
        check_fresh("15m", "latest", &lookup, [[150, 50], [200, 50]]);
        check_fresh("earliest", "2026-01-31", &lookup, [[100, 50], [150, 50]]);
        check_fresh(
            "0:110,1:50",
            "access:0:130,access:1:50",
            &lookup,
            [[110, 50], [130, 50]],
        );
    }

    #[test]
    fn offsets_that_do_not_exist_are_named() {
        check_refused(
            "0:99,1:50",
            "latest",
            "from: expected an offset of 100 to 200 for access[0], not 99",
        );
        check_refused(
            "earliest",
            "0:201,1:50",
            "to: expected an offset of 100 to 200 for access[0], not 201",
        );
        check_refused("0:110", "latest", "from: expected an offset for access[1] too");
        check_refused(
            "0:110,1:50,7:3",
            "latest",
            "from: there is no partition 7, or it is named twice",
        );
    }

    #[test]
    fn a_start_after_its_end_is_named_with_both_numbers() {
        check_refused(
            "0:180,1:50",
            "0:120,1:50",
            "access[0]: from (offset 180) is after to (offset 120)",
        );
    }

    #[test]
    fn a_resumed_run_keeps_its_positions_and_takes_new_partitions_from_their_start() {
        check_resumed(DataLossPolicy::Fail, recorded([150, 50], "id-1"), Ok([150, 50]));
        let mut was = recorded([150, 50], "id-1");
        was.positions.0.remove(&p(1));
        check_resumed(DataLossPolicy::Fail, was, Ok([150, 50]));
    }

    #[test]
    fn a_bounded_run_takes_no_new_partitions_and_keeps_its_ends() {
        let was = SourceState {
            positions: Positions([(p(0), 150)].into()),
            ends: Some(Positions([(p(0), 160)].into())),
            identity: serde_json::Value::Null,
        };
        let options = options("earliest", Some("latest"), DataLossPolicy::Fail);
        let state = resumed(&options, &survey(), &Tables::default(), &was).expect("nothing is lost");
        assert_eq!((state.positions, state.ends), (was.positions, was.ends));
    }

    #[test]
    fn another_end_is_resolved_anew_and_the_same_one_is_not() {
        let lookup = Tables::default();
        let run = |to: Option<&str>, recorded: &SourceState| {
            let options = options("earliest", to, DataLossPolicy::Fail);
            resumed(&options, &survey(), &lookup, recorded).expect("nothing is lost")
        };
        let ends = |state: &SourceState| state.ends.clone().map(|ends| ends.0.into_values().collect::<Vec<_>>());
        let endless = recorded([150, 50], "id-1");
        let ended = run(Some("latest"), &endless);
        assert_eq!(ends(&ended), Some(vec![200, 50]));
        let earlier = run(Some("0:120,1:50"), &ended);
        assert_eq!(ends(&earlier), Some(vec![150, 50]), "what was read is read");
        let mut interrupted = ended.clone();
        interrupted.ends = Some(positions([160, 50]));
        assert_eq!(ends(&run(Some("latest"), &interrupted)), Some(vec![160, 50]));
        assert_eq!(ends(&run(Some("0:180,1:50"), &interrupted)), Some(vec![180, 50]));
        assert_eq!(ends(&run(None, &interrupted)), None);
    }

    #[test]
    fn records_that_aged_out_are_named_skipped_or_read_from_the_start() {
        let was = || recorded([60, 50], "id-1");
        check_resumed(
            DataLossPolicy::Fail,
            was(),
            Err("access[0] offsets [60, 100) (retention"),
        );
        check_resumed(DataLossPolicy::Skip, was(), Ok([100, 50]));
        check_resumed(DataLossPolicy::Reset, was(), Ok([100, 50]));
    }

    #[test]
    fn a_truncated_partition_is_named() {
        check_resumed(
            DataLossPolicy::Fail,
            recorded([250, 50], "id-1"),
            Err("access[0] offsets [200, 250) (truncated"),
        );
        check_resumed(DataLossPolicy::Skip, recorded([250, 50], "id-1"), Ok([200, 50]));
    }

    #[test]
    fn a_recreated_topic_is_noticed_by_its_id_although_the_offsets_fit() {
        let was = || recorded([150, 50], "id-0");
        check_resumed(DataLossPolicy::Fail, was(), Err("its id was id-0 and is id-1"));
        check_resumed(DataLossPolicy::Skip, was(), Ok([100, 50]));
    }

    #[test]
    fn a_bounded_run_whose_head_aged_out_ends_at_its_end() {
        let span = Span { low: 100, high: 200 };
        let loss = examine(&p(0), 10, Some(40), span).expect("all of it is lost");
        assert_eq!(loss.lost.offsets, OffsetRange { from: 10, to: 40 });
        assert_eq!(loss.position, Some(40));
        assert_eq!(examine(&p(0), 40, Some(40), span), None, "what was read is not lost");
    }
}
