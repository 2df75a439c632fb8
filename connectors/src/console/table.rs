//! A table drawn with `+`, `-` and `|`, as Spark's `show` draws it: cells right-aligned and cut at twenty characters.

use arrow::record_batch::RecordBatch;
use engine::{Epoch, Result};

use super::cell::Cells;

/// The longest cell in characters; a longer one ends in `...`. Spark's default.
const CELL_CHARACTERS_MAX: usize = 20;

/// The narrowest column; also Spark's.
const WIDTH_MIN: usize = 3;

const RULE: &str = "-------------------------------------------\n";

/// Appends the header of a batch and the table of its rows.
///
/// # Errors
/// When a column's type can't be shown.
pub(super) fn render(epoch: Epoch, records: &RecordBatch, text: &mut String) -> Result<()> {
    text.push_str(&format!("{RULE}Batch: {epoch}\n{RULE}"));
    let mut columns = Vec::with_capacity(records.num_columns());
    for (field, array) in records.schema().fields().iter().zip(records.columns()) {
        let cells = Cells::new(array)?;
        let rows = (0..records.num_rows()).map(|row| cells.table_text(row));
        let name = escape_name(field.name());
        columns.push(std::iter::once(name).chain(rows).map(shorten).collect::<Vec<_>>());
    }
    let column_width = |cells: &Vec<String>| cells.iter().map(|cell| width(cell)).max().unwrap_or(0).max(WIDTH_MIN);
    let widths: Vec<_> = columns.iter().map(column_width).collect();
    let border = border(&widths);
    text.push_str(&border);
    for row in 0..=records.num_rows() {
        text.push('|');
        for (cells, &column) in columns.iter().zip(&widths) {
            let cell = &cells[row];
            text.extend(std::iter::repeat_n(' ', column - width(cell)));
            text.push_str(cell);
            text.push('|');
        }
        text.push('\n');
        if row == 0 {
            text.push_str(&border);
        }
    }
    text.push_str(&border);
    Ok(())
}

fn border(widths: &[usize]) -> String {
    let mut border = String::from("+");
    for &width in widths {
        border.extend(std::iter::repeat_n('-', width));
        border.push('+');
    }
    border.push('\n');
    border
}

fn escape_name(name: &str) -> String {
    let escape = |character: char| {
        let escaped = character.is_control().then(|| character.escape_default().to_string());
        escaped.unwrap_or_else(|| character.to_string())
    };
    name.chars().map(escape).collect()
}

fn shorten(cell: String) -> String {
    if cell.chars().nth(CELL_CHARACTERS_MAX).is_none() {
        return cell;
    }
    let kept = cell.chars().take(CELL_CHARACTERS_MAX - 3);
    kept.chain("...".chars()).collect()
}

/// Returns the columns of the terminal that `text` takes.
fn width(text: &str) -> usize {
    text.chars()
        .map(|character| if is_wide(character) { 2 } else { 1 })
        .sum()
}

/// Whether a character is two columns wide: the ranges that Spark's `show` takes for full width.
fn is_wide(character: char) -> bool {
    matches!(character,
        '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}' | '\u{f900}'..='\u{faff}'
        | '\u{fe10}'..='\u{fe19}' | '\u{fe30}'..='\u{fe6f}' | '\u{ff00}'..='\u{ff60}' | '\u{ffe0}'..='\u{ffe6}')
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    #[test]
    fn cells_are_aligned_cut_and_at_least_three_wide() {
        let words: ArrayRef = Arc::new(StringArray::from(vec![
            "日本",
            "exactly twenty chars",
            "more than twenty chars",
        ]));
        let counts: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
        let records = RecordBatch::try_from_iter([("word", words), ("n", counts)]).expect("two columns");
        let mut text = String::new();
        render(Epoch(12), &records, &mut text).expect("plain types");
        let expected = "\
-------------------------------------------
Batch: 12
-------------------------------------------
+--------------------+---+
|                word|  n|
+--------------------+---+
|                日本|  1|
|exactly twenty chars|  2|
|more than twenty ...|  3|
+--------------------+---+
";
        assert_eq!(text, expected);
    }
}
