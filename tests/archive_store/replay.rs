//! What is in a bucket is what would be in a folder.

use std::fs;

use crate::harness::PATIENCE;
use crate::harness::broker::Broker;
use crate::harness::records::NewRecord;
use crate::harness::seeded::Seeded;

use super::{Desk, SMALL, expect_same, topic_of};

#[test]
fn a_bucket_holds_what_a_folder_would_name_for_name_and_byte_for_byte() {
    let topic = topic_of("bucket", 8000);
    let desk = Desk::new("bucket");
    let to_bucket = desk.bucket.address("deep/archive");
    for end in ["0:2500,1:1000", "latest"] {
        let options = [SMALL, &["--to", end]].concat();
        desk.replayed(&topic, "archive", &options);
        desk.replayed(&topic, &to_bucket, &options);
        expect_same(&desk.archive("deep/archive"), &desk.folder("archive"));
    }
    let again = desk.replayed(&topic, &to_bucket, &[SMALL, &["--to", "latest"]].concat());
    assert!(again.stderr.contains("nothing left to do"), "{}", again.stderr);
    expect_same(&desk.archive("deep/archive"), &desk.folder("archive"));
    assert!(desk.bucket.uploads().is_empty(), "no upload is left");
    desk.expect_no_spool();
}

#[test]
fn folders_by_columns_and_commits_of_many_files_are_the_same_too() {
    let topic = topic_of("bucket-folders", 6000);
    let desk = Desk::new("bucket-folders");
    // Two hundred commits: more than have room in the head of the journal.
    let options = [
        "--partition-by",
        "hour(timestamp),topic",
        "--file-rows",
        "30",
        "--segment",
        "1000",
    ];
    desk.replayed(&topic, "archive", &options);
    desk.replayed(&topic, &desk.bucket.address("a"), &options);
    expect_same(&desk.archive("a"), &desk.folder("archive"));
}

#[test]
fn a_large_file_goes_up_in_parts() {
    let topic = Broker::shared().new_topic("parts", 1);
    let mut random = Seeded::from_seed(7);
    let mut bytes = || {
        (0..12_500)
            .flat_map(|_| random.next().to_le_bytes())
            .collect::<Vec<u8>>()
    };
    let records: Vec<_> = (0..210)
        .map(|_| NewRecord {
            key: Some(bytes()),
            ..NewRecord::of("large")
        })
        .collect();
    Broker::shared().produce(&topic, 0, records);
    let desk = Desk::new("parts");
    desk.replayed(&topic, "archive", &["--compression", "none"]);
    desk.replayed(&topic, &desk.bucket.address("a"), &["--compression", "none"]);
    let expected = desk.folder("archive");
    let longest = expected.values().map(Vec::len).max().expect("files");
    assert!(longest > 2 * (8 << 20), "three parts at least: {longest} bytes");
    expect_same(&desk.archive("a"), &expected);
    desk.expect_no_spool();
}

#[test]
fn a_job_file_may_name_a_bucket() {
    let topic = topic_of("bucket-job", 500);
    let desk = Desk::new("bucket-job");
    let (brokers, address) = (Broker::shared().bootstrap(), desk.bucket.address("job"));
    let job = format!(
        "[source.logs]\nkind = \"kafka\"\nbrokers = \"{brokers}\"\ntopics = [\"{topic}\"]\n\n\
         [sink]\nkind = \"parquet\"\ndir = \"{address}\"\n"
    );
    fs::write(desk.scratch.join("job.toml"), job).expect("a scratch file");
    // Looks at the outside world need SQL in the build.
    #[cfg(feature = "sql")]
    desk.run(&["check", "job.toml", "--connect"])
        .finish(PATIENCE)
        .expect_code(0);
    assert_eq!(desk.bucket.names("job"), [""; 0], "a check makes nothing");
    desk.run(&["replay", "job.toml"]).finish(PATIENCE).expect_code(0);
    desk.replayed(&topic, "archive", &[]);
    expect_same(&desk.archive("job"), &desk.folder("archive"));
}
