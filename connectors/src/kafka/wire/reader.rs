//! Reads some of a source's partitions natively: finds their leaders, and gives each to the fetcher of its broker.
//!
//! A fetcher hands a partition back when it can't go on with it: the leader moved or is away, or does not hold the
//! offset. It waits here for the brokers to say where it is, for as long as that takes.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use crossbeam_channel::{self as channel, Receiver, Sender};
use engine::Error;
use engine::source::{Event, Intake};
use rdkafka::types::RDKafkaErrorCode as Code;

use super::super::health::{Health, is_refusal};
use super::super::lane::{Assignment, Lane, Shared, Stop};
use super::super::options::{Client, KafkaColumn};
use super::super::reader::Reader;
use super::super::stuck::{self, Outlook};
use super::ReaderNetwork;
use super::asker::Asker;
use super::connection::{Failure, Network};
use super::fetcher::{Fetcher, Report};
use super::input::TopicId;
use super::metadata::{Leader, Metadata};
use super::records::{DecodeOptions, RecordsDecoder};
use super::settings::Endpoint;
use super::track::{Track, Why};

/// How often it is looked whether the reader should end, or has new partitions.
const TICK: Duration = Duration::from_millis(100);

/// For how long a topic may be unknown before it counts as deleted: a broker that just started may not know it.
const UNKNOWN_PATIENCE: Duration = Duration::from_secs(5);

/// For how long the nearest replica is read before the leader is asked again, as `metadata.max.age.ms` of Kafka's own
/// clients has it.
const REPLICA_AGE: Duration = Duration::from_secs(300);

/// After so many failures in a row of one partition it is said that its broker is away.
const FAILURES_TOLD: u32 = 5;

/// Reads natively, and if it may, falls back to librdkafka when it can't.
pub(in crate::kafka) struct NativeReader {
    network: Arc<Network>,
    shared: Arc<Shared>,
    health: Arc<Health>,
    intake: Intake,
    /// Partitions that were added while the job runs.
    added: Receiver<Assignment>,
    /// Whether partitions may still be added.
    follows: bool,
    /// Partitions that have not ended.
    open: usize,
    /// Partitions without a fetcher.
    waiting: Vec<Waiting>,
    fetchers: BTreeMap<i32, Handle>,
    /// Threads that get no more orders.
    retired: Vec<JoinHandle<()>>,
    reports: (Sender<Report>, Receiver<Report>),
    asker: Asker,
    /// How often in a row no broker answered.
    unanswered: u32,
    /// Whether a broker has answered.
    is_known: bool,
}

/// A partition without a fetcher.
struct Waiting {
    track: Track,
    /// When to try.
    due: Instant,
    out_of_range: bool,
    /// Since when the brokers do not know the topic.
    unknown_since: Option<Instant>,
}

struct Handle {
    endpoint: Endpoint,
    orders: Sender<Track>,
    thread: JoinHandle<()>,
}

/// Why reading ends.
enum End {
    Stop(Stop),
    /// It can't be read natively, for a reason, which is this error where nobody else may read.
    Unsupported(String, Error),
}

impl<T: Into<Stop>> From<T> for End {
    fn from(stop: T) -> Self {
        Self::Stop(stop.into())
    }
}

impl NativeReader {
    /// Returns a reader of `assignments`, and if it `follows` the topics, of partitions that are added later.
    pub(in crate::kafka) fn new(
        network: ReaderNetwork,
        shared: Arc<Shared>,
        assignments: Vec<Assignment>,
        intake: Intake,
        added: Receiver<Assignment>,
        follows: bool,
    ) -> Self {
        let (ReaderNetwork(network), options) = (network, &shared.options);
        let mut reader = Self {
            health: Arc::new(Health::new(options.connection.brokers(), &options.group, true)),
            asker: Asker::new(Arc::clone(&network)),
            network,
            shared,
            intake,
            added,
            follows,
            open: 0,
            waiting: Vec::new(),
            fetchers: BTreeMap::new(),
            retired: Vec::new(),
            reports: channel::unbounded(),
            unanswered: 0,
            is_known: false,
        };
        assignments.into_iter().for_each(|assignment| reader.add(assignment));
        reader
    }

    /// Reads until all partitions ended, the intake is closed, or reading failed, which is sent as an event.
    pub(in crate::kafka) fn run(mut self) {
        let (outcome, intake) = (self.read(), self.intake.clone());
        self.end_fetchers();
        let outcome = match outcome {
            Err(End::Unsupported(reason, error)) => self.fall_back(&reason, error),
            Err(End::Stop(stop)) => Err(stop),
            Ok(()) => Ok(()),
        };
        if let Err(Stop::Failed(error)) = outcome {
            // A closed intake no longer needs to know.
            let _ = intake.send(Event::Failed(error));
        }
    }

    fn read(&mut self) -> Result<(), End> {
        loop {
            if self.shared.stopping.load(Ordering::Relaxed) || self.intake.is_closed() {
                return Ok(());
            }
            while let Ok(assignment) = self.added.try_recv() {
                self.add(assignment);
            }
            self.health.check()?;
            self.check_fetchers()?;
            self.find_leaders()?;
            if self.open == 0 && !self.follows {
                return Ok(());
            }
            let next = self.waiting.iter().map(|waiting| waiting.due).min();
            let tick = next.map_or(TICK, |due| due.saturating_duration_since(Instant::now()).min(TICK));
            let mut report = self.reports.1.recv_timeout(tick).ok();
            while let Some(taken) = report {
                self.take(taken)?;
                report = self.reports.1.try_recv().ok();
            }
        }
    }

    /// Checks that all fetchers still read, or have said why not.
    fn check_fetchers(&mut self) -> Result<(), End> {
        let ended = self.fetchers.values().find(|handle| handle.thread.is_finished());
        let Some(endpoint) = ended.map(|handle| handle.endpoint.clone()) else {
            return Ok(());
        };
        while let Ok(report) = self.reports.1.try_recv() {
            self.take(report)?;
        }
        Err(self
            .health
            .connect_error(format!("the thread that reads from {endpoint} broke off"))
            .into())
    }

    fn add(&mut self, assignment: Assignment) {
        let ids = self.shared.topic_ids.get();
        let known = ids.and_then(|ids| ids.get(&*assignment.partition.stream));
        let lane = Lane::new(assignment, &self.shared);
        let mut track = Track::new(lane, self.network.settings.fetch.partition_bytes);
        track.topic_id = known.and_then(|id| decoded(id)).unwrap_or_default();
        self.open += 1;
        self.waiting.push(Waiting::new(track));
    }

    /// Takes a fetcher's report in.
    fn take(&mut self, report: Report) -> Result<(), End> {
        let (track, why) = match report {
            Report::Ended => {
                self.open -= 1;
                return Ok(());
            }
            Report::Stopped(stop) => return Err(stop.into()),
            Report::Left(track, why) => (*track, why),
        };
        let mut waiting = Waiting::new(track);
        let track = &mut waiting.track;
        tracing::debug!(partition = %track.lane.partition, ?why, "a partition changes its fetcher");
        let was_replica = track.replica.take().is_some();
        match why {
            Why::Nearer(node) => track.replica = Some((node, Instant::now() + REPLICA_AGE)),
            Why::Dismissed => {}
            Why::OutOfRange => waiting.out_of_range = true,
            Why::Parted(offset) => return Err(stuck::replaced(&track.lane, offset).into()),
            Why::Unsupported(reason) => {
                let error = track.lane.error(&only_librdkafka(&reason));
                self.waiting.push(waiting);
                return Err(End::Unsupported(reason, error));
            }
            Why::Moved(_) if was_replica => {}
            Why::Moved(problem) => waiting.back_off(&self.network, &self.health, &problem),
            Why::Failed(failure) => {
                waiting.back_off(&self.network, &self.health, &failure.to_string());
                self.waiting.push(waiting);
                return self.judge(failure);
            }
        }
        self.waiting.push(waiting);
        Ok(())
    }

    /// Ends the job, or the native reading of it, by a failure that trying again does not mend.
    fn judge(&mut self, failure: Failure) -> Result<(), End> {
        match failure {
            Failure::Away(_) => {}
            Failure::Refused(code, problem) => {
                let code = if is_refusal(code) { code } else { Code::Authentication };
                self.health.report(code, &problem);
                self.health.check()?;
            }
            // A broker that stops in mid-handshake looks like this too, so only the first contact is final.
            Failure::Tls(_) if self.is_known => {}
            Failure::Tls(_) | Failure::Unsupported(_) => {
                let reason = failure.to_string();
                let error = self.health.connect_error(only_librdkafka(&reason));
                return Err(End::Unsupported(reason, error));
            }
        }
        Ok(())
    }

    /// Gives the partitions that are due to the fetchers of their brokers.
    fn find_leaders(&mut self) -> Result<(), End> {
        let now = Instant::now();
        let mut due: Vec<_> = self.waiting.extract_if(.., |waiting| waiting.due <= now).collect();
        let outcome = self.place(&mut due);
        self.waiting.append(&mut due);
        if self.waiting.is_empty() {
            self.asker.rest();
        }
        outcome
    }

    /// Takes out of `due` what was placed.
    fn place(&mut self, due: &mut Vec<Waiting>) -> Result<(), End> {
        for waiting in due.iter_mut().filter(|waiting| waiting.out_of_range) {
            self.help(waiting)?;
        }
        for mut ended in due.extract_if(.., |waiting| waiting.track.lane.is_done()) {
            ended.track.lane.finish(&self.intake)?;
            self.open -= 1;
        }
        let is_ready = |waiting: &&Waiting| !waiting.out_of_range;
        let topics = due
            .iter()
            .filter(is_ready)
            .map(|waiting| Arc::clone(&waiting.track.lane.partition.stream));
        let topics: BTreeSet<Arc<str>> = topics.collect();
        if topics.is_empty() {
            return Ok(());
        }
        let metadata = match self.asker.ask(&topics) {
            Ok(metadata) => metadata,
            Err(failure) => {
                if let Failure::Away(problem) = &failure {
                    self.health.report(Code::AllBrokersDown, problem);
                }
                self.unanswered += 1;
                let pause = self.network.pause(self.unanswered);
                due.iter_mut().for_each(|waiting| waiting.due = Instant::now() + pause);
                return self.judge(failure);
            }
        };
        self.unanswered = 0;
        self.is_known = true;
        self.health.answered();
        for mut waiting in mem::take(due) {
            match waiting.out_of_range {
                true => due.push(waiting),
                false => match self.leader(&metadata, &mut waiting)? {
                    Some(node) => self.order(node, &metadata, waiting, due)?,
                    None => due.push(waiting),
                },
            }
        }
        Ok(())
    }

    /// Finds out why a partition does not have what is to be read next.
    fn help(&self, waiting: &mut Waiting) -> Result<(), End> {
        let track = &mut waiting.track;
        match stuck::outlook(&self.shared, &track.lane)? {
            Outlook::Unanswered => {
                waiting.due = Instant::now() + self.network.pause(1);
                return Ok(());
            }
            Outlook::Whole(span) if track.whole >= stuck::WHOLE_MAX => {
                return Err(track.lane.error(&stuck::puzzle("the reader", span)).into());
            }
            Outlook::Whole(_) => track.whole += 1,
            Outlook::Resume(position) => {
                track.lane.position = position.min(track.lane.end);
                track.whole = 0;
                track.lane.flush(&self.intake)?;
            }
        }
        track.ahead = track.lane.position;
        waiting.out_of_range = false;
        Ok(())
    }

    /// Returns who is to be asked for a partition; `None` while no one is.
    fn leader(&self, metadata: &Metadata, waiting: &mut Waiting) -> Result<Option<i32>, End> {
        let Waiting { track, .. } = waiting;
        let partition = &track.lane.partition;
        let topic = metadata.topics.iter().find(|topic| *topic.name == *partition.stream);
        let error = topic.map_or(Some(Code::UnknownTopicOrPartition), |topic| topic.error);
        match error {
            None => waiting.unknown_since = None,
            Some(code) if is_refusal(code) => {
                let problem = format!("refused to read {partition}: {code}");
                return Err(self.health.connect_error(problem).into());
            }
            Some(Code::UnknownTopicOrPartition) => {
                let since = *waiting.unknown_since.get_or_insert_with(Instant::now);
                if since.elapsed() > UNKNOWN_PATIENCE {
                    return Err(track.lane.error(stuck::DELETED).into());
                }
            }
            Some(_) => {}
        }
        let leader = topic.and_then(|topic| topic.partitions.get(&partition.index));
        if let Some(topic) = topic.filter(|topic| topic.id != [0; 16]) {
            check_id(track, topic.id)?;
        }
        match leader {
            Some(&Leader { node, epoch }) if metadata.brokers.contains_key(&node) => {
                track.leader_epoch = epoch;
                let replica = track.replica.map(|(node, _)| node);
                Ok(Some(
                    replica
                        .filter(|node| metadata.brokers.contains_key(node))
                        .unwrap_or(node),
                ))
            }
            _ => {
                waiting.back_off(&self.network, &self.health, "the partition has no leader");
                Ok(None)
            }
        }
    }

    /// Gives a partition to the fetcher of a broker, which is started if it is not there.
    fn order(&mut self, node: i32, metadata: &Metadata, waiting: Waiting, due: &mut Vec<Waiting>) -> Result<(), End> {
        let endpoint = metadata.brokers[&node].clone();
        let is_there = |handle: &Handle| handle.endpoint == endpoint && !handle.thread.is_finished();
        let handle = match self.fetchers.remove(&node) {
            Some(handle) if is_there(&handle) => handle,
            other => {
                self.retired.extend(other.map(|handle| handle.thread));
                let started = self.start(node, endpoint);
                started.map_err(|problem| waiting.track.lane.error(&format!("no thread for it: {problem}")))?
            }
        };
        if let Err(unsent) = handle.orders.send(waiting.track) {
            due.push(Waiting::new(unsent.into_inner()));
        }
        self.fetchers.insert(node, handle);
        Ok(())
    }

    fn start(&self, node: i32, endpoint: Endpoint) -> std::io::Result<Handle> {
        let (orders, received) = channel::unbounded();
        let (options, settings) = (&self.shared.options, &self.network.settings);
        let fetcher = Fetcher {
            network: Arc::clone(&self.network),
            health: Arc::clone(&self.health),
            intake: self.intake.clone(),
            node,
            endpoint: endpoint.clone(),
            read_committed: options.read_committed,
            decoder: RecordsDecoder::new(DecodeOptions {
                check_crcs: settings.fetch.check_crcs,
                read_committed: options.read_committed,
                headers: options.columns.contains(&KafkaColumn::Headers),
                batch_bytes_max: settings.answer_bytes_max,
            }),
            orders: received,
            reports: self.reports.0.clone(),
            tracks: Vec::new(),
            link: None,
            buffer: Vec::new(),
            paused: None,
            answers: 0,
        };
        let name = format!("kafka-fetch-{node}");
        let thread = thread::Builder::new().name(name).spawn(move || fetcher.run())?;
        Ok(Handle {
            endpoint,
            orders,
            thread,
        })
    }

    /// Ends the fetchers; what they have waits again then.
    fn end_fetchers(&mut self) {
        self.network.sockets.close();
        let fetchers = mem::take(&mut self.fetchers).into_values();
        let threads: Vec<_> = fetchers
            .map(|handle| handle.thread)
            .chain(self.retired.drain(..))
            .collect();
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a Kafka fetcher thread panicked");
            }
        }
        for report in self.reports.1.try_iter() {
            match report {
                Report::Ended => self.open -= 1,
                Report::Left(track, _) => self.waiting.push(Waiting::new(*track)),
                // Another one said it first.
                Report::Stopped(_) => {}
            }
        }
    }

    /// Has librdkafka go on, if that is wanted.
    fn fall_back(self, reason: &str, error: Error) -> Result<(), Stop> {
        if self.shared.options.client == Client::Native {
            return Err(error.into());
        }
        self.shared.say_librdkafka_reads(reason);
        debug_assert_eq!(
            self.waiting.len(),
            self.open,
            "all partitions that have not ended were handed back"
        );
        let assignment = |waiting: Waiting| Assignment {
            position: waiting.track.lane.position,
            end: waiting.track.lane.bound(),
            partition: waiting.track.lane.partition,
        };
        let assignments = self.waiting.into_iter().map(assignment).collect();
        let reader = Reader::new(self.shared, assignments, self.intake, self.added, self.follows)?;
        reader.run();
        Ok(())
    }
}

impl Waiting {
    fn new(track: Track) -> Self {
        Self {
            track,
            due: Instant::now(),
            out_of_range: false,
            unknown_since: None,
        }
    }

    /// Waits the longer, the more often it failed.
    fn back_off(&mut self, network: &Network, health: &Health, problem: &str) {
        self.track.failures += 1;
        self.due = Instant::now() + network.pause(self.track.failures);
        if self.track.failures == FAILURES_TOLD {
            let reason = format!("{}: {problem}", self.track.lane.partition);
            health.report(Code::AllBrokersDown, &reason);
        }
    }
}

impl Network {
    /// Returns how long to wait after so many failures in a row.
    fn pause(&self, failures: u32) -> Duration {
        let doubled = self
            .settings
            .backoff
            .saturating_mul(1 << failures.saturating_sub(1).min(16));
        doubled.min(self.settings.backoff_max)
    }
}

/// Returns what is said where only the native client may read, and can't.
fn only_librdkafka(reason: &str) -> String {
    format!("{reason} (with the client `auto` or `librdkafka` it may be read)")
}

/// Returns an id that is written as Kafka's tools do; `None` when it is no such text.
fn decoded(id: &str) -> Option<TopicId> {
    BASE64.decode(id).ok()?.try_into().ok()
}

/// Checks that a topic is the one that it was before.
fn check_id(track: &mut Track, id: TopicId) -> Result<(), Error> {
    let was = mem::replace(&mut track.topic_id, id);
    if was == [0; 16] || was == id {
        return Ok(());
    }
    let (was, is) = (BASE64.encode(was), BASE64.encode(id));
    Err(stuck::recreated(&track.lane.partition.stream, &was, &is))
}
