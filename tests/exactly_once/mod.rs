//! Exactly once, end to end, on a real broker: whatever ends a run, the same command goes on from there, and the output
//! is that of a plain loop, each row once.
//!
//! ```text
//! input    the topics that are read, and what a plain loop counts in them
//! job      one command over one topic, started again and again
//! output   what it wrote, read back and compared
//! ```

mod input;
mod job;
mod output;

mod crash_points;
mod full_disk;
mod interruptions;
mod progress;
mod random_kills;
mod zombies;
