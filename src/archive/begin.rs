//! The start of a replay: a new archive, one to go on with, or one that is done.

use std::collections::BTreeMap;

use connectors::kafka::options::{End, SourceOptions};
use connectors::kafka::ranges::{PartitionRange, Ranges};
use connectors::parquet::archive::{ArchiveHeader, ArchiveWriter, NO_END, PartitionBounds, Settings};
use engine::{Error, Positions, Result};

use super::{ReplayOptions, segments};

/// A replay that may begin to read.
pub(super) struct Begun {
    pub(super) archive: ArchiveWriter,
    /// The topics; `None` when there was no need to look at them.
    pub(super) ranges: Option<Ranges>,
    pub(super) pending: Vec<PartitionRange>,
    /// Whether the archive did not exist before.
    pub(super) is_new: bool,
    /// Whether it is complete already.
    pub(super) is_done: bool,
}

/// Opens the archive, and fixes the bounds of what it is to hold. `end` is the end in words.
///
/// A folder without an archive is not touched before the brokers have answered.
///
/// # Errors
/// When the folder is of another replay or can't be written, or the bounds do not exist.
pub(super) fn begin(options: &ReplayOptions, settings: &Settings, end: &str) -> Result<Begun> {
    if ArchiveHeader::read(&*options.location.site()?)?.is_some() {
        return go_on(options, settings, end, ArchiveWriter::open(&options.location)?);
    }
    let ranges = Ranges::open(options.source.clone())?;
    let header = new_header(options, settings.clone(), end, &ranges)?;
    let mut archive = ArchiveWriter::open(&options.location)?;
    if archive.header().is_some() {
        // Another process has begun it meanwhile.
        return go_on(options, settings, end, archive);
    }
    archive.set_header(header)?;
    let header = archive.header().expect("it was just set");
    Ok(Begun {
        pending: segments::pending(header, &archive.contents()?),
        ranges: Some(ranges),
        archive,
        is_new: true,
        is_done: false,
    })
}

fn new_header(options: &ReplayOptions, settings: Settings, end: &str, ranges: &Ranges) -> Result<ArchiveHeader> {
    let (bounds, ids) = ranges.bounds()?;
    let mut header = ArchiveHeader::new(settings);
    header.cluster_id = ranges.cluster_id();
    header.pattern.clone_from(&options.source.topic_pattern);
    header.from = options.source.from.to_string();
    header.to = end.to_owned();
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

/// Goes on with an archive: one that is not complete to the end that was fixed when it began; a complete one to what an end
/// that moves is now, as that of a nightly command; either to another end.
fn go_on(options: &ReplayOptions, settings: &Settings, end: &str, mut archive: ArchiveWriter) -> Result<Begun> {
    let gone_on = check_same(options, settings, archive.header().expect("the caller has seen it"))
        .and_then(|()| renew(options, end, &mut archive));
    match gone_on {
        Ok((ranges, pending)) => Ok(Begun {
            is_done: pending.is_empty() && archive.header().is_some_and(|header| header.is_complete()),
            archive,
            ranges,
            pending,
            is_new: false,
        }),
        Err(error) => {
            // Why it can't go on is what is told.
            let _ = archive.close();
            Err(error)
        }
    }
}

/// Gives an archive its end as it is now, if that is due. Returns the topics, if they had to be looked at, and what is left.
fn renew(
    options: &ReplayOptions,
    end: &str,
    archive: &mut ArchiveWriter,
) -> Result<(Option<Ranges>, Vec<PartitionRange>)> {
    let header = archive.header().expect("the caller has seen it").clone();
    let mut source = options.source.clone();
    let is_due = header.to != end || end == NO_END || header.is_complete() && moves(end_of(&source)?);
    if header.is_complete() && !is_due {
        return Ok((None, Vec::new()));
    }
    if !is_due {
        // What was chosen when the bounds were fixed.
        source.topic_pattern = None;
        source.topics = header.topics.keys().cloned().collect();
    }
    let ranges = Ranges::open(source)?;
    if is_due {
        let renewed = extended(&header, end_of(&options.source)?, end, &ranges);
        let renewed = renewed.map_err(|problem| match problem {
            Error::Invalid(problem) => Error::Invalid(format!("the archive in {}: {problem}", options.location)),
            other => other,
        })?;
        if renewed != header {
            archive.set_header(renewed)?;
        }
    }
    let header = archive.header().expect("it was there before");
    let pending = segments::pending(header, &archive.contents()?);
    Ok((Some(ranges), pending))
}

/// Returns whether an end in these words is further on when records have come or time has passed.
fn moves(end: &End) -> bool {
    match end {
        End::Latest | End::Ago(_) => true,
        End::Time(_) | End::Offsets(_) => false,
    }
}

/// Returns the header with the end as it is now, `words` in words. Ranges only grow; partitions and topics that were added since join it.
///
/// # Errors
/// When the end lies before what the archive holds. An age may: the archive had another end before.
pub(super) fn extended(header: &ArchiveHeader, end: &End, words: &str, ranges: &Ranges) -> Result<ArchiveHeader> {
    let mut header = header.clone();
    let entry = |bounds: &PartitionBounds| (bounds.partition(), bounds.to);
    let known = Positions(header.partitions.iter().map(entry).collect::<BTreeMap<_, _>>());
    let (now, ids) = ranges.renewed_bounds(&known)?;
    for range in &now {
        let is_it = |bounds: &&mut PartitionBounds| bounds.partition() == range.partition;
        match header.partitions.iter_mut().find(is_it) {
            None => {
                let topic = range.partition.stream.to_string();
                header
                    .topics
                    .entry(topic.clone())
                    .or_insert_with(|| ids.get(&topic).cloned());
                header.partitions.push(partition_bounds(range));
            }
            Some(bounds) if range.offsets.to < bounds.to && !matches!(end, End::Ago(_)) => {
                return Err(before_the_end(end, range.offsets.to, bounds));
            }
            Some(bounds) => bounds.extend(range.offsets.to),
        }
    }
    header
        .partitions
        .sort_by(|one, other| (&one.topic, one.partition).cmp(&(&other.topic, other.partition)));
    header.to = words.to_owned();
    Ok(header)
}

fn before_the_end(end: &End, to: i64, bounds: &PartitionBounds) -> Error {
    let advice = match end {
        End::Latest => "the topic was made again or has lost records: use another folder",
        _ => "give a later end, or use another folder",
    };
    Error::Invalid(format!(
        "the end {end} is offset {to} of {}, before {}, up to which the archive goes already; {advice}",
        bounds.partition(),
        bounds.to
    ))
}

/// Checks that an archive is of the replay that is asked for, but for its end.
fn check_same(options: &ReplayOptions, settings: &Settings, header: &ArchiveHeader) -> Result<()> {
    let refused = |what: &str, was: &str, now: &str| {
        Err(Error::Invalid(format!(
            "the archive in {} is of another replay: {what} was `{was}`, now it is `{now}`; use another place",
            options.location
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
    // A pattern may choose further topics later.
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

/// Returns the end of a replay.
///
/// # Errors
/// When it has none.
pub(super) fn end_of(source: &SourceOptions) -> Result<&End> {
    let end = source.to.as_ref();
    end.ok_or_else(|| Error::Invalid("a replay into an archive needs an end".to_owned()))
}
