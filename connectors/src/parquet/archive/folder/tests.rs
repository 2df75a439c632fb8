use std::collections::BTreeMap;

use engine::{OffsetRange, Partition};
use tempfile::TempDir;

use super::super::header::tests::settings;
use super::super::header::{ArchiveHeader, PartitionBounds};
use super::super::journal::{Appearing, Covered};
use super::super::location::Location;
use super::super::manifest::FileEntry;
use super::super::name::file_name;
use super::super::writer::ArchiveWriter;
use super::*;

fn header(to: i64) -> ArchiveHeader {
    let mut header = ArchiveHeader::new(settings());
    header.partitions = vec![PartitionBounds {
        topic: "web".to_owned(),
        partition: 0,
        from: 0,
        to,
        archived: 0,
        cuts: Vec::new(),
    }];
    header
}

fn offsets(from: i64, to: i64) -> OffsetRange {
    OffsetRange { from, to }
}

/// Stages a file of the offsets, whose content is its name, and returns the commit that makes it appear.
fn staged(archive: &ArchiveWriter, from: i64, to: i64) -> Commit {
    let partition = Partition::new("web", 0);
    let name = file_name(None, &partition, offsets(from, to));
    let staged = archive.stage();
    fs::write(&staged.path, &name).unwrap();
    let file = FileEntry {
        rows: 1,
        bytes: name.len() as u64,
        crc32c: crc32c::crc32c(name.as_bytes()),
        topic: "web".to_owned(),
        partition: 0,
        from,
        to,
        least_timestamp: None,
        greatest_timestamp: Some(7),
        name,
    };
    let staged = staged.name;
    Commit::new(
        Some(Covered::new(&partition, offsets(from, to))),
        vec![Appearing { staged, file }],
    )
}

fn open(root: &Path) -> Result<ArchiveWriter> {
    ArchiveWriter::open(&Location::Folder(root.to_owned()))
}

/// Returns the staging folder of whoever works on an archive.
fn staging(root: &Path) -> PathBuf {
    let items = fs::read_dir(root.join(PRIVATE))
        .unwrap()
        .map(|item| item.unwrap().path());
    let is_staging = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("staging-");
    items.into_iter().find(is_staging).unwrap()
}

fn begun(root: &Path) -> ArchiveWriter {
    let mut archive = open(root).unwrap();
    archive.set_header(header(30)).unwrap();
    archive
}

/// Returns all files below a folder, with their content, by name.
fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for item in fs::read_dir(&folder).unwrap() {
            let path = item.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => {
                    let name = path.strip_prefix(root).unwrap().display().to_string();
                    found.insert(name, fs::read(&path).unwrap());
                }
            }
        }
    }
    found
}

#[test]
fn a_complete_archive_is_the_same_whether_it_was_interrupted_or_not() {
    let unbroken = TempDir::new().unwrap();
    let mut archive = begun(unbroken.path());
    for (from, to) in [(0, 10), (10, 20), (20, 30)] {
        archive.commit(&staged(&archive, from, to)).unwrap();
    }
    archive.complete().unwrap();
    archive.close().unwrap();

    let broken = TempDir::new().unwrap();
    let archive = begun(broken.path());
    archive.commit(&staged(&archive, 20, 30)).unwrap();
    let _ = staged(&archive, 0, 10);
    drop(archive);
    let archive = open(broken.path()).unwrap();
    assert_eq!(
        archive.contents().unwrap().covered[&Partition::new("web", 0)],
        [offsets(20, 30)]
    );
    archive.commit(&staged(&archive, 0, 10)).unwrap();
    drop(archive);
    let mut archive = open(broken.path()).unwrap();
    archive.commit(&staged(&archive, 10, 20)).unwrap();
    archive.complete().unwrap();
    assert_eq!(archive.contents().unwrap().files.len(), 3);
    archive.close().unwrap();
    assert_eq!(files(broken.path()), files(unbroken.path()));
}

#[test]
fn what_the_journal_names_appears_at_the_next_start_and_nothing_else() {
    let root = TempDir::new().unwrap();
    let archive = begun(root.path());
    let named = staged(&archive, 0, 10);
    let _ = staged(&archive, 10, 20);
    let journal = root.path().join(PRIVATE).join(JOURNAL);
    fs::write(journal.join(journal::name(0)), named.to_text()).unwrap();
    drop(archive);
    let archive = open(root.path()).unwrap();
    let names: Vec<_> = archive.contents().unwrap().files.keys().cloned().collect();
    assert_eq!(names, [file_name(None, &Partition::new("web", 0), offsets(0, 10))]);
    assert!(root.path().join(&names[0]).is_file());
    assert_eq!(
        fs::read_dir(staging(root.path())).unwrap().count(),
        0,
        "leftovers are gone"
    );
}

#[test]
fn a_file_under_way_is_not_taken_for_one_that_an_earlier_run_has_committed() {
    let root = TempDir::new().unwrap();
    let archive = begun(root.path());
    archive.commit(&staged(&archive, 0, 10)).unwrap();
    drop(archive);
    let archive = open(root.path()).unwrap();
    let _ = staged(&archive, 10, 20);
    drop(archive);
    let archive = open(root.path()).unwrap();
    assert_eq!(archive.contents().unwrap().files.len(), 1);
}

#[test]
fn a_compaction_that_was_interrupted_is_finished_at_the_next_start() {
    let root = TempDir::new().unwrap();
    let mut archive = begun(root.path());
    for (from, to) in [(0, 10), (10, 30)] {
        archive.commit(&staged(&archive, from, to)).unwrap();
    }
    archive.complete().unwrap();
    archive.close().unwrap();
    let archive = open(root.path()).unwrap();
    folder::create_folder(&root.path().join(PRIVATE).join(JOURNAL)).unwrap();
    let mut merged = staged(&archive, 0, 30);
    merged.covers = None;
    merged.vanish = archive.contents().unwrap().files.keys().cloned().collect();
    fs::write(
        root.path().join(PRIVATE).join(JOURNAL).join(journal::name(0)),
        merged.to_text(),
    )
    .unwrap();
    drop(archive);
    let archive = open(root.path()).unwrap();
    let name = merged.appear[0].file.name.clone();
    assert_eq!(archive.contents().unwrap().files.keys().collect::<Vec<_>>(), [&name]);
    let visible = files(root.path());
    let visible: Vec<_> = visible.keys().filter(|name| name.ends_with(".parquet")).collect();
    assert_eq!(visible, [&name]);
    assert!(!root.path().join(PRIVATE).join(JOURNAL).exists(), "the manifest has it");
}

#[test]
fn a_process_that_was_replaced_writes_nothing_more() {
    let root = TempDir::new().unwrap();
    let frozen = begun(root.path());
    let late = staged(&frozen, 0, 10);
    // As if it were silent for long: its folders are taken from under it.
    let private = root.path().join(PRIVATE);
    let name = staging(root.path()).file_name().unwrap().to_string_lossy().into_owned();
    let generation = name.strip_prefix("staging-").unwrap().parse::<u64>().unwrap() + 1;
    let _staging = Staging::take_over(root.path(), &private, generation).unwrap();
    let error = frozen.commit(&late).unwrap_err();
    assert!(matches!(error, Error::Fenced { .. }), "{error}");
    assert!(files(root.path()).keys().all(|name| !name.ends_with(".parquet")));
}

#[test]
fn a_second_process_is_refused_with_the_folder_and_the_pid_of_the_first() {
    let root = TempDir::new().unwrap();
    let _first = begun(root.path());
    match open(root.path()) {
        Err(Error::Held { path, pid }) => assert_eq!((path.as_path(), pid), (root.path(), std::process::id())),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_folder_with_other_files_or_of_a_job_is_left_alone() {
    let root = TempDir::new().unwrap();
    fs::write(root.path().join("rows.parquet"), "mine").unwrap();
    let error = open(root.path()).unwrap_err().to_string();
    assert!(
        error.contains("the folder is not empty (it holds rows.parquet)"),
        "{error}"
    );
    assert!(!root.path().join(PRIVATE).exists());
    let root = TempDir::new().unwrap();
    fs::create_dir(root.path().join(PRIVATE)).unwrap();
    fs::write(root.path().join(PRIVATE).join(OWNER), r#"{"format":1,"job":"5e0c"}"#).unwrap();
    let error = open(root.path()).unwrap_err().to_string();
    assert!(error.contains("the folder belongs to job 5e0c"), "{error}");
}
