//! The integration tests of Millstream, one binary: it links once, and all of it shares one broker.

mod harness;

mod broker;
mod data;
mod golden;
mod readme;
mod tidy;
