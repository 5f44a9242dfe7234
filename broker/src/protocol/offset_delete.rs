//! Forgetting how far a group has read.

use super::Str;

api! {
    "OffsetDelete", key 47, versions 0..=0, flexible i16::MAX..;

    /// What is asked.
    request OffsetDeleteRequest {
        group_id: Str [0..];
        topics: Vec<OffsetDeleteRequestTopic> [0..];
    }

    /// What is answered.
    response OffsetDeleteResponse {
        error_code: i16 [0..];
        throttle_time_ms: i32 [0..];
        topics: Vec<OffsetDeleteResponseTopic> [0..];
    }

    /// An element of `topics` in [`OffsetDeleteRequest`].
    struct OffsetDeleteRequestTopic {
        name: Str [0..];
        partitions: Vec<OffsetDeleteRequestPartition> [0..];
    }

    /// An element of `partitions` in [`OffsetDeleteRequestTopic`].
    struct OffsetDeleteRequestPartition {
        partition_index: i32 [0..];
    }

    /// An element of `topics` in [`OffsetDeleteResponse`].
    struct OffsetDeleteResponseTopic {
        name: Str [0..];
        partitions: Vec<OffsetDeleteResponsePartition> [0..];
    }

    /// An element of `partitions` in [`OffsetDeleteResponseTopic`].
    struct OffsetDeleteResponsePartition {
        partition_index: i32 [0..];
        error_code: i16 [0..];
    }
}
