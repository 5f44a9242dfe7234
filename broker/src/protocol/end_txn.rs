//! Committing or aborting a transaction.

use super::Str;

api! {
    "EndTxn", key 26, versions 0..=5, flexible 3..;

    /// What is asked.
    request EndTxnRequest {
        transactional_id: Str [0..];
        producer_id: i64 [0..];
        producer_epoch: i16 [0..];
        committed: bool [0..];
    }

    /// What is answered.
    response EndTxnResponse {
        throttle_time_ms: i32 [0..];
        error_code: i16 [0..];
        producer_id: i64 [5..] = -1;
        producer_epoch: i16 [5..] = -1;
    }
}
