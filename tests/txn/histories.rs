//! Many seeded histories, and the proof that they notice what they are there to notice.

use crate::history::{History, Outcome, Plan};
use oncelog::planted::Planted;

/// Schedules of the normal run.
const SCHEDULES: u64 = 5_000;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn random_histories_commit_everywhere_or_nowhere() {
    if let Some(seed) = number("ONCELOG_SIM_SEED") {
        let mut plan = Plan::new(seed);
        let steps = number("ONCELOG_SIM_STEPS").and_then(|steps| usize::try_from(steps).ok());
        plan.steps = steps.unwrap_or(plan.steps);
        History::run(&plan).unwrap_or_else(|failure| panic!("{failure}"));
        return;
    }
    let schedules = number("ONCELOG_SIM_SCHEDULES").unwrap_or(SCHEDULES);
    let mut all = Outcome::default();
    for seed in 0..schedules {
        let outcome = History::run(&Plan::new(seed)).unwrap_or_else(|failure| {
            panic!(
                "seed {seed}: {failure}\nreplay: ONCELOG_SIM_SEED={seed} cargo test --test txn random"
            )
        });
        all.crashes += outcome.crashes;
        all.committed += outcome.committed;
        all.overtaken[0] += outcome.overtaken[0];
        all.overtaken[1] += outcome.overtaken[1];
    }
    println!("{schedules} schedules: {all:?}");
    // A clean result means something only if there was something to survive.
    assert!(all.crashes > schedules && all.committed > schedules, "{all:?}");
    assert!(all.overtaken.iter().all(|count| *count > schedules / 50), "{all:?}");
}

#[test]
fn equal_seeds_give_equal_traces() {
    for seed in 0..50 {
        let plan = Plan::new(seed);
        let [first, second] = [0, 1].map(|_| History::run(&plan).unwrap().trace);
        assert_eq!(first, second, "seed {seed}");
    }
}

fn assert_noticed(plant: impl FnOnce(&mut Planted)) {
    let mut planted = Planted::default();
    plant(&mut planted);
    let found = (0..3_000).find_map(|seed| {
        let plan = Plan { planted, ..Plan::new(seed) };
        History::run(&plan).err().map(|failure| (seed, failure))
    });
    let (seed, failure) = found.unwrap_or_else(|| panic!("nobody noticed {planted:?}"));
    println!("{planted:?}\n  noticed by seed {seed}: {failure}");
}

#[test]
fn markers_before_the_decision_are_noticed() {
    assert_noticed(|p| p.txn_markers_early = true);
}

#[test]
fn positions_before_the_decision_are_noticed() {
    assert_noticed(|p| p.txn_positions_early = true);
}

#[test]
fn believing_a_decision_unseen_is_noticed() {
    assert_noticed(|p| p.txn_trust_decision = true);
}

#[test]
fn forgetting_how_recovery_decided_is_noticed() {
    assert_noticed(|p| p.txn_forget_verdicts = true);
}

#[test]
fn taking_a_later_transaction_for_the_one_decided_is_noticed() {
    assert_noticed(|p| p.txn_ignore_first_offset = true);
}
