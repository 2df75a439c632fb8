//! Which records of an archive are meant: one topic's, in a range of offsets for each partition.

use std::collections::BTreeMap;
use std::sync::Arc;

use connectors::kafka::options::{End, PartitionOffsets, Start};
use connectors::parquet::archive::{Listing, Location, Site};
use connectors::parquet::archived::{self, ArchivedFile};
use engine::{Error, OffsetRange, Partition, Result};

const MICROS_PER_MILLI: i64 = 1000;

/// The records of one topic of an archive, or a range of them.
#[derive(Clone, Debug)]
pub struct Selection {
    /// The topic.
    pub topic: String,
    /// The id that the topic had, if the brokers had ids.
    pub topic_id: Option<String>,
    /// The topic's files, by partition and offset.
    pub files: Vec<ArchivedFile>,
    /// The offsets that are meant, for each partition that has files.
    pub ranges: BTreeMap<i32, OffsetRange>,
}

impl Selection {
    /// Returns the records of `topic` in the archive at `location`, from `from` to `to`; without a topic those of the only one. A
    /// time stands for the first record of that time or later, as it does in Kafka.
    ///
    /// # Errors
    /// When the archive can't be read, has not just this topic, or a bound is not one of an archive.
    pub fn new(location: &Location, topic: Option<&str>, from: &Start, to: &End) -> Result<Self> {
        let files = whole(location, &location.site()?)?;
        let topic = chosen(location, &files, topic)?;
        let files: Vec<_> = files
            .into_iter()
            .filter(|file| *file.partition.stream == *topic)
            .collect();
        let mut selection = Self {
            topic_id: files.iter().find_map(|file| file.topic_id.clone()),
            topic,
            ranges: BTreeMap::new(),
            files,
        };
        for (index, whole) in selection.whole() {
            let range = OffsetRange {
                from: selection.start(index, whole, from)?,
                to: selection.end(index, whole, to)?,
            };
            selection.check(index, whole, range)?;
            selection.ranges.insert(index, range);
        }
        Ok(selection)
    }

    /// Returns the partition `index` of the topic.
    pub fn partition(&self, index: i32) -> Partition {
        Partition::new(self.topic.as_str(), index)
    }

    /// Returns the least time of all records, in microseconds since 1970, as far as the files tell.
    pub fn oldest_micros(&self) -> Option<i64> {
        self.files
            .iter()
            .filter_map(|file| file.times)
            .map(|(least, _)| least)
            .min()
    }

    /// Returns the offsets of each partition from its first file to its last.
    fn whole(&self) -> BTreeMap<i32, OffsetRange> {
        let mut ranges: BTreeMap<i32, OffsetRange> = BTreeMap::new();
        for file in &self.files {
            let range = ranges.entry(file.partition.index).or_insert(file.offsets);
            range.from = range.from.min(file.offsets.from);
            range.to = range.to.max(file.offsets.to);
        }
        ranges
    }

    /// Refuses a range that the archive does not hold: what is asked for and not there would count as restored.
    fn check(&self, index: i32, whole: OffsetRange, range: OffsetRange) -> Result<()> {
        let is_held = whole.from <= range.from && range.from <= range.to && range.to <= whole.to;
        match is_held {
            true => Ok(()),
            false => Err(Error::Invalid(format!(
                "{}: the offsets from {} to {} are no range of the archive, which holds {whole}",
                self.partition(index),
                range.from,
                range.to
            ))),
        }
    }

    fn start(&self, index: i32, whole: OffsetRange, from: &Start) -> Result<i64> {
        match from {
            Start::Earliest => Ok(whole.from),
            Start::Time(milliseconds) => self.offset_at(index, whole, *milliseconds),
            Start::Offsets(offsets) => self.named(index, offsets),
            Start::Latest | Start::Committed | Start::Ago(_) => Err(unfit("--from", "earliest")),
        }
    }

    fn end(&self, index: i32, whole: OffsetRange, to: &End) -> Result<i64> {
        match to {
            End::Latest => Ok(whole.to),
            End::Time(milliseconds) => self.offset_at(index, whole, *milliseconds),
            End::Offsets(offsets) => self.named(index, offsets),
            End::Ago(_) => Err(unfit("--to", "latest")),
        }
    }

    /// Returns the first offset of a partition whose record has this time or a later one; its end if there is none.
    fn offset_at(&self, index: i32, whole: OffsetRange, milliseconds: i64) -> Result<i64> {
        let micros = milliseconds.saturating_mul(MICROS_PER_MILLI);
        let mut found = whole.to;
        for file in self.files.iter().filter(|file| file.partition.index == index) {
            if file.offsets.from >= found {
                break;
            }
            if let Some(offset) = file.offset_at(micros)? {
                found = found.min(offset);
            }
        }
        Ok(found)
    }

    fn named(&self, index: i32, offsets: &PartitionOffsets) -> Result<i64> {
        let of_topic = offsets.get(&(Some(self.topic.clone()), index));
        let found = of_topic.or_else(|| offsets.get(&(None, index)));
        found.copied().ok_or_else(|| {
            Error::Invalid(format!(
                "expected an offset for each partition of {}: there is none for partition {index}",
                self.topic
            ))
        })
    }
}

/// Returns the files of an archive that holds all that it is to hold: what is missing would not be noticed later.
fn whole(location: &Location, site: &Arc<dyn Site>) -> Result<Vec<ArchivedFile>> {
    let refused = |problem: String| Err(Error::Invalid(format!("the archive {location}: {problem}")));
    let names = site.names()?;
    if names.is_empty() {
        return Err(Error::Invalid(format!(
            "{location} holds no Parquet files: expected an archive that millstream replay made"
        )));
    }
    let listing = Listing::read(&**site)?;
    if let Some(problem) = listing.problems.first() {
        return refused(format!("{problem}: millstream verify names all that is wrong"));
    }
    if listing.is_followed {
        return refused(
            "a replay with --follow works on it, or was killed: stop it, or start it again and stop it".to_owned(),
        );
    }
    if !listing.is_at_rest {
        return refused("it is not complete: give the command of its replay or compaction again first".to_owned());
    }
    if listing.header.settings.layout == "parsed" {
        return refused(
            "it has the layout parsed: the records as they were are in the layout envelope or both".to_owned(),
        );
    }
    let found = names.iter().filter(|name| listing.files.contains_key(*name)).count();
    if found != names.len() || found != listing.files.len() {
        return refused(format!(
            "it holds {} files, and its manifest lists {}, {found} of them: millstream verify names them",
            names.len(),
            listing.files.len()
        ));
    }
    site.check_lengths(&listing.files.values().collect::<Vec<_>>())?;
    Ok(archived::listed(site, listing.files.values(), &listing.header.topics))
}

/// Returns the topic that is meant.
fn chosen(location: &Location, files: &[ArchivedFile], topic: Option<&str>) -> Result<String> {
    let mut topics: Vec<&str> = files.iter().map(|file| &*file.partition.stream).collect();
    topics.dedup();
    match (topic, topics.as_slice()) {
        (Some(topic), topics) if topics.contains(&topic) => Ok(topic.to_owned()),
        (None, [only]) => Ok((*only).to_owned()),
        (Some(topic), topics) => Err(Error::Invalid(format!(
            "the archive {location} holds no topic {topic}, it holds {}",
            topics.join(", ")
        ))),
        (None, topics) => Err(Error::Invalid(format!(
            "the archive {location} holds {} topics, {}: say which one with --topic",
            topics.len(),
            topics.join(", ")
        ))),
    }
}

fn unfit(option: &str, plain: &str) -> Error {
    Error::Invalid(format!(
        "{option} of an archive: expected {plain}, a time such as 2026-01-31T08:00:00Z, or offsets such as 0:120,1:4000, so \
         that the same command means the same records"
    ))
}
