//! Values of a column type as dense ids, for aggregates that keep values: each is there once, however many groups have it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryArray, BinaryBuilder};
use arrow::datatypes::{DataType, Field};

use crate::batch::Column;
use crate::error::{Error, Result};
use crate::group::bytes::BytesTable;
use crate::group::keys::KeyCodec;
use crate::kernel::hash::Seed;
use crate::memory;

/// The bytes of values that one aggregate may keep in one of the state's shards: an Arrow string column holds less than
/// 2 GiB, so the state of a shard fits one.
const HELD_BYTES_MAX: usize = 1 << 30;

/// Interned values.
#[derive(Debug)]
pub(super) struct Values {
    codec: KeyCodec,
    table: BytesTable,
    /// By id: the length of the encoded value.
    lengths: Vec<usize>,
    null: Option<u32>,
}

impl Values {
    /// Returns no values of a type that [`is_comparable`] accepts.
    pub(super) fn new(data_type: &DataType) -> Self {
        let codec = codec(data_type).expect("the plan has checked the type");
        let table = codec.table(Seed::random());
        Self {
            codec,
            table,
            lengths: Vec::new(),
            null: None,
        }
    }

    /// Returns the bytes of memory that the values hold, used or not.
    pub(super) fn memory(&self) -> usize {
        self.table.memory() + memory::of(&self.lengths)
    }

    /// Returns the number of values.
    pub(super) fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Sets `ids` to the id of each row's value.
    ///
    /// # Errors
    /// When the column is of another type.
    pub(super) fn intern(&mut self, array: &ArrayRef, ids: &mut Vec<u32>) -> Result<()> {
        ids.clear();
        let column = Column::Array(Arc::clone(array));
        self.codec.intern(&[&column], array.len(), &mut self.table, ids)?;
        let known = u32::try_from(self.len()).expect("ids are 32-bit");
        let new: Vec<u32> = (known..u32::try_from(self.table.len()).expect("ids are 32-bit")).collect();
        let lengths = &mut self.lengths;
        self.table
            .for_each_key(&new, |key| lengths.push(key.map_or(0, <[u8]>::len)));
        if let Some(nulls) = array.logical_nulls().filter(|nulls| nulls.null_count() > 0) {
            self.null = nulls.iter().position(|valid| !valid).map(|row| ids[row]);
        }
        Ok(())
    }

    /// Returns the length of a value as it is encoded: the bytes of a string.
    #[inline]
    pub(super) fn length(&self, id: u32) -> usize {
        self.lengths[id as usize]
    }

    /// Returns whether the value is null.
    pub(super) fn is_null(&self, id: u32) -> bool {
        self.null == Some(id)
    }

    /// Returns the values as a column.
    pub(super) fn array(&self, ids: &[u32]) -> ArrayRef {
        let columns = self.codec.columns(&self.table, ids);
        let mut columns = columns.expect("the values were rows of such a column");
        columns.swap_remove(0)
    }

    /// Returns the values as bytes that compare as the values do; those of a string are its own.
    pub(super) fn encoded(&self, ids: &[u32]) -> BinaryArray {
        let mut bytes = BinaryBuilder::with_capacity(ids.len(), 0);
        self.table
            .for_each_key(ids, |key| bytes.append_value(key.unwrap_or_default()));
        bytes.finish()
    }

    pub(super) fn clear(&mut self) {
        self.table.clear();
        self.lengths.clear();
        self.null = None;
    }
}

/// Returns whether values of this type can be kept: those that can be grouped by.
pub(super) fn is_comparable(data_type: &DataType) -> bool {
    *data_type != DataType::Null && codec(data_type).is_ok()
}

/// Returns an error when `function` keeps more bytes of values than a state's shard may.
pub(super) fn check_held(function: &str, bytes: usize) -> Result<()> {
    match bytes <= HELD_BYTES_MAX {
        true => Ok(()),
        false => Err(Error::Limit(format!(
            "{function} keeps {bytes} bytes of values in one of the state's shards, at most {HELD_BYTES_MAX} fit"
        ))),
    }
}

fn codec(data_type: &DataType) -> Result<KeyCodec> {
    KeyCodec::new(&[Arc::new(Field::new("value", data_type.clone(), true))])
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, StringArray};

    use super::*;

    #[test]
    fn values_are_interned_once_and_nulls_known() {
        let mut values = Values::new(&DataType::Utf8);
        let mut ids = vec![];
        for (strings, expected) in [
            (vec![Some("a"), None, Some(""), Some("a")], [0, 1, 2, 0]),
            (vec![Some("ccc"), Some(""), None, Some("a")], [3, 2, 1, 0]),
        ] {
            let array: ArrayRef = Arc::new(StringArray::from(strings));
            values.intern(&array, &mut ids).expect("strings");
            assert_eq!(ids, expected);
            assert_eq!(&values.array(&ids), &array);
        }
        let known: Vec<_> = (0..4).map(|id| (values.length(id), values.is_null(id))).collect();
        assert_eq!(known, [(1, false), (0, true), (0, false), (3, false)]);
        assert_eq!(values.array(&[3]).as_string::<i32>().value(0), "ccc");
        assert_eq!(values.encoded(&[2, 3]), BinaryArray::from_vec(vec![b"", b"ccc"]));
        values.clear();
        assert_eq!(values.len(), 0);
    }

    #[test]
    fn what_is_kept_has_a_bound_that_the_error_names() {
        check_held("top_k", HELD_BYTES_MAX).expect("it fits");
        let error = check_held("top_k", HELD_BYTES_MAX + 1).expect_err("one byte too many");
        assert!(error.to_string().starts_with("top_k keeps 1073741825 bytes"), "{error}");
    }
}
