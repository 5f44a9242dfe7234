//! Which brokers, topics and partitions there are.

use super::{Str, Uuid};

api! {
    "Metadata", key 3, versions 0..=13, flexible 9..;

    /// What is asked.
    request MetadataRequest {
        topics: Option<Vec<MetadataRequestTopic>> [0..] nullable [1..];
        allow_auto_topic_creation: bool [4..] = true;
        include_cluster_authorized_operations: bool [8..=10];
        include_topic_authorized_operations: bool [8..];
    }

    /// What is answered.
    response MetadataResponse {
        throttle_time_ms: i32 [3..];
        brokers: Vec<MetadataResponseBroker> [0..];
        cluster_id: Option<Str> [2..] nullable [2..];
        controller_id: i32 [1..] = -1;
        topics: Vec<MetadataResponseTopic> [0..];
        cluster_authorized_operations: i32 [8..=10] = i32::MIN;
        error_code: i16 [13..];
    }

    /// An element of `topics` in [`MetadataRequest`].
    struct MetadataRequestTopic {
        topic_id: Uuid [10..];
        name: Option<Str> [0..] nullable [10..];
    }

    /// An element of `brokers` in [`MetadataResponse`].
    struct MetadataResponseBroker {
        node_id: i32 [0..];
        host: Str [0..];
        port: i32 [0..];
        rack: Option<Str> [1..] nullable [1..];
    }

    /// An element of `topics` in [`MetadataResponse`].
    struct MetadataResponseTopic {
        error_code: i16 [0..];
        name: Option<Str> [0..] nullable [12..];
        topic_id: Uuid [10..];
        is_internal: bool [1..];
        partitions: Vec<MetadataResponsePartition> [0..];
        topic_authorized_operations: i32 [8..] = i32::MIN;
    }

    /// An element of `partitions` in [`MetadataResponseTopic`].
    struct MetadataResponsePartition {
        error_code: i16 [0..];
        partition_index: i32 [0..];
        leader_id: i32 [0..];
        leader_epoch: i32 [7..] = -1;
        replica_nodes: Vec<i32> [0..];
        isr_nodes: Vec<i32> [0..];
        offline_replicas: Vec<i32> [5..];
    }
}
