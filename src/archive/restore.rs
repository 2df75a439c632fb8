//! An archive goes back to a topic: the same records in the same partitions and order, each exactly once.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::time::{Duration, Instant, SystemTime};

use connectors::kafka::config::Connection;
use connectors::kafka::options::{End, Start};
use connectors::kafka::restore::{RestoreOptions, Restorer};
use connectors::kafka::topic::{self, CREATED_WITH, Topic};
use connectors::parquet::archive::Location;
use connectors::parquet::archived::PartitionRows;
use engine::metrics::Metrics;
use engine::pipeline::{Outcome, Stop};
use engine::{Error, OffsetRange, Positions, Result};

use super::lane::Lane;
use super::selection::Selection;

/// Partitions that are read at once, in turns, so that all leaders have something to do; each keeps a batch in memory.
const LANES_MAX: usize = 8;

/// Records of a partition in a row: a few of the client's batches.
const TURN_RECORDS: usize = 8192;

/// The longest sleep before a record is due: a stop is noticed after it.
const NAP: Duration = Duration::from_millis(50);

/// What goes where.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The archive.
    pub location: Location,
    /// Which of its topics; the only one if none is named.
    pub topic: Option<String>,
    /// The first records.
    pub from: Start,
    /// The first records that are left out.
    pub to: End,
    /// The cluster.
    pub connection: Connection,
    /// The topic to write to.
    pub to_topic: String,
    /// The group that keeps the positions.
    pub group: String,
    /// Whether the topic is made if it is not there.
    pub create: bool,
    /// How many times as fast as the records once came; `None` as fast as can be.
    pub speed: Option<f64>,
    /// How long a transaction takes records: what a crash does again, and how late readers see them.
    pub commit_interval: Duration,
}

/// A restore that is ready to run.
pub struct Restore {
    selection: Selection,
    restorer: Restorer,
    speed: Option<f64>,
    commit_interval: Duration,
    /// What is left of each partition.
    left: BTreeMap<i32, OffsetRange>,
    positions: BTreeMap<i32, i64>,
    /// What the user should know.
    notes: Vec<String>,
}

/// What a run has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// How it ended.
    pub outcome: Outcome,
    /// Whether a run before had begun.
    pub is_resumed: bool,
}

impl Plan {
    /// Reads what the archive holds, checks the topic, and takes over from other processes of the same group.
    ///
    /// # Errors
    /// When the archive can't be read, the topic is not fit for it, or the brokers can't be reached.
    pub fn prepare(self) -> Result<Restore> {
        let selection = Selection::new(&self.location, self.topic.as_deref(), &self.from, &self.to)?;
        let target = self.target(&selection)?;
        let notes = self.notes(&selection, &target);
        let options = RestoreOptions {
            connection: self.connection.clone(),
            topic: self.to_topic.clone(),
            group: self.group.clone(),
            origin: self.origin(&selection),
            partitions: selection.ranges.keys().copied().collect(),
            batch_bytes_max: target.settings.map(|settings| settings.batch_bytes_max),
        };
        let (restorer, kept) = Restorer::start(options)?;
        let mut left = selection.ranges.clone();
        for (index, range) in &mut left {
            range.from = kept.get(index).map_or(range.from, |&kept| kept.max(range.from));
        }
        Ok(Restore {
            positions: kept,
            selection,
            restorer,
            speed: self.speed,
            commit_interval: self.commit_interval,
            left,
            notes,
        })
    }

    /// Returns the topic to write to, made if it is to be.
    fn target(&self, selection: &Selection) -> Result<Topic> {
        let name = &self.to_topic;
        let highest = selection.ranges.keys().max().copied().unwrap_or(0);
        let needed = highest + 1;
        let found = match topic::look_up(&self.connection, name)? {
            None if self.create => {
                topic::create(&self.connection, name, needed)?;
                topic::look_up(&self.connection, name)?
            }
            found => found,
        };
        let target = found.ok_or_else(|| self.absent(needed))?;
        if target.partitions < needed {
            return Err(self.refused(format!(
                "it has {} partitions, and the archive of {} has records of partition {highest}: give it {needed}, or name \
                 another topic",
                target.partitions, selection.topic
            )));
        }
        match &target.settings {
            Some(settings) if !settings.keeps_time => Err(self.refused(
                "its message.timestamp.type is LogAppendTime, so that all records would get the present time: set it to \
                 CreateTime, or name another topic"
                    .to_owned(),
            )),
            _ => Ok(target),
        }
    }

    fn absent(&self, partitions: i32) -> Error {
        let settings = CREATED_WITH.map(|(name, value)| format!("--config {name}={value}"));
        self.refused(format!(
            "there is no such topic: add --create, or make it with kafka-topics.sh --bootstrap-server {} --create --topic {} \
             --partitions {partitions} {}",
            self.connection.brokers(),
            self.to_topic,
            settings.join(" ")
        ))
    }

    fn refused(&self, problem: String) -> Error {
        Error::Sink {
            output: format!("the topic `{}`", self.to_topic),
            problem,
        }
    }

    fn notes(&self, selection: &Selection, target: &Topic) -> Vec<String> {
        let name = &self.to_topic;
        let Some(settings) = &target.settings else {
            return vec![format!(
                "the settings of the topic {name} may not be read (allow DescribeConfigs on it): whether it keeps times and \
                 old records is not known"
            )];
        };
        let mut notes = Vec::new();
        let age = |micros: i64| {
            let time = SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(micros).unwrap_or(0));
            time.elapsed().unwrap_or_default()
        };
        let age = selection.oldest_micros().map(age).unwrap_or_default();
        if let Some(retention) = settings.retention.filter(|&retention| age > retention) {
            notes.push(format!(
                "the topic {name} keeps records for {}, and the archive has older ones, which the brokers will delete again: \
                 set its retention.ms to -1 to keep them",
                humantime::format_duration(retention)
            ));
        }
        if settings.is_compacted {
            notes.push(format!(
                "the topic {name} is compacted: the brokers will delete all but the last record of each key again"
            ));
        }
        notes
    }

    /// Returns what is restored, in words that are the same for the same records; the end may be another one later.
    fn origin(&self, selection: &Selection) -> String {
        let id = selection.topic_id.as_ref().map_or(String::new(), |id| format!(" {id}"));
        let from = match &self.from {
            Start::Offsets(_) | Start::Time(_) => {
                let starts = selection
                    .ranges
                    .iter()
                    .map(|(index, range)| format!("{index}:{}", range.from));
                format!(" from {}", starts.collect::<Vec<_>>().join(","))
            }
            _ => String::new(),
        };
        format!("topic {}{id}{from}", selection.topic)
    }
}

impl Restore {
    /// Returns what the user should know before the records go out.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Writes what is left, until `stop` is raised.
    ///
    /// # Errors
    /// When rows can't be read or written, or another process took over. What was committed stays; another run goes on.
    pub fn run(mut self, stop: &Stop, metrics: &Metrics) -> Result<Summary> {
        let is_resumed = !self.positions.is_empty();
        let bound = |bound: fn(&OffsetRange) -> i64| {
            let entry = |(&index, range): (&i32, &OffsetRange)| (self.selection.partition(index), bound(range));
            Positions(self.left.iter().map(entry).collect())
        };
        metrics.set_bounds(
            &bound(|range| range.from),
            Some(&bound(|range| range.to.max(range.from))),
        );
        self.left.retain(|_, range| range.from < range.to);
        let done = match self.speed {
            None => self.run_at_once(stop, metrics),
            Some(speed) => self.run_paced(speed, stop, metrics),
        };
        let done = done.and_then(|done| {
            if !self.left.is_empty() {
                self.restorer.settle(&self.positions)?;
            }
            Ok(done)
        });
        self.restorer.close();
        let outcome = match done? {
            true => Outcome::Finished,
            false => Outcome::Stopped,
        };
        Ok(Summary { outcome, is_resumed })
    }

    /// Writes partitions in turns; returns whether all is written.
    fn run_at_once(&mut self, stop: &Stop, metrics: &Metrics) -> Result<bool> {
        let mut waiting: VecDeque<i32> = self.left.keys().copied().collect();
        let mut lanes = VecDeque::new();
        let mut begun = Instant::now();
        loop {
            while lanes.len() < LANES_MAX
                && let Some(index) = waiting.pop_front()
            {
                lanes.push_back(self.lane(index)?);
            }
            let Some(mut lane) = lanes.pop_front() else {
                self.commit()?;
                return Ok(true);
            };
            for _ in 0..TURN_RECORDS {
                if !self.send_head(&mut lane, metrics)? {
                    break;
                }
            }
            self.reached(&lane, metrics);
            if lane.head().is_some() {
                lanes.push_back(lane);
            }
            if begun.elapsed() >= self.commit_interval || stop.is_raised() {
                self.commit()?;
                begun = Instant::now();
            }
            if stop.is_raised() && !(lanes.is_empty() && waiting.is_empty()) {
                return Ok(false);
            }
        }
    }

    /// Writes records of all partitions by their times, `speed` times as fast as they came; returns whether all is written.
    fn run_paced(&mut self, speed: f64, stop: &Stop, metrics: &Metrics) -> Result<bool> {
        let indices: Vec<_> = self.left.keys().copied().collect();
        let mut lanes = indices
            .iter()
            .map(|&index| self.lane(index))
            .collect::<Result<Vec<_>>>()?;
        for lane in &lanes {
            self.reached(lane, metrics);
        }
        let due = |lanes: &[Lane], at: usize| lanes[at].head().map(|_| Reverse((lanes[at].due_ms(), at)));
        let mut next: BinaryHeap<_> = (0..lanes.len()).filter_map(|at| due(&lanes, at)).collect();
        let first_ms = next.iter().filter_map(|Reverse((due, _))| *due).min();
        let (start, mut begun) = (Instant::now(), Instant::now());
        while let Some(&Reverse((due_ms, at))) = next.peek() {
            let wait = until(start, first_ms, due_ms, speed);
            if begun.elapsed() >= self.commit_interval || stop.is_raised() {
                self.commit()?;
                begun = Instant::now();
            }
            if stop.is_raised() {
                return Ok(false);
            }
            if !wait.is_zero() {
                self.restorer.serve()?;
                std::thread::sleep(wait.min(NAP));
                continue;
            }
            next.pop();
            self.send_head(&mut lanes[at], metrics)?;
            self.reached(&lanes[at], metrics);
            next.extend(due(&lanes, at));
        }
        self.commit()?;
        Ok(true)
    }

    fn lane(&self, index: i32) -> Result<Lane> {
        let range = self.left[&index];
        let rows = PartitionRows::new(&self.selection.partition(index), &self.selection.files, range);
        Lane::new(index, rows, range.from, range.to)
    }

    /// Sends the next record of a lane; returns whether there was one.
    fn send_head(&mut self, lane: &mut Lane, metrics: &Metrics) -> Result<bool> {
        let Some(record) = lane.head() else {
            return Ok(false);
        };
        self.restorer.send(lane.index, &record)?;
        metrics.rows_in.add(1);
        metrics.bytes_in.add(record.bytes() as u64);
        lane.advance()?;
        Ok(true)
    }

    fn reached(&mut self, lane: &Lane, metrics: &Metrics) {
        self.positions.insert(lane.index, lane.position());
        metrics.advance(&self.selection.partition(lane.index), lane.position());
    }

    /// Commits what was sent; nothing when nothing is left to do.
    fn commit(&mut self) -> Result<()> {
        match self.left.is_empty() {
            true => Ok(()),
            false => self.restorer.commit(&self.positions),
        }
    }
}

/// Returns how long to wait from now until a record of the time `due_ms` is due, if the first one of `first_ms` was at `start`.
fn until(start: Instant, first_ms: Option<i64>, due_ms: Option<i64>, speed: f64) -> Duration {
    let since = due_ms.zip(first_ms).map_or(0, |(due, first)| due.saturating_sub(first));
    let since = Duration::from_millis(u64::try_from(since).unwrap_or(0));
    // A time that no clock reaches is as good as never.
    let since = Duration::try_from_secs_f64(since.as_secs_f64() / speed).unwrap_or(Duration::MAX);
    since.saturating_sub(start.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_due_by_its_time_and_the_speed() {
        let start = Instant::now();
        let wait = |due_ms, speed| until(start, Some(1000), due_ms, speed).as_millis();
        assert!((9_000..=10_000).contains(&wait(Some(101_000), 10.0)));
        assert_eq!(wait(Some(900), 10.0), 0, "what is older than the first one is due");
        assert_eq!(wait(None, 10.0), 0, "what has no time is due");
        assert!(wait(Some(i64::MAX), 1e-300) > 1 << 60);
    }
}
