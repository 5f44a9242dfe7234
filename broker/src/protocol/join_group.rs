//! Entering a classic consumer group, or a new generation of it.

use super::Str;
use bytes::Bytes;

api! {
    "JoinGroup", key 11, versions 0..=9, flexible 6..;

    /// What is asked.
    request JoinGroupRequest {
        group_id: Str [0..];
        session_timeout_ms: i32 [0..];
        rebalance_timeout_ms: i32 [1..] = -1;
        member_id: Str [0..];
        group_instance_id: Option<Str> [5..] nullable [5..];
        protocol_type: Str [0..];
        protocols: Vec<JoinGroupRequestProtocol> [0..];
        reason: Option<Str> [8..] nullable [8..];
    }

    /// What is answered.
    response JoinGroupResponse {
        throttle_time_ms: i32 [2..];
        error_code: i16 [0..];
        generation_id: i32 [0..] = -1;
        protocol_type: Option<Str> [7..] nullable [7..];
        protocol_name: Option<Str> [0..] nullable [7..];
        leader: Str [0..];
        skip_assignment: bool [9..];
        member_id: Str [0..];
        members: Vec<JoinGroupResponseMember> [0..];
    }

    /// An element of `protocols` in [`JoinGroupRequest`].
    struct JoinGroupRequestProtocol {
        name: Str [0..];
        metadata: Bytes [0..];
    }

    /// An element of `members` in [`JoinGroupResponse`].
    struct JoinGroupResponseMember {
        member_id: Str [0..];
        group_instance_id: Option<Str> [5..] nullable [5..];
        metadata: Bytes [0..];
    }
}
