//! The coordinator over a journal whose writes the test holds in its hand: what is answered when,
//! what a restart finds, and what a client that goes away leaves behind. Time is tokio's, paused.

use super::memory::*;
use crate::group::Config;
use crate::group::GroupError::*;
use crate::protocol::join_group::JoinGroupRequestProtocol;
use crate::protocol::offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use crate::protocol::offset_delete::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use crate::protocol::offset_fetch::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use crate::protocol::*;
use bytes::Bytes;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::task::yield_now;

fn join_request(member_id: &str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: Str::from("g"),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        member_id: Str::from(member_id),
        protocol_type: Str::from("consumer"),
        protocols: vec![JoinGroupRequestProtocol {
            name: Str::from("range"),
            metadata: Bytes::from_static(b"\x00\x00\x00\x00\x00\x01\x00\x01t\xff\xff\xff\xff"),
        }],
        ..JoinGroupRequest::default()
    }
}

fn sync_request(member_id: &str, generation_id: i32) -> SyncGroupRequest {
    SyncGroupRequest {
        group_id: Str::from("g"),
        generation_id,
        member_id: Str::from(member_id),
        assignments: vec![sync_group::SyncGroupRequestAssignment {
            member_id: Str::from(member_id),
            assignment: Bytes::from_static(b"work"),
        }],
        ..SyncGroupRequest::default()
    }
}

fn commit_request(offsets: &[(i32, i64)]) -> OffsetCommitRequest {
    let partitions =
        offsets.iter().map(|&(partition_index, committed_offset)| OffsetCommitRequestPartition {
            partition_index,
            committed_offset,
            committed_leader_epoch: 3,
            committed_metadata: Some(Str::from("note")),
        });
    OffsetCommitRequest {
        group_id: Str::from("g"),
        topics: vec![OffsetCommitRequestTopic {
            name: Str::from("t"),
            topic_id: topic_id("t"),
            partitions: partitions.collect(),
        }],
        ..OffsetCommitRequest::default()
    }
}

fn codes(response: &OffsetCommitResponse) -> Vec<i16> {
    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|partition| partition.error_code).collect()
}

fn fetched(world: &World, group_id: &str, partitions: &[i32]) -> Vec<i64> {
    let topic = OffsetFetchRequestTopics {
        name: Str::from("t"),
        partition_indexes: partitions.to_vec(),
        ..OffsetFetchRequestTopics::default()
    };
    let group = OffsetFetchRequestGroup {
        group_id: Str::from(group_id),
        topics: Some(vec![topic]),
        ..OffsetFetchRequestGroup::default()
    };
    let request = OffsetFetchRequest { groups: vec![group], ..OffsetFetchRequest::default() };
    let response = world.groups.fetch_offsets(&request, 9);
    let partitions = &response.groups[0].topics[0].partitions;
    partitions.iter().map(|partition| partition.committed_offset).collect()
}

fn state(world: &World) -> String {
    let request =
        DescribeGroupsRequest { groups: vec![Str::from("g")], ..DescribeGroupsRequest::default() };
    String::from(&world.groups.describe(&request, 6).groups[0].group_state)
}

/// Joins and syncs one member in the way of a client of today; its id and generation.
async fn lone_member(world: &World) -> (String, i32) {
    let told = world.groups.join(&caller(), join_request(""), 9).await;
    assert_eq!(told.error_code, code(MemberIdRequired));
    let joined = world.groups.join(&caller(), join_request(&told.member_id), 9).await;
    assert_eq!((joined.error_code, &joined.leader), (0, &told.member_id));
    let synced = world.groups.sync(sync_request(&joined.member_id, joined.generation_id), 4).await;
    assert_eq!((synced.error_code, &synced.assignment[..]), (0, &b"work"[..]));
    (String::from(&joined.member_id), joined.generation_id)
}

#[tokio::test(start_paused = true)]
async fn a_member_joins_syncs_beats_commits_and_leaves() {
    let world = World::new();
    let (member_id, generation_id) = lone_member(&world).await;
    assert!(member_id.starts_with("client-") && member_id.len() == "client-".len() + 36);
    let heartbeat = HeartbeatRequest {
        group_id: Str::from("g"),
        generation_id,
        member_id: Str::from(&*member_id),
        group_instance_id: None,
    };
    assert_eq!(world.groups.heartbeat(&heartbeat).error_code, 0);
    let commit = OffsetCommitRequest {
        generation_id_or_member_epoch: generation_id,
        member_id: Str::from(&*member_id),
        ..commit_request(&[(0, 42)])
    };
    assert_eq!(codes(&world.groups.commit_offsets(commit, 9).await), [0]);
    assert_eq!(fetched(&world, "g", &[0, 1]), [42, -1]);
    let leave = LeaveGroupRequest {
        group_id: Str::from("g"),
        member_id: Str::from(&*member_id),
        ..LeaveGroupRequest::default()
    };
    assert_eq!(world.groups.leave(&leave, 2).error_code, 0);
    assert_eq!(state(&world), "Empty");
    assert_eq!(world.groups.leave(&leave, 2).error_code, code(UnknownMember));
}

#[tokio::test(start_paused = true)]
async fn a_commit_is_neither_answered_nor_seen_before_it_is_stored() {
    let world = World::new();
    world.groups.commit_offsets(commit_request(&[(0, 1)]), 9).await;
    world.journal.hold();
    let groups = world.groups.clone();
    let commit =
        tokio::spawn(async move { groups.commit_offsets(commit_request(&[(0, 2)]), 9).await });
    while world.journal.held.lock().is_empty() {
        yield_now().await;
    }
    assert!(!commit.is_finished());
    assert_eq!(fetched(&world, "g", &[0]), [1]);
    world.journal.end_one(Ok(()));
    assert_eq!(codes(&commit.await.unwrap()), [0]);
    assert_eq!(fetched(&world, "g", &[0]), [2]);
}

#[tokio::test(start_paused = true)]
async fn a_commit_counts_even_if_its_client_did_not_wait() {
    let world = World::new();
    world.groups.commit_offsets(commit_request(&[(0, 1)]), 9).await;
    world.journal.hold();
    let groups = world.groups.clone();
    let commit =
        tokio::spawn(async move { groups.commit_offsets(commit_request(&[(0, 2)]), 9).await });
    while world.journal.held.lock().is_empty() {
        yield_now().await;
    }
    commit.abort();
    assert!(commit.await.unwrap_err().is_cancelled());
    world.journal.end_one(Ok(()));
    while fetched(&world, "g", &[0]) != [2] {
        yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_cannot_be_stored_is_refused_and_leaves_nothing() {
    let world = World::new();
    world.groups.commit_offsets(commit_request(&[(1, 1)]), 9).await;
    world.journal.full.store(true, Ordering::SeqCst);
    let refused = world.groups.commit_offsets(commit_request(&[(0, 2), (9, 2)]), 9).await;
    let expected = [code(CoordinatorNotAvailable), code(UnknownTopicOrPartition)];
    assert_eq!(codes(&refused), expected);
    assert_eq!(fetched(&world, "g", &[0]), [-1]);
}

// G-20, G-21; trap 33.
#[tokio::test(start_paused = true)]
async fn a_commit_is_judged_by_partition_and_by_group() {
    let world = World::new();
    let mut long = commit_request(&[(0, 1), (1, 1)]);
    long.topics[0].partitions[0].committed_metadata = Some(Str::from("x".repeat(4097)));
    assert_eq!(codes(&world.groups.commit_offsets(long, 9).await), [12, 0]);
    let stray = |group: &str| OffsetCommitRequest {
        group_id: Str::from(group),
        generation_id_or_member_epoch: 3,
        member_id: Str::from("m"),
        ..commit_request(&[(0, 1)])
    };
    assert_eq!(codes(&world.groups.commit_offsets(stray("none"), 8).await), [22]);
    assert_eq!(codes(&world.groups.commit_offsets(stray("none"), 9).await), [69]);
    assert_eq!(codes(&world.groups.commit_offsets(stray("g"), 9).await), [25]);
    assert!(!state_of_unknown(&world, "none"));
}

fn state_of_unknown(world: &World, group_id: &str) -> bool {
    let listed = world.groups.list(&ListGroupsRequest::default()).groups;
    listed.iter().any(|group| group.group_id == group_id)
}

// B-5 of version 10: topics by id.
#[tokio::test(start_paused = true)]
async fn version_ten_names_topics_by_id() {
    let world = World::new();
    let mut request = commit_request(&[(0, 7)]);
    request.topics[0].name = Str::EMPTY;
    let mut unknown = request.topics[0].clone();
    unknown.topic_id = Uuid([9; 16]);
    request.topics.push(unknown);
    assert_eq!(codes(&world.groups.commit_offsets(request, 10).await), [0, 100]);

    let topic = |id| OffsetFetchRequestTopics {
        topic_id: id,
        partition_indexes: vec![0],
        ..OffsetFetchRequestTopics::default()
    };
    let group = |topics| OffsetFetchRequestGroup {
        group_id: Str::from("g"),
        topics,
        ..OffsetFetchRequestGroup::default()
    };
    let asked = vec![topic(topic_id("t")), topic(Uuid([9; 16]))];
    let request = OffsetFetchRequest {
        groups: vec![group(Some(asked)), group(None)],
        ..OffsetFetchRequest::default()
    };
    let response = world.groups.fetch_offsets(&request, 10);
    let partition = |group: usize, topic: usize| {
        let found = &response.groups[group].topics[topic].partitions[0];
        (found.committed_offset, found.error_code)
    };
    assert_eq!(partition(0, 0), (7, 0));
    assert_eq!(partition(0, 1), (-1, 100));
    assert_eq!(partition(1, 0), (7, 0));
    assert_eq!(response.groups[1].topics[0].topic_id, topic_id("t"));
}

#[tokio::test(start_paused = true)]
async fn groups_and_offsets_survive_a_restart() {
    let world = World::new();
    let (member_id, generation_id) = lone_member(&world).await;
    let commit = |offsets: &[(i32, i64)]| OffsetCommitRequest {
        generation_id_or_member_epoch: generation_id,
        member_id: Str::from(&*member_id),
        ..commit_request(offsets)
    };
    world.groups.commit_offsets(commit(&[(0, 1), (1, 10)]), 9).await;
    world.groups.commit_offsets(commit(&[(0, 2)]), 9).await;

    let world = world.restarted();
    assert_eq!(fetched(&world, "g", &[0, 1, 2]), [2, 10, -1]);
    assert_eq!(state(&world), "Stable");
    assert_eq!(codes(&world.groups.commit_offsets(commit(&[(0, 3)]), 9).await), [0]);
    let described = world
        .groups
        .describe(&DescribeGroupsRequest { groups: vec![Str::from("g")], ..Default::default() }, 6);
    let member = &described.groups[0].members[0];
    assert_eq!((&*member.member_id, &*member.client_id), (&*member_id, "client"));
    assert_eq!(&member.member_assignment[..], b"work");
}

// G-1: unknown keys are skipped; damaged records spoil nothing but themselves.
#[tokio::test(start_paused = true)]
async fn a_restart_steps_over_records_it_cannot_use() {
    let world = World::new();
    world.groups.commit_offsets(commit_request(&[(0, 5)]), 9).await;
    let partition = world.groups.partition_of("g");
    world.journal.plant(partition, b"\x00\x05\x00\x01g\x00\x01m", b"\x00\x00");
    world.journal.plant(partition, b"\x00\x02\x00\x01g", b"\x00\x63");
    world.journal.plant(partition, b"\x00\x01\x00", b"");
    let world = world.restarted();
    assert_eq!(fetched(&world, "g", &[0]), [5]);
    assert_eq!(world.groups.load_report().undecodable_records, 2);
    assert!(world.groups.load_report().damage.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_join_whose_connection_is_gone_leaves_nothing_behind() {
    let config = Config { initial_rebalance_delay_ms: 60_000, ..Config::default() };
    let world = World::with(config);
    let groups = world.groups.clone();
    let join = tokio::spawn(async move { groups.join(&caller(), join_request(""), 3).await });
    while state(&world) != "PreparingRebalance" {
        yield_now().await;
    }
    join.abort();
    assert!(join.await.unwrap_err().is_cancelled());
    assert_eq!(state(&world), "Empty");
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let world = world.restarted();
    assert!(
        !world
            .groups
            .list(&ListGroupsRequest::default())
            .groups
            .iter()
            .any(|group| { group.group_state != "Empty" })
    );
}

#[tokio::test(start_paused = true)]
async fn the_session_of_a_silent_member_ends_by_the_clock() {
    let world = World::new();
    lone_member(&world).await;
    assert_eq!(state(&world), "Stable");
    tokio::time::sleep(Duration::from_millis(9_900)).await;
    assert_eq!(state(&world), "Stable");
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(state(&world), "Empty");
}

#[tokio::test(start_paused = true)]
async fn two_members_share_a_generation() {
    let world = World::with(Config { initial_rebalance_delay_ms: 500, ..Config::default() });
    let (a, b) =
        tokio::join!(async { world.groups.join(&caller(), join_request(""), 3).await }, async {
            world.groups.join(&caller(), join_request(""), 3).await
        },);
    assert_eq!((a.generation_id, b.generation_id, &a.leader), (1, 1, &b.leader));
    assert_eq!(a.members.len() + b.members.len(), 2);
    let (a, b) = tokio::join!(
        world.groups.sync(sync_request(&a.member_id, 1), 4),
        world.groups.sync(sync_request(&b.member_id, 1), 4),
    );
    assert_eq!((a.error_code, b.error_code), (0, 0));
    assert_eq!(a.assignment.len() + b.assignment.len(), 4, "the leader assigned to itself alone");
}

// G-4, G-8; version 5 of SyncGroup.
#[tokio::test(start_paused = true)]
async fn requests_that_cannot_be_meant_are_refused() {
    let world = World::new();
    let mut join = join_request("");
    join.group_id = Str::EMPTY;
    assert_eq!(world.groups.join(&caller(), join, 9).await.error_code, 24);
    for session_timeout_ms in [i32::MIN, 5_999, 1_800_001] {
        let join = JoinGroupRequest { session_timeout_ms, ..join_request("") };
        assert_eq!(world.groups.join(&caller(), join, 9).await.error_code, 26);
    }
    let refused = world.groups.join(&caller(), join_request("who"), 6).await;
    assert_eq!((refused.error_code, &*refused.member_id), (25, "who"));
    assert_eq!((refused.generation_id, refused.protocol_name), (-1, Some(Str::EMPTY)));
    assert_eq!(world.groups.sync(sync_request("m", 1), 5).await.error_code, 23);
    assert_eq!(world.groups.sync(sync_request("m", 1), 4).await.error_code, 25);
    let heartbeat = HeartbeatRequest { group_id: Str::from("g"), ..HeartbeatRequest::default() };
    assert_eq!(world.groups.heartbeat(&heartbeat).error_code, 25);
    assert!(world.groups.list(&ListGroupsRequest::default()).groups.is_empty());
}

// G-17.
#[tokio::test(start_paused = true)]
async fn a_batch_of_leavers_gets_an_answer_each() {
    let world = World::new();
    let (member_id, _) = lone_member(&world).await;
    let identity = |id: &str| leave_group::MemberIdentity {
        member_id: Str::from(id),
        ..leave_group::MemberIdentity::default()
    };
    let leave = LeaveGroupRequest {
        group_id: Str::from("g"),
        members: vec![identity("who"), identity(&member_id)],
        ..LeaveGroupRequest::default()
    };
    let codes = |response: LeaveGroupResponse| -> Vec<i16> {
        response.members.iter().map(|member| member.error_code).collect()
    };
    assert_eq!(codes(world.groups.leave(&leave, 5)), [25, 0]);
    let elsewhere = LeaveGroupRequest { group_id: Str::from("none"), ..leave };
    assert_eq!(codes(world.groups.leave(&elsewhere, 5)), [25, 25]);
}

#[tokio::test(start_paused = true)]
async fn groups_are_listed_by_state_and_type() {
    let world = World::new();
    lone_member(&world).await;
    let simple = OffsetCommitRequest { group_id: Str::from("s"), ..commit_request(&[(0, 1)]) };
    world.groups.commit_offsets(simple, 9).await;
    let list = |states: &[&str], types: &[&str]| -> Vec<String> {
        let strings = |names: &[&str]| names.iter().map(|name| Str::from(*name)).collect();
        let (states_filter, types_filter) = (strings(states), strings(types));
        let request = ListGroupsRequest { states_filter, types_filter };
        let listed = world.groups.list(&request).groups;
        listed.iter().map(|group| format!("{} {}", group.group_id, group.group_state)).collect()
    };
    assert_eq!(list(&[], &[]), ["g Stable", "s Empty"]);
    assert_eq!(list(&["stable"], &["Classic"]), ["g Stable"]);
    assert!(list(&[], &["consumer"]).is_empty());
    assert!(list(&["Dead"], &[]).is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_unknown_group_is_dead_and_from_version_six_an_error() {
    let world = World::new();
    let request =
        DescribeGroupsRequest { groups: vec![Str::from("no")], ..DescribeGroupsRequest::default() };
    let old = world.groups.describe(&request, 5).groups.remove(0);
    assert_eq!((old.error_code, &*old.group_state), (0, "Dead"));
    let new = world.groups.describe(&request, 6).groups.remove(0);
    assert_eq!((new.error_code, &*new.group_state), (69, "Dead"));
}

async fn delete(world: &World) -> i16 {
    let request = DeleteGroupsRequest { groups_names: vec![Str::from("g")] };
    world.groups.delete(request).await.results[0].error_code
}

// G-33.
#[tokio::test(start_paused = true)]
async fn only_an_empty_group_is_deleted_and_it_stays_deleted() {
    let world = World::new();
    assert_eq!(delete(&world).await, 69);
    let (member_id, _) = lone_member(&world).await;
    assert_eq!(delete(&world).await, 68);
    let leave = LeaveGroupRequest {
        group_id: Str::from("g"),
        member_id: Str::from(&*member_id),
        ..LeaveGroupRequest::default()
    };
    assert_eq!(world.groups.leave(&leave, 2).error_code, 0);
    world.groups.commit_offsets(commit_request(&[(0, 1)]), 9).await;
    assert_eq!(delete(&world).await, 0);
    assert_eq!(delete(&world).await, 69);
    assert_eq!(fetched(&world, "g", &[0]), [-1]);
    let world = world.restarted();
    assert!(world.groups.list(&ListGroupsRequest::default()).groups.is_empty());
    assert_eq!(fetched(&world, "g", &[0]), [-1]);
}

#[tokio::test(start_paused = true)]
async fn a_group_being_deleted_is_closed_and_comes_back_if_that_fails() {
    let world = World::new();
    world.groups.commit_offsets(commit_request(&[(0, 1)]), 9).await;
    world.journal.hold();
    let groups = world.groups.clone();
    let request = DeleteGroupsRequest { groups_names: vec![Str::from("g")] };
    let deletion = tokio::spawn(async move { groups.delete(request).await });
    while world.journal.held.lock().len() < 2 {
        yield_now().await;
    }
    assert_eq!(codes(&world.groups.commit_offsets(commit_request(&[(0, 2)]), 9).await), [15]);
    assert_eq!(world.groups.join(&caller(), join_request(""), 9).await.error_code, 15);
    world.journal.end_one(Err(disk_full()));
    world.journal.end_one(Err(disk_full()));
    assert_eq!(deletion.await.unwrap().results[0].error_code, 15);
    assert_eq!(fetched(&world, "g", &[0]), [1]);
    assert_eq!(state(&world), "Empty");
}

// G-33, G-50.
#[tokio::test(start_paused = true)]
async fn offsets_are_deleted_where_nobody_reads() {
    let world = World::new();
    let (member_id, generation_id) = lone_member(&world).await;
    let commit = |topic: &str| {
        let mut request = commit_request(&[(0, 1)]);
        request.topics[0].name = Str::from(topic);
        request.generation_id_or_member_epoch = generation_id;
        request.member_id = Str::from(&*member_id);
        request
    };
    world.groups.commit_offsets(commit("t"), 9).await;
    world.groups.commit_offsets(commit("u"), 9).await;
    let topic = |name: &str, partition_index| OffsetDeleteRequestTopic {
        name: Str::from(name),
        partitions: vec![OffsetDeleteRequestPartition { partition_index }],
    };
    let request = |group: &str| OffsetDeleteRequest {
        group_id: Str::from(group),
        topics: vec![topic("t", 0), topic("u", 0), topic("u", 5), topic("v", 0)],
    };
    assert_eq!(world.groups.delete_offsets(request("no")).await.error_code, 69);
    let response = world.groups.delete_offsets(request("g")).await;
    let codes: Vec<i16> =
        response.topics.iter().map(|topic| topic.partitions[0].error_code).collect();
    assert_eq!((response.error_code, &codes[..]), (0, &[86, 0, 3, 3][..]));
    let all = OffsetFetchRequest {
        group_id: Str::from("g"),
        topics: None,
        ..OffsetFetchRequest::default()
    };
    let left = world.groups.fetch_offsets(&all, 7).topics;
    assert_eq!(left.iter().map(|topic| &*topic.name).collect::<Vec<_>>(), ["t"]);
}

// G-34.
#[tokio::test(start_paused = true)]
async fn the_offsets_of_a_topic_that_is_gone_go_with_it() {
    let world = World::new();
    world.groups.commit_offsets(commit_request(&[(0, 1), (1, 2)]), 9).await;
    assert_eq!(world.groups.forget_topic("t").await, Ok(()));
    assert_eq!(fetched(&world, "g", &[0, 1]), [-1, -1]);
    let world = world.restarted();
    assert_eq!(fetched(&world, "g", &[0, 1]), [-1, -1]);
}

// S-81, G-31, G-32.
#[tokio::test(start_paused = true)]
async fn offsets_and_then_their_group_expire() {
    let world = World::new();
    let (member_id, _) = lone_member(&world).await;
    let leave = LeaveGroupRequest {
        group_id: Str::from("g"),
        member_id: Str::from(&*member_id),
        ..LeaveGroupRequest::default()
    };
    assert_eq!(world.groups.leave(&leave, 2).error_code, 0);
    world.groups.commit_offsets(commit_request(&[(0, 1)]), 9).await;
    tokio::time::sleep(Duration::from_secs(1200)).await;
    assert_eq!(fetched(&world, "g", &[0]), [1], "the retention is not over");
    world.host.now_ms.fetch_add(10_080 * 60_000, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(601)).await;
    assert_eq!(fetched(&world, "g", &[0]), [-1]);
    tokio::time::sleep(Duration::from_secs(601)).await;
    assert!(world.groups.list(&ListGroupsRequest::default()).groups.is_empty());
    let world = world.restarted();
    assert!(world.groups.list(&ListGroupsRequest::default()).groups.is_empty());
}

// What a newcomer never used costs nothing once it is forgotten.
#[tokio::test(start_paused = true)]
async fn a_group_nobody_entered_disappears() {
    let world = World::new();
    let told = world.groups.join(&caller(), join_request(""), 9).await;
    assert_eq!(told.error_code, code(MemberIdRequired));
    assert_eq!(world.groups.list(&ListGroupsRequest::default()).groups.len(), 1);
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert!(world.groups.list(&ListGroupsRequest::default()).groups.is_empty());
    assert_eq!(world.journal.records(), 0);
}

/// Commits more often than the log should remember.
async fn commit_far_too_often(world: &World) {
    for offset in 0..10_100 {
        world.groups.commit_offsets(commit_request(&[(0, offset)]), 9).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_log_is_written_anew_when_it_says_the_same_too_often() {
    let world = World::new();
    lone_member(&world).await;
    world
        .groups
        .commit_offsets(
            OffsetCommitRequest { group_id: Str::from("s"), ..commit_request(&[(1, 7)]) },
            9,
        )
        .await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    commit_far_too_often(&world).await;
    assert!(world.journal.records() > 10_100);
    tokio::time::sleep(Duration::from_secs(601)).await;
    assert!(world.journal.records() < 10, "{}", world.journal.records());
    world.groups.commit_offsets(commit_request(&[(2, 3)]), 9).await;
    let world = world.restarted();
    assert_eq!(fetched(&world, "g", &[0, 1, 2]), [10_099, -1, 3]);
    assert_eq!(fetched(&world, "s", &[1]), [7]);
    let listed = world.groups.list(&ListGroupsRequest::default()).groups;
    assert_eq!(listed.len(), 2);
    assert_eq!(&*listed[0].protocol_type, "consumer", "the empty group is remembered");
}

#[tokio::test(start_paused = true)]
async fn a_log_with_a_write_under_way_is_not_written_anew() {
    let world = World::new();
    commit_far_too_often(&world).await;
    world.journal.hold();
    let groups = world.groups.clone();
    let commit =
        tokio::spawn(async move { groups.commit_offsets(commit_request(&[(0, 1)]), 9).await });
    tokio::time::sleep(Duration::from_secs(601)).await;
    assert_eq!(world.journal.records(), 10_101);
    world.journal.end_one(Ok(()));
    assert_eq!(codes(&commit.await.unwrap()), [0]);
}

#[tokio::test(start_paused = true)]
async fn a_log_with_records_of_others_is_kept_as_it_is() {
    let world = World::new();
    commit_far_too_often(&world).await;
    let partition = world.groups.partition_of("g");
    world.journal.plant(partition, b"\x00\x05\x00\x01g\x00\x01m", b"\x00\x00");
    let world = world.restarted();
    tokio::time::sleep(Duration::from_secs(601)).await;
    assert_eq!(world.journal.records(), 10_101);
    assert_eq!(fetched(&world, "g", &[0]), [10_099]);
}
