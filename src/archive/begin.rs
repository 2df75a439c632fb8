//! The start of a replay: a new archive, one to go on with, or one that is done.

use std::collections::BTreeMap;

use connectors::kafka::options::{End, SourceOptions};
use connectors::kafka::ranges::{PartitionRange, Ranges};
use connectors::parquet::archive::{ArchiveFolder, ArchiveHeader, PartitionBounds, Settings};
use engine::{Error, Positions, Result};

use super::{ReplayOptions, segments};

/// A replay that may begin to read.
pub(super) struct Begun {
    pub(super) archive: ArchiveFolder,
    /// The topics; `None` when nothing is left to be read.
    pub(super) ranges: Option<Ranges>,
    pub(super) pending: Vec<PartitionRange>,
    /// Whether the archive did not exist before.
    pub(super) is_new: bool,
}

/// Opens the archive, and fixes the bounds of what it is to hold.
///
/// A folder without an archive is not touched before the brokers have answered.
///
/// # Errors
/// When the folder is of another replay or can't be written, or the bounds do not exist.
pub(super) fn begin(options: &ReplayOptions, settings: Settings) -> Result<Begun> {
    if ArchiveHeader::read(&options.dir)?.is_some() {
        return go_on(options, &settings, ArchiveFolder::open(&options.dir)?);
    }
    let ranges = Ranges::open(options.source.clone())?;
    let header = new_header(options, settings, &ranges)?;
    let mut archive = ArchiveFolder::open(&options.dir)?;
    if archive.header().is_some() {
        // Another process has begun it meanwhile.
        return go_on(options, &header.settings, archive);
    }
    archive.set_header(header)?;
    let header = archive.header().expect("it was just set");
    Ok(Begun {
        pending: segments::pending(header, &archive.contents()?),
        ranges: Some(ranges),
        archive,
        is_new: true,
    })
}

fn new_header(options: &ReplayOptions, settings: Settings, ranges: &Ranges) -> Result<ArchiveHeader> {
    let (bounds, ids) = ranges.bounds()?;
    let mut header = ArchiveHeader::new(settings);
    header.cluster_id = ranges.cluster_id();
    header.pattern.clone_from(&options.source.topic_pattern);
    header.from = options.source.from.to_string();
    header.to = end_of(&options.source)?.to_string();
    header.partitions = bounds.iter().map(partition_bounds).collect();
    let names = header.partitions.iter().map(|bounds| bounds.topic.clone());
    header.topics = names.map(|topic| (topic.clone(), ids.get(&topic).cloned())).collect();
    Ok(header)
}

fn partition_bounds(range: &PartitionRange) -> PartitionBounds {
    PartitionBounds {
        topic: range.partition.stream.to_string(),
        partition: range.partition.index,
        from: range.offsets.from,
        to: range.offsets.to,
        archived: range.offsets.from,
        cuts: Vec::new(),
    }
}

/// Goes on with an archive: to the end that it was given, or to another one.
fn go_on(options: &ReplayOptions, settings: &Settings, mut archive: ArchiveFolder) -> Result<Begun> {
    let header = archive.header().expect("the caller has seen it").clone();
    let checked = check_same(options, settings, &header);
    if let Err(error) = checked {
        // Why it can't go on is what is told.
        let _ = archive.close();
        return Err(error);
    }
    let mut source = options.source.clone();
    source.topic_pattern = None;
    source.topics = header.topics.keys().cloned().collect();
    let end = end_of(&source)?.to_string();
    let is_other_end = header.to != end;
    if header.is_complete() && !is_other_end {
        return Ok(Begun {
            archive,
            ranges: None,
            pending: Vec::new(),
            is_new: false,
        });
    }
    let ranges = Ranges::open(source)?;
    if is_other_end {
        let header = extended(header, end, &ranges)?;
        archive.set_header(header)?;
    }
    let header = archive.header().expect("it was there before");
    let pending = segments::pending(header, &archive.contents()?);
    let ranges = (!pending.is_empty() || !header.is_complete()).then_some(ranges);
    Ok(Begun {
        archive,
        ranges,
        pending,
        is_new: false,
    })
}

/// Returns the header with another end. Ranges only grow; where one ended before, a file ends.
fn extended(mut header: ArchiveHeader, end: String, ranges: &Ranges) -> Result<ArchiveHeader> {
    let entry = |bounds: &PartitionBounds| (bounds.partition(), bounds.to);
    let ends = Positions(header.partitions.iter().map(entry).collect::<BTreeMap<_, _>>());
    let renewed = ranges.renewed_ends(&ends)?;
    for bounds in &mut header.partitions {
        let to = renewed.get(&bounds.partition()).unwrap_or(bounds.to);
        if to > bounds.to {
            if bounds.to > bounds.from {
                bounds.cuts.push(bounds.to);
            }
            bounds.to = to;
        }
    }
    header.to = end;
    Ok(header)
}

/// Checks that an archive is of the replay that is asked for, but for its end.
fn check_same(options: &ReplayOptions, settings: &Settings, header: &ArchiveHeader) -> Result<()> {
    let refused = |what: &str, was: &str, now: &str| {
        Err(Error::Invalid(format!(
            "the archive in {} is of another replay: {what} was `{was}`, now it is `{now}`; use another folder",
            options.dir.display()
        )))
    };
    let source = &options.source;
    let was: Vec<_> = header.topics.keys().map(String::as_str).collect();
    let mut now: Vec<_> = source.topics.iter().map(String::as_str).collect();
    now.sort_unstable();
    let pattern = |pattern: &Option<String>| pattern.clone().unwrap_or_else(|| "none".to_owned());
    if header.pattern != source.topic_pattern {
        return refused(
            "the pattern",
            &pattern(&header.pattern),
            &pattern(&source.topic_pattern),
        );
    }
    // Which topics a pattern chose is fixed at the first start.
    if source.topic_pattern.is_none() && was != now {
        return refused("the topic", &was.join(","), &now.join(","));
    }
    let from = source.from.to_string();
    if header.from != from {
        return refused("the start", &header.from, &from);
    }
    match header.settings.difference(settings) {
        Some((name, was, now)) => refused(&name, &was, &now),
        None => Ok(()),
    }
}

fn end_of(source: &SourceOptions) -> Result<&End> {
    let end = source.to.as_ref();
    end.ok_or_else(|| Error::Invalid("a replay into an archive needs an end".to_owned()))
}
