//! An archive goes back to a topic.

use std::time::Duration;

use crate::harness::PATIENCE;
use crate::harness::broker::Broker;
use crate::harness::records::{Isolation, NewRecord};
use crate::harness::seeded::Seeded;
use crate::harness::{duckdb, eventually, parquet};

use super::input::{Desk, OLD_MS};

/// SIGKILLs of one restore.
const KILLS: u32 = 50;

/// How long after its start, or after it has made progress, a run is killed at the latest.
const KILL_WITHIN: Duration = Duration::from_millis(300);

#[test]
fn what_goes_back_from_an_archive_is_what_was_there() {
    let desk = Desk::new("restore");
    let (source, target) = (desk.mixed_topic(), Broker::unique("restored"));
    let first = desk.replay(&source, "first", &[]);
    desk.restored("first", &target, &["--create"]);
    let expected = desk.contents(&source);
    assert_eq!(expected.len(), 2 * 2 * 52, "aborted records are no part of it");
    assert!(desk.contents(&target) == expected, "the same records in the same order");

    let second = desk.replay(&target, "second", &[]);
    let without_offsets = |folder| {
        let mut records = parquet::records(folder);
        records.iter_mut().for_each(|record| record.offset = 0);
        records
    };
    assert!(without_offsets(&first) == without_offsets(&second), "the same columns");
    let sql = "SELECT count(*), count(key), count(value), sum(octet_length(value)), min(epoch_ms(timestamp)) FROM '**/*.parquet'";
    assert_eq!(duckdb::query(&first, sql), duckdb::query(&second, sql));
    assert_eq!(duckdb::query(&second, sql)[0][0], "208");
}

#[test]
fn records_that_are_spread_over_folders_go_back_in_their_order() {
    let desk = Desk::new("restore-folders");
    let (source, target) = (desk.mixed_topic(), desk.broker.new_topic("restored", 3));
    // Older records stand between younger ones, so that files of several folders cover the same offsets.
    let by = ["--partition-by", "hour(timestamp),partition", "--file-rows", "7"];
    desk.replay(&source, "archive", &by);
    desk.verified("archive", &["--against", desk.broker.bootstrap()]);
    desk.restored("archive", &target, &[]);
    assert!(
        desk.contents(&target) == desk.contents(&source),
        "the order of the partition"
    );
    let compacted = desk.run(&["compact", "archive", "--target", "1MB"]);
    compacted.finish(PATIENCE).expect_code(0);
    desk.verified(
        "archive",
        &["--against", desk.broker.bootstrap(), "--restored-as", &target],
    );
}

#[test]
fn records_beside_decoded_columns_of_their_names_go_back_and_decoded_rows_alone_do_not() {
    let desk = Desk::new("restore-both");
    let (source, target) = (
        desk.broker.new_topic("decoded", 1),
        desk.broker.new_topic("restored", 1),
    );
    let line = |number: i64| NewRecord {
        key: Some(format!("{number}").into_bytes()),
        timestamp: Some(OLD_MS + number),
        ..NewRecord::of(format!("offset={} key=x value=y", 7 * number))
    };
    desk.broker.produce(&source, 0, (0..300).map(line));
    let columns = [
        "--input-format",
        "logfmt",
        "--columns",
        "offset:int,key:string,value:string",
    ];
    let small = ["--file-rows", "50", "--layout"];
    desk.replay(&source, "both", &[&columns[..], &small, &["both"]].concat());
    desk.verified("both", &["--against", desk.broker.bootstrap()]);
    desk.run(&["compact", "both"]).finish(PATIENCE).expect_code(0);
    desk.restored("both", &target, &[]);
    assert!(desk.contents(&target) == desk.contents(&source));
    desk.verified(
        "both",
        &["--against", desk.broker.bootstrap(), "--restored-as", &target],
    );

    desk.replay(&source, "parsed", &[&columns[..], &small, &["parsed"]].concat());
    desk.verified("parsed", &[]);
    let other = desk.broker.new_topic("other", 1);
    let refused = desk.restore("parsed", &other, &[]).finish(PATIENCE).expect_code(3);
    assert!(
        refused.stderr.contains("the layout envelope or both"),
        "{}",
        refused.stderr
    );
    assert!(desk.contents(&other).is_empty());
}

#[test]
fn a_restore_that_is_done_has_nothing_left_to_do() {
    let desk = Desk::new("restore-twice");
    let (source, target) = (desk.mixed_topic(), Broker::unique("restored"));
    desk.replay(&source, "archive", &[]);
    desk.restored("archive", &target, &["--create"]);
    let before = desk.broker.consume(&target, Isolation::ReadUncommitted);
    let again = desk.restored("archive", &target, &[]);
    assert!(again.stderr.contains("nothing left to do"), "{}", again.stderr);
    assert!(desk.broker.consume(&target, Isolation::ReadUncommitted) == before);

    // A deleted topic takes its positions along.
    desk.broker.delete_topic(&target);
    eventually(PATIENCE, "the topic is gone and can be made again", || {
        let ended = desk.restore("archive", &target, &["--create"]).finish(PATIENCE);
        (ended.status.code() == Some(0)).then_some(())
    });
    assert_eq!(desk.contents(&target), desk.contents(&source));
}

#[test]
fn a_restore_killed_fifty_times_writes_each_record_once() {
    let desk = Desk::new("restore-kills");
    let mut random = Seeded::new();
    let (source, target) = (desk.even_topic(60_000), desk.broker.new_topic("restored", 4));
    desk.replay(&source, "archive", &[]);
    let slow = ["--speed", "1x", "--commit-interval", "10ms"];
    let committed = || desk.contents(&target).len();
    for number in 0..KILLS {
        let mut running = desk.restore("archive", &target, &slow).start();
        if number % 2 == 1 {
            let before = committed();
            running.wait_until(PATIENCE, "progress", |_| (committed() > before).then_some(()));
        }
        random.wait_at_most(KILL_WITHIN);
        let ended = running.kill();
        assert_eq!(ended.status.code(), None, "it was killed in its work: {}", ended.stderr);
    }
    assert!((1..60_000).contains(&committed()), "the kills fell into the work");
    desk.restored("archive", &target, &[]);
    assert!(
        desk.contents(&target) == desk.contents(&source),
        "each record once, in order"
    );
}

#[test]
fn a_frozen_restore_is_replaced_and_writes_nothing_when_it_wakes_up() {
    let desk = Desk::new("restore-zombie");
    let (source, target) = (desk.even_topic(20_000), desk.broker.new_topic("restored", 4));
    desk.replay(&source, "archive", &[]);
    let slow = ["--speed", "1x", "--commit-interval", "10ms"];
    let mut first = desk.restore("archive", &target, &slow).start();
    first.wait_until(PATIENCE, "records", |_| {
        (!desk.contents(&target).is_empty()).then_some(())
    });
    first.signal("STOP");
    desk.restored("archive", &target, &[]);
    let expected = desk.contents(&source);
    assert!(desk.contents(&target) == expected);
    first.signal("CONT");
    let woken = first.wait(PATIENCE).expect_code(75);
    assert!(
        woken.stderr.contains("fenced: another process took over"),
        "{}",
        woken.stderr
    );
    assert!(
        desk.contents(&target) == expected,
        "the first process wrote nothing more"
    );
}

#[test]
fn a_restore_stops_on_a_signal_and_says_how_to_go_on() {
    let desk = Desk::new("restore-stopped");
    let (source, target) = (desk.even_topic(20_000), desk.broker.new_topic("restored", 4));
    desk.replay(&source, "archive", &[]);
    let mut running = desk
        .restore("archive", &target, &["--speed", "1x", "--commit-interval", "10ms"])
        .start();
    running.wait_until(PATIENCE, "records", |_| {
        (!desk.contents(&target).is_empty()).then_some(())
    });
    running.signal("INT");
    let stopped = running.wait(PATIENCE).expect_code(75);
    let says = format!("millstream: stopped; what is done is in the topic {target}\nmillstream: to go on: ");
    assert!(stopped.stderr.contains(&says), "{}", stopped.stderr);
    desk.restored("archive", &target, &[]);
    assert!(desk.contents(&target) == desk.contents(&source));
}

#[test]
fn a_range_of_an_archive_goes_back_by_time_and_by_offset() {
    let desk = Desk::new("restore-range");
    let source = desk.even_topic(4000);
    desk.replay(&source, "archive", &[]);
    let all = desk.contents(&source);
    let by_time = Broker::unique("by-time");
    // 2001-09-09T01:46:40Z and the next seconds.
    let times = [
        "--create",
        "--from",
        "2001-09-09T01:46:41Z",
        "--to",
        "2001-09-09T01:46:43Z",
    ];
    desk.restored("archive", &by_time, &times);
    let is_meant = |time: Option<i64>| (OLD_MS + 1000..OLD_MS + 3000).contains(&time.expect("a time"));
    let expected: Vec<_> = all.iter().filter(|content| is_meant(content.4)).cloned().collect();
    assert!(expected.len() == 2000 && desk.contents(&by_time) == expected);

    let by_offset = Broker::unique("by-offset");
    let offsets = [
        "--create",
        "--from",
        "0:0,1:10,2:20,3:30",
        "--to",
        "0:0,1:11,2:25,3:1000",
    ];
    desk.restored("archive", &by_offset, &offsets);
    let counts = [0, 1, 2, 3].map(|partition| {
        let contents = desk.contents(&by_offset);
        contents.iter().filter(|content| content.0 == partition).count()
    });
    assert_eq!(counts, [0, 1, 5, 970]);
    // Another range is another restore.
    let other = desk.restore("archive", &by_offset, &[]).finish(PATIENCE).expect_code(3);
    assert!(other.stderr.contains("of another restore into it"), "{}", other.stderr);
}

#[test]
fn offsets_that_an_archive_does_not_hold_are_refused_and_count_as_nothing() {
    let desk = Desk::new("restore-beyond");
    let source = desk.even_topic(400);
    let hundred = ["--to", "0:50,1:50,2:50,3:50"];
    desk.replay(&source, "archive", &hundred);
    let target = Broker::unique("beyond");
    for range in [["--to", "0:50,1:50,2:50,3:51"], ["--from", "0:50,1:50,2:90,3:50"]] {
        let options = ["--create", range[0], range[1]];
        let refused = desk.restore("archive", &target, &options).finish(PATIENCE);
        let refused = refused.expect_code(3);
        assert!(
            refused
                .stderr
                .contains("are no range of the archive, which holds [0, 50)"),
            "{}",
            refused.stderr
        );
    }
    let turned = ["--create", "--from", "0:9,1:9,2:9,3:9", "--to", "0:8,1:9,2:9,3:9"];
    desk.restore("archive", &target, &turned)
        .finish(PATIENCE)
        .expect_code(3);
    // What the archive gets later is not taken for restored.
    desk.restored("archive", &target, &["--create"]);
    assert_eq!(desk.contents(&target).len(), 200);
    desk.replay(&source, "archive", &["--to", "latest"]);
    desk.restored("archive", &target, &[]);
    assert!(desk.contents(&target) == desk.contents(&source));
}

#[test]
fn a_damaged_archive_is_no_source_of_a_restore() {
    let desk = Desk::new("restore-damaged");
    let source = desk.even_topic(400);
    let dir = desk.replay(&source, "archive", &["--compression", "none"]);
    let target = Broker::unique("damaged");
    let refused = |expected: &str| {
        let ended = desk.restore("archive", &target, &["--create"]).finish(PATIENCE);
        assert!(
            ended.status.code() == Some(3) || ended.status.code() == Some(7),
            "{}",
            ended.stderr
        );
        assert!(ended.stderr.contains(expected), "{expected} in {}", ended.stderr);
    };
    let file = parquet::files(&dir).pop().expect("files");
    let whole = std::fs::read(&file).expect("a file");
    let mut damaged = whole.clone();
    // A page's bytes: footer and column chunks stay readable.
    damaged[whole.len() / 4] ^= 1;
    std::fs::write(&file, &damaged).expect("the scratch folder can be written");
    refused("length and CRC-32C are not those of the manifest");
    std::fs::write(&file, &whole).expect("the scratch folder can be written");

    let manifest = dir.join("_millstream/manifest.jsonl");
    let listed = std::fs::read_to_string(&manifest).expect("a manifest");
    let (_, rest) = listed.split_once('\n').expect("lines");
    std::fs::write(&manifest, rest).expect("the scratch folder can be written");
    refused("its lines were changed: there are 3 files");
    std::fs::write(&manifest, &listed).expect("the scratch folder can be written");

    let header = dir.join("_millstream/archive.json");
    std::fs::rename(&header, dir.join("elsewhere.json")).expect("the scratch folder can be written");
    refused("is no archive: there is no _millstream/archive.json in it");
    std::fs::rename(dir.join("elsewhere.json"), &header).expect("the scratch folder can be written");
    desk.restored("archive", &target, &["--create"]);
    assert!(desk.contents(&target) == desk.contents(&source));
}

#[test]
fn a_topic_that_would_change_the_records_is_refused() {
    let desk = Desk::new("restore-refused");
    let source = desk.mixed_topic();
    desk.replay(&source, "archive", &[]);
    let check = |topic: &str, expected: &[&str]| {
        let refused = desk.restore("archive", topic, &[]).finish(PATIENCE).expect_code(7);
        for part in expected {
            assert!(refused.stderr.contains(part), "{part} in {}", refused.stderr);
        }
    };
    let absent = Broker::unique("absent");
    let command = format!("--create --topic {absent} --partitions 2 --config message.timestamp.type=CreateTime");
    check(&absent, &["add --create", &command]);
    let narrow = desk.broker.new_topic("narrow", 1);
    check(&narrow, &[&narrow, "has 1 partitions", "give it 2"]);
    let stamped = Broker::unique("stamped");
    let settings = [("message.timestamp.type", "LogAppendTime")];
    desk.broker.create_topic(&stamped, 2, &settings);
    check(&stamped, &["LogAppendTime", "set it to CreateTime"]);
    // The sixth record of each partition has 300,000 bytes of zeros; the small ones go in batches that fit.
    let small = Broker::unique("small");
    let settings = [("max.message.bytes", "10000"), ("compression.type", "producer")];
    desk.broker.create_topic(&small, 2, &settings);
    let properties = desk.scratch.join("plain.properties");
    std::fs::write(&properties, "compression.type=none\n").expect("the scratch folder can be written");
    let properties = properties.display().to_string();
    let refused = desk.restore("archive", &small, &["--properties", &properties]);
    let refused = refused.finish(PATIENCE).expect_code(7);
    let named = "offset 5 (topic ";
    assert!(
        refused.stderr.contains(named) && refused.stderr.contains("max.message.bytes"),
        "{}",
        refused.stderr
    );
    assert!(desk.contents(&small).is_empty(), "the transaction was given up");
}

#[test]
fn a_restore_at_a_pace_keeps_the_distances_of_the_records() {
    let desk = Desk::new("restore-pace");
    let source = desk.broker.new_topic("paced", 2);
    // The second record follows a second after the first, in another partition.
    for partition in 0..2 {
        let record = NewRecord {
            timestamp: Some(OLD_MS + i64::from(partition) * 1000),
            ..NewRecord::of("a record")
        };
        desk.broker.produce(&source, partition, [record]);
    }
    desk.replay(&source, "archive", &[]);
    let target = desk.broker.new_topic("restored", 2);
    let mut running = desk
        .restore("archive", &target, &["--speed", "0.001x", "--commit-interval", "10ms"])
        .start();
    let first = running.wait_until(PATIENCE, "the first record", |_| {
        Some(desk.contents(&target)).filter(|contents| !contents.is_empty())
    });
    assert_eq!(first.len(), 1, "the second one is due in a thousand seconds");
    running.kill();
    desk.restored("archive", &target, &["--speed", "1x"]);
    assert_eq!(desk.contents(&target), desk.contents(&source));
}
