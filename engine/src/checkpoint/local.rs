//! Checkpoints in a local folder.
//!
//! ```text
//! job.json                           the job: id, hash seed, its parts' descriptions
//! epoch-00000000000000000012.json    a checkpoint: positions, bounds, sink token, its state files   (N and N-1 are kept)
//! state-00000000000000000010-0.arrow rows of state of query 0: a base or a delta
//! owner-…/                           see `lease`
//! ```
//! Every JSON file starts with a line `millstream VERSION CRC32C`, the checksum of what follows.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use arrow::record_batch::RecordBatch;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::durable::{publish, sync_folder, write_synced};
use super::lease::Lease;
use super::state::{self, StateFile};
use super::{Checkpoint, JobPart, StateRows, Store};
use crate::error::{Error, Result};
use crate::fault;
use crate::kernel::hash::Seed;
use crate::operator::Extent;
use crate::position::{Epoch, Positions};
use crate::sink::Candidate;

/// The version of the format that this program writes, and the only one that it reads.
const VERSION: u32 = 3;

/// Checkpoints kept: the newest, and the one before until the newest is known to be committed.
const KEPT: usize = 2;

/// Delta files of a query before they are joined into one: bounds open files and the folder's size.
const DELTAS_MAX: usize = 32;

/// Checkpoints in a folder, held by this process alone.
#[derive(Debug)]
pub struct LocalStore {
    root: PathBuf,
    job: JobFile,
    lease: Lease,
    /// Oldest first.
    checkpoints: Vec<CheckpointFile>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct JobFile {
    id: String,
    seed: Seed,
    parts: Vec<JobPart>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct CheckpointFile {
    checkpoint: Checkpoint,
    state: Vec<StateFile>,
}

impl LocalStore {
    /// Opens the folder `root` for the job described by `parts`, making it if needed.
    ///
    /// # Errors
    /// When a living process holds it, it belongs to another job, or can't be read.
    pub fn open(root: &Path, parts: Vec<JobPart>) -> Result<Self> {
        let lease = Lease::acquire(root, 1)?;
        let job = open_job(root, &lease, parts)?;
        let mut store = Self {
            root: root.to_owned(),
            job,
            lease,
            checkpoints: vec![],
        };
        store.checkpoints = store.load()?;
        store.remove_unused()?;
        Ok(store)
    }

    /// Returns the readable checkpoints, oldest first. A torn or corrupt one is skipped with a warning as long as there
    /// is another.
    fn load(&self) -> Result<Vec<CheckpointFile>> {
        let mut checkpoints = vec![];
        let mut broken = None;
        for path in self.files("epoch-")? {
            match read_json(&path) {
                Ok(checkpoint) => checkpoints.push(checkpoint),
                Err(error @ Error::Checkpoint { .. }) => {
                    tracing::warn!(%error, "skipped a broken checkpoint");
                    broken = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        match broken {
            Some(error) if checkpoints.is_empty() => Err(error),
            _ => Ok(checkpoints),
        }
    }

    fn files(&self, prefix: &str) -> Result<Vec<PathBuf>> {
        let mut paths = vec![];
        for entry in fs::read_dir(&self.root).map_err(Error::io("list", &self.root))? {
            let entry = entry.map_err(Error::io("list", &self.root))?;
            if entry.file_name().to_string_lossy().starts_with(prefix) {
                paths.push(entry.path());
            }
        }
        paths.sort();
        Ok(paths)
    }

    /// Removes state files that no checkpoint lists: of a crash, or of checkpoints that are gone.
    fn remove_unused(&self) -> Result<()> {
        let listed = self.checkpoints.iter().flat_map(|checkpoint| &checkpoint.state);
        let used: BTreeSet<_> = listed.map(|file| self.root.join(&file.name)).collect();
        let unused = self.files("state-")?.into_iter().filter(|path| !used.contains(path));
        unused
            .into_iter()
            .try_for_each(|path| fs::remove_file(&path).map_err(Error::io("remove", &path)))
    }

    /// Writes the rows of one query, and returns all files that its state consists of then.
    fn write_state(&self, epoch: Epoch, rows: StateRows<'_>) -> Result<Vec<StateFile>> {
        let query = rows.query;
        let name = format!("state-{epoch:020}-{query}.arrow", epoch = epoch.0);
        let staged = self.lease.folder().join(&name);
        let earlier: Vec<_> = match rows.extent {
            Extent::Base => vec![],
            Extent::Delta => self
                .newest_state()
                .filter(|file| file.query == query)
                .cloned()
                .collect(),
        };
        let deltas = earlier.iter().filter(|file| !file.base).count();
        let (kept, joined) = if deltas < DELTAS_MAX {
            (earlier, vec![])
        } else {
            earlier.into_iter().partition(|file| file.base)
        };
        let files: Vec<_> = joined
            .iter()
            .map(|file| state::read(&self.root, file))
            .collect::<Result<_>>()?;
        let all = files.into_iter().flatten().chain(rows.rows);
        let written = state::write(&staged, query, rows.extent, all)?;
        if written.is_some() {
            publish(&staged, &self.root.join(&name))?;
        }
        Ok(kept.into_iter().chain(written).collect())
    }

    /// Returns the state files of the newest checkpoint.
    fn newest_state(&self) -> impl Iterator<Item = &StateFile> {
        self.checkpoints.last().into_iter().flat_map(|newest| &newest.state)
    }

    fn write_checkpoint(&mut self, checkpoint: Checkpoint, state: Vec<StateRows<'_>>) -> Result<()> {
        let epoch = checkpoint.epoch;
        let files = state.into_iter().map(|rows| self.write_state(epoch, rows));
        let state = files.collect::<Result<Vec<_>>>()?.concat();
        fault::point("after_snapshot");
        let entry = CheckpointFile { checkpoint, state };
        let name = checkpoint_name(epoch);
        let staged = self.lease.folder().join(&name);
        write_synced(&staged, &to_json(&entry)?)?;
        fault::point("before_store_rename");
        publish(&staged, &self.root.join(&name))?;
        fault::point("after_store_rename");
        self.checkpoints.push(entry);
        self.trim()
    }

    fn trim(&mut self) -> Result<()> {
        while self.checkpoints.len() > KEPT {
            let old = self.checkpoints.remove(0);
            let path = self.root.join(checkpoint_name(old.checkpoint.epoch));
            fs::remove_file(&path).map_err(Error::io("remove", &path))?;
            let unused = |file: &&StateFile| !self.checkpoints.iter().any(|kept| kept.state.contains(file));
            for file in old.state.iter().filter(unused) {
                let path = self.root.join(&file.name);
                fs::remove_file(&path).map_err(Error::io("remove", &path))?;
            }
        }
        Ok(())
    }
}

impl Store for LocalStore {
    fn job(&self) -> &str {
        &self.job.id
    }

    fn generation(&self) -> u64 {
        self.lease.generation()
    }

    fn seed(&self) -> Seed {
        self.job.seed
    }

    fn candidates(&self) -> Vec<Candidate> {
        let candidate = |file: &CheckpointFile| Candidate {
            epoch: file.checkpoint.epoch,
            positions: Positions::joined(file.checkpoint.sources.iter().map(|source| &source.positions)),
            token: file.checkpoint.token.clone(),
        };
        self.checkpoints.iter().rev().take(KEPT).map(candidate).collect()
    }

    fn choose(&mut self, epoch: Epoch) -> Result<Checkpoint> {
        while let Some(newer) = self.checkpoints.pop_if(|newest| newest.checkpoint.epoch > epoch) {
            let path = self.root.join(checkpoint_name(newer.checkpoint.epoch));
            fs::remove_file(&path).map_err(Error::io("remove", &path))?;
            sync_folder(&self.root)?;
        }
        self.remove_unused()?;
        match self.checkpoints.last() {
            Some(newest) if newest.checkpoint.epoch == epoch => Ok(newest.checkpoint.clone()),
            _ => Err(Error::Checkpoint {
                path: self.root.join(checkpoint_name(epoch)),
                problem: "it is missing".to_owned(),
            }),
        }
    }

    fn read_state(&self, take: &mut dyn FnMut(usize, &RecordBatch) -> Result<()>) -> Result<()> {
        for file in self.newest_state() {
            for records in state::read(&self.root, file)? {
                take(file.query, &records?)?;
            }
        }
        Ok(())
    }

    fn extent(&self, query: usize) -> Extent {
        let rows = |base: bool| {
            let files = self
                .newest_state()
                .filter(|file| file.query == query && file.base == base);
            files.map(|file| file.rows).sum::<u64>()
        };
        match rows(false) > rows(true) {
            true => Extent::Base,
            false => Extent::Delta,
        }
    }

    fn write(&mut self, checkpoint: Checkpoint, state: Vec<StateRows<'_>>) -> Result<()> {
        self.write_checkpoint(checkpoint, state)
            .map_err(|error| self.lease.explain(&self.root, error))
    }

    fn location(&self) -> PathBuf {
        self.root.clone()
    }
}

fn checkpoint_name(epoch: Epoch) -> String {
    format!("epoch-{:020}.json", epoch.0)
}

fn open_job(root: &Path, lease: &Lease, parts: Vec<JobPart>) -> Result<JobFile> {
    let path = root.join("job.json");
    if !path.exists() {
        let (first, second) = (Seed::random(), Seed::random());
        let job = JobFile {
            id: format!("{:016x}{:016x}", first.0, first.1),
            seed: second,
            parts,
        };
        let staged = lease.folder().join("job.json");
        write_synced(&staged, &to_json(&job)?)?;
        publish(&staged, &path)?;
        return Ok(job);
    }
    let job: JobFile = read_json(&path)?;
    match changed_part(&job.parts, &parts) {
        None => Ok(job),
        Some((part, was, now)) => Err(Error::JobChanged {
            path: root.to_owned(),
            part,
            was,
            now,
        }),
    }
}

/// Returns the first part that differs: its name, its recorded and its present description.
fn changed_part(recorded: &[JobPart], present: &[JobPart]) -> Option<(String, String, String)> {
    let description = |parts: &[JobPart], name: &str| {
        let part = parts.iter().find(|part| part.name == name);
        part.map_or_else(|| "nothing".to_owned(), |part| part.description.clone())
    };
    let names = recorded.iter().chain(present).map(|part| &part.name);
    let mut pairs = names.map(|name| (name.clone(), description(recorded, name), description(present, name)));
    pairs.find(|(_, was, now)| was != now)
}

fn to_json<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    let body = serde_json::to_string_pretty(value).map_err(|error| Error::Invalid(format!("no JSON: {error}")))?;
    let crc32c = crc32c::crc32c(body.as_bytes());
    Ok(format!("millstream {VERSION} {crc32c:08x}\n{body}").into_bytes())
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let broken = |problem: String| Error::Checkpoint {
        path: path.to_owned(),
        problem,
    };
    let text = fs::read(path).map_err(Error::io("read", path))?;
    let text = String::from_utf8(text).map_err(|_| broken("it is not text".to_owned()))?;
    let (head, body) = text
        .split_once('\n')
        .ok_or_else(|| broken("its first line is cut off".to_owned()))?;
    let words: Vec<_> = head.split(' ').collect();
    let ["millstream", version, sum] = words[..] else {
        return Err(broken("it does not start with `millstream VERSION CRC32C`".to_owned()));
    };
    let version: u32 = version
        .parse()
        .map_err(|_| broken(format!("`{version}` is no version")))?;
    check_version(path, version)?;
    let found = format!("{:08x}", crc32c::crc32c(body.as_bytes()));
    if found != sum {
        return Err(broken(format!(
            "its CRC-32C is {found}, expected {sum}: it is torn or corrupt"
        )));
    }
    serde_json::from_str(body).map_err(|error| broken(error.to_string()))
}

fn check_version(path: &Path, version: u32) -> Result<()> {
    let (age, remedy) = match version.cmp(&VERSION) {
        Ordering::Equal => return Ok(()),
        Ordering::Greater => ("a newer", format!("this program reads up to {VERSION}")),
        Ordering::Less => (
            "an older",
            format!(
                "this program reads version {VERSION}; finish the job with the older program, or start afresh with another \
                 checkpoint folder"
            ),
        ),
    };
    Err(Error::Invalid(format!(
        "the checkpoint is of {age} program: {} has version {version}, {remedy}",
        path.display()
    )))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Int64Array};
    use arrow::datatypes::Int64Type;

    use super::*;
    use crate::checkpoint::TimeState;
    use crate::position::{Partition, Positions};
    use crate::sink::Token;
    use crate::source::SourceState;

    fn parts(words: &[&str]) -> Vec<JobPart> {
        let part = |(index, word): (usize, &&str)| JobPart {
            name: format!("operator {index}"),
            description: (*word).to_owned(),
        };
        words.iter().enumerate().map(part).collect()
    }

    fn open(root: &Path) -> Result<LocalStore> {
        LocalStore::open(root, parts(&["tokenize ascii", "aggregate"]))
    }

    fn checkpoint(epoch: u64) -> Checkpoint {
        let mut positions = Positions::default();
        positions.advance(&Partition::new("logs", 3), i64::try_from(epoch).expect("small"));
        Checkpoint {
            epoch: Epoch(epoch),
            sources: vec![SourceState {
                positions,
                ..SourceState::default()
            }],
            token: Token(serde_json::json!({ "epoch": epoch })),
            time: TimeState::default(),
        }
    }

    fn rows(numbers: Vec<i64>) -> RecordBatch {
        let column: ArrayRef = Arc::new(Int64Array::from(numbers));
        RecordBatch::try_from_iter([("number", column)]).expect("one column")
    }

    fn write(store: &mut LocalStore, epoch: u64, numbers: Vec<i64>) {
        write_of(store, epoch, vec![(0, numbers)]);
    }

    /// Writes a checkpoint with rows of some queries.
    fn write_of(store: &mut LocalStore, epoch: u64, states: Vec<(usize, Vec<i64>)>) {
        let state = |(query, numbers)| StateRows {
            query,
            extent: store.extent(query),
            rows: Box::new(std::iter::once(Ok(rows(numbers)))),
        };
        let states = states.into_iter().map(state).collect();
        store
            .write(checkpoint(epoch), states)
            .expect("a folder that can be written");
    }

    fn state(store: &LocalStore) -> Vec<i64> {
        state_of(store, 0)
    }

    fn state_of(store: &LocalStore, query: usize) -> Vec<i64> {
        let mut numbers = vec![];
        let take = &mut |of: usize, records: &RecordBatch| {
            if of == query {
                numbers.extend_from_slice(records.column(0).as_primitive::<Int64Type>().values());
            }
            Ok(())
        };
        store.read_state(take).expect("state files that were written");
        numbers
    }

    fn epochs(store: &LocalStore) -> Vec<u64> {
        store.candidates().iter().map(|candidate| candidate.epoch.0).collect()
    }

    #[test]
    fn the_last_two_checkpoints_are_kept_and_one_is_chosen() {
        let root = tempfile::tempdir().expect("a scratch folder");
        let mut store = open(root.path()).expect("an empty folder");
        let (job, seed) = (store.job().to_owned(), store.seed());
        assert_eq!(epochs(&store), [0_u64; 0]);
        store
            .write(checkpoint(0), vec![])
            .expect("a folder that can be written");
        for epoch in 1..=4 {
            write(&mut store, epoch, vec![i64::try_from(epoch).expect("small")]);
        }
        drop(store);

        let mut store = open(root.path()).expect("the same job");
        assert_eq!((store.job(), store.seed(), store.generation()), (job.as_str(), seed, 2));
        assert_eq!(epochs(&store), [4, 3]);
        let before = state(&store);
        assert_eq!(store.choose(Epoch(3)).expect("one of the two"), checkpoint(3));
        assert_eq!(epochs(&store), [3]);
        assert_eq!(state(&store), before[..before.len() - 1]);
        store.choose(Epoch(2)).expect_err("it is gone");
    }

    #[test]
    fn a_checkpoint_holds_what_changed_until_that_outgrows_the_base() {
        let root = tempfile::tempdir().expect("a scratch folder");
        let mut store = open(root.path()).expect("an empty folder");
        write(&mut store, 1, vec![0; 100]);
        assert_eq!(store.extent(0), Extent::Base, "a delta without a base has outgrown it");
        write(&mut store, 2, vec![0; 100]);
        for epoch in 3..=103 {
            assert_eq!(store.extent(0), Extent::Delta);
            write(&mut store, epoch, vec![7]);
            assert!(
                store.files("state-").expect("a folder").len() <= DELTAS_MAX + 2,
                "files are joined"
            );
        }
        assert_eq!(state(&store).len(), 201);
        assert_eq!(store.extent(0), Extent::Base);
        write(&mut store, 104, vec![1]);
        assert_eq!(state(&store), [1]);
        write(&mut store, 105, vec![2]);
        write(&mut store, 106, vec![3]);
        assert_eq!(
            store.files("state-").expect("a folder").len(),
            3,
            "files that no checkpoint lists are removed"
        );
    }

    #[test]
    fn a_torn_checkpoint_is_skipped_and_a_lone_one_refused() {
        let root = tempfile::tempdir().expect("a scratch folder");
        let mut store = open(root.path()).expect("an empty folder");
        write(&mut store, 1, vec![1]);
        write(&mut store, 2, vec![2]);
        drop(store);
        let newest = root.path().join(checkpoint_name(Epoch(2)));
        let text = fs::read(&newest).expect("a file");
        fs::write(&newest, &text[..text.len() / 2]).expect("a file");
        assert_eq!(epochs(&open(root.path()).expect("one is left")), [1]);
        fs::write(root.path().join(checkpoint_name(Epoch(1))), "millstream 3 00000000\n{}").expect("a file");
        let error = open(root.path()).expect_err("none is left").to_string();
        assert!(error.contains("torn or corrupt"), "{error}");
    }

    #[test]
    fn a_corrupt_state_file_is_named() {
        let root = tempfile::tempdir().expect("a scratch folder");
        let mut store = open(root.path()).expect("an empty folder");
        write(&mut store, 1, vec![1, 2, 3]);
        let path = store.files("state-").expect("a folder").remove(0);
        let mut content = fs::read(&path).expect("a file");
        let middle = content.len() / 2;
        content[middle] ^= 1;
        fs::write(&path, content).expect("a file");
        let error = store
            .read_state(&mut |_, _| Ok(()))
            .expect_err("one bit is wrong")
            .to_string();
        assert!(
            error.contains("state-00000000000000000001-0.arrow") && error.contains("CRC-32C"),
            "{error}"
        );
    }

    #[test]
    fn another_version_is_refused() {
        let root = tempfile::tempdir().expect("a scratch folder");
        drop(open(root.path()).expect("an empty folder"));
        for (version, expected) in [
            (4, "of a newer program: "),
            (4, "has version 4, this program reads up to 3"),
            (2, "of an older program: "),
            (2, "has version 2, this program reads version 3"),
        ] {
            let text = format!("millstream {version} 00000000\n{{}}");
            fs::write(root.path().join("job.json"), text).expect("a file");
            let error = open(root.path()).expect_err("not this version").to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn each_query_has_its_own_base_and_deltas() {
        let root = tempfile::tempdir().expect("a scratch folder");
        let mut store = open(root.path()).expect("an empty folder");
        write_of(&mut store, 1, vec![(0, vec![1; 10]), (2, vec![2])]);
        write_of(&mut store, 2, vec![(0, vec![1; 10]), (2, vec![3])]);
        write_of(&mut store, 3, vec![(0, vec![4]), (2, vec![5])]);
        assert_eq!((store.extent(0), store.extent(2)), (Extent::Delta, Extent::Delta));
        write_of(&mut store, 4, vec![(0, vec![6]), (2, vec![7])]);
        assert_eq!((store.extent(0), store.extent(2)), (Extent::Delta, Extent::Base));
        drop(store);
        let store = open(root.path()).expect("the same job");
        assert_eq!(state_of(&store, 2), [3, 5, 7]);
        assert_eq!(state_of(&store, 0), [&[1; 10][..], &[4, 6]].concat());
    }

    #[test]
    fn another_job_is_refused_with_the_part_that_changed() {
        let root = tempfile::tempdir().expect("a scratch folder");
        drop(open(root.path()).expect("an empty folder"));
        let error = LocalStore::open(root.path(), parts(&["tokenize word", "aggregate"])).expect_err("another job");
        let error = error.to_string();
        assert!(
            error.contains("operator 0 was `tokenize ascii`, now it is `tokenize word`"),
            "{error}"
        );
        let error = LocalStore::open(root.path(), parts(&["tokenize ascii"]))
            .expect_err("another job")
            .to_string();
        assert!(
            error.contains("operator 1 was `aggregate`, now it is `nothing`"),
            "{error}"
        );
    }
}
