//! How far the event time of each partition is, and the watermark that follows from it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::EventTime;
use crate::checkpoint::TimeState;
use crate::position::Partition;

/// The watermark of a job: see [`EventTime`].
#[derive(Debug)]
pub(super) struct EventClock {
    lateness_micros: i64,
    /// After which silence a partition does not hold the watermark back; `None` in a bounded run.
    idle: Option<Duration>,
    partitions: BTreeMap<Partition, Progress>,
    watermark_micros: Option<i64>,
}

#[derive(Debug)]
struct Progress {
    newest_micros: Option<i64>,
    /// When the last row came, or the partition became known.
    seen_at: Duration,
}

impl EventClock {
    /// Returns the clock of a run that begins `now` where `state` was.
    pub(super) fn new(time: &EventTime, state: &TimeState, bounded: bool, now: Duration) -> Self {
        let progress = |&(ref partition, newest): &(Partition, i64)| {
            let progress = Progress {
                newest_micros: Some(newest),
                seen_at: now,
            };
            (partition.clone(), progress)
        };
        Self {
            lateness_micros: i64::try_from(time.lateness.as_micros()).unwrap_or(i64::MAX),
            idle: (!bounded).then_some(time.idle),
            partitions: state.newest_micros.iter().map(progress).collect(),
            watermark_micros: state.watermark_micros,
        }
    }

    /// Returns the event time before which no row is expected any more.
    pub(super) fn watermark_micros(&self) -> Option<i64> {
        self.watermark_micros
    }

    /// Takes in the newest event times of the rows that came since the last call; `open` are the partitions that have not
    /// ended. Returns whether the watermark has moved.
    pub(super) fn advance(
        &mut self,
        newest: BTreeMap<Partition, i64>,
        open: &BTreeSet<Partition>,
        now: Duration,
    ) -> bool {
        for (partition, micros) in newest {
            let progress = self.partitions.entry(partition).or_insert_with(|| Progress::new(now));
            progress.newest_micros = progress.newest_micros.max(Some(micros));
            progress.seen_at = now;
        }
        for partition in open {
            if !self.partitions.contains_key(partition) {
                self.partitions.insert(partition.clone(), Progress::new(now));
            }
        }
        let waits = |progress: &&Progress| self.idle.is_none_or(|idle| now.saturating_sub(progress.seen_at) < idle);
        let waited_for = open.iter().map(|partition| &self.partitions[partition]).filter(waits);
        // A partition that has shown no row yet may show any: `None` is less than all times.
        let least = match open.is_empty() {
            false => waited_for.map(|progress| progress.newest_micros).min().flatten(),
            // All have ended, for now: a run with a later end finds the watermark where a run without end would have it.
            true => self
                .partitions
                .values()
                .filter_map(|progress| progress.newest_micros)
                .min(),
        };
        let watermark = least.map(|least| least.saturating_sub(self.lateness_micros));
        let has_moved = watermark > self.watermark_micros;
        if has_moved {
            self.watermark_micros = watermark;
        }
        has_moved
    }

    /// Returns what a checkpoint keeps.
    pub(super) fn state(&self) -> TimeState {
        let newest =
            |(partition, progress): (&Partition, &Progress)| Some((partition.clone(), progress.newest_micros?));
        TimeState {
            watermark_micros: self.watermark_micros,
            newest_micros: self.partitions.iter().filter_map(newest).collect(),
        }
    }
}

impl Progress {
    fn new(now: Duration) -> Self {
        Self {
            newest_micros: None,
            seen_at: now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn partition(index: i32) -> Partition {
        Partition::new("logs", index)
    }

    fn open(indices: &[i32]) -> BTreeSet<Partition> {
        indices.iter().map(|&index| partition(index)).collect()
    }

    fn clock(bounded: bool) -> EventClock {
        let time = EventTime {
            column: "time".to_owned(),
            lateness: Duration::from_micros(10),
            idle: 5 * SECOND,
        };
        EventClock::new(&time, &TimeState::default(), bounded, Duration::ZERO)
    }

    /// Lets the partitions' rows come after `seconds`, and compares the watermark.
    #[track_caller]
    fn check(clock: &mut EventClock, seconds: u32, rows: &[(i32, i64)], still_open: &[i32], expected: Option<i64>) {
        let before = clock.watermark_micros();
        let newest = rows.iter().map(|&(index, micros)| (partition(index), micros)).collect();
        let has_moved = clock.advance(newest, &open(still_open), seconds * SECOND);
        assert_eq!(clock.watermark_micros(), expected);
        assert_eq!(has_moved, before != expected);
    }

    #[test]
    fn the_slowest_partition_holds_the_watermark_and_it_never_goes_back() {
        let mut clock = clock(false);
        check(&mut clock, 0, &[(0, 100)], &[0, 1], None);
        check(&mut clock, 1, &[(1, 50)], &[0, 1], Some(40));
        check(&mut clock, 2, &[(1, 90), (0, 70)], &[0, 1], Some(80));
        check(&mut clock, 3, &[(2, 20)], &[0, 1, 2], Some(80));
        check(&mut clock, 4, &[(1, 300), (0, 300), (2, 200)], &[0, 1, 2], Some(190));
    }

    #[test]
    fn when_all_partitions_have_ended_the_slowest_says_where_a_longer_run_goes_on() {
        let mut clock = clock(true);
        check(&mut clock, 0, &[(0, 100), (1, 70)], &[0, 1, 2], None);
        check(&mut clock, 1, &[(0, 200)], &[], Some(60));
    }

    #[test]
    fn a_silent_partition_holds_it_until_it_is_idle() {
        let mut clock = clock(false);
        check(&mut clock, 0, &[(0, 100)], &[0, 1], None);
        check(&mut clock, 4, &[(0, 200)], &[0, 1], None);
        check(&mut clock, 5, &[], &[0, 1], Some(190));
        check(&mut clock, 20, &[], &[0, 1], Some(190));
        check(&mut clock, 21, &[(1, 150)], &[0, 1], Some(190));
        check(&mut clock, 22, &[(1, 350)], &[0, 1], Some(340));
    }

    #[test]
    fn in_a_bounded_run_a_silent_partition_is_waited_for_until_it_ends() {
        let mut clock = clock(true);
        check(&mut clock, 0, &[(0, 100)], &[0, 1], None);
        check(&mut clock, 1000, &[(0, 200)], &[0, 1], None);
        check(&mut clock, 1001, &[], &[0], Some(190));
        check(&mut clock, 1002, &[], &[], Some(190));
    }

    #[test]
    fn a_restart_goes_on_with_the_watermark_and_the_newest_times() {
        let mut first = clock(false);
        check(&mut first, 0, &[(0, 100), (1, 60)], &[0, 1], Some(50));
        let time = EventTime {
            column: "time".to_owned(),
            lateness: Duration::from_micros(30),
            idle: SECOND,
        };
        let mut second = EventClock::new(&time, &first.state(), false, 100 * SECOND);
        assert_eq!(second.state(), first.state());
        check(&mut second, 100, &[], &[0, 1], Some(50));
        check(&mut second, 101, &[(1, 200)], &[0, 1], Some(170));
    }
}
