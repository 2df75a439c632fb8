//! Which of a format's columns are built.

use arrow::datatypes::SchemaRef;

use super::column::{DeclaredColumn, Rows};
use super::time::TimeSettings;

/// The columns of a format with the ones that are wanted. A format knows its columns by their position among all of them;
/// the wanted ones are built, in the same order.
#[derive(Clone, Debug)]
pub struct Layout {
    built: Vec<DeclaredColumn>,
    /// The position in `built` of each column.
    slots: Vec<Option<usize>>,
    schema: SchemaRef,
    settings: TimeSettings,
}

impl Layout {
    /// Returns the layout of `columns` of which those named in `wanted` are built; `None` wants all. Names that are no
    /// column's say nothing: they may be another format's.
    pub fn new(columns: Vec<DeclaredColumn>, wanted: Option<&[String]>, settings: TimeSettings) -> Self {
        let is_wanted = |name: &String| wanted.is_none_or(|wanted| wanted.contains(name));
        let mut built: Vec<DeclaredColumn> = Vec::new();
        let mut slots = Vec::with_capacity(columns.len());
        for column in columns {
            slots.push(is_wanted(&column.name).then_some(built.len()));
            if is_wanted(&column.name) {
                built.push(column);
            }
        }
        Self {
            schema: DeclaredColumn::schema(&built),
            built,
            slots,
            settings,
        }
    }

    /// Returns the place of column `index` among the columns that are built.
    ///
    /// # Panics
    /// When the format has no such column.
    #[inline]
    pub fn slot(&self, index: usize) -> Option<usize> {
        self.slots[index]
    }

    /// Returns whether any of the columns `indices` is built.
    pub fn any(&self, mut indices: impl Iterator<Item = usize>) -> bool {
        indices.any(|index| self.slots[index].is_some())
    }

    /// Returns the columns that are built.
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// Returns no rows, with room for `rows`.
    pub fn rows(&self, rows: usize) -> Rows {
        Rows::new(&self.built, self.settings, rows)
    }

    /// Returns the columns that are built, with their types, for a decoder's description.
    pub fn describe(&self) -> String {
        let columns: Vec<_> = self.built.iter().map(DeclaredColumn::to_string).collect();
        columns.join(", ")
    }
}
