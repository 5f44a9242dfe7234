//! Consumer groups: membership, committed offsets, and the log that keeps both.
//!
//! | file | owns |
//! |---|---|
//! | `state`, `member`, `round`, `join`, `sync`, `leave` | a classic group as a pure state machine |
//! | `offsets`, `subscription` | committed offsets of a group, and when they expire |
//! | `records` | the bytes of `__consumer_offsets` |
//! | `load` | reading that log at the start |
//! | `compaction` | keeping that log short |
//! | `coordinator`, `timers`, `clockwork` | all groups, their locks, the passing of time |
//! | `membership`, `commits`, `txn_commits`, `fetches`, `admin` | requests of the wire, one family each |
//!
//! The one idea: what a group does is decided without waiting, in memory, under its lock; what must
//! last is appended there and then, and answered when the log says that it is stored.

mod admin;
mod clockwork;
mod commits;
mod compaction;
mod config;
mod coordinator;
mod effect;
mod error;
mod fetches;
mod join;
mod leave;
mod load;
mod member;
mod membership;
mod offsets;
mod records;
mod round;
mod state;
mod subscription;
mod sync;
#[cfg(test)]
mod tests;
mod timers;
mod txn_commits;

pub use config::Config;
pub use coordinator::{Caller, Coordinator, Host};
pub use error::GroupError;
pub use load::LoadReport;
