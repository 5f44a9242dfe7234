//! Staying in a classic consumer group.

use super::Str;

api! {
    "Heartbeat", key 12, versions 0..=4, flexible 4..;

    /// What is asked.
    request HeartbeatRequest {
        group_id: Str [0..];
        generation_id: i32 [0..];
        member_id: Str [0..];
        group_instance_id: Option<Str> [3..] nullable [3..];
    }

    /// What is answered.
    response HeartbeatResponse {
        throttle_time_ms: i32 [1..];
        error_code: i16 [0..];
    }
}
