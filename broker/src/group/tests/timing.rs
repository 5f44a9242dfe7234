//! What happens when somebody does not come (S-80), and when everybody may wait (G-11).

use super::bench::*;
use crate::group::error::GroupError::*;
use crate::group::state::{Group, Limits, State};

// G-18, S-80 [testHeartbeatExpirationShouldRemoveMember].
#[test]
fn silence_ends_a_membership_and_the_group_rebalances() {
    let mut bench = Bench::stable(&["a", "b"]);
    let generation = bench.group.generation;
    bench.pass(6_000);
    assert_eq!(bench.heartbeat("a", generation), Ok(()));
    bench.pass(4_000);
    assert_eq!(bench.heartbeat("b", generation), Err(UnknownMember));
    assert_eq!(bench.heartbeat("a", generation), Err(RebalanceInProgress));
}

// G-18, G-22.
#[test]
fn a_commit_is_a_sign_of_life() {
    let mut bench = Bench::stable(&["a"]);
    let generation = bench.group.generation;
    for _ in 0..5 {
        bench.pass(9_999);
        assert_eq!(bench.commit("a", generation), Ok(()));
    }
    bench.pass(10_000);
    assert_eq!(bench.commit("a", generation), Err(UnknownMember));
}

// G-18.
#[test]
fn members_that_wait_for_the_group_are_alive() {
    let mut bench = Bench::stable(&["a", "b", "c"]);
    bench.leave("c").unwrap();
    let a = bench.join(rejoin("a"));
    let generation = bench.group.generation;
    for _ in 0..5 {
        bench.pass(9_000);
        assert_eq!(bench.heartbeat("b", generation), Err(RebalanceInProgress));
    }
    bench.join(rejoin("b"));
    assert_eq!(bench.joined(a).members.len(), 2);
}

// G-12.
#[test]
fn who_does_not_rejoin_within_the_rebalance_timeout_is_left_behind() {
    let mut bench = Bench::stable(&["a", "b", "c"]);
    bench.leave("c").unwrap();
    let a = bench.join(rejoin("a"));
    let generation = bench.group.generation;
    for _ in 0..6 {
        bench.pass(9_000);
        assert_eq!(bench.heartbeat("b", generation), Err(RebalanceInProgress));
    }
    bench.pass(6_000);
    assert_eq!(bench.joined(a).members.len(), 1);
    assert_eq!(bench.heartbeat("b", generation), Err(UnknownMember));
}

// G-15, S-80 [testRebalanceTimesOutWhenSyncRequestIsNotReceivedFromLeaders].
#[test]
fn a_leader_that_never_assigns_is_removed() {
    let mut bench = Bench::completing(&["a", "b"]);
    let generation = bench.group.generation;
    let b = bench.sync(follower("b", generation));
    for _ in 0..6 {
        bench.pass(9_000);
        assert_eq!(bench.heartbeat("a", generation), Ok(()));
    }
    bench.pass(6_000);
    assert_eq!(bench.synced(b).error, Some(RebalanceInProgress));
    assert_eq!(bench.heartbeat("a", generation), Err(UnknownMember));
    let b = bench.join(rejoin("b"));
    assert_eq!(&*bench.joined(b).leader, "b");
}

// G-15.
#[test]
fn a_follower_that_never_syncs_is_removed_even_from_a_stable_group() {
    let mut bench = Bench::completing(&["a", "b"]);
    let generation = bench.group.generation;
    bench.sync(leader("a", generation, &[]));
    bench.store(Ok(()));
    assert_eq!(bench.state(), State::Stable);
    for _ in 0..7 {
        bench.pass(8_600);
        assert_ne!(bench.heartbeat("a", generation), Err(UnknownMember));
        bench.heartbeat("b", generation).unwrap_or_default();
    }
    assert_eq!(bench.heartbeat("b", generation), Err(UnknownMember));
    assert_eq!(bench.state(), State::PreparingRebalance);
}

// G-11.
#[test]
fn the_first_round_waits_for_more_members_while_they_keep_coming() {
    let mut bench = Bench::with(3_000, usize::MAX);
    let a = bench.join(newcomer("a"));
    bench.pass(2_999);
    let b = bench.join(newcomer("b"));
    bench.pass(1);
    assert!(bench.joins.is_empty(), "b put the round off");
    bench.pass(3_000);
    assert_eq!(bench.joined(a).members.len(), 2);
    assert_eq!(bench.joined(b).generation, 1);
}

// G-11.
#[test]
fn the_first_round_is_not_put_off_past_the_rebalance_timeout() {
    let mut bench = Bench::with(3_000, usize::MAX);
    let first = bench.join(newcomer("m0"));
    let mut count = 1;
    while !bench.joins.contains_key(&first) {
        bench.join(newcomer(&format!("m{count}")));
        count += 1;
        bench.pass(1_000);
    }
    assert_eq!(bench.now_ms, i64::from(REBALANCE_MS));
}

// A client that gives up unheard leaves no eternal member behind.
#[test]
fn a_newcomer_that_waits_for_minutes_is_removed() {
    let mut bench = Bench::stable(&["a"]);
    let mut slow = rejoin("a");
    slow.rebalance_timeout_ms = i32::MAX;
    bench.join(slow);
    bench.stabilise(&["a"]);
    let b = bench.join(newcomer("b"));
    let generation = bench.group.generation;
    for _ in 0..60 {
        bench.pass(5_000);
        assert_eq!(bench.heartbeat("a", generation), Err(RebalanceInProgress));
    }
    assert_eq!(bench.joined(b).error, Some(UnknownMember));
}

// G-19.
#[test]
fn a_group_read_from_the_log_goes_on_with_fresh_sessions() {
    let mut bench = Bench::completing(&["a", "b"]);
    let generation = bench.group.generation;
    bench.sync(leader("a", generation, &[("b", "work".into())]));
    let value = bench.store(Ok(()));
    let limits = Limits { initial_rebalance_delay_ms: 0, members_max: usize::MAX };
    let mut after = Bench::new();
    after.group = Group::restore(limits, now(0), value);
    assert_eq!((after.state(), after.group.generation), (State::Stable, generation));
    assert_eq!(after.heartbeat("b", generation), Ok(()));
    let sync = after.sync(follower("b", generation));
    assert_eq!(&after.synced(sync).assignment[..], b"work");
    after.pass(10_000);
    assert_eq!(after.heartbeat("b", generation), Err(UnknownMember));
    assert_eq!(after.state(), State::Empty);
}

// G-19.
#[test]
fn a_group_read_from_the_log_that_is_too_large_rebalances() {
    let mut bench = Bench::completing(&["a", "b", "c"]);
    bench.sync(leader("a", bench.group.generation, &[]));
    let value = bench.store(Ok(()));
    let mut after = Bench::with(0, 2);
    after.group = Group::restore(after.group.limits, now(0), value);
    let mut effects = Vec::new();
    after.group.shrink_to_limit(now(0), &mut effects);
    assert_eq!(after.state(), State::PreparingRebalance);
    let waiters = ["a", "b", "c"].map(|name| after.join(rejoin(name)));
    assert_eq!(after.joined(waiters[2]).error, Some(GroupMaxSizeReached));
    assert_eq!(after.joined(waiters[0]).members.len(), 2);
}
