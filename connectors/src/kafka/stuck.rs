//! A partition that does not have what is to be read next: whether records are lost, and where to go on.

use std::sync::atomic::Ordering;
use std::time::Duration;

use engine::error::LostRange;
use engine::position::OffsetRange;
use engine::{Error, Result};

use super::bounds::{self, Loss, examine};
use super::cluster::Span;
use super::lane::{Lane, Shared};
use super::options::DataLossPolicy;

/// How long the brokers may take to say what a partition holds, while the reader's other partitions wait.
const SPAN_PATIENCE: Duration = Duration::from_secs(2);

/// How often in a row a partition may be found whole after its reader could not go on, before the job stops.
pub(super) const WHOLE_MAX: u32 = 5;

/// What is said of a topic that is gone in mid-read.
pub(super) const DELETED: &str = "the topic was deleted while it was read";

/// What became of a partition.
pub(super) enum Outlook {
    /// The brokers do not say: ask again.
    Unanswered,
    /// It holds what is to be read.
    Whole(Span),
    /// Records are lost, and the policy is to go on here.
    Resume(i64),
}

/// Finds out why a lane can't go on.
///
/// # Errors
/// When records are lost, and the policy is to stop then.
pub(super) fn outlook(shared: &Shared, lane: &Lane) -> Result<Outlook> {
    let partition = &lane.partition;
    let spans = shared.cluster.spans(std::slice::from_ref(partition), SPAN_PATIENCE);
    let Some(&span) = spans.as_ref().ok().and_then(|spans| spans.get(partition)) else {
        tracing::debug!(%partition, "the brokers do not say what the partition holds");
        return Ok(Outlook::Unanswered);
    };
    match examine(partition, lane.position, lane.bound(), span) {
        None => Ok(Outlook::Whole(span)),
        Some(loss) => resume_after(shared, &loss, span, lane.position).map(Outlook::Resume),
    }
}

/// Returns what is said of a lane that is whole time and again.
pub(super) fn puzzle(client: &str, span: Span) -> String {
    format!(
        "{client} can't go on, although the partition holds [{}, {})",
        span.low, span.high
    )
}

/// Returns where a lane goes on after a loss that was found while running.
///
/// A position never moves back in a run: what a shrunk partition holds anew is for the next start to judge.
fn resume_after(shared: &Shared, loss: &Loss, span: Span, position: i64) -> Result<i64> {
    let policy = shared.options.on_data_loss;
    let next = loss.position.unwrap_or(position);
    if next < position {
        bounds::judge(DataLossPolicy::Fail, std::slice::from_ref(loss))?;
    }
    bounds::judge(policy, std::slice::from_ref(loss))?;
    let lost = loss.lost.offsets;
    let count = u64::try_from(lost.to - lost.from).unwrap_or(0);
    shared.offsets_lost.fetch_add(count, Ordering::Relaxed);
    if policy == DataLossPolicy::Reset {
        let from = &shared.options.from;
        return bounds::reset_position(from, &loss.lost.partition, span, &shared.cluster).map(|reset| reset.max(next));
    }
    Ok(next)
}

/// Returns the error of a lane that read records from offset `from` on that the partition no longer holds: a replica leads
/// that had not got them, and others took their offsets.
///
/// That is an error whatever the policy: what was read can't be taken back, and what is there now has offsets that are done.
pub(super) fn replaced(lane: &Lane, from: i64) -> Error {
    let offsets = OffsetRange {
        from: from.min(lane.position),
        to: lane.position,
    };
    let cause =
        "replaced: other records were read at these offsets, then a replica without them became the leader".to_owned();
    let partition = lane.partition.clone();
    Error::DataLoss {
        lost: vec![LostRange {
            partition,
            offsets,
            cause,
        }],
    }
}

/// Returns the error of a topic that is gone.
pub(super) fn gone(topic: &str, problem: &str) -> Error {
    Error::Source {
        input: format!("topic {topic}"),
        problem: problem.to_owned(),
    }
}

/// Returns the error of a topic that has another id than before.
pub(super) fn recreated(topic: &str, was: &str, is: &str) -> Error {
    let problem = format!("the topic was deleted and created again while it was read: its id was {was} and is {is}");
    gone(topic, &problem)
}
