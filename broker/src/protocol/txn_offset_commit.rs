//! Storing how far a group has read, as part of a transaction.

use super::Str;

api! {
    "TxnOffsetCommit", key 28, versions 0..=5, flexible 3..;

    /// What is asked.
    request TxnOffsetCommitRequest {
        transactional_id: Str [0..];
        group_id: Str [0..];
        producer_id: i64 [0..];
        producer_epoch: i16 [0..];
        generation_id: i32 [3..] = -1;
        member_id: Str [3..];
        group_instance_id: Option<Str> [3..] nullable [3..];
        topics: Vec<TxnOffsetCommitRequestTopic> [0..];
    }

    /// What is answered.
    response TxnOffsetCommitResponse {
        throttle_time_ms: i32 [0..];
        topics: Vec<TxnOffsetCommitResponseTopic> [0..];
    }

    /// An element of `topics` in [`TxnOffsetCommitRequest`].
    struct TxnOffsetCommitRequestTopic {
        name: Str [0..];
        partitions: Vec<TxnOffsetCommitRequestPartition> [0..];
    }

    /// An element of `partitions` in [`TxnOffsetCommitRequestTopic`].
    struct TxnOffsetCommitRequestPartition {
        partition_index: i32 [0..];
        committed_offset: i64 [0..];
        committed_leader_epoch: i32 [2..] = -1;
        committed_metadata: Option<Str> [0..] nullable [0..];
    }

    /// An element of `topics` in [`TxnOffsetCommitResponse`].
    struct TxnOffsetCommitResponseTopic {
        name: Str [0..];
        partitions: Vec<TxnOffsetCommitResponsePartition> [0..];
    }

    /// An element of `partitions` in [`TxnOffsetCommitResponseTopic`].
    struct TxnOffsetCommitResponsePartition {
        partition_index: i32 [0..];
        error_code: i16 [0..];
    }
}
