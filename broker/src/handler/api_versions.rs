//! ApiVersions, and the table of what is served.

use super::Code;
use crate::protocol::api_versions::ApiVersion;
use crate::protocol::{ApiVersionsRequest, ApiVersionsResponse, RequestHeader, api_info};

/// Every api served, with the highest version of it.
///
/// Produce ends at 11, EndTxn and TxnOffsetCommit at 4, before the implicit transactions of the next
/// one, and no feature is advertised: this is the older transaction protocol (B-12). Lowest versions
/// are the codec's.
pub(super) const SERVED: &[(i16, i16)] = &[
    (0, 11), // Produce
    (1, 18), // Fetch
    (2, 11), // ListOffsets
    (3, 13), // Metadata
    (8, 10), // OffsetCommit
    (9, 10), // OffsetFetch
    (10, 6), // FindCoordinator
    (11, 9), // JoinGroup
    (12, 4), // Heartbeat
    (13, 5), // LeaveGroup
    (14, 5), // SyncGroup
    (15, 6), // DescribeGroups
    (16, 5), // ListGroups
    (18, 4), // ApiVersions
    (19, 7), // CreateTopics
    (20, 6), // DeleteTopics
    (21, 2), // DeleteRecords
    (22, 5), // InitProducerId
    (23, 4), // OffsetForLeaderEpoch
    (24, 3), // AddPartitionsToTxn
    (25, 4), // AddOffsetsToTxn
    (26, 4), // EndTxn
    (27, 2), // WriteTxnMarkers
    (28, 4), // TxnOffsetCommit
    (32, 4), // DescribeConfigs
    (42, 2), // DeleteGroups
    (47, 0), // OffsetDelete
    (60, 2), // DescribeCluster
    (61, 0), // DescribeProducers
    (65, 0), // DescribeTransactions
    (66, 1), // ListTransactions
];

const API_VERSIONS: i16 = 18;

/// Whether a request is served.
pub(super) fn serves(key: i16, version: i16) -> bool {
    let served = SERVED.iter().find(|(served, _)| *served == key);
    let lowest = api_info(key).map_or(i16::MAX, |api| api.min);
    served.is_some_and(|(_, highest)| (lowest..=*highest).contains(&version))
}

/// The answer to ApiVersions in a version nobody knows: in the layout of version 0, with the one
/// api a client needs to ask again (B-3).
pub(super) fn unsupported(header: &RequestHeader) -> Option<ApiVersionsResponse> {
    let known = serves(API_VERSIONS, header.api_version);
    (header.api_key == API_VERSIONS && !known).then(|| ApiVersionsResponse {
        error_code: Code::UnsupportedVersion.get(),
        api_keys: ranges().filter(|api| api.api_key == API_VERSIONS).collect(),
        ..ApiVersionsResponse::default()
    })
}

/// The answer to ApiVersions in a known version.
pub(super) fn answer(version: i16, request: &ApiVersionsRequest) -> ApiVersionsResponse {
    let named = version < 3
        || (is_software_name(&request.client_software_name)
            && is_software_name(&request.client_software_version));
    if !named {
        return ApiVersionsResponse {
            error_code: Code::InvalidRequest.get(),
            ..ApiVersionsResponse::default()
        };
    }
    ApiVersionsResponse { api_keys: ranges().collect(), ..ApiVersionsResponse::default() }
}

fn ranges() -> impl Iterator<Item = ApiVersion> {
    SERVED.iter().filter_map(|(key, max)| {
        let api = api_info(*key)?;
        Some(ApiVersion { api_key: *key, min_version: api.advertised_min, max_version: *max })
    })
}

/// Letters and digits, with `-` and `.` between them (B-4).
fn is_software_name(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    name.chars().all(inner)
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.ends_with(|c: char| c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_served_can_be_decoded_and_is_in_order() {
        assert!(SERVED.is_sorted());
        for (key, max) in SERVED {
            let api = api_info(*key).unwrap();
            assert!(api.serves(*max), "{}", api.name);
        }
        assert_eq!(ranges().count(), SERVED.len());
    }

    // B-12, B-40.
    #[test]
    fn produce_is_announced_from_zero_and_served_from_three_to_eleven() {
        let produce = ranges().next().unwrap();
        assert_eq!((produce.min_version, produce.max_version), (0, 11));
        assert!(!serves(0, 2) && serves(0, 3) && serves(0, 11) && !serves(0, 12));
        assert!(!serves(24, 4) && !serves(999, 0) && !serves(18, -1));
    }

    // B-4.
    #[test]
    fn software_names_are_checked() {
        let is = |name| is_software_name(name);
        assert!(is("librdkafka") && is("apache-kafka-java") && is("2.12.1"));
        assert!(!is("") && !is("-x") && !is("x.") && !is("a b"));
    }
}
