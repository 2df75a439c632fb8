//! `millstream new`: a commented job file to start from.

use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use engine::{Error, Result};

use super::Exit;
use super::launch::Output;
use crate::job::template::{TEMPLATES, Template};

const EXAMPLES: &str = "\
Examples:
  millstream new errors_a_minute --out errors.toml
  millstream new replay --out archive.toml && millstream replay archive.toml
  millstream new word_count > words.toml && millstream check words.toml";

/// Shorter names of some job files.
const ALIASES: &[(&str, &str)] = &[
    ("word_count", "wordcount"),
    ("errors_a_minute", "errors"),
    ("json_to_parquet", "archive"),
];

/// Write a commented job file to start from
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct New {
    /// What the job does
    #[arg(value_name = "NAME", value_parser = template_parser())]
    template: &'static Template,
    /// File to write; one that exists is not touched [default: the standard output]
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
}

fn template_parser() -> impl TypedValueParser<Value = &'static Template> {
    let value = |template: &Template| {
        let aliases = ALIASES.iter().filter(|(name, _)| *name == template.name);
        PossibleValue::new(template.name)
            .help(template.summary())
            .aliases(aliases.map(|(_, alias)| *alias))
    };
    let values: Vec<_> = TEMPLATES.iter().map(value).collect();
    PossibleValuesParser::new(values).map(|name| find(&name))
}

/// Returns a template by one of its names, which the parser has let through.
fn find(name: &str) -> &'static Template {
    let full = ALIASES
        .iter()
        .find(|(_, alias)| *alias == name)
        .map_or(name, |(full, _)| full);
    let found = TEMPLATES.iter().find(|template| template.name == full);
    found.expect("the parser takes names of templates only")
}

impl New {
    /// Writes the job file.
    pub(super) fn run(self, output: Output) -> Result<Exit> {
        let Some(path) = &self.out else {
            super::print(self.template.text)?;
            return Ok(Exit::Done);
        };
        let mut file = std::fs::File::create_new(path).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => Error::Invalid(format!("{} exists: give another --out", path.display())),
            _ => Error::io("create", path)(error),
        })?;
        file.write_all(self.template.text.as_bytes())
            .map_err(Error::io("write", path))?;
        if !output.quiet {
            eprintln!("millstream: wrote {0}; next: millstream check {0}", path.display());
        }
        Ok(Exit::Done)
    }
}
