//! Transactions over several logs: all of one or nothing of it, wherever a crash falls.
//!
//! **Goal.** A commit that was answered is there in every log, with its positions; no transaction is
//! ever there in part; nothing of an aborted one is seen; none is left open by a crash.
//!
//! **Method.** `contract`: the documented calls, on real files and on the simulated disk. `points`: one
//! scripted workload, cut at every operation of the disk, in several ways, and cut again in the recovery
//! that follows. `histories`: random ones, judged by an oracle that knows every call and its answer.
//! `planted`: bugs that are switched on for the purpose, each of which must be noticed.
//!
//! **A failure** prints its seed. `ONCELOG_SIM_SEED=n cargo test --test txn random` replays that one;
//! `ONCELOG_SIM_SCHEDULES=n` runs more of them.

#![expect(clippy::unwrap_used, reason = "a panic in a test is a failed test")]

mod common;
mod contract;
mod failures;
mod histories;
mod history;
mod oracle;
#[path = "../support/passing.rs"]
mod passing;
mod points;
#[path = "../sim/rng.rs"]
mod rng;
mod rounds;
