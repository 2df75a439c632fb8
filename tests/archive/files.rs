//! What is in the files, and what the archive says of them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use serde_json::Value;

use crate::harness::broker::Broker;
use crate::harness::records::{End, Isolation, NewRecord};
use crate::harness::scratch::Scratch;
use crate::harness::{duckdb, parquet as archived};

use super::{replay, topic_of};

/// Returns a topic of two partitions with all that records can have: keys and values that are null or empty, headers, old
/// times, aborted and committed transactions.
fn mixed_topic() -> String {
    let broker = Broker::shared();
    let topic = broker.new_topic("mixed", 2);
    let bytes = [None, Some(Vec::new()), Some(b"bytes".to_vec()), Some(vec![0; 5000])];
    let headers = [
        ("h".to_owned(), Some(b"1".to_vec())),
        ("h".to_owned(), None),
        (String::new(), Some(vec![])),
    ];
    for partition in 0..2 {
        let record = |number: usize| NewRecord {
            key: bytes[number % 4].clone(),
            value: bytes[number / 4 % 4].clone(),
            headers: headers[..number % 4].to_vec(),
            timestamp: Some(1_000 * i64::try_from(number).expect("few")),
        };
        broker.produce(&topic, partition, (0..600).map(record));
        broker.produce_in_transaction(&topic, partition, (0..50).map(record), End::Abort);
        broker.produce_in_transaction(&topic, partition, (0..50).map(record), End::Commit);
    }
    topic
}

fn metadata(path: &Path) -> ParquetMetaData {
    let file = File::open(path).expect("a file that was listed");
    let reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Required);
    reader
        .parse_and_finish(&file)
        .expect("a Parquet file with page indexes")
}

#[test]
fn an_archive_holds_what_the_broker_has_and_duckdb_counts_the_same() {
    let topic = mixed_topic();
    let expected = Broker::shared().consume(&topic, Isolation::ReadCommitted);
    assert_eq!(expected.len(), 1300);
    let scratch = Scratch::new("mixed");
    for compression in ["none", "snappy", "lz4", "zstd:3"] {
        let options = ["--compression", compression, "--segment", "200", "--file-rows", "70"];
        replay(&scratch, &topic, compression, &options);
        assert_eq!(archived::records(&scratch.join(compression)), expected);
        let sql = format!(
            "SELECT count(*), count(DISTINCT (partition, \"offset\")), count(key), count(value), sum(len(headers)) \
             FROM '{compression}/**/*.parquet'"
        );
        let count = |has: &dyn Fn(&crate::harness::records::Record) -> bool| {
            expected.iter().filter(|record| has(record)).count().to_string()
        };
        let headers: usize = expected.iter().map(|record| record.headers.len()).sum();
        let counts = [
            "1300".to_owned(),
            "1300".to_owned(),
            count(&|record| record.key.is_some()),
            count(&|record| record.value.is_some()),
            headers.to_string(),
        ];
        assert_eq!(duckdb::query(scratch.path(), &sql), [counts]);
    }
}

#[test]
fn each_file_says_what_it_holds_and_has_indexes_and_the_filters_asked_for() {
    let topic = topic_of("footers", 4000);
    let scratch = Scratch::new("footers");
    replay(
        &scratch,
        &topic,
        "archive",
        &["--bloom-filter", "key", "--segment", "1500"],
    );
    for path in archived::files(&scratch.join("archive")) {
        let metadata = metadata(&path);
        let pairs = metadata.file_metadata().key_value_metadata().expect("pairs");
        let value = |key: &str| {
            let pair = pairs.iter().find(|pair| pair.key == format!("millstream.{key}"));
            pair.and_then(|pair| pair.value.clone()).unwrap_or_default()
        };
        let name = path.file_name().and_then(|name| name.to_str()).expect("a UTF-8 name");
        let expected = format!(
            "partition-{:05}-offset-{:020}-{:020}.parquet",
            value("partition").parse::<i32>().expect("a number"),
            value("offset.from").parse::<i64>().expect("a number"),
            value("offset.to").parse::<i64>().expect("a number")
        );
        assert_eq!((name, value("topic")), (expected.as_str(), topic.clone()));
        assert_eq!(value("rows"), metadata.file_metadata().num_rows().to_string());
        assert!(
            !value("topic.id").is_empty() && !value("cluster.id").is_empty(),
            "{pairs:?}"
        );
        for group in metadata.row_groups() {
            let column = |name: &str| {
                let found = group
                    .columns()
                    .iter()
                    .find(|column| column.column_path().string() == name);
                found.unwrap_or_else(|| panic!("a column {name}"))
            };
            assert!(
                column("key").bloom_filter_offset().is_some(),
                "a bloom filter on the key"
            );
            assert!(column("value").bloom_filter_offset().is_none(), "and on nothing else");
            assert!(column("offset").statistics().is_some() && column("timestamp").statistics().is_some());
            let sorted = &group.sorting_columns().expect("an order")[0];
            let by = group.columns()[usize::try_from(sorted.column_idx).expect("a place")]
                .column_path()
                .string();
            assert_eq!((by.as_str(), sorted.descending), ("offset", false));
        }
        assert!(metadata.column_index().is_some() && metadata.offset_index().is_some());
    }
}

#[test]
fn the_manifest_lists_the_files_with_their_bytes_and_checksums() {
    let topic = topic_of("listed", 5000);
    let scratch = Scratch::new("listed");
    let options = ["--segment", "1000", "--report", "report.json"];
    let ended = replay(&scratch, &topic, "archive", &options);
    let archive = scratch.join("archive");
    let manifest = fs::read_to_string(archive.join("_millstream/manifest.jsonl")).expect("a manifest");
    let mut lines: Vec<Value> = manifest
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect();
    let sum = lines.pop().expect("a last line");
    assert_eq!(sum["files"], lines.len());
    let names: Vec<_> = lines
        .iter()
        .map(|line| line["name"].as_str().expect("a name").to_owned())
        .collect();
    assert!(names.is_sorted());
    let found: Vec<_> = archived::files(&archive)
        .iter()
        .map(|path| path.strip_prefix(&archive).expect("below it").display().to_string())
        .collect();
    assert_eq!(names, found);
    let mut rows = BTreeMap::<i64, u64>::new();
    for line in &lines {
        let bytes = fs::read(archive.join(line["name"].as_str().expect("a name"))).expect("a file that is listed");
        assert_eq!(line["bytes"], bytes.len());
        assert_eq!(line["crc32c"], crc32c::crc32c(&bytes));
        *rows.entry(line["partition"].as_i64().expect("a number")).or_default() +=
            line["rows"].as_u64().expect("a number");
    }
    assert_eq!(rows, BTreeMap::from([(0, 3000), (1, 2000)]));
    let report: Value =
        serde_json::from_slice(&fs::read(scratch.join("report.json")).expect("a report")).expect("JSON");
    assert_eq!(
        (&report["rows"], &report["complete"]),
        (&Value::from(5000), &Value::from(true))
    );
    assert_eq!(report["partitions"][1]["rows"], 2000);
    for part in [format!("{topic}[0]"), "partition  ".to_owned(), "5,000 rows".to_owned()] {
        assert!(ended.stderr.contains(&part), "{part}: {}", ended.stderr);
    }
}

#[test]
fn progress_for_programs_tells_rows_files_and_bytes() {
    let topic = topic_of("told", 5000);
    let scratch = Scratch::new("told");
    let ended = replay(&scratch, &topic, "archive", &["--progress", "json"]);
    let lines = ended.stderr.lines().filter(|line| line.starts_with('{'));
    let lines: Vec<Value> = lines.map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let rows: u64 = lines.iter().filter_map(|line| line["numInputRows"].as_u64()).sum();
    let last = lines.last().expect("a line");
    assert_eq!((rows, &last["sink"]["files"]), (5000, &Value::from(2)), "{last}");
    assert!(last["sink"]["bytes"].as_u64() > Some(0), "{last}");
    assert_eq!(last["sources"][0]["endOffset"][&topic]["1"], 2000, "{last}");
}

#[test]
fn a_file_can_be_read_while_the_replay_goes_on() {
    let topic = topic_of("early", 3000);
    let scratch = Scratch::new("early");
    let slow = ["--segment", "500", "--rate", "100KB/s", "--threads", "1"];
    let mut running = super::command(&scratch, &topic, "archive", &slow).start();
    let path = running.wait_until(crate::harness::PATIENCE, "a file", |_| {
        archived::files(&scratch.join("archive")).into_iter().next()
    });
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).expect("a whole file"));
    assert_eq!(reader.expect("a footer").metadata().file_metadata().num_rows(), 500);
    running.signal("TERM");
    running.wait(crate::harness::PATIENCE).expect_code(75);
}
