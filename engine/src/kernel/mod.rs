//! Hot loops: free functions over slices. The only place of the engine where `unsafe` may be.

pub mod hash;
pub mod pack;
pub mod path;
pub mod prefetch;
pub mod separators;
pub mod tokenize;
