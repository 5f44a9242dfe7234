//! What a hostile or broken client may send: every case is answered with an error or a closed
//! connection, memory stays bounded, and a neighbour on another connection notices nothing.
//!
//! A failure that hangs means a request was swallowed; one in the last assertion of a test means
//! the neighbour was harmed.

#![expect(clippy::unwrap_used, reason = "what fails in a helper fails its test")]

#[expect(dead_code, reason = "the other tests use the rest of it")]
mod common;

use bytes::{BufMut, BytesMut};
use common::{Client, Node, batch};
use oncelog_broker::protocol::join_group::JoinGroupRequestProtocol;
use oncelog_broker::protocol::{FetchRequest, JoinGroupRequest, MetadataRequest, Response};
use std::time::Duration;

/// The neighbour works: it asks and is answered, and its records are there.
async fn assert_unharmed(node: &Node) {
    let mut client = node.client().await;
    match client.call(MetadataRequest { topics: None, ..Default::default() }, 12).await {
        Response::Metadata(response) => assert_eq!(response.brokers.len(), 1),
        other => panic!("{other:?}"),
    }
    let created = client.create("neighbour", 1, &[]).await;
    assert!(matches!(created, 0 | 36), "{created}");
    assert_eq!(client.produce("neighbour", 0, batch(&["x"])).await.error_code, 0);
}

/// A frame with a header of `api` in `version` and `body` behind it.
fn frame(api: i16, version: i16, flexible: bool, body: &[u8]) -> BytesMut {
    let mut frame = BytesMut::new();
    frame.put_i32(0);
    frame.put_i16(api);
    frame.put_i16(version);
    frame.put_i32(1);
    frame.put_i16(-1);
    if flexible {
        frame.put_u8(0);
    }
    frame.extend_from_slice(body);
    let size = i32::try_from(frame.len() - 4).unwrap();
    frame[..4].copy_from_slice(&size.to_be_bytes());
    frame
}

/// Resident memory in bytes.
#[expect(
    clippy::disallowed_methods,
    reason = "the kernel's word on this process, not a log's file"
)]
fn resident_bytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = pages.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_that_the_frame_cannot_hold_close_the_connection() {
    let node = Node::start(&[]).await;
    let huge = [0xff, 0xff, 0xff, 0xff, 0x0f];
    let cases: Vec<(&str, BytesMut)> = vec![
        // Null transactional id, acks, timeout, then 2^32 − 2 topics.
        ("topics of Produce", frame(0, 9, true, &[&[0, 0, 1, 0, 0, 0, 9], &huge[..]].concat())),
        ("tags of a header", {
            let mut bytes = frame(3, 12, false, &huge);
            bytes.put_u8(0);
            let size = i32::try_from(bytes.len() - 4).unwrap();
            bytes[..4].copy_from_slice(&size.to_be_bytes());
            bytes
        }),
        ("topics of Metadata", frame(3, 12, true, &huge)),
        ("topics of old Metadata", frame(3, 1, false, &[0x7f, 0xff, 0xff, 0xff])),
        ("a negative count", frame(3, 1, false, &[0xff, 0xff, 0xff, 0xfe])),
        ("a negative string", frame(3, 1, false, &[0, 0, 0, 1, 0xff, 0xf0])),
        ("records of Produce", {
            let mut body = BytesMut::new();
            body.put_slice(&[0xff, 0xff, 0, 1, 0, 0, 0, 9, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1]);
            body.put_slice(&[0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff]);
            frame(0, 7, false, &body)
        }),
        ("a message that ends early", frame(3, 1, false, &[0, 0])),
    ];
    let before = resident_bytes();
    for (what, bytes) in cases {
        let mut client = node.client().await;
        client.raw(&bytes).await;
        assert!(client.is_closed().await, "{what}");
    }
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more");
    assert_unharmed(&node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_kafka_is_hung_up_on() {
    let node = Node::start(&[]).await;
    let cases: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        // A TLS client hello.
        &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3],
        b"SSH-2.0-OpenSSH_9.0\r\n",
        &[0xff; 64],
        // Sizes 0 and −2147483648.
        &[0, 0, 0, 0],
        &[0x80, 0, 0, 0],
    ];
    for bytes in cases {
        let mut client = node.client().await;
        client.raw(bytes).await;
        assert!(client.is_closed().await, "{bytes:?}");
    }
    assert_unharmed(&node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_apis_and_versions_are_hung_up_on() {
    let node = Node::start(&[]).await;
    for (api, version) in [(999, 0), (-1, 0), (3, 99), (3, -1), (0, 2), (0, 12), (1, 3), (24, 0)] {
        let mut client = node.client().await;
        client.raw(&frame(api, version, false, &[0; 8])).await;
        assert!(client.is_closed().await, "api {api} version {version}");
    }
    assert_unharmed(&node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_announced_frame_takes_no_memory_before_its_bytes_come() {
    let node = Node::start(&[]).await;
    let before = resident_bytes();
    let mut half_sent = Vec::new();
    for _ in 0..100 {
        let mut client = node.client().await;
        client.raw(&(100_i32 << 20).to_be_bytes()).await;
        client.raw(&[0; 1000]).await;
        half_sent.push(client);
    }
    assert_unharmed(&node).await;
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes for 100 announced frames of 100 MiB");
    assert_eq!(half_sent.len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn half_sent_frames_share_a_budget_and_do_not_starve_small_requests() {
    let node = Node::start(&["queued.max.request.bytes=1048576"]).await;
    let before = resident_bytes();
    let mut greedy = Vec::new();
    for _ in 0..20 {
        let mut client = node.client().await;
        client.raw(&(50_i32 << 20).to_be_bytes()).await;
        greedy.push(tokio::spawn(async move {
            // Written until the server stops reading, then held.
            let chunk = vec![0; 64 << 10];
            for _ in 0..16 {
                let sending = client.raw(&chunk);
                if tokio::time::timeout(Duration::from_millis(200), sending).await.is_err() {
                    break;
                }
            }
            client
        }));
    }
    assert_unharmed(&node).await;
    let mut held = Vec::new();
    for task in greedy {
        held.push(task.await.unwrap());
    }
    assert_unharmed(&node).await;
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes for {} half-sent frames", held.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_mid_frame_is_forgotten() {
    let node = Node::start(&[]).await;
    let whole = frame(3, 1, false, &[0xff, 0xff, 0xff, 0xff]);
    for end in 0..whole.len() {
        let mut client = node.client().await;
        client.raw(&whole[..end]).await;
        drop(client);
    }
    assert_unharmed(&node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_sent_byte_by_byte_is_understood() {
    let node = Node::start(&[]).await;
    let mut client = node.client().await;
    for byte in frame(3, 1, false, &[0xff, 0xff, 0xff, 0xff]) {
        client.raw(&[byte]).await;
        tokio::task::yield_now().await;
    }
    assert!(client.frame().await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_above_the_limit_is_hung_up_on_at_its_size() {
    let node = Node::start(&["socket.request.max.bytes=1000"]).await;
    let mut client = node.client().await;
    client.raw(&1001_i32.to_be_bytes()).await;
    assert!(client.is_closed().await);
    let mut client = node.client().await;
    client.raw(&frame(3, 1, false, &[0xff, 0xff, 0xff, 0xff])).await;
    assert!(client.frame().await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit_are_refused_and_room_is_reused() {
    let node = Node::start(&["max.connections=2"]).await;
    let first = node.client().await;
    let mut second = node.client().await;
    let all = || MetadataRequest { topics: None, ..MetadataRequest::default() };
    second.call(all(), 12).await;
    let mut third = node.client().await;
    assert!(third.is_closed().await);
    drop(first);
    // The server notices the close in its own time.
    reconnected(&node).await;
}

/// A request parked for minutes is given up as soon as its client is gone, even behind more requests.
#[tokio::test(flavor = "multi_thread")]
async fn a_parked_request_does_not_outlive_its_connection() {
    let settings = ["max.connections=1", "group.initial.rebalance.delay.ms=600000"];
    let node = Node::start(&settings).await;
    let mut client = node.client().await;
    assert_eq!(client.create("t", 1, &[]).await, 0);
    let patient =
        FetchRequest { max_wait_ms: 600_000, min_bytes: 1, ..common::fetch(&[("t", 0, 0)]) };
    client.send(patient, 12).await;
    client.send(MetadataRequest::default(), 12).await;
    drop(client);
    let mut client = reconnected(&node).await;
    let joining = JoinGroupRequest {
        group_id: "g".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 600_000,
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol { name: "range".into(), ..Default::default() }],
        ..JoinGroupRequest::default()
    };
    client.send(joining, 3).await;
    drop(client);
    reconnected(&node).await;
}

/// A client, as soon as the server has a place for it.
async fn reconnected(node: &Node) -> Client {
    let connected = async {
        loop {
            let mut client = node.client().await;
            client.send(MetadataRequest::default(), 12).await;
            if !client.is_closed().await {
                return client;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), connected).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_connection_is_closed_after_the_idle_time() {
    let node = Node::start(&["connections.max.idle.ms=200"]).await;
    let mut client = node.client().await;
    assert!(client.is_closed().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_nobody_reads_do_not_pile_up() {
    let node = Node::start(&["connections.max.idle.ms=2000"]).await;
    let mut writer = node.client().await;
    assert_eq!(writer.create("t", 1, &[]).await, 0);
    let large = "x".repeat(500_000);
    for _ in 0..20 {
        assert_eq!(writer.produce("t", 0, batch(&[&large])).await.error_code, 0);
    }
    let before = resident_bytes();
    let mut deaf = node.client().await;
    let ask = async {
        for _ in 0..2000 {
            deaf.send(common::fetch(&[("t", 0, 0)]), 12).await;
        }
    };
    // Ends when the server stops reading, and then hangs up.
    drop(tokio::time::timeout(Duration::from_secs(1), ask).await);
    for _ in 0..50 {
        assert_unharmed(&node).await;
        let grown = resident_bytes().saturating_sub(before);
        assert!(grown < 256 << 20, "{grown} bytes for answers nobody reads");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_bytes_behind_a_good_header_never_harm() {
    let node = Node::start(&[]).await;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for api in [0_i16, 1, 2, 3, 8, 9, 10, 11, 14, 18, 19, 22, 32] {
        for version in 0..=12 {
            let body: Vec<u8> = (0..next() % 60).map(|_| next().to_be_bytes()[7]).collect();
            let mut client: Client = node.client().await;
            client.raw(&frame(api, version, version >= 6, &body)).await;
            drop(client);
        }
    }
    assert_unharmed(&node).await;
}
