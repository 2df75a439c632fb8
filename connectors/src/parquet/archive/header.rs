//! The header: what an archive is of, and all that decides its names and bytes.

use std::collections::BTreeMap;

use engine::{OffsetRange, Partition, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::site::Site;
use super::{FORMAT, HEADER, check_format, private_path, unusable};

/// The end, in words, of an archive that goes on and on.
pub const NO_END: &str = "none";

/// What an archive is of. Bounds are numbers, fixed when the replay began or was given another end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArchiveHeader {
    /// The version of this layout.
    pub format: u32,
    /// The version of the program that began the archive.
    pub written_by: String,
    /// The cluster's id, where the brokers tell.
    pub cluster_id: Option<String>,
    /// The topics, with their ids where the brokers have ids.
    pub topics: BTreeMap<String, Option<String>>,
    /// The pattern that chose the topics when the replay began, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// Where the replay starts, in the words of the command.
    pub from: String,
    /// Where it ends, in the words of the command; [`NO_END`] if it does not.
    pub to: String,
    /// What decides names and bytes.
    pub settings: Settings,
    /// The bounds of each partition, by topic and number.
    pub partitions: Vec<PartitionBounds>,
}

/// What is between the description of a format and what becomes of bad rows.
const BAD_ROWS: &str = "; bad rows: ";

/// Why a header always has a text.
const KEYS: &str = "a header has string keys only";

/// A header with its checksum, as the file has it.
#[derive(Serialize, Deserialize)]
struct Stored<H> {
    #[serde(flatten)]
    header: H,
    /// Of the header as JSON, so that neither spaces nor the order of the keys count.
    header_crc32c: u32,
}

/// The offsets of one partition that an archive is to hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionBounds {
    /// The topic.
    pub topic: String,
    /// The number of the partition.
    pub partition: i32,
    /// The first offset.
    pub from: i64,
    /// The first offset after the last.
    pub to: i64,
    /// The files that the manifest lists hold all before this offset.
    pub archived: i64,
    /// Ends that the archive was given before, where a file ends too, as far as the manifest does not list it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cuts: Vec<i64>,
}

/// What decides the names and bytes of an archive's files, beside the records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// What of a record is kept: `envelope`, `parsed` or `both`.
    pub layout: String,
    /// The columns of the files.
    pub columns: Vec<String>,
    /// How the values are read, where they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Whether records of aborted transactions are left out: `read_committed` or `read_uncommitted`.
    pub isolation: String,
    /// The codec of the pages.
    pub compression: String,
    /// The columns with a bloom filter.
    pub bloom_filter: Vec<String>,
    /// What names the folders of rows, from the outside in.
    pub partition_by: Vec<String>,
    /// A file ends at each multiple of so many offsets.
    pub segment_offsets: u64,
    /// The most rows of a file.
    pub file_rows: Option<u64>,
    /// The bytes after which a file ends.
    pub file_bytes: Option<u64>,
    /// The most milliseconds between the times of a file's records.
    pub file_span_ms: Option<u64>,
}

impl ArchiveHeader {
    /// Returns the header of a new archive.
    pub fn new(settings: Settings) -> Self {
        Self {
            format: FORMAT,
            written_by: concat!("millstream ", env!("CARGO_PKG_VERSION")).to_owned(),
            cluster_id: None,
            topics: BTreeMap::new(),
            pattern: None,
            from: String::new(),
            to: String::new(),
            settings,
            partitions: Vec::new(),
        }
    }

    /// Returns the header of the archive at `site`; `None` when there is none.
    ///
    /// # Errors
    /// When it can't be read, is damaged, or is of a later version.
    pub fn read(site: &dyn Site) -> Result<Option<Self>> {
        match Self::find(site)? {
            Some((_, Some(damage))) => Err(unusable(&private_path(site, HEADER), damage)),
            found => Ok(found.map(|(header, _)| header)),
        }
    }

    /// Returns the header of the archive at `site`, and why it may not be what it once was; `None` when there is none.
    ///
    /// # Errors
    /// When it can't be read, is none, or is of a later version.
    pub(super) fn find(site: &dyn Site) -> Result<Option<(Self, Option<String>)>> {
        let Some(bytes) = site.read(HEADER)? else {
            return Ok(None);
        };
        let path = private_path(site, HEADER);
        let Stored { header, header_crc32c } =
            serde_json::from_slice(&bytes).map_err(|error| unusable(&path, error))?;
        // As it stands there, with keys that this version does not know: one that a changed byte made is one.
        let found = checksum(&header);
        let header: Self = serde_json::from_value(header).map_err(|error| unusable(&path, error))?;
        check_format(&path, header.format)?;
        let damage = (found != header_crc32c)
            .then(|| format!("it was changed: the CRC-32C of what it says is {found:08x}, it was {header_crc32c:08x}"));
        Ok(Some((header, damage)))
    }

    /// Returns whether the manifest lists all that the archive is to hold.
    pub fn is_complete(&self) -> bool {
        self.partitions.iter().all(|bounds| bounds.archived >= bounds.to)
    }

    pub(super) fn to_text(&self) -> String {
        let stored = Stored {
            header: self,
            header_crc32c: checksum(&serde_json::to_value(self).expect(KEYS)),
        };
        serde_json::to_string_pretty(&stored).expect(KEYS) + "\n"
    }
}

/// Returns the CRC-32C of a header as JSON without spaces.
fn checksum(header: &Value) -> u32 {
    crc32c::crc32c(header.to_string().as_bytes())
}

impl PartitionBounds {
    /// Gives the partition another end, if it is a later one. Where the old one lies in what is not in the manifest yet, a file
    /// ends: it may be there already.
    pub fn extend(&mut self, to: i64) {
        if to <= self.to {
            return;
        }
        if self.to > self.archived {
            self.cuts.push(self.to);
        }
        self.to = to;
    }

    /// Lets the partition end at `to`, up to where all of it is archived.
    pub(super) fn end_at(&mut self, to: i64) {
        self.to = to;
        self.complete();
    }

    /// Takes in that the manifest lists all up to the end.
    pub(super) fn complete(&mut self) {
        self.archived = self.to;
        self.cuts.clear();
    }

    /// Returns the partition.
    pub fn partition(&self) -> Partition {
        Partition::new(self.topic.as_str(), self.partition)
    }

    /// Returns the offsets that the archive is to hold.
    pub fn offsets(&self) -> OffsetRange {
        OffsetRange {
            from: self.from,
            to: self.to,
        }
    }
}

impl Settings {
    /// Returns how values are read, and what becomes of those that can't be, as [`format`](Self::format) has it.
    pub fn format_of(values: &str, bad_rows: impl std::fmt::Display) -> String {
        format!("{values}{BAD_ROWS}{bad_rows}")
    }

    /// Returns whether records whose value can't be read are left out.
    pub fn skips_bad_rows(&self) -> bool {
        let bad_rows = self.format.as_deref().and_then(|format| format.rsplit_once(BAD_ROWS));
        bad_rows.is_some_and(|(_, bad_rows)| bad_rows == "skip")
    }

    /// Returns the first setting that is not the same in `other`: its name, its value here, and its value there.
    pub fn difference(&self, other: &Self) -> Option<(String, String, String)> {
        let fields = |settings: &Self| match serde_json::to_value(settings) {
            Ok(serde_json::Value::Object(fields)) => fields,
            _ => unreachable!("settings are an object of plain fields"),
        };
        let (mine, theirs) = (fields(self), fields(other));
        let names: std::collections::BTreeSet<_> = mine.keys().chain(theirs.keys()).collect();
        let text = |value: Option<&serde_json::Value>| match value {
            None | Some(serde_json::Value::Null) => "none".to_owned(),
            Some(serde_json::Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
        };
        let differs = names.into_iter().find(|name| mine.get(*name) != theirs.get(*name))?;
        Some((differs.clone(), text(mine.get(differs)), text(theirs.get(differs))))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs;

    use super::super::Location;
    use super::*;

    pub(in super::super) fn settings() -> Settings {
        Settings {
            layout: "envelope".to_owned(),
            columns: vec!["offset".to_owned(), "value".to_owned()],
            format: None,
            isolation: "read_committed".to_owned(),
            compression: "zstd:1".to_owned(),
            bloom_filter: Vec::new(),
            partition_by: Vec::new(),
            segment_offsets: 1_000_000,
            file_rows: None,
            file_bytes: Some(256 << 20),
            file_span_ms: None,
        }
    }

    #[test]
    fn the_setting_that_differs_is_named_with_both_values() {
        let other = Settings {
            file_rows: Some(7),
            ..settings()
        };
        assert_eq!(settings().difference(&settings()), None);
        let differs = ("file_rows".to_owned(), "none".to_owned(), "7".to_owned());
        assert_eq!(settings().difference(&other), Some(differs));
    }

    fn bounds(cuts: &[i64]) -> PartitionBounds {
        PartitionBounds {
            topic: "web".to_owned(),
            partition: 0,
            from: 5,
            to: 10,
            archived: 5,
            cuts: cuts.to_vec(),
        }
    }

    #[test]
    fn an_archive_is_complete_when_the_manifest_reaches_the_ends() {
        let mut header = ArchiveHeader::new(settings());
        header.partitions = vec![bounds(&[])];
        assert!(!header.is_complete());
        header.partitions[0].complete();
        assert!(header.is_complete());
    }

    #[test]
    fn a_header_with_a_changed_byte_is_damaged_or_no_header() {
        let dir = tempfile::tempdir().expect("a scratch folder");
        let site = Location::Folder(dir.path().to_owned()).site().expect("a folder");
        let path = private_path(&*site, HEADER);
        fs::create_dir(path.parent().expect("in a folder")).expect("a folder");
        let mut header = ArchiveHeader::new(settings());
        header.partitions = vec![bounds(&[7])];
        let text = header.to_text();
        fs::write(&path, &text).expect("a file");
        assert_eq!(ArchiveHeader::read(&*site).expect("a header"), Some(header));
        for (at, byte) in text.bytes().enumerate().filter(|(_, byte)| !byte.is_ascii_whitespace()) {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = byte ^ 1;
            fs::write(&path, bytes).expect("a file");
            assert!(ArchiveHeader::read(&*site).is_err(), "byte {at} of {text}");
        }
    }

    #[test]
    fn an_end_is_a_border_until_the_manifest_has_reached_it() {
        let mut bounds = bounds(&[]);
        bounds.extend(20);
        bounds.extend(15);
        assert_eq!((bounds.to, bounds.cuts.as_slice()), (20, &[10][..]));
        for night in 0..1000 {
            bounds.complete();
            bounds.extend(30 + night);
            assert!(bounds.cuts.is_empty(), "a thousand nights leave no trace");
        }
    }
}
