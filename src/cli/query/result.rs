//! The rows of a query as they are written: a table, CSV, JSON lines or a Parquet file.

use std::io::{self, Write};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use arrow::util::display::FormatOptions;
use arrow::util::pretty::pretty_format_batches_with_options;
use connectors::decode::Dialect;
use connectors::encode::{DelimitedEncoder, JsonEncoder};
use connectors::parquet::bytes::ParquetBytes;
use engine::metrics::Metrics;
use engine::operator::Operator;
use engine::sink::{Barrier, Guarantee, Recovery, Sink, Token};
use engine::{Batch, Epoch, Error, Result};

use super::Shape;

/// What errors call the place that is written to.
const OUTPUT: &str = "<the query's output>";

/// The rows that a table shows: a table's widths need all of its rows in memory, and more than these no one reads.
const TABLE_ROWS_MAX: usize = 1000;

/// Shows the rows of a query. The input has ended when the one epoch does.
pub(super) struct ResultSink<W> {
    writer: W,
    schema: SchemaRef,
    form: Form,
    /// What happens to all rows together; if nothing does, they are shown as they come.
    whole: Vec<Arc<dyn Operator>>,
    gathered: Vec<RecordBatch>,
}

enum Form {
    Table { rows: Vec<RecordBatch>, total: usize },
    Csv(DelimitedEncoder),
    Json(JsonEncoder),
    Parquet(Box<ParquetBytes>),
}

impl<W: Write> ResultSink<W> {
    /// Returns a sink for rows of `schema` after `whole`.
    ///
    /// # Errors
    /// When a column is of a type that can't be shown, or the writer takes nothing.
    pub(super) fn new(mut writer: W, shape: Shape, schema: SchemaRef, whole: Vec<Arc<dyn Operator>>) -> Result<Self> {
        let form = match shape {
            Shape::Table => Form::Table { rows: vec![], total: 0 },
            Shape::Csv => {
                let encoder = DelimitedEncoder::new(Dialect::CSV, &schema)?;
                let mut header = encoder.header();
                header.push(b'\n');
                writer.write_all(&header).map_err(output_error())?;
                Form::Csv(encoder)
            }
            Shape::Json => Form::Json(JsonEncoder::objects(&schema)),
            Shape::Parquet => Form::Parquet(Box::new(ParquetBytes::new(&schema)?)),
        };
        Ok(Self {
            writer,
            schema,
            form,
            whole,
            gathered: vec![],
        })
    }

    fn show(&mut self, records: RecordBatch) -> Result<()> {
        let rows = match &mut self.form {
            Form::Table { rows, total } => {
                let room = TABLE_ROWS_MAX.saturating_sub(*total).min(records.num_rows());
                *total += records.num_rows();
                rows.push(printable(&records.slice(0, room))?);
                return Ok(());
            }
            Form::Csv(encoder) => encoder.encode(&records)?,
            Form::Json(encoder) => encoder.encode(&records)?,
            Form::Parquet(encoder) => {
                let bytes = encoder.encode(&records)?;
                return self.writer.write_all(&bytes).map_err(output_error());
            }
        };
        self.writer.write_all(rows.bytes()).map_err(output_error())
    }

    /// All rows are there: what happens to them together happens now.
    fn show_gathered(&mut self) -> Result<()> {
        let (Some(first), false) = (self.gathered.first(), self.whole.is_empty()) else {
            return Ok(());
        };
        let all = concat_batches(&first.schema(), &self.gathered).map_err(Error::arrow("gather the result"))?;
        self.gathered.clear();
        let metrics = Metrics::default();
        let mut batch = Batch::new(all, None);
        for operator in &self.whole {
            batch = operator.apply(batch, &metrics)?;
        }
        self.show(batch.to_records()?)
    }

    fn finish(&mut self) -> Result<()> {
        self.show_gathered()?;
        if let Form::Table { rows, total } = &mut self.form {
            let rows = std::mem::take(rows);
            let options = FormatOptions::new().with_null("NULL");
            let schema = Arc::new(names_only(&self.schema));
            let rows = if rows.is_empty() {
                vec![RecordBatch::new_empty(schema)]
            } else {
                rows
            };
            let table = pretty_format_batches_with_options(&rows, &options).map_err(Error::arrow("show a table"))?;
            writeln!(self.writer, "{table}").map_err(output_error())?;
            if *total > TABLE_ROWS_MAX {
                let more = format!("the first {TABLE_ROWS_MAX} of {total} rows; --output-format csv shows all");
                writeln!(self.writer, "{more}").map_err(output_error())?;
            }
            *total = 0;
        }
        if let Form::Parquet(encoder) = &mut self.form {
            let bytes = encoder.finish()?;
            self.writer.write_all(&bytes).map_err(output_error())?;
        }
        self.writer.flush().map_err(output_error())
    }
}

fn output_error() -> impl FnOnce(io::Error) -> Error {
    Error::io("write to", OUTPUT)
}

/// The names of the columns, for a table without rows.
fn names_only(schema: &Schema) -> Schema {
    let field = |field: &Arc<Field>| Field::new(field.name(), DataType::Null, true);
    Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>())
}

/// Returns the rows without characters that could move a terminal's cursor.
fn printable(records: &RecordBatch) -> Result<RecordBatch> {
    let columns = records.columns().iter().map(printable_column).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(records.num_rows()));
    RecordBatch::try_new_with_options(records.schema(), columns, &options).map_err(Error::arrow("show rows"))
}

fn printable_column(column: &ArrayRef) -> ArrayRef {
    let Some(text) = column.as_string_opt::<i32>() else {
        return Arc::clone(column);
    };
    if !text.iter().flatten().any(|text| text.contains(char::is_control)) {
        return Arc::clone(column);
    }
    let escaped = |text: &str| {
        let escape = |letter: char| match letter.is_control() {
            true => letter.escape_default().to_string(),
            false => letter.to_string(),
        };
        text.chars().map(escape).collect::<String>()
    };
    Arc::new(text.iter().map(|text| text.map(escaped)).collect::<StringArray>())
}

impl<W: Write + Send> Sink for ResultSink<W> {
    fn describe(&self) -> String {
        "the query's output".to_owned()
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }

    fn recover(&mut self, recovery: &Recovery<'_>) -> Result<Option<Epoch>> {
        Ok(recovery.candidates.first().map(|candidate| candidate.epoch))
    }

    fn write(&mut self, batch: &Batch) -> Result<()> {
        let records = batch.to_records()?;
        match self.whole.is_empty() {
            true => self.show(records),
            false => {
                self.gathered.push(records);
                Ok(())
            }
        }
    }

    fn prepare(&mut self, _: &Barrier<'_>) -> Result<Token> {
        self.finish()?;
        Ok(Token::default())
    }

    fn commit(&mut self, _: &Token) -> Result<()> {
        Ok(())
    }

    fn abort(&mut self) {
        self.gathered.clear();
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use engine::Positions;
    use engine::operator::sort::{Limit, Sort, SortKey};

    use super::*;

    fn rows(names: &[Option<&str>]) -> Batch {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values((1..).take(names.len())));
        let names: ArrayRef = Arc::new(StringArray::from(names.to_vec()));
        let columns = [("name", names, true), ("n", numbers, true)];
        Batch::new(
            RecordBatch::try_from_iter_with_nullable(columns).expect("columns of one length"),
            None,
        )
    }

    #[track_caller]
    fn check(shape: Shape, whole: Vec<Arc<dyn Operator>>, batches: &[Batch], expected: &str) {
        let schema = rows(&[]).schema().clone();
        let mut sink = ResultSink::new(Vec::new(), shape, schema, whole).expect("columns that can be shown");
        for batch in batches {
            sink.write(batch).expect("memory");
        }
        let barrier = Barrier {
            epoch: Epoch(1),
            positions: &Positions::default(),
        };
        sink.prepare(&barrier).expect("memory");
        assert_eq!(String::from_utf8(sink.writer).expect("text"), expected);
    }

    #[test]
    fn a_table_shows_nulls_and_no_control_characters() {
        let expected = "\
+------------+---+
| name       | n |
+------------+---+
| a\\u{1b}[2J | 1 |
| NULL       | 2 |
| b          | 1 |
+------------+---+
";
        check(
            Shape::Table,
            vec![],
            &[rows(&[Some("a\x1b[2J"), None]), rows(&[Some("b")])],
            expected,
        );
    }

    #[test]
    fn a_result_without_rows_shows_its_columns() {
        check(
            Shape::Table,
            vec![],
            &[],
            "+------+---+\n| name | n |\n+------+---+\n+------+---+\n",
        );
        check(Shape::Csv, vec![], &[], "name,n\n");
        check(Shape::Json, vec![], &[], "");
    }

    #[test]
    fn a_long_table_says_what_it_leaves_out() {
        let names = vec![Some("x"); TABLE_ROWS_MAX + 1];
        let schema = rows(&[]).schema().clone();
        let mut sink = ResultSink::new(Vec::new(), Shape::Table, schema, vec![]).expect("columns that can be shown");
        sink.write(&rows(&names)).expect("memory");
        sink.finish().expect("memory");
        let text = String::from_utf8(sink.writer).expect("text");
        assert_eq!(text.lines().count(), TABLE_ROWS_MAX + 5);
        assert!(text.ends_with("the first 1000 of 1001 rows; --output-format csv shows all\n"));
    }

    #[test]
    fn csv_and_json_are_lines() {
        check(
            Shape::Csv,
            vec![],
            &[rows(&[Some("a,b"), None])],
            "name,n\n\"a,b\",1\n,2\n",
        );
        let expected = "{\"name\":\"a\",\"n\":1}\n{\"name\":null,\"n\":2}\n";
        check(Shape::Json, vec![], &[rows(&[Some("a"), None])], expected);
    }

    #[test]
    fn what_needs_all_rows_gets_them() {
        let schema = rows(&[]).schema().clone();
        let key = SortKey {
            column: "name".to_owned(),
            descending: false,
            nulls_first: false,
        };
        let sort = Sort::new(vec![key], schema.clone()).expect("there is this column");
        let whole: Vec<Arc<dyn Operator>> = vec![Arc::new(sort), Arc::new(Limit::new(0, 2, schema))];
        check(
            Shape::Csv,
            whole,
            &[rows(&[Some("c")]), rows(&[Some("b"), Some("a")])],
            "name,n\na,2\nb,1\n",
        );
    }
}
