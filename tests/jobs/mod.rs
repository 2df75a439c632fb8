//! The jobs of `data/jobs`, on a real broker: each over log lines of a real program's making, in every way in which it can run,
//! against what DuckDB finds in the same lines.
//!
//! ```text
//! logs       the lines: those of data/, with times of a test's own
//! case       a job, its input, and the SQL of both sides; how it runs and is read back
//! answers    the cases
//! bad_rows   garbage, late rows, and jobs that are refused
//! garbage    some garbage in each format
//! sources    several sources in one job
//! updates    sessions that are taken back
//! values     what the values of records may hold
//! ```

mod answers;
mod bad_rows;
mod case;
mod garbage;
mod logs;
mod sources;
mod updates;
mod values;
