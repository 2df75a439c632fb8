//! What is left to be read, as ranges that threads take one by one.

use connectors::kafka::ranges::PartitionRange;
use connectors::parquet::archive::{ArchiveHeader, Contents, PartitionBounds};
use engine::OffsetRange;

/// Returns the ranges that are not archived yet, by partition and offset: pieces of segments, of which each goes on where
/// its last file ended.
pub(super) fn pending(header: &ArchiveHeader, contents: &Contents) -> Vec<PartitionRange> {
    let size = i64::try_from(header.settings.segment_offsets).unwrap_or(i64::MAX);
    let mut pending = Vec::new();
    for bounds in &header.partitions {
        let partition = bounds.partition();
        let covered = contents.covered_of(&partition);
        for segment in segments(bounds, size) {
            let offsets = OffsetRange {
                from: reached(segment, covered),
                to: segment.to,
            };
            if offsets.from < offsets.to {
                let partition = partition.clone();
                pending.push(PartitionRange { partition, offsets });
            }
        }
    }
    pending
}

/// Returns the segments of what is not in the manifest: cut at the multiples of `size`, so that a longer range has the same
/// borders, and where the archive ended before.
fn segments(bounds: &PartitionBounds, size: i64) -> Vec<OffsetRange> {
    let mut segments = Vec::new();
    let mut from = bounds.from.max(bounds.archived);
    while from < bounds.to {
        let multiple = (from / size + 1).saturating_mul(size);
        let cut = bounds.cuts.iter().copied().filter(|&cut| cut > from).min();
        let to = multiple.min(cut.unwrap_or(i64::MAX)).min(bounds.to);
        segments.push(OffsetRange { from, to });
        from = to;
    }
    segments
}

/// Returns how far a segment is archived. Its files follow each other.
fn reached(segment: OffsetRange, covered: &[OffsetRange]) -> i64 {
    let within = covered
        .iter()
        .filter(|range| segment.from <= range.from && range.to <= segment.to);
    within.map(|range| range.to).max().unwrap_or(segment.from)
}

#[cfg(test)]
mod tests {
    use connectors::parquet::archive::Settings;
    use engine::Partition;

    use super::*;

    fn bounds(from: i64, to: i64, archived: i64, cuts: &[i64]) -> PartitionBounds {
        PartitionBounds {
            topic: "web".to_owned(),
            partition: 0,
            from,
            to,
            archived,
            cuts: cuts.to_vec(),
        }
    }

    /// Checks what is left of a partition with segments of 100 offsets when `covered` is archived.
    #[track_caller]
    fn check(bounds: PartitionBounds, covered: &[(i64, i64)], expected: &[(i64, i64)]) {
        let mut header = ArchiveHeader::new(Settings {
            layout: "envelope".to_owned(),
            columns: Vec::new(),
            format: None,
            isolation: "read_committed".to_owned(),
            compression: "zstd:1".to_owned(),
            bloom_filter: Vec::new(),
            partition_by: Vec::new(),
            segment_offsets: 100,
            file_rows: None,
            file_bytes: None,
            file_span_ms: None,
        });
        header.partitions = vec![bounds];
        let mut contents = Contents::default();
        let covered = covered.iter().map(|&(from, to)| OffsetRange { from, to });
        contents.covered.insert(Partition::new("web", 0), covered.collect());
        let left: Vec<_> = pending(&header, &contents)
            .iter()
            .map(|range| (range.offsets.from, range.offsets.to))
            .collect();
        assert_eq!(left, expected);
    }

    #[test]
    fn segments_end_at_multiples_whatever_the_bounds() {
        check(bounds(50, 220, 50, &[]), &[], &[(50, 100), (100, 200), (200, 220)]);
        check(bounds(100, 200, 100, &[]), &[], &[(100, 200)]);
        check(bounds(7, 7, 7, &[]), &[], &[]);
    }

    #[test]
    fn a_segment_goes_on_where_its_last_file_ended() {
        let covered = [(100, 130), (130, 160), (200, 220)];
        check(bounds(50, 220, 50, &[]), &covered, &[(50, 100), (160, 200)]);
    }

    #[test]
    fn a_longer_range_keeps_the_files_of_the_shorter_one() {
        check(bounds(50, 300, 220, &[220]), &[], &[(220, 300)]);
        check(
            bounds(50, 300, 50, &[220]),
            &[(200, 220)],
            &[(50, 100), (100, 200), (220, 300)],
        );
    }
}
