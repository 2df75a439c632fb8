//! The records of an archive against those of topics: the ones it was made of, or the one that it went back to.

use std::sync::Arc;
use std::time::Duration;

use connectors::envelope::Envelope;
use connectors::kafka::options::{DataLossPolicy, End, KafkaColumn, SourceOptions, Start};
use connectors::kafka::ranges::{PartitionRange, Ranges};
use connectors::kafka::topic;
use connectors::parquet::archive::{Listing, Site};
use connectors::parquet::archived::{self, ArchivedFile, PartitionRows};
use engine::metrics::Metrics;
use engine::pipeline::Stop;
use engine::queue::Receiver;
use engine::source::{Event, Intake};
use engine::{Error, OffsetRange, Partition, Result};

use super::super::PartitionReport;
use super::super::parallel::in_parallel;
use super::super::selection::Selection;
use super::gaps::{self, Causes, Gaps};
use super::report::{Remark, Report};
use super::{Against, Plan, Restored};

/// Bytes of records that wait to be compared, a thread.
const QUEUE_BYTES: usize = 8 << 20;

/// How long a thread waits for records before it looks at the stop signal again.
const STOP_CHECK: Duration = Duration::from_millis(50);

/// Differences of a partition that are told one by one.
const TOLD_MAX: usize = 3;

/// The columns that are compared.
const COLUMNS: [KafkaColumn; 5] = [
    KafkaColumn::Offset,
    KafkaColumn::Timestamp,
    KafkaColumn::Key,
    KafkaColumn::Headers,
    KafkaColumn::Value,
];

/// One partition of the archive, and what to compare it with.
struct Pair {
    partition: Partition,
    archived: OffsetRange,
    range: PartitionRange,
    /// Whether records are the same by their offset, or by their order.
    by_offset: bool,
    /// Why one side may lack records of the other.
    leave: Leave,
    /// Where the archive has no record and the brokers may tell why; none of a topic that it was restored to.
    gaps: Vec<OffsetRange>,
}

/// What may be missing by right.
#[derive(Clone, Copy)]
struct Leave {
    /// The brokers delete records that have a successor of the same key.
    is_compacted: bool,
    /// The archive leaves out records whose value can't be decoded.
    is_choosy: bool,
}

/// What a comparison found.
#[derive(Default)]
struct Compared {
    rows: u64,
    /// Records that differ.
    differing: Differences,
    /// Records of the topic that the archive has not.
    absent: Differences,
    /// What the brokers have where the archive has no record.
    gaps: Option<Gaps>,
    /// Records of the archive that the brokers have no more, of a compacted topic.
    compacted: u64,
    /// Records of the topic that an archive has not which leaves out bad ones.
    left_out: u64,
}

/// Records that should not be as they are: how many, and the first of them in words.
#[derive(Default)]
struct Differences {
    count: usize,
    told: Vec<String>,
}

/// Compares; returns whether it came to its end.
pub(super) fn check(
    plan: &Plan,
    site: &Arc<dyn Site>,
    against: &Against,
    listing: &Listing,
    stop: &Stop,
    metrics: &Metrics,
    report: &mut Report,
) -> Result<bool> {
    if listing.header.settings.layout == "parsed" {
        return Err(Error::Invalid(format!(
            "the archive {} has the layout parsed, without the records as they were: there is nothing to compare",
            plan.location
        )));
    }
    let mut topics: Vec<_> = report.partitions.iter().map(|part| part.held.topic.clone()).collect();
    topics.dedup();
    if let (Some(restored), [_, _, ..]) = (&against.restored_as, topics.as_slice()) {
        return Err(Error::Invalid(format!(
            "the archive holds the topics {}: say which one is {} with --topic",
            topics.join(", "),
            restored.topic
        )));
    }
    let entries = listing.files.values().filter(|entry| topics.contains(&entry.topic));
    let files = archived::listed(site, entries, &listing.header.topics);
    for topic in topics {
        let is_committed = listing.header.settings.isolation == "read_committed";
        let ranges = Ranges::open(options(against, &topic, is_committed))?;
        let mut pairs = pairs(&ranges, &topic, plan, against, listing, report)?;
        pairs.retain(|pair| is_readable(&pair.partition, report));
        let results = in_parallel(plan.threads, &pairs, |pair| {
            examine(&ranges, pair, &files, stop).inspect(|compared| {
                metrics
                    .rows_in
                    .add(compared.as_ref().map_or(0, |compared| compared.rows));
            })
        });
        for (pair, compared) in pairs.iter().zip(results) {
            let Some(compared) = compared? else {
                return Ok(false);
            };
            tell(pair, compared, report);
        }
    }
    Ok(true)
}

/// Asks what the brokers have where the archive has no record, and compares the records; `None` when it was asked to stop.
fn examine(ranges: &Ranges, pair: &Pair, files: &[ArchivedFile], stop: &Stop) -> Result<Option<Compared>> {
    let Some(gaps) = gaps::explain(ranges, &pair.partition, &pair.gaps, stop)? else {
        return Ok(None);
    };
    let compared = compare(ranges, pair, files, stop)?;
    Ok(compared.map(|compared| Compared {
        gaps: Some(gaps),
        ..compared
    }))
}

/// Returns whether the files of a partition are whole; one that is damaged is told, and not compared.
fn is_readable(partition: &Partition, report: &mut Report) -> bool {
    let is_of_it = |remark: &Remark| {
        remark.file.is_some()
            && remark.topic.as_deref() == Some(&*partition.stream)
            && remark.partition == Some(partition.index)
    };
    let is_damaged = report.findings.iter().any(is_of_it);
    if is_damaged {
        let problem = "its records were not compared, since its files are not what they should be".to_owned();
        report.notes.push(Remark::of_partition(partition, problem));
    }
    !is_damaged
}

fn options(against: &Against, topic: &str, is_committed: bool) -> SourceOptions {
    let topics = vec![against.topic(topic).to_owned()];
    let mut options = SourceOptions::new(against.connection.clone(), topics, "millstream-verify");
    options.commits = false;
    options.to = Some(End::Latest);
    options.columns = COLUMNS.to_vec();
    options.read_committed = is_committed;
    // What is gone from the brokers is told as a note: the archive has it.
    options.on_data_loss = DataLossPolicy::Skip;
    options
}

/// Returns what of the archive's partitions can be compared with what.
fn pairs(
    ranges: &Ranges,
    name: &str,
    plan: &Plan,
    against: &Against,
    listing: &Listing,
    report: &mut Report,
) -> Result<Vec<Pair>> {
    let found = topic::look_up(&against.connection, against.topic(name))?;
    let settings = found.and_then(|topic| topic.settings);
    let leave = Leave {
        is_compacted: settings.is_some_and(|settings| settings.is_compacted),
        is_choosy: against.restored_as.is_none() && listing.header.settings.skips_bad_rows(),
    };
    let of_topic = |part: &&PartitionReport| part.topic == name;
    let mut parts: Vec<_> = report
        .partitions
        .iter()
        .map(|part| &part.held)
        .filter(of_topic)
        .cloned()
        .collect();
    let (bounds, ids) = ranges.bounds()?;
    if let Some(restored) = &against.restored_as {
        restored.narrow(plan, name, &mut parts)?;
        return Ok(restored_pairs(name, &parts, bounds, leave, report));
    }
    if let Some(Some(id)) = listing.header.topics.get(name)
        && let Some(now) = ids.get(name).filter(|now| *now != id)
    {
        report.findings.push(Remark::of_archive(format!(
            "the topic {name} is another one than the archive was made of: its id was {id}, it is {now}"
        )));
        return Ok(Vec::new());
    }
    let held = |partition: &Partition| bounds.iter().find(|range| range.partition == *partition);
    let pair = |part: &PartitionReport| {
        let partition = Partition::new(name, part.partition);
        let held = held(&partition).map_or(OffsetRange { from: 0, to: 0 }, |range| range.offsets);
        pair_of(partition, part.offsets(), held, leave, report)
    };
    Ok(parts.iter().filter_map(pair).collect())
}

impl Against {
    /// Returns the topic to compare the archive's topic `name` with.
    fn topic<'a>(&'a self, name: &'a str) -> &'a str {
        self.restored_as.as_ref().map_or(name, |restored| &restored.topic)
    }
}

impl Restored {
    /// Leaves only what was restored of the partitions `parts` of the topic `name`.
    fn narrow(&self, plan: &Plan, name: &str, parts: &mut Vec<PartitionReport>) -> Result<()> {
        if (&self.from, &self.to) == (&Start::Earliest, &End::Latest) {
            return Ok(());
        }
        let ranges = Selection::new(&plan.location, Some(name), &self.from, &self.to)?.ranges;
        // A partition without files has nothing that could be restored.
        parts.retain(|part| ranges.contains_key(&part.partition));
        for part in parts {
            let range = ranges[&part.partition];
            (part.from, part.to) = (range.from, range.to);
        }
        Ok(())
    }
}

/// Returns what of an archive's topic can be compared with the topic that it was restored to: by order, since offsets differ.
fn restored_pairs(
    name: &str,
    parts: &[PartitionReport],
    bounds: Vec<PartitionRange>,
    leave: Leave,
    report: &mut Report,
) -> Vec<Pair> {
    let highest = bounds.iter().map(|range| range.partition.index).max().unwrap_or(-1);
    for part in parts
        .iter()
        .filter(|part| part.partition > highest && part.rows > 0 && part.from < part.to)
    {
        let partition = Partition::new(name, part.partition);
        let problem = "the topic that it was restored to has no such partition".to_owned();
        report.findings.push(Remark::of_partition(&partition, problem));
    }
    let pair = |range: PartitionRange| {
        let part = parts.iter().find(|part| part.partition == range.partition.index);
        Pair {
            partition: Partition::new(name, range.partition.index),
            archived: part.map_or(OffsetRange { from: 0, to: 0 }, PartitionReport::offsets),
            range,
            by_offset: false,
            leave,
            gaps: Vec::new(),
        }
    };
    bounds.into_iter().map(pair).collect()
}

/// Returns what of a partition both the archive and the brokers hold, and says what only one of them does.
fn pair_of(
    partition: Partition,
    archived: OffsetRange,
    held: OffsetRange,
    leave: Leave,
    report: &mut Report,
) -> Option<Pair> {
    let offsets = OffsetRange {
        from: archived.from.max(held.from),
        to: archived.to.min(held.to),
    };
    let deleted_to = offsets.from.min(archived.to);
    if archived.from < deleted_to {
        let note = format!(
            "the brokers have deleted the records of [{}, {deleted_to}) since",
            archived.from
        );
        report.notes.push(Remark::of_partition(&partition, note));
    }
    if held.to < archived.to {
        let problem = format!(
            "the partition ends at offset {}, and the archive at {}",
            held.to, archived.to
        );
        report.findings.push(Remark::of_partition(&partition, problem));
    }
    let gaps = report.partition_mut(&partition).map(|part| gaps::before(part, held.to));
    let gaps = gaps.unwrap_or_default();
    if offsets.from >= offsets.to {
        // Nothing is left to compare, and of the gaps nothing but that.
        if !gaps.is_empty() {
            Causes::deleted(&gaps).tell(&partition, leave.is_choosy, report);
        }
        return None;
    }
    Some(Pair {
        range: PartitionRange {
            partition: partition.clone(),
            offsets,
        },
        partition,
        archived: offsets,
        by_offset: true,
        leave,
        gaps,
    })
}

/// Reads both sides to their ends; `None` when it was asked to stop.
fn compare(ranges: &Ranges, pair: &Pair, files: &[ArchivedFile], stop: &Stop) -> Result<Option<Compared>> {
    let mut archive = Side::new(PartitionRows::new(&pair.partition, files, pair.archived));
    let mut compared = Compared::default();
    let (intake, receiver) = Intake::new(QUEUE_BYTES);
    // Dropped before what reads, which may wait for room.
    let reading = ranges.read(&pair.range, intake)?;
    let outcome = read_all(&receiver, stop, |records| archive.meet(pair, &records, &mut compared));
    drop(receiver);
    drop(reading);
    if !outcome? {
        return Ok(None);
    }
    archive.leave(pair, &mut compared)?;
    Ok(Some(compared))
}

/// Gives all records of a range to `meet`; returns whether it came to the end.
fn read_all(receiver: &Receiver<Event>, stop: &Stop, mut meet: impl FnMut(Envelope) -> Result<()>) -> Result<bool> {
    while !stop.is_raised() {
        let Some((event, _permit)) = receiver.receive(STOP_CHECK) else {
            continue;
        };
        match event {
            Event::Batch(batch) => meet(Envelope::new(&batch.to_records()?)?)?,
            Event::Ended { .. } => return Ok(true),
            Event::Failed(error) => return Err(error),
            Event::Advanced { .. } | Event::Added { .. } | Event::Latest { .. } => {}
        }
    }
    Ok(false)
}

/// The records of the archive that were not met yet.
struct Side {
    rows: PartitionRows,
    run: Option<Envelope>,
    at: usize,
}

impl Side {
    fn new(rows: PartitionRows) -> Self {
        Self { rows, run: None, at: 0 }
    }

    /// Moves to the next record; returns whether there is one.
    fn fill(&mut self) -> Result<bool> {
        if self.run.as_ref().is_none_or(|run| self.at == run.len()) {
            self.run = self.rows.next_run()?;
            self.at = 0;
        }
        Ok(self.run.is_some())
    }

    /// Compares the records of the topic with the next ones of the archive.
    fn meet(&mut self, pair: &Pair, records: &Envelope, compared: &mut Compared) -> Result<()> {
        for row in 0..records.len() {
            let theirs = records.record(row);
            while self.fill()? && pair.by_offset && self.offset() < theirs.offset {
                self.pass(pair, compared);
            }
            let ours = self.run.as_ref().map(|run| run.record(self.at));
            let Some(ours) = ours.filter(|ours| !pair.by_offset || ours.offset == theirs.offset) else {
                match pair.leave.is_choosy {
                    true => compared.left_out += 1,
                    false => compared
                        .absent
                        .tell(|| format!("the record of offset {} is not in the archive", theirs.offset)),
                }
                continue;
            };
            if let Some(part) = ours.difference(&theirs) {
                compared.differing.tell(|| match pair.by_offset {
                    true => format!("the record of offset {} has another {part}", ours.offset),
                    false => format!(
                        "the record of offset {} has another {part}, at {}",
                        ours.offset, theirs.offset
                    ),
                });
            }
            compared.rows += 1;
            self.at += 1;
        }
        Ok(())
    }

    /// Passes over the records that the topic has not.
    fn leave(&mut self, pair: &Pair, compared: &mut Compared) -> Result<()> {
        while self.fill()? {
            self.pass(pair, compared);
        }
        Ok(())
    }

    fn offset(&self) -> i64 {
        self.run.as_ref().map_or(i64::MAX, |run| run.offsets()[self.at])
    }

    fn pass(&mut self, pair: &Pair, compared: &mut Compared) {
        match pair.leave.is_compacted {
            true => compared.compacted += 1,
            false => compared
                .differing
                .tell(|| format!("the record of offset {} is not in the topic", self.offset())),
        }
        self.at += 1;
    }
}

impl Differences {
    fn tell(&mut self, difference: impl FnOnce() -> String) {
        self.count += 1;
        if self.told.len() < TOLD_MAX {
            self.told.push(difference());
        }
    }
}

/// Puts what a comparison found in the report.
fn tell(pair: &Pair, mut compared: Compared, report: &mut Report) {
    let partition = &pair.partition;
    let missing = match &compared.gaps {
        Some(Gaps::Explained(causes)) => causes.records(),
        Some(Gaps::Unknown(_)) | None => 0,
    };
    // The same records, with all their offsets.
    if missing > 0 && missing == compared.absent.count as u64 {
        compared.absent = Differences::default();
    }
    let is_whole = compared.differing.count + compared.absent.count == 0;
    for differences in [compared.differing, compared.absent] {
        tell_differences(partition, differences, report);
    }
    let counted = [
        (compared.compacted, "of the archive were deleted by compaction since"),
        (
            compared.left_out,
            "of the topic are not in the archive, which leaves out those that can't be decoded (on_bad skip)",
        ),
    ];
    for (count, what) in counted.into_iter().filter(|(count, _)| *count > 0) {
        let note = format!("{count} records {what}");
        report.notes.push(Remark::of_partition(partition, note));
    }
    let Some(part) = report.partition_mut(partition) else {
        return;
    };
    part.compared = Some(compared.rows);
    let gaps = part.offsets_without_record.saturating_sub(compared.left_out);
    match compared.gaps {
        Some(Gaps::Explained(causes)) if pair.by_offset => causes.tell(partition, pair.leave.is_choosy, report),
        Some(Gaps::Unknown(reason)) if gaps > 0 && is_whole => {
            let cause = match pair.leave.is_compacted {
                true => "compaction or transactions (markers, aborted records)",
                false => "transactions (markers, aborted records)",
            };
            let note = format!(
                "{gaps} offsets have no record in the topic either: {cause}; which of them can't be told, since {reason}"
            );
            report.notes.push(Remark::of_partition(partition, note));
        }
        Some(Gaps::Explained(_) | Gaps::Unknown(_)) | None => {}
    }
}

fn tell_differences(partition: &Partition, differences: Differences, report: &mut Report) {
    let told = differences.told.into_iter();
    report
        .findings
        .extend(told.map(|text| Remark::of_partition(partition, text)));
    if differences.count > TOLD_MAX {
        let more = format!("and {} more records differ", differences.count - TOLD_MAX);
        report.findings.push(Remark::of_partition(partition, more));
    }
}
