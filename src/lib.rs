//! Millstream: Kafka topics of logs through a vectorized Arrow pipeline to Parquet and Kafka, exactly once.
//!
//! This crate is the program and a facade: [`engine`] runs pipelines, [`connectors`] are what they read, decode and write.
//! [`job`] makes a checked plan of a job file, and a pipeline of that; `sql` (a feature, on by default) makes operators of a
//! statement; [`wordcount`] is a pipeline made by hand:
//!
//! ```
//! use std::num::NonZeroUsize;
//!
//! use millstream::connectors::console::{ConsoleOptions, ConsoleSink};
//! use millstream::connectors::file::{FileOptions, FileSource};
//! use millstream::engine::operator::OutputMode;
//! use millstream::engine::pipeline::run_once;
//! use millstream::{engine, wordcount};
//!
//! # fn main() -> engine::Result<()> {
//! let source = FileSource::new(FileOptions::new(vec!["data/dpkg.log".into()]))?;
//! let sink = ConsoleSink::new(Box::new(std::io::sink()), ConsoleOptions::new(false));
//! let plan = wordcount::Plan::new(wordcount::Words::default(), Box::new(source))?;
//! let metrics = run_once(plan.into_job(OutputMode::Complete, Box::new(sink)), NonZeroUsize::MIN)?;
//! assert!(metrics.groups.get() > 0);
//! # Ok(())
//! # }
//! ```
//!
//! `examples/` has a program each for a scalar function, an aggregate function, an operator, a format, a source and a sink of
//! one's own.

pub mod archive;
pub mod cli;
pub mod job;
pub mod pages;
#[cfg(feature = "sql")]
pub mod sql;
mod units;
#[cfg(feature = "sql")]
mod wildcard;
pub mod wordcount;

pub use {connectors, engine};
