//! The driver: from the readers' queue through the operators to the sink, epoch by epoch.

pub mod queue;
