//! The table of figures, in Markdown.

use std::fmt;
use std::time::Duration;

/// Figures in their order.
#[derive(Debug, Default)]
pub(crate) struct Table(Vec<Row>);

#[derive(Debug)]
struct Row {
    what: String,
    figure: String,
    ratio: String,
    bar: String,
    result: String,
}

impl Table {
    /// Adds a figure that is compared with nothing.
    pub(crate) fn add(&mut self, what: impl Into<String>, figure: impl Into<String>, result: impl ToString) {
        self.0.push(Row {
            what: what.into(),
            figure: figure.into(),
            ratio: String::new(),
            bar: String::new(),
            result: result.to_string(),
        });
    }

    /// Says what the figure added last is to the one it is compared with, and what it should be.
    pub(crate) fn ratio(&mut self, ratio: f64, bar: &str, is_met: bool) {
        self.compare(ratio);
        self.bar(bar, is_met);
    }

    /// Says what the figure added last is to the one it is compared with.
    pub(crate) fn compare(&mut self, ratio: f64) {
        self.last().ratio = format!("{ratio:.2}");
    }

    /// Says what the figure added last should be.
    pub(crate) fn bar(&mut self, bar: &str, is_met: bool) {
        let verdict = if is_met { "" } else { ": MISSED" };
        self.last().bar = format!("{bar}{verdict}");
    }

    fn last(&mut self) -> &mut Row {
        self.0.last_mut().expect("a figure was added before")
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = ["what", "figure", "ratio", "bar", "result"].map(str::to_owned);
        let rows = self.0.iter().map(|row| {
            let cells = [&row.what, &row.figure, &row.ratio, &row.bar, &row.result];
            cells.map(Clone::clone)
        });
        let rows: Vec<_> = std::iter::once(header).chain(rows).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: [usize; 5] = std::array::from_fn(width);
        for (number, row) in rows.iter().enumerate() {
            for (cell, width) in row.iter().zip(widths) {
                write!(f, "| {cell:width$} ")?;
            }
            writeln!(f, "|")?;
            if number == 0 {
                widths
                    .iter()
                    .try_for_each(|width| write!(f, "|{}", "-".repeat(width + 2)))?;
                writeln!(f, "|")?;
            }
        }
        Ok(())
    }
}

/// Returns the middle of the times.
///
/// # Panics
/// When there are none.
pub(crate) fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted[sorted.len() / 2]
}

/// Returns a time of processor, with what it is for each of `count` things.
pub(crate) fn cpu_seconds(time: Duration, count: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a figure of three digits")]
    let each = time.as_nanos() as f64 / count as f64;
    format!("{:.2} CPU-s, {each:.0} ns each", time.as_secs_f64())
}

/// Returns a time in milliseconds.
pub(crate) fn milliseconds(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}
