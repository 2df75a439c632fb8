//! Topics by a regular expression.

use engine::{Error, Result};
use regex_automata::meta::{BuildError, Regex};

/// Bytes of the compiled program: the default of the crate `regex`.
const PROGRAM_BYTES_MAX: usize = 10 << 20;

/// What the names of internal topics begin with, such as `__consumer_offsets`.
const INTERNAL: &str = "__";

/// How many topics a message offers when none matches.
const OFFERED_MAX: usize = 10;

/// A pattern of topic names. It matches anywhere in a name unless `^` and `$` say where.
#[derive(Clone, Debug)]
pub(super) struct TopicPattern {
    text: String,
    regex: Regex,
}

impl TopicPattern {
    /// Returns the pattern.
    ///
    /// # Errors
    /// When it is none; a caret shows where.
    pub(super) fn new(text: &str) -> Result<Self> {
        let config = Regex::config().nfa_size_limit(Some(PROGRAM_BYTES_MAX));
        let regex = Regex::builder().configure(config).build(text);
        let problem = |error: BuildError| match error.syntax_error() {
            // It shows the pattern with a caret below.
            Some(error) => error.to_string(),
            None => error.to_string(),
        };
        let invalid = |error| Error::Invalid(format!("cannot read the topics' pattern: {}", problem(error)));
        Ok(Self {
            text: text.to_owned(),
            regex: regex.map_err(invalid)?,
        })
    }

    /// Returns those of `names` that match, sorted.
    ///
    /// # Errors
    /// When none does; the message names some that `brokers` have.
    pub(super) fn choose(&self, mut names: Vec<String>, brokers: &str) -> Result<Vec<String>> {
        names.sort_unstable();
        let chosen: Vec<String> = names.iter().filter(|name| self.matches(name)).cloned().collect();
        match chosen.is_empty() {
            true => Err(self.no_match(&names, brokers)),
            false => Ok(chosen),
        }
    }

    /// Returns whether the pattern matches the name of a topic that is not internal.
    pub(super) fn matches(&self, name: &str) -> bool {
        !name.starts_with(INTERNAL) && self.regex.is_match(name)
    }

    fn no_match(&self, names: &[String], brokers: &str) -> Error {
        let names = names.iter().map(String::as_str);
        let names: Vec<&str> = names.filter(|name| !name.starts_with(INTERNAL)).collect();
        let offered = names[..names.len().min(OFFERED_MAX)].join(", ");
        let there_are = match names.len() {
            0 => "there is none yet".to_owned(),
            count if count <= OFFERED_MAX => format!("there are {offered}"),
            count => format!("there are {offered} and {} more", count - OFFERED_MAX),
        };
        Error::Source {
            input: format!("topics like {}", self.text),
            problem: format!("no topic of the brokers at {brokers} matches; {there_are}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, names: &[&str], expected: Result<&[&str], &str>) {
        let pattern = TopicPattern::new(pattern).expect("a pattern");
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        match (pattern.choose(names, "localhost:1"), expected) {
            (Ok(chosen), Ok(expected)) => assert_eq!(chosen, expected),
            (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
            (found, expected) => panic!("{found:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn a_pattern_chooses_names_in_their_order() {
        check(
            "^nginx-",
            &["nginx-b", "my-nginx-c", "nginx-a"],
            Ok(&["nginx-a", "nginx-b"]),
        );
        check("b$|c", &["ab", "cd", "bd"], Ok(&["ab", "cd"]));
    }

    #[test]
    fn internal_topics_never_match() {
        check(".*", &["__consumer_offsets", "a", "_b"], Ok(&["_b", "a"]));
        check("consumer", &["__consumer_offsets"], Err("there is none yet"));
    }

    #[test]
    fn without_a_match_the_topics_are_named() {
        check(
            "^x",
            &["b", "a"],
            Err("topics like ^x: no topic of the brokers at localhost:1 matches; there are a, b"),
        );
        let many: Vec<String> = (10..22).map(|number| format!("t{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        check("^x", &many, Err("t18, t19 and 2 more"));
    }

    #[test]
    fn what_is_no_pattern_is_shown() {
        let error = TopicPattern::new("^nginx-(").expect_err("unclosed").to_string();
        assert!(
            error.contains("cannot read the topics' pattern") && error.contains("unclosed group"),
            "{error}"
        );
    }
}
