//! What an archive says of itself, for those who only read it: taken without a lease, so that it disturbs no one.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use engine::{Error, Result};

use super::super::folder::PRIVATE;
use super::header::{ArchiveHeader, NO_END};
use super::journal::reach;
use super::manifest::FileEntry;
use super::site::Site;
use super::writer::Contents;
use super::{HEADER, MANIFEST, unusable};

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
    /// Reads what the archive at `site` says of itself, also while a replay works on it.
    ///
    /// # Errors
    /// When there is no archive, or its header can't be read.
    pub fn read(site: &dyn Site) -> Result<Self> {
        let header = || {
            ArchiveHeader::find(site)?.ok_or_else(|| {
                Error::Invalid(format!(
                    "{} is no archive: there is no {PRIVATE}/{HEADER} in it, as millstream replay makes one",
                    site.root().display()
                ))
            })
        };
        for _ in 0..READS_MAX {
            let before = header()?;
            let listing = Self::of(site, before.clone());
            // A journal that becomes part of the manifest meanwhile may be seen in neither: there is a new header then, or the
            // journal vanishes while it is read.
            let is_torn = matches!(&listing, Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound);
            if header()? == before && !is_torn {
                return listing;
            }
        }
        Err(unusable(site.root(), "it changes all the time"))
    }

    fn of(site: &dyn Site, (mut header, damage): (ArchiveHeader, Option<String>)) -> Result<Self> {
        let damage = damage.map(|damage| format!("{PRIVATE}/{HEADER}: {damage}"));
        let mut problems: Vec<_> = damage.into_iter().collect();
        let contents = Contents::read(site).or_else(|error| match error {
            Error::Sink { output, problem } => {
                problems.push(format!("{output}: {problem}"));
                Ok(Contents::default())
            }
            other => Err(other),
        })?;
        let damage = contents.damage.iter();
        problems.extend(damage.map(|damage| format!("{PRIVATE}/{MANIFEST}: {damage}")));
        let is_begun = header.partitions.iter().any(|bounds| bounds.archived > bounds.from);
        if is_begun && site.read(MANIFEST)?.is_none() {
            problems.push(format!("{PRIVATE}/{MANIFEST} is missing"));
        }
        let is_followed = header.to == NO_END && !header.is_complete();
        if is_followed {
            for bounds in &mut header.partitions {
                bounds.end_at(reach(bounds.archived, contents.covered_of(&bounds.partition())));
            }
        }
        // A journal that can't be read is a problem already, and not empty.
        let is_journal_empty = site.journal().is_ok_and(|commits| commits.is_empty());
        Ok(Self {
            is_at_rest: !is_followed && header.is_complete() && is_journal_empty,
            is_followed,
            header,
            files: contents.files,
            under_way: site.under_way()?,
            problems,
        })
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
