//! What producers are told, beyond the answers to single batches in `serve.rs`.
//!
//! A failure means that a producer would wait for what never comes, or be refused what Kafka takes.

#[expect(dead_code, reason = "the other tests use the rest of it")]
mod common;

use common::{Node, batch, produce, produced};
use oncelog_broker::protocol::{FindCoordinatorRequest, InitProducerIdRequest, Response};

const PRODUCE: i16 = 0;
const TRANSACTION: i8 = 1;
const REFUSED_FOR_GOOD: i16 = 53;

// B-49: what counts is the smaller of the setting and the number of replicas, so one node is enough.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_wants_more_replicas_in_sync_than_there_are_takes_writes() {
    let node = Node::start(&[]).await;
    let mut client = node.client().await;
    assert_eq!(client.create("t", 1, &[("min.insync.replicas", "2")]).await, 0);
    for (offset, acks) in [(0, -1), (1, 1)] {
        let answer = produced(client.call(produce("t", 0, batch(&["x"]), acks), 9).await);
        assert_eq!((answer.error_code, answer.base_offset), (0, offset));
    }
}

// A retriable refusal would keep `init_transactions` waiting until it times out.
#[tokio::test(flavor = "multi_thread")]
async fn a_transactional_producer_learns_at_once_that_there_are_no_transactions() {
    let node = Node::start(&[]).await;
    let mut client = node.client().await;
    let find = |version: i16| {
        let mut request = FindCoordinatorRequest { key_type: TRANSACTION, ..Default::default() };
        match version {
            4.. => request.coordinator_keys = vec!["id".into()],
            _ => request.key = "id".into(),
        }
        request
    };
    for version in [2, 4] {
        let Response::FindCoordinator(response) = client.call(find(version), version).await else {
            panic!("another answer")
        };
        let code = match response.coordinators.first() {
            Some(coordinator) => coordinator.error_code,
            None => response.error_code,
        };
        assert_eq!(code, REFUSED_FOR_GOOD, "version {version}");
    }
    let request = InitProducerIdRequest {
        transactional_id: Some("id".into()),
        producer_epoch: -1,
        producer_id: -1,
        ..InitProducerIdRequest::default()
    };
    let Response::InitProducerId(response) = client.call(request, 4).await else {
        panic!("another answer")
    };
    assert_eq!(response.error_code, REFUSED_FOR_GOOD);
}

// Large requests one at a time are written by the connection's own thread, and pipelined ones by
// another; a client may change its mind in the middle (B-5).
#[tokio::test(flavor = "multi_thread")]
async fn large_requests_keep_their_order_whether_they_come_one_by_one_or_all_at_once() {
    let node = Node::start(&[]).await;
    let mut client = node.client().await;
    assert_eq!(client.create("t", 1, &[]).await, 0);
    let value = "x".repeat(100_000);
    let mut offset = 0;
    for _ in 0..3 {
        for _ in 0..12 {
            let answer = client.produce("t", 0, batch(&[&value])).await;
            assert_eq!((answer.error_code, answer.base_offset), (0, offset));
            offset += 1;
        }
        for _ in 0..12 {
            client.send(produce("t", 0, batch(&[&value]), -1), 9).await;
        }
        for _ in 0..12 {
            let answer = produced(client.receive(PRODUCE, 9).await.1);
            assert_eq!((answer.error_code, answer.base_offset), (0, offset));
            offset += 1;
        }
    }
}
