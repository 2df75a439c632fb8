//! The text of a job file.

use millstream::job::{JobFile, Overrides};

/// Checks a job file; what is wrong with it has a text.
///
/// # Panics
/// When a job is wrong without a reason.
pub(crate) fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let overrides = Overrides::default();
    if let Err(errors) = JobFile::from_text("job.toml", text, &overrides).check(None) {
        assert!(!errors.to_string().is_empty(), "an error says what is wrong");
    }
}
