//! The replay that a job without a query asks for: the very one of `millstream replay` with the same words as options.

use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

use connectors::kafka::options::End;
use connectors::parquet::archive::FileLimits;
use engine::{Error, Result};

use super::plan::{ArchiveLayout, ArchivePlan, JobPlan, SourceKind, SourcePlan};
use super::records;
use crate::archive::{Layout, ReplayOptions};

/// Returns the replay of an archive's job, by as many threads at most. Secrets are read; no server is asked.
///
/// # Errors
/// When the job has a query, a secret or a file of a format can't be read, or a format does not fit its columns.
pub fn options(plan: &JobPlan, threads: NonZeroUsize) -> Result<ReplayOptions> {
    let (Some(archive), [source]) = (&plan.archive, plan.sources.as_slice()) else {
        return Err(no_archive(plan));
    };
    let SourceKind::Kafka(kafka) = &source.kind else {
        return Err(no_archive(plan));
    };
    let mut records = records::kafka_options(kafka)?;
    records.to.get_or_insert(End::Latest);
    let micros = |span: Duration| i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
    Ok(ReplayOptions {
        location: archive.location.clone(),
        source: records,
        layout: layout(archive, source)?,
        compression: archive.compression,
        bloom_filter: archive.bloom_filter.clone(),
        partition_by: archive.partition_by.clone(),
        limits: FileLimits {
            rows: archive.file_rows.map(NonZeroU64::get),
            bytes: Some(archive.file_bytes),
            span_micros: archive.file_span.map(micros),
        },
        segment_offsets: archive.segment_offsets,
        threads,
        memory: None,
        rate: None,
    })
}

fn layout(archive: &ArchivePlan, source: &SourcePlan) -> Result<Layout> {
    let bad_rows = source.on_bad.into();
    Ok(match (archive.layout, records::decoder(source, None)?) {
        (ArchiveLayout::Parsed, Some(decoder)) => Layout::Parsed(decoder, bad_rows),
        (ArchiveLayout::Both, Some(decoder)) => Layout::Both(decoder, bad_rows),
        (ArchiveLayout::Envelope, _) | (_, None) => Layout::Envelope,
    })
}

fn no_archive(plan: &JobPlan) -> Error {
    Error::Invalid(format!("the job {} is no archive: `millstream run` runs it", plan.name))
}
