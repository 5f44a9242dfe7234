//! The documented contract, topic by topic, on the real backend and on the simulated disk.

#![expect(clippy::unwrap_used, reason = "a panic in a test is a failed test")]

mod append;
mod checkpoints;
mod common;
mod concurrency;
mod descriptors;
mod files;
mod hooked;
mod identity;
mod indexes;
mod markers;
mod space;
mod verification;
