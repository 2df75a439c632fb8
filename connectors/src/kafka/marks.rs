//! The mark that an epoch leaves in the group: which job committed these offsets, and at which of its epochs.
//!
//! The mark is the metadata string of each committed offset, and part of the transaction that holds the epoch's
//! records. So after a crash the group says which checkpoint the output is in the state of.

use std::fmt::Write;
use std::time::{Duration, Instant};

use engine::sink::{Candidate, Recovery};
use engine::{Epoch, Error, Partition, Result};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde::{Deserialize, Serialize};

/// The version of the mark's format.
const VERSION: u32 = 1;

/// One request for the group's offsets; they are asked for again until the deadline.
const READ_TIMEOUT: Duration = Duration::from_secs(1);

/// The pause between two requests.
const PAUSE: Duration = Duration::from_millis(50);

/// Partitions that a message lists before it says "and more".
const LISTED_MAX: usize = 8;

/// What the metadata of an offset says that a Millstream job committed. About 80 bytes; brokers take 4096.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// The version of this format.
    millstream: u32,
    /// The job's id.
    pub(super) job: String,
    /// The epoch whose input ends at the offset.
    pub(super) epoch: Epoch,
}

/// What a group holds for a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Committed {
    /// The partition.
    pub(super) partition: Partition,
    /// The next offset to read, if any was committed.
    pub(super) offset: Option<i64>,
    /// The mark, if a Millstream job committed it.
    pub(super) mark: Option<Mark>,
}

impl Mark {
    pub(super) fn new(job: &str, epoch: Epoch) -> Self {
        Self {
            millstream: VERSION,
            job: job.to_owned(),
            epoch,
        }
    }

    /// Returns the mark as offset metadata.
    pub(super) fn to_metadata(&self) -> String {
        serde_json::to_string(self).expect("a mark holds numbers and a string")
    }

    /// Returns the mark that `metadata` holds; other programs' metadata is none.
    fn from_metadata(metadata: &str) -> Option<Self> {
        serde_json::from_str(metadata).ok()
    }
}

/// Asks for what the group of `consumer` holds for `partitions`. Whether the offsets of an open transaction are waited
/// for depends on the consumer's isolation level.
///
/// # Errors
/// When the group can't be read before `deadline`.
pub(super) fn read<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partitions: &[Partition],
    deadline: Instant,
) -> Result<Vec<Committed>, KafkaError> {
    loop {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            list.add_partition(&partition.stream, partition.index);
        }
        let error = match consumer.committed_offsets(list, READ_TIMEOUT) {
            Ok(list) => match copy(&list) {
                Ok(committed) => return Ok(committed),
                Err(error) => error,
            },
            Err(error) => error,
        };
        // Serving the client's events is the pause before the next try, and tells why there was no answer.
        let cause = match consumer.poll(PAUSE) {
            Some(Err(cause)) => cause,
            _ => error,
        };
        let is_final = cause.rdkafka_error_code().is_none_or(|code| !is_passing(code));
        if is_final || Instant::now() >= deadline {
            return Err(cause);
        }
    }
}

/// Copies a list that librdkafka filled: it must not live longer than its consumer.
fn copy(list: &TopicPartitionList) -> Result<Vec<Committed>, KafkaError> {
    let committed = |element: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| {
        element.error()?;
        let offset = match element.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        };
        Ok(Committed {
            partition: Partition::new(element.topic(), element.partition()),
            offset,
            // Brokers store metadata as a string, so that it is UTF-8 whoever committed it.
            mark: Mark::from_metadata(element.metadata()),
        })
    };
    list.elements().iter().map(committed).collect()
}

fn is_passing(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::OperationTimedOut
            | RDKafkaErrorCode::RequestTimedOut
            | RDKafkaErrorCode::BrokerTransportFailure
            | RDKafkaErrorCode::AllBrokersDown
            | RDKafkaErrorCode::WaitingForCoordinator
            | RDKafkaErrorCode::CoordinatorLoadInProgress
            | RDKafkaErrorCode::CoordinatorNotAvailable
            | RDKafkaErrorCode::NotCoordinator
            | RDKafkaErrorCode::UnstableOffsetCommit
    )
}

/// Refuses a group in which another job left its marks.
///
/// # Errors
/// When there is such a mark, or one of a newer version.
pub(super) fn check_owner(group: &str, job: &str, committed: &[Committed]) -> Result<()> {
    for mark in committed.iter().filter_map(|committed| committed.mark.as_ref()) {
        if mark.job != job {
            return Err(Error::Invalid(format!(
                "the group `{group}` is used by another job (id {}, at epoch {}); choose another group (--group, or \
                 `group` in a job file), or go on with that job's checkpoint",
                mark.job, mark.epoch
            )));
        }
        if mark.millstream != VERSION {
            return Err(Error::Invalid(format!(
                "the offsets of the group `{group}` were committed by another version of Millstream (format {}, this \
                 program knows {VERSION})",
                mark.millstream
            )));
        }
    }
    Ok(())
}

/// Returns the checkpoint that the group, and with it the output, is in the state of. `expected` gives the partitions and
/// the offsets that the epoch of a candidate committed.
///
/// # Errors
/// When another job uses the group, or the group agrees with no candidate.
pub(super) fn choose(
    group: &str,
    recovery: &Recovery<'_>,
    committed: &[Committed],
    expected: impl Fn(&Candidate) -> Vec<(Partition, i64)>,
) -> Result<Option<Epoch>> {
    check_owner(group, recovery.job, committed)?;
    let marked: Vec<_> = committed.iter().filter(|committed| committed.mark.is_some()).collect();
    let holds = |partition: &Partition, offset: i64, epoch: Epoch| {
        marked.iter().any(|committed| {
            committed.partition == *partition
                && committed.offset == Some(offset)
                && committed.mark.as_ref().is_some_and(|mark| mark.epoch == epoch)
        })
    };
    let matches = |candidate: &&Candidate| {
        let expected = expected(candidate);
        let all_there = expected
            .iter()
            .all(|(partition, offset)| holds(partition, *offset, candidate.epoch));
        all_there && !expected.is_empty() && expected.len() == marked.len()
    };
    if marked.is_empty() {
        if recovery.candidates.is_empty() {
            return Ok(None);
        }
        if recovery.candidates.iter().any(|candidate| candidate.epoch == Epoch(0)) {
            return Ok(Some(Epoch(0)));
        }
    } else if let Some(candidate) = recovery.candidates.iter().find(matches) {
        return Ok(Some(candidate.epoch));
    }
    Err(no_match(group, recovery.candidates, committed))
}

fn no_match(group: &str, candidates: &[Candidate], committed: &[Committed]) -> Error {
    let mut says = String::new();
    for (index, committed) in committed.iter().enumerate() {
        if index == LISTED_MAX {
            says.push_str(", and more");
            break;
        }
        let separator = if index == 0 { "" } else { ", " };
        let offset = committed
            .offset
            .map_or("no offset".to_owned(), |offset| format!("offset {offset}"));
        let epoch = match &committed.mark {
            Some(mark) => format!("epoch {}", mark.epoch),
            None => "no epoch".to_owned(),
        };
        write!(says, "{separator}{} {offset} of {epoch}", committed.partition).expect("a String takes every write");
    }
    let epochs: Vec<_> = candidates.iter().map(|candidate| candidate.epoch.to_string()).collect();
    let checkpoints = match epochs.as_slice() {
        [] => "there is no checkpoint".to_owned(),
        epochs => format!("the checkpoints are of epoch {}", epochs.join(" and ")),
    };
    Error::Sink {
        output: format!("the group `{group}`"),
        problem: format!(
            "its offsets agree with no checkpoint, so it is not known what the output holds: the group says {says}; \
             {checkpoints}. Were the offsets reset or expired, or is it an older copy of the checkpoint? To start \
             afresh, use another checkpoint folder and another group"
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use engine::Positions;
    use engine::sink::Token;

    use super::*;

    const JOB: &str = "5e0c";

    fn candidate(epoch: u64, offsets: &[i64]) -> Candidate {
        let positions: BTreeMap<_, _> = (0..)
            .map(|index| Partition::new("t", index))
            .zip(offsets.iter().copied())
            .collect();
        Candidate {
            epoch: Epoch(epoch),
            positions: Positions(positions),
            token: Token::default(),
        }
    }

    fn committed(index: i32, offset: i64, mark: Option<(&str, u64)>) -> Committed {
        Committed {
            partition: Partition::new("t", index),
            offset: Some(offset),
            mark: mark.map(|(job, epoch)| Mark::new(job, Epoch(epoch))),
        }
    }

    fn choice(candidates: &[Candidate], committed: &[Committed]) -> Result<Option<Epoch>> {
        let recovery = Recovery {
            job: JOB,
            generation: 1,
            candidates,
        };
        choose("g", &recovery, committed, |candidate| {
            candidate.positions.0.clone().into_iter().collect()
        })
    }

    #[track_caller]
    fn check(candidates: &[Candidate], committed: &[Committed], expected: Option<u64>) {
        let chosen = choice(candidates, committed).expect("a candidate agrees");
        assert_eq!(chosen, expected.map(Epoch));
    }

    #[track_caller]
    fn check_error(candidates: &[Candidate], committed: &[Committed], parts: &[&str]) {
        let error = choice(candidates, committed).expect_err("nothing agrees").to_string();
        for part in parts {
            assert!(error.contains(part), "{error} names {part}");
        }
    }

    #[test]
    fn a_mark_reads_back_and_other_metadata_is_none() {
        let mark = Mark::new(JOB, Epoch(7));
        assert_eq!(mark.to_metadata(), r#"{"millstream":1,"job":"5e0c","epoch":7}"#);
        assert_eq!(Mark::from_metadata(&mark.to_metadata()), Some(mark));
        for other in ["", "flink", r#"{"job":"x"}"#, "{"] {
            assert_eq!(Mark::from_metadata(other), None);
        }
    }

    #[test]
    fn the_group_says_whether_the_newest_epoch_happened() {
        let candidates = [candidate(5, &[50, 60]), candidate(4, &[40, 60])];
        let at = |first, epoch| {
            [
                committed(0, first, Some((JOB, epoch))),
                committed(1, 60, Some((JOB, epoch))),
            ]
        };
        check(&candidates, &at(50, 5), Some(5));
        check(&candidates, &at(40, 4), Some(4));
        check_error(
            &candidates,
            &at(30, 3),
            &["epoch 3", "5 and 4", "t[0] offset 30", "`g`"],
        );
    }

    #[test]
    fn partitions_that_do_not_agree_are_an_error() {
        let candidates = [candidate(5, &[50, 60]), candidate(4, &[40, 60])];
        let torn = [committed(0, 50, Some((JOB, 5))), committed(1, 60, Some((JOB, 4)))];
        check_error(
            &candidates,
            &torn,
            &["t[0] offset 50 of epoch 5", "t[1] offset 60 of epoch 4"],
        );
        let reset = [committed(0, 50, Some((JOB, 5))), committed(1, 0, None)];
        check_error(&candidates, &reset, &["t[1] offset 0 of no epoch"]);
        let moved = [committed(0, 49, Some((JOB, 5))), committed(1, 60, Some((JOB, 5)))];
        check_error(&candidates, &moved, &["t[0] offset 49"]);
    }

    #[test]
    fn a_partition_added_in_the_newest_epoch_is_not_asked_of_the_one_before() {
        let candidates = [candidate(2, &[50, 60]), candidate(1, &[40])];
        let mut added = committed(1, 0, None);
        added.offset = None;
        check(&candidates, &[committed(0, 40, Some((JOB, 1))), added], Some(1));
    }

    #[test]
    fn without_marks_the_output_is_at_the_start() {
        check(&[], &[], None);
        check(&[candidate(0, &[0])], &[], Some(0));
        check(&[candidate(1, &[9]), candidate(0, &[0])], &[], Some(0));
        check(&[candidate(0, &[0])], &[committed(0, 123, None)], Some(0));
        check_error(
            &[candidate(2, &[9]), candidate(1, &[0])],
            &[committed(0, 9, None)],
            &["2 and 1", "no epoch"],
        );
    }

    #[test]
    fn a_group_of_another_job_is_refused() {
        let foreign = [committed(0, 50, Some(("beef", 5)))];
        for candidates in [
            vec![],
            vec![candidate(0, &[0])],
            vec![candidate(5, &[50]), candidate(4, &[40])],
        ] {
            check_error(
                &candidates,
                &foreign,
                &["`g` is used by another job", "beef", "--group"],
            );
        }
    }

    #[test]
    fn marks_of_this_job_without_its_checkpoint_are_an_error() {
        let own = [committed(0, 50, Some((JOB, 5)))];
        check_error(&[candidate(0, &[0])], &own, &["epoch 5", "of epoch 0"]);
        check_error(&[], &own, &["there is no checkpoint"]);
    }

    #[test]
    fn a_mark_of_a_newer_version_is_refused() {
        let mut newer = committed(0, 50, Some((JOB, 5)));
        newer.mark.as_mut().expect("marked").millstream = 2;
        check_error(&[candidate(5, &[50])], &[newer], &["another version"]);
    }
}
