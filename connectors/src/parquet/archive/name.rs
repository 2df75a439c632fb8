//! The names of an archive's files: what they hold.

use std::path::Path;

use engine::{OffsetRange, Origin, Partition};

use super::super::naming;

/// What a file's name says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileName {
    /// The number of the partition.
    pub partition: i32,
    /// The offsets that the file covers.
    pub offsets: OffsetRange,
}

/// Returns the name of the file of one partition's offsets, relative to the archive. `folders` are those by columns, with
/// `/` between them; the folder of the topic comes after them, unless it is one of them.
pub fn file_name(folders: Option<&str>, partition: &Partition, offsets: OffsetRange) -> String {
    let partition = partition.clone();
    let name = naming::append(&Origin { partition, offsets });
    let is_of_topic = |folder: &str| folder.starts_with("topic=");
    match (folders, name.split_once('/')) {
        (Some(folders), Some((_, file))) if folders.split('/').any(is_of_topic) => format!("{folders}/{file}"),
        (Some(folders), _) => format!("{folders}/{name}"),
        (None, _) => name,
    }
}

/// Returns whether a name that was read from disk stays inside the folder it is relative to.
pub fn is_inside(name: &str) -> bool {
    naming::is_inside(name)
}

impl FileName {
    /// Returns what a name says; `None` when it is not one of an archive's files.
    pub fn parse(name: &str) -> Option<Self> {
        let name = Path::new(name).file_name()?.to_str()?;
        let rest = name.strip_prefix("partition-")?.strip_suffix(".parquet")?;
        let (partition, offsets) = rest.split_once("-offset-")?;
        let (from, to) = offsets.split_once('-')?;
        Some(Self {
            partition: partition.parse().ok()?,
            offsets: OffsetRange {
                from: from.parse().ok()?,
                to: to.parse().ok()?,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_the_partition_and_the_offsets_and_reads_back() {
        let offsets = OffsetRange {
            from: 120_000,
            to: 240_000,
        };
        let partition = Partition::new("web", 3);
        let file = "partition-00003-offset-00000000000000120000-00000000000000240000.parquet";
        let name = file_name(None, &partition, offsets);
        assert_eq!(name, format!("topic=web/{file}"));
        assert_eq!(FileName::parse(&name), Some(FileName { partition: 3, offsets }));
        let name = file_name(Some("date=2026-01-31/topic=web"), &partition, offsets);
        assert_eq!(name, format!("date=2026-01-31/topic=web/{file}"));
        let name = file_name(Some("date=2026-01-31"), &partition, offsets);
        assert_eq!(name, format!("date=2026-01-31/topic=web/{file}"));
    }

    #[test]
    fn names_of_other_files_say_nothing() {
        for name in [
            "table.parquet",
            "partition-1-offset-2-3.txt",
            "partition-x-offset-2-3.parquet",
            "",
        ] {
            assert_eq!(FileName::parse(name), None, "{name}");
        }
    }
}
