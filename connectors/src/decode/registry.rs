//! The formats by name: one line each. Help, the documentation's table and the parser of format names derive from it.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::{Error, Result};

use super::Decoder;
use super::access_log::AccessLog;
use super::avro::{AvroDecoder, AvroFormat};
use super::column::DeclaredColumn;
use super::delimited::{DelimitedDecoder, Dialect};
use super::grok::GrokDecoder;
use super::json::JsonDecoder;
use super::lines::Lines;
use super::list::List;
use super::logfmt::Logfmt;
use super::regex::RegexDecoder;
use super::syslog::Syslog;
use super::time::TimeSettings;
use crate::spelling;

/// What a user may say about the payloads beside the format's name. A setting that no format of a list takes is an error.
#[derive(Clone, Debug, Default)]
pub struct FormatOptions {
    /// The columns to make, for formats without columns of their own.
    pub columns: Vec<DeclaredColumn>,
    /// The pattern, for formats that have one.
    pub pattern: Option<String>,
    /// The user's own named patterns, for formats whose pattern is made of such.
    pub patterns: BTreeMap<String, String>,
    /// The byte between two fields, for formats with delimiters; `None` is the format's own.
    pub delimiter: Option<u8>,
    /// Whether payloads that repeat the columns' names are null, as tombstones are, for formats with delimiters.
    pub header: bool,
    /// The schema and the header of the payloads, for formats with a schema.
    pub avro: Option<AvroFormat>,
    /// The zone of times without one, and the time that those without a year are put nearest to.
    pub time: TimeSettings,
    /// The columns that are read by anyone; `None` is all. Names that no format knows say nothing.
    pub wanted: Option<Vec<String>>,
}

/// A format.
#[derive(Debug)]
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// What it is, in one sentence.
    pub summary: &'static str,
    /// Its columns.
    pub columns: &'static str,
    /// The settings of [`FormatOptions`] it takes, beside time and wanted columns.
    pub takes: &'static [Setting],
    /// Makes its decoder.
    pub build: fn(&FormatOptions) -> Result<Arc<dyn Decoder>>,
}

/// A setting that only some formats take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// [`FormatOptions::columns`].
    Columns,
    /// The field `pattern` of [`FormatOptions`].
    Pattern,
    /// [`FormatOptions::patterns`].
    Patterns,
    /// [`FormatOptions::delimiter`] and [`FormatOptions::header`].
    Delimiter,
    /// [`FormatOptions::avro`].
    Schema,
}

const ACCESS_COLUMNS: &str = "host, ident, user, time, request, method, path, protocol, status, bytes, extra";

/// Every format, by name.
pub const ENTRIES: &[Entry] = &[
    Entry {
        name: "avro",
        summary: "Avro records by a schema file, alone or after Confluent's header of 5 bytes; in jobs only",
        columns: "those of the schema: `http.status` for a record inside, JSON text for arrays, maps and other unions",
        takes: &[Setting::Schema],
        build: |options| {
            let missing =
                || Error::Invalid("expected a schema for the format avro: it is given in a job file".to_owned());
            let format = options.avro.clone().ok_or_else(missing)?;
            Ok(Arc::new(AvroDecoder::new(format, options.wanted(), options.time.zone)?))
        },
    },
    Entry {
        name: "combined",
        summary: "the access log of Apache and nginx, with referer and user agent",
        columns: "host, ident, user, time, request, method, path, protocol, status, bytes, extra, referer, user_agent",
        takes: &[],
        build: |options| Ok(Arc::new(AccessLog::combined(options.wanted(), options.time))),
    },
    Entry {
        name: "common",
        summary: "the access log of Apache and nginx, without referer and user agent",
        columns: ACCESS_COLUMNS,
        takes: &[],
        build: |options| Ok(Arc::new(AccessLog::common(options.wanted(), options.time))),
    },
    Entry {
        name: "csv",
        summary: "records of comma-separated fields, in quotes where they need to be (RFC 4180)",
        columns: "the declared ones, by position",
        takes: &[Setting::Columns, Setting::Delimiter],
        build: |options| delimited(Dialect::CSV, options),
    },
    Entry {
        name: "grok",
        summary: "lines that a grok pattern matches: `%{IP:client} %{NUMBER:ms:float}`",
        columns: "those of the pattern, strings unless it or a declared column says otherwise",
        takes: &[Setting::Columns, Setting::Pattern, Setting::Patterns],
        build: |options| {
            let (pattern, own) = (options.pattern("grok")?, &options.patterns);
            Ok(Arc::new(GrokDecoder::new(
                pattern,
                own,
                &options.columns,
                options.wanted(),
                options.time,
            )?))
        },
    },
    Entry {
        name: "json",
        summary: "JSON objects; a name with dots reaches into objects inside",
        columns: "the declared ones, and `_extra`: a JSON object of all other members",
        takes: &[Setting::Columns],
        build: |options| {
            Ok(Arc::new(JsonDecoder::new(
                &options.columns,
                options.wanted(),
                options.time,
            )?))
        },
    },
    Entry {
        name: "lines",
        summary: "text as it is",
        columns: "line",
        takes: &[],
        build: |options| Ok(Arc::new(Lines::new(options.wanted()))),
    },
    Entry {
        name: "logfmt",
        summary: "key=value pairs, with quotes where a value has spaces",
        columns: "the declared ones, and `_extra`: a JSON object of all other pairs",
        takes: &[Setting::Columns],
        build: |options| Ok(Arc::new(Logfmt::new(&options.columns, options.wanted(), options.time)?)),
    },
    Entry {
        name: "regex",
        summary: "lines that a regular expression with named groups matches, in linear time",
        columns: "the named groups, strings unless a declared column says otherwise",
        takes: &[Setting::Columns, Setting::Pattern],
        build: |options| {
            let pattern = options.pattern("regex")?;
            Ok(Arc::new(RegexDecoder::new(
                pattern,
                &options.columns,
                options.wanted(),
                options.time,
            )?))
        },
    },
    Entry {
        name: "syslog",
        summary: "syslog messages after RFC 5424 and RFC 3164, told apart one by one",
        columns: "facility, severity, severity_code, time, host, app, procid, msgid, structured_data, message",
        takes: &[],
        build: |options| Ok(Arc::new(Syslog::new(options.wanted(), options.time))),
    },
    Entry {
        name: "tsv",
        summary: "records of fields between tabs, in quotes where they need to be",
        columns: "the declared ones, by position",
        takes: &[Setting::Columns, Setting::Delimiter],
        build: |options| delimited(Dialect::TSV, options),
    },
];

impl FormatOptions {
    /// Returns the names of the columns that are read by anyone; `None` is all.
    pub fn wanted(&self) -> Option<&[String]> {
        self.wanted.as_deref()
    }

    fn pattern(&self, format: &str) -> Result<&str> {
        let missing = || Error::Invalid(format!("expected a pattern for the format {format}"));
        self.pattern.as_deref().ok_or_else(missing)
    }

    fn is_set(&self, setting: Setting) -> bool {
        match setting {
            Setting::Columns => !self.columns.is_empty(),
            Setting::Pattern => self.pattern.is_some(),
            Setting::Patterns => !self.patterns.is_empty(),
            Setting::Delimiter => self.delimiter.is_some() || self.header,
            Setting::Schema => self.avro.is_some(),
        }
    }
}

fn delimited(dialect: Dialect, options: &FormatOptions) -> Result<Arc<dyn Decoder>> {
    let dialect = match options.delimiter {
        Some(delimiter) => dialect.with_delimiter(delimiter)?,
        None => dialect,
    };
    let decoder = DelimitedDecoder::new(dialect, &options.columns, options.wanted(), options.time)?;
    Ok(Arc::new(if options.header {
        decoder.skipping_header()
    } else {
        decoder
    }))
}

/// Returns the decoder of one format, or of a list that each payload falls through until one reads it.
///
/// # Errors
/// When a name is no format's (the nearest is offered), is there twice, or no format takes a setting that is made.
pub fn build(names: &[String], options: &FormatOptions) -> Result<Arc<dyn Decoder>> {
    let entries = names.iter().map(|name| find(name)).collect::<Result<Vec<_>>>()?;
    check_settings(&entries, options)?;
    match entries.as_slice() {
        [] => Err(Error::Invalid("expected the name of a format".to_owned())),
        [entry] => (entry.build)(options),
        _ => {
            let formats = entries
                .iter()
                .map(|entry| Ok((entry.name.to_owned(), (entry.build)(options)?)));
            Ok(Arc::new(List::new(formats.collect::<Result<_>>()?, options.wanted())?))
        }
    }
}

/// Returns the format called `name`.
///
/// # Errors
/// When there is none; the nearest name is offered.
pub fn find(name: &str) -> Result<&'static Entry> {
    let found = ENTRIES.iter().find(|entry| entry.name == name);
    found.ok_or_else(|| {
        let names: Vec<_> = ENTRIES.iter().map(|entry| entry.name).collect();
        Error::Invalid(format!(
            "expected a format ({}), not `{name}`{}",
            names.join(", "),
            spelling::hint(name, names.iter().copied())
        ))
    })
}

fn check_settings(entries: &[&Entry], options: &FormatOptions) -> Result<()> {
    for (setting, what) in [
        (Setting::Columns, "declared columns"),
        (Setting::Pattern, "a pattern"),
        (Setting::Patterns, "patterns by name"),
        (Setting::Delimiter, "a delimiter or a header"),
        (Setting::Schema, "a schema"),
    ] {
        let is_taken = entries.iter().any(|entry| entry.takes.contains(&setting));
        if options.is_set(setting) && !is_taken {
            let names: Vec<_> = entries.iter().map(|entry| entry.name).collect();
            let takers = ENTRIES.iter().filter(|entry| entry.takes.contains(&setting));
            let takers: Vec<_> = takers.map(|entry| entry.name).collect();
            return Err(Error::Invalid(format!(
                "format {} takes no {}; formats that do: {}",
                names.join(", "),
                what.trim_start_matches("a "),
                if takers.is_empty() {
                    "none".to_owned()
                } else {
                    takers.join(", ")
                }
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build_names(names: &[&str], options: &FormatOptions) -> Result<Arc<dyn Decoder>> {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        build(&names, options)
    }

    #[track_caller]
    fn check_error(names: &[&str], options: &FormatOptions, expected: &str) {
        let error = build_names(names, options).expect_err("an invalid format").to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn formats_are_in_order_and_each_can_be_built() {
        assert!(ENTRIES.is_sorted_by_key(|entry| entry.name));
        let needs_more = |entry: &&Entry| {
            [Setting::Pattern, Setting::Schema]
                .iter()
                .any(|need| entry.takes.contains(need))
        };
        for entry in ENTRIES.iter().filter(|entry| !needs_more(entry)) {
            let options = FormatOptions {
                columns: match entry.takes.contains(&Setting::Columns) {
                    true => vec![DeclaredColumn::new("a", super::super::ColumnType::Int)],
                    false => vec![],
                },
                ..FormatOptions::default()
            };
            let decoder = build_names(&[entry.name], &options).expect(entry.name);
            assert!(decoder.describe().starts_with(entry.name), "{}", decoder.describe());
        }
    }

    #[test]
    fn formats_with_a_pattern_need_one() {
        for name in ["grok", "regex"] {
            let expected = format!("expected a pattern for the format {name}");
            check_error(&[name], &FormatOptions::default(), &expected);
            let options = FormatOptions {
                pattern: Some("(?<a>x)".to_owned()),
                ..FormatOptions::default()
            };
            let decoder = build_names(&[name], &options).expect("a pattern");
            assert_eq!(decoder.describe(), format!("{name} `(?<a>x)` a:string"));
        }
    }

    #[test]
    fn avro_needs_a_schema() {
        check_error(
            &["avro"],
            &FormatOptions::default(),
            "expected a schema for the format avro",
        );
        let schema = r#"{"type": "record", "name": "R", "fields": [{"name": "a", "type": "long"}]}"#;
        let options = FormatOptions {
            avro: Some(AvroFormat {
                schema: Arc::new(schema.parse().expect("a schema")),
                framing: super::super::avro::Framing::Bare,
            }),
            ..FormatOptions::default()
        };
        let decoder = build_names(&["avro"], &options).expect("a schema");
        assert!(decoder.describe().starts_with("avro "), "{}", decoder.describe());
        check_error(
            &["lines"],
            &options,
            "format lines takes no schema; formats that do: avro",
        );
    }

    #[test]
    fn settings_come_to_the_formats_that_take_them() {
        let options = FormatOptions {
            columns: vec![DeclaredColumn::new("a", super::super::ColumnType::Int)],
            delimiter: Some(b';'),
            header: true,
            ..FormatOptions::default()
        };
        let decoder = build_names(&["csv"], &options).expect("a delimiter");
        assert_eq!(decoder.describe(), "csv with `;` header a: a:int");
        let own = FormatOptions {
            pattern: Some("%{ID:id}".to_owned()),
            patterns: BTreeMap::from([("ID".to_owned(), "x%{INT}".to_owned())]),
            ..FormatOptions::default()
        };
        let decoder = build_names(&["grok"], &own).expect("a pattern of one's own");
        assert_eq!(decoder.describe(), "grok `%{ID:id}` id:string ID=`x%{INT}`");
        check_error(
            &["regex"],
            &own,
            "format regex takes no patterns by name; formats that do: grok",
        );
    }

    #[test]
    fn the_columns_text_is_what_the_decoder_has() {
        for entry in ENTRIES.iter().filter(|entry| entry.takes.is_empty()) {
            let schema = build_names(&[entry.name], &FormatOptions::default())
                .expect(entry.name)
                .schema();
            let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            assert_eq!(entry.columns, names.join(", "), "{}", entry.name);
        }
    }

    #[test]
    fn only_wanted_columns_are_built() {
        let options = FormatOptions {
            wanted: Some(vec!["status".to_owned(), "unknown".to_owned()]),
            ..FormatOptions::default()
        };
        let schema = build_names(&["combined"], &options).expect("a format").schema();
        assert_eq!(
            schema.fields().iter().map(|field| field.name()).collect::<Vec<_>>(),
            ["status"]
        );
    }

    #[test]
    fn a_wrong_name_is_answered_with_the_nearest() {
        check_error(
            &["combind"],
            &FormatOptions::default(),
            "not `combind`: did you mean combined?",
        );
        check_error(&[], &FormatOptions::default(), "expected the name of a format");
        check_error(&["lines", "lines"], &FormatOptions::default(), "lines is there twice");
    }

    #[test]
    fn settings_that_no_format_takes_are_refused() {
        let options = FormatOptions {
            columns: vec![DeclaredColumn::new("a", super::super::ColumnType::Int)],
            ..FormatOptions::default()
        };
        check_error(
            &["combined"],
            &options,
            "format combined takes no declared columns; formats that do: ",
        );
        build_names(&["combined", "logfmt"], &options).expect("logfmt takes them");
    }
}
