//! Records and addresses that nobody hopes for, on the real broker: each a defined result or a clear error.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::harness::broker::Broker;
use crate::harness::process::{Ended, Run};
use crate::harness::records::{HeaderList, Isolation, NewRecord};
use crate::harness::scratch::Scratch;
use crate::harness::{PATIENCE, parquet};

/// What a run waits for a broker that does not answer, and as much again for a busy machine.
const NO_ANSWER_MAX: Duration = Duration::from_secs(20);

const MEGABYTE: usize = 1_000_000;

/// Runs a verb over a topic of the shared broker, up to its end.
#[track_caller]
fn run(scratch: &Scratch, verb: &str, topic: &str, options: &[&str]) -> Ended {
    run_at(Broker::shared().bootstrap(), scratch, verb, topic, options)
}

#[track_caller]
fn run_at(brokers: &str, scratch: &Scratch, verb: &str, topic: &str, options: &[&str]) -> Ended {
    let run = Run::millstream(scratch, verb).args([verb, "--brokers", brokers, "--topic", topic, "--to", "latest"]);
    run.args(options).finish(PATIENCE)
}

/// Checks that a replay has every record of `topic` as the broker has it, and returns the word count of the topic with
/// what the program said.
#[track_caller]
fn replay_and_count(topic: &str) -> (BTreeMap<String, i64>, String) {
    let scratch = Scratch::new("bad");
    run(&scratch, "replay", topic, &["--out", "archive"]).expect_code(0);
    let expected = Broker::shared().consume(topic, Isolation::ReadCommitted);
    let found = parquet::records(&scratch.join("archive"));
    assert!(
        found == expected,
        "{} records, expected {}",
        found.len(),
        expected.len()
    );
    let counted = run(&scratch, "wordcount", topic, &["--out", "parquet:table"]).expect_code(0);
    (parquet::counts(&scratch.join("table")), counted.stderr)
}

fn counts(pairs: &[(&str, i64)]) -> BTreeMap<String, i64> {
    pairs.iter().map(|&(word, count)| (word.to_owned(), count)).collect()
}

#[track_caller]
fn check_refused(ended: Ended, code: i32, parts: &[&str]) {
    let stderr = ended.expect_code(code).stderr;
    for part in parts {
        assert!(stderr.contains(part), "`{part}` is in the message:\n{stderr}");
    }
}

#[test]
fn an_unknown_topic_is_named_with_the_nearest_there_is() {
    let topic = Broker::shared().new_topic("access-log", 1);
    let misspelt = topic.replacen("access", "acess", 1);
    let scratch = Scratch::new("unknown");
    let message = format!(
        "cannot read topic {misspelt}: the brokers at {} have no such topic",
        Broker::shared().bootstrap()
    );
    for (verb, options) in [("wordcount", &[][..]), ("replay", &["--out", "archive"])] {
        let ended = run(&scratch, verb, &misspelt, options);
        check_refused(ended, 7, &["millstream: ", &message, "did you mean ", &topic]);
    }
    let ended = run(&scratch, "wordcount", "no-name-is-like-this-one", &[]);
    check_refused(ended, 7, &["no such topic; create it first, or check the spelling"]);
    check_refused(
        run(&scratch, "wordcount", "a b", &[]),
        3,
        &["expected a topic name", "not `a b`"],
    );
    let both = format!("{topic},{topic}");
    check_refused(
        run(&scratch, "wordcount", &both, &[]),
        3,
        &[&format!("the topic {topic} is named twice")],
    );
}

#[test]
fn an_output_topic_that_is_not_there_is_named() {
    let topic = Broker::shared().new_topic("in", 1);
    Broker::shared().produce(&topic, 0, ["a"].map(NewRecord::of));
    let scratch = Scratch::new("output");
    let options = ["--out", "kafka:no-such-output", "--checkpoint", "state"];
    check_refused(run(&scratch, "wordcount", &topic, &options), 7, &["no-such-output"]);
    let brokers = Broker::shared().bootstrap();
    let generate = ["generate", "-n", "10", "-b", brokers, "-t", "no-such-output"];
    let ended = Run::millstream(&scratch, "generate").args(generate).finish(PATIENCE);
    check_refused(ended, 7, &["no-such-output"]);
}

#[test]
fn brokers_that_do_not_answer_are_named_in_time() {
    let scratch = Scratch::new("away");
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.local_addr().expect("a bound port").to_string()
    };
    // Takes connections, and never says anything.
    let mute = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let mute = mute
        .local_addr()
        .map(|address| (mute, address.to_string()))
        .expect("a bound port");
    for (address, part) in [
        (closed.as_str(), "Connection refused"),
        (&mute.1, "no answer within"),
        ("no-such-host.invalid:9092", "Failed to resolve"),
    ] {
        let start = Instant::now();
        let ended = run_at(address, &scratch, "wordcount", "logs", &[]);
        assert!(start.elapsed() < NO_ANSWER_MAX, "{address}: {:?}", start.elapsed());
        assert_eq!(ended.stdout, "");
        check_refused(
            ended,
            4,
            &["millstream: cannot connect to ", address, "check the address", part],
        );
    }
}

#[test]
fn ten_megabytes_in_one_record_are_a_record_like_others() {
    let topic = Broker::unique("large");
    let limit = (11 * MEGABYTE).to_string();
    Broker::shared().create_topic(&topic, 1, &[("max.message.bytes", &limit)]);
    let line = "ten megabytes ".repeat(10 * MEGABYTE / 14);
    let lines = i64::try_from(line.len() / 14).expect("a small number");
    let one_word = "x".repeat(5 * MEGABYTE);
    let records = [
        NewRecord::of("before"),
        NewRecord::of(line),
        NewRecord::of(one_word.clone()),
        NewRecord::of("after"),
    ];
    Broker::shared().produce(&topic, 0, records);
    let (words, _) = replay_and_count(&topic);
    let expected = counts(&[
        ("before", 1),
        ("ten", lines),
        ("megabytes", lines),
        (&one_word, 1),
        ("after", 1),
    ]);
    assert!(words == expected, "{} words", words.len());
}

#[test]
fn bytes_that_are_not_utf8_are_kept_by_a_replay_and_repaired_and_reported_by_a_count() {
    let topic = Broker::shared().new_topic("bytes", 1);
    let values: [&[u8]; 5] = [
        b"fine",
        b"\xff\xfe",
        b"half \xe2\x82",
        b"\xc3( \xf0\x9f\x92",
        b"nul \x00 byte",
    ];
    Broker::shared().produce(&topic, 0, values.map(NewRecord::of));
    let (words, said) = replay_and_count(&topic);
    let mut expected = BTreeMap::new();
    for value in values {
        for word in String::from_utf8_lossy(value).split_ascii_whitespace() {
            *expected.entry(word.to_owned()).or_insert(0) += 1;
        }
    }
    assert_eq!(words, expected);
    assert!(
        said.contains("3 rows were not UTF-8 and were repaired with U+FFFD"),
        "{said}"
    );
}

#[test]
fn a_tombstone_is_not_an_empty_value_and_neither_has_words() {
    let topic = Broker::shared().new_topic("tombstones", 1);
    let of = |key: Option<&str>, value: Option<&str>| NewRecord {
        key: key.map(|key| key.as_bytes().to_vec()),
        value: value.map(|value| value.as_bytes().to_vec()),
        ..NewRecord::default()
    };
    let records = [
        of(Some("key"), None),
        of(Some(""), Some("")),
        of(None, Some("word")),
        of(None, None),
        of(Some("key"), Some(" \t ")),
    ];
    Broker::shared().produce(&topic, 0, records);
    // The replay is compared with what the broker has, nulls and empty values told apart.
    let (words, said) = replay_and_count(&topic);
    assert_eq!(words, counts(&[("word", 1)]));
    assert!(!said.contains("repaired"), "{said}");
}

#[test]
fn a_topic_of_tombstones_only_and_an_empty_topic_have_no_words() {
    let topic = Broker::shared().new_topic("silent", 2);
    let scratch = Scratch::new("silent");
    assert_eq!(run(&scratch, "wordcount", &topic, &[]).expect_code(0).stdout, "");
    let (words, _) = replay_and_count(&topic);
    assert!(words.is_empty());
    Broker::shared().produce(&topic, 1, (0..10).map(|_| NewRecord::default()));
    let (words, _) = replay_and_count(&topic);
    assert!(words.is_empty());
}

#[test]
fn headers_keep_their_order_their_repeats_and_their_nulls() {
    let topic = Broker::shared().new_topic("headers", 1);
    let header = |name: &str, value: Option<&[u8]>| (name.to_owned(), value.map(<[u8]>::to_vec));
    let lists: [HeaderList; 5] = [
        vec![
            header("a", Some(b"1")),
            header("a", Some(b"2")),
            header("b", None),
            header("a", Some(b"1")),
        ],
        vec![],
        vec![header("", Some(b"")), header("", None)],
        vec![
            header("bytes", Some(b"\x00\xff\xfe")),
            header("ä", Some("ö".as_bytes())),
        ],
        (0..500)
            .map(|number| header(&format!("h{}", number % 7), Some(b"many")))
            .collect(),
    ];
    let record = |headers| NewRecord {
        headers,
        ..NewRecord::of("word")
    };
    Broker::shared().produce(&topic, 0, lists.map(record));
    let (words, _) = replay_and_count(&topic);
    assert_eq!(words, counts(&[("word", 5)]));
}

#[test]
fn names_that_look_like_paths_stay_inside_the_output_folder() {
    // All that a topic's name may have; keys and headers are data, and never a part of a path.
    let topic = Broker::unique("..dots.and__lines-");
    Broker::shared().create_topic(&topic, 1, &[]);
    let record = NewRecord {
        key: Some(b"../../../key".to_vec()),
        headers: vec![("../../header".to_owned(), Some(b"/etc/passwd".to_vec()))],
        timestamp: Some(0),
        ..NewRecord::of("../../../value")
    };
    Broker::shared().produce(&topic, 0, [record]);
    let (words, _) = replay_and_count(&topic);
    assert_eq!(words, counts(&[("../../../value", 1)]));
}
