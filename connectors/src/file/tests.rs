use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use arrow::array::AsArray;
use engine::source::Event;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

const SOON: Duration = Duration::from_secs(10);

/// What a run of a source gave.
#[derive(Debug, Default)]
struct Outcome {
    rows: BTreeMap<Partition, Vec<Vec<u8>>>,
    positions: Positions,
    ended: Vec<Partition>,
    failed: Option<Error>,
}

fn options(paths: &[&Path]) -> FileOptions {
    FileOptions {
        batch_bytes_max: 1000,
        ..FileOptions::new(paths.iter().map(PathBuf::from).collect())
    }
}

/// Opens and reads to the end, checking that the batches of a file follow each other.
fn run(options: FileOptions, resume: Option<&SourceState>) -> Result<(SourceState, Outcome)> {
    let files = options.paths.len();
    let mut source = FileSource::new(options)?;
    let state = source.open(resume)?;
    let (intake, receiver) = Intake::new(1 << 20);
    source.start(&state, intake)?;
    let mut outcome = Outcome {
        positions: state.positions.clone(),
        ..Outcome::default()
    };
    while outcome.ended.len() < files && outcome.failed.is_none() {
        match receiver.receive(SOON).expect("the source goes on").0 {
            Event::Batch(batch) => {
                let origin = batch.origin().unwrap();
                assert_eq!(outcome.positions.get(&origin.partition), Some(origin.offsets.from));
                outcome.positions.advance(&origin.partition, origin.offsets.to);
                let array = batch.column(0).to_array();
                let rows = array.as_binary::<i32>().iter().map(|line| line.unwrap().to_vec());
                outcome.rows.entry(origin.partition.clone()).or_default().extend(rows);
            }
            Event::Ended { partition } => outcome.ended.push(partition),
            Event::Failed(error) => outcome.failed = Some(error),
            other => panic!("unexpected {other:?}"),
        }
    }
    receiver.close();
    source.stop();
    Ok((state, outcome))
}

fn partition(path: &Path) -> Partition {
    Partition::new(path.to_str().unwrap(), 0)
}

fn line(number: usize) -> Vec<u8> {
    format!("line {number} {}", "x".repeat(number % 50)).into_bytes()
}

/// Returns `lines` lines and the text of them.
fn sample(lines: usize) -> (Vec<Vec<u8>>, Vec<u8>) {
    let rows: Vec<_> = (0..lines).map(line).collect();
    let text = rows.iter().flat_map(|row| [row.as_slice(), b"\n"].concat()).collect();
    (rows, text)
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    ::zstd::encode_all(text, 1).unwrap()
}

/// Reads `content` from the start, and again from a line in the middle.
#[track_caller]
fn check(content: &[u8], rows: &[Vec<u8>], text: &[u8]) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, content).unwrap();
    let (mut state, outcome) = run(options(&[&path]), None).unwrap();
    assert_eq!(outcome.ended, [partition(&path)]);
    assert_eq!(outcome.positions.get(&partition(&path)), Some(text.len() as i64));
    assert_eq!(outcome.rows.get(&partition(&path)).map_or(&[][..], Vec::as_slice), rows);

    let done = rows.len() / 2;
    let position = rows[..done].iter().map(|row| row.len() + 1).sum::<usize>();
    state.positions = Positions([(partition(&path), position as i64)].into());
    let (_, outcome) = run(options(&[&path]), Some(&state)).unwrap();
    assert_eq!(
        outcome.rows.get(&partition(&path)).map_or(&[][..], Vec::as_slice),
        &rows[done..]
    );
}

#[test]
fn plain_text_is_read_and_resumed() {
    let (rows, text) = sample(5000);
    check(&text, &rows, &text);
    check(b"", &[], b"");
}

#[test]
fn gzip_is_told_by_its_first_bytes_whatever_the_number_of_members() {
    let (rows, text) = sample(5000);
    check(&gzip(&text), &rows, &text);
    let (head, tail) = text.split_at(12_345);
    check(&[gzip(head), gzip(tail)].concat(), &rows, &text);
}

#[test]
fn zstd_is_told_by_its_first_bytes_whatever_the_number_of_frames() {
    let (rows, text) = sample(5000);
    check(&zstd(&text), &rows, &text);
    let (head, tail) = text.split_at(12_345);
    check(&[zstd(head), zstd(tail)].concat(), &rows, &text);
}

#[test]
fn every_file_is_a_partition_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let paths: Vec<_> = (0..5).map(|index| dir.path().join(format!("{index}.log"))).collect();
    for (index, path) in paths.iter().enumerate() {
        fs::write(path, sample(100 * index).1).unwrap();
    }
    let mut options = options(&paths.iter().map(PathBuf::as_path).collect::<Vec<_>>());
    options.threads = 3;
    let (state, outcome) = run(options, None).unwrap();
    assert_eq!(Some(outcome.positions), state.ends);
    for (index, path) in paths.iter().enumerate() {
        let rows = outcome.rows.get(&partition(path)).map_or(0, Vec::len);
        assert_eq!(rows, 100 * index);
        assert!(outcome.ended.contains(&partition(path)));
    }
}

#[test]
fn the_end_is_fixed_when_the_job_starts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, "a\nb\n").unwrap();
    let (state, _) = run(options(&[&path]), None).unwrap();
    fs::write(&path, "a\nb\nc\n").unwrap();
    let (again, outcome) = run(options(&[&path]), Some(&state)).unwrap();
    assert_eq!(again.ends.unwrap().get(&partition(&path)), Some(4));
    assert_eq!(outcome.rows[&partition(&path)], [b"a", b"b"]);
}

#[test]
fn a_file_that_shrank_is_a_loss_with_its_range() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, "a\nb\n").unwrap();
    let (state, _) = run(options(&[&path]), None).unwrap();
    fs::write(&path, "a\n").unwrap();
    let error = run(options(&[&path]), Some(&state)).expect_err("two bytes are gone");
    let text = error.to_string();
    assert!(
        matches!(error, Error::DataLoss { .. }) && text.contains("[2, 4)"),
        "{text}"
    );
}

#[test]
fn another_file_under_the_same_name_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    for (first, second) in [
        (b"a\nb\n".to_vec(), b"c\nd\ne\n".to_vec()),
        (gzip(b"a\n"), gzip(b"bbbb\n")),
    ] {
        fs::write(&path, first).unwrap();
        let (state, _) = run(options(&[&path]), None).unwrap();
        fs::write(&path, second).unwrap();
        let error = run(options(&[&path]), Some(&state))
            .expect_err("another file")
            .to_string();
        assert!(error.contains("another file"), "{error}");
    }
}

#[test]
fn a_missing_file_or_a_folder_is_named_before_anything_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let (good, missing) = (dir.path().join("good"), dir.path().join("missing"));
    fs::write(&good, "a\n").unwrap();
    let error = run(options(&[&good, &missing]), None)
        .expect_err("no such file")
        .to_string();
    assert!(error.contains(missing.to_str().unwrap()), "{error}");
    let error = run(options(&[&good, dir.path()]), None)
        .expect_err("a folder")
        .to_string();
    assert!(error.contains("it is a folder"), "{error}");
}

/// Reads damaged content to the error, which names the file and a position, and returns the rows before it.
#[track_caller]
fn rows_before_damage(content: &[u8]) -> Vec<Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("damaged");
    fs::write(&path, content).unwrap();
    let (_, outcome) = run(options(&[&path]), None).unwrap();
    let error = outcome.failed.expect("it is damaged").to_string();
    assert!(error.contains("damaged from byte "), "{error}");
    outcome.rows.into_values().flatten().collect()
}

#[test]
fn damaged_compression_is_an_error_after_the_rows_before_it() {
    let (rows, text) = sample(20_000);
    let (gz, zst) = (gzip(&text), zstd(&text));
    for content in [
        &gz[..gz.len() / 2],
        &gz[..gz.len() - 1],
        &[&gz, &b"garbage"[..]].concat(),
        &zst[..zst.len() / 2],
    ] {
        assert!(rows.starts_with(&rows_before_damage(content)));
    }
}

#[test]
fn a_flipped_byte_is_noticed_at_the_end_of_its_member_at_the_latest() {
    let mut gz = gzip(&sample(20_000).1);
    let middle = gz.len() / 2;
    gz[middle] ^= 0xff;
    rows_before_damage(&gz);
}

#[test]
fn a_line_beyond_the_limit_names_its_file_and_byte() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("long");
    fs::write(&path, [b"short\n".to_vec(), vec![b'x'; 5000], b"\n".to_vec()].concat()).unwrap();
    let mut short = options(&[&path]);
    short.line_bytes_max = 2000;
    let (_, outcome) = run(short, None).unwrap();
    let error = outcome.failed.expect("the line is too long").to_string();
    assert!(
        error.contains("long from byte 6") && error.contains("limit of 2000 bytes"),
        "{error}"
    );
    let (_, outcome) = run(options(&[&path]), None).unwrap();
    assert_eq!(outcome.rows[&partition(&path)][1].len(), 5000);
}

#[test]
fn a_state_that_is_not_ours_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, "a\n").unwrap();
    let state = SourceState {
        identity: serde_json::json!(["topic"]),
        ..SourceState::default()
    };
    assert!(run(options(&[&path]), Some(&state)).is_err());
}

#[test]
fn what_is_no_set_of_files_is_refused() {
    let path = Path::new("a");
    assert!(FileSource::new(options(&[])).is_err());
    assert!(FileSource::new(options(&[path, path])).is_err());
    let mut none = options(&[path]);
    none.threads = 0;
    assert!(FileSource::new(none).is_err());
}

#[test]
fn the_text_of_a_device_is_read_once() {
    let path = Path::new("/dev/null");
    let (mut state, outcome) = run(options(&[path]), None).unwrap();
    assert_eq!(outcome.ended, [partition(path)]);
    assert_eq!(state.ends, Some(Positions::default()), "its end is not known before");
    state.positions = Positions([(partition(path), 10)].into());
    let error = run(options(&[path]), Some(&state)).expect_err("a pipe").to_string();
    assert!(error.contains("can't be read again"), "{error}");
}

#[test]
fn reading_stops_when_the_driver_takes_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, sample(50_000).1).unwrap();
    let mut source = FileSource::new(options(&[&path])).unwrap();
    let state = source.open(None).unwrap();
    let (intake, receiver) = Intake::new(5000);
    source.start(&state, intake).unwrap();
    assert!(receiver.receive(SOON).is_some());
    receiver.close();
    source.stop();
}

#[test]
fn opening_does_not_move_the_text() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, "abcdef\n").unwrap();
    let input = Input::open(path.to_str().unwrap()).unwrap();
    input.identity().unwrap();
    let mut text = String::new();
    input.text(2, Some(5)).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "cde");
}
