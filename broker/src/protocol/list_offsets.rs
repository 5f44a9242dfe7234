//! Asking for the offset that a timestamp or a name (earliest, latest) stands for.

use super::Str;

api! {
    "ListOffsets", key 2, versions 1..=11, flexible 6..;

    /// What is asked.
    request ListOffsetsRequest {
        replica_id: i32 [0..];
        isolation_level: i8 [2..];
        topics: Vec<ListOffsetsTopic> [0..];
        timeout_ms: i32 [10..];
    }

    /// What is answered.
    response ListOffsetsResponse {
        throttle_time_ms: i32 [2..];
        topics: Vec<ListOffsetsTopicResponse> [0..];
    }

    /// An element of `topics` in [`ListOffsetsRequest`].
    struct ListOffsetsTopic {
        name: Str [0..];
        partitions: Vec<ListOffsetsPartition> [0..];
    }

    /// An element of `partitions` in [`ListOffsetsTopic`].
    struct ListOffsetsPartition {
        partition_index: i32 [0..];
        current_leader_epoch: i32 [4..] = -1;
        timestamp: i64 [0..];
    }

    /// An element of `topics` in [`ListOffsetsResponse`].
    struct ListOffsetsTopicResponse {
        name: Str [0..];
        partitions: Vec<ListOffsetsPartitionResponse> [0..];
    }

    /// An element of `partitions` in [`ListOffsetsTopicResponse`].
    struct ListOffsetsPartitionResponse {
        partition_index: i32 [0..];
        error_code: i16 [0..];
        timestamp: i64 [1..] = -1;
        offset: i64 [1..] = -1;
        leader_epoch: i32 [4..] = -1;
    }
}
