//! The archive: a folder of Parquet files that hold ranges of offsets of Kafka topics, and what is known of them.
//!
//! ```text
//! DIR/topic=web/partition-00003-offset-…120000-…240000.parquet     one partition's offsets [120000, 240000)
//! DIR/date=2026-01-31/topic=web/partition-00003-offset-….parquet   the same, in folders by columns
//! DIR/_millstream/archive.json                                     the header: topics, bounds, what decides bytes
//! DIR/_millstream/journal/commit-….json                            files on their way into the folder, or out of it
//! DIR/_millstream/manifest.jsonl                                   all files, sorted by name, once the archive is complete
//! DIR/_millstream/compaction.json                                  which files become one, while a compaction is under way
//! DIR/_millstream/owner-…/ staging-…/                              whoever works on it, and its files under way
//! ```
//!
//! A file has its final name only after the journal names it, durably; a restart finishes what the journal holds. So a
//! reader of `DIR/**/*.parquet` sees whole files, each once, whatever happened. A complete archive keeps no journal and no
//! trace of who worked on it: it is the same, byte for byte, whatever interrupted the work.

#[cfg(feature = "object-store")]
mod bucket;
mod chunks;
mod compaction;
mod file;
mod folder;
mod footer;
mod header;
mod journal;
mod limits;
mod listing;
mod location;
mod manifest;
mod name;
mod plan;
mod segment;
mod site;
mod spread;
mod writer;

pub use self::chunks::{CHUNK_BYTES, CHUNK_ROWS};
pub use self::compaction::Compaction;
pub use self::footer::Footer;
pub use self::header::{ArchiveHeader, NO_END, PartitionBounds, Settings};
pub use self::journal::{Appearing, Commit, Covered, reach};
pub use self::limits::FileLimits;
pub use self::listing::{Listing, checksum};
pub use self::location::{Address, Location, Service, check_folder};
pub use self::manifest::FileEntry;
pub use self::name::{FileName, file_name, is_inside};
pub use self::plan::FilePlan;
pub use self::segment::SegmentWriter;
pub use self::site::{LocalFile, Site, StagedPath};
pub use self::writer::{ArchiveWriter, Contents};

/// The layout of the header, the journal and the manifest that this version reads and writes.
const FORMAT: u32 = 1;

/// The header, in the private sub-folder.
pub(super) const HEADER: &str = "archive.json";

/// The manifest, in the private sub-folder.
const MANIFEST: &str = "manifest.jsonl";

/// The folder of commits that are not in the manifest, in the private sub-folder.
const JOURNAL: &str = "journal";

/// Returns the path of a file of the private sub-folder, for messages.
fn private_path(site: &dyn Site, name: &str) -> std::path::PathBuf {
    site.root().join(super::folder::PRIVATE).join(name)
}

/// Returns the error of an archive's own file that can't be used.
fn unusable(path: &std::path::Path, problem: impl std::fmt::Display) -> engine::Error {
    engine::Error::Sink {
        output: path.display().to_string(),
        problem: format!("the file of the archive can't be used: {problem}"),
    }
}

/// Checks the version that a file of the archive says.
fn check_format(path: &std::path::Path, format: u32) -> engine::Result<()> {
    match format {
        1..=FORMAT => Ok(()),
        _ => Err(unusable(
            path,
            format!("its format is {format}, this version reads up to {FORMAT}"),
        )),
    }
}
