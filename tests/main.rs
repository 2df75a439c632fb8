//! The integration tests of Millstream, one binary: it links once, and all of it shares one broker.

mod harness;

mod archive;
#[cfg(feature = "object-store")]
mod archive_store;
mod archive_tools;
mod bad_input;
mod bounds;
mod broker;
mod checkpoints;
mod cli;
mod data;
mod data_loss;
mod exactly_once;
mod examples;
mod formats;
mod golden;
mod job_files;
#[cfg(feature = "sql")]
mod jobs;
mod native_fetch;
#[cfg(feature = "sql")]
mod progress;
#[cfg(feature = "sql")]
mod query;
mod readme;
mod security;
#[cfg(feature = "sql")]
mod tap;
mod tidy;
