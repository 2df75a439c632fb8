//! Small files of an archive become larger ones, whatever interrupts it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use engine::fault::ARCHIVE_POINTS;

use crate::harness::PATIENCE;
use crate::harness::seeded::Seeded;
use crate::harness::{duckdb, parquet};

use super::input::Desk;
use super::verify::copy;

/// SIGKILLs in all.
const KILLS: u32 = 50;

/// How long after its start a run is killed at the latest.
const KILL_WITHIN: Duration = Duration::from_millis(120);

/// What a process that aborts is ended by.
const SIGABRT: i32 = 6;

/// Bytes that several files of a hundred rows fit, and not all.
const TARGET: &str = "20KB";

impl Desk {
    /// Makes an archive of many small files in the folder `small`.
    #[track_caller]
    fn small_files(&self, records: u32) -> PathBuf {
        let source = self.even_topic(records);
        self.replay(&source, "small", &["--file-rows", "100"])
    }

    #[track_caller]
    fn compacted(&self, dir: &str) {
        self.run(&["compact", dir, "--target", TARGET])
            .finish(PATIENCE)
            .expect_code(0);
    }
}

/// A folder's name, what is done to the archive in it, and what is said of that.
type Damage<'a> = (&'a str, &'a dyn Fn(&Path), &'a str);

#[test]
fn a_compacted_archive_has_the_same_rows_in_fewer_files() {
    let desk = Desk::new("compact");
    let small = desk.small_files(20_000);
    let (rows, files) = (parquet::records(&small), parquet::files(&small));
    let sql = "SELECT count(*), count(DISTINCT (partition, \"offset\")), sum(\"offset\"), min(epoch_ms(timestamp)), \
               max(epoch_ms(timestamp)), \
               sum(octet_length(value)) FROM '**/*.parquet'";
    let in_duckdb = duckdb::query(&small, sql);
    let before = content(&small);
    let dry = desk.run(&["compact", "small", "--target", TARGET, "--dry-run"]);
    let dry = dry.finish(PATIENCE).expect_code(0);
    assert!(dry.stdout.starts_with("200 files ("), "{}", dry.stdout);
    assert!(content(&small) == before, "a dry run changes nothing");

    desk.compacted("small");
    let fewer = parquet::files(&small);
    assert!(
        fewer.len() * 4 < files.len(),
        "{} files became {}",
        files.len(),
        fewer.len()
    );
    assert!(parquet::records(&small) == rows, "the same rows");
    assert_eq!(duckdb::query(&small, sql), in_duckdb);
    desk.verified("small", &[]);

    let once = content(&small);
    let again = desk
        .run(&["compact", "small", "--target", TARGET])
        .finish(PATIENCE)
        .expect_code(0);
    assert!(again.stderr.contains("nothing left to do"), "{}", again.stderr);
    assert!(content(&small) == once, "a second time changes nothing");
}

#[test]
fn a_compaction_killed_fifty_times_gives_the_folder_of_an_unbroken_one() {
    let desk = Desk::new("compact-kills");
    let mut random = Seeded::new();
    let small = desk.small_files(20_000);
    copy(&small, &desk.scratch.join("unbroken"));
    desk.compacted("unbroken");
    let expected = content(&desk.scratch.join("unbroken"));
    let (mut kills, mut rounds) = (0, 0);
    while kills < KILLS {
        let dir = format!("round-{rounds}");
        rounds += 1;
        copy(&small, &desk.scratch.join(&dir));
        loop {
            let running = desk.run(&["compact", &dir, "--target", TARGET]).start();
            random.wait_at_most(KILL_WITHIN);
            let ended = running.kill();
            if ended.status.code() == Some(0) {
                break;
            }
            assert_eq!(ended.status.code(), None, "a run failed by itself: {}", ended.stderr);
            kills += 1;
            // What a reader finds at any moment is each row once, or not yet or not any more.
            let rows = parquet::records(&desk.scratch.join(&dir));
            let distinct = rows
                .windows(2)
                .all(|pair| (pair[0].partition, pair[0].offset) != (pair[1].partition, pair[1].offset));
            assert!(distinct, "no row is there twice");
            if kills >= KILLS {
                desk.compacted(&dir);
                break;
            }
        }
        assert!(
            content(&desk.scratch.join(&dir)) == expected,
            "the same bytes after kills, in {dir}"
        );
    }
}

#[test]
fn a_crash_at_any_point_of_a_compaction_gives_the_folder_of_an_unbroken_one() {
    let desk = Desk::new("compact-crashes");
    let small = desk.small_files(2000);
    copy(&small, &desk.scratch.join("unbroken"));
    desk.compacted("unbroken");
    let expected = content(&desk.scratch.join("unbroken"));
    for point in ARCHIVE_POINTS.iter().filter(|point| **point != "archive_mid_file") {
        copy(&small, &desk.scratch.join(point));
        let crashed = desk
            .run(&["compact", point, "--target", TARGET])
            .env("MILLSTREAM_CRASH_AT", point)
            .finish(PATIENCE);
        assert_eq!(
            crashed.status.signal(),
            Some(SIGABRT),
            "it passes {point}: {}",
            crashed.stderr
        );
        if *point == "archive_mid_publish" {
            desk.expect_finding(point, &[], "a compaction is under way, or was interrupted");
        }
        desk.compacted(point);
        assert!(content(&desk.scratch.join(point)) == expected, "after {point}");
    }
}

#[test]
fn a_damaged_file_is_not_merged() {
    let desk = Desk::new("compact-damaged");
    let small = desk.small_files(2000);
    let file = &parquet::files(&small)[2];
    let mut bytes = fs::read(file).expect("a file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file, bytes).expect("the scratch folder can be written");
    let refused = desk
        .run(&["compact", "small", "--target", TARGET])
        .finish(PATIENCE)
        .expect_code(7);
    let name = file.file_name().expect("a name").to_str().expect("UTF-8");
    assert!(
        refused.stderr.contains(name) && refused.stderr.contains("run verify"),
        "{}",
        refused.stderr
    );
    assert!(file.exists(), "it is still there");
}

#[test]
fn an_archive_that_lacks_a_file_is_refused_before_anything_is_changed() {
    let desk = Desk::new("compact-lacking");
    let small = desk.small_files(2000);
    let damages: [Damage<'_>; 3] = [
        (
            "removed",
            &|file| fs::remove_file(file).expect("a file"),
            "it is missing",
        ),
        (
            "emptied",
            &|file| drop(fs::File::create(file).expect("a file")),
            "it is 0 bytes long, expected ",
        ),
        (
            "a-folder",
            &|file| {
                fs::remove_file(file)
                    .and_then(|()| fs::create_dir(file))
                    .expect("a file")
            },
            "it is no file",
        ),
    ];
    for (dir, damage, problem) in damages {
        copy(&small, &desk.scratch.join(dir));
        let file = parquet::files(&desk.scratch.join(dir)).pop().expect("files");
        damage(&file);
        let before = content(&desk.scratch.join(dir));
        let name = file.file_name().expect("a name").to_str().expect("UTF-8");
        for options in [&["--dry-run"][..], &["--threads", "1"]] {
            let command = [&["compact", dir, "--target", TARGET], options].concat();
            let refused = desk.run(&command).finish(PATIENCE).expect_code(7);
            for text in [name, problem] {
                assert!(refused.stderr.contains(text), "{text} in {}", refused.stderr);
            }
        }
        assert!(content(&desk.scratch.join(dir)) == before, "{dir}: nothing is changed");
    }
}

#[test]
fn an_archive_without_a_manifest_is_refused_also_in_mid_compaction() {
    let desk = Desk::new("compact-unlisted");
    let small = desk.small_files(2000);
    copy(&small, &desk.scratch.join("interrupted"));
    desk.run(&["compact", "interrupted", "--target", TARGET])
        .env("MILLSTREAM_CRASH_AT", "archive_after_journal")
        .finish(PATIENCE);
    for dir in ["small", "interrupted"] {
        fs::remove_file(desk.scratch.join(dir).join("_millstream/manifest.jsonl")).expect("a manifest");
        let before = content(&desk.scratch.join(dir));
        for options in [&["--dry-run"][..], &["--threads", "1"]] {
            let command = [&["compact", dir, "--target", TARGET], options].concat();
            let refused = desk.run(&command).finish(PATIENCE).expect_code(3);
            let says = "manifest.jsonl is missing";
            assert!(refused.stderr.contains(says), "{}", refused.stderr);
        }
        assert!(content(&desk.scratch.join(dir)) == before, "{dir}: nothing is changed");
    }
}

#[test]
fn an_archive_that_a_replay_works_on_is_not_compacted() {
    let desk = Desk::new("compact-held");
    let source = desk.even_topic(20_000);
    let slow = [
        "replay",
        "-b",
        desk.broker.bootstrap(),
        "-t",
        &source,
        "--out",
        "held",
        "--rate",
        "10KB/s",
    ];
    let mut replay = desk.run(&slow).start();
    let header = desk.scratch.join("held/_millstream/archive.json");
    replay.wait_until(PATIENCE, "the archive is begun", |_| header.exists().then_some(()));
    let refused = desk.run(&["compact", "held"]).finish(PATIENCE).expect_code(75);
    let says = format!("is in use by process {}: stop it first", replay.pid());
    assert!(refused.stderr.contains(&says), "{}", refused.stderr);
    replay.kill();
    let refused = desk.run(&["compact", "held"]).finish(PATIENCE).expect_code(3);
    assert!(refused.stderr.contains("it is not complete"), "{}", refused.stderr);
}

/// Returns all files of a folder, with their bytes.
fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    fn collect(root: &Path, folder: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => collect(root, &path, found),
                false => {
                    let name = path.strip_prefix(root).expect("below the root").to_owned();
                    found.insert(name, fs::read(&path).expect("a file"));
                }
            }
        }
    }
    let mut found = BTreeMap::new();
    collect(folder, folder, &mut found);
    found
}
