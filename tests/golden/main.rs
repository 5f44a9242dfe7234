//! Files, byte for byte: what the engine writes is what the format says, and what Kafka wrote is read.
//!
//! Nothing here takes the crate's word for a byte: expected bytes are written down, or decoded by
//! `decoder`, which knows `docs/format.md` and none of the crate's code.

#![expect(clippy::unwrap_used, reason = "a panic in a test is a failed test")]
#![expect(clippy::disallowed_methods, reason = "looks at the engine's files from outside")]

mod bytes;
mod decoder;
mod kafka_directory;
mod workload;
