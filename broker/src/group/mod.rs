//! Consumer groups: membership, committed offsets, and the log that keeps both.
mod config;
pub mod effect;
pub mod error;
pub mod fields;
pub mod join;
pub mod leave;
pub mod member;
pub mod offsets;
pub mod records;
mod round;
pub mod state;
mod subscription;
pub mod sync;
