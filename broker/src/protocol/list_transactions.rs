//! Which transactions there are.

use super::Str;

api! {
    "ListTransactions", key 66, versions 0..=2, flexible 0..;

    /// What is asked.
    request ListTransactionsRequest {
        state_filters: Vec<Str> [0..];
        producer_id_filters: Vec<i64> [0..];
        duration_filter: i64 [1..] = -1;
        transactional_id_pattern: Option<Str> [2..] nullable [2..];
    }

    /// What is answered.
    response ListTransactionsResponse {
        throttle_time_ms: i32 [0..];
        error_code: i16 [0..];
        unknown_state_filters: Vec<Str> [0..];
        transaction_states: Vec<TransactionState> [0..];
    }

    /// An element of `transaction_states` in [`ListTransactionsResponse`].
    struct TransactionState {
        transactional_id: Str [0..];
        producer_id: i64 [0..];
        transaction_state: Str [0..];
    }
}
