//! Committed offsets: which write wins, what a transaction holds back, and when offsets expire.

use super::bench::*;
use crate::group::offsets::{Expiry, Fetched, Offsets};
use crate::group::records::{OffsetValue, TopicPartition};
use crate::group::state::State;
use bytes::Bytes;
use std::sync::Arc;

fn at(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition { topic: Arc::from(topic), partition }
}

fn value(offset: i64) -> OffsetValue {
    OffsetValue {
        offset,
        leader_epoch: -1,
        metadata: Arc::from(""),
        commit_timestamp_ms: 1_000,
        expire_timestamp_ms: None,
    }
}

fn committed(offsets: &Offsets) -> Option<i64> {
    match offsets.fetch("t", 0, false) {
        Fetched::Committed(value) => Some(value.offset),
        _ => None,
    }
}

#[test]
fn the_write_that_is_later_in_the_log_wins_whichever_ends_first() {
    let mut offsets = Offsets::default();
    offsets.begin(&at("t", 0));
    offsets.begin(&at("t", 0));
    assert_eq!(committed(&offsets), None, "nothing is stored yet");
    offsets.finish(&at("t", 0), 11, Some(value(200)));
    offsets.finish(&at("t", 0), 10, Some(value(100)));
    assert_eq!(committed(&offsets), Some(200));
}

#[test]
fn a_removal_outlasts_an_older_commit_that_ends_after_it() {
    let mut offsets = Offsets::default();
    offsets.begin(&at("t", 0));
    offsets.begin(&at("t", 0));
    offsets.finish(&at("t", 0), 11, None);
    offsets.finish(&at("t", 0), 10, Some(value(100)));
    assert_eq!(committed(&offsets), None);
    assert!(offsets.is_empty());
}

#[test]
fn a_failed_write_changes_nothing() {
    let mut offsets = Offsets::default();
    offsets.begin(&at("t", 0));
    offsets.fail(&at("t", 0));
    assert!(offsets.is_empty());
}

// S-75 [testReplayTransactionEndMarkerKeepsTheMostRecentCommittedOffset], G-27.
#[test]
fn a_commit_marker_does_not_undo_a_later_commit() {
    let mut offsets = Offsets::default();
    offsets.stage(5, &at("t", 0), 10, value(100));
    offsets.apply(&at("t", 0), 11, Some(value(200)));
    offsets.end_transaction(5, true);
    assert_eq!(committed(&offsets), Some(200));

    offsets.stage(5, &at("t", 0), 12, value(300));
    offsets.end_transaction(5, true);
    assert_eq!(committed(&offsets), Some(300));

    offsets.stage(5, &at("t", 0), 13, value(400));
    offsets.end_transaction(5, false);
    assert_eq!(committed(&offsets), Some(300));
}

// S-76 [testFetchOffsetsWithPendingTransactionalOffsets], G-29.
#[test]
fn an_undecided_offset_is_unstable_for_its_partition_only() {
    let mut offsets = Offsets::default();
    offsets.apply(&at("t", 0), 1, Some(value(10)));
    offsets.apply(&at("t", 1), 2, Some(value(20)));
    offsets.stage(5, &at("t", 0), 3, value(30));
    assert_eq!(offsets.fetch("t", 0, true), Fetched::Unstable);
    assert_eq!(offsets.fetch("t", 1, true), Fetched::Committed(value(20)));
    assert_eq!(committed(&offsets), Some(10));
    assert_eq!(offsets.fetch("t", 2, true), Fetched::Nothing);
}

// G-28.
#[test]
fn a_removal_takes_undecided_offsets_along() {
    let mut offsets = Offsets::default();
    offsets.stage(5, &at("t", 0), 3, value(30));
    offsets.apply(&at("t", 0), 4, None);
    offsets.end_transaction(5, true);
    assert!(offsets.is_empty());
}

const RETENTION_MS: i64 = 1_000_000;

fn expired(offsets: &Offsets, expiry: &Expiry, now_ms: i64) -> Vec<TopicPartition> {
    offsets.expired(expiry, RETENTION_MS, now_ms)
}

// S-81 [testCleanupExpiredOffsets], G-31.
#[test]
fn offsets_expire_by_the_time_that_counts_for_their_group() {
    let mut offsets = Offsets::default();
    offsets.apply(&at("t", 0), 1, Some(value(10)));
    let due = 1_000 + RETENTION_MS;
    assert!(expired(&offsets, &Expiry::AfterCommit, due - 1).is_empty());
    assert_eq!(expired(&offsets, &Expiry::AfterCommit, due), [at("t", 0)]);
    assert!(expired(&offsets, &Expiry::After(5_000), due).is_empty());
    assert_eq!(expired(&offsets, &Expiry::After(5_000), due + 4_000), [at("t", 0)]);
    assert!(expired(&offsets, &Expiry::Never, i64::MAX).is_empty());
}

// G-31.
#[test]
fn an_expiry_the_client_asked_for_overrides_the_retention() {
    let mut offsets = Offsets::default();
    let short = OffsetValue { expire_timestamp_ms: Some(1_500), ..value(10) };
    offsets.apply(&at("t", 0), 1, Some(short));
    assert!(expired(&offsets, &Expiry::After(5_000), 1_499).is_empty());
    assert_eq!(expired(&offsets, &Expiry::After(5_000), 1_500), [at("t", 0)]);
}

// S-81 […WithPendingTransactionalOffsets], G-32.
#[test]
fn an_undecided_offset_keeps_its_partition_from_expiring() {
    let mut offsets = Offsets::default();
    offsets.apply(&at("t", 0), 1, Some(value(10)));
    offsets.stage(5, &at("t", 0), 3, value(30));
    assert!(expired(&offsets, &Expiry::AfterCommit, i64::MAX).is_empty());
    offsets.end_transaction(5, false);
    assert_eq!(expired(&offsets, &Expiry::AfterCommit, i64::MAX), [at("t", 0)]);
}

// G-31.
#[test]
fn the_state_of_the_group_says_which_time_counts() {
    let simple = Bench::new();
    assert!(matches!(simple.group.offset_expiry(), Expiry::AfterCommit));

    let mut bench = Bench::stable(&["a", "b"]);
    assert!(matches!(bench.group.offset_expiry(), Expiry::Unread(_)));
    bench.leave("b").unwrap();
    assert_eq!(bench.state(), State::PreparingRebalance);
    assert!(matches!(bench.group.offset_expiry(), Expiry::Never));
    bench.now_ms += 77;
    bench.leave("a").unwrap();
    let since = EPOCH_MS + 77;
    assert!(matches!(bench.group.offset_expiry(), Expiry::After(at) if at == since));
}

// G-31, G-33, G-50.
#[test]
fn a_stable_group_keeps_the_offsets_of_topics_it_may_read() {
    let with_subscription = |subscription: &'static [u8]| {
        let mut bench = Bench::new();
        let mut join = newcomer("a");
        join.protocols[0].metadata = Bytes::from_static(subscription);
        bench.join(join);
        bench.stabilise(&["a"]);
        let mut offsets = Offsets::default();
        offsets.apply(&at("read", 0), 1, Some(value(1)));
        offsets.apply(&at("left", 0), 2, Some(value(1)));
        expired(&offsets, &bench.group.offset_expiry(), i64::MAX)
    };
    let readable = with_subscription(b"\x00\x01\x00\x00\x00\x01\x00\x04read\xff\xff\xff\xff");
    assert_eq!(readable, [at("left", 0)]);
    assert!(with_subscription(b"junk").is_empty(), "it may subscribe to everything");
}
