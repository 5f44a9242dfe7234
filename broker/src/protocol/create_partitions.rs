//! Adding partitions to topics.

use super::Str;

api! {
    "CreatePartitions", key 37, versions 0..=3, flexible 2..;

    /// What is asked.
    request CreatePartitionsRequest {
        topics: Vec<CreatePartitionsTopic> [0..];
        timeout_ms: i32 [0..];
        validate_only: bool [0..];
    }

    /// What is answered.
    response CreatePartitionsResponse {
        throttle_time_ms: i32 [0..];
        results: Vec<CreatePartitionsTopicResult> [0..];
    }

    /// An element of `topics` in [`CreatePartitionsRequest`].
    struct CreatePartitionsTopic {
        name: Str [0..];
        count: i32 [0..];
        assignments: Option<Vec<CreatePartitionsAssignment>> [0..] nullable [0..];
    }

    /// An element of `assignments` in [`CreatePartitionsTopic`].
    struct CreatePartitionsAssignment {
        broker_ids: Vec<i32> [0..];
    }

    /// An element of `results` in [`CreatePartitionsResponse`].
    struct CreatePartitionsTopicResult {
        name: Str [0..];
        error_code: i16 [0..];
        error_message: Option<Str> [0..] nullable [0..];
    }
}
