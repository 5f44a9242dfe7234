//! The documented contract, topic by topic, on the real backends and on the simulated disk.
//!
//! Scenario ids (S-3) and rule ids (P-5) in comments are those of the rule catalogue that the engine
//! follows; each test says what it shows in its name.

#![expect(clippy::unwrap_used, reason = "a panic in a test is a failed test")]

mod append;
mod bounds;
mod checkpoints;
mod common;
mod concurrency;
mod descriptors;
mod epochs;
mod files;
mod flushes;
mod hooked;
mod identity;
mod indexes;
#[path = "../support/passing.rs"]
mod passing;
mod producers;
mod reads;
mod recovery;
mod replicated;
mod retention;
mod space;
mod tailing;
mod timestamps;
mod transactions;
mod truncate;
mod verification;
