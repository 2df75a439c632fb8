//! What a job file needs to know of SQL: whether a statement is right, and where it is not.

use arrow::datatypes::SchemaRef;

use super::error::{JobErrors, Report};
use super::place::{Place, Texts};
use super::plan::{QueryPlan, SourcePlan};

/// Knows formats and SQL: what a source's columns are, and what a statement makes of them. It asks no network.
pub trait Analysis {
    /// Returns the columns of a source.
    ///
    /// # Errors
    /// What is wrong with its format or its declared columns.
    fn source_schema(&self, source: &SourcePlan) -> Result<SchemaRef, String>;

    /// Returns the columns of a query's result. It may read the sources and earlier queries that were asked for before.
    ///
    /// # Errors
    /// What is wrong with the statement, and where.
    fn check_sql(&self, query: &QueryPlan) -> Result<SchemaRef, SqlProblem>;
}

/// What is wrong with a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlProblem {
    /// What was found, and what was expected.
    pub message: String,
    /// Its line and column in the statement, both from one; none for the statement as a whole.
    pub at: Option<(usize, usize)>,
}

impl SqlProblem {
    /// Returns the problem as an error of the job file, in which the statement stands at `place`.
    pub(super) fn to_errors(&self, texts: &Texts, place: Place) -> JobErrors {
        let mut report = Report::default();
        report.error(self.locate(texts, place), self.message.clone());
        report.into_errors(texts.clone())
    }

    /// Returns where the problem is in the job file. With escapes in the statement (`\n`, `\t`) the column may be off.
    pub(super) fn locate(&self, texts: &Texts, place: Place) -> Place {
        let Some((line, column)) = self.at else {
            return place;
        };
        let literal = texts.slice(place);
        let start = content_start(literal);
        let before: usize = literal[start..]
            .split_inclusive('\n')
            .take(line.max(1) - 1)
            .map(str::len)
            .sum();
        let rest = &literal[start + before..];
        let skipped: usize = rest.chars().take(column.max(1) - 1).map(char::len_utf8).sum();
        let from = place.start + start + before + skipped;
        Place {
            start: from,
            end: from + word_length(&rest[skipped..]).max(1),
        }
    }
}

/// Returns where the text of a TOML string starts: after its quotes, and after a line end that directly follows three.
fn content_start(literal: &str) -> usize {
    for quotes in ["\"\"\"", "'''"] {
        if let Some(rest) = literal.strip_prefix(quotes) {
            let line_end = ["\r\n", "\n"].iter().find(|end| rest.starts_with(**end));
            return quotes.len() + line_end.map_or(0, |end| end.len());
        }
    }
    usize::from(literal.starts_with(['"', '\'']))
}

fn word_length(text: &str) -> usize {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    text.find(|letter| !is_part(letter)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(literal: &str, at: (usize, usize), expected: &str) {
        let content = format!("sql = {literal}\n");
        let mut texts = Texts::default();
        texts.add_file("j.toml".into(), content);
        let place = Place {
            start: 6,
            end: 6 + literal.len(),
        };
        let problem = SqlProblem {
            message: "no such column".into(),
            at: Some(at),
        };
        let place = problem.locate(&texts, place);
        let position = texts.position(place);
        assert_eq!(format!("{position} {}", texts.slice(place)), expected);
    }

    #[test]
    fn a_place_in_a_statement_is_a_place_in_the_file() {
        check("\"SELECT a\"", (1, 8), "j.toml:1:15 a");
        check("\"\"\"\nSELECT a,\n  bad FROM t\n\"\"\"", (2, 3), "j.toml:3:3 bad");
        check("\"\"\"SELECT ä,\r\n  bad\"\"\"", (2, 3), "j.toml:2:3 bad");
        check("'''\r\nSELECT bad'''", (1, 8), "j.toml:2:8 bad");
    }

    #[test]
    fn a_place_beyond_the_statement_is_its_end() {
        check("'SELECT'", (9, 9), "j.toml:1:15 \n");
        check("'SELECT'", (1, 99), "j.toml:1:15 \n");
        check("'SELECT'", (0, 0), "j.toml:1:8 SELECT");
    }
}
