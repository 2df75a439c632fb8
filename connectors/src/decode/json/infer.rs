//! Columns out of a sample of payloads: what `schema infer` shows.

use super::EXTRA;
use super::object::text_of;
use super::scan::{Kind, OBJECT_GOES_ON, Scan, Scanner, Slot, Specials, Unexpected};
use crate::decode::column::{ColumnType, DeclaredColumn, parse_int};
use crate::decode::time::{TimeFormat, TimeParser, TimeSettings};

/// Returns the columns of the objects in a sample, by their first appearance; payloads that are no JSON object are left out.
///
/// Objects inside are columns of their own, `http.status`. Whole numbers beside other numbers are floats; strings that are
/// all ISO 8601 times are timestamps; what has values of several types is a string, and so is what is always `null`.
pub fn infer<'p>(payloads: impl IntoIterator<Item = &'p [u8]>) -> Vec<DeclaredColumn> {
    let mut sample = Sample {
        specials: Specials::new(),
        times: TimeParser::new(&TimeFormat::Iso8601, TimeSettings::default()),
    };
    let mut members = Vec::new();
    for payload in payloads {
        sample.absorb(payload, &mut members);
    }
    let mut columns = Vec::new();
    members.iter().for_each(|member| member.columns("", &mut columns));
    for column in &mut columns {
        // A whole name that also reaches into an object may find anything there.
        let is_whole_name = members.iter().any(|member| member.key == column.name);
        let reaches_into =
            |member: &Member| !member.members.is_empty() && column.name.starts_with(&format!("{}.", member.key));
        if is_whole_name && members.iter().any(reaches_into) {
            column.column_type = ColumnType::Text;
        }
    }
    columns
}

/// What the values of a member have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guess {
    Int,
    Float,
    Bool,
    Time,
    Text,
}

/// A member of objects in the sample.
#[derive(Debug)]
struct Member {
    key: String,
    /// What it is where it is no object and not `null`.
    guess: Option<Guess>,
    /// Whether it is an object somewhere.
    is_object: bool,
    members: Vec<Member>,
}

struct Sample {
    specials: Specials,
    times: TimeParser,
}

impl Guess {
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Int, Self::Float) | (Self::Float, Self::Int) => Self::Float,
            _ if self == other => self,
            _ => Self::Text,
        }
    }

    fn column_type(self) -> ColumnType {
        match self {
            Self::Int => ColumnType::Int,
            Self::Float => ColumnType::Float,
            Self::Bool => ColumnType::Bool,
            Self::Time => ColumnType::Timestamp(TimeFormat::Iso8601),
            Self::Text => ColumnType::Text,
        }
    }
}

impl Member {
    /// Appends the member's columns; `path` is what stands before its key.
    fn columns(&self, path: &str, columns: &mut Vec<DeclaredColumn>) {
        let name = format!("{path}{}", self.key);
        // A declared name is cut at all of its dots, so what has a key with dots inside can only be taken whole.
        let is_taken_apart = !self.members.is_empty() && !self.members.iter().any(|member| member.key.contains('.'));
        if self.guess.is_none() && is_taken_apart && !(path.is_empty() && self.key.contains('.')) {
            let path = format!("{name}.");
            self.members.iter().for_each(|member| member.columns(&path, columns));
            return;
        }
        let guess = self.guess.filter(|_| !self.is_object);
        let column_type = guess.unwrap_or(Guess::Text).column_type();
        match columns.iter_mut().find(|column| column.name == name) {
            Some(same) if same.column_type != column_type => same.column_type = ColumnType::Text,
            Some(_) => {}
            None if name.is_empty() || name == EXTRA => {}
            None => columns.push(DeclaredColumn::new(name, column_type)),
        }
    }
}

impl Sample {
    /// Takes in a payload, all of it or nothing.
    fn absorb(&mut self, payload: &[u8], members: &mut Vec<Member>) {
        if std::str::from_utf8(payload).is_err() {
            return;
        }
        self.specials.find(payload);
        let scanner = Scanner {
            text: payload,
            specials: &self.specials,
        };
        let at = scanner.skip_space(0);
        let is_object = scanner.byte(at) == b'{';
        let is_whole = |(_, after)| scanner.skip_space(after) == payload.len();
        if is_object && scanner.value(at, 0).is_ok_and(is_whole) {
            let absorbed = absorb_object(scanner, at, members, &mut self.times);
            debug_assert!(absorbed.is_ok(), "the payload was scanned before");
        }
    }
}

/// Takes in the object that opens at `at`, and returns the place after it.
fn absorb_object(scanner: Scanner<'_>, at: usize, members: &mut Vec<Member>, times: &mut TimeParser) -> Scan<usize> {
    let mut at = scanner.skip_space(at + 1);
    if scanner.byte(at) == b'}' {
        return Ok(at + 1);
    }
    loop {
        let (key, after) = scanner.key_text(at)?;
        let value = scanner.skip_space(scanner.expect(after, b':', "`:` after a key")?);
        let member = member(members, &text_of(key.bytes(scanner.text), key.kind));
        let after = if scanner.byte(value) == b'{' {
            member.is_object = true;
            absorb_object(scanner, value, &mut member.members, times)?
        } else {
            let (slot, after) = scanner.value(value, 0)?;
            let found = guess(slot, scanner.text, times);
            member.guess = member
                .guess
                .map_or(found, |before| Some(found.map_or(before, |found| before.or(found))));
            after
        };
        at = scanner.skip_space(after);
        match scanner.byte(at) {
            b',' => at = scanner.skip_space(at + 1),
            b'}' => return Ok(at + 1),
            _ => {
                return Err(Unexpected {
                    at,
                    expected: OBJECT_GOES_ON,
                });
            }
        }
    }
}

/// Returns the member with this key, which comes to be if there is none.
fn member<'m>(members: &'m mut Vec<Member>, key: &[u8]) -> &'m mut Member {
    let key = String::from_utf8_lossy(key);
    let found = members.iter().position(|member| member.key == key);
    let index = found.unwrap_or_else(|| {
        members.push(Member {
            key: key.into_owned(),
            guess: None,
            is_object: false,
            members: Vec::new(),
        });
        members.len() - 1
    });
    &mut members[index]
}

/// Returns what a value is, nothing for `null`.
fn guess(slot: Slot, text: &[u8], times: &mut TimeParser) -> Option<Guess> {
    match slot.kind {
        Kind::Absent | Kind::Null => None,
        Kind::True | Kind::False => Some(Guess::Bool),
        Kind::Integer if parse_int(slot.bytes(text)).is_some() => Some(Guess::Int),
        Kind::Integer | Kind::Decimal => Some(Guess::Float),
        Kind::Text if times.parse(slot.bytes(text)).is_some() => Some(Guess::Time),
        Kind::Text | Kind::Escaped | Kind::Nested => Some(Guess::Text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(payloads: &[&str], expected: &str) {
        let columns = infer(payloads.iter().map(|payload| payload.as_bytes()));
        let found: Vec<_> = columns.iter().map(DeclaredColumn::to_string).collect();
        assert_eq!(found.join(" "), expected);
    }

    #[test]
    fn types_come_from_the_values() {
        check(
            &[r#"{"i":1,"f":1.5,"b":true,"t":"2026-11-24T06:30:16+00:00","s":"x","n":null,"a":[1]}"#],
            "i:int f:float b:bool t:timestamp:iso8601 s:string n:string a:string",
        );
    }

    #[test]
    fn whole_numbers_widen_and_mixed_values_are_strings() {
        check(
            &[
                r#"{"a":1,"b":1,"c":"2026-11-24T00:00:00Z","d":null}"#,
                r#"{"a":2.5,"b":"x","c":"later","d":true}"#,
                r#"{"a":9223372036854775808,"e":1}"#,
            ],
            "a:float b:string c:string d:bool e:int",
        );
    }

    #[test]
    fn objects_inside_are_taken_apart_where_names_can_reach() {
        check(
            &[
                r#"{"http":{"status":200,"url":{"host":"a"}},"x":{"y.z":1},"m":{"n":1},"e":{}}"#,
                r#"{"http":{"status":404},"m":2}"#,
            ],
            "http.status:int http.url.host:string x:string m:string e:string",
        );
    }

    #[test]
    fn payloads_that_are_no_objects_are_left_out() {
        check(&["", "[1]", r#"{"a":1}x"#, r#"{"a":"#, "\"a\"", r#"{"b":1}"#], "b:int");
    }
}
