//! Where in a job's text something stands: the file, or an option that overrides it.

use std::fmt;

/// A half-open range of bytes in the texts of a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub(super) start: usize,
    pub(super) end: usize,
}

/// A value with its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At<T> {
    /// The value.
    pub(super) value: T,
    /// Where it stands.
    pub(super) place: Place,
}

/// Everything that a job was read from, one text after the other: the file first, then the overrides.
#[derive(Clone, Debug, Default)]
pub(super) struct Texts {
    texts: Vec<Text>,
}

#[derive(Clone, Debug)]
struct Text {
    name: String,
    content: String,
    /// The place of its first byte.
    start: usize,
    is_file: bool,
}

/// A place as people count: lines and columns from one, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position<'a> {
    /// The file's path, or the option.
    pub name: &'a str,
    /// The line's number; none in an option.
    pub line: Option<usize>,
    /// The column's number.
    pub column: usize,
    /// The line's text.
    pub text: &'a str,
    /// The number of characters up to the end of the place or of the line, at least one.
    pub width: usize,
}

impl Place {
    /// Returns the range of bytes from `start` on, as long as this place.
    pub(super) fn shifted(self, by: usize) -> Self {
        Self {
            start: self.start + by,
            end: self.end + by,
        }
    }
}

impl<T> At<T> {
    pub(super) fn new(value: T, place: Place) -> Self {
        Self { value, place }
    }
}

impl Texts {
    /// Adds the job file, and returns the place of its first byte.
    pub(super) fn add_file(&mut self, name: String, content: String) -> usize {
        self.add(name, content, true)
    }

    /// Adds an override, named as it was given: `--set run.threads=2`. Returns the place of the first byte of `content`.
    pub(super) fn add_option(&mut self, name: String, content: String) -> usize {
        self.add(name, content, false)
    }

    fn add(&mut self, name: String, content: String, is_file: bool) -> usize {
        // One more than the last text's end, so that the end of one is not the start of the next.
        let start = self.texts.last().map_or(0, |last| last.start + last.content.len() + 1);
        self.texts.push(Text {
            name,
            content,
            start,
            is_file,
        });
        start
    }

    /// Writes asterisks over what stands at a place.
    pub(super) fn hide(&mut self, place: Place) {
        let found = self.texts.iter_mut().rev().find(|text| text.start <= place.start);
        let Some(text) = found else {
            return;
        };
        let (from, to) = (place.start - text.start, place.end - text.start);
        let masked = |(at, letter): (usize, char)| match (from..to).contains(&at) && letter != '\n' {
            // As many bytes, so that places stay right.
            true => "*".repeat(letter.len_utf8()),
            false => letter.to_string(),
        };
        text.content = text.content.char_indices().map(masked).collect();
        if !text.is_file {
            text.name = format!("--set {}", text.content);
        }
    }

    /// Returns the text of a place.
    pub(super) fn slice(&self, place: Place) -> &str {
        let text = self.text(place);
        let from = place.start.saturating_sub(text.start);
        text.content.get(from..place.end - text.start).unwrap_or_default()
    }

    /// Returns a place as people count.
    pub(super) fn position(&self, place: Place) -> Position<'_> {
        let text = self.text(place);
        let at = floor(&text.content, place.start.saturating_sub(text.start));
        let line_start = text.content[..at].rfind('\n').map_or(0, |before| before + 1);
        let line_end = text.content[at..]
            .find('\n')
            .map_or(text.content.len(), |after| at + after);
        let end = floor(&text.content, place.end.saturating_sub(text.start)).clamp(at, line_end);
        Position {
            name: &text.name,
            line: text.is_file.then(|| text.content[..at].matches('\n').count() + 1),
            column: text.content[line_start..at].chars().count() + 1,
            text: text.content[line_start..line_end].trim_end_matches('\r'),
            width: text.content[at..end].chars().count().max(1),
        }
    }

    fn text(&self, place: Place) -> &Text {
        let found = self.texts.iter().rev().find(|text| text.start <= place.start);
        found.expect("the first text starts at 0")
    }
}

impl fmt::Display for Position<'_> {
    /// Writes `FILE:LINE:COLUMN`, as compilers do; of an option its words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}:{}", self.name, self.column),
            None => f.write_str(self.name),
        }
    }
}

/// Returns the last border of a character at `at` or before.
fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len()))
        .rev()
        .find(|&at| text.is_char_boundary(at))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(content: &str, start: usize, end: usize, expected: (&str, &str, usize)) {
        let mut texts = Texts::default();
        texts.add_file("job.toml".into(), content.into());
        let position = texts.position(Place { start, end });
        assert_eq!((position.to_string().as_str(), position.text, position.width), expected);
    }

    #[test]
    fn lines_and_columns_count_from_one_and_in_characters() {
        check("ab\ncd", 0, 1, ("job.toml:1:1", "ab", 1));
        check("ab\ncd", 4, 5, ("job.toml:2:2", "cd", 1));
        check("ä = ö\r\n", 5, 7, ("job.toml:1:5", "ä = ö", 1));
    }

    #[test]
    fn a_place_of_several_lines_shows_its_first() {
        check("a = [\n1\n]", 4, 9, ("job.toml:1:5", "a = [", 1));
    }

    #[test]
    fn a_place_beyond_the_text_is_its_end() {
        check("ab", 7, 9, ("job.toml:1:3", "ab", 1));
        check("", 0, 0, ("job.toml:1:1", "", 1));
    }

    #[test]
    fn an_option_is_named_by_its_words() {
        let mut texts = Texts::default();
        texts.add_file("job.toml".into(), "a = 1".into());
        let start = texts.add_option("--set a=2".into(), "a=2".into());
        let place = Place { start: 2, end: 3 }.shifted(start);
        assert_eq!(texts.position(place).to_string(), "--set a=2");
        assert_eq!(texts.slice(place), "2");
    }
}
