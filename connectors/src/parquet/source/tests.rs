use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use ::parquet::arrow::ArrowWriter;
use ::parquet::file::properties::WriterProperties;
use arrow::array::{Array, AsArray, Int64Array, StringArray};
use arrow::datatypes::{DataType, Int64Type};

use super::*;

const SOON: Duration = Duration::from_secs(10);

/// Returns rows of the numbers `[from, to)`, the text `n`, and half the number.
fn rows(from: i64, to: i64) -> RecordBatch {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(from..to));
    let texts: StringArray = (from..to).map(|n| (n % 3 != 0).then(|| n.to_string())).collect();
    let halves: ArrayRef = Arc::new(Int64Array::from_iter_values((from..to).map(|n| n / 2)));
    RecordBatch::try_from_iter([("n", numbers), ("text", Arc::new(texts)), ("half", halves)]).unwrap()
}

/// Writes a file of row groups of 100 rows.
fn write(path: &Path, records: &RecordBatch) {
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(100))
        .build();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), records.schema(), Some(properties)).unwrap();
    writer.write(records).unwrap();
    writer.close().unwrap();
}

fn partition(path: &Path) -> Partition {
    Partition::new(path.to_str().unwrap(), 0)
}

fn options(paths: &[&Path]) -> ParquetSourceOptions {
    ParquetSourceOptions {
        batch_rows_max: 30,
        ..ParquetSourceOptions::new(paths.iter().map(PathBuf::from).collect())
    }
}

/// Opens and reads to the end, checking that the batches of a file follow each other.
fn run(options: ParquetSourceOptions, resume: Option<&SourceState>) -> Result<(SourceState, Vec<RecordBatch>)> {
    let mut source = ParquetSource::new(options)?;
    let state = source.open(resume)?;
    let (intake, receiver) = Intake::new(1 << 20);
    source.start(&state, intake)?;
    let (mut positions, mut read, mut failure) = (state.positions.clone(), Vec::new(), None);
    let mut open = state.positions.0.len();
    while open > 0 && failure.is_none() {
        match receiver.receive(SOON).expect("the source goes on").0 {
            Event::Batch(batch) => {
                let Origin { partition, offsets } = batch.origin().unwrap().clone();
                assert_eq!(positions.get(&partition), Some(offsets.from));
                assert_eq!(offsets.to - offsets.from, batch.rows() as i64);
                positions.advance(&partition, offsets.to);
                assert_eq!(*batch.schema(), source.schema());
                read.push(batch.to_records().unwrap());
            }
            Event::Ended { .. } => open -= 1,
            Event::Failed(error) => failure = Some(error),
            other => panic!("unexpected {other:?}"),
        }
    }
    receiver.close();
    source.stop();
    match failure {
        Some(error) => Err(error),
        None => {
            assert_eq!(Some(positions), state.ends);
            Ok((state, read))
        }
    }
}

fn numbers(read: &[RecordBatch]) -> Vec<i64> {
    let numbers = read
        .iter()
        .flat_map(|records| records["n"].as_primitive::<Int64Type>().values().to_vec());
    numbers.collect()
}

#[test]
fn files_are_read_one_after_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let paths = ["a", "b", "c"].map(|name| dir.path().join(name));
    write(&paths[0], &rows(0, 250));
    write(&paths[1], &rows(0, 0));
    write(&paths[2], &rows(250, 260));
    let (state, read) = run(options(&[&paths[0], &paths[1], &paths[2]]), None).unwrap();
    assert_eq!(numbers(&read), Vec::from_iter(0..260));
    assert_eq!(state.ends.unwrap().get(&partition(&paths[0])), Some(250));
    assert!(read.iter().all(|records| records.num_rows() <= 30));
    let texts = read[0]["text"].as_string::<i32>();
    assert_eq!((texts.value(1), texts.is_null(3)), ("1", true));
}

#[test]
fn several_threads_read_every_file_once() {
    let dir = tempfile::tempdir().unwrap();
    let paths: Vec<_> = (0..5).map(|index| dir.path().join(index.to_string())).collect();
    for (index, path) in (0..).zip(&paths) {
        write(path, &rows(100 * index, 100 * index + 100));
    }
    let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
    let options = ParquetSourceOptions {
        threads: 3,
        ..options(&paths)
    };
    let mut read = numbers(&run(options, None).unwrap().1);
    read.sort_unstable();
    assert_eq!(read, Vec::from_iter(0..500));
}

#[test]
fn a_resumed_run_goes_on_at_its_row() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    write(&path, &rows(0, 250));
    let (state, _) = run(options(&[&path]), None).unwrap();
    for from in [0, 1, 99, 100, 101, 249, 250] {
        let mut state = state.clone();
        state.positions.0.insert(partition(&path), from);
        let (_, read) = run(options(&[&path]), Some(&state)).unwrap();
        assert_eq!(numbers(&read), Vec::from_iter(from..250), "from row {from}");
    }
}

#[test]
fn wanted_columns_come_in_their_order_from_files_of_any() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (dir.path().join("a"), dir.path().join("b"));
    write(&one, &rows(0, 3));
    write(&other, &rows(3, 6).project(&[2, 0]).unwrap());
    let mut options = options(&[&one, &other]);
    options.columns = Some(vec!["half".into(), "n".into()]);
    let (_, read) = run(options.clone(), None).unwrap();
    assert_eq!(numbers(&read), [0, 1, 2, 3, 4, 5]);
    assert_eq!(read[1]["half"].as_primitive::<Int64Type>().values(), &[1, 2, 2]);
    options.columns = Some(vec![]);
    let (_, read) = run(options, None).unwrap();
    assert_eq!(read.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [3, 3]);
}

#[test]
fn equal_columns_of_different_writers_have_one_type() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (dir.path().join("a"), dir.path().join("b"));
    write(&one, &rows(0, 3));
    let mut columns = rows(3, 6).columns().to_vec();
    columns[1] = arrow::compute::cast(&columns[1], &DataType::LargeUtf8).unwrap();
    let names = ["n", "text", "half"];
    write(
        &other,
        &RecordBatch::try_from_iter(names.into_iter().zip(columns)).unwrap(),
    );
    assert_eq!(
        numbers(&run(options(&[&one, &other]), None).unwrap().1),
        [0, 1, 2, 3, 4, 5]
    );
}

/// Checks that a second file is refused beside one of [`rows`].
#[track_caller]
fn check_differs(other: &RecordBatch, expected: &str) {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("a"), dir.path().join("b"));
    write(&one, &rows(0, 3));
    write(&two, other);
    let error = run(options(&[&one, &two]), None).expect_err("they differ").to_string();
    assert!(
        error.contains(expected) && error.contains(two.to_str().unwrap()),
        "{error}"
    );
}

#[test]
fn files_with_other_columns_are_named() {
    let records = rows(0, 3);
    check_differs(&records.project(&[0, 1]).unwrap(), "there is no column `half`");
    let text = Arc::clone(records.column(1));
    let columns = [("n", Arc::clone(&text)), ("text", Arc::clone(&text)), ("half", text)];
    check_differs(
        &RecordBatch::try_from_iter(columns).unwrap(),
        "the column `n` is Utf8, in ",
    );
    let mut columns: Vec<_> = ["n", "text", "half"]
        .into_iter()
        .zip(records.columns().to_vec())
        .collect();
    columns.push(("more", Arc::clone(records.column(0))));
    check_differs(
        &RecordBatch::try_from_iter(columns).unwrap(),
        "there is a column `more`, which ",
    );
}

#[track_caller]
fn check_refused(options: ParquetSourceOptions, expected: &str) {
    let error = run(options, None).expect_err("refused").to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn what_can_not_be_read_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    check_refused(options(&[&path]), path.to_str().unwrap());
    check_refused(options(&[dir.path()]), "no regular file");
    fs::write(&path, "no parquet at all").unwrap();
    check_refused(options(&[&path]), path.to_str().unwrap());
    write(&path, &rows(0, 3));
    check_refused(options(&[&path, &path]), "is given twice");
    check_refused(options(&[]), "at least one path");
    let columns = |names: &[&str]| ParquetSourceOptions {
        columns: Some(names.iter().map(|name| (*name).to_owned()).collect()),
        ..options(&[&path])
    };
    check_refused(columns(&["texts"]), "there is no column `texts`: did you mean text?");
    check_refused(columns(&["n", "n"]), "`n` is named twice");
}

#[test]
fn another_file_under_the_same_name_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    write(&path, &rows(0, 250));
    let (state, _) = run(options(&[&path]), None).unwrap();
    write(&path, &rows(1, 251));
    let error = run(options(&[&path]), Some(&state))
        .expect_err("another file")
        .to_string();
    assert!(
        error.contains("another file than the one that the job began with"),
        "{error}"
    );
}

#[test]
fn a_file_that_was_damaged_inside_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    write(&path, &rows(0, 250));
    let mut bytes = fs::read(&path).unwrap();
    bytes[4..60].fill(0xff);
    fs::write(&path, bytes).unwrap();
    check_refused(options(&[&path]), "from row 0");
}
