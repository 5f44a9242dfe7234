//! Asking how far a group has read.

use super::{Str, Uuid};

api! {
    "OffsetFetch", key 9, versions 1..=10, flexible 6..;

    /// What is asked.
    request OffsetFetchRequest {
        group_id: Str [0..=7];
        topics: Option<Vec<OffsetFetchRequestTopic>> [0..=7] nullable [2..=7];
        groups: Vec<OffsetFetchRequestGroup> [8..];
        require_stable: bool [7..];
    }

    /// What is answered.
    response OffsetFetchResponse {
        throttle_time_ms: i32 [3..];
        topics: Vec<OffsetFetchResponseTopic> [0..=7];
        error_code: i16 [2..=7];
        groups: Vec<OffsetFetchResponseGroup> [8..];
    }

    /// An element of `topics` in [`OffsetFetchRequest`].
    struct OffsetFetchRequestTopic {
        name: Str [0..=7];
        partition_indexes: Vec<i32> [0..=7];
    }

    /// An element of `groups` in [`OffsetFetchRequest`].
    struct OffsetFetchRequestGroup {
        group_id: Str [8..];
        member_id: Option<Str> [9..] nullable [9..];
        member_epoch: i32 [9..] = -1;
        topics: Option<Vec<OffsetFetchRequestTopics>> [8..] nullable [8..];
    }

    /// An element of `topics` in [`OffsetFetchRequestGroup`].
    struct OffsetFetchRequestTopics {
        name: Str [8..=9];
        topic_id: Uuid [10..];
        partition_indexes: Vec<i32> [8..];
    }

    /// An element of `topics` in [`OffsetFetchResponse`].
    struct OffsetFetchResponseTopic {
        name: Str [0..=7];
        partitions: Vec<OffsetFetchResponsePartition> [0..=7];
    }

    /// An element of `partitions` in [`OffsetFetchResponseTopic`].
    struct OffsetFetchResponsePartition {
        partition_index: i32 [0..=7];
        committed_offset: i64 [0..=7];
        committed_leader_epoch: i32 [5..=7] = -1;
        metadata: Option<Str> [0..=7] nullable [0..=7];
        error_code: i16 [0..=7];
    }

    /// An element of `groups` in [`OffsetFetchResponse`].
    struct OffsetFetchResponseGroup {
        group_id: Str [8..];
        topics: Vec<OffsetFetchResponseTopics> [8..];
        error_code: i16 [8..];
    }

    /// An element of `topics` in [`OffsetFetchResponseGroup`].
    struct OffsetFetchResponseTopics {
        name: Str [8..=9];
        topic_id: Uuid [10..];
        partitions: Vec<OffsetFetchResponsePartitions> [8..];
    }

    /// An element of `partitions` in [`OffsetFetchResponseTopics`].
    struct OffsetFetchResponsePartitions {
        partition_index: i32 [8..];
        committed_offset: i64 [8..];
        committed_leader_epoch: i32 [8..] = -1;
        metadata: Option<Str> [8..] nullable [8..];
        error_code: i16 [8..];
    }
}
