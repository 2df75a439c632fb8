//! Archives of what values say.

use crate::harness::PATIENCE;
use crate::harness::broker::Broker;
use crate::harness::duckdb;
use crate::harness::records::{Isolation, NewRecord};
use crate::harness::scratch::Scratch;

use super::{command, content, expect_same, replay};

const SMALL: &[&str] = &[
    "--segment",
    "300",
    "--file-rows",
    "70",
    "--input-format",
    "logfmt",
    "--columns",
    "n:int,offset:string",
];

/// Returns a topic of lines such as `n=7 offset=x7`, of which each hundredth is none, and one is a tombstone.
fn topic() -> String {
    let topic = Broker::shared().new_topic("parsed", 1);
    let line = |number: i64| match number {
        50 => NewRecord {
            value: None,
            ..NewRecord::of("")
        },
        _ if number % 100 == 99 => NewRecord::of(format!("n=x{number} offset=y")),
        _ => NewRecord::of(format!("n={number} offset=x{number}")),
    };
    Broker::shared().produce(&topic, 0, (0..1000).map(line));
    topic
}

#[test]
fn parsed_rows_have_the_columns_of_the_format_and_the_place_of_their_record() {
    let topic = topic();
    let scratch = Scratch::new("parsed");
    let options = [SMALL, &["--layout", "parsed", "--on-bad", "skip"]].concat();
    let ended = replay(&scratch, &topic, "archive", &options);
    assert!(
        ended.stderr.contains("10 rows could not be decoded"),
        "{}",
        ended.stderr
    );
    let sql = "SELECT count(*), sum(n), count(DISTINCT _offset), max(\"offset\") FROM 'archive/**/*.parquet'";
    let sum: i64 = (0..1000).filter(|number| number % 100 != 99 && *number != 50).sum();
    let expected = ["990", &sum.to_string(), "990", "x998"].map(str::to_owned);
    assert_eq!(duckdb::query(scratch.path(), sql), [expected]);
    let columns = "SELECT column_name FROM (DESCRIBE SELECT * FROM 'archive/**/*.parquet')";
    let names: Vec<_> = duckdb::query(scratch.path(), columns).concat();
    assert_eq!(
        names,
        ["n", "offset", "_extra", "topic", "partition", "_offset", "timestamp"]
    );
}

#[test]
fn both_keeps_the_record_as_it_is_whatever_its_value_says() {
    let topic = topic();
    let scratch = Scratch::new("both");
    let options = [SMALL, &["--layout", "both", "--on-bad", "null", "--threads", "1"]].concat();
    replay(&scratch, &topic, "archive", &options);
    let sql = "SELECT count(*), count(n), count(value), count(DISTINCT _offset) FROM 'archive/**/*.parquet'";
    assert_eq!(duckdb::query(scratch.path(), sql), [["1000", "989", "999", "1000"]]);
    let expected = Broker::shared().consume(&topic, Isolation::ReadCommitted);
    let values = "SELECT hex(value) FROM 'archive/**/*.parquet' WHERE value IS NOT NULL ORDER BY _offset";
    let hex = |bytes: &Vec<u8>| bytes.iter().map(|byte| format!("{byte:02X}")).collect::<String>();
    let found = duckdb::query(scratch.path(), values).concat();
    let values: Vec<_> = expected
        .iter()
        .filter_map(|record| record.value.as_ref().map(hex))
        .collect();
    assert_eq!(found, values);
    let two = [SMALL, &["--layout", "both", "--on-bad", "null", "--threads", "2"]].concat();
    let killed = command(&scratch, &topic, "two", &two).env("MILLSTREAM_CRASH_AT", "archive_after_publish:5");
    assert_eq!(killed.finish(PATIENCE).status.code(), None);
    replay(&scratch, &topic, "two", &two);
    expect_same(&content(&scratch.join("two")), &content(&scratch.join("archive")));
}

#[test]
fn a_value_that_can_not_be_decoded_stops_the_replay_with_its_place() {
    let topic = topic();
    let scratch = Scratch::new("bad");
    let options = [SMALL, &["--layout", "parsed", "--threads", "1"]].concat();
    let ended = command(&scratch, &topic, "archive", &options)
        .finish(PATIENCE)
        .expect_code(5);
    let place = format!("{topic}[0] offset 99");
    assert!(ended.stderr.contains(&place), "{}", ended.stderr);
    for (options, part) in [
        (
            &["--layout", "parsed"][..],
            "`--layout parsed` and both need --input-format",
        ),
        (&["--input-format", "json"], "`--input-format` is for `--layout parsed`"),
        (&["--on-bad", "dead_letter"], "a replay has no dead letters"),
    ] {
        let ended = command(&scratch, &topic, "refused", options)
            .finish(PATIENCE)
            .expect_code(3);
        assert!(
            ended.stderr.contains(part),
            "`{part}` is in the message: {}",
            ended.stderr
        );
    }
}
