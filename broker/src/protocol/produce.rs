//! Appending record batches to partitions.

use super::{Str, Uuid};
use bytes::Bytes;

api! {
    "Produce", key 0, versions 3..=13, advertised from 0, flexible 9..;

    /// What is asked.
    request ProduceRequest {
        transactional_id: Option<Str> [3..] nullable [3..];
        acks: i16 [0..];
        timeout_ms: i32 [0..];
        topic_data: Vec<TopicProduceData> [0..];
    }

    /// What is answered.
    response ProduceResponse {
        responses: Vec<TopicProduceResponse> [0..];
        throttle_time_ms: i32 [1..];
        node_endpoints: Vec<NodeEndpoint> [10..] tag 0;
    }

    /// An element of `topic_data` in [`ProduceRequest`].
    struct TopicProduceData {
        name: Str [0..=12];
        topic_id: Uuid [13..];
        partition_data: Vec<PartitionProduceData> [0..];
    }

    /// An element of `partition_data` in [`TopicProduceData`].
    struct PartitionProduceData {
        index: i32 [0..];
        records: Option<Bytes> [0..] nullable [0..];
    }

    /// An element of `responses` in [`ProduceResponse`].
    struct TopicProduceResponse {
        name: Str [0..=12];
        topic_id: Uuid [13..];
        partition_responses: Vec<PartitionProduceResponse> [0..];
    }

    /// An element of `partition_responses` in [`TopicProduceResponse`].
    struct PartitionProduceResponse {
        index: i32 [0..];
        error_code: i16 [0..];
        base_offset: i64 [0..];
        log_append_time_ms: i64 [2..] = -1;
        log_start_offset: i64 [5..] = -1;
        record_errors: Vec<BatchIndexAndErrorMessage> [8..];
        error_message: Option<Str> [8..] nullable [8..];
        current_leader: LeaderIdAndEpoch [10..] tag 0;
    }

    /// An element of `record_errors` in [`PartitionProduceResponse`].
    struct BatchIndexAndErrorMessage {
        batch_index: i32 [8..];
        batch_index_error_message: Option<Str> [8..] nullable [8..];
    }

    /// The `current_leader` of [`PartitionProduceResponse`].
    struct LeaderIdAndEpoch {
        leader_id: i32 [10..] = -1;
        leader_epoch: i32 [10..] = -1;
    }

    /// An element of `node_endpoints` in [`ProduceResponse`].
    struct NodeEndpoint {
        node_id: i32 [10..];
        host: Str [10..];
        port: i32 [10..];
        rack: Option<Str> [10..] nullable [10..];
    }
}
