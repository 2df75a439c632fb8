//! Files that a pattern of paths stands for.

use std::path::PathBuf;

use engine::{Error, Result};
use glob::MatchOptions;

/// As a shell has it: a star passes no folder's border and no hidden file.
const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// Returns whether a path has wildcards.
pub(crate) fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

/// Returns the files, not folders, that `pattern` stands for, in the order of their names; at least one.
///
/// # Errors
/// When it is no pattern, a folder can't be listed, or no file fits.
pub(crate) fn files(pattern: &str) -> Result<Vec<PathBuf>> {
    let invalid = |error: glob::PatternError| Error::Invalid(format!("`{pattern}` is no pattern of paths: {error}"));
    let mut found = vec![];
    for path in glob::glob_with(pattern, OPTIONS).map_err(invalid)? {
        let path = path.map_err(|error| {
            let folder = error.path().to_owned();
            Error::io("list", folder)(error.into())
        })?;
        if path.is_file() {
            found.push(path);
        }
    }
    match found.is_empty() {
        true => Err(Error::Invalid(format!("there is no file like `{pattern}`"))),
        false => Ok(found),
    }
}
