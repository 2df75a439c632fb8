//! Some garbage among the records of each format: all good rows come through, and each bad one is a dead letter with its
//! offset.

use std::collections::BTreeMap;
use std::fs;

use crate::harness::PATIENCE;
use crate::harness::broker::Broker;
use crate::harness::duckdb;
use crate::harness::process::Run;
use crate::harness::records::{Isolation, NewRecord};
use crate::harness::scratch::Scratch;
use crate::harness::seeded::Seeded;

/// Records of each case, and the one of how many that is garbage.
const RECORDS: usize = 1000;
const EVERY: u64 = 100;

/// A format with what it reads and what it does not.
struct Case {
    /// The key `format` of the source, and `columns` if it needs them.
    format: &'static str,
    /// Columns to be selected; what is not asked for is not looked at. The first is null in no good row.
    columns: &'static str,
    good: fn(usize) -> Vec<u8>,
    bad: &'static [&'static [u8]],
}

/// The schema of the records of Avro.
const SCHEMA: &str = r#"{"type": "record", "name": "Row", "fields": [
    {"name": "n", "type": "int"}, {"name": "text", "type": ["null", "string"]}]}"#;

const CASES: &[Case] = &[
    Case {
        format: "format = \"lines\"",
        columns: "line AS found",
        good: |number| format!("line {number}").into_bytes(),
        bad: &[b"\xff", b"a\xc3", b"\xed\xa0\x80"],
    },
    Case {
        format: "format = \"json\"\ncolumns = { n = \"int\" }",
        columns: "n AS found",
        good: |number| format!(r#"{{"n": {number}, "text": "é"}}"#).into_bytes(),
        bad: &[
            b"{\"n\": 1",
            b"{\"n\": \"x\"}",
            b"[1]",
            b"",
            b"\xff",
            b"{\"n\": 1} {",
            b"{\"n\": 1.5}",
        ],
    },
    Case {
        format: "format = \"logfmt\"\ncolumns = { n = \"int\" }",
        columns: "n AS found",
        good: |number| format!("n={number} text=\"a b\"").into_bytes(),
        bad: &[b"n=x", b"n=1 text=\"a", b"\xff=1", b"n=1 =2"],
    },
    Case {
        format: "format = \"common\"",
        columns: "status AS found, time",
        good: |number| {
            format!("h - - [24/Nov/2026:06:30:16 +0000] \"GET /{number} HTTP/1.1\" 200 {number}").into_bytes()
        },
        bad: &[
            b"h - - [24/Nov/2026:06:30:16 +0000] \"GET /",
            b"",
            b"h - - [soon] \"GET / HTTP/1.1\" 200 1",
            b"\xff",
        ],
    },
    Case {
        format: "format = \"combined\"",
        columns: "status AS found, time",
        good: |number| {
            format!("h - - [24/Nov/2026:06:30:16 +0000] \"GET /{number} HTTP/1.1\" 200 {number} \"-\" \"curl/8\"")
                .into_bytes()
        },
        bad: &[
            b"h - - [24/Nov/2026:06:30:16 +0000] \"GET / HTTP/1.1\" 200 1",
            b"",
            b"{}",
            b"\xff\xfe\x00",
        ],
    },
    Case {
        format: "format = \"syslog\"",
        columns: "severity AS found, time",
        good: |number| match number % 2 {
            0 => format!("<34>1 2026-11-24T06:30:16Z host app {number} - - text").into_bytes(),
            _ => format!("<34>Nov 24 06:30:16 host app[{number}]: text").into_bytes(),
        },
        bad: &[b"text", b"<999>1 2026-11-24T06:30:16Z host app 1 - - text", b"<34", b""],
    },
    Case {
        format: "format = \"csv\"\ncolumns = { n = \"int\", text = \"string\" }",
        columns: "n AS found, text",
        good: |number| format!("{number},\"a,b\"").into_bytes(),
        bad: &[b"1", b"x,y", b"1,\"a", b"1,a,b", b"1,\xff"],
    },
    Case {
        format: "format = \"tsv\"\ncolumns = { n = \"int\", text = \"string\" }",
        columns: "n AS found, text",
        good: |number| format!("{number}\ta,b").into_bytes(),
        bad: &[b"1", b"x\ty", b"1\ta\tb", b"1\t\xff"],
    },
    Case {
        format: "format = { kind = \"regex\", pattern = '^(?<n>\\d+) (?<text>\\w+)$' }\ncolumns = { n = \"int\" }",
        columns: "n AS found, text",
        good: |number| format!("{number} text").into_bytes(),
        bad: &[b"text", b"1  text", b"99999999999999999999 text", b""],
    },
    Case {
        format: "format = { kind = \"grok\", pattern = '^%{INT:n:int} %{WORD:text}$' }",
        columns: "n AS found, text",
        good: |number| format!("{number} text").into_bytes(),
        bad: &[b"text", b"1 ", b"99999999999999999999 text", b""],
    },
    Case {
        format: "format = { kind = \"avro\", schema = \"row.avsc\", framing = \"confluent\", schema_id = 7 }",
        columns: "n AS found, text",
        good: |number| {
            [
                &b"\x00\x00\x00\x00\x07"[..],
                &[u8::try_from(number % 64 * 2).expect("small")],
                b"\x02\x02x",
            ]
            .concat()
        },
        bad: &[
            b"\x00\x00\x00\x00\x07\x02\x02\x04x",
            b"\x00\x00\x00\x00\x08\x02\x00",
            b"\x00\x00\x00\x00\x07\x02\x04",
            b"\x00\x00\x00\x00\x07\x02\x00\x00",
            b"\x00\x00\x00\x00\x07\x02\x02\x02\xff",
            b"{\"n\": 1}",
            b"",
        ],
    },
    Case {
        format: "format = [\"json\", \"logfmt\"]\ncolumns = { n = \"int\" }",
        columns: "n AS found",
        good: |number| match number % 2 {
            0 => format!("n={number}").into_bytes(),
            _ => format!("{{\"n\":{number}}}").into_bytes(),
        },
        bad: &[b"{\"n\":1", b"n=x", b"\xff"],
    },
];

/// Writes the records of a case to two partitions, and returns the garbage by its place.
fn write(case: &Case, topic: &str) -> BTreeMap<(i64, i64), Vec<u8>> {
    let mut seeded = Seeded::new();
    let (mut garbage, mut partitions) = (BTreeMap::new(), [vec![], vec![]]);
    for number in 0..RECORDS {
        let partition = number % 2;
        let is_bad = seeded.in_range(0..EVERY) == 0 || number < 2 * case.bad.len() && number % 2 == 0;
        let value = match is_bad {
            true => case.bad[number / 2 % case.bad.len()].to_vec(),
            false => (case.good)(number),
        };
        if is_bad {
            let place =
                [partition, partitions[partition].len()].map(|place| i64::try_from(place).expect("a small number"));
            garbage.insert((place[0], place[1]), value.clone());
        }
        partitions[partition].push(NewRecord::of(value));
    }
    for (partition, records) in (0..).zip(partitions) {
        Broker::shared().produce(topic, partition, records);
    }
    garbage
}

/// Runs an archive of a topic, whose dead letters go to another.
fn archive(scratch: &Scratch, case: &Case, topic: &str, dead_letters: &str) {
    fs::write(scratch.join("row.avsc"), SCHEMA).expect("the scratch folder can be written");
    let job = format!(
        "[source.rows]\nkind = \"kafka\"\nbrokers = \"{brokers}\"\ntopic = \"{topic}\"\ngroup = \"{topic}\"\n{format}\n\
         [query]\nsql = 'SELECT {columns}, partition, offset FROM rows'\n\
         [sink]\nkind = \"parquet\"\ndir = \"out\"\n\
         [dead_letter]\nkind = \"kafka\"\ntopic = \"{dead_letters}\"\n\
         [run]\ncheckpoint = \"state\"\ntrigger = \"1ms\"\nbatch_rows = 100\n",
        brokers = Broker::shared().bootstrap(),
        format = case.format,
        columns = case.columns,
    );
    fs::write(scratch.join("job.toml"), job).expect("the scratch folder can be written");
    let run = Run::millstream(scratch, "millstream").args(["run", "job.toml", "--to", "latest"]);
    run.finish(PATIENCE).expect_code(0);
}

/// Returns the dead letters of a topic by the place of the record.
fn letters(topic: &str, dead_letters: &str) -> BTreeMap<(i64, i64), String> {
    let mut found = BTreeMap::new();
    for record in Broker::shared().consume(dead_letters, Isolation::ReadCommitted) {
        let value = record.value.expect("no tombstone");
        let letter: serde_json::Value = serde_json::from_slice(&value).expect("a dead letter in JSON");
        assert_eq!(letter["topic"], topic);
        assert!(
            letter["reason"].as_str().is_some_and(|reason| !reason.is_empty()),
            "{letter}"
        );
        let number = |name: &str| letter[name].as_i64().expect("a number");
        let value = letter["value"].as_str().expect("a value").to_owned();
        let earlier = found.insert((number("partition"), number("offset")), value);
        assert_eq!(earlier, None, "each bad record once");
    }
    found
}

fn check(case: &Case) {
    let (broker, scratch) = (Broker::shared(), Scratch::new("each-format"));
    let (topic, dead_letters) = (broker.new_topic("each", 2), broker.new_topic("each-bad", 1));
    let garbage = write(case, &topic);
    archive(&scratch, case, &topic, &dead_letters);
    let lossy = |(place, value): (&(i64, i64), &Vec<u8>)| (*place, String::from_utf8_lossy(value).into_owned());
    let expected: BTreeMap<_, _> = garbage.iter().map(lossy).collect();
    assert_eq!(letters(&topic, &dead_letters), expected, "{}", case.format);
    let counts = "SELECT count(*), count(DISTINCT (partition, \"offset\")), count(found) FROM 'out/**/*.parquet'";
    let good = (RECORDS - garbage.len()).to_string();
    let expected = [[&good, &good, &good].map(String::clone)];
    assert_eq!(duckdb::query(scratch.path(), counts), expected, "{}", case.format);
}

#[test]
fn garbage_in_each_format_is_put_aside_count_for_count_and_all_else_comes_through() {
    // Each waits most of its time for the broker.
    std::thread::scope(|scope| {
        for case in CASES {
            scope.spawn(move || check(case));
        }
    });
}
