//! Records of all kinds, each read by both clients.

use std::fs;

use crate::harness::broker::Broker;
use crate::harness::process::Run;
use crate::harness::records::{End, Isolation, NewRecord, Record};
use crate::harness::scratch::Scratch;
use crate::harness::{PATIENCE, eventually};

use super::{CLIENTS, replay};

/// Reads a topic by both clients, and returns what both gave.
#[track_caller]
fn check(topic: &str) -> Vec<Record> {
    check_isolation(topic, Isolation::ReadCommitted)
}

#[track_caller]
fn check_isolation(topic: &str, isolation: Isolation) -> Vec<Record> {
    let broker = Broker::shared();
    let options: &[&str] = match isolation {
        Isolation::ReadCommitted => &[],
        Isolation::ReadUncommitted => &["--read-uncommitted"],
    };
    let mut expected = broker.consume(topic, isolation);
    loop {
        let read = CLIENTS.map(|client| replay(broker, topic, client, options));
        // What is compacted away meanwhile is missed by nobody.
        let after = broker.consume(topic, isolation);
        if after != expected {
            expected = after;
            continue;
        }
        for (read, client) in read.iter().zip(CLIENTS) {
            assert_eq!(read.len(), expected.len(), "{client}");
            let differing = read.iter().zip(&expected).find(|(read, expected)| read != expected);
            assert_eq!(differing, None, "{client}");
        }
        return expected;
    }
}

/// Returns a topic of a name like `name` and with one setting.
fn topic_with(name: &str, setting: (&str, &str)) -> String {
    let topic = Broker::unique(name);
    Broker::shared().create_topic(&topic, 2, &[setting]);
    topic
}

/// Returns records with all that a record can have, and all that it can lack.
fn of_all_kinds() -> Vec<NewRecord> {
    let headers = [
        ("a".to_owned(), Some(b"1".to_vec())),
        ("a".to_owned(), None),
        ("b".to_owned(), Some(Vec::new())),
        (String::new(), Some(vec![0xff; 300])),
    ];
    let bytes = [None, Some(Vec::new()), Some(b"bytes".to_vec()), Some(vec![0; 300])];
    let mut records = Vec::new();
    for key in &bytes {
        for value in &bytes {
            for headers in [&headers[..], &headers[..1], &[]] {
                records.push(NewRecord {
                    key: key.clone(),
                    value: value.clone(),
                    headers: headers.to_vec(),
                    timestamp: Some(1_700_000_000_000 - i64::try_from(records.len()).expect("few") * 777),
                });
            }
        }
    }
    records
}

#[test]
fn every_compression_gives_the_same_records() {
    for compression in ["uncompressed", "gzip", "snappy", "lz4", "zstd"] {
        let topic = topic_with(compression, ("compression.type", compression));
        let lines = (0..20_000).map(|line| format!("{compression}: line {line} of a log"));
        Broker::shared().produce_lines(&topic, 2, lines);
        Broker::shared().produce(&topic, 1, of_all_kinds());
        assert_eq!(check(&topic).len(), 20_000 + of_all_kinds().len());
    }
}

#[test]
fn the_brokers_time_is_that_of_its_records() {
    let topic = topic_with("appended", ("message.timestamp.type", "LogAppendTime"));
    Broker::shared().produce(&topic, 0, of_all_kinds());
    let records = check(&topic);
    let asked_for = of_all_kinds()[0].timestamp;
    assert!(records.iter().all(|record| record.timestamp > asked_for), "it is later");
}

#[test]
fn transactions_of_two_producers_that_take_turns_are_told_apart() {
    let broker = Broker::shared();
    let topic = broker.new_topic("turns", 1);
    let mut expected = Vec::new();
    for round in 0..4 {
        let (left, right) = (broker.begin_transaction(), broker.begin_transaction());
        let (left_end, right_end) = match round % 4 {
            0 => (End::Commit, End::Abort),
            1 => (End::Abort, End::Commit),
            2 => (End::Abort, End::Abort),
            _ => (End::Commit, End::Commit),
        };
        for turn in 0..3 {
            for (name, transaction, end) in [("left", &left, left_end), ("right", &right, right_end)] {
                let value = format!("{name} {round} {turn}");
                transaction.produce(&topic, 0, [NewRecord::of(value.as_str())]);
                if end == End::Commit {
                    expected.push(value);
                }
            }
            broker.produce(&topic, 0, [NewRecord::of("plain")]);
            expected.push("plain".to_owned());
        }
        // Now one ends first, now the other.
        if round % 2 == 0 {
            left.end(left_end);
            right.end(right_end);
        } else {
            right.end(right_end);
            left.end(left_end);
        }
    }
    let committed = check(&topic);
    let values = committed
        .iter()
        .map(|record| record.value.clone().expect("no tombstone"));
    assert!(values.eq(expected.into_iter().map(String::into_bytes)));
    assert!(check_isolation(&topic, Isolation::ReadUncommitted).len() > committed.len());
    // An open transaction holds back what comes after it.
    let open = broker.begin_transaction();
    open.produce(&topic, 0, [NewRecord::of("open")]);
    broker.produce(&topic, 0, [NewRecord::of("held back")]);
    assert_eq!(check(&topic).len(), committed.len());
    open.end(End::Abort);
    assert_eq!(check(&topic).len(), committed.len() + 1);
}

#[test]
fn a_compacted_topic_has_gaps_and_no_less() {
    let broker = Broker::shared();
    let topic = broker.compacted_topic();
    let keyed = |round: usize| {
        let record = move |key: usize| NewRecord {
            key: Some(key.to_string().into_bytes()),
            ..NewRecord::of(format!("{key} in round {round}"))
        };
        (0..500).filter(move |key| key % (round + 1) == 0).map(record)
    };
    let mut written = 0;
    for round in 0..5 {
        broker.produce(&topic, 0, keyed(round));
        written += keyed(round).count();
    }
    eventually(PATIENCE, "records are compacted away", || {
        // One more record makes a new segment, so that the one before can be compacted.
        broker.produce(&topic, 0, keyed(4).take(1));
        written += 1;
        (broker.consume(&topic, Isolation::ReadCommitted).len() < written).then_some(())
    });
    let records = check(&topic);
    assert!(
        records.windows(2).any(|pair| pair[1].offset > pair[0].offset + 1),
        "there is a gap"
    );
}

#[test]
fn records_from_nothing_to_ten_megabytes_arrive_whole() {
    let broker = Broker::shared();
    let topic = broker.new_topic("sizes", 2);
    for (index, size) in [
        0,
        1,
        127,
        128,
        1 << 14,
        1 << 20,
        (1 << 20) + 1,
        4 << 20,
        10_000_000,
        1,
        0,
    ]
    .into_iter()
    .enumerate()
    {
        let value: Vec<u8> = (0..size)
            .map(|byte: usize| u8::try_from(byte % 251).expect("small"))
            .collect();
        let partition = i32::try_from(index % 2).expect("two partitions");
        broker.produce(&topic, partition, [NewRecord::of(value)]);
    }
    assert_eq!(check(&topic).len(), 11);
}

#[test]
fn many_partitions_and_small_fetches_lose_nothing() {
    let broker = Broker::shared();
    let topic = broker.new_topic("many", 30);
    broker.produce_lines(&topic, 30, (0..60_000).map(|line| format!("line {line}")));
    let scratch = Scratch::new("small");
    fs::write(
        scratch.join("small"),
        "message.max.bytes = 7000\nfetch.max.bytes = 20000\nmax.partition.fetch.bytes = 7000\n",
    )
    .expect("a scratch file");
    let options = ["--client", "native", "--properties", "small", "--to", "latest"];
    let run = Run::millstream(&scratch, "count").args(["wordcount", "-b", broker.bootstrap(), "-t", &topic]);
    let counts = run.args(options).finish(PATIENCE).expect_code(0).stdout;
    assert!(
        counts.lines().any(|line| line == "line\t60000"),
        "each line is counted once"
    );
    assert_eq!(counts.lines().count(), 60_001);
}

#[test]
fn a_setting_for_librdkafka_alone_is_said_once_and_refused_to_native() {
    let broker = Broker::shared();
    let topic = broker.new_topic("fallback", 2);
    broker.produce(&topic, 0, [NewRecord::of("word")]);
    let run = |client: &str| {
        let scratch = Scratch::new("fallback");
        fs::write(scratch.join("settings"), "client.dns.lookup = use_all_dns_ips\n").expect("a scratch file");
        let run = Run::millstream(&scratch, "count").args(["wordcount", "-b", broker.bootstrap(), "-t", &topic]);
        let options = ["-v", "--to", "latest", "--properties", "settings", "--client", client];
        run.args(options).finish(PATIENCE)
    };
    let fallen = run("auto").expect_code(0);
    assert_eq!(fallen.stdout, "word\t1\n");
    let said = fallen
        .stderr
        .matches("librdkafka reads, the native client can't")
        .count();
    assert_eq!(said, 1, "{}", fallen.stderr);
    assert!(fallen.stderr.contains("client.dns.lookup"), "{}", fallen.stderr);
    let refused = run("native").expect_code(3);
    assert!(
        refused
            .stderr
            .contains("the setting client.dns.lookup is for librdkafka"),
        "{}",
        refused.stderr
    );
}
