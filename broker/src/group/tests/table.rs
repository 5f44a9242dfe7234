//! Table 6.2 cell by cell: five states, five requests.

use super::bench::*;
use crate::group::error::GroupError::*;
use crate::group::state::State;

fn empty() -> Bench {
    let mut bench = Bench::stable(&["a"]);
    bench.leave("a").unwrap();
    assert_eq!(bench.state(), State::Empty);
    bench
}

/// Members a and b; b's departure from a stable group of three opened a round that a has joined.
fn preparing() -> Bench {
    let mut bench = Bench::stable(&["a", "b", "c"]);
    bench.leave("c").unwrap();
    bench.join(rejoin("a"));
    assert_eq!(bench.state(), State::PreparingRebalance);
    bench
}

fn completing() -> Bench {
    Bench::completing(&["a", "b"])
}

fn stable() -> Bench {
    Bench::stable(&["a", "b"])
}

fn dead() -> Bench {
    let mut bench = empty();
    assert!(bench.group.kill(bench.now()));
    bench
}

#[test]
fn empty_is_left_by_a_join_and_knows_no_member() {
    let mut bench = empty();
    let generation = bench.group.generation;
    let known = bench.join(rejoin("a"));
    assert_eq!(bench.joined(known).error, Some(UnknownMember));
    let sync = bench.sync(follower("a", generation));
    assert_eq!(bench.synced(sync).error, Some(UnknownMember));
    assert_eq!(bench.heartbeat("a", generation), Err(UnknownMember));
    assert_eq!(bench.commit("", -1), Ok(()));
    assert_eq!(bench.commit("a", generation), Err(UnknownMember));
    assert_eq!(bench.leave("a"), Err(UnknownMember));

    let mut bench = Bench::with(3000, usize::MAX);
    bench.join(newcomer("a"));
    assert_eq!(bench.state(), State::PreparingRebalance);
}

#[test]
fn preparing_takes_joins_and_sends_everything_else_to_rejoin() {
    let mut bench = preparing();
    let generation = bench.group.generation;
    let sync = bench.sync(follower("b", generation));
    assert_eq!(bench.synced(sync).error, Some(RebalanceInProgress));
    // S-78.
    assert_eq!(bench.heartbeat("b", generation), Err(RebalanceInProgress));
    assert_eq!(bench.commit("b", generation), Ok(()));
    assert_eq!(bench.commit("b", generation - 1), Err(IllegalGeneration));
    let joined = bench.join(rejoin("b"));
    assert_eq!(bench.state(), State::CompletingRebalance);
    assert_eq!(bench.joined(joined).generation, generation + 1);
}

#[test]
fn a_heartbeat_in_preparing_keeps_the_session_alive() {
    let mut bench = preparing();
    let generation = bench.group.generation;
    for _ in 0..4 {
        bench.pass(i64::from(SESSION_MS) - 1);
        assert_eq!(bench.heartbeat("b", generation), Err(RebalanceInProgress));
    }
}

#[test]
fn a_departure_from_preparing_may_complete_the_join() {
    let mut bench = preparing();
    assert_eq!(bench.leave("b"), Ok(()));
    assert_eq!(bench.state(), State::CompletingRebalance);
}

#[test]
fn completing_repeats_the_answer_to_a_member_that_says_the_same() {
    let mut bench = completing();
    let generation = bench.group.generation;
    let again = bench.join(rejoin("b"));
    assert_eq!(bench.joined(again).error, None);
    assert_eq!(bench.joined(again).generation, generation);
    assert!(bench.joined(again).members.is_empty());
    let leader = bench.join(rejoin("a"));
    assert_eq!(bench.joined(leader).members.len(), 2);
    assert_eq!(bench.state(), State::CompletingRebalance);
}

#[test]
fn completing_rebalances_for_a_member_that_changed() {
    let mut bench = completing();
    let mut changed = rejoin("b");
    changed.protocols = vec![protocol("range", "other")];
    bench.join(changed);
    assert_eq!(bench.state(), State::PreparingRebalance);
}

// S-77, S-78, G-7.
#[test]
fn completing_accepts_heartbeats_and_refuses_commits() {
    let mut bench = completing();
    let generation = bench.group.generation;
    assert_eq!(bench.heartbeat("b", generation), Ok(()));
    assert_eq!(bench.heartbeat("b", generation - 1), Err(IllegalGeneration));
    assert_eq!(bench.heartbeat("x", generation), Err(UnknownMember));
    assert_eq!(bench.commit("b", generation), Err(RebalanceInProgress));
    assert_eq!(bench.commit("b", generation - 1), Err(IllegalGeneration));
    assert_eq!(bench.commit("", -1), Err(UnknownMember));
}

#[test]
fn completing_collects_syncs_and_rebalances_when_somebody_leaves() {
    let mut bench = completing();
    let generation = bench.group.generation;
    let sync = bench.sync(follower("b", generation));
    assert!(!bench.syncs.contains_key(&sync));
    assert_eq!(bench.leave("a"), Ok(()));
    assert_eq!(bench.state(), State::PreparingRebalance);
    assert_eq!(bench.synced(sync).error, Some(RebalanceInProgress));
}

#[test]
fn stable_repeats_itself_to_an_unchanged_follower_and_rebalances_for_the_rest() {
    let mut bench = stable();
    let generation = bench.group.generation;
    let again = bench.join(rejoin("b"));
    assert_eq!(bench.joined(again).generation, generation);
    assert_eq!(bench.state(), State::Stable);

    bench.join(rejoin("a"));
    assert_eq!(bench.state(), State::PreparingRebalance, "a leader that rejoins wants a round");

    let mut bench = stable();
    let mut changed = rejoin("b");
    changed.protocols = vec![protocol("range", "other")];
    bench.join(changed);
    assert_eq!(bench.state(), State::PreparingRebalance);
}

#[test]
fn stable_answers_syncs_heartbeats_and_commits() {
    let mut bench = stable();
    let generation = bench.group.generation;
    let sync = bench.sync(follower("b", generation));
    assert_eq!(&bench.synced(sync).assignment[..], b"for-b");
    let old = bench.sync(follower("b", generation - 1));
    assert_eq!(bench.synced(old).error, Some(IllegalGeneration));
    assert_eq!(bench.heartbeat("b", generation), Ok(()));
    assert_eq!(bench.heartbeat("b", generation + 1), Err(IllegalGeneration));
    assert_eq!(bench.commit("b", generation), Ok(()));
    assert_eq!(bench.commit("b", generation + 1), Err(IllegalGeneration));
    assert_eq!(bench.commit("x", generation), Err(UnknownMember));
    assert_eq!(bench.commit("", -1), Err(UnknownMember));
    assert_eq!(bench.leave("b"), Ok(()));
    assert_eq!(bench.state(), State::PreparingRebalance);
}

// Table 6.2, last row.
#[test]
fn dead_answers_that_the_coordinator_is_not_available() {
    let mut bench = dead();
    let generation = bench.group.generation;
    for join in [newcomer("n"), rejoin("a")] {
        let waiter = bench.join(join);
        assert_eq!(bench.joined(waiter).error, Some(CoordinatorNotAvailable));
    }
    let sync = bench.sync(follower("a", generation));
    assert_eq!(bench.synced(sync).error, Some(CoordinatorNotAvailable));
    assert_eq!(bench.heartbeat("a", generation), Err(CoordinatorNotAvailable));
    assert_eq!(bench.commit("", -1), Err(CoordinatorNotAvailable));
    assert_eq!(bench.leave("a"), Err(CoordinatorNotAvailable));
}

#[test]
fn only_an_empty_group_can_die() {
    for mut bench in [preparing(), completing(), stable(), dead()] {
        assert!(!bench.group.kill(bench.now()), "{:?}", bench.state());
    }
}
