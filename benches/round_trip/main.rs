//! Any number of records of all kinds through `replay`, `verify`, `restore` and `replay` again: the test of `make test`, larger.
//!
//! usage: `cargo bench --bench round_trip -- [RECORDS]`, 1,000,000 unless said otherwise
//!
//! The broker is the tests' own, or the one at `KAFKA_BOOTSTRAP_SERVERS`. A record has 240 bytes on average; topic and archive
//! are there twice at a time.
#![expect(clippy::print_stdout, reason = "what it came to is the output")]

#[expect(dead_code, reason = "the tests use the rest")]
#[path = "../../tests/harness/mod.rs"]
mod harness;
#[path = "../../tests/archive_tools/round_trip/mod.rs"]
mod round_trip;

const RECORDS: u64 = 1_000_000;

fn main() {
    let asked = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let records = asked.map_or(RECORDS, |text| text.parse().expect("a number of records"));
    println!("{}", round_trip::of_all_kinds(records));
    println!("{}", round_trip::of_a_compacted_topic(records));
}
