//! Checkpoints and output folders that are not what they should be: each a clear error, or the last good epoch.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::broker::Broker;
use crate::harness::process::{Ended, Run};
use crate::harness::records::NewRecord;
use crate::harness::scratch::Scratch;
use crate::harness::{PATIENCE, parquet};

/// Words in the topic of [`Job`], each once.
const WORDS: usize = 1000;

/// A finished word count: its topic, checkpoint (`state`) and output (`table`).
struct Job {
    scratch: Scratch,
    topic: String,
}

impl Job {
    /// Counts a topic to its end, in two runs and so in more than one epoch.
    fn done() -> Self {
        let job = Self {
            scratch: Scratch::new("job"),
            topic: Broker::shared().new_topic("words", 1),
        };
        job.produce(0..WORDS);
        let killed = job
            .command("wordcount", &[])
            .env("MILLSTREAM_CRASH_AT", "after_acknowledge:1");
        assert_eq!(
            killed.finish(PATIENCE).status.code(),
            None,
            "killed after its first epoch"
        );
        job.run(&[]).expect_code(0);
        job
    }

    fn produce(&self, words: std::ops::Range<usize>) {
        let record = |word| NewRecord::of(format!("word-{word}"));
        Broker::shared().produce(&self.topic, 0, words.map(record));
    }

    /// The job's own command line, with more options.
    fn command(&self, verb: &str, more: &[&str]) -> Run {
        let brokers = Broker::shared().bootstrap();
        let run =
            Run::millstream(&self.scratch, "wordcount").args([verb, "--brokers", brokers, "--topic", &self.topic]);
        run.args(["--out", "parquet:table", "--checkpoint", "state", "--to", "latest"])
            .args(more)
    }

    #[track_caller]
    fn run(&self, more: &[&str]) -> Ended {
        self.command("wordcount", more).finish(PATIENCE)
    }

    fn state(&self, prefix: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.scratch.join("state")).expect("the checkpoint is there");
        let paths = entries.map(|entry| entry.expect("the folder can be listed").path());
        let mut paths: Vec<_> = paths.filter(|path| name(path).starts_with(prefix)).collect();
        paths.sort();
        paths
    }

    #[track_caller]
    fn check_table(&self) {
        let expected: BTreeMap<_, _> = (0..WORDS).map(|word| (format!("word-{word}"), 1)).collect();
        assert!(
            parquet::counts(&self.scratch.join("table")) == expected,
            "the table is right"
        );
    }

    /// Runs the job again after something was done to its files, which `problem` says; it must be refused with a message
    /// that has all of `parts`, and the table must be as it was.
    #[track_caller]
    fn check_refused(&self, problem: &str, more: &[&str], code: i32, parts: &[&str]) {
        let ended = self.run(more);
        let stderr = ended.stderr.clone();
        assert_eq!(ended.status.code(), Some(code), "{problem}:\n{stderr}");
        for part in parts {
            assert!(
                stderr.contains(part),
                "{problem}: `{part}` is in the message:\n{stderr}"
            );
        }
        self.check_table();
    }
}

/// What goes wrong with the bytes of a file.
type Damage = fn(&mut Vec<u8>);

/// The ways in which a file on a disk goes bad.
fn damages() -> [(&'static str, Damage); 5] {
    [
        ("a bit near the start is flipped", |bytes| bytes[2] ^= 0x10),
        ("a bit in the middle is flipped", |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        }),
        ("a bit of the last byte is flipped", |bytes| {
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
        }),
        ("it is cut off", |bytes| bytes.truncate(bytes.len() * 2 / 3)),
        ("it is empty", Vec::clear),
    ]
}

fn damage(path: &Path, how: Damage) {
    let mut bytes = fs::read(path).expect("a file that was listed");
    how(&mut bytes);
    fs::write(path, bytes).expect("the scratch folder can be written");
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).expect("a UTF-8 name")
}

/// Undoes changes of files when it is done.
fn restoring(paths: &[PathBuf], act: impl FnOnce()) {
    let kept: Vec<_> = paths
        .iter()
        .map(|path| fs::read(path).expect("a file that was listed"))
        .collect();
    act();
    for (path, bytes) in paths.iter().zip(kept) {
        fs::write(path, bytes).expect("the scratch folder can be written");
    }
}

#[test]
fn a_damaged_job_file_or_state_file_is_named_and_refused() {
    let job = Job::done();
    let state = job.state("state-");
    assert!(!state.is_empty(), "the counts are in a file");
    for path in job.state("job.json").into_iter().chain(state) {
        for (problem, how) in damages() {
            restoring(std::slice::from_ref(&path), || {
                damage(&path, how);
                let problem = format!("{}: {problem}", name(&path));
                job.check_refused(
                    &problem,
                    &[],
                    3,
                    &["cannot use the checkpoint file state/", name(&path)],
                );
            });
        }
    }
    job.run(&[]).expect_code(0);
    job.check_table();
}

#[test]
fn a_state_file_that_is_missing_is_named() {
    let job = Job::done();
    for path in job.state("state-") {
        restoring(std::slice::from_ref(&path), || {
            fs::remove_file(&path).expect("a file that was listed");
            job.check_refused("missing", &[], 3, &[name(&path)]);
        });
    }
}

#[test]
fn a_damaged_newest_checkpoint_is_passed_over_and_its_epoch_done_again() {
    for (problem, how) in damages() {
        let job = Job::done();
        let epochs = job.state("epoch-");
        let newest = epochs.last().expect("a finished job has checkpoints");
        damage(newest, how);
        let ended = job.run(&[]).expect_code(0);
        let parts = ["skipped a broken checkpoint", name(newest)];
        assert!(
            parts.iter().all(|part| ended.stderr.contains(part)),
            "{problem}:\n{}",
            ended.stderr
        );
        job.check_table();
    }
}

#[test]
fn a_checkpoint_of_which_no_epoch_is_whole_is_refused() {
    let job = Job::done();
    for (problem, how) in damages() {
        let epochs = job.state("epoch-");
        restoring(&epochs, || {
            epochs.iter().for_each(|path| damage(path, how));
            let newest = epochs.last().expect("a finished job has checkpoints");
            job.check_refused(
                problem,
                &[],
                3,
                &["cannot use the checkpoint file state/", name(newest)],
            );
        });
    }
    job.run(&[]).expect_code(0);
}

#[test]
fn a_checkpoint_of_a_newer_version_is_refused() {
    let job = Job::done();
    for path in job.state("job.json").into_iter().chain(job.state("epoch-")) {
        restoring(std::slice::from_ref(&path), || {
            let text = fs::read_to_string(&path).expect("a checkpoint is text");
            let newer = text.replacen("millstream 3 ", "millstream 9 ", 1);
            assert_ne!(newer, text);
            fs::write(&path, newer).expect("the scratch folder can be written");
            let expected = [
                "the checkpoint is of a newer program",
                name(&path),
                "version 9",
                "reads up to 3",
            ];
            job.check_refused("newer", &[], 3, &expected);
        });
    }
}

#[test]
fn a_checkpoint_of_another_job_is_refused_and_what_changed_is_named() {
    let job = Job::done();
    let (own, other) = (job.topic.clone(), Broker::shared().new_topic("other", 1));
    let is_of_another = "the checkpoint in state is of another job";
    let check = |more: &[&str], parts: &[&str]| {
        let parts: Vec<_> = [is_of_another].iter().chain(parts).copied().collect();
        job.check_refused("another job", more, 3, &parts);
    };
    let sources = ["the source was `kafka topics=", &own, &other];
    check(&["--topic", &other], &sources);
    check(
        &["--read-uncommitted"],
        &["the source was", "isolation=read_uncommitted"],
    );
    check(&["--split", "word"], &["was `tokenize", "word"]);
    check(&["--lower"], &["was `tokenize", "lower"]);
    check(
        &["--mode", "update"],
        &["the sink was `parquet", "table, Table of", "table, Changes of"],
    );
    let replaced = |out: &str, parts: &[&str]| {
        let brokers = Broker::shared().bootstrap();
        let run = Run::millstream(&job.scratch, "other").args(["wordcount", "-b", brokers, "-t", &own, "--out", out]);
        let ended = run.args(["--checkpoint", "state"]).finish(PATIENCE).expect_code(3);
        for part in [is_of_another].iter().chain(parts) {
            assert!(
                ended.stderr.contains(part),
                "`{part}` is in the message:\n{}",
                ended.stderr
            );
        }
    };
    replaced("console", &["the sink was `parquet", "now it is `console`"]);
    replaced("parquet:elsewhere", &["now it is `parquet", "elsewhere, Table of"]);
    replaced(&format!("kafka:{other}"), &["now it is `kafka topic"]);
    job.check_table();
}

#[test]
fn an_output_folder_of_another_job_or_with_other_files_is_refused() {
    let job = Job::done();
    let fresh = |out: &str, part: &str| {
        let brokers = Broker::shared().bootstrap();
        for (verb, out) in [("wordcount", format!("parquet:{out}")), ("replay", out.to_owned())] {
            let run =
                Run::millstream(&job.scratch, "fresh").args([verb, "-b", brokers, "-t", &job.topic, "--to", "latest"]);
            let state = ["--checkpoint".to_owned(), format!("{verb}-state")];
            let run = run.args(["--out", &out]).args(match verb {
                "wordcount" => &state[..],
                _ => &[],
            });
            let ended = run.finish(PATIENCE).expect_code(7);
            assert!(
                ended.stderr.contains(part),
                "{verb}: `{part}` is in the message:\n{}",
                ended.stderr
            );
            let _ = fs::remove_dir_all(job.scratch.join(format!("{verb}-state")));
        }
    };
    fresh("table", "table: the folder belongs to job");
    fs::create_dir(job.scratch.join("mine")).expect("the scratch folder can be written");
    fs::write(job.scratch.join("mine/rows.parquet"), "mine").expect("the scratch folder can be written");
    fresh("mine", "mine: the folder is not empty (it holds rows.parquet)");
    assert_eq!(
        fs::read(job.scratch.join("mine/rows.parquet")).expect("it was left alone"),
        b"mine"
    );
    job.check_table();
}

#[test]
fn an_output_folder_that_is_gone_is_not_silently_begun_again() {
    let job = Job::done();
    fs::rename(job.scratch.join("table"), job.scratch.join("moved")).expect("the scratch folder can be written");
    let ended = job.run(&[]).expect_code(7);
    let expected = "table: the checkpoint says that job";
    assert!(ended.stderr.contains(expected), "{}", ended.stderr);
}

#[test]
fn a_second_process_on_the_same_checkpoint_is_told_who_holds_it() {
    let job = Job::done();
    let (brokers, topic) = (Broker::shared().bootstrap(), job.topic.as_str());
    let endless = |name: &str| {
        let run =
            Run::millstream(&job.scratch, name).args(["wordcount", "-b", brokers, "-t", topic, "--every", "50ms"]);
        run.args(["--checkpoint", "shared"])
    };
    let mut first = endless("first").start();
    first.wait_until(PATIENCE, "the first one is at work", |run| {
        (!run.stdout().is_empty()).then_some(())
    });
    let second = endless("second").finish(PATIENCE).expect_code(75);
    let expected = format!("shared is in use by process {}: stop it first", first.pid());
    assert!(second.stderr.contains(&expected), "{}", second.stderr);
    first.signal("TERM");
    first.wait(PATIENCE).expect_code(0);
    let third = endless("third")
        .args(["--to", "latest"])
        .finish(PATIENCE)
        .expect_code(0);
    assert_eq!(third.stdout, "", "the first one's counts were kept");
}

#[test]
fn a_folder_that_is_no_checkpoint_is_left_alone() {
    let job = Job::done();
    fs::create_dir(job.scratch.join("papers")).expect("the scratch folder can be written");
    fs::write(job.scratch.join("papers/job.json"), "{\"title\": \"cook\"}\n")
        .expect("the scratch folder can be written");
    let brokers = Broker::shared().bootstrap();
    let run = Run::millstream(&job.scratch, "papers").args(["wordcount", "-b", brokers, "-t", &job.topic]);
    let ended = run.args(["--checkpoint", "papers"]).finish(PATIENCE).expect_code(3);
    assert!(ended.stderr.contains("papers/job.json"), "{}", ended.stderr);
    let kept = fs::read_to_string(job.scratch.join("papers/job.json")).expect("it is still there");
    assert_eq!(kept, "{\"title\": \"cook\"}\n");
}
