//! Which replay an archive is of, and what a replay leaves alone.

use std::path::PathBuf;

use crate::harness::broker::Broker;
use crate::harness::process::Run;
use crate::harness::records::NewRecord;
use crate::harness::scratch::Scratch;
use crate::harness::{PATIENCE, eventually, parquet};

use super::{command, content, expect_same, replay, topic_of};

#[test]
fn the_folder_of_another_replay_is_refused_with_what_differs() {
    let (topic, other) = (topic_of("mine", 2000), topic_of("other", 2000));
    let scratch = Scratch::new("mine");
    replay(&scratch, &topic, "archive", &[]);
    let before = content(&scratch.join("archive"));
    let refused = |topic: &str, options: &[&str], parts: &[&str]| {
        let ended = command(&scratch, topic, "archive", options)
            .finish(PATIENCE)
            .expect_code(3);
        for part in [&["the archive in archive is of another replay"], parts].concat() {
            assert!(
                ended.stderr.contains(part),
                "`{part}` is in the message: {}",
                ended.stderr
            );
        }
        expect_same(&content(&scratch.join("archive")), &before);
    };
    refused(&other, &[], &[&format!("the topic was `{topic}`, now it is `{other}`")]);
    refused(&topic, &["--from", "1d"], &["the start was `earliest`"]);
    refused(
        &topic,
        &["--compression", "lz4"],
        &["compression was `zstd:1`, now it is `lz4`"],
    );
    refused(&topic, &["--file-rows", "5"], &["file_rows was `none`, now it is `5`"]);
    refused(&topic, &["--read-uncommitted"], &["isolation was `read_committed`"]);
}

#[test]
fn limits_that_can_not_be_are_refused_by_name() {
    let topic = topic_of("limits", 1000);
    let scratch = Scratch::new("limits");
    for (options, part) in [
        (
            &["--memory", "10MiB"][..],
            "the memory limit of 10485760 bytes is less than the 100663296",
        ),
        (
            &["--bloom-filter", "kee"],
            "no column `kee` for a bloom filter: did you mean key?",
        ),
        (&["--bloom-filter", "headers"], "can't have a bloom filter"),
        (&["--from", "committed"], "`--from committed` needs --group"),
        (&["--on-data-loss", "reset"], "expected `--on-data-loss fail` or skip"),
        (&["--file-bytes", "0"], "`--file-bytes` must be at least 1"),
    ] {
        let ended = command(&scratch, &topic, "archive", options)
            .finish(PATIENCE)
            .expect_code(3);
        assert!(
            ended.stderr.contains(part),
            "`{part}` is in the message: {}",
            ended.stderr
        );
        assert!(!scratch.join("archive").exists(), "no folder is made");
    }
}

#[test]
fn an_end_of_an_archive_without_one_is_refused_by_name() {
    let scratch = Scratch::new("endless");
    let refused = |arguments: &[&str], code: i32, part: &str| {
        let ended = Run::millstream(&scratch, "endless").args(arguments).finish(PATIENCE);
        let ended = ended.expect_code(code);
        assert!(
            ended.stderr.contains(part),
            "`{part}` is in the message: {}",
            ended.stderr
        );
    };
    let options = ["replay", "-b", "localhost:1", "-t", "any", "--out", "archive"];
    refused(
        &[&options[..], &["--follow", "--to", "latest"]].concat(),
        2,
        "cannot be used with",
    );
    refused(&[&options[..], &["--file-age", "1s"]].concat(), 2, "--follow");
    refused(&["new", "replay", "--out", "job.toml"], 0, "");
    let job = ["replay", "job.toml", "--follow"];
    refused(
        &[&job[..], &["--set", "source.logs.to=latest"]].concat(),
        3,
        "leave out `to`",
    );
}

#[test]
fn a_replay_leaves_the_group_it_looks_at_as_it_was() {
    let topic = topic_of("group", 2000);
    let scratch = Scratch::new("group");
    let group = Broker::unique("readers");
    replay(&scratch, &topic, "archive", &["--group", &group]);
    replay(
        &scratch,
        &topic,
        "committed",
        &["--group", &group, "--from", "committed"],
    );
    let committed = Broker::shared().committed(&group, &topic);
    assert!(committed.iter().all(|at| at.offset.is_none()), "nothing is committed");
}

#[test]
fn a_pattern_chooses_topics_each_with_its_folder_and_those_that_come_join() {
    let prefix = Broker::unique("pattern");
    for name in ["a", "b"] {
        let topic = format!("{prefix}-{name}");
        Broker::shared().create_topic(&topic, 1, &[]);
        Broker::shared().produce(&topic, 0, ["one", "two"].map(NewRecord::of));
    }
    let scratch = Scratch::new("pattern");
    let run = || {
        let pattern = format!("^{prefix}-");
        Run::millstream(&scratch, "pattern")
            .args([
                "replay",
                "-b",
                Broker::shared().bootstrap(),
                "--out",
                "archive",
                "--topic-pattern",
                &pattern,
            ])
            .finish(PATIENCE)
            .expect_code(0)
    };
    let folders = || -> Vec<String> {
        let files = parquet::files(&scratch.join("archive"));
        let folder = |path: &PathBuf| path.parent()?.file_name()?.to_str().map(str::to_owned);
        files.iter().filter_map(folder).collect()
    };
    let named = |names: &[&str]| -> Vec<String> { names.iter().map(|name| format!("topic={prefix}-{name}")).collect() };
    run();
    assert_eq!(folders(), named(&["a", "b"]));
    let new = format!("{prefix}-c");
    Broker::shared().create_topic(&new, 1, &[]);
    Broker::shared().produce(&new, 0, ["three"].map(NewRecord::of));
    let old = format!("{prefix}-a");
    Broker::shared().delete_topic(&old);
    eventually(PATIENCE, "the topic is gone", || {
        Broker::shared().leader(&old, 0).is_none().then_some(())
    });
    run();
    assert_eq!(folders(), named(&["a", "b", "c"]), "what is archived stays");
    assert!(run().stderr.contains("nothing left to do"));
}
