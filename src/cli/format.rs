//! How payloads are decoded: the options of the verbs that look at lines or records.

use std::sync::Arc;

use clap::Args;
use connectors::decode::registry::{self, FormatOptions};
use connectors::decode::{DeclaredColumn, Decoder, TimeSettings, TimeZone};
use engine::Result;

/// The format of lines or records, and what it needs to know.
#[derive(Clone, Debug, Args)]
pub(super) struct Format {
    /// Format of the lines or records, as combined or json,logfmt: each has the first that reads it
    #[arg(short = 'f', long = "input-format", value_name = "FORMAT", value_delimiter = ',')]
    pub(super) formats: Vec<String>,
    /// Columns to make, for formats without columns of their own; types: int, float, bool, string, bytes, timestamp,
    /// timestamp:FORMAT
    #[arg(long, value_name = "NAME:TYPE", value_delimiter = ',', requires = "formats", value_parser = str::parse::<DeclaredColumn>)]
    columns: Vec<DeclaredColumn>,
    /// Pattern of the lines, for formats that have one
    #[arg(long, value_name = "PATTERN", requires = "formats")]
    pattern: Option<String>,
    /// Zone of times that do not say theirs, such as +02:00
    #[arg(long, value_name = "ZONE", default_value = "UTC", allow_hyphen_values = true, value_parser = str::parse::<TimeZone>)]
    zone: TimeZone,
}

impl Format {
    /// Returns the decoder for the columns `wanted`, or for all; `None` without a format.
    ///
    /// # Errors
    /// When a format is unknown, or lacks what it needs.
    pub(super) fn decoder(&self, wanted: Option<&[String]>) -> Result<Option<Arc<dyn Decoder>>> {
        if self.formats.is_empty() {
            return Ok(None);
        }
        let options = FormatOptions {
            columns: self.columns.clone(),
            pattern: self.pattern.clone(),
            time: TimeSettings {
                zone: self.zone,
                reference_micros: None,
            },
            wanted: wanted.map(<[String]>::to_vec),
            ..FormatOptions::default()
        };
        registry::build(&self.formats, &options).map(Some)
    }

    /// Sets `format`, `columns`, `pattern` or `zone` to a text as the command line has it.
    ///
    /// # Errors
    /// When the text is not valid, or there is no such setting; the text says what was expected.
    #[cfg(feature = "sql")]
    pub(super) fn set(&mut self, name: &str, text: &str) -> Result<(), String> {
        let parts = || text.split(',').map(str::trim);
        match name {
            "format" => self.formats = parts().map(str::to_owned).collect(),
            "columns" => self.columns = parts().map(str::parse).collect::<Result<_, _>>()?,
            "pattern" => self.pattern = Some(text.to_owned()),
            "zone" => self.zone = text.parse()?,
            other => return Err(format!("there is no setting `{other}`")),
        }
        Ok(())
    }
}
