//! Deleting topics.

use super::{Str, Uuid};

api! {
    "DeleteTopics", key 20, versions 1..=6, flexible 4..;

    /// What is asked.
    request DeleteTopicsRequest {
        topics: Vec<DeleteTopicState> [6..];
        topic_names: Vec<Str> [0..=5];
        timeout_ms: i32 [0..];
    }

    /// What is answered.
    response DeleteTopicsResponse {
        throttle_time_ms: i32 [1..];
        responses: Vec<DeletableTopicResult> [0..];
    }

    /// An element of `topics` in [`DeleteTopicsRequest`].
    struct DeleteTopicState {
        name: Option<Str> [6..] nullable [6..];
        topic_id: Uuid [6..];
    }

    /// An element of `responses` in [`DeleteTopicsResponse`].
    struct DeletableTopicResult {
        name: Option<Str> [0..] nullable [6..];
        topic_id: Uuid [6..];
        error_code: i16 [0..];
        error_message: Option<Str> [5..] nullable [5..];
    }
}
