//! What is done with an archive: it goes back to Kafka, is checked, and is compacted; killed, frozen and damaged meanwhile.

mod compact;
mod follow;
mod input;
mod restore;
mod round_trip;
mod verify;
