//! The producers that are known to partitions.

use super::Str;

api! {
    "DescribeProducers", key 61, versions 0..=0, flexible 0..;

    /// What is asked.
    request DescribeProducersRequest {
        topics: Vec<TopicRequest> [0..];
    }

    /// What is answered.
    response DescribeProducersResponse {
        throttle_time_ms: i32 [0..];
        topics: Vec<TopicResponse> [0..];
    }

    /// An element of `topics` in [`DescribeProducersRequest`].
    struct TopicRequest {
        name: Str [0..];
        partition_indexes: Vec<i32> [0..];
    }

    /// An element of `topics` in [`DescribeProducersResponse`].
    struct TopicResponse {
        name: Str [0..];
        partitions: Vec<PartitionResponse> [0..];
    }

    /// An element of `partitions` in [`TopicResponse`].
    struct PartitionResponse {
        partition_index: i32 [0..];
        error_code: i16 [0..];
        error_message: Option<Str> [0..] nullable [0..];
        active_producers: Vec<ProducerState> [0..];
    }

    /// An element of `active_producers` in [`PartitionResponse`].
    struct ProducerState {
        producer_id: i64 [0..];
        producer_epoch: i32 [0..];
        last_sequence: i32 [0..] = -1;
        last_timestamp: i64 [0..] = -1;
        coordinator_epoch: i32 [0..];
        current_txn_start_offset: i64 [0..] = -1;
    }
}
