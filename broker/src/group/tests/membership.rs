//! Joining, leading and leaving: who gets in, under which id, and who decides.

use super::bench::*;
use crate::group::error::GroupError::*;
use crate::group::join::Join;
use crate::group::state::State;
use std::sync::Arc;

fn with_protocols(name: &str, protocols: &[&str]) -> Join {
    let protocols = protocols.iter().map(|protocol_name| protocol(protocol_name, name)).collect();
    Join { protocols, ..newcomer(name) }
}

// G-14.
#[test]
fn the_leader_alone_sees_everybodys_metadata() {
    let mut bench = Bench::with(100, usize::MAX);
    let (a, b) = (bench.join(newcomer("a")), bench.join(newcomer("b")));
    bench.pass(1000);
    let (a, b) = (bench.joined(a).clone(), bench.joined(b).clone());
    assert_eq!((&*a.leader, &*b.leader), ("a", "a"));
    assert_eq!(a.generation, b.generation);
    let seen: Vec<(&str, &[u8])> = a.members.iter().map(|m| (&*m.id, &m.metadata[..])).collect();
    assert_eq!(seen, [("a", &b"a"[..]), ("b", &b"b"[..])]);
    assert!(b.members.is_empty());
    assert_eq!(b.protocol.as_deref(), Some("range"));
}

// G-13.
#[test]
fn the_protocol_is_the_favourite_among_those_everybody_supports() {
    let choose = |preferences: &[&[&str]]| {
        let mut bench = Bench::with(100, usize::MAX);
        let mut last = None;
        for (index, protocols) in preferences.iter().enumerate() {
            last = Some(bench.join(with_protocols(&format!("m{index}"), protocols)));
        }
        bench.pass(100_000);
        bench.joined(last.expect("a member")).protocol.clone().expect("a protocol")
    };
    assert_eq!(&*choose(&[&["x", "y"], &["y", "x"], &["y", "x"]]), "y");
    // "x" has most first places, but the third member does not know it.
    assert_eq!(&*choose(&[&["x", "y", "z"], &["x", "z", "y"], &["z", "y"]]), "z");
    // A tie goes to the leader.
    assert_eq!(&*choose(&[&["x", "y"], &["y", "x"]]), "x");
    assert_eq!(&*choose(&[&["y", "x"], &["x", "y"]]), "y");
}

// G-9.
#[test]
fn protocols_that_do_not_fit_the_group_are_refused() {
    let mut bench = Bench::stable(&["a"]);
    let other_type = Join { protocol_type: Arc::from("connect"), ..newcomer("b") };
    let no_common = with_protocols("b", &["sticky"]);
    let none = with_protocols("b", &[]);
    for join in [other_type, no_common, none] {
        let waiter = bench.join(join);
        assert_eq!(bench.joined(waiter).error, Some(InconsistentProtocol));
    }
    assert_eq!(bench.state(), State::Stable);

    let mut bench = Bench::new();
    let untyped = Join { protocol_type: Arc::from(""), ..newcomer("a") };
    let waiter = bench.join(untyped);
    assert_eq!(bench.joined(waiter).error, Some(InconsistentProtocol));
    let waiter = bench.join(with_protocols("a", &[]));
    assert_eq!(bench.joined(waiter).error, Some(InconsistentProtocol));
    assert!(bench.group.is_vacant());
}

// B-47: Connect's metadata means nothing to the broker.
#[test]
fn any_protocol_type_and_any_metadata_make_a_group() {
    let mut bench = Bench::new();
    let join = Join {
        protocol_type: Arc::from("connect"),
        protocols: vec![protocol("sessioned", "\u{0}\u{1}not a subscription")],
        ..newcomer("worker")
    };
    let waiter = bench.join(join);
    assert_eq!(bench.joined(waiter).error, None);
    bench.stabilise(&["worker"]);
}

// G-10.
#[test]
fn a_newcomer_is_told_its_id_before_it_counts() {
    let mut bench = Bench::stable(&["a"]);
    let told = bench.join(Join { needs_known_id: true, ..newcomer("b") });
    let reply = bench.joined(told);
    assert_eq!((reply.error, &*reply.member_id), (Some(MemberIdRequired), "b"));
    assert_eq!(bench.state(), State::Stable);
    assert_eq!(bench.heartbeat("b", bench.group.generation), Err(UnknownMember));
    bench.join(rejoin("b"));
    let a = bench.join(rejoin("a"));
    assert_eq!(bench.joined(a).members.len(), 2);
}

#[test]
fn an_id_nobody_was_given_is_unknown() {
    let mut bench = Bench::stable(&["a"]);
    let waiter = bench.join(rejoin("stranger"));
    let reply = bench.joined(waiter);
    assert_eq!((reply.error, &*reply.member_id), (Some(UnknownMember), "stranger"));
}

// G-10, S-80.
#[test]
fn a_pending_member_holds_up_the_round_until_it_is_forgotten() {
    let mut bench = Bench::stable(&["a"]);
    bench.join(Join { needs_known_id: true, ..newcomer("b") });
    let a = bench.join(rejoin("a"));
    assert!(!bench.joins.contains_key(&a));
    bench.pass(i64::from(SESSION_MS) - 1);
    assert!(!bench.joins.contains_key(&a));
    bench.pass(1);
    assert_eq!(bench.joined(a).error, None);
}

// G-17.
#[test]
fn a_pending_member_that_leaves_lets_the_round_complete() {
    let mut bench = Bench::stable(&["a"]);
    bench.join(Join { needs_known_id: true, ..newcomer("b") });
    let a = bench.join(rejoin("a"));
    assert_eq!(bench.leave("b"), Ok(()));
    assert_eq!(bench.joined(a).error, None);
}

// G-8.
#[test]
fn a_full_group_refuses_newcomers_and_keeps_its_members() {
    let mut bench = Bench::with(100, 2);
    bench.join(newcomer("a"));
    bench.join(newcomer("b"));
    let third = bench.join(newcomer("c"));
    assert_eq!(bench.joined(third).error, Some(GroupMaxSizeReached));
    bench.pass(1000);
    assert_eq!(bench.state(), State::CompletingRebalance);
    let again = bench.join(rejoin("b"));
    assert_eq!(bench.joined(again).error, None);
    let third = bench.join(newcomer("c"));
    assert_eq!(bench.joined(third).error, Some(GroupMaxSizeReached));
}

// G-12.
#[test]
fn the_last_to_leave_empties_the_group_and_that_is_stored() {
    let mut bench = Bench::stable(&["a"]);
    let generation = bench.group.generation;
    assert_eq!(bench.leave("a"), Ok(()));
    assert_eq!(bench.state(), State::Empty);
    let value = bench.store(Ok(()));
    assert_eq!((value.generation, value.members.len()), (generation + 1, 0));
    assert_eq!((value.protocol, value.leader), (None, None));
    assert_eq!(&*value.protocol_type, "consumer");
}

// G-12.
#[test]
fn a_leader_that_does_not_rejoin_is_replaced() {
    let mut bench = Bench::stable(&["a", "b", "c"]);
    bench.leave("c").unwrap();
    let b = bench.join(rejoin("b"));
    bench.pass(i64::from(REBALANCE_MS));
    let reply = bench.joined(b);
    assert_eq!((&*reply.leader, reply.members.len()), ("b", 1));
}

// G-15.
#[test]
fn an_assignment_is_stored_before_anybody_hears_of_it() {
    let mut bench = Bench::completing(&["a", "b"]);
    let generation = bench.group.generation;
    let b = bench.sync(follower("b", generation));
    let a = bench.sync(leader("a", generation, &[("a", "mine".into())]));
    assert!(bench.syncs.is_empty());
    assert_eq!(bench.state(), State::CompletingRebalance);
    let value = bench.store(Ok(()));
    assert_eq!(&bench.synced(a).assignment[..], b"mine");
    assert!(bench.synced(b).assignment.is_empty(), "who is not mentioned has nothing to do");
    assert_eq!((value.generation, value.leader.as_deref()), (generation, Some("a")));
    let stored: Vec<&[u8]> = value.members.iter().map(|m| &m.assignment[..]).collect();
    assert_eq!(stored, [&b"mine"[..], b""]);
}

#[test]
fn an_assignment_that_cannot_be_stored_starts_a_new_round() {
    let mut bench = Bench::completing(&["a", "b"]);
    let generation = bench.group.generation;
    let b = bench.sync(follower("b", generation));
    bench.sync(leader("a", generation, &[]));
    bench.store(Err(CoordinatorNotAvailable));
    assert_eq!(bench.synced(b).error, Some(CoordinatorNotAvailable));
    assert_eq!(bench.state(), State::PreparingRebalance);
}

#[test]
fn an_assignment_stored_too_late_decides_nothing() {
    let mut bench = Bench::completing(&["a", "b"]);
    let generation = bench.group.generation;
    let a = bench.sync(leader("a", generation, &[]));
    bench.join(newcomer("c"));
    assert_eq!(bench.synced(a).error, Some(RebalanceInProgress));
    bench.store(Ok(()));
    assert_eq!(bench.state(), State::PreparingRebalance);
}

// G-15: the fields of version 5.
#[test]
fn a_sync_that_names_another_protocol_is_refused() {
    let mut bench = Bench::stable(&["a"]);
    let generation = bench.group.generation;
    let mut sync = follower("a", generation);
    sync.protocol_type = Some(Arc::from("connect"));
    let waiter = bench.sync(sync);
    assert_eq!(bench.synced(waiter).error, Some(InconsistentProtocol));
    let mut sync = follower("a", generation);
    sync.protocol = Some(Arc::from("sticky"));
    let waiter = bench.sync(sync);
    assert_eq!(bench.synced(waiter).error, Some(InconsistentProtocol));
    let mut sync = follower("a", generation);
    (sync.protocol_type, sync.protocol) = (Some(Arc::from("consumer")), Some(Arc::from("range")));
    let waiter = bench.sync(sync);
    assert_eq!(bench.synced(waiter).error, None);
}

#[test]
fn a_second_join_of_a_waiting_member_answers_the_first() {
    let mut bench = Bench::stable(&["a", "b"]);
    let first = bench.join(rejoin("a"));
    let second = bench.join(rejoin("a"));
    assert_eq!(bench.joined(first).error, Some(RebalanceInProgress));
    bench.join(rejoin("b"));
    assert_eq!(bench.joined(second).error, None);
}

#[test]
fn a_member_whose_connection_died_while_joining_is_not_part_of_the_generation() {
    // Its client never learnt its id, so it is gone at once.
    let mut bench = Bench::stable(&["a"]);
    bench.join(newcomer("b"));
    let a = bench.join(rejoin("a"));
    assert_eq!(bench.joined(a).members.len(), 2);
    let mut bench = Bench::with(3000, usize::MAX);
    let a = bench.join(newcomer("a"));
    let b = bench.join(newcomer("b"));
    bench.abandon(b);
    bench.pass(100_000);
    assert_eq!(bench.joined(a).members.len(), 1);
    assert!(!bench.joins.contains_key(&b));

    // Its client knows its id and comes back within the round.
    let mut bench = Bench::stable(&["a", "b"]);
    let lost = bench.join(rejoin("b"));
    bench.join(newcomer("c"));
    bench.abandon(lost);
    let a = bench.join(rejoin("a"));
    assert!(!bench.joins.contains_key(&a), "the round waits for b");
    let b = bench.join(rejoin("b"));
    assert_eq!(bench.joined(b).error, None);
}
