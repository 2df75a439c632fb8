//! The test harness itself: what the other tests rely on.

use std::process::Command;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::harness::broker::{Broker, USERS};
use crate::harness::groups::{Committed, Lag};
use crate::harness::leash::Leash;
use crate::harness::process::Run;
use crate::harness::records::{End, Isolation, NewRecord, Record};
use crate::harness::scratch::Scratch;
use crate::harness::seeded::Seeded;
use crate::harness::topics::Bounds;
use crate::harness::{PATIENCE, eventually};

fn values(records: &[Record]) -> Vec<&[u8]> {
    records
        .iter()
        .map(|record| record.value.as_deref().expect("no tombstone"))
        .collect()
}

#[test]
fn a_record_comes_out_as_it_went_in() {
    let broker = Broker::shared();
    let topic = broker.new_topic("whole", 2);
    let headers = vec![
        ("a".to_owned(), Some(b"1".to_vec())),
        ("a".to_owned(), None),
        ("b".to_owned(), Some(Vec::new())),
    ];
    let new = NewRecord {
        key: Some(b"key".to_vec()),
        value: None,
        headers: headers.clone(),
        timestamp: Some(86_400_000),
    };
    broker.produce(&topic, 1, [NewRecord::of("first"), new]);
    let records = broker.consume(&topic, Isolation::ReadCommitted);
    assert_eq!(records[0].value.as_deref(), Some(&b"first"[..]));
    let expected = Record {
        partition: 1,
        offset: 1,
        key: Some(b"key".to_vec()),
        value: None,
        headers,
        timestamp: Some(86_400_000),
    };
    assert_eq!(records[1..], [expected]);
}

#[test]
fn lines_spread_over_all_partitions() {
    let broker = Broker::shared();
    let topic = broker.new_topic("lines", 4);
    broker.produce_lines(&topic, 4, (0..10_000).map(|line| format!("line {line}")));
    let expected = [3000, 3000, 2000, 2000].map(|end| Bounds { start: 0, end });
    assert_eq!(broker.bounds(&topic), expected);
    let mut lines = 0;
    broker.for_each(&topic, Isolation::ReadCommitted, |_| lines += 1);
    assert_eq!(lines, 10_000);
}

#[test]
fn aborted_records_are_seen_only_uncommitted() {
    let broker = Broker::shared();
    let topic = broker.new_topic("transactions", 1);
    broker.produce_in_transaction(&topic, 0, [NewRecord::of("aborted")], End::Abort);
    broker.produce_in_transaction(&topic, 0, [NewRecord::of("committed")], End::Commit);
    let committed = broker.consume(&topic, Isolation::ReadCommitted);
    assert_eq!(values(&committed), [b"committed"]);
    assert_eq!(committed[0].offset, 2);
    assert_eq!(
        values(&broker.consume(&topic, Isolation::ReadUncommitted)),
        [&b"aborted"[..], b"committed"]
    );
    // Two records and two markers.
    assert_eq!(broker.bounds(&topic), [Bounds { start: 0, end: 4 }]);
}

#[test]
fn topics_grow_lose_records_and_go() {
    let broker = Broker::shared();
    let topic = Broker::unique("changing");
    broker.create_topic(&topic, 1, &[("retention.ms", "-1")]);
    broker.produce(&topic, 0, ["a", "b", "c"].map(NewRecord::of));
    broker.extend_topic(&topic, 2);
    broker.delete_records(&topic, 0, 2);
    let bounds = || {
        let bounds = broker.bounds(&topic);
        (bounds.len() == 2).then_some(bounds)
    };
    let bounds = eventually(PATIENCE, "the new partition is known", bounds);
    assert_eq!(bounds, [Bounds { start: 2, end: 3 }, Bounds { start: 0, end: 0 }]);
    assert_eq!(values(&broker.consume(&topic, Isolation::ReadCommitted)), [b"c"]);
    broker.delete_topic(&topic);
    eventually(PATIENCE, "the topic is gone", || {
        let client: BaseConsumer = broker.client(&[]).create().expect("a valid configuration");
        let metadata = client.fetch_metadata(None, PATIENCE).expect("the broker answers");
        metadata
            .topics()
            .iter()
            .all(|known| known.name() != topic)
            .then_some(())
    });
}

#[test]
fn kafkas_own_tool_shows_what_a_group_committed() {
    let broker = Broker::shared();
    let topic = broker.new_topic("lag", 2);
    let group = Broker::unique("group");
    broker.produce(&topic, 0, ["a", "b", "c"].map(NewRecord::of));
    let consumer: BaseConsumer = broker
        .client(&[("group.id", &group)])
        .create()
        .expect("a valid configuration");
    let mut offsets = TopicPartitionList::new();
    offsets
        .add_partition_offset(&topic, 0, Offset::Offset(2))
        .expect("an offset");
    offsets
        .find_partition(&topic, 0)
        .expect("just added")
        .set_metadata("epoch 7");
    consumer
        .commit(&offsets, CommitMode::Sync)
        .expect("the broker stores the offset");
    let committed = |partition, offset, metadata: &str| Committed {
        partition,
        offset,
        metadata: metadata.to_owned(),
    };
    assert_eq!(
        broker.committed(&group, &topic),
        [committed(0, Some(2), "epoch 7"), committed(1, None, "")]
    );
    let lag = Lag {
        topic,
        partition: 0,
        committed: Some(2),
        end: Some(3),
        lag: Some(1),
    };
    assert_eq!(broker.describe_group(&group), [lag]);
}

#[test]
fn a_killed_broker_keeps_its_data_and_its_address() {
    let broker = Broker::own();
    let topic = broker.new_topic("kept", 1);
    broker.produce(&topic, 0, [NewRecord::of("before")]);
    broker.kill();
    broker.restart();
    broker.produce(&topic, 0, [NewRecord::of("between")]);
    broker.stop();
    broker.restart();
    broker.freeze();
    broker.thaw();
    broker.produce(&topic, 0, [NewRecord::of("after")]);
    let records = broker.consume(&topic, Isolation::ReadCommitted);
    assert_eq!(values(&records), [&b"before"[..], b"between", b"after"]);
}

/// Reads a topic up to its end.
fn read(config: &mut ClientConfig, topic: &str) -> Result<(), KafkaError> {
    config.set("group.id", "secured").set("enable.partition.eof", "true");
    let client: BaseConsumer = config.create().expect("a valid configuration");
    let mut all = TopicPartitionList::new();
    all.add_partition_offset(topic, 0, Offset::Beginning)
        .expect("a marker for the beginning");
    client.assign(&all).expect("a partition can be assigned");
    match client.poll(PATIENCE).expect("the broker answers") {
        Ok(_) | Err(KafkaError::PartitionEOF(0)) => Ok(()),
        Err(error) => Err(error),
    }
}

#[test]
fn the_secure_broker_lets_in_who_has_the_password_or_the_certificate() {
    let broker = Broker::secure();
    let topic = broker.new_topic("secured", 1);
    let ca = broker.certificate("ca.pem").display().to_string();
    let scram = |address: &str, protocol: &str, user: &str, password: &str| {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", address)
            .set("security.protocol", protocol)
            .set("ssl.ca.location", &ca);
        config
            .set("sasl.mechanism", "SCRAM-SHA-256")
            .set("sasl.username", user)
            .set("sasl.password", password);
        config
    };
    let refusal = |config: &mut ClientConfig| read(config, &topic).expect_err("no entry").rdkafka_error_code();
    let [admin, alice, _] = USERS;
    let (plaintext, tls) = (broker.sasl_plaintext(), broker.sasl_ssl());
    read(&mut scram(&plaintext, "SASL_PLAINTEXT", admin, "admin-secret"), &topic).expect("entry");
    read(&mut scram(&tls, "SASL_SSL", admin, "admin-secret"), &topic).expect("entry");
    let wrong = refusal(&mut scram(&tls, "SASL_SSL", admin, "wrong"));
    assert_eq!(wrong, Some(RDKafkaErrorCode::Authentication));

    // Which of the two comes first is a race.
    let without_acl = refusal(&mut scram(&tls, "SASL_SSL", alice, "alice-secret"));
    assert!(
        matches!(
            without_acl,
            Some(RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::GroupAuthorizationFailed)
        ),
        "{without_acl:?}"
    );
    broker.allow("User:alice", "secured");
    broker.allow("User:CN=client", "secured");
    read(&mut scram(&tls, "SASL_SSL", alice, "alice-secret"), &topic).expect("entry");

    let mut certified = ClientConfig::new();
    certified
        .set("bootstrap.servers", broker.mutual_tls())
        .set("security.protocol", "ssl")
        .set("ssl.ca.location", &ca);
    let without_certificate = refusal(&mut certified);
    assert!(
        matches!(
            without_certificate,
            Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::SSL)
        ),
        "{without_certificate:?}"
    );
    certified.set(
        "ssl.certificate.location",
        broker.certificate("client.pem").display().to_string(),
    );
    certified.set(
        "ssl.key.location",
        broker.certificate("client.key").display().to_string(),
    );
    read(&mut certified, &topic).expect("entry");
}

#[test]
fn a_child_process_is_run_signalled_and_its_output_kept() {
    let scratch = Scratch::new("process");
    let input = scratch.join("input");
    std::fs::write(&input, "from the input\n").expect("the scratch folder can be written");
    let shell = |name: &str, script: &str| Run::program("sh", &scratch, name).args(["-c", script]);

    let ended = shell("exit", "cat; echo $X >&2; exit 7")
        .env("X", "set")
        .stdin(&input)
        .finish(PATIENCE);
    let ended = ended.expect_code(7);
    assert_eq!(
        (ended.stdout.as_str(), ended.stderr.as_str()),
        ("from the input\n", "set\n")
    );

    let mut trapped = shell(
        "trap",
        "trap 'echo stopped; exit 0' TERM; echo ready; while :; do sleep 0.01; done",
    )
    .start();
    trapped.wait_until(PATIENCE, "it is ready", |run| {
        run.stdout().contains("ready").then_some(())
    });
    trapped.signal("STOP");
    trapped.signal("TERM");
    assert!(trapped.stderr().is_empty(), "it says nothing while it is stopped");
    trapped.signal("CONT");
    assert_eq!(trapped.wait(PATIENCE).expect_code(0).stdout, "ready\nstopped\n");

    let killed = shell("kill", "sleep 600").start().kill();
    assert_eq!(killed.status.code(), None, "a signal ended it");

    Run::millstream(&scratch, "help")
        .args(["--help"])
        .finish(PATIENCE)
        .expect_code(0);
}

#[test]
fn a_tied_process_dies_with_who_holds_its_leash() {
    let scratch = Scratch::new("leash");
    let leavings = scratch.join("leavings");
    std::fs::create_dir(&leavings).expect("the scratch folder can be written");
    let mut tied = Command::new("sleep").arg("600").spawn().expect("a process");
    // The end of this process would close the same pipe.
    drop(Leash::tie(tied.id(), Some(&leavings)));
    let status = eventually(PATIENCE, "the process dies", || {
        tied.try_wait().expect("a child of this process")
    });
    assert_eq!(status.code(), None, "a signal ended it");
    eventually(PATIENCE, "what it left is removed", || {
        (!leavings.exists()).then_some(())
    });
}

#[test]
fn a_seed_repeats_the_choices() {
    let choose = |mut random: Seeded| {
        let kill_after = random.time_between(Duration::from_millis(10), Duration::from_millis(20));
        assert!((10..=20).contains(&kill_after.as_millis()));
        (kill_after, random.next(), random.in_range(5..6))
    };
    assert_eq!(choose(Seeded::from_seed(1)), choose(Seeded::from_seed(1)));
    assert_ne!(choose(Seeded::from_seed(1)), choose(Seeded::from_seed(2)));
    choose(Seeded::new());
}
