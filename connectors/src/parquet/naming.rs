//! The names of files. What of them comes from outside, a topic's name or a value, is escaped and never leads elsewhere.

use std::fmt::Write;
use std::path::{Component, Path};

use engine::{Epoch, Origin};

/// The file that holds the whole result.
pub(super) const TABLE: &str = "table.parquet";

/// The value of a folder for rows without one, in every reader of Hive's layout.
pub(super) const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// Bytes of one name in a path that all common file systems allow.
pub(super) const NAME_BYTES_MAX: usize = 255;

/// Bytes of an escaped stream name. File systems allow 255 for one name, `topic=` takes six; a Kafka topic has at most
/// 249 bytes and none that is escaped.
const STREAM_BYTES_MAX: usize = 249;

/// Returns the name of a file of one partition's rows, relative to the sink's folder.
pub(super) fn append(origin: &Origin) -> String {
    let (partition, offsets) = (&origin.partition, origin.offsets);
    format!(
        "topic={}/partition-{:05}-offset-{:020}-{:020}.parquet",
        escape(&partition.stream),
        partition.index,
        offsets.from,
        offsets.to,
    )
}

/// Returns the name of the file `sequence` of an epoch's rows or changes.
pub(super) fn changes(epoch: Epoch, sequence: u32) -> String {
    format!("epoch-{:020}-{sequence:05}.parquet", epoch.0)
}

/// Returns the name of the file `sequence` of an epoch's rows in one of their folders.
pub(super) fn in_folder(folder: &str, epoch: Epoch, sequence: u32) -> String {
    format!("{folder}/{}", changes(epoch, sequence))
}

/// Returns the name of an epoch's entry in the manifest.
pub(super) fn entry(epoch: Epoch) -> String {
    format!("epoch-{:020}.json", epoch.0)
}

/// Returns the epoch that [`entry`] named.
pub(super) fn entry_epoch(name: &str) -> Option<Epoch> {
    let digits = name.strip_prefix("epoch-")?.strip_suffix(".json")?;
    digits.parse().ok().map(Epoch)
}

/// Returns the name of the staged file `sequence`.
pub(super) fn staged(sequence: u32) -> String {
    format!("{sequence:08}.inprogress")
}

/// Returns whether a name read from disk stays inside the folder it is relative to.
pub(super) fn is_inside(name: &str) -> bool {
    let mut components = Path::new(name).components().peekable();
    components.peek().is_some() && components.all(|component| matches!(component, Component::Normal(_)))
}

/// Returns a value as the name of a folder. All of ASCII is escaped but letters, digits, `-`, `_` and `.`; what is not
/// ASCII stays as it is, since Spark would take each escaped byte of it for a character.
pub(super) fn escape_value(value: &str) -> String {
    escape_where(value, |character| {
        character.is_control()
            || character.is_ascii() && !character.is_ascii_alphanumeric() && !"-_.".contains(character)
    })
}

/// Escapes as Hive does: a byte that means something in a path becomes `%XX`. What is too long is cut, and a hash of the
/// whole keeps two such names apart.
fn escape(stream: &str) -> String {
    let mut escaped = escape_where(stream, |character| {
        character.is_control() || "\"#%'*/:=?\\{}[]^".contains(character)
    });
    if escaped.len() > STREAM_BYTES_MAX {
        let suffix = format!("~{:016x}", fnv1a(stream.as_bytes()));
        escaped.truncate(escaped.floor_char_boundary(STREAM_BYTES_MAX - suffix.len()));
        escaped.push_str(&suffix);
    }
    escaped
}

/// Returns the text with `%XX` for each byte of the characters that `is_escaped` picks. An empty text is no name, and
/// stands for null as it does in Hive.
fn escape_where(text: &str, is_escaped: impl Fn(char) -> bool) -> String {
    if text.is_empty() {
        return NULL.to_owned();
    }
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if !is_escaped(character) {
            escaped.push(character);
            continue;
        }
        let mut bytes = [0; 4];
        for byte in character.encode_utf8(&mut bytes).bytes() {
            write!(escaped, "%{byte:02X}").expect("a string takes any text");
        }
    }
    escaped
}

/// The 64-bit FNV-1a hash: fixed for ever, since names must not change between versions.
fn fnv1a(bytes: &[u8]) -> u64 {
    let step = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

#[cfg(test)]
mod tests {
    use engine::{OffsetRange, Partition};

    use super::*;

    #[track_caller]
    fn check(stream: &str, folder: &str) {
        let origin = Origin {
            partition: Partition::new(stream, 3),
            offsets: OffsetRange { from: 12, to: 240_000 },
        };
        let file = "partition-00003-offset-00000000000000000012-00000000000000240000.parquet";
        assert_eq!(append(&origin), format!("{folder}/{file}"));
        assert!(is_inside(&append(&origin)));
    }

    #[test]
    fn a_topic_is_a_hive_folder() {
        check("web-logs_1.x", "topic=web-logs_1.x");
    }

    #[test]
    fn a_topic_never_leaves_the_folder() {
        check("../x", "topic=..%2Fx");
        check("/etc/passwd", "topic=%2Fetc%2Fpasswd");
        check("..", "topic=..");
        check("a=b\n", "topic=a%3Db%0A");
        check("", "topic=__HIVE_DEFAULT_PARTITION__");
    }

    #[test]
    fn a_long_name_is_cut_and_still_its_own() {
        let (one, other) = (escape(&"ü".repeat(300)), escape(&"ü".repeat(301)));
        assert!(one.len() <= STREAM_BYTES_MAX && one != other, "{one} {other}");
        let topic = "x".repeat(249);
        assert_eq!(escape(&topic), topic, "the longest Kafka topic is kept whole");
    }

    #[test]
    fn the_name_of_an_entry_gives_its_epoch_back() {
        assert_eq!(entry_epoch(&entry(Epoch(17))), Some(Epoch(17)));
        assert_eq!(entry_epoch("epoch-x.json"), None);
    }

    #[test]
    fn names_that_lead_outside_are_noticed() {
        assert!(is_inside("topic=a/b.parquet"));
        for name in ["", "/etc/passwd", "../x", "a/../../b"] {
            assert!(!is_inside(name), "{name}");
        }
    }
}
