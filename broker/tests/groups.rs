//! Groups on a real engine: what was acknowledged is found by the coordinator that comes after.

use oncelog::{Engine, EngineOptions};
use oncelog_broker::group::{Caller, Config, Coordinator, Host};
use oncelog_broker::protocol::join_group::JoinGroupRequestProtocol;
use oncelog_broker::protocol::offset_commit::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use oncelog_broker::protocol::{
    DeleteGroupsRequest, DescribeGroupsRequest, JoinGroupRequest, ListGroupsRequest,
    OffsetCommitRequest, OffsetFetchRequest, Str, SyncGroupRequest, Uuid,
};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Every topic exists and has a hundred partitions.
#[derive(Debug, Default)]
struct AnyTopic {
    ids: AtomicU64,
}

impl Host for AnyTopic {
    fn now_ms(&self) -> i64 {
        1_700_000_000_000
    }

    fn random_id(&self) -> Uuid {
        Uuid(u128::from(1 + self.ids.fetch_add(1, Ordering::SeqCst)).to_be_bytes())
    }

    fn offsets_topic_id(&self) -> Uuid {
        Uuid([9; 16])
    }

    fn partition_count(&self, _topic: &str) -> Option<i32> {
        Some(100)
    }

    fn topic_name(&self, _id: Uuid) -> Option<Str> {
        None
    }

    fn topic_id(&self, _name: &str) -> Option<Uuid> {
        None
    }
}

struct Node {
    engine: Engine,
    groups: Coordinator,
}

fn start(directory: &Path) -> Node {
    let engine = Engine::open(EngineOptions::new(directory)).expect("the engine opens");
    let host = Arc::new(AnyTopic::default());
    let groups = Coordinator::open(Config::default(), &engine, host).expect("the log is read");
    Node { engine, groups }
}

fn commit(group: &str, offsets: impl IntoIterator<Item = (i32, i64)>) -> OffsetCommitRequest {
    let partitions = offsets.into_iter().map(|(partition_index, committed_offset)| {
        OffsetCommitRequestPartition {
            partition_index,
            committed_offset,
            committed_leader_epoch: 2,
            committed_metadata: Some(Str::from("where I was")),
        }
    });
    OffsetCommitRequest {
        group_id: Str::from(group),
        topics: vec![OffsetCommitRequestTopic {
            name: Str::from("t"),
            partitions: partitions.collect(),
            ..OffsetCommitRequestTopic::default()
        }],
        ..OffsetCommitRequest::default()
    }
}

fn committed(node: &Node, group: &str) -> Vec<(i32, i64)> {
    let request =
        OffsetFetchRequest { group_id: Str::from(group), ..OffsetFetchRequest::default() };
    let response = node.groups.fetch_offsets(&request, 7);
    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    let found = partitions.map(|found| {
        assert_eq!(found.metadata, Some(Str::from("where I was")));
        assert_eq!((found.committed_leader_epoch, found.error_code), (2, 0));
        (found.partition_index, found.committed_offset)
    });
    found.collect()
}

async fn acknowledged(node: &Node, request: OffsetCommitRequest) {
    let response = node.groups.commit_offsets(request, 9).await;
    for partition in &response.topics[0].partitions {
        assert_eq!(partition.error_code, 0);
    }
}

#[tokio::test]
async fn commits_survive_a_coordinator_rebuilt_from_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let node = start(directory.path());
    for round in 0..20 {
        acknowledged(&node, commit("orders", (0..50).map(|p| (p, round * 100)))).await;
        acknowledged(&node, commit("audit", [(7, round)])).await;
    }
    node.engine.close().unwrap();
    drop(node);

    let node = start(directory.path());
    let expected: Vec<(i32, i64)> = (0..50).map(|p| (p, 1900)).collect();
    assert_eq!(committed(&node, "orders"), expected);
    assert_eq!(committed(&node, "audit"), [(7, 19)]);
    assert_eq!(committed(&node, "nobody"), []);

    let request = DeleteGroupsRequest { groups_names: vec![Str::from("audit")] };
    assert_eq!(node.groups.delete(request).await.results[0].error_code, 0);
    acknowledged(&node, commit("orders", [(0, 5)])).await;
    node.engine.close().unwrap();
    drop(node);

    let node = start(directory.path());
    assert_eq!(committed(&node, "orders")[..2], [(0, 5), (1, 1900)]);
    assert_eq!(committed(&node, "audit"), []);
    let listed = node.groups.list(&ListGroupsRequest::default()).groups;
    assert_eq!(listed.iter().map(|group| &*group.group_id).collect::<Vec<_>>(), ["orders"]);
}

#[tokio::test]
async fn a_stable_group_is_stable_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let node = start(directory.path());
    let caller = Caller::new("c", "/127.0.0.1");
    let join = JoinGroupRequest {
        group_id: Str::from("workers"),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 30_000,
        protocol_type: Str::from("connect"),
        protocols: vec![JoinGroupRequestProtocol {
            name: Str::from("sessioned"),
            metadata: b"opaque"[..].into(),
        }],
        ..JoinGroupRequest::default()
    };
    let joined = node.groups.join(&caller, join, 3).await;
    assert_eq!((joined.error_code, joined.generation_id), (0, 1));
    let sync = SyncGroupRequest {
        group_id: Str::from("workers"),
        generation_id: 1,
        member_id: joined.member_id.clone(),
        ..SyncGroupRequest::default()
    };
    assert_eq!(node.groups.sync(sync, 3).await.error_code, 0);
    node.engine.close().unwrap();
    drop(node);

    let node = start(directory.path());
    assert!(node.groups.load_report().damage.is_empty());
    let request = DescribeGroupsRequest {
        groups: vec![Str::from("workers")],
        ..DescribeGroupsRequest::default()
    };
    let described = node.groups.describe(&request, 6).groups.remove(0);
    assert_eq!((&*described.group_state, &*described.protocol_type), ("Stable", "connect"));
    let member = &described.members[0];
    assert_eq!((&member.member_id, &*member.member_metadata), (&joined.member_id, &b"opaque"[..]));
}
