//! Naming a group whose offsets a transaction is about to commit.

use super::Str;

api! {
    "AddOffsetsToTxn", key 25, versions 0..=4, flexible 3..;

    /// What is asked.
    request AddOffsetsToTxnRequest {
        transactional_id: Str [0..];
        producer_id: i64 [0..];
        producer_epoch: i16 [0..];
        group_id: Str [0..];
    }

    /// What is answered.
    response AddOffsetsToTxnResponse {
        throttle_time_ms: i32 [0..];
        error_code: i16 [0..];
    }
}
