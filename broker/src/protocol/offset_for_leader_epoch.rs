//! Where the records of a leader epoch end.

use super::Str;

api! {
    "OffsetForLeaderEpoch", key 23, versions 2..=4, flexible 4..;

    /// What is asked.
    request OffsetForLeaderEpochRequest {
        replica_id: i32 [3..] = -2;
        topics: Vec<OffsetForLeaderTopic> [0..];
    }

    /// What is answered.
    response OffsetForLeaderEpochResponse {
        throttle_time_ms: i32 [2..];
        topics: Vec<OffsetForLeaderTopicResult> [0..];
    }

    /// An element of `topics` in [`OffsetForLeaderEpochRequest`].
    struct OffsetForLeaderTopic {
        topic: Str [0..];
        partitions: Vec<OffsetForLeaderPartition> [0..];
    }

    /// An element of `partitions` in [`OffsetForLeaderTopic`].
    struct OffsetForLeaderPartition {
        partition: i32 [0..];
        current_leader_epoch: i32 [2..] = -1;
        leader_epoch: i32 [0..];
    }

    /// An element of `topics` in [`OffsetForLeaderEpochResponse`].
    struct OffsetForLeaderTopicResult {
        topic: Str [0..];
        partitions: Vec<EpochEndOffset> [0..];
    }

    /// An element of `partitions` in [`OffsetForLeaderTopicResult`].
    struct EpochEndOffset {
        error_code: i16 [0..];
        partition: i32 [0..];
        leader_epoch: i32 [1..] = -1;
        end_offset: i64 [0..] = -1;
    }
}
