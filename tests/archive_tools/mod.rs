//! What is done with an archive: it goes back to Kafka, and is checked; killed, frozen and damaged meanwhile.

mod input;
mod restore;
mod verify;
