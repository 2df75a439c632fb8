use arrow::array::{
    BooleanArray, Date32Array, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray,
    TimestampNanosecondArray,
};
use proptest::prelude::*;

use super::*;

fn by(column: &str, part: Option<DatePart>) -> PartitionBy {
    PartitionBy {
        column: column.to_owned(),
        part,
    }
}

/// Returns rows of `column`, `x`, numbered in a column `row`.
fn rows(column: ArrayRef) -> RecordBatch {
    let numbers = Int64Array::from_iter_values(0..column.len() as i64);
    RecordBatch::try_from_iter_with_nullable([("row", Arc::new(numbers) as ArrayRef, false), ("x", column, true)])
        .unwrap()
}

/// Checks the folder of every row of a column.
#[track_caller]
fn check(column: impl Array + 'static, part: Option<DatePart>, expected: &[&str]) {
    let records = rows(Arc::new(column));
    let mut folders = Folders::new(&[by("x", part)], &records.schema()).unwrap();
    let mut found = vec![String::new(); records.num_rows()];
    for (folder, records) in folders.split(&records).unwrap() {
        assert_eq!(records.schema().fields().len(), if part.is_some() { 2 } else { 1 });
        for &row in records["row"].as_primitive::<Int64Type>().values() {
            found[usize::try_from(row).unwrap()] = folder.to_string();
        }
    }
    assert_eq!(found, expected);
}

/// 2026-01-31T08:59:59.999999Z.
const TIME_MICROS: i64 = 1_769_849_999_999_999;

#[test]
fn a_part_of_a_time_names_a_folder_that_sorts() {
    let times = || TimestampMicrosecondArray::from(vec![Some(TIME_MICROS), Some(-1), None]).with_timezone("UTC");
    let null = |part: DatePart| format!("{}=__HIVE_DEFAULT_PARTITION__", part.name());
    let folders = [
        (DatePart::Year, "year=2026", "year=1969"),
        (DatePart::Month, "month=2026-01", "month=1969-12"),
        (DatePart::Date, "date=2026-01-31", "date=1969-12-31"),
        (DatePart::Hour, "hour=2026-01-31-08", "hour=1969-12-31-23"),
    ];
    for (part, late, early) in folders {
        check(times(), Some(part), &[late, early, &null(part)]);
    }
    let nanos = TimestampNanosecondArray::from(vec![TIME_MICROS * 1000]);
    check(nanos, Some(DatePart::Hour), &["hour=2026-01-31-08"]);
    check(Date32Array::from(vec![-1]), Some(DatePart::Month), &["month=1969-12"]);
}

#[test]
fn a_time_outside_of_the_calendar_is_in_the_folder_of_nulls() {
    check(
        TimestampMicrosecondArray::from(vec![i64::MAX]),
        Some(DatePart::Date),
        &["date=__HIVE_DEFAULT_PARTITION__"],
    );
}

#[test]
fn a_value_names_its_folder() {
    check(
        Int64Array::from(vec![Some(404), Some(-1), None]),
        None,
        &["x=404", "x=-1", "x=__HIVE_DEFAULT_PARTITION__"],
    );
    check(BooleanArray::from(vec![true, false]), None, &["x=true", "x=false"]);
    check(Date32Array::from(vec![0]), None, &["x=1970-01-01"]);
    check(
        StringArray::from(vec!["GET", "", "GET"]),
        None,
        &["x=GET", "x=__HIVE_DEFAULT_PARTITION__", "x=GET"],
    );
}

#[test]
fn a_value_never_leads_outside() {
    check(
        StringArray::from(vec!["../../x", "/etc", "..", "a=b c%", "é"]),
        None,
        &["x=..%2F..%2Fx", "x=%2Fetc", "x=..", "x=a%3Db%20c%25", "x=é"],
    );
}

#[test]
fn a_value_that_is_too_long_for_a_folder_is_named() {
    let records = rows(Arc::new(StringArray::from(vec!["y".repeat(254)])));
    let mut folders = Folders::new(&[by("x", None)], &records.schema()).unwrap();
    let error = folders.split(&records).expect_err("too long").to_string();
    assert!(
        error.contains("a value of x") && error.contains("limit of 255"),
        "{error}"
    );
}

#[test]
fn an_epoch_has_a_bounded_number_of_folders() {
    let values = |from: i64, to: i64| rows(Arc::new(Int64Array::from_iter_values(from..to)));
    let mut folders = Folders::new(&[by("x", None)], &values(0, 1).schema()).unwrap();
    assert_eq!(folders.split(&values(0, 1000)).unwrap().len(), 1000);
    let error = folders.split(&values(0, 1001)).expect_err("one too many").to_string();
    assert!(error.contains("limit of 1000") && error.contains("by x"), "{error}");
    folders.end_epoch();
    assert_eq!(folders.split(&values(1000, 2000)).unwrap().len(), 1000);
}

#[track_caller]
fn check_refused(levels: &[PartitionBy], expected: &str) {
    let columns: [(&str, ArrayRef); 3] = [
        ("date", Arc::new(TimestampMicrosecondArray::from(vec![0]))),
        ("share", Arc::new(Float64Array::from(vec![0.5]))),
        ("status", Arc::new(Int64Array::from(vec![404]))),
    ];
    let schema = RecordBatch::try_from_iter(columns).unwrap().schema();
    let error = Folders::new(levels, &schema).expect_err("refused").to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn what_names_no_folder_is_refused() {
    check_refused(
        &[by("stauts", None)],
        "there is no column `stauts` to make folders by: did you mean status?",
    );
    check_refused(&[by("share", None)], "`share` is Float64, expected text");
    check_refused(&[by("date", None)], "expected year(date), month(date)");
    check_refused(
        &[by("status", Some(DatePart::Date))],
        "`status` is Int64, and date() takes a time",
    );
    check_refused(
        &[by("date", Some(DatePart::Date))],
        "would hide the column of that name",
    );
    check_refused(
        &[by("status", None), by("status", None)],
        "two levels of folders are named status",
    );
}

#[test]
fn a_file_has_a_column_at_least() {
    let schema = Schema::new(vec![Field::new("x", DataType::Utf8, true)]);
    let error = Folders::new(&[by("x", None)], &schema)
        .expect_err("nothing is left")
        .to_string();
    assert!(error.contains("none is left for the files"), "{error}");
}

proptest! {
    #[test]
    fn every_row_is_in_its_folder_once(values in prop::collection::vec((any::<Option<u8>>(), 0..100_i64), 0..50), skip in 0..3_usize) {
        let numbers: ArrayRef = Arc::new(values.iter().map(|value| value.0.map(|x| i64::from(x % 3))).collect::<Int64Array>());
        let hours = values.iter().map(|value| value.1 * 3_600_000_000);
        let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from_iter_values(hours));
        let records = RecordBatch::try_from_iter([("n", numbers), ("time", times)]).unwrap();
        let skip = skip.min(values.len());
        let (records, values) = (records.slice(skip, values.len() - skip), &values[skip..]);
        let mut folders = Folders::new(&[by("time", Some(DatePart::Date)), by("n", None)], &records.schema()).unwrap();
        let mut found = Vec::new();
        for (folder, records) in folders.split(&records).unwrap() {
            let times = records["time"].as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
            found.extend(times.values().iter().map(|time| (folder.to_string(), *time)));
        }
        let mut expected: Vec<_> = values.iter().map(|&(number, hour)| {
            let number = number.map_or(naming::NULL.to_owned(), |number| (number % 3).to_string());
            (format!("date=1970-01-{:02}/n={number}", 1 + hour / 24), hour * 3_600_000_000)
        }).collect();
        found.sort();
        expected.sort();
        prop_assert_eq!(found, expected);
    }
}
