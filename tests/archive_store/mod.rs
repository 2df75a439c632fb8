//! Archives in buckets, on a real broker and a real server that speaks S3: what is there is what a folder would hold, whatever
//! was killed, frozen, refused or lost on the way.

mod between;
mod faults;
mod follow;
mod kills;
mod owners;
mod refusals;
mod replay;
mod tools;

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::archive::{content, expect_same, topic_of};
use crate::harness::PATIENCE;
use crate::harness::broker::Broker;
use crate::harness::process::{Ended, Run};
use crate::harness::s3::{Bucket, S3};
use crate::harness::scratch::Scratch;

/// What only a bucket has, and what only a folder has, of those who work on an archive.
const OF_WORKERS: [&str; 2] = ["_millstream/journal.json", "_millstream/acquire.lock"];

/// Small segments, and several files in each.
const SMALL: &[&str] = &["--segment", "1500", "--file-rows", "400"];

/// A bucket, and a folder in which commands run.
struct Desk {
    bucket: Bucket,
    scratch: Scratch,
    runs: AtomicU32,
}

impl Desk {
    fn new(name: &str) -> Self {
        Self {
            bucket: S3::shared().new_bucket(),
            scratch: Scratch::new(name),
            runs: AtomicU32::new(0),
        }
    }

    /// Prepares a run of the program that finds the server.
    fn run(&self, arguments: &[&str]) -> Run {
        self.run_through(self.bucket.port, arguments)
    }

    /// Prepares a run of the program that finds the server behind this port. Its temporary files are in the scratch.
    fn run_through(&self, port: u16, arguments: &[&str]) -> Run {
        let number = self.runs.fetch_add(1, Ordering::Relaxed);
        let run = Run::millstream(&self.scratch, &format!("run-{number:03}")).args(arguments);
        self.bucket.settings(run, port).env("TMPDIR", self.scratch.path())
    }

    /// Prepares a replay of the topic to a place: a folder of the scratch, or an address.
    fn replay(&self, topic: &str, place: &str, options: &[&str]) -> Run {
        let command = [
            "replay",
            "-b",
            Broker::shared().bootstrap(),
            "-t",
            topic,
            "--out",
            place,
        ];
        self.run(&[&command, options].concat())
    }

    /// Replays to the end.
    #[track_caller]
    fn replayed(&self, topic: &str, place: &str, options: &[&str]) -> Ended {
        self.replay(topic, place, options).finish(PATIENCE).expect_code(0)
    }

    /// Returns the archive below a prefix of the bucket: all objects but those of who works on it.
    #[track_caller]
    fn archive(&self, prefix: &str) -> BTreeMap<String, Vec<u8>> {
        let mut content = self.bucket.content(prefix);
        content.retain(|name, _| !OF_WORKERS.contains(&name.as_str()));
        content
    }

    /// Returns the archive in a folder of the scratch, in the same way.
    #[track_caller]
    fn folder(&self, name: &str) -> BTreeMap<String, Vec<u8>> {
        let mut found = content(&self.scratch.join(name));
        found.retain(|name, _| !OF_WORKERS.contains(&name.as_str()));
        found
    }

    /// Checks that nothing of a spool is left on this machine.
    #[track_caller]
    fn expect_no_spool(&self) {
        let spool = self.scratch.join("millstream-spool");
        let left = fs::read_dir(&spool).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{} is empty", spool.display());
    }
}
