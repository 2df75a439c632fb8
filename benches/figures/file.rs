//! The word count of a file, beside the plain loop: on one thread, as that is, and on all cores.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use super::jobs::cores;
use super::table::{Table, cpu_seconds, median};
use super::{Size, cpu_clock, line_file, word_count};
use crate::harness::scratch::Scratch;

/// Times of one way of counting, turn by turn.
#[derive(Default)]
struct Times {
    cpu: Vec<Duration>,
    wall: Vec<Duration>,
}

pub(crate) fn measure(size: Size, table: &mut Table) {
    let scratch = Scratch::new("figures-file");
    let path = scratch.join("lines.log");
    line_file::write(&path, size.lines);
    let mut plain = Times::default();
    let mut counts = [(NonZeroUsize::MIN, Times::default()), (cores(), Times::default())];
    let mut hash = 0;
    for _ in 0..size.turns {
        hash = plain.measure(|| line_file::count_plain(&path)).hash();
        for (threads, times) in &mut counts {
            let found = times.measure(|| line_file::count(&path, *threads));
            assert_eq!(word_count::hash(&found), hash, "the counts are those of a plain loop");
        }
    }
    let result = format!("counts {hash:016x}");
    let figure = |times: &Times| {
        let cpu = cpu_seconds(median(&times.cpu), size.lines);
        format!("{cpu}, {:.2} s wall", median(&times.wall).as_secs_f64())
    };
    table.add("file, split_whitespace into a HashMap", figure(&plain), &result);
    for (threads, times) in &counts {
        let threads = threads.get();
        table.add(
            format!("file -> word count, threads: {threads}"),
            figure(times),
            &result,
        );
        let ratio = median(&plain.cpu).as_secs_f64() / median(&times.cpu).as_secs_f64();
        match threads {
            1 => table.ratio(ratio, ">= 5 times less", ratio >= 5.0),
            _ => table.compare(ratio),
        }
    }
}

impl Times {
    /// Runs something, and adds what it took.
    fn measure<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let (wall, cpu) = (Instant::now(), cpu_clock::own());
        let result = work();
        self.wall.push(wall.elapsed());
        self.cpu.push(cpu_clock::own() - cpu);
        result
    }
}
