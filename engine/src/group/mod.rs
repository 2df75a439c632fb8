//! Interning keys into dense group ids: the first new key is 0, the next 1, and so on.

pub mod bytes;
pub mod counts;
pub mod keys;
mod run;
mod slots;
