//! Archives of job files.

use std::fs;

use crate::harness::PATIENCE;
use crate::harness::broker::Broker;
use crate::harness::process::{Ended, Run};
use crate::harness::scratch::Scratch;

use super::{content, expect_same, replay, topic_of};

#[track_caller]
fn millstream(scratch: &Scratch, arguments: &[&str]) -> Ended {
    Run::millstream(scratch, "millstream").args(arguments).finish(PATIENCE)
}

#[test]
fn the_archive_of_the_template_is_that_of_the_options_byte_for_byte() {
    let topic = topic_of("template", 9000);
    let scratch = Scratch::new("template");
    millstream(&scratch, &["new", "replay", "--out", "job.toml"]).expect_code(0);
    let brokers = format!("source.logs.brokers={}", Broker::shared().bootstrap());
    let source = format!("source.logs.topic={topic}");
    let job = |more: &[&str]| {
        let common = ["replay", "job.toml", "--set", &brokers, "--set", &source];
        millstream(&scratch, &[&common, more].concat()).expect_code(0);
    };
    job(&["--set", "sink.dir=by-job", "--threads", "2"]);
    let options = ["--partition-by", "topic", "--bloom-filter", "key"];
    replay(&scratch, &topic, "by-options", &options);
    expect_same(&content(&scratch.join("by-job")), &content(&scratch.join("by-options")));

    let small = [&options[..], &["--segment", "1000", "--to", "0:2500,1:0"]].concat();
    replay(&scratch, &topic, "small", &small);
    let set = ["--set", "sink.dir=small-by-job", "--set", "sink.segment=1000"];
    job(&[&set[..], &["--to", "0:2500,1:0"]].concat());
    expect_same(
        &content(&scratch.join("small-by-job")),
        &content(&scratch.join("small")),
    );
}

#[test]
fn the_archive_of_a_job_with_a_format_is_that_of_the_options_byte_for_byte() {
    let topic = Broker::shared().new_topic("format", 1);
    let line = |number: i64| match number % 10 {
        9 => "no pairs".to_owned(),
        _ => format!("n={number} word=x{number}"),
    };
    Broker::shared().produce_lines(&topic, 1, (0..500).map(line));
    let scratch = Scratch::new("format");
    let text = format!(
        "[source.logs]\nkind = \"kafka\"\nbrokers = \"{}\"\ntopic = \"{topic}\"\nformat = \"logfmt\"\non_bad = \"null\"\n\
         columns = {{ n = \"int\", word = \"string\" }}\n\
         [sink]\nkind = \"parquet\"\ndir = \"by-job\"\nlayout = \"both\"\nfile_rows = 70\ncompression = \"snappy\"\n",
        Broker::shared().bootstrap()
    );
    fs::write(scratch.join("job.toml"), text).expect("a scratch file");
    let shown = millstream(&scratch, &["check", "job.toml"]).expect_code(0).stdout;
    let line = "  archive, by `millstream replay`: parquet by-job, layout both\n";
    assert!(shown.contains(line), "{shown}");
    let explained = millstream(&scratch, &["explain", "job.toml"]).expect_code(0).stdout;
    assert!(explained.contains(line), "{explained}");
    millstream(&scratch, &["replay", "job.toml"]).expect_code(0);
    let format = [
        "--input-format",
        "logfmt",
        "--columns",
        "n:int,word:string",
        "--on-bad",
        "null",
    ];
    let files = ["--layout", "both", "--file-rows", "70", "--compression", "snappy"];
    replay(&scratch, &topic, "by-options", &[&format[..], &files].concat());
    expect_same(&content(&scratch.join("by-job")), &content(&scratch.join("by-options")));
}

#[test]
fn run_and_replay_name_each_other_for_a_job_that_is_not_theirs() {
    let scratch = Scratch::new("theirs");
    millstream(&scratch, &["new", "replay", "--out", "archive.toml"]).expect_code(0);
    let said = millstream(&scratch, &["run", "archive.toml"]).expect_code(3).stderr;
    assert!(said.contains("`millstream replay JOB` archives"), "{said}");
    millstream(&scratch, &["new", "word_count", "--out", "words.toml"]).expect_code(0);
    let said = millstream(&scratch, &["replay", "words.toml"]).expect_code(3).stderr;
    assert!(
        said.starts_with("words.toml:") && said.contains("`millstream run`"),
        "{said}"
    );
    let said = millstream(&scratch, &["replay", "archive.toml", "--out", "x"])
        .expect_code(2)
        .stderr;
    assert!(said.contains("cannot be used with"), "{said}");
    let brokers = ["replay", "archive.toml", "--brokers", "127.0.0.1:1"];
    let said = millstream(&scratch, &brokers).expect_code(3).stderr;
    assert!(said.contains("--set source.NAME.brokers=HOST:PORT"), "{said}");
    let set = ["replay", "archive.toml", "--set", "sink.bloom_filter=['kee']"];
    let said = millstream(&scratch, &set).expect_code(3).stderr;
    assert!(said.contains("there is no column `kee`: did you mean `key`?"), "{said}");
}
