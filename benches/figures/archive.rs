//! Topics into an archive: processor time beside parquet-rs on the same rows, and the wall time of two threads beside one.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::{Duration, Instant};

use arrow::compute::concat_batches;
use arrow::record_batch::RecordBatch;
use connectors::kafka::config::Connection;
use connectors::kafka::options::{End, KafkaColumn, SourceOptions};
use connectors::parquet::Compression;
use connectors::parquet::archive::{CHUNK_ROWS, FileLimits, Location};
use engine::metrics::Metrics;
use engine::pipeline::Stop;
use millstream::archive::{Layout, Outcome, ReplayOptions, SEGMENT_OFFSETS};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::reader::{FileReader, SerializedFileReader};

use super::ingest::{self, timed};
use super::lines::line;
use super::table::{Table, cpu_seconds, median};
use super::{Size, cpu_clock, parquet_twin};
use crate::harness::broker::Broker;
use crate::harness::scratch::Scratch;
use crate::topic::{PARTITIONS, Topic};

/// Bytes of a file: the default of the command.
const FILE_BYTES: u64 = 256 << 20;

/// Times of one replay, turn by turn.
#[derive(Default)]
struct Times {
    cpu: Vec<Duration>,
    wall: Vec<Duration>,
    /// Processor time of the broker, if it is this program's.
    broker: Vec<Duration>,
}

pub(crate) fn measure(size: Size, table: &mut Table) {
    let broker = Broker::shared();
    let topic = Topic::new(broker, size.messages, "uncompressed");
    let narrow = one_partition(broker, size.messages);
    let memory = pieces(&topic);
    let [mut one, mut two, mut narrow_one, mut narrow_two] = std::array::from_fn(|_| Times::default());
    let (mut fetch, mut encode) = (Vec::new(), Vec::new());
    let (mut bytes, mut folders) = (0, BTreeMap::new());
    for turn in 0..size.turns {
        timed(&mut fetch, || topic.read(KafkaColumn::ALL, drop));
        let encoded = timed(&mut encode, || {
            let files = memory.iter().map(|records| parquet_twin::encode(records));
            files.collect::<Vec<_>>()
        });
        let scratch = Scratch::new("figures-archive");
        for (name, threads, times) in [(&topic.name, 1, &mut one), (&topic.name, 2, &mut two)] {
            let folder = scratch.join(format!("all-{threads}"));
            replay(broker, name, threads, &folder, times);
            if turn == 0 && threads == 1 {
                bytes = check_parquet(&folder, &topic.name, &encoded, topic.messages);
            }
            expect_same(&mut folders, name, &folder);
        }
        for (threads, times) in [(1, &mut narrow_one), (2, &mut narrow_two)] {
            let folder = scratch.join(format!("one-{threads}"));
            replay(broker, &narrow, threads, &folder, times);
            expect_same(&mut folders, &narrow, &folder);
        }
    }
    let (count, fetch, encode) = (topic.messages, median(&fetch), median(&encode));
    table.add(
        "topic -> Arrow batches, all columns",
        cpu_seconds(fetch, count),
        topic.content,
    );
    table.add(
        "parquet-rs, zstd-1, from memory, a file a segment",
        cpu_seconds(encode, count),
        format!("{bytes} bytes"),
    );
    let archived = median(&one.cpu);
    let same = format!(
        "{count} rows, the column chunks of parquet-rs, crc {:08x}",
        folders[&topic.name]
    );
    table.add(
        "topic -> archive, zstd-1, one thread",
        cpu_seconds(archived, count),
        same,
    );
    let speed = encode.as_secs_f64() / archived.as_secs_f64();
    table.ratio(speed, ">= 0.8 of the speed of parquet-rs", speed >= 0.8);
    report_threads(&one, &two, &format!("{PARTITIONS} partitions"), 1.8, table);
    report_threads(&narrow_one, &narrow_two, "one partition", 1.6, table);
}

/// Says how much faster two threads are, and what the broker beside them takes of the same cores.
fn report_threads(one: &Times, two: &Times, of: &str, bar: f64, table: &mut Table) {
    let figure = |times: &Times| {
        let (wall, cpu, broker) = (median(&times.wall), median(&times.cpu), median(&times.broker));
        let [wall, cpu, broker] = [wall, cpu, broker].map(|time| time.as_secs_f64());
        format!("{wall:.2} s wall, {cpu:.2} CPU-s, broker {broker:.2} CPU-s")
    };
    table.add(format!("archive of {of}, one thread"), figure(one), "");
    table.add(format!("archive of {of}, two threads"), figure(two), "the same folder");
    let faster = median(&one.wall).as_secs_f64() / median(&two.wall).as_secs_f64();
    table.ratio(faster, &format!(">= {bar} times as fast"), faster >= bar);
}

/// Makes a topic of one partition with the lines of the other one.
fn one_partition(broker: &Broker, messages: u64) -> String {
    let name = Broker::unique("one-partition");
    broker.create_topic(&name, 1, &[("compression.type", "uncompressed")]);
    let lines = (0..messages).map(|number| {
        let mut text = Vec::with_capacity(128);
        line(number, &mut text);
        text
    });
    broker.produce_lines(&name, 1, lines);
    name
}

/// Returns the topic's records as an archive's files have them: partition by partition, segment by segment, in pieces.
fn pieces(topic: &Topic) -> Vec<Vec<RecordBatch>> {
    let segment = usize::try_from(SEGMENT_OFFSETS.get()).expect("a million");
    let mut files = Vec::new();
    for batches in ingest::records(topic) {
        let rows = concat_batches(&batches[0].schema(), &batches).expect("batches of one schema");
        for start in (0..rows.num_rows()).step_by(segment) {
            let end = rows.num_rows().min(start + segment);
            let starts = (start..end).step_by(CHUNK_ROWS);
            files.push(
                starts
                    .map(|from| rows.slice(from, CHUNK_ROWS.min(end - from)))
                    .collect(),
            );
        }
    }
    files
}

/// Archives a topic as `millstream replay` does, with this program's own threads.
fn replay(broker: &Broker, topic: &str, threads: usize, folder: &Path, times: &mut Times) {
    let connection = Connection::new(broker.bootstrap());
    let mut source = SourceOptions::new(connection, vec![topic.to_owned()], Broker::unique("figures"));
    source.to = Some(End::Latest);
    let options = ReplayOptions {
        location: Location::Folder(folder.to_owned()),
        source,
        layout: Layout::Envelope,
        compression: Compression::default(),
        bloom_filter: Vec::new(),
        partition_by: Vec::new(),
        limits: FileLimits {
            bytes: Some(FILE_BYTES),
            ..FileLimits::default()
        },
        segment_offsets: SEGMENT_OFFSETS,
        threads: NonZeroUsize::new(threads).expect("one or two"),
        memory: None,
        rate: None,
    };
    let (wall, cpu, brokers) = (Instant::now(), cpu_clock::own(), children_cpu());
    let outcome = options.run(&Stop::default(), &Metrics::default());
    assert!(matches!(outcome, Ok(Outcome::Complete(_))), "{outcome:?}");
    times.wall.push(wall.elapsed());
    times.cpu.push(cpu_clock::own() - cpu);
    times.broker.push(children_cpu().saturating_sub(brokers));
}

/// Checks that the archive has the column chunks of its twin, byte count for byte count, and returns the bytes of its files.
fn check_parquet(folder: &Path, topic: &str, encoded: &[parquet_twin::Encoded], messages: u64) -> u64 {
    let mut files: Vec<_> = fs::read_dir(folder.join(format!("topic={topic}")))
        .expect("the topic's folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    assert_eq!(files.len(), encoded.len(), "a file a segment");
    let mut rows = 0;
    for (file, twin) in files.iter().zip(encoded) {
        rows += parquet_twin::check_same(file, twin);
        let reader = SerializedFileReader::new(fs::File::open(file).expect("it was listed")).expect("a Parquet file");
        let written = data_bytes(reader.metadata());
        assert_eq!(written, data_bytes(&twin.metadata), "the same work is compared");
    }
    assert_eq!(rows, messages, "every record is in a file");
    files.iter().map(|file| fs::metadata(file).expect("a file").len()).sum()
}

/// Columns of one value, which the archive has as one run, and parquet-rs row by row.
const REPEATED: [&str; 3] = ["topic", "partition", "timestamp_type"];

/// Returns the bytes of all column chunks of a file but those of one value.
fn data_bytes(metadata: &ParquetMetaData) -> i64 {
    let columns = metadata.row_groups().iter().flat_map(|group| group.columns());
    let is_repeated = |column: &&ColumnChunkMetaData| REPEATED.contains(&&*column.column_path().string());
    columns
        .filter(|column| !is_repeated(column))
        .map(ColumnChunkMetaData::compressed_size)
        .sum()
}

/// Checks that all archives of a topic are the same, byte for byte.
fn expect_same(known: &mut BTreeMap<String, u32>, topic: &str, folder: &Path) {
    let found = checksum(folder);
    let first = *known.entry(topic.to_owned()).or_insert(found);
    assert_eq!(found, first, "the same range gives the same folder");
}

/// Returns the CRC-32C of all that is in a folder, in the order of the names.
fn checksum(folder: &Path) -> u32 {
    let mut paths: Vec<_> = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    paths.iter().fold(0, |sum, path| match path.is_dir() {
        true => crc32c::crc32c_append(sum, &checksum(path).to_le_bytes()),
        false => crc32c::crc32c_append(sum, &fs::read(path).expect("a file")),
    })
}

/// Returns the processor time that the children of this process have used: the broker's, if it is ours.
fn children_cpu() -> Duration {
    let own = std::process::id().to_string();
    let mut ticks = 0;
    for entry in fs::read_dir("/proc").expect("Linux").flatten() {
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        // After the name, which may hold anything: state, parent, ..., user time and system time as the 12th and 13th.
        let Some((_, rest)) = stat.rsplit_once(") ") else {
            continue;
        };
        let fields: Vec<_> = rest.split(' ').collect();
        if fields[1] == own {
            ticks += [11, 12]
                .iter()
                .map(|&at| fields[at].parse::<u64>().unwrap_or(0))
                .sum::<u64>();
        }
    }
    // Linux counts in hundredths for everyone.
    Duration::from_millis(ticks * 10)
}
