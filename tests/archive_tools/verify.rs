//! An archive is what it says it is, or the difference is found and named.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::PATIENCE;
use crate::harness::broker::Broker;
use crate::harness::process::Ended;
use crate::harness::records::{End, Isolation, NewRecord};
use crate::harness::{eventually, parquet};

use super::input::Desk;

impl Desk {
    /// Verifies the archive `dir`.
    #[track_caller]
    fn verify(&self, dir: &str, options: &[&str]) -> Ended {
        self.run(&[&["verify", dir], options].concat()).finish(PATIENCE)
    }

    /// Verifies the archive `dir`, which is as it should be, and returns the report.
    #[track_caller]
    pub(super) fn verified(&self, dir: &str, options: &[&str]) -> Value {
        let options = [&["--format", "json"], options].concat();
        let ended = self.verify(dir, &options).expect_code(0);
        serde_json::from_str(&ended.stdout).expect("a report in JSON")
    }

    /// Verifies the archive `dir`, and checks that one finding says `expected`.
    #[track_caller]
    pub(super) fn expect_finding(&self, dir: &str, options: &[&str], expected: &str) {
        let options = [&["--format", "json"], options].concat();
        let ended = self.verify(dir, &options).expect_code(6);
        let report: Value = serde_json::from_str(&ended.stdout).expect("a report in JSON");
        let findings = report["findings"].as_array().expect("a list").iter();
        let texts: Vec<_> = findings
            .map(|finding| {
                let place = match (&finding["file"], &finding["topic"]) {
                    (Value::String(file), _) => file.clone(),
                    (_, Value::String(topic)) => format!("{topic}[{}]", finding["partition"]),
                    _ => String::new(),
                };
                format!("{place} {}", finding["problem"].as_str().expect("a text"))
            })
            .collect();
        assert!(
            texts.iter().any(|text| text.contains(expected)),
            "{expected} in {texts:#?}"
        );
    }
}

#[test]
fn a_whole_archive_has_no_finding_and_its_gaps_are_explained() {
    let desk = Desk::new("verify");
    let source = desk.mixed_topic();
    desk.replay(&source, "archive", &["--file-rows", "40"]);
    let report = desk.verified("archive", &["--against", desk.broker.bootstrap()]);
    let parts = report["partitions"].as_array().expect("a list");
    assert_eq!(parts.len(), 3);
    let of = |partition: usize, key: &str| parts[partition][key].as_i64();
    assert_eq!(
        (of(0, "rows"), of(0, "compared"), of(0, "first_offset")),
        (Some(104), Some(104), Some(0))
    );
    // Two markers and 52 aborted records.
    assert_eq!(of(0, "offsets_without_record"), Some(54));
    assert_eq!(of(2, "rows"), Some(0));
    assert_eq!(kinds(&report, 0), [("marker", 2), ("aborted", 52)]);
    assert_eq!(parts[0]["gap_kinds"][1]["ranges"], json!([{"from": 52, "to": 104}]));
    let notes = report["notes"].to_string();
    let says = "offsets without a record: 52, records of aborted transactions: [52, 104)";
    assert!(notes.contains(says), "{notes}");

    let table = desk.verify("archive", &[]).expect_code(0);
    assert!(table.stdout.contains("nothing is wrong"), "{}", table.stdout);
    assert!(
        table.stdout.contains("54 offsets in 2 runs have no record"),
        "{}",
        table.stdout
    );
}

#[test]
fn many_small_transactions_are_explained_offset_by_offset() {
    let desk = Desk::new("verify-transactions");
    let topic = desk.broker.new_topic("transactions", 1);
    // Two at a time, their records in turns, one committed and one aborted; then a record without a transaction.
    for round in 0..40 {
        let (kept, aborted) = (desk.broker.begin_transaction(), desk.broker.begin_transaction());
        for number in 0..2 {
            let record = || [NewRecord::of(format!("{round} {number}"))];
            kept.produce(&topic, 0, record());
            aborted.produce(&topic, 0, record());
        }
        aborted.end(End::Abort);
        kept.end(End::Commit);
        desk.broker.produce(&topic, 0, [NewRecord::of("between")]);
    }
    desk.replay(&topic, "archive", &[]);
    let against = ["--against", desk.broker.bootstrap()];
    let report = desk.verified("archive", &against);
    let end = report["partitions"][0]["to"].as_i64().expect("an offset");
    let offsets = |isolation| {
        let records = desk.broker.consume(&topic, isolation).into_iter();
        records.map(|record| record.offset).collect::<BTreeSet<_>>()
    };
    let (all, committed) = (offsets(Isolation::ReadUncommitted), offsets(Isolation::ReadCommitted));
    let markers: Vec<_> = (0..end).filter(|offset| !all.contains(offset)).collect();
    let aborted: Vec<_> = all
        .difference(&committed)
        .copied()
        .filter(|offset| *offset < end)
        .collect();
    assert!(markers.len() > 70 && aborted.len() > 70, "{markers:?} {aborted:?}");
    let kinds = report["partitions"][0]["gap_kinds"].as_array().expect("a list");
    let told = |at: usize, kind: &str| {
        assert_eq!(kinds[at]["kind"], kind);
        let runs = kinds[at]["ranges"].as_array().expect("a list").iter();
        let offset = |run: &Value, key: &str| run[key].as_i64().expect("an offset");
        runs.flat_map(|run| offset(run, "from")..offset(run, "to"))
            .collect::<Vec<_>>()
    };
    assert_eq!((told(0, "marker"), told(1, "aborted")), (markers.clone(), aborted));

    // Who reads all records has all but the markers.
    desk.replay(
        &topic,
        "uncommitted",
        &["--read-uncommitted", "--to", &format!("0:{end}")],
    );
    let report = desk.verified("uncommitted", &against);
    assert_eq!(self::kinds(&report, 0), [("marker", markers.len() as u64)]);

    // Where the native client can't look, that is said.
    fs::write(desk.scratch.join("own"), "client.dns.lookup = use_all_dns_ips\n").expect("a scratch file");
    let report = desk.verified("archive", &[&against[..], &["--properties", "own"]].concat());
    assert!(report["partitions"][0]["gap_kinds"].is_null(), "{report}");
    let says = "offsets have no record in the topic either: transactions (markers, aborted records); which of them can't be told, \
                since the setting client.dns.lookup is for librdkafka";
    assert!(report["notes"].to_string().contains(says), "{report}");
}

#[test]
fn a_record_that_is_lost_with_its_line_in_the_manifest_is_named_by_its_offset() {
    let desk = Desk::new("verify-lost");
    let source = desk.even_topic(80);
    let dir = desk.replay(&source, "archive", &["--file-rows", "1"]);
    let files = parquet::files(&dir);
    let lost = &files[20 + 7];
    let file_name = name(&dir, lost);
    edit(&manifest(&dir), |text| {
        let lines = text.lines().filter(|line| !line.contains(&file_name));
        lines.map(|line| format!("{line}\n")).collect()
    });
    fs::remove_file(lost).expect("a file");
    let against = ["--against", desk.broker.bootstrap()];
    let expected = format!("{source}[1] records of the topic are missing in the archive: 1, of the offsets [7, 8)");
    desk.expect_finding("archive", &against, &expected);
}

#[test]
fn a_restored_topic_is_the_archive_record_by_record() {
    let desk = Desk::new("verify-restored");
    let (source, target) = (desk.mixed_topic(), Broker::unique("restored"));
    desk.replay(&source, "archive", &[]);
    desk.restored("archive", &target, &["--create"]);
    let against = ["--against", desk.broker.bootstrap(), "--restored-as", &target];
    let report = desk.verified("archive", &against);
    assert_eq!(report["partitions"][1]["compared"].as_i64(), Some(104));
    // One record more is one too many.
    desk.broker.produce(&target, 1, [NewRecord::of("more")]);
    desk.expect_finding("archive", &against, "is not in the archive");
}

#[test]
fn a_record_that_differs_is_named_by_its_offset() {
    let desk = Desk::new("verify-differs");
    let (source, target) = (desk.even_topic(400), desk.broker.new_topic("other", 4));
    desk.replay(&source, "archive", &[]);
    // The same but for the value at the third place of partition 2.
    for partition in 0..4 {
        let contents = desk
            .contents(&source)
            .into_iter()
            .filter(|content| content.0 == partition);
        let records = contents
            .enumerate()
            .map(|(place, (_, key, value, headers, timestamp))| NewRecord {
                key,
                value: match (partition, place) {
                    (2, 3) => Some(b"another".to_vec()),
                    _ => value,
                },
                headers,
                timestamp,
            });
        desk.broker.produce(&target, partition, records);
    }
    let against = ["--against", desk.broker.bootstrap(), "--restored-as", &target];
    desk.expect_finding("archive", &against, "the record of offset 3 has another value, at 3");
}

#[test]
fn records_that_retention_deleted_are_a_note_and_a_recreated_topic_is_a_finding() {
    let desk = Desk::new("verify-topics");
    let topic = Broker::unique("recreated");
    desk.broker.create_topic(&topic, 1, &[]);
    desk.broker
        .produce(&topic, 0, (0..50).map(|number| NewRecord::of(format!("{number}"))));
    desk.broker
        .produce_in_transaction(&topic, 0, [NewRecord::of("gone")], End::Abort);
    eventually(PATIENCE, "the marker is written", || {
        (desk.broker.bounds(&topic)[0].end == 52).then_some(())
    });
    desk.replay(&topic, "archive", &[]);
    let against = ["--against", desk.broker.bootstrap()];
    desk.broker.delete_records(&topic, 0, 20);
    let report = desk.verified("archive", &against);
    assert!(
        report["notes"]
            .to_string()
            .contains("deleted the records of [0, 20) since"),
        "{report}"
    );
    assert_eq!(report["partitions"][0]["compared"].as_i64(), Some(30));
    assert_eq!(kinds(&report, 0), [("marker", 1), ("aborted", 1)]);
    desk.broker.delete_records(&topic, 0, 51);
    let report = desk.verified("archive", &against);
    assert_eq!(kinds(&report, 0), [("marker", 1), ("deleted", 1)]);
    desk.broker.delete_records(&topic, 0, 52);
    let report = desk.verified("archive", &against);
    assert_eq!(kinds(&report, 0), [("deleted", 2)]);

    desk.broker.delete_topic(&topic);
    eventually(PATIENCE, "the topic can be made again", || {
        desk.broker.leader(&topic, 0).is_none().then_some(())
    });
    desk.broker.create_topic(&topic, 1, &[]);
    desk.broker
        .produce(&topic, 0, (0..52).map(|number| NewRecord::of(format!("{number}"))));
    desk.expect_finding("archive", &against, "is another one than the archive was made of");
}

#[test]
fn records_that_were_compacted_away_are_a_note() {
    let desk = Desk::new("verify-compacted");
    let topic = desk.broker.compacted_topic();
    let keyed = |number: u32| NewRecord {
        key: Some((number % 10).to_string().into_bytes()),
        ..NewRecord::of(format!("record {number}"))
    };
    desk.broker.produce(&topic, 0, (0..500).map(keyed));
    let archived = parquet::records(&desk.replay(&topic, "archive", &[]));
    let last = archived.last().expect("records").offset;
    eventually(PATIENCE, "records are compacted away", || {
        // One more record makes a new segment, so that the one before can be compacted.
        desk.broker.produce(&topic, 0, [keyed(0)]);
        let left = desk.broker.consume(&topic, Isolation::ReadCommitted);
        let left = left.iter().filter(|record| record.offset <= last);
        (left.count() < archived.len()).then_some(())
    });
    let report = desk.verified("archive", &["--against", desk.broker.bootstrap()]);
    let notes = report["notes"].to_string();
    assert!(
        notes.contains("records of the archive were deleted by compaction since"),
        "{notes}"
    );
    // An archive that was made afterwards never had them.
    desk.replay(&topic, "after", &[]);
    let report = desk.verified("after", &["--against", desk.broker.bootstrap()]);
    let without = report["partitions"][0]["offsets_without_record"].as_u64();
    let without = without.expect("a number");
    assert!(without > 0, "{report}");
    assert_eq!(kinds(&report, 0), [("compacted", without)]);
}

/// Returns the kinds of a partition's gaps in a report, with their offsets.
fn kinds(report: &Value, partition: usize) -> Vec<(&str, u64)> {
    let kinds = report["partitions"][partition]["gap_kinds"]
        .as_array()
        .expect("a list")
        .iter();
    let kind = |kind: &'_ Value| kind["offsets"].as_u64().expect("a number");
    kinds
        .map(|found| (found["kind"].as_str().expect("a text"), kind(found)))
        .collect()
}

/// A folder's name, and what is done to the archive in it with its files; it returns what is to be found.
type Damage = (&'static str, fn(&Path, &[PathBuf]) -> String);

const DAMAGES: &[Damage] = &[
    ("flipped", |dir, files| {
        flip(&files[3]);
        format!("{} was changed: the CRC-32C", name(dir, &files[3]))
    }),
    ("cut", |dir, files| {
        change(&files[4], |bytes| bytes.truncate(bytes.len() - 10));
        format!("{} can't be read", name(dir, &files[4]))
    }),
    ("removed", |dir, files| {
        fs::remove_file(&files[5]).expect("a file");
        format!("{} is missing: 100 rows of offsets ", name(dir, &files[5]))
    }),
    ("a-folder", |dir, files| {
        fs::remove_file(&files[5]).expect("a file");
        fs::create_dir(&files[5]).expect("the scratch folder can be written");
        format!("{} can't be read", name(dir, &files[5]))
    }),
    ("doubled", |dir, files| {
        let double = files[6].with_file_name("copy.parquet");
        fs::copy(&files[6], &double).expect("a copy");
        format!("{} is not in the manifest", name(dir, &double))
    }),
    ("swapped", |dir, files| {
        let bytes = fs::read(&files[7]).expect("a file");
        fs::copy(&files[8], &files[7]).expect("a copy");
        fs::write(&files[8], bytes).expect("a file");
        format!("{} has other offsets in its footer", name(dir, &files[7]))
    }),
    ("edited", |dir, files| {
        edit(&manifest(dir), |text| text.replacen("\"rows\":100", "\"rows\":99", 1));
        format!("{} has 100 rows, the manifest says 99", name(dir, &files[0]))
    }),
    ("torn", |dir, _| {
        change(&manifest(dir), |bytes| bytes.truncate(bytes.len() - 20));
        "manifest.jsonl".to_owned()
    }),
    ("without-manifest", |dir, _| {
        fs::remove_file(manifest(dir)).expect("a manifest");
        "_millstream/manifest.jsonl is missing".to_owned()
    }),
    // A line less: the file is there, and no one answers for it.
    ("forgotten", |dir, files| {
        edit(&manifest(dir), without_first_line);
        format!("{} is not in the manifest", name(dir, &files[0]))
    }),
    // A line and its file: only the last line knows.
    ("lost", |dir, files| {
        edit(&manifest(dir), without_first_line);
        fs::remove_file(&files[0]).expect("a file");
        "manifest.jsonl: its lines were changed".to_owned()
    }),
    ("other-header", |dir, _| {
        edit(&header(dir), |text| {
            text.replacen("\"from\": \"earliest\"", "\"from\": \"eArliest\"", 1)
        });
        "_millstream/archive.json: it was changed: the CRC-32C".to_owned()
    }),
    ("torn-header", |dir, _| {
        change(&header(dir), |bytes| bytes.truncate(bytes.len() / 2));
        "archive.json: the file of the archive can't be used".to_owned()
    }),
];

#[test]
fn every_damage_is_found_and_named() {
    let desk = Desk::new("verify-damage");
    let source = desk.even_topic(2000);
    let whole = desk.replay(&source, "whole", &["--file-rows", "100"]);
    desk.verified("whole", &[]);
    for (name, damage) in DAMAGES {
        let dir = desk.scratch.join(name);
        copy(&whole, &dir);
        let expected = damage(&dir, &parquet::files(&dir));
        desk.expect_finding(name, &[], &expected);
    }
}

fn name(dir: &Path, file: &Path) -> String {
    let name = file.strip_prefix(dir).expect("below the archive");
    name.to_str().expect("UTF-8").to_owned()
}

fn manifest(dir: &Path) -> PathBuf {
    dir.join("_millstream/manifest.jsonl")
}

fn header(dir: &Path) -> PathBuf {
    dir.join("_millstream/archive.json")
}

fn change(file: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(file).expect("a file");
    change(&mut bytes);
    fs::write(file, bytes).expect("the scratch folder can be written");
}

/// Changes one bit in the middle of a file.
pub(super) fn flip(file: &Path) {
    change(file, |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
}

fn edit(file: &Path, edit: impl FnOnce(&str) -> String) {
    let text = fs::read_to_string(file).expect("a text");
    let edited = edit(&text);
    assert!(edited != text, "there is something to edit in {text}");
    fs::write(file, edited).expect("the scratch folder can be written");
}

fn without_first_line(text: &str) -> String {
    let (_, rest) = text.split_once('\n').expect("lines");
    rest.to_owned()
}

#[test]
fn records_that_an_archive_leaves_out_are_a_note() {
    let desk = Desk::new("verify-skipped");
    let source = desk.broker.new_topic("choosy", 1);
    let line = |number: i64| match number % 10 {
        9 => NewRecord::of("no pairs"),
        _ => NewRecord::of(format!("n={number}")),
    };
    desk.broker.produce(&source, 0, (0..100).map(line));
    let format = [
        "--input-format",
        "logfmt",
        "--columns",
        "n:int",
        "--on-bad",
        "skip",
        "--layout",
    ];
    for layout in ["parsed", "both"] {
        desk.replay(&source, layout, &[&format[..], &[layout]].concat());
        let notes = desk.verified(layout, &[])["notes"].to_string();
        let says = "10 offsets in 10 runs have no record: bad records that were left out (on_bad skip)";
        assert!(notes.contains(says), "{notes}");
    }
    let notes = desk.verified("both", &["--against", desk.broker.bootstrap()])["notes"].to_string();
    assert!(
        notes.contains("10 records of the topic are not in the archive"),
        "{notes}"
    );
}

#[test]
fn a_part_that_was_restored_is_compared_with_that_part() {
    let desk = Desk::new("verify-part");
    let source = desk.even_topic(400);
    desk.replay(&source, "archive", &["--file-rows", "30"]);
    let range = ["--from", "0:10,1:0,2:50,3:100", "--to", "0:90,1:100,2:50,3:100"];
    let target = desk.broker.new_topic("part", 4);
    desk.restored("archive", &target, &range);
    let against = ["--against", desk.broker.bootstrap(), "--restored-as", &target];
    let report = desk.verified("archive", &[&against[..], &range].concat());
    let compared = [0, 1, 2, 3].map(|at| report["partitions"][at]["compared"].as_u64());
    assert_eq!(compared, [80, 100, 0, 0].map(Some));
    desk.expect_finding("archive", &against, "is not in the topic");
    let less = ["--from", "0:11,1:0,2:50,3:100", "--to", "0:90,1:100,2:50,3:100"];
    let less = [&against[..], &less].concat();
    desk.expect_finding("archive", &less, "the record of offset 11 has another timestamp, at 0");
}

#[test]
fn a_folder_that_is_no_archive_is_refused() {
    let desk = Desk::new("verify-nothing");
    fs::create_dir(desk.scratch.join("empty")).expect("the scratch folder can be written");
    let refused = desk.verify("empty", &[]).expect_code(3);
    assert!(refused.stderr.contains("empty is no archive"), "{}", refused.stderr);
}

/// Copies a folder.
pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the scratch folder can be written");
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        match path.is_dir() {
            true => copy(&path, &target),
            false => drop(fs::copy(&path, &target).expect("a copy")),
        }
    }
}
