use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use arrow::array::{AsArray, BinaryArray, Int64Array};
use arrow::datatypes::Int64Type;
use engine::sink::Candidate;
use engine::{OffsetRange, Partition, Positions};

use super::*;

const JOB: &str = "job-1";

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("offset", DataType::Int64, false),
        Field::new("value", DataType::Binary, true),
    ]))
}

/// Returns the rows of offsets `[from, to)` of `topic`'s partition 3; every third value is null.
fn batch(topic: &str, from: i64, to: i64) -> Batch {
    let value = |offset: i64| (offset % 3 != 0).then(|| format!("line {offset}").into_bytes());
    let values = BinaryArray::from_iter((from..to).map(value));
    let offsets = Int64Array::from_iter_values(from..to);
    let records = RecordBatch::try_new(schema(), vec![Arc::new(offsets), Arc::new(values)]).unwrap();
    let origin = Origin {
        partition: Partition::new(topic, 3),
        offsets: OffsetRange { from, to },
    };
    Batch::new(records, Some(origin))
}

/// A sink and what its driver knows.
struct Run {
    sink: ParquetSink,
    epoch: Epoch,
}

impl Run {
    fn new(dir: &Path, layout: Layout) -> Self {
        Self::with(ParquetOptions::new(dir, schema(), layout))
    }

    fn with(options: ParquetOptions) -> Self {
        let mut run = Self {
            sink: ParquetSink::new(options).unwrap(),
            epoch: Epoch(0),
        };
        assert_eq!(run.recover(1, &[]).unwrap(), None);
        run
    }

    /// Starts run `generation` of the same job on a checkpoint.
    fn restarted(dir: &Path, layout: Layout, generation: u64, candidates: &[Candidate]) -> Result<Self> {
        let mut run = Self {
            sink: ParquetSink::new(ParquetOptions::new(dir, schema(), layout)).unwrap(),
            epoch: Epoch(0),
        };
        run.epoch = run.recover(generation, candidates)?.unwrap_or(Epoch(0));
        Ok(run)
    }

    fn recover(&mut self, generation: u64, candidates: &[Candidate]) -> Result<Option<Epoch>> {
        self.sink.recover(&Recovery {
            job: JOB,
            generation,
            candidates,
        })
    }

    fn write(&mut self, batches: &[Batch]) -> Result<()> {
        batches.iter().try_for_each(|batch| self.sink.write(batch))
    }

    fn prepare(&mut self) -> Result<Token> {
        self.epoch = self.epoch.next();
        self.sink.prepare(&Barrier {
            epoch: self.epoch,
            positions: &Positions::default(),
        })
    }

    fn commit_all(&mut self, batches: &[Batch]) -> Token {
        self.write(batches).unwrap();
        let token = self.prepare().unwrap();
        self.sink.commit(&token).unwrap();
        token
    }
}

fn candidate(epoch: u64, token: Token) -> Candidate {
    Candidate {
        epoch: Epoch(epoch),
        positions: Positions::default(),
        token,
    }
}

/// Returns the files that a reader of `DIR/**/*.parquet` sees, relative to `dir`.
fn visible(dir: &Path) -> BTreeSet<String> {
    fn walk(root: &Path, dir: &Path, found: &mut BTreeSet<String>) {
        for item in fs::read_dir(dir).unwrap() {
            let path = item.unwrap().path();
            if path.is_dir() {
                walk(root, &path, found);
            } else if path.extension().is_some_and(|extension| extension == "parquet") {
                found.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(dir, dir, &mut found);
    found
}

fn append_name(topic: &str, from: i64, to: i64) -> String {
    format!("topic={topic}/partition-00003-offset-{from:020}-{to:020}.parquet")
}

fn read(path: &Path) -> (Vec<RecordBatch>, ParquetRecordBatchReaderBuilder<File>) {
    let open = || ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    (open().build().unwrap().map(Result::unwrap).collect(), open())
}

/// Returns the offsets in all visible files, sorted.
fn offsets(dir: &Path) -> Vec<i64> {
    let mut offsets = Vec::new();
    for name in visible(dir) {
        for records in read(&dir.join(name)).0 {
            offsets.extend_from_slice(records["offset"].as_primitive::<Int64Type>().values());
        }
    }
    offsets.sort_unstable();
    offsets
}

fn staged(dir: &Path) -> Vec<PathBuf> {
    let private = fs::read_dir(dir.join("_millstream")).unwrap();
    let folders = private.map(|item| item.unwrap().path()).filter(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with("staging-")
    });
    folders
        .flat_map(|path| fs::read_dir(path).unwrap())
        .map(|item| item.unwrap().path())
        .collect()
}

#[test]
fn appended_rows_come_back_with_their_place_in_the_footer() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::new(dir.path(), Layout::Append);
    run.write(&[batch("web", 5, 100), batch("web", 100, 200)]).unwrap();
    assert!(visible(dir.path()).is_empty());
    let token = run.prepare().unwrap();
    assert!(visible(dir.path()).is_empty(), "nothing shows before the commit");
    run.sink.commit(&token).unwrap();

    let name = append_name("web", 5, 200);
    assert_eq!(visible(dir.path()), BTreeSet::from([name.clone()]));
    let (records, footer) = read(&dir.path().join(&name));
    let expected = [batch("web", 5, 100), batch("web", 100, 200)].map(|batch| batch.to_records().unwrap());
    let concat = |records: &[RecordBatch]| arrow::compute::concat_batches(&schema(), records).unwrap();
    assert_eq!(concat(&records), concat(&expected));
    let pairs = footer.metadata().file_metadata().key_value_metadata().unwrap();
    let value = |key: &str| {
        let pair = pairs.iter().find(|pair| pair.key == format!("millstream.{key}"));
        pair.unwrap().value.clone().unwrap()
    };
    let keys = ["job", "epoch", "topic", "partition", "offset.from", "offset.to"];
    assert_eq!(keys.map(value), [JOB, "1", "web", "3", "5", "200"]);
}

#[test]
fn the_manifest_lists_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::new(dir.path(), Layout::Append);
    run.commit_all(&[batch("web", 0, 10), batch("app", 0, 5)]);
    run.commit_all(&[]);
    run.commit_all(&[batch("web", 10, 20)]);
    let entries = manifest::read(dir.path()).unwrap();
    assert_eq!(
        entries.iter().map(|entry| entry.epoch).collect::<Vec<_>>(),
        [Epoch(1), Epoch(3)]
    );
    let files: Vec<_> = entries.iter().flat_map(|entry| &entry.files).collect();
    assert_eq!(files.iter().map(|file| file.rows).collect::<Vec<_>>(), [10, 5, 10]);
    for file in files {
        let bytes = fs::read(dir.path().join(&file.name)).unwrap();
        assert_eq!((bytes.len() as u64, crc32c::crc32c(&bytes)), (file.bytes, file.crc32c));
        assert!(file.partition.is_some() && file.offsets.is_some());
    }
}

#[test]
fn a_file_takes_no_more_rows_than_it_may() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = ParquetOptions::new(dir.path(), schema(), Layout::Append);
    options.file_rows_max = Some(25);
    Run::with(options).commit_all(&[batch("web", 0, 10), batch("web", 10, 20), batch("web", 20, 30)]);
    let expected = [append_name("web", 0, 20), append_name("web", 20, 30)];
    assert_eq!(visible(dir.path()), BTreeSet::from(expected));
}

#[test]
fn a_file_ends_by_size_and_by_age() {
    for by_age in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let mut options = ParquetOptions::new(dir.path(), schema(), Layout::Append);
        options.file_bytes_max = (!by_age).then_some(1);
        options.file_age_max = by_age.then_some(Duration::ZERO);
        Run::with(options).commit_all(&[batch("web", 0, 10), batch("web", 10, 20)]);
        assert_eq!(visible(dir.path()).len(), 2);
    }
}

#[test]
fn rows_of_one_offset_range_stay_in_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = ParquetOptions::new(dir.path(), schema(), Layout::Append);
    options.file_rows_max = Some(1);
    Run::with(options).commit_all(&[batch("web", 0, 10), batch("web", 0, 10), batch("web", 10, 11)]);
    let expected = [append_name("web", 0, 10), append_name("web", 10, 11)];
    assert_eq!(visible(dir.path()), BTreeSet::from(expected));
    assert_eq!(offsets(dir.path()).len(), 21);
}

#[test]
fn many_partitions_share_a_bounded_number_of_files() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::new(dir.path(), Layout::Append);
    let batches: Vec<_> = (0..2)
        .flat_map(|round| (0..200).map(move |topic| batch(&format!("t{topic}"), 10 * round, 10 * round + 10)))
        .collect();
    run.commit_all(&batches);
    assert_eq!(offsets(dir.path()).len(), 4000);
    assert!(
        visible(dir.path()).len() > 200,
        "a partition that came back has a second file"
    );
}

#[test]
fn changes_carry_the_epoch_they_were_committed_in() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::new(dir.path(), Layout::Changes);
    run.commit_all(&[batch("web", 0, 10)]);
    let token = run.commit_all(&[batch("web", 10, 12)]);
    let mut run = Run::restarted(dir.path(), Layout::Changes, 2, &[candidate(2, token)]).unwrap();
    run.commit_all(&[batch("web", 12, 13)]);
    let names: Vec<_> = visible(dir.path()).into_iter().collect();
    assert_eq!(names[2], "epoch-00000000000000000003-00000.parquet");
    let epochs = |name: &String| {
        let (records, _) = read(&dir.path().join(name));
        records[0].column(2).as_primitive::<Int64Type>().values().to_vec()
    };
    assert_eq!(
        names.iter().map(epochs).collect::<Vec<_>>(),
        [vec![1; 10], vec![2; 2], vec![3]]
    );
}

#[test]
fn a_column_named_epoch_leaves_no_room_for_the_epoch() {
    let field = Field::new("epoch", DataType::Utf8, false);
    let options = ParquetOptions::new("out", Arc::new(Schema::new(vec![field])), Layout::Changes);
    let error = ParquetSink::new(options).expect_err("the name is taken").to_string();
    assert!(error.contains("rename it"), "{error}");
}

#[test]
fn a_table_is_replaced_and_stays_while_nothing_changes() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::new(dir.path(), Layout::Table);
    run.commit_all(&[batch("web", 0, 10)]);
    let old = File::open(dir.path().join("table.parquet")).unwrap();
    run.commit_all(&[batch("web", 0, 15), batch("web", 15, 20)]);
    run.commit_all(&[]);
    assert_eq!(visible(dir.path()), BTreeSet::from(["table.parquet".to_owned()]));
    assert_eq!(offsets(dir.path()), Vec::from_iter(0..20));
    let reader = ParquetRecordBatchReaderBuilder::try_new(old).unwrap().build().unwrap();
    assert_eq!(reader.map(|records| records.unwrap().num_rows()).sum::<usize>(), 10);
}

#[test]
fn a_second_commit_changes_nothing() {
    for layout in [Layout::Append, Layout::Changes, Layout::Table] {
        let dir = tempfile::tempdir().unwrap();
        let mut run = Run::new(dir.path(), layout);
        let token = run.commit_all(&[batch("web", 0, 10)]);
        let before = visible(dir.path());
        run.sink.commit(&token).unwrap();
        run.write(&[batch("web", 10, 20)]).unwrap();
        run.sink.commit(&token).unwrap();
        assert_eq!(visible(dir.path()), before);
    }
}

#[test]
fn what_was_not_prepared_is_gone_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::new(dir.path(), Layout::Append);
    let token = run.commit_all(&[batch("web", 0, 10)]);
    run.write(&[batch("web", 10, 20)]).unwrap();
    run.prepare().unwrap();
    drop(run);
    let mut run = Run::restarted(dir.path(), Layout::Append, 2, &[candidate(1, token)]).unwrap();
    assert_eq!((staged(dir.path()).len(), run.epoch), (0, Epoch(1)));
    run.commit_all(&[batch("web", 10, 15)]);
    assert_eq!(offsets(dir.path()), Vec::from_iter(0..15));
}

/// Prepares an epoch of three files, lets `between` do what the crash had done, and checks that a restart ends it.
#[track_caller]
fn check_finished(layout: Layout, between: impl Fn(&mut ParquetSink, &Token)) {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::new(dir.path(), layout);
    run.write(&[batch("a", 0, 10), batch("b", 10, 20), batch("c", 20, 30)])
        .unwrap();
    let token = run.prepare().unwrap();
    between(&mut run.sink, &token);
    drop(run);
    for generation in 2..4 {
        let run = Run::restarted(dir.path(), layout, generation, &[candidate(1, token.clone())]).unwrap();
        assert_eq!(run.epoch, Epoch(1));
        assert_eq!(offsets(dir.path()), Vec::from_iter(0..30));
        assert_eq!(staged(dir.path()), [] as [PathBuf; 0]);
        assert_eq!(manifest::read(dir.path()).unwrap().len(), 1);
    }
}

#[test]
fn a_restart_finishes_the_commit_of_the_checkpoint() {
    for layout in [Layout::Append, Layout::Changes, Layout::Table] {
        check_finished(layout, |_, _| {});
        check_finished(layout, |sink, token| sink.commit(token).unwrap());
        check_finished(layout, |sink, _| sink.abort());
    }
}

#[test]
fn a_restart_finishes_a_commit_that_stopped_between_two_renames() {
    check_finished(Layout::Append, |sink, token| {
        let entry = Entry::from_token(token, Path::new("")).unwrap().unwrap();
        let target = sink.options.dir.join(&entry.files[0].name);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        let staging = sink.options.dir.join("_millstream/staging-1");
        fs::rename(staging.join("00000000.inprogress"), target).unwrap();
    });
}

#[test]
fn epochs_of_a_lost_checkpoint_are_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::new(dir.path(), Layout::Append);
    let token = run.commit_all(&[batch("web", 0, 10)]);
    run.commit_all(&[batch("web", 10, 20)]);
    drop(run);
    let mut run = Run::restarted(dir.path(), Layout::Append, 2, &[candidate(1, token)]).unwrap();
    assert_eq!(offsets(dir.path()), Vec::from_iter(0..10));
    run.commit_all(&[batch("web", 10, 20)]);
    drop(run);
    Run::restarted(dir.path(), Layout::Append, 3, &[]).unwrap();
    assert_eq!(offsets(dir.path()), [] as [i64; 0]);
}

#[track_caller]
fn check_fenced(result: Result<()>) {
    assert!(matches!(result, Err(Error::Fenced { .. })), "{result:?}");
}

#[test]
fn an_older_run_is_fenced_whatever_it_does_next() {
    let dir = tempfile::tempdir().unwrap();
    let zombie = |generation, token: &Token| {
        let candidates = [candidate(1, token.clone())];
        Run::restarted(dir.path(), Layout::Append, generation, &candidates).unwrap()
    };
    let first = Run::new(dir.path(), Layout::Append).commit_all(&[batch("web", 0, 10)]);

    let mut idle = zombie(2, &first);
    let mut writing = zombie(3, &first);
    check_fenced(idle.write(&[batch("web", 10, 20)]));
    writing.write(&[batch("web", 10, 20)]).unwrap();
    let mut preparing = zombie(4, &first);
    check_fenced(writing.prepare().map(drop));
    preparing.write(&[batch("web", 10, 20)]).unwrap();
    let token = preparing.prepare().unwrap();
    let mut last = zombie(5, &first);
    check_fenced(preparing.sink.commit(&token));
    check_fenced(idle.recover(2, &[candidate(1, first.clone())]).map(drop));
    last.commit_all(&[batch("web", 10, 12)]);
    assert_eq!(offsets(dir.path()), Vec::from_iter(0..12));
}

#[track_caller]
fn check_refused(dir: &Path, candidates: &[Candidate], expected: &str) {
    let error = Run::restarted(dir, Layout::Append, 1, candidates).map(drop);
    let error = error.expect_err("the folder can't be used").to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn a_folder_of_another_job_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut other = ParquetSink::new(ParquetOptions::new(dir.path(), schema(), Layout::Append)).unwrap();
    let recovery = Recovery {
        job: "job-2",
        generation: 1,
        candidates: &[],
    };
    other.recover(&recovery).unwrap();
    check_refused(
        dir.path(),
        &[],
        "belongs to job job-2, this is job job-1: use another folder",
    );
    check_refused(dir.path(), &[candidate(4, Token::default())], "belongs to job job-2");
}

#[test]
fn a_folder_with_foreign_files_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("mine.parquet"), "").unwrap();
    check_refused(dir.path(), &[], "is not empty (it holds mine.parquet)");
}

#[test]
fn output_that_vanished_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    check_refused(dir.path(), &[candidate(4, Token::default())], "owner.json is missing");
    let token = Run::new(dir.path(), Layout::Append).commit_all(&[batch("web", 0, 10)]);
    fs::remove_file(dir.path().join(append_name("web", 0, 10))).unwrap();
    fs::remove_dir_all(dir.path().join("_millstream/manifest")).unwrap();
    check_refused(dir.path(), &[candidate(1, token)], "is missing, expected");
}

#[test]
fn a_file_that_is_not_ours_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::new(dir.path(), Layout::Append);
    run.write(&[batch("web", 0, 10)]).unwrap();
    let token = run.prepare().unwrap();
    let foreign = dir.path().join(append_name("web", 0, 10));
    fs::create_dir_all(foreign.parent().unwrap()).unwrap();
    fs::write(&foreign, "foreign").unwrap();
    let error = run.sink.commit(&token).expect_err("the name is taken").to_string();
    assert!(error.contains("exists already"), "{error}");
    assert_eq!(fs::read(&foreign).unwrap(), b"foreign");
}

#[test]
fn a_folder_that_can_not_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    check_refused(&file.join("out"), &[], file.to_str().unwrap());
}

#[test]
fn a_topic_never_leads_outside() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    Run::new(&out, Layout::Append).commit_all(&[batch("../x", 0, 10), batch("/etc", 0, 10)]);
    let expected = [append_name("..%2Fx", 0, 10), append_name("%2Fetc", 0, 10)];
    assert_eq!(visible(&out), BTreeSet::from(expected));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_token_that_leads_outside_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::new(dir.path(), Layout::Append);
    run.write(&[batch("web", 0, 10)]).unwrap();
    let mut token = run.prepare().unwrap();
    token.0["files"][0]["name"] = "../x.parquet".into();
    let error = run.sink.commit(&token).expect_err("it leads outside").to_string();
    assert!(error.contains("leads outside the folder"), "{error}");
}

#[test]
fn rows_without_a_place_are_not_appended() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::new(dir.path(), Layout::Append);
    let nowhere = Batch::new(batch("web", 0, 10).to_records().unwrap(), None);
    let error = run.write(&[nowhere]).expect_err("no origin").to_string();
    assert!(error.contains("without a partition"), "{error}");
}

#[test]
fn every_codec_is_read_back() {
    for compression in ["none", "snappy", "lz4", "zstd:3"] {
        let dir = tempfile::tempdir().unwrap();
        let mut options = ParquetOptions::new(dir.path(), schema(), Layout::Append);
        options.compression = compression.parse().unwrap();
        Run::with(options).commit_all(&[batch("web", 0, 1000)]);
        assert_eq!(offsets(dir.path()).len(), 1000, "{compression}");
    }
}

#[test]
fn memory_does_not_grow_with_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = ParquetOptions::new(dir.path(), schema(), Layout::Append);
    options.row_group_bytes = 64 << 10;
    let mut run = Run::with(options);
    for start in (0..400_000).step_by(4000) {
        run.write(&[batch("web", start, start + 4000)]).unwrap();
        assert!(run.sink.open.memory() <= 256 << 10);
    }
    let token = run.prepare().unwrap();
    run.sink.commit(&token).unwrap();
    let (_, footer) = read(&dir.path().join(append_name("web", 0, 400_000)));
    assert!(footer.metadata().num_row_groups() > 5);
}

/// Returns a run that writes `layout` into folders by the third of the offset.
fn partitioned(dir: &Path, layout: Layout) -> ParquetOptions {
    let mut options = ParquetOptions::new(dir, schema(), layout);
    let column = "offset".to_owned();
    options.partition_by = vec![PartitionBy { column, part: None }];
    options
}

#[test]
fn rows_of_an_epoch_are_named_after_it_and_have_no_column_more() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::new(dir.path(), Layout::Rows);
    let nowhere = Batch::new(batch("web", 10, 20).to_records().unwrap(), None);
    run.commit_all(&[batch("web", 0, 10), nowhere]);
    run.commit_all(&[batch("web", 20, 30)]);
    let names: Vec<_> = visible(dir.path()).into_iter().collect();
    let expected = [1, 2].map(|epoch| format!("epoch-{epoch:020}-00000.parquet"));
    assert_eq!(names, expected);
    assert_eq!(
        read(&dir.path().join(&names[0])).0[0].schema().fields(),
        schema().fields()
    );
    assert_eq!(offsets(dir.path()), Vec::from_iter(0..30));
}

#[test]
fn a_value_of_a_folder_is_in_the_path_only() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::with(partitioned(dir.path(), Layout::Changes));
    run.commit_all(&[batch("web", 1, 3), batch("web", 2, 4)]);
    let names =
        [(1, 0), (2, 1), (3, 2)].map(|(offset, file)| format!("offset={offset}/epoch-{:020}-{file:05}.parquet", 1));
    assert_eq!(visible(dir.path()), BTreeSet::from(names.clone()));
    let (records, _) = read(&dir.path().join(&names[1]));
    let columns: Vec<_> = records[0]
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    assert_eq!(
        (columns, records[0].num_rows()),
        (vec!["value".to_owned(), "epoch".to_owned()], 2)
    );
    let listed = manifest::read(dir.path()).unwrap();
    assert_eq!(
        listed[0].files.iter().map(|file| file.rows).collect::<Vec<_>>(),
        [1, 2, 1]
    );
}

#[test]
fn more_folders_than_file_handles_have_a_file_each() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::with(partitioned(dir.path(), Layout::Rows));
    let rounds = vec![batch("web", 0, 300); 3];
    run.commit_all(&rounds);
    let names = visible(dir.path());
    assert_eq!(names.len(), 300);
    for name in names {
        let (records, _) = read(&dir.path().join(name));
        assert_eq!(records.iter().map(RecordBatch::num_rows).sum::<usize>(), 3);
    }
}

#[test]
fn a_restart_finishes_or_takes_back_a_partitioned_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = partitioned(dir.path(), Layout::Rows);
    let value = "value".to_owned();
    options.schema = Arc::new(Schema::new(vec![
        Field::new("offset", DataType::Int64, false),
        Field::new("value", DataType::Utf8, true),
    ]));
    options.partition_by.push(PartitionBy {
        column: value,
        part: None,
    });
    let more = Field::new("more", DataType::Int64, false);
    let mut fields = options.schema.fields().to_vec();
    fields.push(Arc::new(more));
    options.schema = Arc::new(Schema::new(fields));
    let rows = |from: i64, to: i64| {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(from..to));
        let texts = (from..to).map(|number| Some(if number % 2 == 0 { "../x" } else { "y" }));
        let texts: ArrayRef = Arc::new(texts.collect::<arrow::array::StringArray>());
        let columns = vec![Arc::clone(&numbers), texts, numbers];
        Batch::new(RecordBatch::try_new(options.schema.clone(), columns).unwrap(), None)
    };
    let mut run = Run::with(options.clone());
    run.write(&[rows(0, 2)]).unwrap();
    let token = run.prepare().unwrap();
    drop(run);
    let expected = ["offset=0/value=..%2Fx", "offset=1/value=y"];
    let name = |(folder, file): (&str, usize)| format!("{folder}/epoch-{:020}-{file:05}.parquet", 1);
    let expected: BTreeSet<_> = expected.into_iter().zip(0..).map(name).collect();
    for generation in 2..4 {
        let mut run = Run {
            sink: ParquetSink::new(options.clone()).unwrap(),
            epoch: Epoch(1),
        };
        run.recover(generation, &[candidate(1, token.clone())]).unwrap();
        assert_eq!(visible(dir.path()), expected);
        run.commit_all(&[rows(2, 4)]);
        assert_eq!(visible(dir.path()).len(), 4);
    }
}

#[test]
fn a_zombie_that_opens_a_file_again_is_fenced() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::with(partitioned(dir.path(), Layout::Rows));
    run.write(&[batch("web", 0, 300)]).unwrap();
    Run::restarted(dir.path(), Layout::Rows, 2, &[]).unwrap();
    check_fenced(run.prepare().map(drop));
}

#[test]
fn offsets_and_tables_are_not_partitioned() {
    let refused = |layout| {
        ParquetSink::new(partitioned(Path::new("out"), layout))
            .expect_err("refused")
            .to_string()
    };
    assert!(refused(Layout::Append).contains("write them as rows of their epoch"));
    assert!(refused(Layout::Table).contains("can't be partitioned"));
}
