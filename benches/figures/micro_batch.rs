//! What a micro-batch and a checkpoint cost by themselves.

use std::time::{Duration, Instant};

use super::table::{Table, median, milliseconds};
use super::{Size, cpu_clock, micro_batches};
use crate::state::State;

const MICRO_BATCHES: u32 = 1000;

/// Groups of the state whose checkpoint is measured, and how many change between two.
const GROUPS: usize = 1_000_000;
const CHANGED: usize = 1000;
const CHECKPOINTS: usize = 20;

pub(crate) fn measure(_size: Size, table: &mut Table) {
    let (cpu, wall) = (cpu_clock::own(), Instant::now());
    micro_batches::run(MICRO_BATCHES as usize);
    let cpu = (cpu_clock::own() - cpu) / MICRO_BATCHES;
    let wall = wall.elapsed() / MICRO_BATCHES;
    let figure = format!("{}, {} CPU", milliseconds(wall), milliseconds(cpu));
    table.add("micro-batch of one word", figure, "");
    table.bar("< 10 ms", wall < Duration::from_millis(10));
    checkpoint(table);
}

fn checkpoint(table: &mut Table) {
    let mut state = State::new(GROUPS);
    let (mut cpu_times, mut wall_times) = (vec![], vec![]);
    for _ in 0..CHECKPOINTS {
        state.change(CHANGED);
        let (cpu, wall) = (cpu_clock::own(), Instant::now());
        state.write_checkpoint();
        cpu_times.push(cpu_clock::own() - cpu);
        wall_times.push(wall.elapsed());
    }
    let (cpu, wall) = (median(&cpu_times), median(&wall_times));
    let figure = format!("{}, {} CPU", milliseconds(wall), milliseconds(cpu));
    table.add("checkpoint of 1,000 changed groups of 1,000,000", figure, "");
}
