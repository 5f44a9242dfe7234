//! What each fuzz target checks, one module per target.
//!
//! The targets in `fuzz_targets/` hand their bytes to these, and so do the stable tests of the
//! seeds, `tests/seeds` and `broker/tests/seeds.rs`: what a fuzzer once found stays found.

pub mod batch;
pub mod directory_open;
pub mod index_read;
pub mod op_sequence;
pub mod producer_snapshot;
pub mod request_decode;
pub mod seal;
pub mod segment_open;
pub mod world;
