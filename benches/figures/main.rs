//! The figures of the README's table: processor time of what Millstream does, beside a plain loop in the same run.
//!
//! usage: `cargo bench --bench figures -- [--quick] [SECTION...]`, sections: see [`SECTIONS`]
//!
//! The broker is the tests' own, or the one at `KAFKA_BOOTSTRAP_SERVERS`. What is compared runs in turns, A B C A B C,
//! and medians are shown: other work on the machine then troubles all alike.
#![expect(clippy::print_stdout, reason = "the table is the output")]

mod archive;
#[path = "../bare_loop/mod.rs"]
mod bare_loop;
#[path = "../cpu_clock/mod.rs"]
mod cpu_clock;
mod epoch;
mod file;
#[expect(dead_code, reason = "the tests use the rest")]
#[path = "../../tests/harness/mod.rs"]
mod harness;
mod ingest;
#[path = "../jobs/mod.rs"]
mod jobs;
#[path = "../line_file/mod.rs"]
mod line_file;
#[path = "../lines/mod.rs"]
mod lines;
mod memory;
mod micro_batch;
#[path = "../micro_batches/mod.rs"]
mod micro_batches;
#[path = "../parquet_twin/mod.rs"]
mod parquet_twin;
#[path = "../plain_loop/mod.rs"]
mod plain_loop;
mod program;
#[path = "../seen/mod.rs"]
mod seen;
#[cfg(feature = "sql")]
mod sql;
mod start;
#[path = "../state/mod.rs"]
mod state;
mod table;
#[path = "../topic/mod.rs"]
mod topic;
#[path = "../topic_word_count/mod.rs"]
mod topic_word_count;
#[path = "../word_count/mod.rs"]
mod word_count;

use table::Table;

/// The program's allocator: librdkafka's allocations are most of what reading costs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How much work is done for each figure.
#[derive(Clone, Copy, Debug)]
struct Size {
    /// Messages of the topic that is read again and again.
    messages: u64,
    /// Messages of the word count whose memory is measured.
    messages_for_memory: u64,
    /// Lines of the file.
    lines: u64,
    /// Turns of what is compared.
    turns: usize,
    /// Seconds that an idle program is watched.
    idle_seconds: u64,
    /// Seconds that a program with a stalled sink is watched.
    stall_seconds: u64,
}

const FULL: Size = Size {
    messages: 4_000_000,
    messages_for_memory: 10_000_000,
    lines: 2_000_000,
    turns: 5,
    idle_seconds: 20,
    stall_seconds: 60,
};

const QUICK: Size = Size {
    messages: 1_000_000,
    messages_for_memory: 2_000_000,
    lines: 500_000,
    turns: 3,
    idle_seconds: 5,
    stall_seconds: 10,
};

/// What measures a section's figures.
type Section = fn(Size, &mut Table);

/// The sections, in their order in the table.
const SECTIONS: &[(&str, Section)] = &[
    ("ingest", ingest::measure),
    ("archive", archive::measure),
    ("file", file::measure),
    #[cfg(feature = "sql")]
    ("sql", sql::measure),
    ("micro-batch", micro_batch::measure),
    ("start", start::measure),
    ("memory", memory::measure),
    ("epoch", epoch::measure),
];

fn main() {
    millstream::pages::use_small_pages();
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let size = if arguments.iter().any(|argument| argument == "--quick") {
        QUICK
    } else {
        FULL
    };
    let asked: Vec<_> = arguments
        .iter()
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    for name in &asked {
        assert!(
            SECTIONS.iter().any(|(known, _)| known == name),
            "`{name}` is no section"
        );
    }
    let mut table = Table::default();
    for (name, measure) in SECTIONS {
        if asked.is_empty() || asked.iter().any(|asked| asked == name) {
            eprintln!("measuring: {name}");
            measure(size, &mut table);
        }
    }
    println!("{table}");
}
