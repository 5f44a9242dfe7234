//! Whole histories of an engine on a simulated disk, judged by an oracle.
//!
//! **Goal.** Nothing acknowledged is lost or changed, nothing a reader saw is gone, no retry is
//! stored twice, no aborted record is served — whatever the disk does and wherever the power goes.
//!
//! **Method.** A history is a seed. It appends, retries, ends transactions, rolls, trims, closes,
//! and is cut short by power cuts, kills and I/O errors. The oracle (`model`) knows every operation
//! and its answer; after each recovery the log must be a prefix of what was staged, hold everything
//! acknowledged, and answer reads, retries and read-committed reads as the model does.
//!
//! **A failure** prints its seed. `ONCELOG_SIM_SEED=n cargo test --test sim` replays that one;
//! `ONCELOG_SIM_SCHEDULES=n` runs more of them.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic in a test is a failed test, and it says what it went through"
)]

mod exhaustive;
mod found;
mod history;
mod judge;
mod model;
mod parallel;
mod planted;
mod rng;
mod script;

use history::{History, Plan};
use oncelog::planted::Planted;

/// Schedules of the normal run.
const SCHEDULES: u64 = 20_000;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn random_histories_keep_every_promise() {
    if let Some(seed) = number("ONCELOG_SIM_SEED") {
        let mut plan = Plan::new(seed);
        plan.steps = number("ONCELOG_SIM_STEPS").map_or(plan.steps, |n| n as usize);
        History::run(&plan).unwrap_or_else(|failure| panic!("{failure}"));
        return;
    }
    let schedules = number("ONCELOG_SIM_SCHEDULES").unwrap_or(SCHEDULES);
    let half = schedules / 2;
    let (mut crashes, mut cut) = (0, 0);
    let run = |seeds: std::ops::Range<u64>| {
        let (mut crashes, mut cut) = (0, 0);
        for seed in seeds {
            match History::run(&Plan::new(seed)) {
                Ok(seen) => {
                    crashes += seen.crashes;
                    cut += seen.cut_tails;
                }
                Err(failure) => panic!(
                    "seed {seed}: {failure}\nreplay: ONCELOG_SIM_SEED={seed} cargo test --test sim"
                ),
            }
        }
        (crashes, cut)
    };
    std::thread::scope(|scope| {
        let parts = [scope.spawn(|| run(0..half)), scope.spawn(|| run(half..schedules))];
        for part in parts {
            match part.join() {
                Ok((c, t)) => {
                    crashes += c;
                    cut += t;
                }
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    // A clean result means something only if there was something to survive.
    println!("{schedules} schedules, {crashes} crashes, {cut} torn tails cut");
    assert!(crashes > schedules / 2, "the histories hardly crash");
    assert!(cut > 0, "no tail was ever torn");
}

#[test]
fn equal_seeds_give_equal_traces() {
    for seed in 0..50 {
        let plan = Plan::new(seed);
        let first = History::run(&plan).unwrap().trace;
        let second = History::run(&plan).unwrap().trace;
        assert_eq!(first, second, "seed {seed}");
    }
}

/// Whether some seed below `limit` notices the planted bug.
pub(crate) fn is_noticed(planted: Planted, limit: u64) -> Option<(u64, String)> {
    (0..limit).find_map(|seed| {
        let mut plan = Plan::new(seed);
        plan.planted = planted;
        History::run(&plan).err().map(|failure| (seed, failure))
    })
}
