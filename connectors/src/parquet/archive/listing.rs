//! What an archive says of itself, for those who only read it: taken without a lease, so that it disturbs no one.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::Path;

use engine::{Error, Result};

use super::super::folder::PRIVATE;
use super::folder::Contents;
use super::header::{ArchiveHeader, NO_END};
use super::journal::reach;
use super::manifest::FileEntry;
use super::{HEADER, JOURNAL, MANIFEST, unusable};

/// Bytes that are read at once for a checksum.
const CHECKSUM_BYTES: usize = 1 << 20;

/// How often an archive is looked at that changes at the same time.
const READS_MAX: u32 = 100;

/// What an archive says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Listing {
    /// The header.
    pub header: ArchiveHeader,
    /// The files, by name: those of the manifest, as the journal changes them.
    pub files: BTreeMap<String, FileEntry>,
    /// The files that somebody is writing, or was.
    pub under_way: u64,
    /// Whether the archive is complete, and nothing is on its way into it or out of it.
    pub is_at_rest: bool,
    /// Whether an archive without an end is being written. The bounds of the header are then those of what is committed.
    pub is_followed: bool,
    /// Why the header or the list may be wrong: damaged, or missing.
    pub problems: Vec<String>,
}

impl Listing {
    /// Reads what the archive in `dir` says of itself, also while a replay works on it.
    ///
    /// # Errors
    /// When there is no archive, or its header can't be read.
    pub fn read(dir: &Path) -> Result<Self> {
        let header = || {
            ArchiveHeader::find(dir)?.ok_or_else(|| {
                Error::Invalid(format!(
                    "{} is no archive: there is no {PRIVATE}/{HEADER} in it, as millstream replay makes one",
                    dir.display()
                ))
            })
        };
        for _ in 0..READS_MAX {
            let before = header()?;
            let listing = Self::of(dir, before.clone());
            // A journal that becomes part of the manifest meanwhile may be seen in neither: there is a new header then, or the
            // journal vanishes while it is read.
            let is_torn = matches!(&listing, Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound);
            if header()? == before && !is_torn {
                return listing;
            }
        }
        Err(unusable(dir, "it changes all the time"))
    }

    fn of(dir: &Path, (mut header, damage): (ArchiveHeader, Option<String>)) -> Result<Self> {
        let private = dir.join(PRIVATE);
        let damage = damage.map(|damage| format!("{PRIVATE}/{HEADER}: {damage}"));
        let mut problems: Vec<_> = damage.into_iter().collect();
        let contents = Contents::read(&private).or_else(|error| match error {
            Error::Sink { output, problem } => {
                problems.push(format!("{output}: {problem}"));
                Ok(Contents::default())
            }
            other => Err(other),
        })?;
        let damage = contents.damage.iter();
        problems.extend(damage.map(|damage| format!("{PRIVATE}/{MANIFEST}: {damage}")));
        let is_begun = header.partitions.iter().any(|bounds| bounds.archived > bounds.from);
        if is_begun && !private.join(MANIFEST).exists() {
            problems.push(format!("{PRIVATE}/{MANIFEST} is missing"));
        }
        let is_followed = header.to == NO_END && !header.is_complete();
        if is_followed {
            for bounds in &mut header.partitions {
                bounds.end_at(reach(bounds.archived, contents.covered_of(&bounds.partition())));
            }
        }
        Ok(Self {
            is_at_rest: !is_followed && header.is_complete() && list(&private.join(JOURNAL))?.next().is_none(),
            is_followed,
            header,
            files: contents.files,
            under_way: under_way(&private)?,
            problems,
        })
    }
}

/// Returns the number of files in the staging folders.
fn under_way(private: &Path) -> Result<u64> {
    let mut count = 0;
    for item in list(private)? {
        let path = item.map_err(Error::io("list", private))?.path();
        let is_staging = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("staging-"));
        if !is_staging {
            continue;
        }
        for file in list(&path)? {
            let file = file.map_err(Error::io("list", &path))?.path();
            count += u64::from(file.extension().is_some_and(|extension| extension == "inprogress"));
        }
    }
    Ok(count)
}

/// Lists a folder; one that is gone meanwhile is empty.
fn list(folder: &Path) -> Result<impl Iterator<Item = std::io::Result<fs::DirEntry>>> {
    match fs::read_dir(folder) {
        Ok(items) => Ok(Some(items).into_iter().flatten()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None.into_iter().flatten()),
        Err(error) => Err(Error::io("list", folder)(error)),
    }
}

/// Returns the length of a file, and the CRC-32C of its bytes.
///
/// # Errors
/// When it can't be read.
pub fn checksum(path: &Path) -> Result<(u64, u32)> {
    let mut file = File::open(path).map_err(Error::io("read", path))?;
    let mut buffer = vec![0; CHECKSUM_BYTES];
    let (mut bytes, mut crc32c) = (0, 0);
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok((bytes, crc32c)),
            Ok(count) => {
                crc32c = crc32c::crc32c_append(crc32c, &buffer[..count]);
                bytes += count as u64;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io("read", path)(error)),
        }
    }
}

/// Checks that files of the archive `dir` are there and as long as it says, without reading them.
///
/// # Errors
/// When one is not; it is named.
pub fn check_lengths<'f>(dir: &Path, files: impl IntoIterator<Item = &'f FileEntry>) -> Result<()> {
    for file in files {
        let path = dir.join(&file.name);
        let problem = match fs::metadata(&path) {
            Ok(found) if !found.is_file() => "it is no file".to_owned(),
            Ok(found) if found.len() == file.bytes => continue,
            Ok(found) => format!("it is {} bytes long, expected {}", found.len(), file.bytes),
            Err(error) if error.kind() == ErrorKind::NotFound => "it is missing".to_owned(),
            Err(error) => error.to_string(),
        };
        return Err(unusable(&path, format!("{problem}: run verify")));
    }
    Ok(())
}
