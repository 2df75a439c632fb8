//! The columnar micro-batch engine of Millstream: it knows Arrow and rayon, and no Kafka, Parquet, SQL or command line.

pub mod aggregate;
pub mod batch;
pub mod checkpoint;
pub mod clock;
pub mod error;
pub mod fault;
pub mod group;
pub mod kernel;
pub mod memory;
pub mod metrics;
pub mod operator;
pub mod pipeline;
pub mod position;
pub mod queue;
pub mod recycled;
pub mod sink;
pub mod source;

pub use batch::{Batch, Column, Lines, Origin, Spans};
pub use error::{Error, Result};
pub use position::{Epoch, OffsetRange, Partition, Positions};
