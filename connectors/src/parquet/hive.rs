//! Folders by the rows' values, as Hive names them: `date=2026-01-31/status=404/`.
//!
//! A folder for a part of a time is derived, so the time itself stays in the file. A column whose own value names the
//! folder is not in the file: Hive, Spark and DuckDB leave it out too when they write, and read it back from the path.
//! Where a column is in both places, readers differ: pyarrow refuses a file whose type is not the one it infers from the
//! path. Null and an empty text are one folder, `__HIVE_DEFAULT_PARTITION__`, which Hive, Spark and pyarrow give back as
//! null, and DuckDB as that text.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;
use chrono::DateTime;
use engine::{Error, Result};

use super::naming;
use crate::spelling;

/// Folders that the rows of one epoch may go to: each is a file with encoders of its own, and readers of data lakes list
/// every one of them.
pub const FOLDERS_MAX: usize = 1000;

const HOUR_SECONDS: i64 = 3600;
const DAY_SECONDS: i64 = 24 * HOUR_SECONDS;

/// What names a folder of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionBy {
    /// The column.
    pub column: String,
    /// The part of its time, in UTC; the value itself if none.
    pub part: Option<DatePart>,
}

/// A part of a time, with all that is coarser, so that folders sort by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatePart {
    /// `year=2026`.
    Year,
    /// `month=2026-01`.
    Month,
    /// `date=2026-01-31`.
    Date,
    /// `hour=2026-01-31-08`.
    Hour,
}

/// Spreads the rows of an epoch, or of another whole, over folders.
#[derive(Debug)]
pub(super) struct Folders {
    levels: Vec<Level>,
    /// The columns that are in the files, by their index.
    kept: Vec<usize>,
    /// The folders so far.
    seen: HashSet<Arc<str>>,
    /// How many there may be.
    limit: usize,
    /// What has them, for messages.
    whole: &'static str,
}

/// One level of folders.
#[derive(Debug)]
struct Level {
    /// The column or the part, escaped.
    name: String,
    column: usize,
    part: Option<DatePart>,
}

/// The folder of every row of a batch, as an index into their names.
struct Named {
    rows: Vec<u32>,
    names: Vec<String>,
}

impl fmt::Display for PartitionBy {
    /// Writes `date(time)`, or the column.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.part {
            Some(part) => write!(f, "{}({})", part.name(), self.column),
            None => f.write_str(&self.column),
        }
    }
}

impl DatePart {
    /// Returns the part's name, which is also that of its folders.
    pub fn name(self) -> &'static str {
        match self {
            Self::Year => "year",
            Self::Month => "month",
            Self::Date => "date",
            Self::Hour => "hour",
        }
    }

    fn format(self) -> &'static str {
        match self {
            Self::Year => "%Y",
            Self::Month => "%Y-%m",
            Self::Date => "%Y-%m-%d",
            Self::Hour => "%Y-%m-%d-%H",
        }
    }

    /// Returns the length of the intervals that have one name each: days at most, since months differ.
    fn seconds(self) -> i64 {
        match self {
            Self::Hour => HOUR_SECONDS,
            Self::Year | Self::Month | Self::Date => DAY_SECONDS,
        }
    }
}

impl Folders {
    /// Returns the folders for rows of `schema`, from the outside in.
    ///
    /// # Errors
    /// When there is no such column, its type names no folder, two levels or a level and a column of the file have the same
    /// name, or no column is left for the file.
    pub(super) fn new(partition_by: &[PartitionBy], schema: &Schema) -> Result<Self> {
        let levels = partition_by.iter().map(|by| Level::new(by, schema));
        let levels: Vec<_> = levels.collect::<Result<_>>()?;
        let is_moved = |column: usize| {
            levels
                .iter()
                .any(|level| level.part.is_none() && level.column == column)
        };
        let kept: Vec<usize> = (0..schema.fields().len()).filter(|&column| !is_moved(column)).collect();
        for (index, level) in levels.iter().enumerate() {
            if levels[..index].iter().any(|outer| outer.name == level.name) {
                return invalid(format!("two levels of folders are named {}", level.name));
            }
            if kept.iter().any(|&column| *schema.field(column).name() == level.name) {
                return invalid(format!(
                    "the folders {}= would hide the column of that name: rename it",
                    level.name
                ));
            }
        }
        if kept.is_empty() {
            return invalid("all columns name folders, so that none is left for the files".to_owned());
        }
        Ok(Self {
            levels,
            kept,
            seen: HashSet::new(),
            limit: FOLDERS_MAX,
            whole: "the rows of one epoch",
        })
    }

    /// Returns the folders with another limit, of what is called `whole` in messages.
    #[must_use]
    pub(super) fn limited(self, whole: &'static str, limit: usize) -> Self {
        Self { limit, whole, ..self }
    }

    /// Returns the columns of `schema` that are in the files.
    pub(super) fn kept(&self, schema: &Schema) -> SchemaRef {
        let fields: Vec<_> = self
            .kept
            .iter()
            .map(|&column| schema.fields()[column].clone())
            .collect();
        Arc::new(Schema::new(fields))
    }

    /// Returns the rows by their folder, each folder once, in the order in which they appear.
    ///
    /// # Errors
    /// When the epoch has too many folders, or a value is too long for the name of one.
    pub(super) fn split(&mut self, records: &RecordBatch) -> Result<Vec<(Arc<str>, RecordBatch)>> {
        let mut folders: Option<Named> = None;
        for level in &self.levels {
            let inner = level.names(records)?;
            folders = Some(match folders {
                Some(outer) => outer.join(&inner),
                None => inner,
            });
        }
        let folders = folders.expect("there is a level");
        let names = folders.names.iter().map(|name| self.intern(name));
        let names: Vec<_> = names.collect::<Result<_>>()?;
        let records = records.project(&self.kept).map_err(Error::arrow("choose columns"))?;
        folders.split(&names, &records)
    }

    /// Forgets the epoch's folders.
    pub(super) fn end_epoch(&mut self) {
        self.seen.clear();
    }

    fn intern(&mut self, name: &str) -> Result<Arc<str>> {
        if let Some(known) = self.seen.get(name) {
            return Ok(Arc::clone(known));
        }
        if self.seen.len() >= self.limit {
            let levels: Vec<_> = self.levels.iter().map(|level| level.name.as_str()).collect();
            return Err(Error::Limit(format!(
                "parquet: {} have more than the limit of {} different folders by {}: use a column with fewer values, or a \
                 coarser part of the time",
                self.whole,
                self.limit,
                levels.join(", ")
            )));
        }
        let name: Arc<str> = name.into();
        self.seen.insert(Arc::clone(&name));
        Ok(name)
    }
}

impl Level {
    fn new(by: &PartitionBy, schema: &Schema) -> Result<Self> {
        let Ok(column) = schema.index_of(&by.column) else {
            let names = schema.fields().iter().map(|field| field.name().as_str());
            let hint = spelling::hint(&by.column, names);
            return invalid(format!("there is no column `{}` to make folders by{hint}", by.column));
        };
        let field = schema.field(column);
        match by.part {
            Some(part) => check_time(field, part)?,
            None => check_value(field)?,
        }
        let name = by.part.map_or(by.column.as_str(), |part| part.name());
        Ok(Self {
            name: naming::escape_value(name),
            column,
            part: by.part,
        })
    }

    fn names(&self, records: &RecordBatch) -> Result<Named> {
        let array = records.column(self.column);
        match self.part {
            Some(part) => self.names_of_times(array, part),
            None => self.names_of_values(array),
        }
    }

    fn names_of_times(&self, array: &ArrayRef, part: DatePart) -> Result<Named> {
        let interval = interval(array.data_type(), part);
        let times = cast(array, &DataType::Int64).map_err(Error::arrow("read times"))?;
        let times = times.as_primitive::<Int64Type>().iter();
        let keys = times.map(|time| time.map(|time| time.div_euclid(interval)));
        Named::new(keys, |&key| self.folder(part_text(key, part).as_deref()))
    }

    fn names_of_values(&self, array: &ArrayRef) -> Result<Named> {
        let texts = cast(array, &DataType::Utf8).map_err(Error::arrow("read values as text"))?;
        Named::new(texts.as_string::<i32>().iter(), |text| self.folder(*text))
    }

    /// Returns the folder's name for a value, `None` for null.
    fn folder(&self, value: Option<&str>) -> Result<String> {
        let value = value.map_or_else(|| naming::NULL.to_owned(), naming::escape_value);
        let folder = format!("{}={value}", self.name);
        if folder.len() > naming::NAME_BYTES_MAX {
            return Err(Error::Limit(format!(
                "parquet: a value of {} makes the name of a folder {} bytes long, more than the limit of {}",
                self.name,
                folder.len(),
                naming::NAME_BYTES_MAX
            )));
        }
        Ok(folder)
    }
}

impl Named {
    /// Names each distinct key once.
    fn new<K: Copy + Eq + Hash>(keys: impl Iterator<Item = K>, name: impl Fn(&K) -> Result<String>) -> Result<Self> {
        let mut ids: HashMap<K, u32> = HashMap::new();
        let (mut rows, mut names) = (Vec::new(), Vec::new());
        // Rows that follow each other mostly go to the same folder.
        let mut last: Option<(K, u32)> = None;
        for key in keys {
            let id = match last {
                Some((known, id)) if known == key => id,
                _ => match ids.get(&key) {
                    Some(&id) => id,
                    None => {
                        let id = index(names.len());
                        names.push(name(&key)?);
                        ids.insert(key, id);
                        id
                    }
                },
            };
            last = Some((key, id));
            rows.push(id);
        }
        Ok(Self { rows, names })
    }

    /// Returns the folders `inner` inside of these.
    fn join(&self, inner: &Self) -> Self {
        let pairs = self.rows.iter().copied().zip(inner.rows.iter().copied());
        let name = |&(outer, within): &(u32, u32)| {
            Ok(format!(
                "{}/{}",
                self.names[outer as usize], inner.names[within as usize]
            ))
        };
        Self::new(pairs, name).expect("two names make one")
    }

    /// Returns the rows of each folder: one copy of all, sorted by folder, and slices of it.
    fn split(&self, names: &[Arc<str>], records: &RecordBatch) -> Result<Vec<(Arc<str>, RecordBatch)>> {
        if let [only] = names {
            return Ok(vec![(Arc::clone(only), records.clone())]);
        }
        let mut ends = vec![0_usize; names.len()];
        for &id in &self.rows {
            ends[id as usize] += 1;
        }
        let counts = ends.clone();
        let mut start = 0;
        for end in &mut ends {
            start += std::mem::replace(end, start);
        }
        let mut order = vec![0_u32; self.rows.len()];
        for (row, &id) in self.rows.iter().enumerate() {
            order[ends[id as usize]] = index(row);
            ends[id as usize] += 1;
        }
        let sorted =
            take_record_batch(records, &UInt32Array::from(order)).map_err(Error::arrow("sort rows by folder"))?;
        let folder = |((name, &count), &end): ((&Arc<str>, &usize), &usize)| {
            (Arc::clone(name), sorted.slice(end - count, count))
        };
        Ok(names.iter().zip(&counts).zip(&ends).map(folder).collect())
    }
}

/// Returns the name of the interval `key` since 1970; `None` when it is outside of the calendar.
fn part_text(key: Option<i64>, part: DatePart) -> Option<String> {
    let seconds = key?.checked_mul(part.seconds())?;
    let time = DateTime::from_timestamp(seconds, 0)?;
    Some(time.format(part.format()).to_string())
}

/// Returns the length of the part's intervals in the units of a type that [`check_time`] let through.
fn interval(data_type: &DataType, part: DatePart) -> i64 {
    let per_second = match data_type {
        DataType::Date32 => return 1,
        DataType::Date64 | DataType::Timestamp(TimeUnit::Millisecond, _) => 1000,
        DataType::Timestamp(TimeUnit::Microsecond, _) => 1_000_000,
        DataType::Timestamp(TimeUnit::Nanosecond, _) => 1_000_000_000,
        _ => 1,
    };
    per_second * part.seconds()
}

fn check_time(field: &Field, part: DatePart) -> Result<()> {
    let fits = match field.data_type() {
        DataType::Timestamp(..) => true,
        DataType::Date32 | DataType::Date64 => part != DatePart::Hour,
        _ => false,
    };
    match fits {
        true => Ok(()),
        false => invalid(format!(
            "`{}` is {}, and {}() takes a time",
            field.name(),
            field.data_type(),
            part.name()
        )),
    }
}

fn check_value(field: &Field) -> Result<()> {
    let (name, data_type) = (field.name(), field.data_type());
    match data_type {
        DataType::Timestamp(..) => invalid(format!(
            "`{name}` is a time: expected year({name}), month({name}), date({name}) or hour({name})"
        )),
        _ if has_text(data_type) => Ok(()),
        _ => invalid(format!(
            "`{name}` is {data_type}, expected text, a whole number, a boolean or a date to make folders by"
        )),
    }
}

/// Returns whether equal values of a type have one text, and the text gives the value back.
fn has_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => has_text(values),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Boolean => true,
        DataType::Date32 | DataType::Date64 => true,
        _ => data_type.is_integer(),
    }
}

fn index(number: usize) -> u32 {
    u32::try_from(number).expect("a batch has fewer rows than 2^32")
}

fn invalid<T>(problem: String) -> Result<T> {
    Err(Error::Invalid(format!("parquet: {problem}")))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that can not go on should stop there")]
mod tests;
