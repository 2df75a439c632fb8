//! Whole jobs over a file, and what a micro-batch and a checkpoint cost by themselves, in processor time.

mod cpu_clock;
mod cpu_time;
mod jobs;
mod line_file;
mod lines;
mod micro_batches;
mod plain_loop;
mod state;
mod word_count;

use std::hint::black_box;

use criterion::{Criterion, Throughput};

use cpu_time::CpuTime;
use jobs::cores;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Lines of the file: 18 MB.
const LINES: u64 = 200_000;

/// Groups of the state whose checkpoint is measured, and how many of them change between two.
const GROUPS: usize = 1_000_000;
const CHANGED: usize = 1000;

fn main() {
    let mut criterion = cpu_time::criterion();
    file(&mut criterion);
    micro_batch(&mut criterion);
    checkpoint(&mut criterion);
    criterion.final_summary();
}

fn file(criterion: &mut Criterion<CpuTime>) {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let path = folder.path().join("lines.log");
    line_file::write(&path, LINES);
    let expected = line_file::count_plain(&path).hash();
    assert_eq!(word_count::hash(&line_file::count(&path, cores())), expected);
    let bytes = path.metadata().expect("the file is there").len();
    let mut group = criterion.benchmark_group("file");
    group.sample_size(10).throughput(Throughput::Bytes(bytes));
    group.bench_function("word_count", |bencher| {
        bencher.iter(|| black_box(line_file::count(&path, cores())));
    });
    group.bench_function("hash_map_of_strings", |bencher| {
        bencher.iter(|| black_box(line_file::count_plain(&path)));
    });
    group.finish();
}

fn micro_batch(criterion: &mut Criterion<CpuTime>) {
    /// What starts and ends a job is shared by so many that it does not show.
    const BATCHES: u64 = 1000;
    let mut group = criterion.benchmark_group("micro_batch");
    group.sample_size(10).throughput(Throughput::Elements(BATCHES));
    group.bench_function("one_word_1000_times", |bencher| {
        bencher.iter(|| micro_batches::run(BATCHES as usize))
    });
    group.finish();
}

fn checkpoint(criterion: &mut Criterion<CpuTime>) {
    let mut state = state::State::new(GROUPS);
    let mut group = criterion.benchmark_group("checkpoint");
    group.sample_size(10).throughput(Throughput::Elements(CHANGED as u64));
    group.bench_function("1000_changed_of_1000000_groups", |bencher| {
        bencher.iter_custom(|times| {
            let one = |_| {
                state.change(CHANGED);
                let start = cpu_clock::own();
                state.write_checkpoint();
                cpu_clock::own() - start
            };
            (0..times).map(one).sum()
        });
    });
    group.finish();
}
