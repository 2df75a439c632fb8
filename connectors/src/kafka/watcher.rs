//! The watcher thread: notices partitions and matching topics that are added, and topics that are deleted or recreated,
//! while a job runs, and tells where the partitions end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use engine::Result;
use engine::position::{Partition, Positions};
use engine::source::{Event, Intake};

use super::lane::{Assignment, Shared};
use super::pattern::TopicPattern;
use super::stuck::{self, DELETED};

/// How long one question may take; a question without an answer is asked again at the next interval.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often the partitions' ends are asked for: lag is for people, and a question costs the brokers little.
const ENDS_INTERVAL: Duration = Duration::from_secs(2);

/// How often in a row a topic must be unknown before it counts as deleted: a broker that just started may not know it.
const UNKNOWN_MAX: u32 = 2;

/// Asks for the topics' metadata now and then.
pub(super) struct Watcher {
    pub(super) shared: Arc<Shared>,
    pub(super) intake: Intake,
    /// The topics that are read.
    pub(super) topics: Vec<String>,
    /// Which further topics belong to them.
    pub(super) pattern: Option<TopicPattern>,
    /// The ids that the topics had when they were first seen.
    pub(super) ids: BTreeMap<String, String>,
    /// The partitions that are read.
    pub(super) known: BTreeSet<Partition>,
    /// The readers, who take new partitions in turn; empty for a bounded job, which takes none.
    pub(super) readers: Vec<Sender<Assignment>>,
    /// Disconnected when the thread should end.
    pub(super) stop: Receiver<()>,
}

impl Watcher {
    /// Watches until the source stops, or a topic is gone, which is sent as an event.
    pub(super) fn run(mut self) {
        let interval = self.shared.options.metadata_interval;
        let mut unknown = BTreeMap::new();
        let mut looked_at = Instant::now();
        self.tell_ends();
        while self.stop.recv_timeout(interval.min(ENDS_INTERVAL)) == Err(RecvTimeoutError::Timeout) {
            if self.intake.is_closed() || self.shared.stopping.load(Ordering::Relaxed) {
                return;
            }
            if looked_at.elapsed() >= interval {
                looked_at = Instant::now();
                if let Err(error) = self.look(&mut unknown) {
                    // A closed intake no longer needs to know.
                    let _ = self.intake.send(Event::Failed(error));
                    return;
                }
            }
            self.tell_ends();
        }
    }

    /// Tells where the partitions end, if the brokers say so now.
    fn tell_ends(&self) {
        let partitions: Vec<Partition> = self.known.iter().cloned().collect();
        match self.shared.cluster.ends(&partitions, PATIENCE) {
            Ok(ends) => {
                // A closed intake no longer needs to know.
                let ends = Positions(ends);
                let _ = self.intake.send(Event::Latest { ends });
            }
            // The readers say when the brokers are away.
            Err(error) => tracing::debug!(%error, "no ends of partitions"),
        }
    }

    fn look(&mut self, unknown: &mut BTreeMap<String, u32>) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        self.find_topics(&shared);
        for topic in &self.topics.clone() {
            let count = match shared.cluster.partition_count(topic, PATIENCE) {
                Ok(count) => count,
                Err(error) => {
                    // The readers say when the brokers are away.
                    tracing::debug!(topic, %error, "no metadata");
                    return Ok(());
                }
            };
            let Some(count) = count else {
                let times = unknown.entry(topic.clone()).or_default();
                *times += 1;
                if *times >= UNKNOWN_MAX {
                    return Err(stuck::gone(topic, DELETED));
                }
                continue;
            };
            unknown.remove(topic);
            self.add(topic, count)?;
        }
        self.compare_ids(&shared)
    }

    /// Adds the topics that are new and match the pattern. A bounded job takes none.
    fn find_topics(&mut self, shared: &Shared) {
        let Some(pattern) = self.pattern.as_ref().filter(|_| !self.readers.is_empty()) else {
            return;
        };
        match shared.cluster.topic_names(PATIENCE) {
            Ok(names) => {
                let is_new = |name: &String| pattern.matches(name) && !self.topics.contains(name);
                let new: Vec<String> = names.into_iter().filter(is_new).collect();
                self.topics.extend(new);
            }
            // The readers say when the brokers are away.
            Err(error) => tracing::debug!(%error, "no metadata"),
        }
    }

    fn compare_ids(&mut self, shared: &Shared) -> Result<()> {
        let now = shared.cluster.ids(&self.topics, PATIENCE);
        for (topic, is) in now {
            let was = self.ids.entry(topic.clone()).or_insert_with(|| is.clone());
            if *was != is {
                return Err(stuck::recreated(&topic, was, &is));
            }
        }
        Ok(())
    }

    /// Hands the partitions of `topic` that are new to the readers, after the driver knows of them.
    fn add(&mut self, topic: &str, count: i32) -> Result<()> {
        if self.readers.is_empty() {
            return Ok(());
        }
        let partitions = (0..count).map(|index| Partition::new(topic, index));
        let new: Vec<Partition> = partitions.filter(|partition| !self.known.contains(partition)).collect();
        let spans = match self.shared.cluster.spans(&new, PATIENCE) {
            Ok(spans) => spans,
            Err(error) => {
                tracing::debug!(topic, %error, "no offsets of new partitions");
                return Ok(());
            }
        };
        for (partition, span) in spans {
            let position = span.low;
            tracing::info!(%partition, position, "a partition was added");
            let reader = &self.readers[self.known.len() % self.readers.len()];
            let added = Event::Added {
                partition: partition.clone(),
                position,
            };
            if self.intake.send(added).is_err() {
                return Ok(());
            }
            // A reader that ended takes no more, and has said why.
            let _ = reader.send(Assignment {
                partition: partition.clone(),
                position,
                end: None,
            });
            self.known.insert(partition);
        }
        Ok(())
    }
}
