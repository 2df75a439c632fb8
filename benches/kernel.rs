//! The hot loops on text in memory, each beside what the standard library offers, in processor time.

mod cpu_clock;
mod cpu_time;
mod plain_loop;
mod texts;

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use engine::group::bytes::BytesTable;
use engine::kernel::hash::Seed;
use engine::kernel::path::Path;
use engine::kernel::separators::{ByteSet, separator_masks_by};
use engine::kernel::tokenize::token_spans_by;

use cpu_time::CpuTime;
use plain_loop::{PlainCount, hash_count};
use texts::{Block, Text};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SEED: Seed = Seed(0x5eed, 0xfeed);

fn main() {
    let mut criterion = cpu_time::criterion();
    for text in texts::all() {
        separators(&mut criterion, &text);
        tokenize(&mut criterion, &text);
        count(&mut criterion, &text);
    }
    criterion.final_summary();
}

/// Where words are in a text, block after block; keeps its memory.
struct Spans {
    path: Path,
    separators: ByteSet,
    masks: Vec<u64>,
    starts: Vec<u32>,
    ends: Vec<u32>,
}

impl Spans {
    fn new(path: Path) -> Self {
        Self {
            path,
            separators: ByteSet::new(|byte| byte.is_ascii_whitespace()),
            masks: vec![],
            starts: vec![],
            ends: vec![],
        }
    }

    fn find(&mut self, block: &Block) {
        self.starts.clear();
        self.ends.clear();
        let Self {
            path,
            separators,
            masks,
            starts,
            ends,
        } = self;
        token_spans_by(*path, &block.offsets, &block.text, separators, masks, starts, ends);
    }
}

/// The number of words and of their bytes: what every way to split must agree on.
type Extent = (u64, u64);

fn by_kernel(text: &Text, spans: &mut Spans) -> Extent {
    let mut extent = (0, 0);
    for block in &text.blocks {
        spans.find(block);
        let sum = |places: &[u32]| places.iter().map(|&place| u64::from(place)).sum::<u64>();
        extent.0 += spans.starts.len() as u64;
        extent.1 += sum(&spans.ends) - sum(&spans.starts);
    }
    extent
}

fn by_standard_library<'a, W: Iterator<Item = &'a str>>(text: &'a Text, split: impl Fn(&'a str) -> W) -> Extent {
    let mut extent = (0, 0);
    for block in &text.blocks {
        block.for_each_row(|row| {
            for word in split(row) {
                extent.0 += 1;
                extent.1 += word.len() as u64;
            }
        });
    }
    extent
}

/// The masks of white space of all blocks, folded.
fn masks_by_kernel(path: Path, text: &Text, set: &ByteSet, masks: &mut Vec<u64>) -> u64 {
    let mut hash = 0_u64;
    for block in &text.blocks {
        masks.clear();
        separator_masks_by(path, &block.text, set, masks);
        hash = masks.iter().fold(hash, |hash, mask| hash.rotate_left(1) ^ mask);
    }
    hash
}

fn masks_of_bytes(text: &Text) -> u64 {
    let mut hash = 0_u64;
    for block in &text.blocks {
        for bytes in block.text.chunks(64) {
            let bit = |(at, byte): (usize, &u8)| u64::from(byte.is_ascii_whitespace()) << at;
            let mask = bytes.iter().enumerate().map(bit).fold(0, |mask, bit| mask | bit);
            let after = u64::MAX.checked_shl(u32::try_from(bytes.len()).expect("at most 64"));
            hash = hash.rotate_left(1) ^ (mask | after.unwrap_or(0));
        }
    }
    hash
}

/// Every path of this processor beside a look at each byte.
fn separators(criterion: &mut Criterion<CpuTime>, text: &Text) {
    let set = ByteSet::new(|byte| byte.is_ascii_whitespace());
    let (expected, mut masks) = (masks_of_bytes(text), vec![]);
    let mut group = criterion.benchmark_group("separators");
    group.throughput(Throughput::Bytes(text.bytes()));
    for path in Path::all() {
        let found = masks_by_kernel(path, text, &set, &mut masks);
        assert_eq!(found, expected, "{}, {}", path.name(), text.name);
        group.bench_function(BenchmarkId::new(path.name(), text.name), |bencher| {
            bencher.iter(|| black_box(masks_by_kernel(path, black_box(text), &set, &mut masks)));
        });
    }
    group.bench_function(BenchmarkId::new("byte_by_byte", text.name), |bencher| {
        bencher.iter(|| black_box(masks_of_bytes(black_box(text))));
    });
    group.finish();
}

fn tokenize(criterion: &mut Criterion<CpuTime>, text: &Text) {
    let expected = by_standard_library(text, str::split_whitespace);
    let mut group = criterion.benchmark_group("tokenize");
    group.throughput(Throughput::Bytes(text.bytes()));
    for path in Path::all() {
        let mut spans = Spans::new(path);
        assert_eq!(by_kernel(text, &mut spans), expected, "{}, {}", path.name(), text.name);
        group.bench_function(BenchmarkId::new(path.name(), text.name), |bencher| {
            bencher.iter(|| black_box(by_kernel(black_box(text), &mut spans)));
        });
    }
    group.bench_function(BenchmarkId::new("split_whitespace", text.name), |bencher| {
        bencher.iter(|| black_box(by_standard_library(black_box(text), str::split_whitespace)));
    });
    group.bench_function(BenchmarkId::new("split_ascii_whitespace", text.name), |bencher| {
        bencher.iter(|| black_box(by_standard_library(black_box(text), str::split_ascii_whitespace)));
    });
    group.finish();
}

/// Counts by spans and packed keys, as a worker of the word count does.
fn count_packed(text: &Text, spans: &mut Spans) -> (BytesTable, Vec<u64>) {
    let (mut table, mut ids, mut counts) = (BytesTable::new(SEED), vec![], vec![]);
    for block in &text.blocks {
        spans.find(block);
        ids.clear();
        table.intern_spans(&block.text, &spans.starts, &spans.ends, &mut ids);
        counts.resize(table.len(), 0);
        ids.iter().for_each(|&id| counts[id as usize] += 1);
    }
    (table, counts)
}

fn count_plain(text: &Text) -> PlainCount {
    let mut counts = PlainCount::default();
    text.blocks
        .iter()
        .for_each(|block| block.for_each_row(|row| counts.add(row)));
    counts
}

/// Counts with a fast hash and an allocation for new words only: what careful safe code does.
fn count_careful(text: &Text) -> HashMap<Box<[u8]>, u64, impl BuildHasher> {
    let mut counts: HashMap<Box<[u8]>, u64, _> = HashMap::with_hasher(ahash::RandomState::new());
    for block in &text.blocks {
        block.for_each_row(|row| {
            for word in row.split_ascii_whitespace().map(str::as_bytes) {
                match counts.get_mut(word) {
                    Some(count) => *count += 1,
                    None => drop(counts.insert(word.into(), 1)),
                }
            }
        });
    }
    counts
}

fn hash_packed((table, counts): &(BytesTable, Vec<u64>)) -> u64 {
    let ids: Vec<u32> = (0..).take(table.len()).collect();
    let (mut hash, mut id) = (0_u64, 0);
    table.for_each_key(&ids, |word| {
        hash = hash.wrapping_add(hash_count(word.expect("no word is null"), counts[id]));
        id += 1;
    });
    hash
}

fn count(criterion: &mut Criterion<CpuTime>, text: &Text) {
    let mut spans = Spans::new(Path::best());
    let expected = count_plain(text).hash();
    assert_eq!(hash_packed(&count_packed(text, &mut spans)), expected, "{}", text.name);
    let careful = count_careful(text);
    let careful = careful.iter().map(|(word, &count)| hash_count(word, count));
    assert_eq!(careful.fold(0, u64::wrapping_add), expected, "{}", text.name);
    let mut group = criterion.benchmark_group("count");
    group.sample_size(20).throughput(Throughput::Bytes(text.bytes()));
    group.bench_function(BenchmarkId::new("packed_keys", text.name), |bencher| {
        bencher.iter(|| black_box(count_packed(black_box(text), &mut spans)));
    });
    group.bench_function(BenchmarkId::new("hash_map_of_strings", text.name), |bencher| {
        bencher.iter(|| black_box(count_plain(black_box(text))));
    });
    group.bench_function(BenchmarkId::new("careful_hash_map", text.name), |bencher| {
        bencher.iter(|| black_box(count_careful(black_box(text))));
    });
    group.finish();
}
