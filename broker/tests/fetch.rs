//! Fetch and the threads it takes: a reader at the end of its logs depends on no thread but its own.
//!
//! A failure means that slow disks, or many readers of old data, hold up those who need no disk.

#[expect(dead_code, reason = "the other tests use the rest of it")]
mod common;

use common::{Node, batch, fetch, values};
use std::sync::mpsc;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

/// A runtime with a single thread for work that blocks.
fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(1)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Keeps the runtime's only blocking thread busy until the returned end is dropped.
async fn keep_busy() -> mpsc::Sender<()> {
    let (busy, released) = mpsc::channel::<()>();
    let (started, has_started) = oneshot::channel();
    tokio::task::spawn_blocking(move || {
        started.send(()).expect("the test waits for this");
        // Ends with an error when the sender is dropped.
        released.recv().unwrap_or_default();
    });
    has_started.await.expect("the thread is free");
    busy
}

#[test]
fn a_fetch_of_recent_data_is_answered_while_every_blocking_thread_is_busy() {
    runtime().block_on(async {
        let node = Node::start(&[]).await;
        let mut client = node.client().await;
        assert_eq!(client.create("t", 4, &[]).await, 0);
        for partition in 0..3 {
            assert_eq!(client.produce("t", partition, batch(&["x"])).await.error_code, 0);
        }
        let wanted = [("t", 0, 0), ("t", 1, 0), ("t", 2, 0), ("t", 3, 0)];
        // The first fetch opens the log that nothing was appended to.
        client.fetch(fetch(&wanted), 12).await;
        let busy = keep_busy().await;
        let response = client.fetch(fetch(&wanted), 12).await;
        let answers = response.responses.iter().flat_map(|topic| &topic.partitions);
        let found: Vec<_> = answers.map(|answer| (answer.error_code, values(answer))).collect();
        let one = || (0, vec!["x".to_owned()]);
        assert_eq!(found, [one(), one(), one(), (0, vec![])]);
        drop(busy);
        node.server.shutdown().await.unwrap();
    });
}

// B-25: what lies on the disk and what is in memory come in the order of the request, and share its limit.
#[test]
fn old_and_recent_data_share_an_answer_in_the_order_of_the_request() {
    runtime().block_on(async {
        let node = Node::start(&[]).await;
        let mut client = node.client().await;
        assert_eq!(client.create("t", 3, &[]).await, 0);
        for partition in 0..3 {
            assert_eq!(client.produce("t", partition, batch(&["old"])).await.error_code, 0);
        }
        let node = node.restart().await;
        let mut client = node.client().await;
        assert_eq!(client.produce("t", 1, batch(&["new"])).await.base_offset, 1);
        let wanted = [("t", 1, 1), ("t", 2, 0), ("t", 1, 1), ("t", 7, 0), ("t", 0, 0)];
        let response = client.fetch(fetch(&wanted), 12).await;
        let answers: Vec<_> = response.responses.iter().flat_map(|t| &t.partitions).collect();
        let found: Vec<_> = answers
            .iter()
            .map(|answer| (answer.partition_index, answer.error_code, values(answer).concat()))
            .collect();
        let expected = [(1, 0, "new"), (2, 0, "old"), (1, 0, "new"), (7, 3, ""), (0, 0, "old")];
        assert_eq!(found, expected.map(|(index, code, value)| (index, code, value.to_owned())));
        let bytes = answers[0].records.len();
        let mut limited = fetch(&wanted);
        limited.max_bytes = i32::try_from(2 * bytes).unwrap();
        let response = client.fetch(limited, 12).await;
        let answers = response.responses.iter().flat_map(|t| &t.partitions);
        let has_data: Vec<_> = answers.map(|answer| !answer.records.is_empty()).collect();
        assert_eq!(has_data, [true, true, false, false, false]);
        node.server.shutdown().await.unwrap();
    });
}
