//! String and binary columns as the bytes they hold.

use arrow::array::{
    Array, AsArray, BinaryArray, BinaryViewArray, FixedSizeBinaryArray, LargeBinaryArray, LargeStringArray,
    StringArray, StringViewArray,
};
use arrow::datatypes::DataType;

/// A string or binary column, its type resolved once a batch.
#[derive(Clone, Copy, Debug)]
pub enum RawColumn<'a> {
    /// `Utf8`.
    Utf8(&'a StringArray),
    /// `LargeUtf8`.
    LargeUtf8(&'a LargeStringArray),
    /// `Utf8View`.
    Utf8View(&'a StringViewArray),
    /// `Binary`.
    Binary(&'a BinaryArray),
    /// `LargeBinary`.
    LargeBinary(&'a LargeBinaryArray),
    /// `BinaryView`.
    BinaryView(&'a BinaryViewArray),
    /// `FixedSizeBinary`.
    FixedSizeBinary(&'a FixedSizeBinaryArray),
}

impl<'a> RawColumn<'a> {
    /// Returns whether columns of this type hold bytes that can be taken as they are.
    pub fn takes(data_type: &DataType) -> bool {
        use DataType::{Binary, BinaryView, FixedSizeBinary, LargeBinary, LargeUtf8, Utf8, Utf8View};
        matches!(
            data_type,
            Utf8 | LargeUtf8 | Utf8View | Binary | LargeBinary | BinaryView | FixedSizeBinary(_)
        )
    }

    /// Returns the column, or `None` when its type is neither a string nor binary.
    pub fn new(array: &'a dyn Array) -> Option<Self> {
        Some(match array.data_type() {
            DataType::Utf8 => Self::Utf8(array.as_string()),
            DataType::LargeUtf8 => Self::LargeUtf8(array.as_string()),
            DataType::Utf8View => Self::Utf8View(array.as_string_view()),
            DataType::Binary => Self::Binary(array.as_binary()),
            DataType::LargeBinary => Self::LargeBinary(array.as_binary()),
            DataType::BinaryView => Self::BinaryView(array.as_binary_view()),
            DataType::FixedSizeBinary(_) => Self::FixedSizeBinary(array.as_fixed_size_binary()),
            _ => return None,
        })
    }

    /// Returns the bytes of `row`, `None` for null.
    ///
    /// # Panics
    /// When there is no such row.
    pub fn get(&self, row: usize) -> Option<&'a [u8]> {
        match self {
            Self::Utf8(array) => array.is_valid(row).then(|| array.value(row).as_bytes()),
            Self::LargeUtf8(array) => array.is_valid(row).then(|| array.value(row).as_bytes()),
            Self::Utf8View(array) => array.is_valid(row).then(|| array.value(row).as_bytes()),
            Self::Binary(array) => array.is_valid(row).then(|| array.value(row)),
            Self::LargeBinary(array) => array.is_valid(row).then(|| array.value(row)),
            Self::BinaryView(array) => array.is_valid(row).then(|| array.value(row)),
            Self::FixedSizeBinary(array) => array.is_valid(row).then(|| array.value(row)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int32Array};
    use arrow::compute::cast;

    use super::*;

    #[test]
    fn every_string_and_binary_type_gives_its_bytes() {
        let strings: ArrayRef = Arc::new(StringArray::from(vec![Some("é"), None, Some("")]));
        let types = [
            DataType::Utf8,
            DataType::LargeUtf8,
            DataType::Utf8View,
            DataType::Binary,
            DataType::LargeBinary,
            DataType::BinaryView,
        ];
        for data_type in types {
            assert!(RawColumn::takes(&data_type));
            let array = cast(&strings, &data_type).expect("strings cast to binary and back");
            let column = RawColumn::new(array.as_ref()).expect("the type is taken");
            let rows: Vec<_> = (0..3).map(|row| column.get(row)).collect();
            assert_eq!(rows, [Some("é".as_bytes()), None, Some(&b""[..])], "{data_type}");
        }
    }

    #[test]
    fn other_types_have_no_bytes_of_their_own() {
        assert!(!RawColumn::takes(&DataType::Int32));
        assert!(RawColumn::new(&Int32Array::from(vec![1])).is_none());
    }
}
