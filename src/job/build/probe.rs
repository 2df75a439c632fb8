//! What of the outside world stands in the way of a job: servers, topics, files, folders. Nothing is made or changed.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::thread;

use connectors::kafka::options::SourceOptions;
use connectors::kafka::source::KafkaSource;
use connectors::parquet::archive::{ArchiveHeader, Location};
use engine::source::Source;
use engine::{Error, Result};
use nix::unistd::{AccessFlags, access};

use super::input;
use crate::job::plan::{ConnectionPlan, JobPlan, SinkPlan, SourceKind, SourcePlan};
use crate::job::records::kafka_options;

/// The client's name in the brokers' logs. It is no group: nothing is joined or committed.
const CLIENT: &str = "millstream-check";

/// The path that stands for the standard input and output.
const STANDARD: &str = "-";

/// What became of one look at the outside world.
#[derive(Debug)]
pub struct Finding {
    /// What was looked at: `source logs`, `the dead letters`.
    pub part: String,
    /// What is there, or what stands in the way.
    pub outcome: Result<String>,
}

/// Something to look at.
enum Look<'a> {
    Source(&'a SourcePlan),
    Sink(&'a SinkPlan),
    Folder(&'a Path),
    Archive(&'a Location),
}

/// Looks at everything that a job reads from or writes to, all of it at once: servers that are away cost their patience once.
pub fn probe(plan: &JobPlan) -> Vec<Finding> {
    let sources = plan
        .sources
        .iter()
        .map(|source| (format!("source {}", source.name), Look::Source(source)));
    let sinks = plan.queries.iter().filter_map(|query| {
        let sink = query.sink.as_ref()?;
        Some((format!("sink of query {}", query.name), Look::Sink(sink)))
    });
    let dead_letters = plan
        .dead_letter
        .iter()
        .map(|sink| ("dead letters".to_owned(), Look::Sink(sink)));
    let archive = plan.archive.iter();
    let archive = archive.map(|archive| ("archive".to_owned(), Look::Archive(&archive.location)));
    let checkpoint = plan.run.checkpoint.iter();
    let checkpoint = checkpoint.map(|dir| ("checkpoint".to_owned(), Look::Folder(dir)));
    let sinks = sinks.chain(dead_letters).chain(archive);
    let looks: Vec<_> = sources.chain(sinks).chain(checkpoint).collect();
    thread::scope(|scope| {
        let started: Vec<_> = looks
            .iter()
            .map(|(part, look)| (part, scope.spawn(|| look.outcome())))
            .collect();
        let finding = |(part, look): (&String, thread::ScopedJoinHandle<'_, Result<String>>)| Finding {
            part: part.clone(),
            outcome: look.join().expect("a look does not panic"),
        };
        started.into_iter().map(finding).collect()
    })
}

impl Look<'_> {
    fn outcome(&self) -> Result<String> {
        match self {
            Self::Source(source) => match &source.kind {
                SourceKind::Kafka(kafka) => topics(kafka_options(kafka)?),
                SourceKind::File { paths } => files(paths),
                SourceKind::Generate(_) => Ok("nothing outside".to_owned()),
            },
            Self::Sink(SinkPlan::Console { .. }) => Ok("nothing outside".to_owned()),
            Self::Sink(SinkPlan::Parquet(parquet)) => folder(&parquet.dir),
            Self::Sink(SinkPlan::Kafka(kafka)) => topic(&kafka.connection, &kafka.topic),
            Self::Sink(SinkPlan::File { path, .. }) => file(path),
            Self::Folder(dir) => folder(dir),
            Self::Archive(location) => archive(location),
        }
    }
}

/// Looks at the topics that a source reads, as a run would, but reads nothing.
fn topics(mut options: SourceOptions) -> Result<String> {
    options.commits = false;
    let mut source = KafkaSource::new(options)?;
    let state = source.open(None)?;
    Ok(match state.positions.0.len() {
        1 => "1 partition".to_owned(),
        count => format!("{count} partitions"),
    })
}

/// Looks at a topic to write to. Whether the user may write is known only to who writes.
fn topic(connection: &ConnectionPlan, topic: &str) -> Result<String> {
    topics(SourceOptions::new(
        connection.connect()?,
        vec![topic.to_owned()],
        CLIENT,
    ))
}

fn files(paths: &[String]) -> Result<String> {
    let paths = input::matching(paths)?;
    for path in paths.iter().filter(|path| path.as_os_str() != STANDARD) {
        File::open(path).map_err(Error::io("read", path))?;
    }
    Ok(match paths.len() {
        1 => "1 file".to_owned(),
        count => format!("{count} files"),
    })
}

fn file(path: &Path) -> Result<String> {
    if path.as_os_str() == STANDARD {
        return Ok("nothing outside".to_owned());
    }
    if path.is_dir() {
        return Err(Error::io("write", path)(ErrorKind::IsADirectory.into()));
    }
    match path.exists() {
        true => writable(path),
        false => folder(path.parent().unwrap_or(Path::new(""))),
    }
}

/// Looks at the place of an archive. Whether the user may write to a bucket is known only to who writes.
fn archive(location: &Location) -> Result<String> {
    if let Location::Folder(dir) = location {
        return folder(dir);
    }
    Ok(match ArchiveHeader::read(&*location.site()?)? {
        Some(_) => "it is there".to_owned(),
        None => "it will be made".to_owned(),
    })
}

/// Looks whether a folder can be written to, or made.
fn folder(dir: &Path) -> Result<String> {
    let mut nearest: PathBuf = if dir.as_os_str().is_empty() {
        ".".into()
    } else {
        dir.to_owned()
    };
    while !nearest.exists() {
        nearest = match nearest.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => ".".into(),
        };
    }
    if !nearest.is_dir() {
        return Err(Error::io("write to", nearest)(ErrorKind::NotADirectory.into()));
    }
    writable(&nearest)?;
    Ok(match nearest == dir || dir.as_os_str().is_empty() {
        true => "it is there".to_owned(),
        false => "it will be made".to_owned(),
    })
}

fn writable(path: &Path) -> Result<String> {
    match access(path, AccessFlags::W_OK) {
        Ok(()) => Ok("it is there".to_owned()),
        Err(code) => Err(Error::io("write to", path)(code.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(found: Result<String>, expected: &str) {
        let found = found.unwrap_or_else(|error| error.to_string());
        assert!(found.contains(expected), "`{expected}` in `{found}`");
    }

    #[test]
    fn folders_are_there_or_can_be_made_or_are_none() {
        let scratch = tempfile::tempdir().expect("a folder");
        let path = scratch.path();
        std::fs::write(path.join("file"), "").expect("the folder can be written");
        check(folder(path), "it is there");
        check(folder(&path.join("a/b")), "it will be made");
        check(folder(&path.join("file/b")), "cannot write to");
        check(file(&path.join("new.csv")), "it is there");
        check(file(&path.join("file")), "it is there");
        check(file(path), "cannot write");
        assert!(!path.join("a").exists(), "nothing was made");
    }

    #[test]
    fn files_to_read_must_be_there() {
        check(files(&["data/access.log".to_owned(), "-".to_owned()]), "2 files");
        check(files(&["data/acess.log".to_owned()]), "data/acess.log");
        check(files(&["data/*.nothing".to_owned()]), "no file like");
    }
}
