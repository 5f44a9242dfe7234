//! Static members: an instance keeps its place across restarts of its process (G-16).

use super::bench::*;
use crate::group::effect::JoinReply;
use crate::group::error::GroupError::*;
use crate::group::join::Join;
use crate::group::state::State;
use std::sync::Arc;

/// A process of instance `i-<name>` that starts up and is given the id `id`.
fn process(name: &str, id: &str) -> Join {
    Join {
        instance_id: Some(Arc::from(format!("i-{name}"))),
        needs_known_id: true,
        fresh_id: Arc::from(id),
        protocols: vec![protocol("range", name)],
        ..newcomer(name)
    }
}

/// Instances of `names` with the ids `<name>1`, stable; the first leads.
fn stable(names: &[&str]) -> Bench {
    let mut bench = Bench::with(100, usize::MAX);
    for name in names {
        bench.join(process(name, &format!("{name}1")));
    }
    bench.pass(1_000);
    let ids: Vec<String> = names.iter().map(|name| format!("{name}1")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    bench.stabilise(&ids);
    bench
}

fn heartbeat(bench: &mut Bench, id: &str, instance: &str) -> Result<(), crate::group::GroupError> {
    let generation = bench.group.generation;
    bench.group.heartbeat(bench.now(), id, Some(instance), generation)
}

// S-79 [testReplaceStaticMemberInStableStateNoError].
#[test]
fn a_restarted_follower_takes_its_place_without_a_rebalance() {
    let mut bench = stable(&["a", "b"]);
    let generation = bench.group.generation;
    let back = bench.join(process("b", "b2"));
    assert!(!bench.joins.contains_key(&back), "stored before it is answered");
    let value = bench.store(Ok(()));
    assert!(value.members.iter().any(|member| &*member.id == "b2"));
    let reply = bench.joined(back).clone();
    assert_eq!((reply.error, reply.generation, &*reply.member_id), (None, generation, "b2"));
    assert_eq!(&*reply.leader, "a1");
    assert_eq!(bench.state(), State::Stable);
    let sync = bench.sync(follower("b2", generation));
    assert_eq!(&bench.synced(sync).assignment[..], b"for-b1");
}

// S-79 [testStaticMemberFenceDuplicateRejoinedFollower].
#[test]
fn the_old_process_of_an_instance_is_fenced() {
    let mut bench = stable(&["a", "b"]);
    bench.join(process("b", "b2"));
    bench.store(Ok(()));
    assert_eq!(heartbeat(&mut bench, "b1", "i-b"), Err(FencedInstanceId));
    assert_eq!(heartbeat(&mut bench, "b2", "i-b"), Ok(()));
    assert_eq!(heartbeat(&mut bench, "b2", "i-x"), Err(UnknownMember));
    let old = bench.join(Join { member_id: Arc::from("b1"), ..process("b", "b3") });
    assert_eq!(bench.joined(old).error, Some(FencedInstanceId));
    assert_eq!(bench.leave_as("b1", Some("i-b")), Err(FencedInstanceId));
}

#[test]
fn a_parked_join_of_the_old_process_is_fenced() {
    let mut bench = stable(&["a", "b"]);
    bench.join(newcomer("c"));
    let old = bench.join(Join { member_id: Arc::from("b1"), ..process("b", "x") });
    let new = bench.join(process("b", "b2"));
    assert_eq!(bench.joined(old).error, Some(FencedInstanceId));
    let a = bench.join(Join { member_id: Arc::from("a1"), ..process("a", "x") });
    assert_eq!(bench.joined(new).error, None);
    assert_eq!(bench.joined(a).members.len(), 3);
}

// G-14, G-16.
#[test]
fn a_restarted_leader_goes_on_leading_but_need_not_assign() {
    let mut bench = stable(&["a", "b"]);
    let back = bench.join(Join { can_skip_assignment: true, ..process("a", "a2") });
    bench.store(Ok(()));
    let JoinReply { skip_assignment, leader, members, .. } = bench.joined(back).clone();
    assert!(skip_assignment);
    assert_eq!((&*leader, members.len()), ("a2", 2));

    // One that cannot skip is not told that it leads.
    let back = bench.join(process("a", "a3"));
    bench.store(Ok(()));
    let reply = bench.joined(back).clone();
    assert!(!reply.skip_assignment && reply.members.is_empty());
    assert_eq!(&*reply.leader, "a2");
    assert!(bench.group.is_leader("a3"));
}

#[test]
fn a_return_that_cannot_be_stored_is_undone() {
    let mut bench = stable(&["a", "b"]);
    let back = bench.join(process("b", "b2"));
    bench.store(Err(CoordinatorNotAvailable));
    let reply = bench.joined(back);
    assert_eq!((reply.error, &*reply.member_id), (Some(CoordinatorNotAvailable), ""));
    assert_eq!(heartbeat(&mut bench, "b1", "i-b"), Ok(()));
    let sync = bench.sync(follower("b1", bench.group.generation));
    assert_eq!(&bench.synced(sync).assignment[..], b"for-b1");
}

#[test]
fn a_return_with_another_favourite_protocol_rebalances() {
    let mut bench = Bench::new();
    let both = |first: &str, second: &str| vec![protocol(first, ""), protocol(second, "")];
    bench.join(Join { protocols: both("range", "sticky"), ..process("a", "a1") });
    bench.stabilise(&["a1"]);
    let generation = bench.group.generation;
    let back = bench.join(Join { protocols: both("sticky", "range"), ..process("a", "a2") });
    let reply = bench.joined(back);
    assert_eq!((reply.generation, reply.protocol.as_deref()), (generation + 1, Some("sticky")));
}

#[test]
fn a_return_before_the_assignment_is_known_rebalances() {
    let mut bench = stable(&["a", "b"]);
    let a = bench.join(Join { member_id: Arc::from("a1"), ..process("a", "x") });
    bench.join(Join { member_id: Arc::from("b1"), ..process("b", "x") });
    assert_eq!(bench.joined(a).error, None);
    assert_eq!(bench.state(), State::CompletingRebalance);
    bench.join(process("b", "b2"));
    assert_eq!(bench.state(), State::PreparingRebalance);
}

// G-12.
#[test]
fn a_static_member_that_misses_a_round_stays_in_the_group() {
    let mut bench = stable(&["a", "b"]);
    let c = bench.join(newcomer("c"));
    let generation = bench.group.generation;
    for _ in 0..7 {
        bench.pass(9_000);
        for (id, instance) in [("a1", "i-a"), ("b1", "i-b")] {
            let heard = heartbeat(&mut bench, id, instance);
            assert_ne!(heard, Err(UnknownMember), "it is still in the group");
        }
    }
    let reply = bench.joined(c).clone();
    assert_eq!(reply.generation, generation + 1);
    assert_eq!((&*reply.leader, reply.members.len()), ("c", 3), "the leader did not rejoin");
}

// G-12.
#[test]
fn a_round_that_no_static_member_joins_is_extended_until_their_sessions_end() {
    let mut bench = stable(&["a", "b"]);
    bench.join(newcomer("c"));
    let generation = bench.group.generation;
    assert_eq!(bench.leave("c"), Ok(()));
    bench.pass(9_000);
    assert_eq!((bench.state(), bench.group.generation), (State::PreparingRebalance, generation));
    bench.pass(100_000);
    assert_eq!(bench.state(), State::Empty);
}

// G-17.
#[test]
fn an_administrator_removes_a_static_member_by_its_instance() {
    let mut bench = stable(&["a", "b"]);
    assert_eq!(bench.leave_as("", Some("i-x")), Err(UnknownMember));
    assert_eq!(bench.leave_as("", Some("i-b")), Ok(()));
    assert_eq!(heartbeat(&mut bench, "b1", "i-b"), Err(UnknownMember));
    assert_eq!(bench.state(), State::PreparingRebalance);
}
