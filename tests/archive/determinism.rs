//! The same range, the same folder.

use std::fs;

use crate::harness::PATIENCE;
use crate::harness::broker::Broker;
use crate::harness::parquet;
use crate::harness::records::{End, Isolation, NewRecord};
use crate::harness::scratch::Scratch;

use super::{command, content, expect_same, ranges, replay, topic_of};

#[test]
fn threads_clients_and_fetch_sizes_change_no_byte_of_the_folder() {
    let topic = topic_of("same", 40_000);
    let scratch = Scratch::new("same");
    // Batches come in small pieces.
    let pieces = "message.max.bytes = 9000\nfetch.message.max.bytes = 9000\nfetch.max.bytes = 20000\n";
    fs::write(scratch.join("pieces"), pieces).expect("a scratch file");
    for limits in [
        &["--segment", "3000", "--file-rows", "1100"][..],
        &["--segment", "7000", "--file-bytes", "40000", "--compression", "snappy"],
        &["--compression", "none"],
    ] {
        let mut expected = None;
        for (number, options) in [
            &["--threads", "1"][..],
            &["--threads", "2"],
            &["--threads", "3", "--client", "librdkafka"],
            &["--threads", "2", "--properties", "pieces"],
            &["--threads", "2", "--memory", "100MiB", "--rate", "1GB/s"],
        ]
        .into_iter()
        .enumerate()
        {
            let out = format!("archive-{number}");
            replay(&scratch, &topic, &out, &[limits, options].concat());
            let found = content(&scratch.join(&out));
            expect_same(&found, expected.get_or_insert_with(|| found.clone()));
            fs::remove_dir_all(scratch.join(&out)).expect("the archive is there");
        }
    }
}

#[test]
fn another_range_of_the_topic_has_the_same_borders_and_files() {
    let topic = topic_of("borders", 12_000);
    let scratch = Scratch::new("borders");
    let options = |from, to| ["--segment", "2000", "--from", from, "--to", to];
    replay(&scratch, &topic, "all", &options("earliest", "latest"));
    replay(&scratch, &topic, "part", &options("0:1500,1:0", "0:5000,1:0"));
    assert_eq!(ranges(&scratch.join("all"), 0), [(0, 2000), (2000, 4000), (4000, 6000)]);
    assert_eq!(
        ranges(&scratch.join("part"), 0),
        [(1500, 2000), (2000, 4000), (4000, 5000)]
    );
    let name = format!("topic={topic}/partition-00000-offset-{:020}-{:020}.parquet", 2000, 4000);
    assert_eq!(
        content(&scratch.join("all"))[&name],
        content(&scratch.join("part"))[&name]
    );
}

#[test]
fn an_archive_that_is_given_another_end_keeps_its_files_and_goes_on_after_them() {
    let topic = topic_of("grown", 4000);
    let scratch = Scratch::new("grown");
    replay(&scratch, &topic, "archive", &["--to", "0:1500,1:0"]);
    let before = content(&scratch.join("archive"));
    replay(&scratch, &topic, "archive", &["--to", "latest"]);
    let after = content(&scratch.join("archive"));
    assert_eq!(ranges(&scratch.join("archive"), 0), [(0, 1500), (1500, 2000)]);
    let kept = before.iter().filter(|(name, _)| name.ends_with(".parquet"));
    for (name, bytes) in kept {
        assert_eq!(after.get(name), Some(bytes), "{name} is as it was");
    }
    let expected = Broker::shared().consume(&topic, Isolation::ReadCommitted);
    assert_eq!(parquet::records(&scratch.join("archive")), expected);
}

#[test]
fn the_same_command_takes_in_what_came_and_an_end_before_the_archives_is_refused() {
    let topic = topic_of("nightly", 4000);
    let scratch = Scratch::new("nightly");
    for (out, to) in [("latest", "latest"), ("age", "1ms"), ("fixed", "0:2000,1:2000")] {
        replay(&scratch, &topic, out, &["--to", to]);
    }
    let lines = (0..2000).map(|number| format!("the next day {number}"));
    Broker::shared().produce_lines(&topic, 2, lines);
    let all = Broker::shared().consume(&topic, Isolation::ReadCommitted);
    for (out, to) in [("latest", "latest"), ("age", "1ms")] {
        replay(&scratch, &topic, out, &["--to", to]);
        assert!(parquet::records(&scratch.join(out)) == all, "{out} holds all");
        assert_eq!(ranges(&scratch.join(out), 0), [(0, 2000), (2000, 3000)]);
        let before = content(&scratch.join(out));
        let again = replay(&scratch, &topic, out, &["--to", to]);
        assert!(again.stderr.contains("nothing left to do"), "{}", again.stderr);
        expect_same(&content(&scratch.join(out)), &before);
    }
    let fixed = replay(&scratch, &topic, "fixed", &["--to", "0:2000,1:2000"]);
    assert!(fixed.stderr.contains("nothing left to do"), "{}", fixed.stderr);

    let header = fs::read_to_string(scratch.join("latest/_millstream/archive.json")).expect("a header");
    assert!(
        !header.contains("cuts"),
        "what is complete needs no borders of its past: {header}"
    );

    let before = content(&scratch.join("latest"));
    let refused = command(&scratch, &topic, "latest", &["--to", "0:3000,1:500"]);
    let refused = refused.finish(PATIENCE).expect_code(3);
    let says = format!("is offset 500 of {topic}[1], before 3000, up to which the archive goes already");
    assert!(refused.stderr.contains(&says), "{}", refused.stderr);
    expect_same(&content(&scratch.join("latest")), &before);
}

#[test]
fn partitions_that_were_added_join_an_archive_whose_end_moves() {
    let topic = topic_of("widened", 2000);
    let scratch = Scratch::new("widened");
    replay(&scratch, &topic, "archive", &[]);
    Broker::shared().extend_topic(&topic, 3);
    let records = ["one", "two"].map(|text| (2, NewRecord::of(text)));
    Broker::shared().produce_block(&topic, "none", None, records);
    replay(&scratch, &topic, "archive", &[]);
    let mut all = Broker::shared().consume(&topic, Isolation::ReadCommitted);
    all.sort_by_key(|record| (record.partition, record.offset));
    assert_eq!(parquet::records(&scratch.join("archive")), all);
    assert_eq!(ranges(&scratch.join("archive"), 2), [(0, 2)]);
}

#[test]
fn an_open_transaction_neither_shortens_an_archive_nor_is_in_it() {
    let topic = topic_of("open", 1000);
    let scratch = Scratch::new("open");
    replay(&scratch, &topic, "archive", &[]);
    let before = content(&scratch.join("archive"));
    let open = Broker::shared().begin_transaction();
    open.produce(&topic, 0, ["open"].map(NewRecord::of));
    Broker::shared().produce(&topic, 0, ["behind it"].map(NewRecord::of));
    let ended = replay(&scratch, &topic, "archive", &[]);
    assert!(ended.stderr.contains("nothing left to do"), "{}", ended.stderr);
    expect_same(&content(&scratch.join("archive")), &before);
    open.end(End::Commit);
    replay(&scratch, &topic, "archive", &[]);
    let all = Broker::shared().consume(&topic, Isolation::ReadCommitted);
    assert_eq!(parquet::records(&scratch.join("archive")), all);
}

#[test]
fn files_end_by_the_time_of_their_records() {
    const HOUR: i64 = 3_600_000;
    let topic = Broker::shared().new_topic("hours", 1);
    let times = [0, HOUR / 2, HOUR, HOUR + 1, HOUR / 4, 3 * HOUR, 3 * HOUR];
    let record = |&time: &i64| NewRecord {
        timestamp: Some(1_700_000_000_000 + time),
        ..NewRecord::of("line")
    };
    Broker::shared().produce(&topic, 0, times.iter().map(record));
    let scratch = Scratch::new("hours");
    replay(&scratch, &topic, "archive", &["--file-span", "1h"]);
    assert_eq!(ranges(&scratch.join("archive"), 0), [(0, 3), (3, 5), (5, 7)]);
}
