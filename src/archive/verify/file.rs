//! One file: its bytes against the manifest, its footer against its name, its rows against both.

use std::fmt::Display;
use std::io::ErrorKind;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use connectors::parquet::archive::{ArchiveHeader, FileEntry, Footer, Listing, LocalFile, Site, checksum, file_name};
use connectors::parquet::archived::FileRows;
use engine::metrics::Metrics;
use engine::{Error, Partition, Result};

/// Milliseconds in the manifest, microseconds in the files.
const MICROS_PER_MILLI: i64 = 1000;

/// How often, and how many times, it is looked whether a file has appeared that the journal names: three seconds, where it
/// takes a rename.
const LOOK: Duration = Duration::from_millis(100);
const LOOKS_MAX: u32 = 30;

/// What the rows of a file are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FileFacts {
    /// The offsets of its rows as runs of successive ones, half-open, in the order of the rows.
    pub(super) runs: Vec<(i64, i64)>,
    /// The rows.
    pub(super) rows: u64,
}

/// Checks a file, and returns what its rows are, if they can be read, and what is wrong with it.
///
/// # Errors
/// When the process can't go on. A file that is not there, or that the operating system can't read, is a problem and no error.
pub(super) fn check(
    site: &dyn Site,
    listing: &Listing,
    entry: &FileEntry,
    metrics: &Metrics,
) -> Result<(Option<FileFacts>, Vec<String>)> {
    let header = &listing.header;
    let ((bytes, crc32c), local) = match fetch(site, entry, !listing.is_at_rest) {
        Ok(found) => found,
        Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
            let lost = format!("is missing: {} rows of offsets {}", entry.rows, entry.offsets());
            return Ok((None, vec![lost]));
        }
        Err(Error::Io { source, .. }) => return Ok((None, vec![unreadable(&source)])),
        Err(error) => return Err(error),
    };
    let mut problems = Vec::new();
    if bytes != entry.bytes {
        problems.push(format!("is {bytes} bytes long, the manifest says {}", entry.bytes));
    } else if crc32c != entry.crc32c {
        problems.push(format!(
            "was changed: the CRC-32C of its bytes is {crc32c:08x}, the manifest says {:08x}",
            entry.crc32c
        ));
    }
    if !file_name_fits(entry) {
        problems.push("has a name that is not that of its partition and offsets in the manifest".to_owned());
    }
    let facts = match read(local.path(), header, entry, &mut problems) {
        Ok(facts) => Some(facts),
        Err(Error::Source { problem, .. }) => {
            problems.push(unreadable(&problem));
            None
        }
        Err(Error::Io { source, .. }) => {
            problems.push(unreadable(&source));
            None
        }
        Err(error) => return Err(error),
    };
    metrics.rows_in.add(facts.as_ref().map_or(0, |facts| facts.rows));
    metrics.bytes_in.add(bytes);
    let place = Partition::new(entry.name.as_str(), 0);
    metrics.advance(&place, i64::try_from(entry.bytes).unwrap_or(i64::MAX));
    Ok((facts, problems))
}

/// Returns a file with its length and CRC-32C. While the archive is worked on, one that `is_expected` may be named by the journal already and appear only now:
/// it is waited for.
fn fetch(site: &dyn Site, entry: &FileEntry, is_expected: bool) -> Result<((u64, u32), LocalFile)> {
    let mut looks = if is_expected { LOOKS_MAX } else { 1 };
    loop {
        let found = site
            .fetch(&entry.name)
            .and_then(|local| Ok((checksum(local.path())?, local)));
        looks -= 1;
        match found {
            Err(Error::Io { source, .. }) if looks > 0 && source.kind() == ErrorKind::NotFound => sleep(LOOK),
            found => return found,
        }
    }
}

fn unreadable(problem: &impl Display) -> String {
    format!("can't be read: {problem}")
}

fn file_name_fits(entry: &FileEntry) -> bool {
    let folder = entry.name.rsplit_once('/').map(|(folder, _)| folder);
    file_name(folder, &entry.partition(), entry.offsets()) == entry.name
}

fn read(path: &Path, header: &ArchiveHeader, entry: &FileEntry, problems: &mut Vec<String>) -> Result<FileFacts> {
    let mut rows = FileRows::open(path)?;
    check_footer(rows.footer(), header, entry, problems);
    let mut facts = FileFacts::default();
    let (mut times, mut is_disordered) = (None::<(i64, i64)>, false);
    while let Some((offsets, more)) = rows.next_rows()? {
        facts.rows += offsets.len() as u64;
        for &offset in offsets.values() {
            match facts.runs.last_mut() {
                Some(run) if run.1 == offset => run.1 += 1,
                last => {
                    is_disordered |= last.is_some_and(|run| offset < run.1);
                    facts.runs.push((offset, offset + 1));
                }
            }
        }
        for time in more.iter().flatten() {
            times = Some(times.map_or((time, time), |(least, greatest)| (least.min(time), greatest.max(time))));
        }
    }
    if is_disordered {
        problems.push("has rows that are twice or not in the order of their offsets".to_owned());
    }
    if facts.rows != entry.rows {
        problems.push(format!("has {} rows, the manifest says {}", facts.rows, entry.rows));
    }
    let is_outside = |&(from, to): &(i64, i64)| from < entry.from || to > entry.to;
    if let Some((from, to)) = facts.runs.iter().find(|run| is_outside(run)) {
        problems.push(format!(
            "has rows of the offsets [{from}, {to}), and is to hold those of {}",
            entry.offsets()
        ));
    }
    let millis = times.map(|(least, greatest)| [least, greatest].map(|time| time.div_euclid(MICROS_PER_MILLI)));
    let listed = entry
        .least_timestamp
        .zip(entry.greatest_timestamp)
        .map(|(least, greatest)| [least, greatest]);
    if millis != listed {
        problems.push("has other times than the manifest says".to_owned());
    }
    Ok(facts)
}

/// Compares a footer with the manifest and the header.
fn check_footer(footer: Option<Footer>, header: &ArchiveHeader, entry: &FileEntry, problems: &mut Vec<String>) {
    let Some(footer) = footer else {
        return problems.push("has no footer of an archive".to_owned());
    };
    let expected = Footer {
        partition: entry.partition(),
        offsets: entry.offsets(),
        topic_id: header.topics.get(&entry.topic).cloned().flatten(),
        cluster_id: header.cluster_id.clone(),
        rows: entry.rows,
    };
    let parts = [
        ("another topic or partition", footer.partition == expected.partition),
        ("other offsets", footer.offsets == expected.offsets),
        ("another topic id", footer.topic_id == expected.topic_id),
        ("another cluster id", footer.cluster_id == expected.cluster_id),
        ("another number of rows", footer.rows == expected.rows),
    ];
    for (part, _) in parts.iter().filter(|(_, is_equal)| !is_equal) {
        problems.push(format!("has {part} in its footer than the manifest and the header say"));
    }
}
