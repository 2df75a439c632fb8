//! `--from` and `--to`, on the real broker: each gives exactly the records it says, to a replay and to a count, also when
//! the run is interrupted, resumed, or asked for again.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::harness::broker::Broker;
use crate::harness::process::{Ended, Run};
use crate::harness::records::{End, Isolation, NewRecord};
use crate::harness::scratch::Scratch;
use crate::harness::{PATIENCE, parquet};

const PARTITIONS: i32 = 2;
const RECORDS: i64 = 10;

/// 2026-01-01T00:00:00Z.
const NEW_YEAR: i64 = 1_767_225_600_000;

const MINUTE: i64 = 60_000;

/// A partition and an offset.
type Place = (i32, i64);

/// A topic of [`PARTITIONS`] partitions with [`RECORDS`] records each, one a minute from `start` on; the partition 1 is half
/// a minute behind. The value is one word that is nowhere else.
#[track_caller]
fn timed_topic(start: i64) -> String {
    let topic = Broker::shared().new_topic("timed", PARTITIONS);
    for partition in 0..PARTITIONS {
        let record = |index| NewRecord {
            timestamp: Some(start + index * MINUTE + i64::from(partition) * MINUTE / 2),
            ..NewRecord::of(word((partition, index)))
        };
        Broker::shared().produce(&topic, partition, (0..RECORDS).map(record));
    }
    topic
}

fn word((partition, offset): Place) -> String {
    format!("p{partition}-o{offset}")
}

/// Returns the places of the half-open ranges of offsets, one a partition.
fn places(ranges: [(i64, i64); 2]) -> Vec<Place> {
    let places = |(partition, (from, to))| (from..to).map(move |offset| (partition, offset));
    (0..).zip(ranges).flat_map(places).collect()
}

#[track_caller]
fn run(scratch: &Scratch, verb: &str, topic: &str, options: &[&str]) -> Ended {
    command(scratch, verb, topic, options).finish(PATIENCE)
}

fn command(scratch: &Scratch, verb: &str, topic: &str, options: &[&str]) -> Run {
    let brokers = Broker::shared().bootstrap();
    let run = Run::millstream(scratch, verb).args([verb, "--brokers", brokers, "--topic", topic]);
    run.args(options)
}

/// Returns the options of a replay of which those that a count needs to end are the same.
fn with<'o>(options: &[&'o str], more: &[&'o str]) -> Vec<&'o str> {
    options.iter().chain(more).copied().collect()
}

/// Checks which records a replay and a count with these bounds see.
#[track_caller]
fn check(topic: &str, bounds: &[&str], ranges: [(i64, i64); 2]) {
    let scratch = Scratch::new("bounds");
    run(&scratch, "replay", topic, &with(bounds, &["--out", "archive"])).expect_code(0);
    let expected = places(ranges);
    assert_eq!(replayed(&scratch.join("archive")), expected, "replay {bounds:?}");
    let counted = run(
        &scratch,
        "wordcount",
        topic,
        &with(bounds, &["--mode", "complete", "--every", "1h"]),
    );
    let mut words: Vec<_> = counted.expect_code(0).stdout.lines().map(str::to_owned).collect();
    words.sort();
    let mut lines: Vec<_> = expected
        .into_iter()
        .map(|place| format!("{}\t1", word(place)))
        .collect();
    lines.sort();
    assert_eq!(words, lines, "wordcount {bounds:?}");
}

fn replayed(folder: &Path) -> Vec<Place> {
    let records = parquet::records(folder);
    records.iter().map(|record| (record.partition, record.offset)).collect()
}

fn now() -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("the clock is after 1970");
    i64::try_from(now.as_millis()).expect("a time of this millennium")
}

#[track_caller]
fn commit(group: &str, topic: &str, offsets: &[Place]) {
    let consumer: BaseConsumer = Broker::shared()
        .client(&[("group.id", group)])
        .create()
        .expect("a valid configuration");
    let mut list = TopicPartitionList::new();
    for &(partition, offset) in offsets {
        list.add_partition_offset(topic, partition, Offset::Offset(offset))
            .expect("an offset");
    }
    consumer
        .commit(&list, CommitMode::Sync)
        .expect("the broker stores the offsets");
}

/// Returns every file of a folder with its content and the time it was written, but for who holds the checkpoint.
fn snapshot(folder: &Path) -> BTreeMap<String, (Vec<u8>, SystemTime)> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let entry = entry.expect("the folder can be listed");
        let (path, name) = (entry.path(), entry.file_name().into_string().expect("a UTF-8 name"));
        if name.starts_with("owner-") || name.starts_with("staging-") {
            continue;
        }
        if path.is_dir() {
            let below = snapshot(&path).into_iter();
            files.extend(below.map(|(file, content)| (format!("{name}/{file}"), content)));
        } else {
            let written = entry
                .metadata()
                .and_then(|metadata| metadata.modified())
                .expect("the time of a file");
            files.insert(name, (fs::read(&path).expect("a file that was listed"), written));
        }
    }
    files
}

#[test]
fn all_of_a_topic_is_from_earliest_to_latest() {
    let topic = timed_topic(NEW_YEAR);
    check(&topic, &["--to", "latest"], [(0, 10), (0, 10)]);
    check(&topic, &["--from", "earliest", "--to", "latest"], [(0, 10), (0, 10)]);
    check(&topic, &["--from", "latest", "--to", "latest"], [(10, 10), (10, 10)]);
}

#[test]
fn a_time_is_the_first_record_of_that_time_or_later() {
    let topic = timed_topic(NEW_YEAR);
    let to_latest = |from| ["--from", from, "--to", "latest"];
    check(&topic, &to_latest("2026-01-01T00:03:00Z"), [(3, 10), (3, 10)]);
    check(&topic, &to_latest("2026-01-01T00:03:00.001Z"), [(4, 10), (3, 10)]);
    check(&topic, &to_latest("2026-01-01T01:03:30+01:00"), [(4, 10), (3, 10)]);
    check(&topic, &to_latest("2026-01-01"), [(0, 10), (0, 10)]);
    check(&topic, &to_latest("2026-01-02"), [(10, 10), (10, 10)]);
    check(&topic, &["--to", "2026-01-01T00:05:00Z"], [(0, 5), (0, 5)]);
    check(&topic, &["--to", "2025-12-31"], [(0, 0), (0, 0)]);
    check(&topic, &["--to", "2027-01-01"], [(0, 10), (0, 10)]);
    check(
        &topic,
        &["--from", "2026-01-01T00:02:00Z", "--to", "2026-01-01T00:04:30Z"],
        [(2, 5), (2, 4)],
    );
    check(
        &topic,
        &["--from", "2026-01-01T00:02:00Z", "--to", "2026-01-01T00:02:00Z"],
        [(2, 2), (2, 2)],
    );
}

#[test]
fn a_time_among_records_out_of_order_is_the_first_that_is_not_earlier() {
    let topic = Broker::shared().new_topic("disordered", PARTITIONS);
    let minutes: [&[i64]; 2] = [&[0, 7, 1, 2, 8, 3], &[]];
    for (partition, minutes) in (0..).zip(minutes) {
        let record = |(offset, minute): (i64, &i64)| NewRecord {
            timestamp: Some(NEW_YEAR + minute * MINUTE),
            ..NewRecord::of(word((partition, offset)))
        };
        Broker::shared().produce(&topic, partition, (0..).zip(minutes).map(record));
    }
    check(
        &topic,
        &["--from", "2026-01-01T00:02:00Z", "--to", "latest"],
        [(1, 6), (0, 0)],
    );
    check(&topic, &["--to", "2026-01-01T00:08:00Z"], [(0, 4), (0, 0)]);
}

#[test]
fn an_age_counts_back_from_the_start_of_the_run() {
    // The records are 100 to 91 minutes old, half a minute less in partition 1; a test does not take half an hour.
    let topic = timed_topic(now() - 100 * MINUTE);
    check(&topic, &["--from", "2h", "--to", "latest"], [(0, 10), (0, 10)]);
    check(&topic, &["--from", "1h", "--to", "latest"], [(10, 10), (10, 10)]);
    check(&topic, &["--from", "1d", "--to", "1h"], [(0, 10), (0, 10)]);
    check(&topic, &["--to", "2h"], [(0, 0), (0, 0)]);
}

#[test]
fn offsets_are_taken_by_their_number() {
    let topic = timed_topic(NEW_YEAR);
    check(&topic, &["--from", "0:3,1:5", "--to", "0:7,1:5"], [(3, 7), (5, 5)]);
    check(&topic, &["--from", "1:9,0:10", "--to", "latest"], [(10, 10), (9, 10)]);
    let named = |offsets: [i64; 2]| format!("{topic}:0:{},{topic}:1:{}", offsets[0], offsets[1]);
    check(
        &topic,
        &["--from", &named([0, 1]), "--to", &named([1, 10])],
        [(0, 1), (1, 10)],
    );
}

#[test]
fn committed_is_where_the_group_was_and_earliest_where_it_never_was() {
    let topic = timed_topic(NEW_YEAR);
    let group = Broker::unique("readers");
    commit(&group, &topic, &[(0, 6)]);
    let scratch = Scratch::new("committed");
    let options = ["--from", "committed", "--group", &group, "--out", "archive"];
    run(&scratch, "replay", &topic, &options).expect_code(0);
    assert_eq!(replayed(&scratch.join("archive")), places([(6, 10), (0, 10)]));
    let offsets: Vec<_> = Broker::shared()
        .committed(&group, &topic)
        .iter()
        .map(|at| at.offset)
        .collect();
    assert_eq!(offsets, [Some(6), None], "the group is where it was");
}

#[test]
fn bounds_that_can_not_be_are_refused_with_what_is_there() {
    let topic = timed_topic(NEW_YEAR);
    let refused = |bounds: &[&str], parts: &[&str]| {
        let scratch = Scratch::new("refused");
        for (verb, more) in [("replay", &["--out", "archive"][..]), ("wordcount", &[])] {
            let ended = run(&scratch, verb, &topic, &with(bounds, more)).expect_code(3);
            for part in parts {
                assert!(
                    ended.stderr.contains(part),
                    "`{part}` is in the message:\n{}",
                    ended.stderr
                );
            }
            assert_eq!(ended.stdout, "");
        }
    };
    let first = format!("{topic}[0]");
    refused(
        &["--from", "2026-02-01", "--to", "2026-01-01"],
        &["from (2026-02-01T00:00:00Z) is after to (2026-01-01T00:00:00Z)"],
    );
    refused(
        &["--from", "1h", "--to", "2h"],
        &["from (3600s ago) is after to (7200s ago)"],
    );
    refused(
        &["--from", "0:8,1:2", "--to", "0:5,1:5"],
        &[&first, "from (offset 8) is after to (offset 5)"],
    );
    refused(
        &["--from", "latest", "--to", "0:5,1:10"],
        &[&first, "from (offset 10) is after to (offset 5)"],
    );
    refused(
        &["--from", "0:11,1:0", "--to", "latest"],
        &["expected an offset of 0 to 10", &first, "not 11"],
    );
    refused(
        &["--to", "0:4,1:99"],
        &["expected an offset of 0 to 10", &format!("{topic}[1]"), "not 99"],
    );
    refused(
        &["--from", "0:1", "--to", "latest"],
        &[&format!("expected an offset for {topic}[1] too")],
    );
    refused(
        &["--from", "0:1,1:1,7:1", "--to", "latest"],
        &["there is no partition 7"],
    );
    Broker::shared().delete_records(&topic, 0, 4);
    refused(
        &["--from", "0:2,1:0", "--to", "latest"],
        &["expected an offset of 4 to 10", &first, "not 2"],
    );
    check(&topic, &["--to", "latest"], [(4, 10), (0, 10)]);
}

#[test]
fn a_bound_behind_control_records_only_is_reached() {
    let topic = Broker::shared().new_topic("controls", PARTITIONS);
    let aborted = || [NewRecord::of("aborted"), NewRecord::of("aborted")];
    for _ in 0..3 {
        Broker::shared().produce_in_transaction(&topic, 0, aborted(), End::Abort);
    }
    Broker::shared().produce_in_transaction(&topic, 1, [NewRecord::of(word((1, 0)))], End::Commit);
    Broker::shared().produce_in_transaction(&topic, 1, aborted(), End::Abort);
    check(&topic, &["--to", "latest"], [(0, 0), (0, 1)]);
    check(&topic, &["--to", "0:5,1:5"], [(0, 0), (0, 1)]);
    let scratch = Scratch::new("uncommitted");
    let options = ["--read-uncommitted", "--out", "archive"];
    run(&scratch, "replay", &topic, &options).expect_code(0);
    let expected = Broker::shared().consume(&topic, Isolation::ReadUncommitted);
    assert_eq!(expected.len(), 9);
    assert_eq!(parquet::records(&scratch.join("archive")), expected);
}

#[test]
fn a_run_without_an_end_reads_what_comes_after_its_start() {
    let topic = timed_topic(NEW_YEAR);
    let scratch = Scratch::new("unbounded");
    let options = ["--from", "latest", "--checkpoint", "state", "--every", "50ms"];
    let mut running = command(&scratch, "wordcount", &topic, &options).start();
    // Once the start is written down, what is produced is after it.
    let begun = scratch.join("state/epoch-00000000000000000000.json");
    running.wait_until(PATIENCE, "the start is fixed", |_| begun.exists().then_some(()));
    Broker::shared().produce(&topic, 1, ["late late"].map(NewRecord::of));
    running.wait_until(PATIENCE, "the late record is counted", |run| {
        run.stdout().contains("late\t2\n").then_some(())
    });
    running.signal("TERM");
    assert_eq!(running.wait(PATIENCE).expect_code(0).stdout, "late\t2\n");
}

#[test]
fn an_interrupted_run_ends_where_it_would_have_although_the_topic_grew() {
    let topic = timed_topic(NEW_YEAR);
    for (verb, out) in [("replay", "archive"), ("wordcount", "parquet:table")] {
        let before = Broker::shared().bounds(&topic);
        let scratch = Scratch::new("resumed");
        let (options, point) = match verb {
            "replay" => (&["--to", "latest", "--out", out][..], "archive_before_journal:1"),
            _ => (
                &["--to", "latest", "--out", out, "--checkpoint", "state"][..],
                "after_store_rename:1",
            ),
        };
        let killed = command(&scratch, verb, &topic, options).env("MILLSTREAM_CRASH_AT", point);
        let killed = killed.finish(PATIENCE);
        assert_eq!(
            killed.status.code(),
            None,
            "it was killed when its bounds were written down"
        );
        Broker::shared().produce(&topic, 0, ["grown"].map(NewRecord::of));
        run(&scratch, verb, &topic, options).expect_code(0);
        let ends: Vec<_> = before.iter().map(|bounds| bounds.end).collect();
        if verb == "replay" {
            assert_eq!(replayed(&scratch.join("archive")), places([(0, ends[0]), (0, ends[1])]));
        } else {
            let counts = parquet::counts(&scratch.join("table"));
            let total: i64 = counts.values().sum();
            assert_eq!(total, ends.iter().sum::<i64>());
        }
    }
}

#[test]
fn asking_again_for_what_is_done_says_so_and_changes_nothing() {
    let topic = timed_topic(NEW_YEAR);
    for (verb, to, out, folder) in [
        ("replay", "2026-01-01T00:08:00Z", "archive", "archive"),
        ("replay", "0:9,1:9", "archive", "archive"),
        ("wordcount", "latest", "parquet:table", "table"),
    ] {
        let scratch = Scratch::new("again");
        let options = ["--to", to, "--out", out];
        run(&scratch, verb, &topic, &options).expect_code(0);
        let done = snapshot(&scratch.join(folder));
        Broker::shared().produce(&topic, 1, ["grown"].map(NewRecord::of));
        let again = run(&scratch, verb, &topic, &options).expect_code(0);
        assert!(again.stderr.contains("nothing left to do"), "{}", again.stderr);
        let unchanged = snapshot(&scratch.join(folder)) == done;
        assert!(unchanged, "{verb}: no file was written again");
    }
    let (scratch, counts) = (Scratch::new("again"), Broker::shared().new_topic("counts", 1));
    let out = format!("kafka:{counts}");
    let options = ["--to", "latest", "--out", &out, "--checkpoint", "state"];
    run(&scratch, "wordcount", &topic, &options).expect_code(0);
    let done = Broker::shared().bounds(&counts);
    run(&scratch, "wordcount", &topic, &options).expect_code(0);
    assert_eq!(Broker::shared().bounds(&counts), done, "nothing was sent again");
}

#[test]
fn another_end_goes_on_from_the_last_one() {
    let topic = timed_topic(NEW_YEAR);
    let scratch = Scratch::new("further");
    let archive = scratch.join("archive");
    let replay = |to: &str| run(&scratch, "replay", &topic, &["--out", "archive", "--to", to]).expect_code(0);
    replay("0:5,1:2");
    assert_eq!(replayed(&archive), places([(0, 5), (0, 2)]));
    let back = run(&scratch, "replay", &topic, &["--out", "archive", "--to", "0:1,1:2"]).expect_code(3);
    let says = format!("is offset 1 of {topic}[0], before 5, up to which the archive goes already");
    assert!(back.stderr.contains(&says), "{}", back.stderr);
    assert_eq!(replayed(&archive), places([(0, 5), (0, 2)]), "what was read is read");
    replay("2026-01-01T00:07:00Z");
    assert_eq!(replayed(&archive), places([(0, 7), (0, 7)]));
    replay("latest");
    assert_eq!(replayed(&archive), places([(0, 10), (0, 10)]));
}

#[test]
fn a_count_that_had_an_end_goes_on_without_one_and_ends_when_it_is_given_one() {
    let topic = timed_topic(NEW_YEAR);
    let scratch = Scratch::new("onwards");
    let options = ["--checkpoint", "state", "--every", "50ms"];
    let bounded = with(&options, &["--to", "0:5,1:5"]);
    run(&scratch, "wordcount", &topic, &bounded).expect_code(0);
    let mut running = command(&scratch, "wordcount", &topic, &options).start();
    running.wait_until(PATIENCE, "the rest is counted", |run| {
        (run.stdout().lines().count() == 10).then_some(())
    });
    running.signal("TERM");
    running.wait(PATIENCE).expect_code(0);
    Broker::shared().produce(&topic, 0, [word((0, 0)), word((0, 9))].map(NewRecord::of));
    let ended = run(&scratch, "wordcount", &topic, &with(&options, &["--to", "latest"])).expect_code(0);
    let mut lines: Vec<_> = ended.stdout.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["p0-o0\t2", "p0-o9\t2"], "the counts were kept");
}
