//! `tokenize`: every token of a text column becomes a row.
//!
//! Tokens are not copied: the token column is a list of spans into the text column's buffer. Separators between tokens
//! are never part of one, empty tokens are dropped (`a  b` is two tokens in every mode), and tokens never join across
//! rows. A null row has no token.

use std::cell::RefCell;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray, StringBuilder, UInt32Array};
use arrow::buffer::Buffer;
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::Operator;
use super::expression::column_index;
use crate::batch::{Batch, Column, Lines, Spans};
use crate::error::{Error, Result};
use crate::kernel::separators::ByteSet;
use crate::kernel::tokenize::token_spans;
use crate::metrics::Metrics;

thread_local! {
    /// Scratch of this thread, for new pages from the system cost more than what is done with them.
    static MASKS: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// What separates tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SplitMode {
    /// Space, tab, line feed, form feed, carriage return: Rust's `split_ascii_whitespace`.
    Ascii,
    /// The single space only, as Java's and Spark's `split(" ")` without the empty strings.
    Space,
    /// Every character with Unicode's `White_Space` property: Rust's `split_whitespace`.
    Unicode,
    /// Any of these ASCII characters.
    Bytes(String),
    /// Tokens are runs of word characters: letters and digits of any script, and the underscore.
    Word,
}

/// Makes a row of every token of one text column.
#[derive(Debug)]
pub struct Tokenize {
    name: String,
    column: usize,
    mode: SplitMode,
    lower: bool,
    ascii: ByteSet,
    kept: Vec<usize>,
    schema: SchemaRef,
}

impl Tokenize {
    /// Returns the operator for text column `name` of batches of `schema`. Its batches have the columns `kept`,
    /// repeated for each token, and at last `token`. With `lower`, the text is put into lower case first, by Unicode's
    /// rules.
    ///
    /// # Errors
    /// When a column is missing, or `name` is not text.
    pub fn new(name: &str, mode: SplitMode, lower: bool, kept: &[&str], token: &str, schema: &Schema) -> Result<Self> {
        let column = column_index(schema, name)?;
        let found = schema.field(column).data_type();
        if *found != DataType::Utf8 {
            return Err(Error::Invalid(format!(
                "column `{name}` is {found}, expected Utf8 to tokenize"
            )));
        }
        let kept = kept
            .iter()
            .map(|name| column_index(schema, name))
            .collect::<Result<Vec<_>>>()?;
        let mut fields: Vec<_> = kept.iter().map(|&index| schema.field(index).clone()).collect();
        fields.push(Field::new(token, DataType::Utf8, false));
        Ok(Self {
            name: name.to_owned(),
            column,
            ascii: mode.ascii_separators(),
            mode,
            lower,
            kept,
            schema: Arc::new(Schema::new(fields)),
        })
    }

    /// Returns the tokens of the text between neighbouring `offsets`.
    fn spans(&self, text: Buffer, offsets: &[i32]) -> Spans {
        let mut spans = Spans::none_of(text);
        let Spans { text, starts, ends } = &mut spans;
        if self.mode.is_ascii_only() || text.is_ascii() {
            MASKS.with_borrow_mut(|masks| token_spans(offsets, text, &self.ascii, masks, starts, ends));
        } else {
            let place = |offset: i32| usize::try_from(offset).expect("Arrow offsets are never negative");
            let (first, last) = (offsets.first().copied(), offsets.last().copied());
            let first = place(first.unwrap_or_default());
            let text = simdutf8::basic::from_utf8(&text[first..place(last.unwrap_or_default())]);
            let text = text.expect("a string column is UTF-8");
            for row in offsets.windows(2) {
                let row = place(row[0])..place(row[1]);
                self.words_between(&text[row.start - first..row.end - first], row.start, starts, ends);
            }
        }
        spans
    }

    /// Appends the tokens of one row, which begins at byte `first` of its text, by looking at every character.
    fn words_between(&self, row: &str, first: usize, starts: &mut Vec<u32>, ends: &mut Vec<u32>) {
        let place = |at: usize| u32::try_from(at).expect("Arrow offsets are 31-bit");
        let tokens = row.split(|character| self.mode.separates(character));
        for token in tokens.filter(|token| !token.is_empty()) {
            let start = first + (token.as_ptr() as usize - row.as_ptr() as usize);
            starts.push(place(start));
            ends.push(place(start + token.len()));
        }
    }

    /// Returns the text of `lines` if its tokens are those of the lines: line ends separate, nothing has to know its row.
    fn whole_text(&self, lines: &Lines) -> Option<Buffer> {
        let text = lines.text();
        let ends_separate = self.ascii.contains(b'\n') && self.ascii.contains(b'\r');
        let may_lower = !self.lower || text.is_ascii();
        (self.kept.is_empty() && ends_separate && may_lower).then(|| match self.lower {
            true => text.to_ascii_lowercase().into(),
            false => text.clone(),
        })
    }

    /// Returns the tokens of an array of strings, after the kept columns.
    fn tokens_of_rows(&self, batch: &Batch, mut text: ArrayRef) -> Result<Vec<Column>> {
        // An Arrow null may hide bytes; they are no tokens.
        if text.nulls().is_some_and(|nulls| nulls.null_count() > 0) {
            text = without_hidden_bytes(text.as_string());
        }
        if self.lower {
            text = lower_case(text.as_string());
        }
        let text = text.as_string();
        let spans = self.spans(text.values().clone(), text.value_offsets());
        let mut columns = self.repeat_kept(batch, text, &spans)?;
        columns.push(Column::Spans(spans));
        Ok(columns)
    }

    /// Returns the columns kept, each value as often as its row has tokens.
    fn repeat_kept(&self, batch: &Batch, text: &StringArray, spans: &Spans) -> Result<Vec<Column>> {
        if self.kept.is_empty() {
            return Ok(vec![]);
        }
        let rows = UInt32Array::from(rows_of_tokens(text.value_offsets(), &spans.starts));
        let repeat = |&index: &usize| {
            let column = batch.column(index).to_array();
            take(&column, &rows, None)
                .map(Column::Array)
                .map_err(Error::arrow("repeat the columns of a token"))
        };
        self.kept.iter().map(repeat).collect()
    }
}

impl Operator for Tokenize {
    fn describe(&self) -> String {
        let case = if self.lower { " lower" } else { "" };
        let fields = self.schema.fields();
        let kept: Vec<_> = fields[..self.kept.len()]
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        let kept = if kept.is_empty() {
            String::new()
        } else {
            format!(" keep {}", kept.join(", "))
        };
        format!("tokenize {} {}{case}{kept}", self.name, self.mode)
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn apply(&self, batch: Batch, _: &Metrics) -> Result<Batch> {
        let columns = match batch.column(self.column) {
            Column::Lines(lines) if let Some(text) = self.whole_text(lines) => {
                let end = i32::try_from(text.len()).expect("a batch's text is smaller than 2 GiB");
                vec![Column::Spans(self.spans(text, &[0, end]))]
            }
            column => self.tokens_of_rows(&batch, column.to_array())?,
        };
        let rows = columns.last().map_or(0, Column::len);
        Ok(Batch::from_columns(
            self.schema.clone(),
            columns,
            rows,
            batch.origin().cloned(),
        ))
    }
}

impl SplitMode {
    fn separates(&self, character: char) -> bool {
        match self {
            Self::Ascii => character.is_ascii_whitespace(),
            Self::Space => character == ' ',
            Self::Unicode => character.is_whitespace(),
            Self::Bytes(set) => set.contains(character),
            Self::Word => !(character.is_alphanumeric() || character == '_'),
        }
    }

    fn ascii_separators(&self) -> ByteSet {
        ByteSet::new(|byte| self.separates(char::from(byte)))
    }

    /// Whether only ASCII characters can separate, so that other bytes need no look.
    fn is_ascii_only(&self) -> bool {
        matches!(self, Self::Ascii | Self::Space | Self::Bytes(_))
    }
}

impl fmt::Display for SplitMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ascii => f.write_str("ascii"),
            Self::Space => f.write_str("space"),
            Self::Unicode => f.write_str("unicode"),
            Self::Bytes(set) => write!(f, "bytes:{set}"),
            Self::Word => f.write_str("word"),
        }
    }
}

impl FromStr for SplitMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "ascii" => Ok(Self::Ascii),
            "space" => Ok(Self::Space),
            "unicode" => Ok(Self::Unicode),
            "word" => Ok(Self::Word),
            _ => match text.strip_prefix("bytes:") {
                Some("") => Err("`bytes:` needs at least one separator, as in `bytes:,;`".to_owned()),
                Some(set) if set.is_ascii() => Ok(Self::Bytes(set.to_owned())),
                Some(_) => Err("`bytes:` takes ASCII characters only".to_owned()),
                None => Err("expected ascii, space, unicode, word or bytes:CHARACTERS".to_owned()),
            },
        }
    }
}

/// Returns for each token the row that it starts in.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "Arrow offsets are 31-bit, from 0 on"
)]
fn rows_of_tokens(offsets: &[i32], starts: &[u32]) -> Vec<u32> {
    let mut row = 0;
    let row_of = |&start: &u32| {
        while offsets[row + 1] as u32 <= start {
            row += 1;
        }
        row as u32
    };
    starts.iter().map(row_of).collect()
}

fn without_hidden_bytes(text: &StringArray) -> ArrayRef {
    let mut clean = StringBuilder::with_capacity(text.len(), text.value_data().len());
    text.iter().for_each(|row| clean.append_option(row));
    Arc::new(clean.finish())
}

fn lower_case(text: &StringArray) -> ArrayRef {
    let mut lower = StringBuilder::with_capacity(text.len(), text.value_data().len());
    if text.is_ascii() {
        let bytes = text.value_data().to_ascii_lowercase();
        let (offsets, _, nulls) = text.clone().into_parts();
        let lower = StringArray::try_new(offsets, bytes.into(), nulls);
        return Arc::new(lower.expect("lower case of ASCII is ASCII of the same length"));
    }
    text.iter()
        .for_each(|row| lower.append_option(row.map(str::to_lowercase)));
    Arc::new(lower.finish())
}

#[cfg(test)]
mod tests {
    use arrow::array::Int32Array;
    use arrow::record_batch::RecordBatch;
    use proptest::prelude::*;

    use super::*;
    use crate::batch::first_lines;

    fn tokenize(rows: StringArray, mode: &str, lower: bool) -> (Vec<String>, Vec<i32>) {
        let numbers: Int32Array = (0..i32::try_from(rows.len()).expect("small")).collect();
        let columns: [(&str, ArrayRef); 2] = [("value", Arc::new(rows)), ("row", Arc::new(numbers))];
        let records = RecordBatch::try_from_iter(columns).expect("columns of one length");
        let mode = mode.parse().expect("a mode");
        let operator = Tokenize::new("value", mode, lower, &["row"], "word", &records.schema()).expect("text");
        let batch = operator
            .apply(Batch::new(records, None), &Metrics::default())
            .expect("text");
        let records = batch.to_records().expect("the schema's types");
        let words = records
            .column(1)
            .as_string::<i32>()
            .iter()
            .flatten()
            .map(str::to_owned)
            .collect();
        (
            words,
            records
                .column(0)
                .as_primitive::<arrow::datatypes::Int32Type>()
                .values()
                .to_vec(),
        )
    }

    #[track_caller]
    fn check(mode: &str, rows: &[&str], expected: &[&str]) {
        assert_eq!(tokenize(StringArray::from(rows.to_vec()), mode, false).0, expected);
    }

    #[test]
    fn each_mode_separates_by_its_own_characters() {
        let rows = ["a  b\tc\u{b}d", "e\u{a0}f,g_h;ß-é"];
        check("ascii", &rows, &["a", "b", "c\u{b}d", "e\u{a0}f,g_h;ß-é"]);
        check("space", &rows, &["a", "b\tc\u{b}d", "e\u{a0}f,g_h;ß-é"]);
        check("unicode", &rows, &["a", "b", "c", "d", "e", "f,g_h;ß-é"]);
        check("bytes:,;", &rows, &["a  b\tc\u{b}d", "e\u{a0}f", "g_h", "ß-é"]);
        check("word", &rows, &["a", "b", "c", "d", "e", "f", "g_h", "ß", "é"]);
    }

    #[test]
    fn two_spaces_make_two_tokens_in_every_mode() {
        for mode in ["ascii", "space", "unicode", "word", "bytes: "] {
            check(mode, &["a  b"], &["a", "b"]);
        }
    }

    #[test]
    fn kept_columns_are_repeated_and_nulls_have_no_token() {
        let rows = StringArray::from(vec![Some("a b"), None, Some(""), Some(" c ")]);
        let (words, numbers) = tokenize(rows.clone(), "ascii", false);
        assert_eq!(words, ["a", "b", "c"]);
        assert_eq!(numbers, [0, 0, 3]);
        assert_eq!(
            tokenize(rows.slice(2, 2), "ascii", false),
            (vec!["c".to_owned()], vec![1])
        );
    }

    #[test]
    fn lower_case_follows_unicode() {
        let rows = StringArray::from(vec![Some("GET Ä"), None, Some("İ")]);
        assert_eq!(tokenize(rows, "ascii", true).0, ["get", "ä", "i\u{307}"]);
        let rows = StringArray::from(vec![Some("GET"), Some("Post")]);
        assert_eq!(tokenize(rows, "ascii", true).0, ["get", "post"]);
    }

    #[test]
    fn a_mode_that_is_none_is_refused_with_the_list() {
        for mode in ["words", "bytes:", "bytes:ß"] {
            mode.parse::<SplitMode>().expect_err("no mode");
        }
    }

    /// Tokenizes the lines of a text, cut and not.
    #[track_caller]
    fn check_lines(mode: &str, lower: bool, text: &str) {
        let (_, rows) = first_lines(text.as_bytes(), usize::MAX);
        let schema = Schema::new(vec![Field::new("value", DataType::Utf8, false)]);
        let operator = Tokenize::new("value", mode.parse().expect("a mode"), lower, &[], "word", &schema);
        let operator = operator.expect("text");
        let lines = Lines::new(text.as_bytes().into(), rows).to_utf8().expect("a string");
        let lines = Column::Lines(lines);
        let words = |column: Column| {
            let batch = Batch::from_columns(Arc::new(schema.clone()), vec![column], rows, None);
            let batch = operator.apply(batch, &Metrics::default()).expect("text");
            batch.to_records().expect("the schema's types")
        };
        let cut = Column::Array(lines.to_array());
        assert_eq!(words(lines), words(cut), "{mode} {lower} {text:?}");
    }

    #[test]
    fn lines_have_the_same_tokens_before_they_are_cut() {
        for mode in ["ascii", "unicode", "word", "space", "bytes:,", "bytes:\n\r"] {
            for text in ["a b\nc\r\n\r\nd\re\r\r\n", "", "\n", "A\u{a0}İ,\nß é", "a,b\nc"] {
                check_lines(mode, false, text);
                check_lines(mode, true, text);
            }
        }
    }

    proptest! {
        #[test]
        fn lines_of_any_text_have_the_same_tokens_before_they_are_cut(text in "[aB \\n\\r]{0,90}|\\PC{0,9}\n\\PC{0,9}", lower: bool) {
            for mode in ["ascii", "unicode", "word", "space"] {
                check_lines(mode, lower, &text);
            }
        }

        #[test]
        fn unicode_and_word_agree_with_a_plain_split(rows in prop::collection::vec("[ab \u{a0}ß_.]{0,30}|\\PC{0,30}", 0..8)) {
            let array = StringArray::from(rows.clone());
            let plain: Vec<_> = rows.iter().flat_map(|row| row.split_whitespace()).collect();
            prop_assert_eq!(tokenize(array.clone(), "unicode", false).0, plain);
            let word = |c: char| !(c.is_alphanumeric() || c == '_');
            let plain: Vec<_> = rows.iter().flat_map(|row| row.split(word)).filter(|word| !word.is_empty()).collect();
            prop_assert_eq!(tokenize(array, "word", false).0, plain);
        }
    }
}
