//! An archive in a bucket is verified, goes back to a topic, and is compacted.

use serde_json::Value;

use crate::harness::PATIENCE;
use crate::harness::broker::Broker;
use crate::harness::records::Isolation;

use super::{Desk, SMALL, expect_same, topic_of};

impl Desk {
    /// Verifies the archive at an address, and returns what was found.
    #[track_caller]
    fn findings(&self, address: &str, code: i32) -> String {
        let ended = self.run(&["verify", address, "--format", "json"]).finish(PATIENCE);
        let report: Value = serde_json::from_str(&ended.expect_code(code).stdout).expect("a report in JSON");
        report["findings"].to_string()
    }
}

#[test]
fn what_is_damaged_missing_truncated_or_strange_in_a_bucket_is_found() {
    let topic = topic_of("bucket-verify", 4000);
    let desk = Desk::new("bucket-verify");
    let address = desk.bucket.address("a");
    desk.replayed(&topic, &address, SMALL);
    let brokers = Broker::shared().bootstrap();
    let whole = desk
        .run(&["verify", &address, "--against", brokers])
        .finish(PATIENCE)
        .expect_code(0);
    assert!(whole.stdout.contains("nothing is wrong"), "{}", whole.stdout);

    let names = desk.bucket.names("a");
    let name = names.iter().find(|name| name.ends_with(".parquet")).expect("a file");
    let object = format!("a/{name}");
    let content = desk.bucket.get(&object);
    let mut damaged = content.clone();
    damaged[content.len() / 2] ^= 1;
    for (found, problem) in [
        (Some(&damaged[..]), "was changed: the CRC-32C"),
        (Some(&content[..content.len() - 9]), "bytes long, the manifest says"),
        (None, "is missing: "),
    ] {
        match found {
            Some(bytes) => desk.bucket.put(&object, bytes),
            None => desk.bucket.delete(&object),
        }
        let findings = desk.findings(&address, 6);
        assert!(
            findings.contains(problem) && findings.contains(name),
            "{problem} in {findings}"
        );
    }
    let refused = desk.run(&["restore", &address, "-b", brokers, "--to-topic", "nowhere"]);
    let refused = refused.finish(PATIENCE).expect_code(3);
    assert!(
        refused.stderr.contains("millstream verify names them"),
        "{}",
        refused.stderr
    );
    let refused = desk.run(&["compact", &address]).finish(PATIENCE).expect_code(7);
    assert!(
        refused.stderr.contains("it is missing: run verify"),
        "{}",
        refused.stderr
    );

    desk.bucket.put(&object, &content);
    desk.bucket.put("a/topic=x/strange.parquet", b"rows");
    let findings = desk.findings(&address, 6);
    assert!(findings.contains("is not in the manifest"), "{findings}");
    desk.expect_no_spool();
}

#[test]
fn an_archive_in_a_bucket_goes_back_to_a_topic() {
    let topic = topic_of("bucket-restore", 3000);
    let desk = Desk::new("bucket-restore");
    let address = desk.bucket.address("a");
    desk.replayed(&topic, &address, SMALL);
    let (brokers, target) = (Broker::shared().bootstrap(), Broker::unique("restored"));
    let restore = ["restore", &address, "-b", brokers, "--to-topic", &target, "--create"];
    desk.run(&restore).finish(PATIENCE).expect_code(0);
    let of = |topic: &str| {
        let records = Broker::shared().consume(topic, Isolation::ReadCommitted).into_iter();
        let mut contents: Vec<_> = records
            .map(|record| (record.partition, record.offset, record.value, record.timestamp))
            .collect();
        contents.sort();
        contents
            .into_iter()
            .map(|(partition, _, value, time)| (partition, value, time))
            .collect::<Vec<_>>()
    };
    assert!(of(&target) == of(&topic), "the same records in the same order");
    let against = ["verify", &address, "--against", brokers, "--restored-as", &target];
    desk.run(&against).finish(PATIENCE).expect_code(0);
    desk.expect_no_spool();
}

#[test]
fn a_compaction_of_a_bucket_gives_what_that_of_a_folder_gives() {
    let topic = topic_of("bucket-compact", 8000);
    let desk = Desk::new("bucket-compact");
    let address = desk.bucket.address("a");
    for place in ["archive", &address] {
        desk.replayed(&topic, place, SMALL);
        let plan = desk
            .run(&["compact", place, "--target", "30KB", "--dry-run"])
            .finish(PATIENCE)
            .expect_code(0);
        assert!(plan.stdout.contains(" would become "), "{}", plan.stdout);
        desk.run(&["compact", place, "--target", "30KB"])
            .finish(PATIENCE)
            .expect_code(0);
    }
    expect_same(&desk.archive("a"), &desk.folder("archive"));
    assert_eq!(desk.findings(&address, 0), "[]");
    desk.run(&["compact", &address]).finish(PATIENCE).expect_code(0);
    desk.run(&["compact", "archive"]).finish(PATIENCE).expect_code(0);
    expect_same(&desk.archive("a"), &desk.folder("archive"));
}
