//! Leaving a classic consumer group.

use super::Str;

api! {
    "LeaveGroup", key 13, versions 0..=5, flexible 4..;

    /// What is asked.
    request LeaveGroupRequest {
        group_id: Str [0..];
        member_id: Str [0..=2];
        members: Vec<MemberIdentity> [3..];
    }

    /// What is answered.
    response LeaveGroupResponse {
        throttle_time_ms: i32 [1..];
        error_code: i16 [0..];
        members: Vec<MemberResponse> [3..];
    }

    /// An element of `members` in [`LeaveGroupRequest`].
    struct MemberIdentity {
        member_id: Str [3..];
        group_instance_id: Option<Str> [3..] nullable [3..];
        reason: Option<Str> [5..] nullable [5..];
    }

    /// An element of `members` in [`LeaveGroupResponse`].
    struct MemberResponse {
        member_id: Str [3..];
        group_instance_id: Option<Str> [3..] nullable [3..];
        error_code: i16 [3..];
    }
}
