//! `millstream tap` on a real broker.

use crate::harness::PATIENCE;
use crate::harness::broker::Broker;
use crate::harness::process::{Ended, Run};
use crate::harness::records::NewRecord;
use crate::harness::scratch::Scratch;

#[track_caller]
fn tap(scratch: &Scratch, arguments: &[&str]) -> Ended {
    let brokers = Broker::shared().bootstrap();
    let run = Run::millstream(scratch, "tap")
        .args(["tap", "-b", brokers])
        .args(arguments);
    run.finish(PATIENCE)
}

/// A record whose time is that many seconds after 2001-09-09.
fn record(seconds: i64, value: &str) -> NewRecord {
    NewRecord {
        key: Some(format!("k{seconds}").into_bytes()),
        timestamp: Some((1_000_000_000 + seconds) * 1000),
        ..NewRecord::of(value)
    }
}

/// Two partitions whose records take turns in time.
fn topic() -> String {
    let topic = Broker::shared().new_topic("tap", 2);
    for partition in 0..2 {
        let seconds = |number: i64| 2 * number + i64::from(partition);
        let records = (0..20).map(|number| record(seconds(number), &format!("n={}", seconds(number))));
        Broker::shared().produce(&topic, partition, records);
    }
    topic
}

#[test]
fn tap_shows_the_newest_records_of_all_partitions_in_the_order_of_their_times() {
    let (scratch, topic) = (Scratch::new("tap"), topic());
    let shown = tap(&scratch, &[&topic, "--last", "3"]).expect_code(0).stdout;
    let expected = "\
partition  offset  timestamp                    key  value
1          18      2001-09-09T01:47:17.000000Z  k37  n=37
0          19      2001-09-09T01:47:18.000000Z  k38  n=38
1          19      2001-09-09T01:47:19.000000Z  k39  n=39
";
    assert_eq!(shown, expected);
    let shown = tap(&scratch, &[&topic]).expect_code(0).stdout;
    assert_eq!(shown.lines().count(), 11, "a head and ten records: {shown}");
    let shown = tap(&scratch, &[&topic, "--last", "1000"]).expect_code(0).stdout;
    assert_eq!(shown.lines().count(), 41, "{shown}");
    let committed = Broker::shared().committed("millstream-tap", &topic);
    assert!(
        committed.iter().all(|committed| committed.offset.is_none()),
        "{committed:?}"
    );
}

#[test]
fn tap_decodes_and_names_what_it_cannot() {
    let (scratch, topic) = (Scratch::new("tap"), topic());
    Broker::shared().produce(&topic, 1, [record(100, "n=x")]);
    let format = ["-f", "logfmt", "--columns", "n:int", "--last", "2"];
    let ended = tap(&scratch, &[&[topic.as_str()], &format[..]].concat()).expect_code(0);
    assert!(ended.stdout.contains("k39   39"), "{}", ended.stdout);
    assert!(
        ended.stderr.contains("partition 1, offset 20: n: `x` is no int"),
        "{}",
        ended.stderr
    );
    let json = [&[topic.as_str()], &format[..], &["--output-format", "json"]].concat();
    let shown = tap(&scratch, &json).expect_code(0).stdout;
    let last: serde_json::Value = serde_json::from_str(shown.lines().last().expect("two lines")).expect("JSON");
    assert_eq!(
        (&last["offset"], &last["key"], &last["n"]),
        (&20.into(), &"k100".into(), &serde_json::Value::Null)
    );
    assert_eq!(last["_error"], "n: `x` is no int");
}

#[test]
fn tap_reads_as_a_job_does() {
    let (scratch, topic) = (Scratch::new("tap"), topic());
    let job = format!(
        "[source.logs]\nkind = \"kafka\"\nbrokers = \"{}\"\ntopic = \"{topic}\"\nformat = \"logfmt\"\n\
         columns = {{ n = \"int\" }}\n[query]\nsql = \"SELECT n FROM logs\"\n[sink]\nkind = \"console\"\n",
        Broker::shared().bootstrap()
    );
    std::fs::write(scratch.join("job.toml"), job).expect("the scratch folder can be written");
    let run = Run::millstream(&scratch, "tap").args(["tap", "--job", "job.toml", "--last", "1"]);
    let shown = run.finish(PATIENCE).expect_code(0).stdout;
    assert!(shown.contains("key  n  ") && shown.contains("k39  39"), "{shown}");
}

#[test]
fn tap_waits_for_new_records_and_follows_until_it_is_stopped() {
    let (scratch, topic) = (Scratch::new("tap"), topic());
    let brokers = Broker::shared().bootstrap();
    let arguments = ["tap", "-b", brokers, &topic, "--last", "1", "--follow"];
    let mut following = Run::millstream(&scratch, "follow").args(arguments).start();
    following.wait_until(PATIENCE, "the last record is shown", |run| {
        run.stdout().contains("n=39").then_some(())
    });
    Broker::shared().produce(&topic, 0, [record(200, "n=200")]);
    following.wait_until(PATIENCE, "the new record is shown", |run| {
        run.stdout().contains("n=200").then_some(())
    });
    following.signal("INT");
    let ended = following.wait(PATIENCE).expect_code(0);
    assert_eq!(ended.stdout.lines().count(), 3, "{}", ended.stdout);
}
