//! A fetcher thread: reads the partitions that one broker leads, over one connection.
//!
//! While an answer is decoded the next one is already under way: the headers of its record batches say where the next
//! request starts. A full intake stops the thread, so that one answer waits in memory and one on the wire, at most.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use engine::position::OffsetRange;
use engine::source::Intake;
use rdkafka::types::RDKafkaErrorCode as Code;

use super::super::health::{Health, is_refusal, is_transient};
use super::super::lane::Stop;
use super::batch::{self, Problem};
use super::connection::{Connection, Failure, Network, Sent};
use super::fetch::{self, Answer, BY_NAME_MAX, Part, Question, Wanted};
use super::records::{self, RecordsDecoder};
use super::settings::Endpoint;
use super::track::{Taking, Track, Why};
use super::versions::Api;

/// How long after an answer that left nothing to read the next one is asked for: the latency that batching may cost.
/// Whoever waits for a first record waits at the broker, and has it at once.
const LINGER: Duration = Duration::from_millis(5);

/// A buffer that grew by a large answer is let go when it is so many times larger than what is usually asked for.
const BUFFER_EXCESS: usize = 4;

/// What a fetcher tells the reader.
pub(super) enum Report {
    /// A partition is read to its end.
    Ended,
    /// A partition needs another fetcher, or a decision.
    Left(Box<Track>, Why),
    /// The job ends.
    Stopped(Stop),
}

/// Reads what one broker leads.
pub(super) struct Fetcher {
    pub(super) network: Arc<Network>,
    pub(super) health: Arc<Health>,
    pub(super) intake: Intake,
    pub(super) node: i32,
    pub(super) endpoint: Endpoint,
    /// Whether records of aborted transactions are left out.
    pub(super) read_committed: bool,
    pub(super) decoder: RecordsDecoder,
    /// Partitions to read; disconnected when there is nothing more to do.
    pub(super) orders: Receiver<Track>,
    pub(super) reports: Sender<Report>,
    pub(super) tracks: Vec<Track>,
    pub(super) link: Option<Link>,
    /// The last answer.
    pub(super) buffer: Vec<u8>,
    /// Until when there is to be no request: the broker may want that, too.
    pub(super) paused: Option<Instant>,
    /// Answers so far.
    pub(super) answers: u64,
}

/// A connection with at most one request under way.
pub(super) struct Link {
    connection: Connection,
    sent: Option<Sent>,
}

/// Why a turn ended early.
enum Trouble {
    Stop(Stop),
    Failure(Failure),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<Stop> for Trouble {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

/// A part of an answer, and whom it is for.
struct Found {
    track: usize,
    part: Part,
}

impl Fetcher {
    /// Reads until the orders end, and hands back what it has then.
    pub(super) fn run(mut self) {
        let mut outcome = Ok(());
        while outcome.is_ok() && self.take_orders() {
            outcome = match self.turn() {
                Ok(()) => self.let_go(),
                Err(Trouble::Failure(failure)) => self.give_up(&Why::Failed(failure)),
                Err(Trouble::Stop(stop)) => Err(stop),
            };
        }
        let outcome = outcome.and_then(|()| self.give_up(&Why::Dismissed));
        if let Err(stop) = outcome {
            // A reader that is gone no longer needs to know.
            let _ = self.reports.send(Report::Stopped(stop));
        }
    }

    /// Takes new partitions in, waiting for some while there is nothing to do. Returns whether there is still someone
    /// who gives orders.
    fn take_orders(&mut self) -> bool {
        loop {
            match self.orders.try_recv() {
                Ok(track) => self.tracks.push(track),
                Err(TryRecvError::Disconnected) => return false,
                Err(TryRecvError::Empty) if !self.tracks.is_empty() => return true,
                Err(TryRecvError::Empty) => {
                    self.link = None;
                    match self.orders.recv() {
                        Ok(track) => self.tracks.push(track),
                        Err(_) => return false,
                    }
                }
            }
        }
    }

    /// Waits until there may be a request, or for new orders.
    fn keep_still(&mut self) {
        let Some(until) = self.paused.take() else {
            return;
        };
        match self.orders.recv_deadline(until) {
            Ok(track) => {
                self.tracks.push(track);
                self.paused = Some(until);
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
    }

    /// Receives one answer, and takes it in.
    fn turn(&mut self) -> Result<(), Trouble> {
        if self.link.as_ref().is_none_or(|link| link.sent.is_none()) {
            self.keep_still();
            if self.paused.is_some() {
                return Ok(());
            }
            self.ask()?;
        }
        let Some(link) = &mut self.link else {
            return Ok(());
        };
        let Some(sent) = link.sent.take() else {
            return Ok(());
        };
        let mut buffer = mem::take(&mut self.buffer);
        let outcome = link.connection.receive(sent, &mut buffer).and_then(|mut input| {
            let answer = Answer::read(&mut input, sent.version);
            answer.map_err(|problem| link.connection.malformed(sent, problem))
        });
        let outcome = outcome
            .map_err(Trouble::from)
            .and_then(|answer| self.take_in(answer, &buffer));
        self.buffer = buffer;
        let usual = usize::try_from(self.network.settings.fetch.max_bytes).unwrap_or(usize::MAX);
        if self.buffer.len() > usual.saturating_mul(BUFFER_EXCESS) {
            self.buffer = Vec::new();
        }
        outcome
    }

    /// Sends the next request off, and decodes the answer meanwhile.
    fn take_in(&mut self, answer: Answer, bytes: &[u8]) -> Result<(), Trouble> {
        self.health.answered();
        self.answers += 1;
        if let Some(code) = answer.error {
            let address = &self.endpoint;
            return Err(Failure::Away(format!("{address}: the fetch failed: {code}")).into());
        }
        let found = self.find(answer.parts);
        for Found { track, part } in &found {
            self.judge(*track, part, bytes)?;
        }
        let is_behind = found
            .iter()
            .any(|found| self.tracks[found.track].ahead < found.part.end);
        let linger = if is_behind { Duration::ZERO } else { LINGER };
        let throttle = Duration::from_millis(u64::try_from(answer.throttle_ms).unwrap_or(0));
        let pause = linger.max(throttle);
        self.paused = (!pause.is_zero()).then(|| Instant::now() + pause);
        let is_expired = self.link.as_ref().is_some_and(|link| link.connection.is_expired());
        let asked = match self.paused.is_some() || is_expired {
            true => Ok(()),
            false => self.ask(),
        };
        if is_expired {
            self.link = None;
        }
        for Found { track, part } in &found {
            self.decode(*track, part, bytes)?;
        }
        asked
    }

    /// Finds the partitions of an answer that are still read from where it starts.
    fn find(&self, parts: Vec<Part>) -> Vec<Found> {
        let mut found = Vec::with_capacity(parts.len());
        let mut next = 0;
        for part in parts {
            let is_it = |track: &Track| {
                let partition = &track.lane.partition;
                let is_topic = match part.topic.is_empty() {
                    true => track.topic_id == part.topic_id,
                    false => *partition.stream == *part.topic,
                };
                is_topic && partition.index == part.partition
            };
            // The answer has the order of the request, which is nearly the order here.
            let (before, after) = self.tracks.split_at(next);
            let place = after.iter().position(is_it).map(|place| next + place);
            let Some(place) = place.or_else(|| before.iter().position(is_it)) else {
                continue;
            };
            next = place + 1;
            let track = &self.tracks[place];
            if track.asked == Some(track.lane.position) && track.leaving.is_none() {
                found.push(Found { track: place, part });
            }
        }
        found
    }

    /// Says how a partition goes on, as far as the answer's headers tell.
    fn judge(&mut self, track: usize, part: &Part, bytes: &[u8]) -> Result<(), Trouble> {
        let track = &mut self.tracks[track];
        let lane = &track.lane;
        track.leaving = match part.error {
            None if part.parts_at.is_some() => part.parts_at.map(Why::Parted),
            None if part.preferred_replica >= 0 && part.preferred_replica != self.node => {
                Some(Why::Nearer(part.preferred_replica))
            }
            None => {
                let bytes_max = self.network.settings.answer_bytes_max;
                let (ahead, epoch) = batch::next_offset(&bytes[part.records.clone()], lane.position, bytes_max);
                track.ahead = ahead;
                track.last_epoch = epoch.unwrap_or(track.last_epoch);
                track.failures = 0;
                // A batch that did not fit must be asked for whole; its decoding says how large it is.
                let is_further = track.ahead > lane.position;
                track.is_cut = !is_further && !part.records.is_empty();
                if is_further {
                    track.fetch_bytes = self.network.settings.fetch.partition_bytes;
                }
                // Now and then the leader is asked again which replica is the nearest.
                let is_stale = track.replica.is_some_and(|(_, until)| Instant::now() >= until);
                is_stale.then(|| Why::Moved("the nearest replica may be another one now".to_owned()))
            }
            // A replica may be behind its leader.
            Some(code) if track.replica.is_some() => Some(Why::Moved(code.to_string())),
            Some(Code::OffsetOutOfRange) => {
                // A leader that does not know the epoch says this too.
                track.last_epoch = -1;
                Some(Why::OutOfRange)
            }
            Some(code @ (Code::UnsupportedVersion | Code::UnsupportedCompressionType)) => {
                Some(Why::Unsupported(format!("{}: {code}", lane.partition)))
            }
            Some(code) if is_refusal(code) => {
                let problem = format!("refused to read {}: {code}", lane.partition);
                return Err(Stop::Failed(self.health.connect_error(problem)).into());
            }
            Some(code) if is_transient(code) || is_of_moves(code) => Some(Why::Moved(code.to_string())),
            Some(code) => return Err(Stop::Failed(lane.error(&code.to_string())).into()),
        };
        Ok(())
    }

    /// Takes the records of a partition in, and sends them.
    fn decode(&mut self, track: usize, part: &Part, bytes: &[u8]) -> Result<(), Trouble> {
        let track = &mut self.tracks[track];
        if part.error.is_some() || part.records.is_empty() {
            return Ok(());
        }
        let range = OffsetRange {
            from: track.lane.position,
            to: track.lane.end,
        };
        let mut taking = Taking {
            lane: &mut track.lane,
            intake: &self.intake,
        };
        let records = &bytes[part.records.clone()];
        let decoded = match self.decoder.decode(records, range, &part.aborted, &mut taking) {
            Ok(decoded) => decoded,
            Err(records::Failure::Stopped(stop)) => return Err(stop.into()),
            Err(records::Failure::Malformed(error)) if matches!(error.problem, Problem::MessageSet(_)) => {
                track.leaving = Some(Why::Unsupported(format!("{}: {error}", track.lane.partition)));
                return Ok(());
            }
            Err(records::Failure::Malformed(error)) => {
                // What came before the damage is good.
                track.lane.flush(&self.intake).map_err(Stop::from)?;
                return Err(Stop::Failed(track.lane.error(&error.to_string())).into());
            }
        };
        track.lane.reach(decoded.next_offset);
        if range.from < track.lane.position {
            track.served = self.answers;
        }
        if let Some(bytes) = decoded.wanted_bytes {
            track.fetch_bytes = track.fetch_bytes.max(i32::try_from(bytes).unwrap_or(i32::MAX));
        }
        track.is_cut = false;
        track.lane.pause(&self.intake).map_err(Stop::from)?;
        Ok(())
    }

    /// Sends a request for all partitions that are not read to their end. Those that waited longest come first: what is
    /// left of an answer's size is theirs.
    fn ask(&mut self) -> Result<(), Trouble> {
        let mut order: Vec<usize> = (0..self.tracks.len())
            .filter(|&track| self.tracks[track].wants_more())
            .collect();
        for track in &mut self.tracks {
            track.asked = None;
        }
        if order.is_empty() {
            return Ok(());
        }
        let mut topics = HashMap::new();
        for &track in &order {
            let rank = topics.len();
            topics
                .entry(Arc::clone(&self.tracks[track].lane.partition.stream))
                .or_insert(rank);
        }
        order.sort_by_key(|&track| topics[&self.tracks[track].lane.partition.stream]);
        let wanted: Vec<Wanted<'_>> = order.iter().map(|&track| Wanted::of(&self.tracks[track])).collect();
        let settings = &self.network.settings;
        let largest = wanted.iter().map(|wanted| wanted.max_bytes).max().unwrap_or(0);
        let question = Question {
            max_wait_ms: settings.fetch.wait_ms,
            min_bytes: settings.fetch.min_bytes,
            max_bytes: settings.fetch.max_bytes.max(largest),
            read_committed: self.read_committed,
            rack: &settings.rack,
        };
        let have_ids = wanted.iter().all(|wanted| wanted.topic_id != [0; 16]);
        let limit = if have_ids { i16::MAX } else { BY_NAME_MAX };
        if self.link.is_none() {
            let connection = self.network.connect(&self.endpoint)?;
            self.link = Some(Link { connection, sent: None });
        }
        let link = self.link.as_mut().expect("it was made just now, or before");
        let sent = link.connection.send(Api::Fetch, limit, |output, version| {
            fetch::write(output, version, &question, &wanted)
        })?;
        link.sent = Some(sent);
        for track in order {
            self.tracks[track].asked = Some(self.tracks[track].ahead);
        }
        Ok(())
    }

    /// Lets the partitions go that are done, or that another must go on with.
    fn let_go(&mut self) -> Result<(), Stop> {
        for track in self
            .tracks
            .extract_if(.., |track| track.lane.is_done() || track.leaving.is_some())
        {
            hand_back(track, None, &self.intake, &self.reports)?;
        }
        self.tracks.sort_by_key(|track| track.served);
        Ok(())
    }

    /// Hands all partitions back, those that were only ordered too.
    fn give_up(&mut self, why: &Why) -> Result<(), Stop> {
        self.link = None;
        self.tracks.extend(self.orders.try_iter());
        for track in self.tracks.drain(..) {
            hand_back(track, Some(why), &self.intake, &self.reports)?;
        }
        Ok(())
    }
}

/// Hands a partition back to the reader, with all that was read of it sent.
fn hand_back(mut track: Track, why: Option<&Why>, intake: &Intake, reports: &Sender<Report>) -> Result<(), Stop> {
    let report = if track.lane.is_done() {
        track.lane.finish(intake)?;
        Report::Ended
    } else {
        track.lane.flush(intake)?;
        track.asked = None;
        if track.ahead != track.lane.position {
            track.ahead = track.lane.position;
            track.last_epoch = -1;
        }
        let why = track.leaving.take().or_else(|| why.cloned());
        Report::Left(Box::new(track), why.unwrap_or(Why::Dismissed))
    };
    // Without a reader the job is over.
    reports.send(report).map_err(|_| Stop::Closed)
}

impl<'t> Wanted<'t> {
    fn of(track: &'t Track) -> Self {
        Self {
            topic: &track.lane.partition.stream,
            topic_id: track.topic_id,
            partition: track.lane.partition.index,
            leader_epoch: track.leader_epoch,
            last_epoch: track.last_epoch,
            offset: track.ahead,
            max_bytes: track.fetch_bytes,
        }
    }
}

/// Returns whether a broker answers so when a partition is on its way to or from it.
fn is_of_moves(code: Code) -> bool {
    matches!(
        code,
        Code::UnknownTopicOrPartition
            | Code::UnknownTopicId
            | Code::Unknown
            | Code::ListenerNotFound
            | Code::ThrottlingQuotaExceeded
    )
}
