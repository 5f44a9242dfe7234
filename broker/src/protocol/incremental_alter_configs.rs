//! Changing single keys of the configuration of topics and brokers.

use super::Str;

api! {
    "IncrementalAlterConfigs", key 44, versions 0..=1, flexible 1..;

    /// What is asked.
    request IncrementalAlterConfigsRequest {
        resources: Vec<AlterConfigsResource> [0..];
        validate_only: bool [0..];
    }

    /// What is answered.
    response IncrementalAlterConfigsResponse {
        throttle_time_ms: i32 [0..];
        responses: Vec<AlterConfigsResourceResponse> [0..];
    }

    /// An element of `resources` in [`IncrementalAlterConfigsRequest`].
    struct AlterConfigsResource {
        resource_type: i8 [0..];
        resource_name: Str [0..];
        configs: Vec<AlterableConfig> [0..];
    }

    /// An element of `configs` in [`AlterConfigsResource`].
    struct AlterableConfig {
        name: Str [0..];
        config_operation: i8 [0..];
        value: Option<Str> [0..] nullable [0..];
    }

    /// An element of `responses` in [`IncrementalAlterConfigsResponse`].
    struct AlterConfigsResourceResponse {
        error_code: i16 [0..];
        error_message: Option<Str> [0..] nullable [0..];
        resource_type: i8 [0..];
        resource_name: Str [0..];
    }
}
