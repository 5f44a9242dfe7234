//! Handing out, and receiving, the assignment of a generation.

use super::Str;
use bytes::Bytes;

api! {
    "SyncGroup", key 14, versions 0..=5, flexible 4..;

    /// What is asked.
    request SyncGroupRequest {
        group_id: Str [0..];
        generation_id: i32 [0..];
        member_id: Str [0..];
        group_instance_id: Option<Str> [3..] nullable [3..];
        protocol_type: Option<Str> [5..] nullable [5..];
        protocol_name: Option<Str> [5..] nullable [5..];
        assignments: Vec<SyncGroupRequestAssignment> [0..];
    }

    /// What is answered.
    response SyncGroupResponse {
        throttle_time_ms: i32 [1..];
        error_code: i16 [0..];
        protocol_type: Option<Str> [5..] nullable [5..];
        protocol_name: Option<Str> [5..] nullable [5..];
        assignment: Bytes [0..];
    }

    /// An element of `assignments` in [`SyncGroupRequest`].
    struct SyncGroupRequestAssignment {
        member_id: Str [0..];
        assignment: Bytes [0..];
    }
}
