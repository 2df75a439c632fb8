//! `min(x)` and `max(x)` of numbers, times, booleans, strings and bytes; of other types by [`RowExtreme`]. NaN is greater
//! than any number. The least of booleans is `bool_and`, the greatest `bool_or`.

use std::cmp::Ordering;
use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, BinaryArray, BooleanArray, PrimitiveArray,
    StringArray,
};
use arrow::datatypes::{DataType, TimeUnit, *};

use super::row_extreme::RowExtreme;
use super::{Accumulator, each_valid, places};
use crate::error::{Error, Result};
use crate::memory;

/// Which end of the order is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Least,
    Greatest,
}

/// Calls `$make` with the Arrow type of a number or time type, or `$other`.
macro_rules! by_primitive {
    ($data_type:expr, $make:ident, $other:expr) => {
        match $data_type {
            DataType::Int8 => $make!(Int8Type),
            DataType::Int16 => $make!(Int16Type),
            DataType::Int32 => $make!(Int32Type),
            DataType::Int64 => $make!(Int64Type),
            DataType::UInt8 => $make!(UInt8Type),
            DataType::UInt16 => $make!(UInt16Type),
            DataType::UInt32 => $make!(UInt32Type),
            DataType::UInt64 => $make!(UInt64Type),
            DataType::Float32 => $make!(Float32Type),
            DataType::Float64 => $make!(Float64Type),
            DataType::Date32 => $make!(Date32Type),
            DataType::Timestamp(TimeUnit::Second, _) => $make!(TimestampSecondType),
            DataType::Timestamp(TimeUnit::Millisecond, _) => $make!(TimestampMillisecondType),
            DataType::Timestamp(TimeUnit::Microsecond, _) => $make!(TimestampMicrosecondType),
            DataType::Timestamp(TimeUnit::Nanosecond, _) => $make!(TimestampNanosecondType),
            _ => $other,
        }
    };
}

pub(super) use by_primitive;

/// Returns an accumulator for an argument type that can be grouped by.
pub(super) fn accumulator(argument: &DataType, side: Side) -> Box<dyn Accumulator> {
    let data_type = argument.clone();
    macro_rules! primitive {
        ($type:ty) => {
            Box::new(Extreme::<Primitive<$type>>::new(data_type, side))
        };
    }
    by_primitive!(
        &data_type,
        primitive,
        match data_type {
            DataType::Boolean => Box::new(Extreme::<Boolean>::new(data_type, side)),
            DataType::Utf8 => Box::new(Extreme::<Utf8>::new(data_type, side)),
            DataType::Binary => Box::new(Extreme::<Bytes>::new(data_type, side)),
            _ => Box::new(RowExtreme::new(&[data_type], side)),
        }
    )
}

/// How values of one Arrow type are read, kept, compared and given back.
trait Ordered: Debug + Send + Sync {
    type Value: Debug + Send + Sync + Clone;
    type Seen<'a>: Copy;
    fn each(array: &ArrayRef, take: impl FnMut(usize, Self::Seen<'_>));
    fn compare(seen: Self::Seen<'_>, kept: &Self::Value) -> Ordering;
    fn keep(seen: Self::Seen<'_>) -> Self::Value;

    /// Returns the bytes that a value owns.
    fn owned(_: &Self::Value) -> usize {
        0
    }

    fn array<'a>(values: impl Iterator<Item = Option<&'a Self::Value>>, data_type: &DataType) -> ArrayRef
    where
        Self::Value: 'a;
}

#[derive(Debug)]
struct Extreme<T: Ordered> {
    data_type: DataType,
    side: Side,
    kept: Vec<Option<T::Value>>,
}

impl<T: Ordered> Extreme<T> {
    fn new(data_type: DataType, side: Side) -> Self {
        Self {
            data_type,
            side,
            kept: Vec::new(),
        }
    }
}

impl<T: Ordered> Accumulator for Extreme<T> {
    fn update(&mut self, arguments: &[ArrayRef], groups: &[u32], total: usize) -> Result<()> {
        let values = &arguments[0];
        if *values.data_type() != self.data_type {
            let (found, expected) = (values.data_type(), &self.data_type);
            return Err(Error::Invalid(format!("min or max got {found}, expected {expected}")));
        }
        self.kept.resize(total, None);
        let better = match self.side {
            Side::Least => Ordering::Less,
            Side::Greatest => Ordering::Greater,
        };
        let kept = &mut self.kept;
        T::each(values, |row, seen| {
            let place = &mut kept[groups[row] as usize];
            if place.as_ref().is_none_or(|kept| T::compare(seen, kept) == better) {
                *place = Some(T::keep(seen));
            }
        });
        Ok(())
    }

    fn merge(&mut self, state: &[ArrayRef], groups: &[u32], total: usize) -> Result<()> {
        self.update(state, groups, total)
    }

    fn reset(&mut self, groups: &[u32], total: usize) {
        self.kept.resize(total, None);
        places(groups).for_each(|place| self.kept[place] = None);
    }

    fn state(&self, groups: &[u32]) -> Vec<ArrayRef> {
        vec![self.evaluate(groups)]
    }

    fn evaluate(&self, groups: &[u32]) -> ArrayRef {
        T::array(places(groups).map(|place| self.kept[place].as_ref()), &self.data_type)
    }

    fn memory(&self) -> usize {
        let owned = self.kept.iter().flatten().map(T::owned);
        memory::of(&self.kept) + owned.sum::<usize>()
    }

    fn clear(&mut self) {
        self.kept.clear();
    }
}

#[derive(Debug)]
struct Primitive<T>(std::marker::PhantomData<T>);

impl<T: ArrowPrimitiveType<Native: ArrowNativeTypeOp> + Debug + Send + Sync> Ordered for Primitive<T> {
    type Value = T::Native;
    type Seen<'a> = T::Native;

    fn each(array: &ArrayRef, mut take: impl FnMut(usize, T::Native)) {
        let values = array.as_primitive::<T>().values();
        each_valid(array, |row| take(row, values[row]));
    }

    fn compare(seen: T::Native, kept: &T::Native) -> Ordering {
        seen.compare(*kept)
    }

    fn keep(seen: T::Native) -> T::Native {
        seen
    }

    fn array<'a>(values: impl Iterator<Item = Option<&'a T::Native>>, data_type: &DataType) -> ArrayRef {
        let array: PrimitiveArray<T> = values.map(|value| value.copied()).collect();
        Arc::new(array.with_data_type(data_type.clone()))
    }
}

#[derive(Debug)]
struct Boolean;

impl Ordered for Boolean {
    type Value = bool;
    type Seen<'a> = bool;

    fn each(array: &ArrayRef, mut take: impl FnMut(usize, bool)) {
        let values = array.as_boolean().values();
        each_valid(array, |row| take(row, values.value(row)));
    }

    fn compare(seen: bool, kept: &bool) -> Ordering {
        seen.cmp(kept)
    }

    fn keep(seen: bool) -> bool {
        seen
    }

    fn array<'a>(values: impl Iterator<Item = Option<&'a bool>>, _: &DataType) -> ArrayRef {
        Arc::new(values.map(|value| value.copied()).collect::<BooleanArray>())
    }
}

#[derive(Debug)]
struct Utf8;

impl Ordered for Utf8 {
    type Value = Box<str>;
    type Seen<'a> = &'a str;

    fn each(array: &ArrayRef, mut take: impl FnMut(usize, &str)) {
        let values = array.as_string::<i32>();
        each_valid(array, |row| take(row, values.value(row)));
    }

    fn compare(seen: &str, kept: &Box<str>) -> Ordering {
        seen.cmp(kept)
    }

    fn keep(seen: &str) -> Box<str> {
        seen.into()
    }

    fn owned(kept: &Box<str>) -> usize {
        kept.len()
    }

    fn array<'a>(values: impl Iterator<Item = Option<&'a Box<str>>>, _: &DataType) -> ArrayRef {
        Arc::new(values.collect::<StringArray>())
    }
}

#[derive(Debug)]
struct Bytes;

impl Ordered for Bytes {
    type Value = Box<[u8]>;
    type Seen<'a> = &'a [u8];

    fn each(array: &ArrayRef, mut take: impl FnMut(usize, &[u8])) {
        let values = array.as_binary::<i32>();
        each_valid(array, |row| take(row, values.value(row)));
    }

    fn compare(seen: &[u8], kept: &Box<[u8]>) -> Ordering {
        seen.cmp(kept)
    }

    fn keep(seen: &[u8]) -> Box<[u8]> {
        seen.into()
    }

    fn owned(kept: &Box<[u8]>) -> usize {
        kept.len()
    }

    fn array<'a>(values: impl Iterator<Item = Option<&'a Box<[u8]>>>, _: &DataType) -> ArrayRef {
        Arc::new(values.collect::<BinaryArray>())
    }
}
