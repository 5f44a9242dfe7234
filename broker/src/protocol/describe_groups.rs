//! State and members of classic consumer groups.

use super::Str;
use bytes::Bytes;

api! {
    "DescribeGroups", key 15, versions 0..=6, flexible 5..;

    /// What is asked.
    request DescribeGroupsRequest {
        groups: Vec<Str> [0..];
        include_authorized_operations: bool [3..];
    }

    /// What is answered.
    response DescribeGroupsResponse {
        throttle_time_ms: i32 [1..];
        groups: Vec<DescribedGroup> [0..];
    }

    /// An element of `groups` in [`DescribeGroupsResponse`].
    struct DescribedGroup {
        error_code: i16 [0..];
        error_message: Option<Str> [6..] nullable [6..];
        group_id: Str [0..];
        group_state: Str [0..];
        protocol_type: Str [0..];
        protocol_data: Str [0..];
        members: Vec<DescribedGroupMember> [0..];
        authorized_operations: i32 [3..] = i32::MIN;
    }

    /// An element of `members` in [`DescribedGroup`].
    struct DescribedGroupMember {
        member_id: Str [0..];
        group_instance_id: Option<Str> [4..] nullable [4..];
        client_id: Str [0..];
        client_host: Str [0..];
        member_metadata: Bytes [0..];
        member_assignment: Bytes [0..];
    }
}
