//! Job files to start from: those of `data/jobs` and `data/archives`, as the program carries them.

/// A job file to start from.
#[derive(Clone, Copy, Debug)]
pub struct Template {
    /// Its name.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
}

macro_rules! templates {
    ($($folder:literal / $name:literal,)+) => {
        &[$(Template {
            name: $name,
            text: include_str!(concat!("../../data/", $folder, "/", $name, ".toml")),
        },)+]
    };
}

/// Every job file of `data/jobs`, and every archive of `data/archives`.
pub const TEMPLATES: &[Template] = templates![
    "jobs" / "word_count",
    "jobs" / "errors_a_minute",
    "jobs" / "top_paths",
    "jobs" / "sessions",
    "jobs" / "slow_requests",
    "jobs" / "json_to_parquet",
    "jobs" / "key_value_logs",
    "jobs" / "syslog_severities",
    "jobs" / "distinct_users",
    "jobs" / "merged_topics",
    "archives" / "replay",
];

impl Template {
    /// Returns what the job is for: the first line of its file.
    pub fn summary(&self) -> &'static str {
        let first = self.text.lines().next().unwrap_or_default();
        first.trim_start_matches('#').trim()
    }
}
