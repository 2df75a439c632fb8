//! `decode`: payloads become columns in the pipeline, and bad ones go where the job says.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray};
use arrow::compute::filter;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use engine::metrics::Metrics;
use engine::operator::Operator;
use engine::{Batch, Column, Error, Result};

use super::dead_letter::dead_letters;
use super::{Decoder, Reject};
use crate::spelling;

/// The column that holds the payloads.
const VALUE_COLUMN: &str = "value";

/// What happens to a row whose payload can't be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRows {
    /// It is put aside as a dead letter, for the job's dead letter sink.
    DeadLetter,
    /// It stays, null in every decoded column.
    Null,
    /// It is left out.
    Skip,
    /// The job fails.
    Fail,
}

/// Decodes the binary column `value` of each batch.
///
/// The decoded columns come first, then the columns of the batch that are kept: topic, partition, offset and so on. When a
/// decoded column has the name of a kept one, the decoded one has it, and the kept one is called by its name with `_` in
/// front: `_topic`.
///
/// Every bad row is counted in [`Metrics::rows_bad`], whatever happens to it.
#[derive(Debug)]
pub struct DecodeRows {
    decoder: Arc<dyn Decoder>,
    bad_rows: BadRows,
    /// The place of `value` in the batches.
    value: usize,
    /// The places of the kept columns in the batches.
    kept: Vec<usize>,
    schema: SchemaRef,
}

const NAMES: [(&str, BadRows); 4] = [
    ("dead_letter", BadRows::DeadLetter),
    ("null", BadRows::Null),
    ("skip", BadRows::Skip),
    ("fail", BadRows::Fail),
];

impl FromStr for BadRows {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = NAMES.iter().find(|(name, _)| *name == text);
        named.map(|(_, policy)| *policy).ok_or_else(|| {
            let names = NAMES.map(|(name, _)| name);
            let hint = spelling::hint(text, names);
            format!("expected {}, not `{text}`{hint}", names.join(", "))
        })
    }
}

impl fmt::Display for BadRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = NAMES.iter().find(|(_, policy)| policy == self);
        f.write_str(named.expect("every policy has a name").0)
    }
}

impl DecodeRows {
    /// Returns the operator over batches of `input`. It keeps the columns named in `kept` that the batches have; `None`
    /// keeps all but `value`.
    ///
    /// # Errors
    /// When the batches have no binary or string column `value`, or two columns would have one name.
    pub fn new(decoder: Arc<dyn Decoder>, input: &Schema, kept: Option<&[String]>, bad_rows: BadRows) -> Result<Self> {
        let value = input.index_of(VALUE_COLUMN).ok();
        let value = value.filter(|index| matches!(input.field(*index).data_type(), DataType::Binary | DataType::Utf8));
        let Some(value) = value else {
            return Err(Error::Invalid(format!(
                "expected a binary column `{VALUE_COLUMN}` to decode; the columns are {}",
                names(input)
            )));
        };
        let is_kept = |name: &String| match kept {
            Some(kept) => kept.contains(name),
            None => name != VALUE_COLUMN,
        };
        let kept = (0..input.fields().len()).filter(|&index| is_kept(input.field(index).name()));
        let kept: Vec<_> = kept.collect();
        let decoded = decoder.schema();
        let kept_fields = kept.iter().map(|&index| renamed(input.field(index), &decoded));
        let fields = decoded.fields().iter().map(|field| field.as_ref().clone());
        let schema = Schema::new(fields.chain(kept_fields).collect::<Vec<_>>());
        check_names(&schema)?;
        Ok(Self {
            decoder,
            bad_rows,
            value,
            kept,
            schema: Arc::new(schema),
        })
    }

    /// Returns the columns of `input`, by their names there, that must be kept beside the decoded ones so that a query finds
    /// those `wanted`.
    pub fn kept(decoded: &Schema, input: &Schema, wanted: &[String]) -> Vec<String> {
        let is_wanted = |name: &String| match decoded.index_of(name) {
            Ok(_) => wanted.contains(&format!("_{name}")),
            Err(_) => wanted.contains(name),
        };
        let names = input.fields().iter().map(|field| field.name().clone());
        names.filter(|name| name != VALUE_COLUMN).filter(is_wanted).collect()
    }

    fn payloads(&self, batch: &Batch) -> Result<BinaryArray> {
        let values = batch.column(self.value).to_array();
        match values.data_type() {
            DataType::Binary => Ok(values.as_binary::<i32>().clone()),
            DataType::Utf8 => Ok(BinaryArray::from(values.as_string::<i32>().clone())),
            other => Err(Error::Invalid(format!(
                "column `{VALUE_COLUMN}` became {other}, expected Binary"
            ))),
        }
    }
}

impl Operator for DecodeRows {
    /// Returns the format, its columns and the kept ones. What happens to bad rows is no part of the job's identity: a
    /// job that failed on one may go on with another policy.
    fn describe(&self) -> String {
        let decoded = self.decoder.schema().fields().len();
        let kept: Vec<_> = self.schema.fields()[decoded..]
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        match kept.is_empty() {
            true => format!("decode {}", self.decoder.describe()),
            false => format!("decode {}; keep {}", self.decoder.describe(), kept.join(", ")),
        }
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn apply(&self, mut batch: Batch, metrics: &Metrics) -> Result<Batch> {
        let payloads = self.payloads(&batch)?;
        let decoded = self.decoder.decode(&payloads)?;
        let rejects = decoded.rejects;
        metrics.rows_bad.add(rejects.len() as u64);
        let mut rejected = batch.take_rejected();
        match (self.bad_rows, rejects.first()) {
            (BadRows::Fail, Some(first)) => return Err(bad_record(&batch, first)),
            (BadRows::DeadLetter, Some(_)) => rejected.push(dead_letters(&batch, &payloads, &rejects)?),
            _ => {}
        }
        let kept = self.kept.iter().map(|&index| batch.column(index).to_array());
        let mut columns: Vec<_> = decoded.columns.into_iter().chain(kept).collect();
        let mut rows = batch.rows();
        if !rejects.is_empty() && self.bad_rows != BadRows::Null {
            columns = without(&columns, &rejects, rows)?;
            rows -= rejects.len();
        }
        let columns = columns.into_iter().map(Column::Array).collect();
        let origin = batch.origin().cloned();
        Ok(Batch::from_columns(self.schema.clone(), columns, rows, origin).with_rejected(rejected))
    }
}

/// Returns the columns without the rejected rows.
fn without(columns: &[ArrayRef], rejects: &[Reject], rows: usize) -> Result<Vec<ArrayRef>> {
    let mut keep = vec![true; rows];
    for reject in rejects {
        keep[reject.row] = false;
    }
    let keep = BooleanArray::from(keep);
    let kept = columns
        .iter()
        .map(|column| filter(column, &keep).map_err(Error::arrow("leave bad rows out")));
    kept.collect()
}

/// Returns the error that names a bad record: its topic or file, partition and offset as far as they are known.
fn bad_record(batch: &Batch, reject: &Reject) -> Error {
    let place = batch.origin().map(|origin| origin.partition.to_string());
    let place = place.unwrap_or_else(|| "a batch without origin".to_owned());
    let offset = batch.schema().index_of("offset").ok().and_then(|index| {
        let offsets = batch.column(index).to_array();
        let offsets = offsets.as_primitive_opt::<arrow::datatypes::Int64Type>()?;
        offsets.is_valid(reject.row).then(|| offsets.value(reject.row))
    });
    let input = match (offset, batch.origin()) {
        (Some(offset), _) => format!("{place} offset {offset}"),
        (None, Some(origin)) => format!("{place} offsets {}, row {} of them", origin.offsets, reject.row + 1),
        (None, None) => format!("{place}, row {}", reject.row + 1),
    };
    Error::BadRecord {
        input,
        reason: reject.reason.clone(),
    }
}

/// Returns a kept column's field, out of the way of a decoded one.
fn renamed(field: &Field, decoded: &Schema) -> Field {
    match decoded.index_of(field.name()) {
        Ok(_) => field.clone().with_name(format!("_{}", field.name())),
        Err(_) => field.clone(),
    }
}

fn check_names(schema: &Schema) -> Result<()> {
    for (index, field) in schema.fields().iter().enumerate() {
        if schema.fields()[..index]
            .iter()
            .any(|earlier| earlier.name() == field.name())
        {
            return Err(Error::Invalid(format!(
                "two columns would be called `{}`: declare the decoded one by another name",
                field.name()
            )));
        }
    }
    Ok(())
}

fn names(schema: &Schema) -> String {
    let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, RecordBatch, StringArray};
    use arrow::datatypes::Int64Type;
    use engine::{OffsetRange, Origin, Partition};

    use super::*;
    use crate::decode::registry::{FormatOptions, build};

    fn origin() -> Origin {
        Origin {
            partition: Partition::new("access", 3),
            offsets: OffsetRange { from: 17, to: 23 },
        }
    }

    /// Five records: a good one, a bad one, a tombstone, a bad one, a good one.
    fn batch() -> Batch {
        let values = vec![
            Some(&b"n=1"[..]),
            Some(b"n=x"),
            None,
            Some(b"\xff"),
            Some(b"n=5 topic=t"),
        ];
        let values: ArrayRef = Arc::new(BinaryArray::from_opt_vec(values));
        let keys: ArrayRef = Arc::new(BinaryArray::from_opt_vec(vec![None, Some(b"k"), None, None, None]));
        let offsets: ArrayRef = Arc::new(Int64Array::from(vec![17, 18, 20, 21, 22]));
        let topics: ArrayRef = Arc::new(StringArray::from(vec!["access"; 5]));
        let columns = [
            ("topic", topics, false),
            ("offset", offsets, false),
            ("key", keys, true),
            ("value", values, true),
        ];
        let records = RecordBatch::try_from_iter_with_nullable(columns).expect("columns of one length");
        Batch::new(records, Some(origin()))
    }

    fn operator(bad_rows: BadRows, kept: Option<&[String]>) -> Result<DecodeRows> {
        let options = FormatOptions {
            columns: ["n:int", "topic:string"]
                .map(|text| text.parse().expect("a column"))
                .into(),
            ..FormatOptions::default()
        };
        let decoder = build(&["logfmt".to_owned()], &options)?;
        DecodeRows::new(decoder, batch().schema(), kept, bad_rows)
    }

    /// Expects the values of `n` and of `offset` after the operator, and so many bad rows counted.
    #[track_caller]
    fn check(bad_rows: BadRows, n: &[Option<i64>], offsets: &[i64]) -> Batch {
        let metrics = Metrics::default();
        let batch = operator(bad_rows, None)
            .and_then(|operator| operator.apply(batch(), &metrics))
            .expect("a batch");
        let records = batch.to_records().expect("the schema's columns");
        let column = |name: &str| {
            records
                .column_by_name(name)
                .expect("a column")
                .as_primitive::<Int64Type>()
                .clone()
        };
        assert_eq!(column("n").iter().collect::<Vec<_>>(), n);
        assert_eq!(column("offset").values(), offsets);
        assert_eq!(metrics.rows_bad.get(), 2);
        assert_eq!(batch.origin(), Some(&origin()));
        batch
    }

    const GOOD: [Option<i64>; 3] = [Some(1), None, Some(5)];

    #[test]
    fn skip_leaves_bad_rows_out() {
        assert!(check(BadRows::Skip, &GOOD, &[17, 20, 22]).take_rejected().is_empty());
    }

    #[test]
    fn null_keeps_bad_rows_without_values() {
        let n = [Some(1), None, None, None, Some(5)];
        assert!(
            check(BadRows::Null, &n, &[17, 18, 20, 21, 22])
                .take_rejected()
                .is_empty()
        );
    }

    #[test]
    fn dead_letters_have_the_payload_the_reason_and_where_it_was() {
        let rejected = check(BadRows::DeadLetter, &GOOD, &[17, 20, 22]).take_rejected();
        let [letters] = rejected.as_slice() else {
            panic!("one batch of dead letters")
        };
        assert_eq!(letters.schema(), super::super::dead_letter_schema());
        let text = |name: &str, row| {
            let column = letters.column_by_name(name).expect("a column");
            arrow::util::display::array_value_to_string(column, row).expect("a text")
        };
        let row = |row| ["topic", "partition", "offset", "key", "value"].map(|name| text(name, row));
        assert_eq!(row(0), ["access", "3", "18", "6b", "6e3d78"]);
        assert_eq!(row(1), ["access", "3", "21", "", "ff"]);
        assert_eq!(text("reason", 0), "n: `x` is no int");
        assert_eq!(
            text("reason", 1),
            "byte 0 of `\u{fffd}` is 0xff, which is no UTF-8 there"
        );
        let nulls = |name: &str| letters.column_by_name(name).expect("a column").null_count();
        assert_eq!((nulls("timestamp"), nulls("headers"), letters.num_rows()), (2, 2, 2));
    }

    #[test]
    fn what_was_put_aside_before_is_handed_on() {
        let earlier = RecordBatch::new_empty(super::super::dead_letter_schema());
        let operator = operator(BadRows::DeadLetter, None).expect("an operator");
        let batch = operator.apply(batch().with_rejected([earlier]), &Metrics::default());
        assert_eq!(batch.expect("a batch").take_rejected().len(), 2);
    }

    #[test]
    fn fail_names_the_record_and_the_reason() {
        let operator = operator(BadRows::Fail, None).expect("an operator");
        let error = operator.apply(batch(), &Metrics::default()).expect_err("a bad row");
        assert_eq!(error.to_string(), "cannot decode access[3] offset 18: n: `x` is no int");
        let values: ArrayRef = Arc::new(StringArray::from(vec!["n=1", "?"]));
        let records = RecordBatch::try_from_iter([("value", values)]).expect("a column");
        let alone = DecodeRows::new(operator.decoder.clone(), &records.schema(), None, BadRows::Fail);
        let batch = Batch::new(records, Some(origin()));
        let error = alone
            .expect("an operator")
            .apply(batch, &Metrics::default())
            .expect_err("a bad row")
            .to_string();
        assert!(
            error.starts_with("cannot decode access[3] offsets [17, 23), row 2 of them: expected"),
            "{error}"
        );
    }

    #[test]
    fn a_decoded_column_takes_the_name_of_a_kept_one() {
        let all = operator(BadRows::Skip, None).expect("an operator");
        assert_eq!(names(&all.schema()), "n, topic, _extra, _topic, offset, key");
        assert!(
            all.describe().ends_with("; keep _topic, offset, key"),
            "{}",
            all.describe()
        );
        let wanted = ["offset", "partition", "value"].map(str::to_owned);
        let some = operator(BadRows::Skip, Some(&wanted)).expect("an operator");
        assert_eq!(names(&some.schema()), "n, topic, _extra, offset, value");
    }

    #[test]
    fn the_input_has_to_have_a_value() {
        let decoder = operator(BadRows::Skip, None).expect("an operator").decoder;
        let input = Schema::new(vec![Field::new("word", DataType::Utf8, false)]);
        let error = DecodeRows::new(decoder, &input, None, BadRows::Skip)
            .expect_err("no value")
            .to_string();
        assert_eq!(
            error,
            "expected a binary column `value` to decode; the columns are word"
        );
    }

    #[test]
    fn policies_have_names() {
        for (name, policy) in NAMES {
            assert_eq!((name.parse(), policy.to_string().as_str()), (Ok(policy), name));
        }
        let error = "deadletter".parse::<BadRows>().expect_err("no policy");
        assert!(error.ends_with(": did you mean dead_letter?"), "{error}");
    }
}
