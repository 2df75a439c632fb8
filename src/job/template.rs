//! Job files to start from: those of `data/jobs`, as the program carries them.

/// A job file to start from.
#[derive(Clone, Copy, Debug)]
pub struct Template {
    /// Its name.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
}

macro_rules! templates {
    ($($name:literal,)+) => {
        &[$(Template {
            name: $name,
            text: include_str!(concat!("../../data/jobs/", $name, ".toml")),
        },)+]
    };
}

/// Every job file of `data/jobs`.
pub const TEMPLATES: &[Template] = templates![
    "word_count",
    "errors_a_minute",
    "top_paths",
    "sessions",
    "slow_requests",
    "json_to_parquet",
    "key_value_logs",
    "syslog_severities",
    "distinct_users",
    "merged_topics",
];

impl Template {
    /// Returns what the job is for: the first line of its file.
    pub fn summary(&self) -> &'static str {
        let first = self.text.lines().next().unwrap_or_default();
        first.trim_start_matches('#').trim()
    }
}
