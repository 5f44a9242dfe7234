//! Naming partitions that a transaction is about to write to.

use super::Str;

api! {
    "AddPartitionsToTxn", key 24, versions 0..=5, flexible 3..;

    /// What is asked.
    request AddPartitionsToTxnRequest {
        transactions: Vec<AddPartitionsToTxnTransaction> [4..];
        v3_and_below_transactional_id: Str [0..=3];
        v3_and_below_producer_id: i64 [0..=3];
        v3_and_below_producer_epoch: i16 [0..=3];
        v3_and_below_topics: Vec<AddPartitionsToTxnTopic> [0..=3];
    }

    /// What is answered.
    response AddPartitionsToTxnResponse {
        throttle_time_ms: i32 [0..];
        error_code: i16 [4..];
        results_by_transaction: Vec<AddPartitionsToTxnResult> [4..];
        results_by_topic_v3_and_below: Vec<AddPartitionsToTxnTopicResult> [0..=3];
    }

    /// An element of `transactions` in [`AddPartitionsToTxnRequest`].
    struct AddPartitionsToTxnTransaction {
        transactional_id: Str [4..];
        producer_id: i64 [4..];
        producer_epoch: i16 [4..];
        verify_only: bool [4..];
        topics: Vec<AddPartitionsToTxnTopic> [4..];
    }

    /// An element of `topics` in [`AddPartitionsToTxnTransaction`].
    struct AddPartitionsToTxnTopic {
        name: Str [0..];
        partitions: Vec<i32> [0..];
    }

    /// An element of `results_by_transaction` in [`AddPartitionsToTxnResponse`].
    struct AddPartitionsToTxnResult {
        transactional_id: Str [4..];
        topic_results: Vec<AddPartitionsToTxnTopicResult> [4..];
    }

    /// An element of `topic_results` in [`AddPartitionsToTxnResult`].
    struct AddPartitionsToTxnTopicResult {
        name: Str [0..];
        results_by_partition: Vec<AddPartitionsToTxnPartitionResult> [0..];
    }

    /// An element of `results_by_partition` in [`AddPartitionsToTxnTopicResult`].
    struct AddPartitionsToTxnPartitionResult {
        partition_index: i32 [0..];
        partition_error_code: i16 [0..];
    }
}
