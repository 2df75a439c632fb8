//! One record of a batch.
//!
//! ```text
//! length, attributes (one byte), timestamp delta, offset delta, key, value, number of headers, { key, value } ...
//! ```
//!
//! All but the attributes are varints, or bytes behind one (<https://kafka.apache.org/documentation/#record>).

use super::super::columns;
use super::super::ffi::TimestampKind;
use super::varint::{Malformed, take_bytes, take_i32, take_i64};

const HEADERS: &str = "a number of headers, and nothing after them";

/// A record as it stands in its batch; offset and time count from the batch's.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    pub(super) timestamp_delta: i64,
    pub(super) offset_delta: i32,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    /// Keys and values of the headers, behind their lengths; checked, if they were asked for.
    pub(super) headers: &'a [u8],
}

/// A record with its place and time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    pub(super) offset: i64,
    /// Milliseconds since 1970; negative when there is none.
    pub(super) timestamp: i64,
    pub(super) timestamp_kind: TimestampKind,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    /// Checked before, or empty.
    pub(super) headers: &'a [u8],
}

/// Takes a record off the front of `bytes`; its headers only if they are asked for.
///
/// # Errors
/// [`Malformed`] when a field is not what it must be.
#[inline(always)]
pub(super) fn take<'a>(bytes: &mut &'a [u8], with_headers: bool) -> Result<Fields<'a>, Malformed> {
    const LENGTH: &str = "a length within the batch";
    let length = usize::try_from(take_i32(bytes, LENGTH)?).map_err(|_| Malformed(LENGTH))?;
    let (record, rest) = bytes.split_at_checked(length).ok_or(Malformed(LENGTH))?;
    *bytes = rest;
    let [_attributes, record @ ..] = record else {
        return Err(Malformed("attributes"));
    };
    let mut record = record;
    let timestamp_delta = take_i64(&mut record, "a timestamp delta")?;
    let offset_delta = take_i32(&mut record, "an offset delta")?;
    let key = take_bytes(&mut record, "a key within the record")?;
    let value = take_bytes(&mut record, "a value within the record")?;
    match take_i32(&mut record, "a number of headers")? {
        0 if record.is_empty() => {}
        count @ 1.. if with_headers => check_headers(record, count)?,
        1.. => record = &[],
        _ => return Err(Malformed(HEADERS)),
    }
    Ok(Fields {
        timestamp_delta,
        offset_delta,
        key,
        value,
        headers: record,
    })
}

/// Checks that `bytes` are `count` headers, and nothing else.
#[inline(never)]
fn check_headers(mut bytes: &[u8], count: i32) -> Result<(), Malformed> {
    for _ in 0..count {
        take_header(&mut bytes)?;
    }
    match bytes.is_empty() {
        true => Ok(()),
        false => Err(Malformed(HEADERS)),
    }
}

fn take_header<'a>(bytes: &mut &'a [u8]) -> Result<(&'a [u8], Option<&'a [u8]>), Malformed> {
    const KEY: &str = "a header's key within the record";
    let key = take_bytes(bytes, KEY)?.ok_or(Malformed(KEY))?;
    let value = take_bytes(bytes, "a header's value within the record")?;
    Ok((key, value))
}

impl columns::Record for Record<'_> {
    #[inline(always)]
    fn offset(&self) -> i64 {
        self.offset
    }

    #[inline(always)]
    fn timestamp(&self) -> Option<(i64, TimestampKind)> {
        (self.timestamp >= 0).then_some((self.timestamp, self.timestamp_kind))
    }

    #[inline(always)]
    fn key(&self) -> Option<&[u8]> {
        self.key
    }

    #[inline(always)]
    fn value(&self) -> Option<&[u8]> {
        self.value
    }

    fn visit_headers(&self, mut visit: impl FnMut(&[u8], Option<&[u8]>)) {
        let mut bytes = self.headers;
        while !bytes.is_empty() {
            let (key, value) = take_header(&mut bytes).expect("checked when the record was taken");
            visit(key, value);
        }
    }
}
