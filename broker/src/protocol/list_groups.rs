//! Which groups there are.

use super::Str;

api! {
    "ListGroups", key 16, versions 0..=5, flexible 3..;

    /// What is asked.
    request ListGroupsRequest {
        states_filter: Vec<Str> [4..];
        types_filter: Vec<Str> [5..];
    }

    /// What is answered.
    response ListGroupsResponse {
        throttle_time_ms: i32 [1..];
        error_code: i16 [0..];
        groups: Vec<ListedGroup> [0..];
    }

    /// An element of `groups` in [`ListGroupsResponse`].
    struct ListedGroup {
        group_id: Str [0..];
        protocol_type: Str [0..];
        group_state: Str [4..];
        group_type: Str [5..];
    }
}
