//! The one writer of the head of a bucket's journal: how a process becomes it, stays it, and learns that it is it no more.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use engine::{Error, Result};
use object_store::UpdateVersion;

use super::super::super::folder::PRIVATE;
use super::client::{Client, Put, Versioned};
use super::head::{self, Change, Head};
use super::holder::{Holder, Life};

/// The head, in the private sub-folder.
pub(super) const HEAD: &str = "journal.json";

/// The folder of chapters, in the private sub-folder.
pub(super) const CHAPTERS: &str = "journal";

/// How often the holder says that it lives.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// How long a holder on another machine is watched for a sign of life: some heartbeats, and some answers that come late.
const SILENCE: Duration = Duration::from_secs(30);

/// How often it is looked for one.
const LOOK: Duration = Duration::from_secs(1);

/// Writes of the same head, when it is not known whether the ones before arrived.
const TRIES: usize = 5;

/// The head, which this process alone changes.
#[derive(Debug)]
pub(super) struct Ledger {
    client: Arc<Client>,
    state: Mutex<State>,
    waiting: Mutex<Waiting>,
    is_fenced: AtomicBool,
}

#[derive(Debug)]
struct State {
    head: Head,
    version: UpdateVersion,
    /// The changes that are in the head, counted.
    done: u64,
    /// Why no more changes can be made.
    broken: Option<String>,
    chapters: u64,
}

/// Changes that wait for the one under way: they are made together by whoever comes first.
#[derive(Debug, Default)]
struct Waiting {
    changes: Vec<Change>,
    /// All changes that were asked for, counted.
    asked: u64,
}

impl Ledger {
    /// Becomes the writer of the archive, and returns the head as it was before.
    ///
    /// # Errors
    /// [`Error::HeldBy`] while another process is; when the store can't be used, or does not honour conditions.
    pub(super) fn acquire(client: Arc<Client>) -> Result<(Self, Head)> {
        let (holder, run) = (Holder::this(), run_name());
        for _ in 0..TRIES {
            let (before, expected) = match read(&client)? {
                Some((head, version)) => {
                    refuse_if_alive(&client, &head)?;
                    (head, Some(version))
                }
                None => (Head::default(), None),
            };
            let head = before.clone().held_by(holder.clone(), run.clone());
            if let Some(version) = swap(&client, &head, expected.as_ref())? {
                check_conditions(&client, &head)?;
                let state = State {
                    head,
                    version,
                    done: 0,
                    broken: None,
                    chapters: 0,
                };
                let ledger = Self {
                    client,
                    state: Mutex::new(state),
                    waiting: Mutex::default(),
                    is_fenced: AtomicBool::new(false),
                };
                return Ok((ledger, before));
            }
            // Somebody else was faster: it is looked at again who it is.
        }
        Err(Error::Sink {
            output: path(&client, HEAD).display().to_string(),
            problem: "other processes change it again and again".to_owned(),
        })
    }

    /// Makes a change, durably.
    ///
    /// # Errors
    /// [`Error::Fenced`] when another process took over; when it can't be written.
    pub(super) fn change(&self, change: Change) -> Result<()> {
        let ticket = {
            let mut waiting = lock(&self.waiting);
            waiting.changes.push(change);
            waiting.asked += 1;
            waiting.asked
        };
        let mut state = lock(&self.state);
        if state.done >= ticket {
            return Ok(());
        }
        if self.is_fenced.load(Ordering::Acquire) {
            return Err(self.fenced());
        }
        if let Some(problem) = &state.broken {
            return Err(Error::Sink {
                output: path(&self.client, HEAD).display().to_string(),
                problem: problem.clone(),
            });
        }
        let (changes, asked) = {
            let mut waiting = lock(&self.waiting);
            (std::mem::take(&mut waiting.changes), waiting.asked)
        };
        let written = self.write(&mut state, changes);
        match &written {
            Ok(()) => state.done = asked,
            Err(error) => state.broken = Some(format!("an earlier change of it failed: {error}")),
        }
        written
    }

    /// Returns whether another process is known to have taken over.
    pub(super) fn is_fenced(&self) -> bool {
        self.is_fenced.load(Ordering::Acquire)
    }

    /// Returns the error of a process that was replaced.
    pub(super) fn fenced(&self) -> Error {
        Error::Fenced {
            what: self.client.root().display().to_string(),
        }
    }

    fn write(&self, state: &mut State, changes: Vec<Change>) -> Result<()> {
        let mut head = state.head.clone();
        if head.is_full() && changes.iter().any(|change| matches!(change, Change::Commit(_))) {
            let name = format!("{CHAPTERS}/{}-{:08}.jsonl", head.run, state.chapters);
            // It counts only once the head names it, and only this run has names that begin so.
            put_new(&self.client, &name, &head::chapter(&head.commits))?;
            state.chapters += 1;
            head.commits.clear();
            head.chapters.push(name);
        }
        changes.into_iter().for_each(|change| head.apply(change));
        head.beat += 1;
        match swap(&self.client, &head, Some(&state.version))? {
            Some(version) => {
                state.version = version;
                state.head = head;
                Ok(())
            }
            None => {
                self.is_fenced.store(true, Ordering::Release);
                Err(self.fenced())
            }
        }
    }
}

/// Says every few seconds that the holder lives, until it is dropped.
#[derive(Debug)]
pub(super) struct Heartbeat {
    stop: Option<std::sync::mpsc::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Heartbeat {
    /// Begins.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(super) fn start(ledger: Arc<Ledger>) -> Result<Self> {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let root = ledger.client.root().to_owned();
        let beat = move || {
            while stopped.recv_timeout(HEARTBEAT) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                // What is wrong is told by the next commit.
                if ledger.change(Change::Beat).is_err() {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("archive-heartbeat".to_owned()).spawn(beat);
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread.map_err(Error::io("start a thread for", root))?),
        })
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in that thread has nothing left to tell.
            let _ = thread.join();
        }
    }
}

/// Returns the head and its version; `None` when there is none.
///
/// # Errors
/// When it can't be read.
pub(super) fn read(client: &Client) -> Result<Option<(Head, UpdateVersion)>> {
    let found = client.get(&private(HEAD))?;
    let head = |Versioned { bytes, version }| Ok((Head::from_bytes(&bytes, &path(client, HEAD))?, version));
    found.map(head).transpose()
}

/// Returns the name of a file of the private sub-folder.
pub(super) fn private(name: &str) -> String {
    format!("{PRIVATE}/{name}")
}

fn path(client: &Client, name: &str) -> std::path::PathBuf {
    client.root().join(PRIVATE).join(name)
}

/// Replaces the head, if it still is of the version `expected`, and returns its version then; `None` when it is not.
///
/// # Errors
/// When it can't be written, or it is not known whether it was.
fn swap(client: &Client, head: &Head, expected: Option<&UpdateVersion>) -> Result<Option<UpdateVersion>> {
    put_known(client, &private(HEAD), &head.to_bytes(), expected)
}

/// Writes an object on a condition, and finds out whether a write whose answer got lost was done.
///
/// # Errors
/// When it can't be written, or it stays unknown whether it was.
pub(super) fn put_known(
    client: &Client,
    name: &str,
    bytes: &[u8],
    expected: Option<&UpdateVersion>,
) -> Result<Option<UpdateVersion>> {
    for tried in 1.. {
        let failure = match client.put(name, bytes, expected) {
            Ok(Put::Done(version)) => return Ok(Some(version)),
            Ok(Put::Changed) => None,
            Err(error @ Error::Connect { .. }) => return Err(error),
            Err(error) => Some(error),
        };
        let found = client.get(name)?;
        let is_as_before = match (&found, expected) {
            (Some(found), _) if found.bytes == bytes => return Ok(Some(found.version.clone())),
            (Some(found), Some(expected)) => found.version.e_tag == expected.e_tag,
            (found, expected) => found.is_none() && expected.is_none(),
        };
        match failure {
            // It was not done, or not yet: another write of the same does no harm, since only one can meet the condition.
            Some(error) if tried < TRIES && is_as_before => {
                tracing::debug!(%error, name, "a conditional write is tried again");
            }
            Some(error) if is_as_before => return Err(error),
            _ => return Ok(None),
        }
    }
    unreachable!("the loop ends by itself")
}

/// Writes an object whose name nobody else uses.
fn put_new(client: &Client, name: &str, bytes: &[u8]) -> Result<()> {
    let name = private(name);
    match put_known(client, &name, bytes, None)? {
        Some(_) => Ok(()),
        None => Err(Error::Sink {
            output: client.root().join(name).display().to_string(),
            problem: "it is there already, with another content".to_owned(),
        }),
    }
}

/// Checks that the store honours conditions: without them two processes could write at once.
fn check_conditions(client: &Client, head: &Head) -> Result<()> {
    for tried in 1.. {
        match client.put(&private(HEAD), &head.to_bytes(), None) {
            Ok(Put::Changed) => return Ok(()),
            Ok(Put::Done(_)) => break,
            // It changes nothing, whether it arrived or not.
            Err(Error::Sink { .. }) if tried < TRIES => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::Sink {
        output: client.root().display().to_string(),
        problem: "the store does not honour conditional writes (If-None-Match), by which two processes are kept apart: it is \
                  too old, or they are switched off"
            .to_owned(),
    })
}

/// Refuses to take over from a process that lives. One on another machine is watched for a while.
fn refuse_if_alive(client: &Client, head: &Head) -> Result<()> {
    let Some(holder) = &head.holder else {
        return Ok(());
    };
    let held = || Error::HeldBy {
        what: client.root().display().to_string(),
        holder: holder.to_string(),
    };
    match holder.life() {
        Life::Alive => return Err(held()),
        Life::Gone => return Ok(()),
        Life::Elsewhere => {}
    }
    let archive = client.root().display();
    tracing::warn!(
        "{archive} was left by, or is in use by, {holder}: waiting {SILENCE:?} for a sign of life from there"
    );
    let mut waited = Duration::ZERO;
    while waited < SILENCE {
        thread::sleep(LOOK);
        waited += LOOK;
        match read(client)? {
            Some((now, _)) if now.run == head.run && now.beat == head.beat => {}
            Some((now, _)) if now.holder.is_none() => return Ok(()),
            _ => return Err(held()),
        }
    }
    tracing::warn!("{holder} gave no sign of life: taking over {archive}");
    Ok(())
}

/// Returns a name that no other run has.
fn run_name() -> String {
    use std::hash::{BuildHasher, RandomState};

    let micros = chrono::Utc::now().timestamp_micros();
    format!("{micros:016x}-{:016x}", RandomState::new().hash_one(std::process::id()))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
