//! Ending a transaction in the logs it wrote to.

use super::Str;

api! {
    "WriteTxnMarkers", key 27, versions 1..=2, flexible 1..;

    /// What is asked.
    request WriteTxnMarkersRequest {
        markers: Vec<WritableTxnMarker> [0..];
    }

    /// What is answered.
    response WriteTxnMarkersResponse {
        markers: Vec<WritableTxnMarkerResult> [0..];
    }

    /// An element of `markers` in [`WriteTxnMarkersRequest`].
    struct WritableTxnMarker {
        producer_id: i64 [0..];
        producer_epoch: i16 [0..];
        transaction_result: bool [0..];
        topics: Vec<WritableTxnMarkerTopic> [0..];
        coordinator_epoch: i32 [0..];
        transaction_version: i8 [2..];
    }

    /// An element of `topics` in [`WritableTxnMarker`].
    struct WritableTxnMarkerTopic {
        name: Str [0..];
        partition_indexes: Vec<i32> [0..];
    }

    /// An element of `markers` in [`WriteTxnMarkersResponse`].
    struct WritableTxnMarkerResult {
        producer_id: i64 [0..];
        topics: Vec<WritableTxnMarkerTopicResult> [0..];
    }

    /// An element of `topics` in [`WritableTxnMarkerResult`].
    struct WritableTxnMarkerTopicResult {
        name: Str [0..];
        partitions: Vec<WritableTxnMarkerPartitionResult> [0..];
    }

    /// An element of `partitions` in [`WritableTxnMarkerTopicResult`].
    struct WritableTxnMarkerPartitionResult {
        partition_index: i32 [0..];
        error_code: i16 [0..];
    }
}
