//! Where a file ends: by its rows, its bytes, or the time that its records span.

use arrow::array::{Array, TimestampMicrosecondArray};

/// The limits of a file. Each is decided by the file's own content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileLimits {
    /// The most rows.
    pub rows: Option<u64>,
    /// The bytes, as encoded, after which a file ends.
    pub bytes: Option<u64>,
    /// The most microseconds between the times of two records.
    pub span_micros: Option<i64>,
}

/// The times of a file's records: the least and the greatest, in microseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) least: Option<i64>,
    pub(super) greatest: Option<i64>,
}

impl Times {
    /// Returns the times with one more.
    fn with(self, time: i64) -> Self {
        Self {
            least: Some(self.least.map_or(time, |least| least.min(time))),
            greatest: Some(self.greatest.map_or(time, |greatest| greatest.max(time))),
        }
    }

    /// Takes the times of the first `rows` records in; records without a time have no part in it.
    pub(super) fn extend(&mut self, times: &TimestampMicrosecondArray, rows: usize) {
        *self = match times.null_count() {
            0 => times.values()[..rows].iter().fold(*self, |all, &time| all.with(time)),
            _ => times.iter().take(rows).flatten().fold(*self, Self::with),
        };
    }

    fn span(self) -> i64 {
        self.greatest
            .zip(self.least)
            .map_or(0, |(greatest, least)| greatest.saturating_sub(least))
    }
}

impl FileLimits {
    /// Returns how many of the records of `times` go to a file that has `rows` rows of the times `so_far`. A file takes one
    /// row at least.
    pub(super) fn room(&self, rows: u64, so_far: Times, times: &TimestampMicrosecondArray) -> usize {
        let by_rows = self.rows.map_or(times.len(), |most| {
            usize::try_from(most.saturating_sub(rows))
                .unwrap_or(usize::MAX)
                .min(times.len())
        });
        let Some(most) = self.span_micros else {
            return by_rows;
        };
        let mut all = so_far;
        for row in 0..by_rows {
            if times.is_valid(row) {
                all = all.with(times.value(row));
            }
            if all.span() > most && (rows > 0 || row > 0) {
                return row;
            }
        }
        by_rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(limits: FileLimits, rows: u64, so_far: &[i64], times: &[Option<i64>], expected: usize) {
        let so_far = so_far.iter().fold(Times::default(), |all, &time| all.with(time));
        assert_eq!(
            limits.room(rows, so_far, &TimestampMicrosecondArray::from(times.to_vec())),
            expected
        );
    }

    #[test]
    fn a_file_takes_as_many_rows_as_it_may_have() {
        let limits = FileLimits {
            rows: Some(5),
            ..FileLimits::default()
        };
        check(limits, 0, &[], &[Some(1); 9], 5);
        check(limits, 4, &[1], &[Some(1); 9], 1);
        check(limits, 5, &[1], &[Some(1); 9], 0);
        check(FileLimits::default(), 5, &[1], &[Some(1); 9], 9);
    }

    #[test]
    fn a_file_spans_no_more_time_than_it_may_whatever_the_order() {
        let limits = FileLimits {
            span_micros: Some(10),
            ..FileLimits::default()
        };
        check(limits, 0, &[], &[Some(5), None, Some(15), Some(16)], 3);
        check(limits, 2, &[5, 15], &[Some(4), Some(9)], 0);
        check(limits, 2, &[5, 15], &[None, Some(9), Some(25)], 2);
    }
}
