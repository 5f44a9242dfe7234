//! Raising the first offset of partitions.

use super::Str;

api! {
    "DeleteRecords", key 21, versions 0..=2, flexible 2..;

    /// What is asked.
    request DeleteRecordsRequest {
        topics: Vec<DeleteRecordsTopic> [0..];
        timeout_ms: i32 [0..];
    }

    /// What is answered.
    response DeleteRecordsResponse {
        throttle_time_ms: i32 [0..];
        topics: Vec<DeleteRecordsTopicResult> [0..];
    }

    /// An element of `topics` in [`DeleteRecordsRequest`].
    struct DeleteRecordsTopic {
        name: Str [0..];
        partitions: Vec<DeleteRecordsPartition> [0..];
    }

    /// An element of `partitions` in [`DeleteRecordsTopic`].
    struct DeleteRecordsPartition {
        partition_index: i32 [0..];
        offset: i64 [0..];
    }

    /// An element of `topics` in [`DeleteRecordsResponse`].
    struct DeleteRecordsTopicResult {
        name: Str [0..];
        partitions: Vec<DeleteRecordsPartitionResult> [0..];
    }

    /// An element of `partitions` in [`DeleteRecordsTopicResult`].
    struct DeleteRecordsPartitionResult {
        partition_index: i32 [0..];
        low_watermark: i64 [0..];
        error_code: i16 [0..];
    }
}
