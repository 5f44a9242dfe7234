//! Creating topics.

use super::{Str, Uuid};

api! {
    "CreateTopics", key 19, versions 2..=7, flexible 5..;

    /// What is asked.
    request CreateTopicsRequest {
        topics: Vec<CreatableTopic> [0..];
        timeout_ms: i32 [0..] = 60_000;
        validate_only: bool [1..];
    }

    /// What is answered.
    response CreateTopicsResponse {
        throttle_time_ms: i32 [2..];
        topics: Vec<CreatableTopicResult> [0..];
    }

    /// An element of `topics` in [`CreateTopicsRequest`].
    struct CreatableTopic {
        name: Str [0..];
        num_partitions: i32 [0..];
        replication_factor: i16 [0..];
        assignments: Vec<CreatableReplicaAssignment> [0..];
        configs: Vec<CreatableTopicConfig> [0..];
    }

    /// An element of `assignments` in [`CreatableTopic`].
    struct CreatableReplicaAssignment {
        partition_index: i32 [0..];
        broker_ids: Vec<i32> [0..];
    }

    /// An element of `configs` in [`CreatableTopic`].
    struct CreatableTopicConfig {
        name: Str [0..];
        value: Option<Str> [0..] nullable [0..];
    }

    /// An element of `topics` in [`CreateTopicsResponse`].
    struct CreatableTopicResult {
        name: Str [0..];
        topic_id: Uuid [7..];
        error_code: i16 [0..];
        error_message: Option<Str> [1..] nullable [1..];
        topic_config_error_code: i16 [5..] tag 0;
        num_partitions: i32 [5..] = -1;
        replication_factor: i16 [5..] = -1;
        configs: Option<Vec<CreatableTopicConfigs>> [5..] nullable [5..];
    }

    /// An element of `configs` in [`CreatableTopicResult`].
    struct CreatableTopicConfigs {
        name: Str [5..];
        value: Option<Str> [5..] nullable [5..];
        read_only: bool [5..];
        config_source: i8 [5..] = -1;
        is_sensitive: bool [5..];
    }
}
