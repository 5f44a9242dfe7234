//! The state of transactions.

use super::Str;

api! {
    "DescribeTransactions", key 65, versions 0..=0, flexible 0..;

    /// What is asked.
    request DescribeTransactionsRequest {
        transactional_ids: Vec<Str> [0..];
    }

    /// What is answered.
    response DescribeTransactionsResponse {
        throttle_time_ms: i32 [0..];
        transaction_states: Vec<TransactionState> [0..];
    }

    /// An element of `transaction_states` in [`DescribeTransactionsResponse`].
    struct TransactionState {
        error_code: i16 [0..];
        transactional_id: Str [0..];
        transaction_state: Str [0..];
        transaction_timeout_ms: i32 [0..];
        transaction_start_time_ms: i64 [0..];
        producer_id: i64 [0..];
        producer_epoch: i16 [0..];
        topics: Vec<TopicData> [0..];
    }

    /// An element of `topics` in [`TransactionState`].
    struct TopicData {
        topic: Str [0..];
        partitions: Vec<i32> [0..];
    }
}
