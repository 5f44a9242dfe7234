//! Topics and their partitions, page by page.

use super::{Str, Uuid};

api! {
    "DescribeTopicPartitions", key 75, versions 0..=0, flexible 0..;

    /// What is asked.
    request DescribeTopicPartitionsRequest {
        topics: Vec<TopicRequest> [0..];
        response_partition_limit: i32 [0..] = 2000;
        cursor: Option<Cursor> [0..] nullable [0..];
    }

    /// What is answered.
    response DescribeTopicPartitionsResponse {
        throttle_time_ms: i32 [0..];
        topics: Vec<DescribeTopicPartitionsResponseTopic> [0..];
        next_cursor: Option<Cursor> [0..] nullable [0..];
    }

    /// An element of `topics` in [`DescribeTopicPartitionsRequest`].
    struct TopicRequest {
        name: Str [0..];
    }

    /// The `cursor` of [`DescribeTopicPartitionsRequest`].
    struct Cursor {
        topic_name: Str [0..];
        partition_index: i32 [0..];
    }

    /// An element of `topics` in [`DescribeTopicPartitionsResponse`].
    struct DescribeTopicPartitionsResponseTopic {
        error_code: i16 [0..];
        name: Option<Str> [0..] nullable [0..];
        topic_id: Uuid [0..];
        is_internal: bool [0..];
        partitions: Vec<DescribeTopicPartitionsResponsePartition> [0..];
        topic_authorized_operations: i32 [0..] = i32::MIN;
    }

    /// An element of `partitions` in [`DescribeTopicPartitionsResponseTopic`].
    struct DescribeTopicPartitionsResponsePartition {
        error_code: i16 [0..];
        partition_index: i32 [0..];
        leader_id: i32 [0..];
        leader_epoch: i32 [0..] = -1;
        replica_nodes: Vec<i32> [0..];
        isr_nodes: Vec<i32> [0..];
        eligible_leader_replicas: Option<Vec<i32>> [0..] nullable [0..];
        last_known_elr: Option<Vec<i32>> [0..] nullable [0..];
        offline_replicas: Vec<i32> [0..];
    }
}
