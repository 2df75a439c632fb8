use std::fs;
use std::sync::Arc;

use arrow::array::{Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use engine::Positions;
use engine::sink::Candidate;

use super::*;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("n", DataType::Int64, false),
        Field::new("text", DataType::Utf8, true),
    ]))
}

/// Returns rows of the numbers `[from, to)`.
fn batch(from: i64, to: i64) -> Batch {
    let numbers = Int64Array::from_iter_values(from..to);
    let texts: StringArray = (from..to).map(|n| (n % 2 == 1).then(|| format!("a,{n}"))).collect();
    Batch::new(
        RecordBatch::try_new(schema(), vec![Arc::new(numbers), Arc::new(texts)]).unwrap(),
        None,
    )
}

fn sink(path: &Path, format: TextFormat) -> FileSink {
    let options = FileSinkOptions {
        path: path.to_owned(),
        format,
        schema: schema(),
    };
    FileSink::new(options).unwrap()
}

fn candidate(epoch: u64, token: &Token) -> Candidate {
    Candidate {
        epoch: Epoch(epoch),
        positions: Positions::default(),
        token: token.clone(),
    }
}

/// Starts a run on a checkpoint.
fn start(path: &Path, format: TextFormat, candidates: &[Candidate]) -> Result<FileSink> {
    let mut sink = sink(path, format);
    let chosen = sink.recover(&Recovery {
        job: "job-1",
        generation: 1,
        candidates,
    })?;
    assert_eq!(chosen, candidates.first().map(|candidate| candidate.epoch));
    Ok(sink)
}

/// Writes batches and ends the epoch.
fn commit(sink: &mut FileSink, epoch: u64, batches: &[Batch]) -> Token {
    batches.iter().for_each(|batch| sink.write(batch).unwrap());
    let barrier = Barrier {
        epoch: Epoch(epoch),
        positions: &Positions::default(),
    };
    let token = sink.prepare(&barrier).unwrap();
    sink.commit(&token).unwrap();
    token
}

/// Writes two epochs in two runs.
#[track_caller]
fn check(format: TextFormat, expected: &str) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new/out");
    let mut run = start(&path, format, &[]).unwrap();
    let token = commit(&mut run, 1, &[batch(0, 1), batch(1, 2)]);
    drop(run);
    let mut run = start(&path, format, &[candidate(1, &token)]).unwrap();
    commit(&mut run, 2, &[]);
    commit(&mut run, 3, &[batch(2, 4)]);
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    assert_eq!(run.guarantee(), Guarantee::ExactlyOnce);
}

#[test]
fn rows_are_lines_with_one_header_over_all_runs() {
    check(TextFormat::Csv, "n,text\n0,\n1,\"a,1\"\n2,\n3,\"a,3\"\n");
    check(TextFormat::Tsv, "n\ttext\n0\t\n1\ta,1\n2\t\n3\ta,3\n");
    let json = |n: i64, text: &str| format!("{{\"n\":{n},\"text\":{text}}}\n");
    let rows = [json(0, "null"), json(1, "\"a,1\""), json(2, "null"), json(3, "\"a,3\"")];
    check(TextFormat::JsonLines, &rows.concat());
}

#[test]
fn a_result_without_rows_has_its_header() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out");
    commit(&mut start(&path, TextFormat::Csv, &[]).unwrap(), 1, &[]);
    assert_eq!(fs::read_to_string(&path).unwrap(), "n,text\n");
}

#[test]
fn an_epoch_that_no_checkpoint_knows_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out");
    let mut run = start(&path, TextFormat::Csv, &[]).unwrap();
    let first = commit(&mut run, 1, &[batch(0, 2)]);
    let known = fs::read(&path).unwrap();
    commit(&mut run, 2, &[batch(2, 900)]);
    run.write(&batch(900, 9000)).unwrap();
    drop(run);
    let mut run = start(&path, TextFormat::Csv, &[candidate(1, &first)]).unwrap();
    assert_eq!(fs::read(&path).unwrap(), known);
    commit(&mut run, 2, &[batch(2, 3)]);
    assert!(fs::read_to_string(&path).unwrap().ends_with("\n1,\"a,1\"\n2,\n"));
    drop(run);
    let mut run = start(&path, TextFormat::Csv, &[candidate(0, &Token::default())]).unwrap();
    commit(&mut run, 1, &[batch(0, 1)]);
    assert_eq!(fs::read_to_string(&path).unwrap(), "n,text\n0,\n");
}

#[test]
fn what_is_given_up_is_cut_off_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out");
    let mut run = start(&path, TextFormat::Csv, &[]).unwrap();
    commit(&mut run, 1, &[batch(0, 1)]);
    run.write(&batch(1, 9000)).unwrap();
    run.abort();
    assert_eq!(fs::read_to_string(&path).unwrap(), "n,text\n0,\n");
}

#[track_caller]
fn check_refused(path: &Path, candidates: &[Candidate], expected: &str) {
    let error = start(path, TextFormat::Csv, candidates).map(drop);
    let error = error.expect_err("the file can't be used").to_string();
    assert!(
        error.contains(expected) && error.contains(path.to_str().unwrap()),
        "{error}"
    );
}

#[test]
fn a_file_that_the_job_did_not_write_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out");
    fs::write(&path, "mine").unwrap();
    check_refused(&path, &[], "the file is not empty");
    fs::remove_file(&path).unwrap();
    let token = commit(&mut start(&path, TextFormat::Csv, &[]).unwrap(), 1, &[batch(0, 1)]);
    fs::write(&path, "n,text\n1,\n").unwrap();
    check_refused(&path, &[candidate(1, &token)], "this is not what the job wrote");
    assert_eq!(fs::read(&path).unwrap(), b"n,text\n1,\n");
    fs::write(&path, "n,text\n").unwrap();
    check_refused(
        &path,
        &[candidate(1, &token)],
        "has 7 bytes, and the checkpoint says that the job wrote 10",
    );
    check_refused(
        &path,
        &[candidate(1, &Token("x".into()))],
        "the checkpoint's length of the file can't be used",
    );
}

#[test]
fn a_second_run_is_refused_while_the_first_one_lives() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out");
    let mut first = start(&path, TextFormat::Csv, &[]).unwrap();
    let token = commit(&mut first, 1, &[batch(0, 1)]);
    check_refused(
        &path,
        &[candidate(1, &token)],
        "another run or another sink writes to this file",
    );
    commit(&mut first, 2, &[batch(1, 2)]);
}

#[test]
fn a_folder_is_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let options = FileSinkOptions {
        path: dir.path().to_owned(),
        format: TextFormat::Csv,
        schema: schema(),
    };
    let error = FileSink::new(options).map(drop).expect_err("a folder").to_string();
    assert!(error.contains(dir.path().to_str().unwrap()), "{error}");
}

#[test]
fn a_device_takes_rows_at_least_once() {
    let path = Path::new("/dev/null");
    let mut run = start(path, TextFormat::JsonLines, &[]).unwrap();
    assert_eq!(run.guarantee(), Guarantee::AtLeastOnce);
    assert_eq!(commit(&mut run, 1, &[batch(0, 9)]), Token::default());
    assert_eq!(
        sink(Path::new(STDOUT), TextFormat::Csv).guarantee(),
        Guarantee::AtLeastOnce
    );
}

#[test]
fn a_full_disk_is_named_with_the_file() {
    let mut run = start(Path::new("/dev/full"), TextFormat::JsonLines, &[]).unwrap();
    run.write(&batch(0, 9)).unwrap();
    let barrier = Barrier {
        epoch: Epoch(1),
        positions: &Positions::default(),
    };
    let error = run.prepare(&barrier).expect_err("no room").to_string();
    assert!(error.contains("/dev/full"), "{error}");
}
