//! A lane with what its leader must be told, on its way between the threads of a reader.

use std::time::Instant;

use engine::source::Intake;

use super::super::columns::Record;
use super::super::lane::{Lane, Stop};
use super::connection::Failure;
use super::input::TopicId;
use super::records::Take;

/// A partition that is read natively.
pub(super) struct Track {
    pub(super) lane: Lane,
    /// Zero until it is known, and where topics have none.
    pub(super) topic_id: TopicId,
    pub(super) leader_epoch: i32,
    /// A replica that is nearer than the leader, and until when it is read instead.
    pub(super) replica: Option<(i32, Instant)>,
    /// Bytes to ask for.
    pub(super) fetch_bytes: i32,
    /// Whether it is not known yet how much must be asked for.
    pub(super) is_cut: bool,
    /// The offset that the request under way asks for.
    pub(super) asked: Option<i64>,
    /// The offset that the next request asks for.
    pub(super) ahead: i64,
    /// The leader's epoch of the batch before `ahead`, or -1 if that is not known.
    pub(super) last_epoch: i32,
    /// When records came last, counted in answers.
    pub(super) served: u64,
    /// How often it was handed on without an answer in between.
    pub(super) failures: u32,
    /// How often it was out of range although it holds what is asked for.
    pub(super) whole: u32,
    /// Why its present fetcher can't go on with it.
    pub(super) leaving: Option<Why>,
}

/// Why a fetcher hands a partition back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Another broker may lead it now; the text says how this one put it.
    Moved(String),
    /// A replica is nearer.
    Nearer(i32),
    /// The leader does not hold the offset.
    OutOfRange,
    /// The leader's log is not the one that was read, from this offset on.
    Parted(i64),
    /// It can't be read natively.
    Unsupported(String),
    /// Nothing came of the connection.
    Failed(Failure),
    /// The fetcher was told to end.
    Dismissed,
}

impl Track {
    pub(super) fn new(lane: Lane, fetch_bytes: i32) -> Self {
        Self {
            topic_id: [0; 16],
            leader_epoch: -1,
            replica: None,
            fetch_bytes,
            is_cut: false,
            asked: None,
            ahead: lane.position,
            last_epoch: -1,
            served: 0,
            failures: 0,
            whole: 0,
            leaving: None,
            lane,
        }
    }

    /// Returns whether the next request should ask for it.
    pub(super) fn wants_more(&self) -> bool {
        self.leaving.is_none() && !self.is_cut && self.ahead < self.lane.end
    }
}

/// Takes decoded records into a lane.
pub(super) struct Taking<'t> {
    pub(super) lane: &'t mut Lane,
    pub(super) intake: &'t Intake,
}

impl Take for Taking<'_> {
    type Stop = Stop;

    #[inline]
    fn record(&mut self, record: &impl Record) -> Result<(), Stop> {
        self.lane.absorb(record, self.intake)
    }
}
