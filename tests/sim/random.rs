//! Many seeded histories.

use crate::history::{History, Plan};
use crate::number;
use crate::parallel::in_parallel;
use oncelog::planted::Planted;
use std::sync::atomic::{AtomicU64, Ordering};

/// Schedules of the normal run.
const SCHEDULES: u64 = 20_000;

#[test]
fn random_histories_keep_every_promise() {
    if let Some(seed) = number("ONCELOG_SIM_SEED") {
        let mut plan = Plan::new(seed);
        plan.steps =
            number("ONCELOG_SIM_STEPS").map_or(plan.steps, |n| usize::try_from(n).unwrap());
        History::run(&plan).unwrap_or_else(|failure| panic!("{failure}"));
        return;
    }
    let schedules = number("ONCELOG_SIM_SCHEDULES").unwrap_or(SCHEDULES);
    let first = number("ONCELOG_SIM_FIRST").unwrap_or(0);
    let (crashes, cut) = (AtomicU64::new(0), AtomicU64::new(0));
    in_parallel(usize::try_from(schedules).unwrap(), |nth| {
        let seed = first + nth as u64;
        let seen = History::run(&Plan::new(seed)).map_err(|failure| {
            format!(
                "seed {seed}: {failure}\nreplay: ONCELOG_SIM_SEED={seed} cargo test --test sim \
                 random_histories"
            )
        })?;
        crashes.fetch_add(seen.crashes, Ordering::Relaxed);
        cut.fetch_add(seen.cut_tails, Ordering::Relaxed);
        Ok(())
    });
    // A clean result means something only if there was something to survive.
    println!("{schedules} schedules, {crashes:?} crashes, {cut:?} torn tails cut");
    assert!(crashes.into_inner() > schedules / 2, "the histories hardly crash");
    assert!(cut.into_inner() > 0, "no tail was ever torn");
}

#[test]
fn equal_seeds_give_equal_traces() {
    for seed in 0..100 {
        let plan = Plan::new(seed);
        let first = History::run(&plan).unwrap().trace;
        let second = History::run(&plan).unwrap().trace;
        assert_eq!(first, second, "seed {seed}");
    }
}

#[test]
fn short_histories_end_well_wherever_they_end() {
    // They are cheap, and most of what goes wrong goes wrong early.
    in_parallel(6_000, |nth| {
        let mut plan = Plan::new(1_000_000 + nth as u64 / 3);
        plan.steps = [1, 3, 8][nth % 3];
        let run = History::run(&plan);
        run.map(drop).map_err(|failure| format!("{plan:?}: {failure}"))
    });
}

/// The first seed below `limit` that notices a planted bug; the same seed passes without it.
pub(crate) fn notices(planted: Planted, limit: u64) -> Option<(u64, String)> {
    let found = (0..limit).find_map(|seed| {
        let mut plan = Plan::new(seed);
        plan.planted = planted;
        History::run(&plan).err().map(|failure| (seed, failure))
    })?;
    if let Err(what) = History::run(&Plan::new(found.0)) {
        panic!("without the bug, seed {}: {what}", found.0);
    }
    Some(found)
}
