//! One process works on an archive in a bucket: a second one is refused, and one that was replaced does no harm.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::process::Running;
use crate::harness::{PATIENCE, eventually};

use super::{Desk, SMALL, expect_same, topic_of};

/// What a process may take to end that finds nothing as it left it: it tries again what the server answers with 500.
const WAKING: Duration = Duration::from_secs(600);

const HEAD: &str = "a/_millstream/journal.json";

impl Desk {
    /// Starts a slow replay, and waits for its first file.
    #[track_caller]
    fn slow_replay(&self, topic: &str) -> Running {
        let slow = [SMALL, &["--rate", "100KB/s"]].concat();
        let mut running = self.replay(topic, &self.bucket.address("a"), &slow).start();
        let is_begun = || self.bucket.names("a").iter().any(|name| name.ends_with(".parquet"));
        running.wait_until(PATIENCE, "a file", |_| is_begun().then_some(()));
        running
    }

    fn head(&self) -> Value {
        serde_json::from_slice(&self.bucket.get(HEAD)).expect("the head of the journal")
    }
}

#[test]
fn a_second_process_is_refused_and_told_who_holds_the_archive() {
    let topic = topic_of("bucket-held", 20_000);
    let desk = Desk::new("bucket-held");
    let first = desk.slow_replay(&topic);
    let address = desk.bucket.address("a");
    let refused = desk.replay(&topic, &address, SMALL).finish(PATIENCE).expect_code(75);
    let holder = format!("{address} is in use by process {} on ", first.pid());
    assert!(refused.stderr.contains(&holder), "{}", refused.stderr);
    first.kill();
    // A process of this machine that is no more is not waited for.
    desk.replayed(&topic, &address, SMALL);
}

#[test]
fn a_frozen_process_is_replaced_and_changes_nothing_when_it_wakes() {
    let topic = topic_of("bucket-frozen", 20_000);
    let desk = Desk::new("bucket-frozen");
    let address = desk.bucket.address("a");
    let frozen = desk.slow_replay(&topic);
    frozen.signal("STOP");
    desk.replayed(&topic, &address, SMALL);
    desk.run(&["compact", &address]).finish(PATIENCE).expect_code(0);
    let expected = desk.bucket.content("a");
    frozen.signal("CONT");
    let woken = frozen.wait(WAKING).expect_code(75);
    assert!(
        woken.stderr.contains("fenced: another process took over"),
        "{}",
        woken.stderr
    );
    expect_same(&desk.bucket.content("a"), &expected);
    assert!(desk.bucket.uploads().is_empty(), "no upload is left");
    desk.replayed(&topic, "archive", SMALL);
    desk.run(&["compact", "archive"]).finish(PATIENCE).expect_code(0);
    expect_same(&desk.archive("a"), &desk.folder("archive"));
}

#[test]
fn a_process_on_another_machine_is_waited_for_and_replaced_when_it_is_silent() {
    let topic = topic_of("bucket-elsewhere", 2000);
    let desk = Desk::new("bucket-elsewhere");
    let address = desk.bucket.address("a");
    desk.slow_replay(&topic).kill();
    let mut head = desk.head();
    head["holder"]["host"] = json!("far");
    head["holder"]["machine"] = json!("another one");
    desk.bucket.put(HEAD, head.to_string().as_bytes());

    // It lives: its count goes on.
    let mut waiting = desk.replay(&topic, &address, SMALL).start();
    waiting.wait_until(PATIENCE, "the wait", |run| {
        run.stderr().contains("a sign of life").then_some(())
    });
    head["beat"] = json!(head["beat"].as_u64().expect("a count") + 1);
    desk.bucket.put(HEAD, head.to_string().as_bytes());
    let refused = waiting.wait(PATIENCE).expect_code(75);
    assert!(refused.stderr.contains("on far since "), "{}", refused.stderr);

    // It does not.
    let mut waiting = desk.replay(&topic, &address, SMALL).start();
    let is_taken = || desk.head()["holder"]["host"] != json!("far");
    eventually(PATIENCE, "the archive is taken over", || is_taken().then_some(()));
    waiting.wait_until(PATIENCE, "it is said", |run| {
        run.stderr().contains("taking over").then_some(())
    });
    waiting.wait(PATIENCE).expect_code(0);
    desk.replayed(&topic, "archive", SMALL);
    expect_same(&desk.archive("a"), &desk.folder("archive"));
}
