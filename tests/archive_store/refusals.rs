//! What can't be is refused at once, by name, with the exit code for it, and without a word of secrets.

use crate::harness::PATIENCE;
use crate::harness::broker::Broker;
use crate::harness::process::Ended;

use super::between::Between;
use super::{Desk, topic_of};

/// Checks how a run ended, what it says, and that it says nothing of the keys.
#[track_caller]
fn expect_refusal(ended: Ended, code: i32, parts: &[&str]) {
    let ended = ended.expect_code(code);
    for part in parts {
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
    assert!(!ended.stderr.contains("canary"), "{}", ended.stderr);
}

#[test]
fn a_bucket_that_is_not_there_or_may_not_be_used_ends_a_run_before_it_reads() {
    let topic = topic_of("bucket-refused", 10);
    let desk = Desk::new("bucket-refused");
    let nowhere = desk.replay(&topic, "s3://no-such-bucket/a", &[]).finish(PATIENCE);
    expect_refusal(
        nowhere,
        4,
        &["cannot connect to s3://no-such-bucket/a", "NoSuchBucket", "AWS_*"],
    );
    let address = desk.bucket.address("a");
    let between = Between::forbidding(desk.bucket.port);
    for command in [
        &[
            "replay",
            "-b",
            Broker::shared().bootstrap(),
            "-t",
            &topic,
            "--out",
            &address,
        ][..],
        &["verify", &address],
        &["compact", &address],
        &[
            "restore",
            &address,
            "-b",
            Broker::shared().bootstrap(),
            "--to-topic",
            &topic,
        ],
    ] {
        let refused = desk.run_through(between.port, command).finish(PATIENCE);
        expect_refusal(refused, 4, &[&address, "the store refuses", "look at the keys"]);
    }
    assert_eq!(desk.bucket.names("a"), [""; 0]);
}

#[test]
fn a_place_with_something_else_is_left_alone() {
    let topic = topic_of("bucket-strange", 10);
    let desk = Desk::new("bucket-strange");
    desk.bucket.put("a/rows.csv", b"mine");
    let address = desk.bucket.address("a");
    let refused = desk.replay(&topic, &address, &[]).finish(PATIENCE);
    expect_refusal(refused, 7, &["it is not empty (it holds rows.csv)"]);
    assert_eq!(desk.bucket.names("a"), ["rows.csv"]);
    let none = desk.run(&["verify", &address]).finish(PATIENCE);
    expect_refusal(none, 3, &["is no archive"]);
}

#[test]
fn what_can_not_be_in_a_bucket_says_so_and_makes_no_folder() {
    let topic = topic_of("bucket-folder", 10);
    let desk = Desk::new("bucket-folder");
    let brokers = Broker::shared().bootstrap();
    let address = desk.bucket.address("a");
    let out = format!("parquet:{address}");
    let count = desk
        .run(&["wordcount", "-b", brokers, "-t", &topic, "--out", &out])
        .finish(PATIENCE);
    expect_refusal(count, 3, &["rows of a query can't be in an object store", &address]);
    let strange = desk.replay(&topic, "http://bucket/a", &[]).finish(PATIENCE);
    expect_refusal(strange, 2, &["`http://` is no place of an archive"]);
    assert!(!desk.scratch.join("s3:").exists(), "no folder of that name");
}

#[test]
fn the_other_services_are_found_by_their_settings_and_missing_ones_are_named() {
    let desk = Desk::new("services");
    let verify = |address: &str| desk.run(&["verify", address]);
    let unset = verify("az://logs/a").finish(PATIENCE);
    expect_refusal(unset, 3, &["az://logs/a: the settings in AZURE_* can't be used"]);
    let no_file = verify("gs://logs/a").env("GOOGLE_APPLICATION_CREDENTIALS", "no-such-file");
    expect_refusal(
        no_file.finish(PATIENCE),
        3,
        &["gs://logs/a: the settings in GOOGLE_* can't be used", "no-such-file"],
    );
    let between = Between::forbidding(desk.bucket.port);
    let endpoint = format!("http://127.0.0.1:{}", between.port);
    let azure = verify("az://logs/a")
        .env("AZURE_STORAGE_ACCOUNT_NAME", "account")
        .env("AZURE_STORAGE_SAS_TOKEN", "sv=1&sig=canary")
        .env("AZURE_STORAGE_ENDPOINT", &endpoint)
        .env("AZURE_ALLOW_HTTP", "true");
    expect_refusal(azure.finish(PATIENCE), 4, &["az://logs/a", "the store refuses"]);
    let google = verify("gs://logs/a")
        .env("GOOGLE_BASE_URL", &endpoint)
        .env("GOOGLE_SKIP_SIGNATURE", "true")
        .env("GOOGLE_ALLOW_HTTP", "true");
    expect_refusal(google.finish(PATIENCE), 4, &["gs://logs/a", "the store refuses"]);
}
