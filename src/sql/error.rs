//! What is wrong with a query, and where.

use std::fmt;

use connectors::spelling;
use datafusion_common::{DataFusionError, Diagnostic};
use datafusion_expr::planner::ContextProvider;
use datafusion_sql::sqlparser::parser::ParserError;
use datafusion_sql::sqlparser::tokenizer::Span;

use super::catalog::Catalog;

/// Why a text is no query that can run, with the place in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlError {
    /// What is wrong, and what was expected or could be written instead.
    pub message: String,
    /// The line in the query, from 1; 1 when the place is not known.
    pub line: usize,
    /// The character in the line, from 1; 1 when the place is not known.
    pub column: usize,
    /// The number of characters that are wrong, at least 1.
    pub width: usize,
    /// The line's text.
    text: String,
    is_placed: bool,
}

pub(super) type Result<T> = std::result::Result<T, SqlError>;

impl SqlError {
    /// Returns the error without a place.
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            line: 1,
            column: 1,
            width: 1,
            text: String::new(),
            is_placed: false,
        }
    }

    /// Returns the error at a place of the query.
    pub(super) fn at(span: Span, message: impl Into<String>) -> Self {
        let end = (span.start.line == span.end.line).then_some(span.end.column);
        Self::new(message).placed(span.start.line, span.start.column, end)
    }

    /// Returns the error with the text of its line, for [`render`](Self::render).
    pub(super) fn within(mut self, sql: &str) -> Self {
        self.text = sql.lines().nth(self.line - 1).unwrap_or_default().to_owned();
        let rest = self.text.chars().count().saturating_sub(self.column - 1);
        self.width = self.width.min(rest).max(1);
        self
    }

    /// Line and column 0 stand for a place that is not known.
    fn placed(mut self, line: u64, column: u64, end: Option<u64>) -> Self {
        let whole = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        if line > 0 && column > 0 {
            self.is_placed = true;
            (self.line, self.column) = (whole(line), whole(column));
            self.width = end.map_or(1, |end| whole(end.saturating_sub(column)).max(1));
        }
        self
    }

    /// Returns the error at the first call of a function that its message speaks of, if it has no better place.
    pub(super) fn near(self, calls: &[(String, Span)]) -> Self {
        if self.is_placed {
            return self;
        }
        let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
        let words: Vec<_> = self.message.split(|letter| !is_part(letter)).collect();
        match calls.iter().find(|(name, _)| words.contains(&name.as_str())) {
            Some((_, span)) => Self::at(*span, self.message),
            None => self,
        }
    }

    /// Names the nearest function, where the planner has found none or a worse one.
    pub(super) fn with_nearest_function(mut self, catalog: &Catalog) -> Self {
        let name = self
            .message
            .strip_prefix("invalid function '")
            .and_then(|rest| rest.split_once('\''));
        if let Some((name, _)) = name {
            let known = catalog
                .udf_names()
                .into_iter()
                .chain(catalog.udaf_names())
                .collect::<Vec<_>>();
            let hint = spelling::hint(name, known.iter().map(String::as_str));
            self.message = format!("there is no function `{name}`{hint}");
        }
        self
    }

    /// Returns line and column, if the place is known.
    pub fn place(&self) -> Option<(usize, usize)> {
        self.is_placed.then_some((self.line, self.column))
    }

    /// Returns the message, and the line of the query with a mark under the wrong part if that is known.
    pub fn render(&self) -> String {
        if !self.is_placed {
            return self.message.clone();
        }
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        let (before, mark) = (" ".repeat(self.column - 1), "^".repeat(self.width));
        format!(
            "{}\n{margin} |\n{number} | {}\n{margin} | {before}{mark}",
            self.message, self.text
        )
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for SqlError {}

impl From<SqlError> for engine::Error {
    fn from(error: SqlError) -> Self {
        Self::Invalid(error.render())
    }
}

impl From<engine::Error> for SqlError {
    fn from(error: engine::Error) -> Self {
        Self::new(error.to_string())
    }
}

impl From<DataFusionError> for SqlError {
    fn from(error: DataFusionError) -> Self {
        match error.diagnostic() {
            Some(diagnostic) => from_diagnostic(diagnostic, &error),
            None => Self::new(plain(&error)),
        }
    }
}

impl From<ParserError> for SqlError {
    /// The parser says the place at the end of its text: `... at Line: 1, Column: 8`.
    fn from(error: ParserError) -> Self {
        let text = match error {
            ParserError::ParserError(text) | ParserError::TokenizerError(text) => text,
            ParserError::RecursionLimitExceeded => "the query is nested too deeply".to_owned(),
        };
        let (message, place) = text.rsplit_once(" at Line: ").unwrap_or((&text, ""));
        let error = Self::new(lower_first(message.trim_end_matches(',')));
        match place.split_once(", Column: ") {
            Some((line, column)) => error.placed(number(line), number(column), None),
            None => error,
        }
    }
}

fn number(text: &str) -> u64 {
    text.trim().parse().unwrap_or_default()
}

/// A diagnostic knows the place; the error it hangs on often knows the nearest valid names.
fn from_diagnostic(diagnostic: &Diagnostic, error: &DataFusionError) -> SqlError {
    let mut message = lower_first(&diagnostic.message);
    let whole = plain(error);
    if let Some((_, nearest)) = whole.split_once("Did you mean ") {
        message = format!("{message}; did you mean {}", nearest.lines().next().unwrap_or_default());
    } else {
        for help in diagnostic
            .notes
            .iter()
            .map(|note| &note.message)
            .chain(diagnostic.helps.iter().map(|help| &help.message))
        {
            message = format!("{message}; {}", lower_first(help));
        }
    }
    let error = SqlError::new(message);
    match diagnostic.span {
        Some(span) => {
            let end = (span.start.line == span.end.line).then_some(span.end.column);
            error.placed(span.start.line, span.start.column, end)
        }
        None => error,
    }
}

/// Returns the innermost message, without the names of DataFusion's own layers.
fn plain(error: &DataFusionError) -> String {
    let text = error.find_root().strip_backtrace();
    let kinds = [
        "Error during planning: ",
        "Schema error: ",
        "Execution error: ",
        "External error: ",
    ];
    let text = kinds
        .iter()
        .fold(text.as_str(), |text, kind| text.strip_prefix(kind).unwrap_or(text));
    lower_first(text)
}

fn lower_first(text: &str) -> String {
    let text = text.trim_end_matches('.');
    let mut letters = text.chars();
    let is_word = text.chars().nth(1).is_some_and(|second| !second.is_uppercase());
    match letters.next() {
        Some(first) if is_word => first.to_lowercase().chain(letters).collect(),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_parser_error_is_taken_out_of_its_text() {
        let error = ParserError::ParserError("Expected: an expression, found: FROM at Line: 2, Column: 3".to_owned());
        let error = SqlError::from(error).within("SELECT\n  FROM logs");
        assert_eq!((error.line, error.column), (2, 3));
        let expected = "expected: an expression, found: FROM\n  |\n2 |   FROM logs\n  |   ^";
        assert_eq!(error.render(), expected);
    }
}
