//! Log lines of `data/`, with times of a test's own: as many as it needs, over as long as it needs, somewhat out of order.

use std::fs;

use crate::harness::scratch::root;
use crate::harness::seeded::Seeded;

/// Seconds by which a line may be older than one before it; the least lateness of the jobs is ten.
const DISORDER: u64 = 9;

const SECONDS_A_DAY: u64 = 86_400;

/// The day of November 2026 on which the logs begin.
const FIRST_DAY: u64 = 24;

/// The lines of a file of `data/`.
pub(super) fn lines_of(name: &str) -> Vec<String> {
    let path = root().join("data").join(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    text.lines().map(str::to_owned).collect()
}

/// The times of the lines of a log, and the choices that differ from line to line.
pub(super) struct Clock {
    pub(super) seeded: Seeded,
    now: u64,
    step: u64,
}

impl Clock {
    /// Returns times that are `step` seconds apart, except for disorder; the same for the same seed.
    pub(super) fn new(seed: u64, step: u64) -> Self {
        Self {
            seeded: Seeded::from_seed(seed),
            now: 6 * 3600,
            step,
        }
    }

    /// Returns the seconds since midnight of the first day.
    fn next(&mut self) -> u64 {
        self.now += self.step;
        let seconds = self.now - self.seeded.in_range(0..DISORDER + 1);
        assert!(seconds < 6 * SECONDS_A_DAY, "the log ends in November");
        seconds
    }

    /// Returns the next time as access logs write it: `24/Nov/2026:06:30:16 +0000`.
    fn common(&mut self) -> String {
        let (day, hour, minute, second) = parts(self.next());
        format!("{day:02}/Nov/2026:{hour:02}:{minute:02}:{second:02} +0000")
    }

    /// Returns the next time as `2026-11-24` and `06:30:16`, with what stands between them.
    fn iso(&mut self, between: &str) -> String {
        let (day, hour, minute, second) = parts(self.next());
        format!("2026-11-{day:02}{between}{hour:02}:{minute:02}:{second:02}")
    }
}

fn parts(seconds: u64) -> (u64, u64, u64, u64) {
    let (days, rest) = (seconds / SECONDS_A_DAY, seconds % SECONDS_A_DAY);
    (FIRST_DAY + days, rest / 3600, rest / 60 % 60, rest % 60)
}

/// Returns lines of an access log in the combined format.
pub(super) fn access(count: usize, step: u64) -> Vec<String> {
    let mut clock = Clock::new(1, step);
    let lines = lines_of("access.log");
    let retimed = |line: &String| {
        let (host, rest) = line.split_once(" [").expect("a time");
        let (_, rest) = rest.split_once(']').expect("the end of a time");
        format!("{host} [{}]{rest}", clock.common())
    };
    spread(&lines, count).map(retimed).collect()
}

/// Returns lines of an access log of few clients, each of which comes back again and again.
pub(super) fn visitors(count: usize, step: u64) -> Vec<String> {
    let mut seeded = Seeded::from_seed(8);
    let renamed = |line: String| {
        let (_, rest) = line.split_once(' ').expect("a client");
        format!("10.0.0.{} {rest}", seeded.in_range(0..40))
    };
    access(count, step).into_iter().map(renamed).collect()
}

/// Returns the same kind of requests as JSON, of users that are made up, some of them slow, some without a readable status.
pub(super) fn access_json(count: usize, step: u64) -> Vec<String> {
    let mut clock = Clock::new(2, step);
    let lines = lines_of("access.jsonl");
    let retimed = |line: &String| {
        let mut request: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        request["time"] = format!("{}+00:00", clock.iso("T")).into();
        request["user"] = match clock.seeded.in_range(0..120) {
            number @ 0..90 => format!("user-{number}").into(),
            _ => "".into(),
        };
        // Quarters of a second are exact in binary.
        let quarters = u32::try_from(clock.seeded.in_range(0..8)).expect("a small number");
        request["seconds"] = (f64::from(quarters) / 4.0).into();
        if clock.seeded.in_range(0..50) == 0 {
            request["status"] = "none".into();
        }
        if clock.seeded.in_range(0..20) == 0 {
            request["path"] = "/health/live".into();
        }
        request.to_string()
    };
    spread(&lines, count).map(retimed).collect()
}

/// Returns a broker's messages as syslog lines of RFC 5424.
pub(super) fn syslog(count: usize, step: u64) -> Vec<String> {
    let mut clock = Clock::new(3, step);
    let lines = lines_of("kafka-server.log");
    let wrapped = |line: &String| {
        let (priority, host) = (8 + clock.seeded.in_range(0..8), clock.seeded.in_range(1..4));
        format!("<{priority}>1 {}Z broker-{host} kafka 4711 - - {line}", clock.iso("T"))
    };
    spread(&lines, count).map(wrapped).collect()
}

/// Returns events of a shop as JSON; some without an id, some that are cut off.
pub(super) fn events(count: usize, step: u64) -> Vec<String> {
    let mut clock = Clock::new(4, step);
    let event = |number: usize| {
        let time = clock.iso("T");
        let mut choice = |end: u64| clock.seeded.in_range(0..end);
        let name = ["Ann", "Bo", "José", "李"][number % 4];
        let id = if choice(10) == 0 {
            "null".to_owned()
        } else {
            format!("\"e-{number}\"")
        };
        let (cents, is_paid, items) = (choice(400) * 25, choice(2) == 0, choice(9));
        let amount = format!("{}.{:02}", cents / 100, cents % 100);
        let whole = format!(
            r#"{{"time":"{time}+00:00","id":{id},"user":{{"name":"{name}"}},"amount":{amount},"paid":{is_paid},"items":{items},"shop":7}}"#
        );
        match choice(25) {
            0 => whole.chars().take(whole.len() / 2).collect(),
            _ => whole,
        }
    };
    (0..count).map(event).collect()
}

/// Returns the log of applications as key=value; some lines say nothing that way.
pub(super) fn key_value(count: usize, step: u64) -> Vec<String> {
    let mut clock = Clock::new(5, step);
    let line = |number: usize| {
        let time = clock.iso("T");
        let mut choice = |end: u64| clock.seeded.in_range(0..end);
        let level = ["info", "INFO", "warn", "error"][usize::try_from(choice(4)).expect("an index")];
        let service = ["checkout", "search"][number % 2];
        let (whole, quarter) = (1 + choice(900), choice(4) * 25);
        match choice(30) {
            0 => format!("time={time}Z level={level} service={service} ms=soon"),
            _ => format!(
                r#"time={time}Z level={level} service={service} msg="order {number} done" ms={whole}.{quarter:02}"#
            ),
        }
    };
    (0..count).map(line).collect()
}

/// Returns the log of an application whose clock is an hour ahead of UTC.
pub(super) fn application(count: usize, step: u64, seed: u64) -> Vec<String> {
    let mut clock = Clock::new(seed, step);
    let line = |number: usize| {
        let time = clock.iso(" ");
        let level = ["INFO", "ERROR", "WARN", "FATAL"][usize::try_from(clock.seeded.in_range(0..4)).expect("an index")];
        let service = ["checkout", "search", "mail"][number % 3];
        format!("{time} {level} [{service}] order {number} refused")
    };
    (0..count).map(line).collect()
}

/// Returns `count` of the lines, taken from all over them; more than there are begin again.
fn spread(lines: &[String], count: usize) -> impl Iterator<Item = &String> {
    // A stride that has no divisor in common with the lengths of the files, so that no line comes twice before all came once.
    const STRIDE: usize = 13;
    (0..count).map(|number| &lines[number * STRIDE % lines.len()])
}
