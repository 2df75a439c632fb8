//! Key columns of any type as byte strings, and back.
//!
//! One string or binary column is taken as it is, spans included. Anything else (several columns, numbers, times) goes
//! through Arrow's row format, in which equal rows are equal bytes. Floats are made canonical first: `-0.0` is the key
//! `0.0`, and every NaN is one key, as in Spark and DuckDB.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, Float32Array, Float64Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Float32Type, Float64Type};
use arrow::row::{RowConverter, SortField};

use super::bytes::BytesTable;
use super::counts::CountTable;
use crate::batch::Column;
use crate::error::{Error, Result};
use crate::kernel::hash::Seed;

/// Turns key columns into the keys of a [`BytesTable`] and back.
#[derive(Debug)]
pub struct KeyCodec {
    fields: Vec<FieldRef>,
    form: Form,
}

#[derive(Debug)]
enum Form {
    /// No key column: all rows are one group.
    Whole,
    /// One string or binary column.
    Bytes,
    /// Arrow's row format.
    Rows(RowConverter),
}

impl KeyCodec {
    /// Returns the codec for key columns of the types of `fields`.
    ///
    /// # Errors
    /// When a column is of a type that can't be grouped by.
    pub fn new(fields: &[FieldRef]) -> Result<Self> {
        let form = match fields {
            [] => Form::Whole,
            [field] if matches!(field.data_type(), DataType::Utf8 | DataType::Binary) => Form::Bytes,
            _ => {
                let types = fields
                    .iter()
                    .map(|field| SortField::new(value_type(field.data_type()).clone()))
                    .collect();
                Form::Rows(RowConverter::new(types).map_err(Error::arrow("group by these columns"))?)
            }
        };
        let fields = fields.to_vec();
        Ok(Self { fields, form })
    }

    /// Returns an empty table for this codec's keys.
    pub fn table(&self, seed: Seed) -> BytesTable {
        BytesTable::new(seed)
    }

    /// Appends the group id of each of the `rows` rows.
    ///
    /// # Errors
    /// When a column is not of its field's type.
    pub fn intern(&self, columns: &[&Column], rows: usize, table: &mut BytesTable, ids: &mut Vec<u32>) -> Result<()> {
        match (&self.form, columns) {
            (Form::Whole, _) => {
                let before = ids.len();
                table.intern_spans(&[], &[0], &[0], ids);
                ids.resize(before + rows, ids[before]);
            }
            (Form::Bytes, [Column::Spans(spans)]) => table.intern_spans(&spans.text, &spans.starts, &spans.ends, ids),
            _ => {
                let keys = self.bytes(columns)?;
                let is_null = |row| keys.nulls().is_some_and(|nulls| nulls.is_null(row));
                match keys.null_count() {
                    0 => table.intern_rows(keys.value_data(), keys.value_offsets(), |_| false, ids),
                    _ => table.intern_rows(keys.value_data(), keys.value_offsets(), is_null, ids),
                }
            }
        }
        Ok(())
    }

    /// Returns whether the keys are counted by [`count`](Self::count): there are key columns.
    pub fn can_count(&self) -> bool {
        !matches!(self.form, Form::Whole)
    }

    /// Counts the keys of the rows that are short; interns the others, and appends the group id of each of those.
    ///
    /// # Errors
    /// When a column is not of its field's type.
    pub fn count(
        &self,
        columns: &[&Column],
        counted: &mut CountTable,
        table: &mut BytesTable,
        ids: &mut Vec<u32>,
    ) -> Result<()> {
        if let (Form::Bytes, [Column::Spans(spans)]) = (&self.form, columns) {
            let span = |row: usize| Some((spans.starts[row], spans.ends[row]));
            count_spans(&spans.text, spans.starts.len(), span, (counted, table), ids);
            return Ok(());
        }
        let keys = self.bytes(columns)?;
        let offsets = keys.value_offsets();
        let span = |row: usize| {
            let is_valid = keys.is_valid(row);
            is_valid.then(|| (offsets[row].cast_unsigned(), offsets[row + 1].cast_unsigned()))
        };
        count_spans(keys.value_data(), keys.len(), span, (counted, table), ids);
        Ok(())
    }

    /// Returns the keys of the rows as bytes.
    fn bytes(&self, columns: &[&Column]) -> Result<BinaryArray> {
        match (&self.form, columns) {
            (Form::Bytes, [column]) => {
                let array = column.to_array();
                match array.data_type() {
                    DataType::Utf8 => Ok(BinaryArray::from(array.as_string::<i32>().clone())),
                    DataType::Binary => Ok(array.as_binary().clone()),
                    other => Err(wrong_type(&self.fields[0], other)),
                }
            }
            (Form::Rows(converter), columns) => {
                let arrays: Vec<_> = columns.iter().map(|column| canonical(&column.to_array())).collect();
                let rows = converter.convert_columns(&arrays);
                let rows = rows.map_err(Error::arrow("encode the key columns"))?;
                rows.try_into_binary().map_err(Error::arrow("encode the key columns"))
            }
            (Form::Bytes | Form::Whole, _) => unreachable!("the aggregate passes one column a key field"),
        }
    }

    /// Returns the key columns of the groups that `ids` names, one row a group.
    ///
    /// # Errors
    /// When a string key is not UTF-8.
    pub fn columns(&self, table: &BytesTable, ids: &[u32]) -> Result<Vec<ArrayRef>> {
        if matches!(self.form, Form::Whole) {
            return Ok(vec![]);
        }
        let mut bytes = BinaryBuilder::with_capacity(ids.len(), table.key_bytes(ids));
        table.for_each_key(ids, |key| bytes.append_option(key));
        let bytes = bytes.finish();
        match &self.form {
            Form::Rows(converter) => {
                let parser = converter.parser();
                let rows = (0..bytes.len()).map(|row| parser.parse(bytes.value(row)));
                converter
                    .convert_rows(rows)
                    .map_err(Error::arrow("decode the key columns"))
            }
            _ if *self.fields[0].data_type() == DataType::Utf8 => {
                let (offsets, text, nulls) = bytes.into_parts();
                let strings = StringArray::try_new(offsets, text, nulls);
                Ok(vec![Arc::new(strings.map_err(Error::arrow("decode the key column"))?)])
            }
            _ => Ok(vec![Arc::new(bytes)]),
        }
    }
}

/// Returns the type of a key column's values: that of its entries for a dictionary.
pub fn value_type(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::Dictionary(_, values) => values,
        other => other,
    }
}

/// Counts keys of `text`, and interns those that are too long to be counted.
#[inline]
fn count_spans(
    text: &[u8],
    rows: usize,
    span: impl Fn(usize) -> Option<(u32, u32)>,
    (counted, table): (&mut CountTable, &mut BytesTable),
    ids: &mut Vec<u32>,
) {
    let (mut starts, mut ends) = (vec![], vec![]);
    counted.count(text, rows, span, |start, end| {
        starts.push(start);
        ends.push(end);
    });
    table.intern_spans(text, &starts, &ends, ids);
}

/// Returns the array with the entries of a dictionary in place of their keys.
///
/// # Errors
/// When a dictionary's keys do not fit its entries.
pub fn unpacked(array: ArrayRef) -> Result<ArrayRef> {
    match array.data_type() {
        DataType::Dictionary(_, values) => cast(&array, values).map_err(Error::arrow("unpack a dictionary")),
        _ => Ok(array),
    }
}

/// Returns the array with one form for each value that counts as equal; dictionaries are unpacked.
pub(crate) fn canonical(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Float64 => {
            let one = |value: f64| if value.is_nan() { f64::NAN } else { value + 0.0 };
            Arc::new(array.as_primitive::<Float64Type>().unary::<_, Float64Type>(one)) as Arc<Float64Array>
        }
        DataType::Float32 => {
            let one = |value: f32| if value.is_nan() { f32::NAN } else { value + 0.0 };
            Arc::new(array.as_primitive::<Float32Type>().unary::<_, Float32Type>(one)) as Arc<Float32Array>
        }
        DataType::Dictionary(_, values) => cast(array, values).unwrap_or_else(|_| Arc::clone(array)),
        _ => Arc::clone(array),
    }
}

fn wrong_type(field: &FieldRef, found: &DataType) -> Error {
    Error::Invalid(format!(
        "key column `{}` is of type {found}, expected {}",
        field.name(),
        field.data_type()
    ))
}

#[cfg(test)]
mod tests {
    use arrow::array::{BooleanArray, DictionaryArray, Int32Array, TimestampMicrosecondArray};
    use arrow::datatypes::{Field, Int8Type};

    use super::*;

    #[track_caller]
    fn check(columns: Vec<ArrayRef>, ids_expected: &[u32]) {
        let field = |array: &ArrayRef| Arc::new(Field::new("key", array.data_type().clone(), true));
        let fields: Vec<_> = columns.iter().map(field).collect();
        let codec = KeyCodec::new(&fields).expect("types that can be grouped by");
        let mut table = codec.table(Seed(1, 2));
        let rows = ids_expected.len();
        let columns: Vec<_> = columns.into_iter().map(Column::Array).collect();
        let mut ids = vec![];
        codec
            .intern(&columns.iter().collect::<Vec<_>>(), rows, &mut table, &mut ids)
            .expect("the right types");
        assert_eq!(ids, ids_expected);

        let back = codec.columns(&table, &ids).expect("keys that were interned");
        for (back, column) in back.iter().zip(&columns) {
            assert_eq!(back, &canonical(&column.to_array()), "every row finds its key again");
        }
    }

    #[test]
    fn every_type_and_null_is_a_key() {
        check(
            vec![Arc::new(StringArray::from(vec![
                Some("a"),
                None,
                Some(""),
                Some("a"),
                None,
            ]))],
            &[0, 1, 2, 0, 1],
        );
        check(
            vec![Arc::new(Int32Array::from(vec![Some(1), None, Some(-1), Some(1), None]))],
            &[0, 1, 2, 0, 1],
        );
        check(
            vec![Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]))],
            &[0, 1, 2],
        );
        let times = TimestampMicrosecondArray::from(vec![5, 6, 5]).with_timezone("UTC");
        check(vec![Arc::new(times)], &[0, 1, 0]);
    }

    #[test]
    fn equal_floats_are_one_key() {
        let floats = vec![0.0, -0.0, f64::NAN, -f64::NAN, 1.5];
        check(vec![Arc::new(Float64Array::from(floats))], &[0, 0, 1, 1, 2]);
    }

    #[test]
    fn several_columns_are_one_key() {
        let hosts = StringArray::from(vec!["ab", "a", "ab", "a"]);
        let codes = StringArray::from(vec!["c", "bc", "c", "bd"]);
        check(vec![Arc::new(hosts), Arc::new(codes)], &[0, 1, 0, 2]);
    }

    #[test]
    fn a_dictionary_is_unpacked_to_its_entries() {
        let words: DictionaryArray<Int8Type> = [Some("b"), None, Some("a"), Some("b")].into_iter().collect();
        let unpacked = unpacked(Arc::new(words)).expect("strings");
        let expected = StringArray::from(vec![Some("b"), None, Some("a"), Some("b")]);
        assert_eq!(unpacked.as_string(), &expected);
    }
}
