//! Which versions of which apis the broker serves; the first request of a connection.

use super::Str;

api! {
    "ApiVersions", key 18, versions 0..=4, flexible 3..;

    /// What is asked.
    request ApiVersionsRequest {
        client_software_name: Str [3..];
        client_software_version: Str [3..];
    }

    /// What is answered.
    response ApiVersionsResponse {
        error_code: i16 [0..];
        api_keys: Vec<ApiVersion> [0..];
        throttle_time_ms: i32 [1..];
        supported_features: Vec<SupportedFeatureKey> [3..] tag 0;
        finalized_features_epoch: i64 [3..] tag 1 = -1;
        finalized_features: Vec<FinalizedFeatureKey> [3..] tag 2;
        zk_migration_ready: bool [3..] tag 3;
    }

    /// An element of `api_keys` in [`ApiVersionsResponse`].
    struct ApiVersion {
        api_key: i16 [0..];
        min_version: i16 [0..];
        max_version: i16 [0..];
    }

    /// An element of `supported_features` in [`ApiVersionsResponse`].
    struct SupportedFeatureKey {
        name: Str [3..];
        min_version: i16 [3..];
        max_version: i16 [3..];
    }

    /// An element of `finalized_features` in [`ApiVersionsResponse`].
    struct FinalizedFeatureKey {
        name: Str [3..];
        max_version_level: i16 [3..];
        min_version_level: i16 [3..];
    }
}
