//! The console sink: each epoch as a table for people, or as plain lines for other programs.
//!
//! On a terminal, the rows of an epoch are shown as Spark's console sink shows a batch: the top rows, cells at most
//! twenty characters wide. Elsewhere each row is a line of tab-separated cells, so that `| sort -k2 -n` works.

mod cell;
mod table;

use std::io::{self, Write};

use arrow::array::{Array, UInt32Array};
use arrow::compute::{SortColumn, SortOptions, concat_batches, lexsort_to_indices, take_record_batch};
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use engine::sink::{Barrier, Guarantee, Recovery, Sink, Token};
use engine::{Batch, Epoch, Error, Result};

use self::cell::Cells;
use crate::encode::RawColumn;

/// What errors call the place that is written to.
const OUTPUT: &str = "<standard output>";

/// Rows that a table shows unless told otherwise, as Spark's console sink does.
pub const TOP: usize = 20;

/// Clears the terminal and goes to its top left corner.
const CLEAR: &str = "\x1b[H\x1b[2J\x1b[3J";

/// How the console sink shows rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsoleOptions {
    /// Whether a person looks on: tables instead of plain lines.
    pub terminal: bool,
    /// Whether a table replaces the one before on the screen. Tables only.
    pub live: bool,
    /// The rows that a table shows; more are only said to exist. Bounds what is kept of an epoch.
    pub top: usize,
    /// The rows to show first; by default those that came first. Tables only.
    pub order: Option<Order>,
}

/// Rows in the order of a column, ties in the order of the other columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The column's name.
    pub column: String,
    /// Whether the largest value comes first.
    pub descending: bool,
}

/// Writes batches to a terminal, a pipe or a file.
pub struct ConsoleSink {
    writer: Box<dyn Write + Send>,
    options: ConsoleOptions,
    /// The top rows of the epoch under way.
    top: Option<RecordBatch>,
    /// All rows of the epoch under way.
    rows: usize,
    /// What is written next; kept to be reused.
    text: Vec<u8>,
}

impl ConsoleOptions {
    /// Returns the usual options: the first twenty rows of each epoch on a terminal, else plain lines.
    pub fn new(terminal: bool) -> Self {
        Self {
            terminal,
            live: false,
            top: TOP,
            order: None,
        }
    }
}

impl ConsoleSink {
    /// Returns a sink that writes to `writer`. `BrokenPipe` from it comes back as [`Error::Io`] of that kind: the reader
    /// has seen enough (`| head`), and the job may end quietly.
    pub fn new(writer: Box<dyn Write + Send>, options: ConsoleOptions) -> Self {
        Self {
            writer,
            options,
            top: None,
            rows: 0,
            text: Vec::new(),
        }
    }

    fn write_lines(&mut self, records: &RecordBatch) -> Result<()> {
        let cells = records.columns().iter().map(Cells::new).collect::<Result<Vec<_>>>()?;
        self.text.clear();
        for row in 0..records.num_rows() {
            for (index, column) in cells.iter().enumerate() {
                if index > 0 {
                    self.text.push(b'\t');
                }
                column.write_line(row, &mut self.text);
            }
            self.text.push(b'\n');
        }
        self.writer.write_all(&self.text).map_err(output_error("write to"))
    }

    /// Keeps the top rows of `records` and of those kept before: never more than two times `top` at once.
    fn keep_top(&mut self, records: &RecordBatch) -> Result<()> {
        let candidates = first(records, &self.options)?;
        let top = match self.top.take() {
            None => candidates,
            Some(top) => {
                let both =
                    concat_batches(&records.schema(), [&top, &candidates]).map_err(Error::arrow("keep top rows"))?;
                first(&both, &self.options)?
            }
        };
        self.top = Some(top);
        Ok(())
    }

    fn write_table(&mut self, epoch: Epoch) -> Result<()> {
        let Some(top) = self.top.take() else {
            return Ok(());
        };
        let mut text = String::new();
        if self.options.live {
            text.push_str(CLEAR);
        }
        table::render(epoch, &top, &mut text)?;
        if self.rows > top.num_rows() {
            let shown = top.num_rows();
            let rows = if shown == 1 { "row" } else { "rows" };
            text.push_str(&format!("only showing top {shown} {rows}\n"));
        }
        text.push('\n');
        self.writer.write_all(text.as_bytes()).map_err(output_error("write to"))
    }
}

impl Sink for ConsoleSink {
    fn describe(&self) -> String {
        "console".to_owned()
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }

    fn recover(&mut self, recovery: &Recovery<'_>) -> Result<Option<Epoch>> {
        Ok(recovery.candidates.first().map(|candidate| candidate.epoch))
    }

    fn write(&mut self, batch: &Batch) -> Result<()> {
        if batch.rows() == 0 {
            return Ok(());
        }
        let records = batch.to_records()?;
        if !self.options.terminal {
            return self.write_lines(&records);
        }
        self.rows += records.num_rows();
        self.keep_top(&records)
    }

    fn prepare(&mut self, barrier: &Barrier<'_>) -> Result<Token> {
        self.write_table(barrier.epoch)?;
        self.rows = 0;
        self.writer.flush().map_err(output_error("write to"))?;
        Ok(Token::default())
    }

    fn commit(&mut self, _token: &Token) -> Result<()> {
        Ok(())
    }

    fn abort(&mut self) {
        self.top = None;
        self.rows = 0;
    }
}

/// Returns copies of the rows that come first, at most `top`, so that nothing else of `records` is kept in memory.
fn first(records: &RecordBatch, options: &ConsoleOptions) -> Result<RecordBatch> {
    let indices = match &options.order {
        Some(order) => {
            let columns = sort_columns(records, order)?;
            lexsort_to_indices(&columns, Some(options.top)).map_err(Error::arrow("sort rows"))?
        }
        None => {
            let rows = records.num_rows().min(options.top);
            (0..u32::try_from(rows).unwrap_or(u32::MAX)).collect::<UInt32Array>()
        }
    };
    take_record_batch(records, &indices).map_err(Error::arrow("keep top rows"))
}

fn sort_columns(records: &RecordBatch, order: &Order) -> Result<Vec<SortColumn>> {
    let schema = records.schema();
    let first = schema.index_of(&order.column).map_err(|_| {
        let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let names = names.join(", ");
        Error::Invalid(format!(
            "there is no column `{}` to sort by; the columns are {names}",
            order.column
        ))
    })?;
    let others = (0..records.num_columns()).filter(|&index| index != first);
    let others = others.filter(|&index| breaks_ties(records.column(index).data_type()));
    let column = |index: usize, descending| SortColumn {
        values: records.column(index).clone(),
        options: Some(SortOptions::new(descending, false)),
    };
    let first = column(first, order.descending);
    Ok(std::iter::once(first)
        .chain(others.map(|index| column(index, false)))
        .collect())
}

fn breaks_ties(data_type: &DataType) -> bool {
    data_type.is_primitive() || *data_type == DataType::Boolean || RawColumn::takes(data_type)
}

fn output_error(act: &'static str) -> impl FnOnce(io::Error) -> Error {
    Error::io(act, OUTPUT)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use engine::Positions;

    use super::*;

    #[derive(Clone, Default)]
    struct Screen(Arc<Mutex<Vec<u8>>>);

    impl Write for Screen {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no other thread").write(text)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn counts(rows: &[(Option<&str>, i64)]) -> Batch {
        let words: ArrayRef = Arc::new(rows.iter().map(|row| row.0).collect::<StringArray>());
        let counts: ArrayRef = Arc::new(rows.iter().map(|row| row.1).collect::<Int64Array>());
        let records = RecordBatch::try_from_iter([("word", words), ("count", counts)]).expect("two columns");
        Batch::new(records, None)
    }

    fn by_count(top: usize) -> ConsoleOptions {
        ConsoleOptions {
            top,
            order: Some(Order {
                column: "count".to_owned(),
                descending: true,
            }),
            ..ConsoleOptions::new(true)
        }
    }

    /// Writes each list of batches as an epoch.
    fn show(options: ConsoleOptions, epochs: &[&[Batch]]) -> String {
        let screen = Screen::default();
        let mut sink = ConsoleSink::new(Box::new(screen.clone()), options);
        for (index, batches) in (1..).zip(epochs) {
            for batch in *batches {
                sink.write(batch).expect("the screen takes everything");
            }
            let barrier = Barrier {
                epoch: Epoch(index),
                positions: &Positions::default(),
            };
            let token = sink.prepare(&barrier).expect("the screen takes everything");
            sink.commit(&token).expect("nothing is left to do");
        }
        let text = screen.0.lock().expect("no other thread").clone();
        String::from_utf8(text).expect("text")
    }

    #[test]
    fn an_epoch_is_a_table_of_its_top_rows_over_all_batches() {
        let epoch = [
            counts(&[(Some("the"), 3), (Some("a"), 12)]),
            counts(&[(Some("of"), 3), (None, 100), (Some("x"), 1)]),
        ];
        let expected = "\
-------------------------------------------
Batch: 1
-------------------------------------------
+----+-----+
|word|count|
+----+-----+
|NULL|  100|
|   a|   12|
|  of|    3|
+----+-----+
only showing top 3 rows

";
        assert_eq!(show(by_count(3), &[&epoch]), expected);
    }

    #[test]
    fn without_an_order_the_first_rows_are_shown() {
        let options = ConsoleOptions {
            top: 2,
            ..ConsoleOptions::new(true)
        };
        let epoch = [counts(&[(Some("z"), 1)]), counts(&[(Some("y"), 2), (Some("x"), 3)])];
        let text = show(options, &[&epoch]);
        assert!(
            text.contains("|   z|    1|\n|   y|    2|\n+") && text.contains("top 2 rows"),
            "{text}"
        );
    }

    #[test]
    fn an_epoch_without_rows_prints_nothing_and_each_table_has_its_number() {
        let text = show(by_count(20), &[&[], &[counts(&[(Some("a"), 1)])], &[]]);
        assert_eq!(text.matches("Batch: ").count(), 1);
        assert!(text.contains("Batch: 2\n") && !text.contains("only showing"), "{text}");
    }

    #[test]
    fn a_live_table_clears_the_screen_first() {
        let options = ConsoleOptions {
            live: true,
            ..by_count(20)
        };
        let epoch: &[Batch] = &[counts(&[(Some("a"), 1)])];
        assert_eq!(show(options, &[epoch, epoch]).matches(CLEAR).count(), 2);
    }

    #[test]
    fn without_a_terminal_every_row_is_a_line() {
        let epoch = [counts(&[(Some("b c"), 1), (Some("a\tb\n"), 2)]), counts(&[(None, 3)])];
        assert_eq!(
            show(ConsoleOptions::new(false), &[&epoch]),
            "b c\t1\na\\tb\\n\t2\n\t3\n"
        );
    }

    #[test]
    fn a_closed_pipe_is_an_io_error_of_that_kind() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _text: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut sink = ConsoleSink::new(Box::new(Closed), ConsoleOptions::new(false));
        let error = sink.write(&counts(&[(Some("a"), 1)])).expect_err("nobody reads");
        assert!(matches!(error, Error::Io { source, .. } if source.kind() == io::ErrorKind::BrokenPipe));
    }

    #[test]
    fn an_unknown_column_to_sort_by_is_named() {
        let mut options = by_count(20);
        options.order = Some(Order {
            column: "cuont".to_owned(),
            descending: true,
        });
        let mut sink = ConsoleSink::new(Box::new(io::sink()), options);
        let error = sink
            .write(&counts(&[(Some("a"), 1)]))
            .expect_err("no such column")
            .to_string();
        assert!(error.contains("`cuont`") && error.contains("word, count"), "{error}");
    }
}
