//! Deleting groups without members.

use super::Str;

api! {
    "DeleteGroups", key 42, versions 0..=2, flexible 2..;

    /// What is asked.
    request DeleteGroupsRequest {
        groups_names: Vec<Str> [0..];
    }

    /// What is answered.
    response DeleteGroupsResponse {
        throttle_time_ms: i32 [0..];
        results: Vec<DeletableGroupResult> [0..];
    }

    /// An element of `results` in [`DeleteGroupsResponse`].
    struct DeletableGroupResult {
        group_id: Str [0..];
        error_code: i16 [0..];
    }
}
