//! An ordered list of formats: each payload falls through until a format reads it.
//!
//! The order decides, never what came before: a payload gives the same row whatever batch it is in, so that a replay makes the
//! same rows. What keeps that cheap is [`Decoder::rules_out`], which passes over formats by a look at the payload, and that
//! whole columns of payloads go to a format at once: only what it refuses is gathered for the next.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, StringBuilder, UInt32Array, new_null_array};
use arrow::compute::{interleave, take};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use engine::{Error, Result};

use super::{Decoded, Decoder, Reject};

/// The column that names the format of each row.
const FORMAT_COLUMN: &str = "_format";

/// Decodes payloads of several formats to the union of their columns, and a column `_format`. A column that a row's format
/// lacks is null.
#[derive(Debug)]
pub struct List {
    formats: Vec<Format>,
    schema: SchemaRef,
    names_format: bool,
}

#[derive(Debug)]
struct Format {
    name: String,
    decoder: Arc<dyn Decoder>,
    /// The position of each column of the list's schema among the format's.
    columns: Vec<Option<usize>>,
}

/// What one format made of the payloads that came to it.
struct Pass {
    /// The index of the format.
    format: usize,
    /// The format's columns.
    columns: Vec<ArrayRef>,
}

/// A row's place in the pass that read it.
#[derive(Clone, Copy)]
struct Place {
    pass: usize,
    row: usize,
}

impl List {
    /// Returns a decoder of the named formats, in this order. `_format` is among its columns if `wanted` names it; `None`
    /// wants all.
    ///
    /// # Errors
    /// When a format is there twice, or two formats have columns of one name and different types.
    pub fn new(formats: Vec<(String, Arc<dyn Decoder>)>, wanted: Option<&[String]>) -> Result<Self> {
        let names_format = wanted.is_none_or(|wanted| wanted.iter().any(|name| name == FORMAT_COLUMN));
        let fields = union(&formats)?;
        let formats = formats.into_iter().map(|(name, decoder)| {
            let schema = decoder.schema();
            Format {
                name,
                decoder,
                columns: fields.iter().map(|field| schema.index_of(field.name()).ok()).collect(),
            }
        });
        let formats = formats.collect();
        let format_field = names_format.then(|| Arc::new(Field::new(FORMAT_COLUMN, DataType::Utf8, true)));
        let fields: Vec<_> = fields.into_iter().chain(format_field).collect();
        Ok(Self {
            formats,
            schema: Arc::new(Schema::new(fields)),
            names_format,
        })
    }

    /// Returns the first format from `from` on that does not rule the payload out at sight.
    fn candidate(&self, payload: &[u8], from: usize) -> usize {
        let mut formats = self.formats[from..].iter();
        let found = formats.position(|format| !format.decoder.rules_out(payload));
        found.map_or(self.formats.len(), |after| from + after)
    }

    /// Returns what each format read of the payloads, and each row's place in there; a row that none has read has none.
    fn fall_through(&self, payloads: &BinaryArray) -> Result<(Vec<Pass>, Vec<Option<Place>>)> {
        let first = |payload: Option<&[u8]>| payload.map_or(0, |payload| self.candidate(payload, 0));
        let mut candidates: Vec<_> = payloads.iter().map(first).collect();
        let mut places = vec![None; payloads.len()];
        let mut passes = Vec::new();
        for (index, format) in self.formats.iter().enumerate() {
            let rows: Vec<_> = (0..payloads.len()).filter(|&row| candidates[row] == index).collect();
            if rows.is_empty() {
                continue;
            }
            let decoded = match rows.len() == payloads.len() {
                true => format.decoder.decode(payloads)?,
                false => format.decoder.decode(&gather(payloads, &rows)?)?,
            };
            let pass = passes.len();
            for (at, &row) in rows.iter().enumerate() {
                places[row] = Some(Place { pass, row: at });
            }
            for reject in decoded.rejects {
                let row = rows[reject.row];
                places[row] = None;
                candidates[row] = self.candidate(payloads.value(row), index + 1);
            }
            passes.push(Pass {
                format: index,
                columns: decoded.columns,
            });
        }
        Ok((passes, places))
    }

    /// Returns what a pass made of column `column` of the list's schema, if its format has it.
    fn source<'p>(&self, pass: &'p Pass, column: usize) -> Option<&'p ArrayRef> {
        let index = self.formats[pass.format].columns[column]?;
        Some(&pass.columns[index])
    }

    /// Returns column `column` of the list's schema, put together from what each format made of it.
    fn joined(&self, column: usize, passes: &[Pass], places: &[Option<Place>]) -> Result<ArrayRef> {
        if let [pass] = passes
            && let Some(whole) = self.source(pass, column).filter(|whole| whole.len() == places.len())
        {
            return Ok(Arc::clone(whole));
        }
        let null = new_null_array(self.schema.field(column).data_type(), 1);
        let sources: Vec<_> = passes.iter().map(|pass| self.source(pass, column)).collect();
        let arrays = sources.iter().map(|source| source.map_or(&*null, |array| &**array));
        let arrays: Vec<&dyn Array> = std::iter::once(&*null).chain(arrays).collect();
        let index = |place: &Option<Place>| match place {
            Some(place) if sources[place.pass].is_some() => (place.pass + 1, place.row),
            _ => (0, 0),
        };
        let indices: Vec<_> = places.iter().map(index).collect();
        interleave(&arrays, &indices).map_err(Error::arrow("put the columns of several formats together"))
    }

    /// Returns one string a row: the name of its format.
    fn format_names(&self, passes: &[Pass], places: &[Option<Place>], payloads: &BinaryArray) -> ArrayRef {
        let mut names = StringBuilder::with_capacity(places.len(), places.len() * 8);
        for (row, place) in places.iter().enumerate() {
            let place = place.filter(|_| payloads.is_valid(row));
            names.append_option(place.map(|place| &self.formats[passes[place.pass].format].name));
        }
        Arc::new(names.finish())
    }

    /// Names the rows that no format has read, each with what every format says of it.
    fn rejects(&self, payloads: &BinaryArray, places: &[Option<Place>]) -> Result<Vec<Reject>> {
        let rows: Vec<_> = (0..places.len()).filter(|&row| places[row].is_none()).collect();
        let mut reasons = vec![Vec::new(); rows.len()];
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let payloads = gather(payloads, &rows)?;
        for format in &self.formats {
            for reject in format.decoder.decode(&payloads)?.rejects {
                reasons[reject.row].push(format!("{}: {}", format.name, reject.reason));
            }
        }
        let rejects = rows.into_iter().zip(reasons);
        Ok(rejects
            .map(|(row, reasons)| Reject {
                row,
                reason: reasons.join("; "),
            })
            .collect())
    }
}

impl Decoder for List {
    fn describe(&self) -> String {
        let formats: Vec<_> = self.formats.iter().map(|format| format.decoder.describe()).collect();
        formats.join(", else ")
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn decode(&self, payloads: &BinaryArray) -> Result<Decoded> {
        let (passes, places) = self.fall_through(payloads)?;
        let shared = self.schema.fields().len() - usize::from(self.names_format);
        let columns = (0..shared).map(|column| self.joined(column, &passes, &places));
        let mut columns = columns.collect::<Result<Vec<_>>>()?;
        if self.names_format {
            columns.push(self.format_names(&passes, &places, payloads));
        }
        Ok(Decoded {
            columns,
            rejects: self.rejects(payloads, &places)?,
        })
    }
}

/// Returns the fields of all formats, each name once, in the order in which they come.
fn union(formats: &[(String, Arc<dyn Decoder>)]) -> Result<Vec<Arc<Field>>> {
    let mut fields: Vec<Arc<Field>> = Vec::new();
    let mut owners: BTreeMap<String, &str> = BTreeMap::from([(FORMAT_COLUMN.to_owned(), "the list of formats")]);
    for (index, (name, decoder)) in formats.iter().enumerate() {
        if formats[..index].iter().any(|(earlier, _)| earlier == name) {
            return Err(Error::Invalid(format!("the format {name} is there twice")));
        }
        for field in decoder.schema().fields() {
            let Some(owner) = owners.get(field.name()) else {
                owners.insert(field.name().clone(), name);
                fields.push(Arc::clone(field));
                continue;
            };
            let earlier = fields.iter().find(|earlier| earlier.name() == field.name());
            let earlier = earlier.map_or(&DataType::Utf8, |earlier| earlier.data_type());
            if earlier != field.data_type() || *owner == owners[FORMAT_COLUMN] {
                return Err(Error::Invalid(format!(
                    "the column `{}` is {earlier} in {owner} and {} in {name}: expected one type",
                    field.name(),
                    field.data_type()
                )));
            }
        }
    }
    Ok(fields)
}

fn gather(payloads: &BinaryArray, rows: &[usize]) -> Result<BinaryArray> {
    // A batch has fewer rows than Arrow's 32-bit offsets count.
    let rows = UInt32Array::from_iter_values(rows.iter().map(|&row| row as u32));
    let gathered = take(payloads, &rows, None).map_err(Error::arrow("gather payloads"))?;
    Ok(gathered.as_binary::<i32>().clone())
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::Int64Type;
    use proptest::prelude::*;

    use super::*;
    use crate::decode::registry::{FormatOptions, build};
    use crate::decode::testing::{self, check, check_reject};

    const ACCESS: &str = r#"h - - [24/Nov/2026:06:30:16 +0000] "-" 200 6 "-" "-""#;

    fn list(names: &[&str], columns: &[&str]) -> Result<Arc<dyn Decoder>> {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let options = FormatOptions {
            columns: columns.iter().map(|text| text.parse().expect("a column")).collect(),
            ..FormatOptions::default()
        };
        build(&names, &options)
    }

    #[test]
    fn each_payload_falls_through_to_the_first_format_that_reads_it() {
        let list = list(&["combined", "logfmt", "lines"], &["status:int", "took:float"]).expect("a list");
        let time = ("time", "2026-11-24T06:30:16Z");
        let access = [
            ("host", "h"),
            time,
            ("status", "200"),
            ("bytes", "6"),
            ("_format", "combined"),
        ];
        check(&*list, ACCESS.as_bytes(), &access);
        let pairs = [
            ("status", "500"),
            ("took", "0.5"),
            ("_extra", r#"{"a":"b"}"#),
            ("_format", "logfmt"),
        ];
        check(&*list, b"status=500 took=0.5 a=b", &pairs);
        check(&*list, b"status=abc", &[("line", "status=abc"), ("_format", "lines")]);
    }

    #[test]
    fn rows_of_many_formats_keep_their_order() {
        let list = list(&["common", "logfmt"], &["status:int"]).expect("a list");
        let access = br#"h - - [-] "-" 404 -"#;
        let payloads = BinaryArray::from_opt_vec(vec![
            Some(b"status=1"),
            Some(access),
            None,
            Some(b"?"),
            Some(b"status=2"),
        ]);
        let decoded = list.decode(&payloads).expect("columns");
        let status = decoded.columns[list.schema().index_of("status").expect("a column")].clone();
        let status: Vec<_> = status.as_primitive::<Int64Type>().iter().collect();
        assert_eq!(status, [Some(1), Some(404), None, None, Some(2)]);
        let formats: Vec<_> = decoded
            .columns
            .last()
            .expect("_format")
            .as_string::<i32>()
            .iter()
            .collect();
        assert_eq!(formats, [Some("logfmt"), Some("common"), None, None, Some("logfmt")]);
        let rejects: Vec<_> = decoded.rejects.iter().map(|reject| reject.row).collect();
        assert_eq!(rejects, [3]);
    }

    #[test]
    fn a_row_bad_in_all_formats_has_the_reason_of_each() {
        let list = list(&["common", "logfmt"], &["n:int"]).expect("a list");
        let reason = "common: expected a host and a space from byte 0 on; logfmt: n: `x` is no int";
        check_reject(&*list, b"n=x", reason);
    }

    #[test]
    fn one_name_with_two_types_is_refused_with_both() {
        let error = list(&["combined", "logfmt"], &["status:string"])
            .expect_err("two types")
            .to_string();
        let expected = "the column `status` is Int64 in combined and Utf8 in logfmt: expected one type";
        assert_eq!(error, expected);
        list(&["lines", "logfmt"], &["_format:string"]).expect_err("the list's own column");
    }

    proptest! {
        #[test]
        fn a_row_does_not_depend_on_its_batch(lines in testing::near(ACCESS)) {
            let list = list(&["combined", "logfmt", "syslog"], &["status:int"]).expect("a list");
            testing::check_rows_are_independent(&*list, ACCESS.as_bytes(), &lines)?;
            testing::check_rows_are_independent(&*list, b"status=1", &lines)?;
        }
    }
}
