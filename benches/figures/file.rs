//! The word count of a file, beside the plain loop.

use super::table::{Table, cpu_seconds, median};
use super::{Size, cpu_clock, line_file, word_count};
use crate::harness::scratch::Scratch;

pub(crate) fn measure(size: Size, table: &mut Table) {
    let scratch = Scratch::new("figures-file");
    let path = scratch.join("lines.log");
    line_file::write(&path, size.lines);
    let (mut plain, mut pipeline) = (vec![], vec![]);
    let mut hash = 0;
    for _ in 0..size.turns {
        let start = cpu_clock::own();
        let counts = line_file::count_plain(&path);
        plain.push(cpu_clock::own() - start);
        hash = counts.hash();
        drop(counts);
        let start = cpu_clock::own();
        let counts = line_file::count(&path);
        pipeline.push(cpu_clock::own() - start);
        assert_eq!(word_count::hash(&counts), hash, "the counts are those of a plain loop");
    }
    let (plain, pipeline) = (median(&plain), median(&pipeline));
    let result = format!("counts {hash:016x}");
    table.add(
        "file, split_whitespace into a HashMap",
        cpu_seconds(plain, size.lines),
        &result,
    );
    table.add("file -> word count", cpu_seconds(pipeline, size.lines), &result);
    let ratio = plain.as_secs_f64() / pipeline.as_secs_f64();
    table.ratio(ratio, ">= 5 times less", ratio >= 5.0);
}
