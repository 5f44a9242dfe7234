//! Whole lives of an engine on a simulated disk, judged by an oracle.
//!
//! **Goal.** Nothing acknowledged is lost or changed, nothing a reader saw is gone, no retry is
//! stored twice, no aborted record is served, whatever the disk does and wherever the power goes.
//!
//! **Method.** The oracle (`model`, `judge`) knows every operation and its answer; after each recovery
//! the log must be a prefix of what was staged, hold everything acknowledged, and answer reads,
//! retries and read-committed reads as the model does.
//!
//! | file | what happens to the engine |
//! |---|---|
//! | `random`, `history` | seeded histories of operations, power cuts, kills and errors |
//! | `exhaustive`, `script` | one scripted workload, cut at every I/O operation, and again in recovery |
//! | `faults` | the same script with an error at every call, and on disks that fill up |
//! | `damage` | flipped bits, and files cut, grown, gone or replaced |
//! | `found` | what was found once, as scripts that are cut everywhere |
//! | `planted` | bugs that are switched on, each of which must be noticed |
//!
//! **A failure** prints the command that replays it; `docs/testing.md` has them all.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic in a test is a failed test, and it says what it went through"
)]

mod damage;
mod exhaustive;
mod faults;
mod found;
mod history;
mod judge;
mod model;
mod parallel;
mod planted;
mod random;
mod rng;
mod script;

/// A number from the environment.
fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}
