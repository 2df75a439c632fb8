//! How far the event time of each partition is, and the watermark that follows from it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::EventTime;
use crate::checkpoint::TimeState;
use crate::position::Partition;
use crate::source::SourceState;

/// The watermark of a job: see [`EventTime`].
#[derive(Debug)]
pub(super) struct EventClock {
    /// Of the inputs that have an event time, with their numbers.
    inputs: Vec<(usize, InputClock)>,
    watermark_micros: Option<i64>,
}

/// The event times of one input.
#[derive(Debug)]
struct InputClock {
    lateness_micros: i64,
    /// After which silence a partition does not hold the watermark back; `None` if the input is bounded.
    idle: Option<Duration>,
    partitions: BTreeMap<Partition, Progress>,
}

#[derive(Debug)]
struct Progress {
    newest_micros: Option<i64>,
    /// When the last row came, or the partition became known.
    seen_at: Duration,
}

impl EventClock {
    /// Returns the clock of a run that begins `now` where `state` was; `times` and `sources` are by input. `None` if no input
    /// has an event time.
    pub(super) fn new(
        times: &[Option<EventTime>],
        sources: &[SourceState],
        state: &TimeState,
        now: Duration,
    ) -> Option<Self> {
        let clock = |(number, (time, source)): (usize, (&Option<EventTime>, &SourceState))| {
            let clock = InputClock::new(time.as_ref()?, source, state, now);
            Some((number, clock))
        };
        let inputs: Vec<_> = times.iter().zip(sources).enumerate().filter_map(clock).collect();
        (!inputs.is_empty()).then_some(Self {
            inputs,
            watermark_micros: state.watermark_micros,
        })
    }

    /// Returns the event time before which no row is expected any more.
    pub(super) fn watermark_micros(&self) -> Option<i64> {
        self.watermark_micros
    }

    /// Takes in the newest event times of the rows that came since the last call; `open` are the partitions that have not
    /// ended. Both are by input. Returns whether the watermark has moved.
    pub(super) fn advance(
        &mut self,
        newest: &[BTreeMap<Partition, i64>],
        open: &[BTreeSet<Partition>],
        now: Duration,
    ) -> bool {
        for (number, clock) in &mut self.inputs {
            clock.see(&newest[*number], &open[*number], now);
        }
        let is_open = self.inputs.iter().any(|(number, _)| !open[*number].is_empty());
        // A partition that has shown no row yet may show any: `None` is less than all times.
        let watermark = match is_open {
            true => {
                let waited_for = self
                    .inputs
                    .iter()
                    .flat_map(|(number, clock)| clock.waited_for(&open[*number], now));
                waited_for.min().flatten()
            }
            // All have ended, for now: a run with a later end finds the watermark where a run without end would have it.
            false => self.inputs.iter().flat_map(|(_, clock)| clock.all().flatten()).min(),
        };
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
        let partitions = self.inputs.iter().flat_map(|(_, clock)| &clock.partitions);
        TimeState {
            watermark_micros: self.watermark_micros,
            newest_micros: partitions.filter_map(newest).collect(),
        }
    }
}

impl InputClock {
    fn new(time: &EventTime, source: &SourceState, state: &TimeState, now: Duration) -> Self {
        let progress = |&(ref partition, newest): &(Partition, i64)| {
            let progress = Progress {
                newest_micros: Some(newest),
                seen_at: now,
            };
            (partition.clone(), progress)
        };
        let own = state
            .newest_micros
            .iter()
            .filter(|(partition, _)| source.positions.get(partition).is_some());
        Self {
            lateness_micros: i64::try_from(time.lateness.as_micros()).unwrap_or(i64::MAX),
            idle: source.ends.is_none().then_some(time.idle),
            partitions: own.map(progress).collect(),
        }
    }

    fn see(&mut self, newest: &BTreeMap<Partition, i64>, open: &BTreeSet<Partition>, now: Duration) {
        for partition in newest.keys().chain(open) {
            if !self.partitions.contains_key(partition) {
                self.partitions.insert(partition.clone(), Progress::new(now));
            }
        }
        for (partition, &micros) in newest {
            let progress = self.partitions.get_mut(partition).expect("all are known by now");
            progress.newest_micros = progress.newest_micros.max(Some(micros));
            progress.seen_at = now;
        }
    }

    /// Returns up to which event time each of the open partitions is, if it is not silent.
    fn waited_for(&self, open: &BTreeSet<Partition>, now: Duration) -> impl Iterator<Item = Option<i64>> {
        let waits =
            move |progress: &&Progress| self.idle.is_none_or(|idle| now.saturating_sub(progress.seen_at) < idle);
        let open = open.iter().map(|partition| &self.partitions[partition]);
        open.filter(waits).map(|progress| self.reached(progress))
    }

    /// Returns up to which event time each of the partitions is, open or not.
    fn all(&self) -> impl Iterator<Item = Option<i64>> {
        self.partitions.values().map(|progress| self.reached(progress))
    }

    fn reached(&self, progress: &Progress) -> Option<i64> {
        Some(progress.newest_micros?.saturating_sub(self.lateness_micros))
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
    use crate::position::Positions;

    const SECOND: Duration = Duration::from_secs(1);

    fn partition(index: i32) -> Partition {
        Partition::new("logs", index)
    }

    fn open(indices: &[i32]) -> BTreeSet<Partition> {
        indices.iter().map(|&index| partition(index)).collect()
    }

    fn source(bounded: bool, partitions: &[Partition]) -> SourceState {
        let begin = |partition: &Partition| (partition.clone(), 0);
        let positions = Positions(partitions.iter().map(begin).collect());
        SourceState {
            ends: bounded.then(|| positions.clone()),
            positions,
            ..SourceState::default()
        }
    }

    fn time(lateness_micros: u64, idle: Duration) -> Option<EventTime> {
        Some(EventTime {
            column: "time".to_owned(),
            lateness: Duration::from_micros(lateness_micros),
            idle,
        })
    }

    fn clock(bounded: bool) -> EventClock {
        let (times, sources) = ([time(10, 5 * SECOND)], [source(bounded, &[])]);
        let clock = EventClock::new(&times, &sources, &TimeState::default(), Duration::ZERO);
        clock.expect("it has an event time")
    }

    /// Lets the partitions' rows come after `seconds`, and compares the watermark.
    #[track_caller]
    fn check(clock: &mut EventClock, seconds: u32, rows: &[(i32, i64)], still_open: &[i32], expected: Option<i64>) {
        let before = clock.watermark_micros();
        let newest = rows.iter().map(|&(index, micros)| (partition(index), micros)).collect();
        let has_moved = clock.advance(&[newest], &[open(still_open)], seconds * SECOND);
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
        let sources = [source(false, &[partition(0), partition(1)])];
        let second = EventClock::new(&[time(30, SECOND)], &sources, &first.state(), 100 * SECOND);
        let mut second = second.expect("it has an event time");
        assert_eq!(second.state(), first.state());
        check(&mut second, 100, &[], &[0, 1], Some(50));
        check(&mut second, 101, &[(1, 200)], &[0, 1], Some(170));
    }

    #[test]
    fn the_slowest_input_holds_the_watermark_each_with_its_own_lateness_until_it_is_idle_or_ends() {
        let file = Partition::new("old.log", 0);
        let (times, sources) = (
            [time(10, 5 * SECOND), None, time(50, 5 * SECOND)],
            [
                source(false, &[]),
                source(false, &[]),
                source(true, std::slice::from_ref(&file)),
            ],
        );
        let clock = EventClock::new(&times, &sources, &TimeState::default(), Duration::ZERO);
        let mut clock = clock.expect("two have an event time");
        let mut advance = |seconds: u32, logs: Option<i64>, old: Option<i64>, still: [&[Partition]; 2]| {
            let newest = |partition: &Partition, micros: Option<i64>| -> BTreeMap<_, _> {
                micros.into_iter().map(|micros| (partition.clone(), micros)).collect()
            };
            let newest = [newest(&partition(0), logs), BTreeMap::new(), newest(&file, old)];
            let open = |partitions: &[Partition]| partitions.iter().cloned().collect::<BTreeSet<_>>();
            let untimed = open(&[Partition::new("untimed", 0)]);
            clock.advance(&newest, &[open(still[0]), untimed, open(still[1])], seconds * SECOND);
            clock.watermark_micros()
        };
        let (logs, old) = ([partition(0)], [file.clone()]);
        assert_eq!(advance(0, Some(100), None, [&logs, &old]), None);
        assert_eq!(advance(1, None, Some(100), [&logs, &old]), Some(50));
        assert_eq!(advance(2, None, Some(300), [&logs, &old]), Some(90));
        assert_eq!(
            advance(9, None, Some(400), [&logs, &old]),
            Some(350),
            "the logs are idle"
        );
        assert_eq!(
            advance(10, Some(600), None, [&logs, &old]),
            Some(350),
            "the file is never"
        );
        assert_eq!(advance(11, None, None, [&logs, &[]]), Some(590));
        assert_eq!(clock.state().newest_micros, [(partition(0), 600), (file, 400)]);
    }
}
