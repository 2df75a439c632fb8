//! Ranges of offsets, many at a time: topics are looked at once, and each range is then read by a reader of its own.
//!
//! No consumer group is joined, and no offset committed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Once, OnceLock};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{self as channel, Sender};
use engine::pipeline::Stop;
use engine::position::{OffsetRange, Partition, Positions};
use engine::source::{Intake, SourceState};
use engine::{Error, Result};

use super::bounds::{self, Loss, examine};
use super::cluster::{Cluster, PATIENCE, Survey};
use super::gaps::{self, Cause, Explained};
use super::lane::{Assignment, Shared};
use super::options::SourceOptions;
use super::pattern::TopicPattern;
use super::reader::Reader;
use super::source::{chosen, commit_last, lift_ends, native};
use super::watcher::Watcher;
use super::wire::{Native, NativeReader, ReaderNetwork};

/// Offsets of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionRange {
    /// The partition.
    pub partition: Partition,
    /// The offsets, half-open.
    pub offsets: OffsetRange,
}

/// Topics of which ranges of offsets are read. Many threads may do so at once.
pub struct Ranges {
    shared: Arc<Shared>,
    pattern: Option<TopicPattern>,
    native: Option<Native>,
    watching: Option<(Sender<()>, JoinHandle<()>)>,
}

/// A range that is being read. Dropping it ends the reading; the receiver of its intake is to be dropped before.
pub struct Reading {
    network: Option<ReaderNetwork>,
    thread: Option<JoinHandle<()>>,
}

impl Ranges {
    /// Looks at the cluster, and chooses the topics if they are given by a pattern.
    ///
    /// # Errors
    /// When the options contradict each other, the brokers can't be reached, or no topic matches.
    pub fn open(mut options: SourceOptions) -> Result<Self> {
        options.check()?;
        let pattern = options.topic_pattern.as_deref().map(TopicPattern::new).transpose()?;
        let cluster = Cluster::new(&options.connection, &options.group, options.read_committed)?;
        options.topics = chosen(&options, pattern.as_ref(), &cluster)?;
        let shared = Arc::new(Shared {
            schema: options.schema(),
            options,
            cluster,
            stopping: AtomicBool::new(false),
            offsets_lost: AtomicU64::new(0),
            topic_ids: OnceLock::new(),
            fallback: Once::new(),
        });
        Ok(Self {
            native: native(&shared),
            shared,
            pattern,
            watching: None,
        })
    }

    /// Returns whether the pattern of the topics, if there is one, would choose others now.
    ///
    /// # Errors
    /// When the brokers do not answer, or there is no such topic any more.
    pub fn is_outdated(&self) -> Result<bool> {
        let Shared { options, cluster, .. } = &*self.shared;
        Ok(self.pattern.is_some() && chosen(options, self.pattern.as_ref(), cluster)? != options.topics)
    }

    /// Commits the group's offsets, for those who watch how far it is behind. The next commit covers one that fails.
    ///
    /// # Errors
    /// When the brokers refuse us.
    pub fn acknowledge(&self, positions: &Positions) -> Result<()> {
        self.shared.cluster.commit(positions)
    }

    /// Waits until the group's offsets are committed.
    pub fn acknowledge_last(&self, positions: &Positions) {
        commit_last(&self.shared, positions);
    }

    /// Returns the cluster's id, where the brokers tell.
    pub fn cluster_id(&self) -> Option<String> {
        self.shared.cluster.id(PATIENCE)
    }

    /// Returns what the options' start and end are as offsets now, and the ids of the topics.
    ///
    /// # Errors
    /// When a topic or an offset is not there, or a start is after its end.
    pub fn bounds(&self) -> Result<(Vec<PartitionRange>, BTreeMap<String, String>)> {
        let (options, cluster) = (&self.shared.options, &self.shared.cluster);
        let survey = cluster.survey(&options.topics)?;
        let state = bounds::fresh(options, &survey, cluster)?;
        let ends = state.ends.unwrap_or_default();
        let range = |(partition, from): (Partition, i64)| {
            let to = ends.get(&partition).unwrap_or(from);
            PartitionRange {
                partition,
                offsets: OffsetRange { from, to },
            }
        };
        Ok((state.positions.0.into_iter().map(range).collect(), survey.ids))
    }

    /// Returns what the options' end is as offsets now, of partitions that are known to go up to `known`, and the ids of the
    /// topics. Partitions that are not known were added since, and start with their first record; a known one that ends before
    /// that gets a range that goes back.
    ///
    /// # Errors
    /// When a topic or an offset is not there.
    pub fn renewed_bounds(&self, known: &Positions) -> Result<(Vec<PartitionRange>, BTreeMap<String, String>)> {
        let (options, cluster) = (&self.shared.options, &self.shared.cluster);
        let survey = cluster.survey(&options.topics)?;
        let ends = bounds::renewed_ends(&Positions::default(), options, &survey, cluster)?.unwrap_or_default();
        let range = |(partition, to): (Partition, i64)| {
            let offsets = match (known.get(&partition), survey.spans.get(&partition)) {
                (Some(from), _) => OffsetRange { from, to },
                (None, span) => {
                    let from = span.map_or(to, |span| span.low);
                    OffsetRange { from, to: to.max(from) }
                }
            };
            PartitionRange { partition, offsets }
        };
        Ok((ends.0.into_iter().map(range).collect(), survey.ids))
    }

    /// Returns what of `pending` can still be read, of topics that had the ids `ids`.
    ///
    /// # Errors
    /// [`Error::DataLoss`] with all ranges that are gone, when the policy is to fail; when the brokers do not answer.
    pub fn still_there(
        &self,
        ids: &BTreeMap<String, String>,
        pending: &[PartitionRange],
    ) -> Result<Vec<PartitionRange>> {
        let options = &self.shared.options;
        let survey = self.survey(ids, pending)?;
        let identity = bounds::identity(ids, options)?;
        let (mut losses, mut left) = (Vec::<Loss>::new(), Vec::new());
        for range in pending {
            let Some(loss) = loss_of(range, &survey, &identity) else {
                left.push(range.clone());
                continue;
            };
            if let (Some(from), Some(to)) = (loss.position, loss.end)
                && from < to
            {
                left.push(PartitionRange {
                    partition: range.partition.clone(),
                    offsets: OffsetRange { from, to },
                });
            }
            match losses.last_mut().filter(|last| follows(last, &loss)) {
                Some(last) => last.lost.offsets.to = loss.lost.offsets.to,
                None => losses.push(loss),
            }
        }
        bounds::judge(options.on_data_loss, &losses)?;
        Ok(left)
    }

    /// Looks now and then whether the topics are still those with the ids `ids`; if not, an event of failure is sent.
    ///
    /// # Errors
    /// When there is no thread for it.
    pub fn watch(&mut self, ids: BTreeMap<String, String>, intake: Intake) -> Result<()> {
        let (watching, stop) = channel::bounded(0);
        // The ids of one archive: they are the same if they were set before.
        let _ = self.shared.topic_ids.set(ids.clone());
        let watcher = Watcher {
            topics: self.shared.options.topics.clone(),
            pattern: None,
            shared: Arc::clone(&self.shared),
            intake,
            ids,
            known: Default::default(),
            readers: Vec::new(),
            stop,
        };
        let thread = spawn("kafka-watcher".to_owned(), "topics", move || watcher.run())?;
        self.watching = Some((watching, thread));
        Ok(())
    }

    /// Starts to read a range. Events come as from a source, up to the partition's end, which is that of the range.
    ///
    /// # Errors
    /// When reading can't start.
    pub fn read(&self, range: &PartitionRange, intake: Intake) -> Result<Reading> {
        let PartitionRange { partition, offsets } = range;
        let assignment = Assignment {
            partition: partition.clone(),
            position: offsets.from,
            end: Some(offsets.to),
        };
        let (_, added) = channel::unbounded();
        let (shared, input) = (Arc::clone(&self.shared), partition.to_string());
        let name = format!("kafka-reader-{}", partition.index);
        let Some(native) = &self.native else {
            let reader = Reader::new(shared, vec![assignment], intake, added, false)?;
            let thread = Some(spawn(name, &input, move || reader.run())?);
            return Ok(Reading { network: None, thread });
        };
        let network = native.network()?;
        let reader = NativeReader::new(network.clone(), shared, vec![assignment], intake, added, false);
        let thread = Some(spawn(name, &input, move || reader.run())?);
        let network = Some(network);
        Ok(Reading { network, thread })
    }

    /// Says of each offset of `gaps` what the partition has there, run by run, in order. The gaps are in order, apart from each
    /// other, not empty, and before the partition's end.
    ///
    /// # Errors
    /// When the brokers do not answer, or refuse; when a batch is damaged.
    pub fn explain_gaps(
        &self,
        partition: &Partition,
        gaps: &[OffsetRange],
        stop: &Stop,
        found: impl FnMut(Cause, OffsetRange),
    ) -> Result<Explained> {
        let native = self.native.as_ref().ok_or_else(|| {
            let refused = Native::new(&self.shared.options.connection).err();
            refused.unwrap_or_else(|| "librdkafka reads".to_owned())
        });
        gaps::explain(&self.shared, native, partition, gaps, stop, found)
    }

    /// Returns what the brokers hold. A topic that is gone is left out.
    fn survey(&self, ids: &BTreeMap<String, String>, pending: &[PartitionRange]) -> Result<Survey> {
        let (options, cluster) = (&self.shared.options, &self.shared.cluster);
        let mut partitions = Vec::new();
        for topic in &options.topics {
            let count = cluster.partition_count(topic, PATIENCE)?.unwrap_or(0);
            partitions.extend((0..count).map(|index| Partition::new(topic.as_str(), index)));
        }
        let mut survey = Survey {
            spans: cluster.spans(&partitions, PATIENCE)?,
            ids: cluster.ids(&options.topics, PATIENCE),
        };
        let mut reach = Positions::default();
        for range in pending {
            reach.advance(&range.partition, range.offsets.to);
        }
        let recorded = SourceState {
            positions: reach,
            ends: None,
            identity: bounds::identity(ids, options)?,
        };
        lift_ends(options, &mut survey, &recorded)?;
        Ok(survey)
    }
}

impl Reading {
    /// Returns whether the reader has ended: whatever it had to say is in the intake.
    pub fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Ranges {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        if let Some((watching, thread)) = self.watching.take() {
            drop(watching);
            if thread.join().is_err() {
                tracing::error!("the Kafka watcher thread panicked");
            }
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if let Some(network) = &self.network {
            network.close();
        }
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("a Kafka reader thread panicked");
        }
    }
}

/// Returns what of a range is gone.
fn loss_of(range: &PartitionRange, survey: &Survey, identity: &serde_json::Value) -> Option<Loss> {
    let PartitionRange { partition, offsets } = range;
    let at = |offset| Positions([(partition.clone(), offset)].into());
    let state = SourceState {
        positions: at(offsets.from),
        ends: Some(at(offsets.to)),
        identity: identity.clone(),
    };
    let mut loss = bounds::losses(&state, survey).pop()?;
    // What is between the partition's end and the range is no part of it.
    if let Some(&span) = survey.spans.get(partition).filter(|span| span.high < offsets.from)
        && loss.lost.offsets.to == offsets.from
    {
        loss = examine(partition, span.high, Some(offsets.to), span)?;
        loss.lost.offsets.from = offsets.from;
        loss.position = None;
    }
    Some(loss)
}

/// Returns whether what is lost goes on where `last` ends, for the same reason.
fn follows(last: &Loss, loss: &Loss) -> bool {
    let (last, next) = (&last.lost, &loss.lost);
    last.partition == next.partition && last.offsets.to == next.offsets.from && last.cause == next.cause
}

fn spawn(name: String, input: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    thread::Builder::new()
        .name(name)
        .spawn(body)
        .map_err(|error| Error::Source {
            input: input.to_owned(),
            problem: format!("no thread for it: {error}"),
        })
}

#[cfg(test)]
mod tests {
    use super::super::cluster::Span;
    use super::super::config::Connection;
    use super::*;

    fn range(from: i64, to: i64) -> PartitionRange {
        PartitionRange {
            partition: Partition::new("access", 0),
            offsets: OffsetRange { from, to },
        }
    }

    /// Returns what is lost of a range when the partition holds the offsets `[low, high)`, and what is left.
    fn loss(pending: &PartitionRange, low: i64, high: i64) -> Option<(i64, i64, Option<i64>)> {
        let survey = Survey {
            spans: [(Partition::new("access", 0), Span { low, high })].into(),
            ids: [("access".to_owned(), "id-1".to_owned())].into(),
        };
        let options = SourceOptions::new(Connection::new("localhost:1"), vec!["access".into()], "g");
        let identity = bounds::identity(&survey.ids, &options).expect("plain ids");
        let loss = loss_of(pending, &survey, &identity)?;
        Some((loss.lost.offsets.from, loss.lost.offsets.to, loss.position))
    }

    #[test]
    fn only_the_offsets_of_the_range_are_lost() {
        assert_eq!(loss(&range(10, 20), 0, 20), None);
        assert_eq!(loss(&range(10, 20), 15, 30), Some((10, 15, Some(15))));
        assert_eq!(loss(&range(10, 20), 25, 30), Some((10, 20, Some(20))));
        assert_eq!(loss(&range(10, 20), 0, 17), Some((17, 20, Some(10))));
        assert_eq!(
            loss(&range(10, 20), 0, 5),
            Some((10, 20, None)),
            "and not [5, 10), which was read"
        );
    }
}
