//! What producers are told, beyond the answers to single batches in `serve.rs`.
//!
//! A failure means that a producer would wait for what never comes, or be refused what Kafka takes.

#[expect(dead_code, reason = "the other tests use the rest of it")]
mod common;

use common::{Node, batch, produce, produced};

const PRODUCE: i16 = 0;

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
