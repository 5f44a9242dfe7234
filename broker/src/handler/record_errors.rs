//! Which records of a refused batch were at fault.
//!
//! The engine refuses a batch as a whole; a client that is told the records can send the others
//! again. Only a refused batch is looked at, so this costs nobody else anything.

use super::Code;
use crate::clock;
use crate::protocol::Str;
use crate::protocol::produce::BatchIndexAndErrorMessage;
use oncelog::CleanupPolicy;
use oncelog::LogConfig;
use oncelog::batch::{Batch, DecodeLimits, Record};

/// Most records that are named: the answer must stay small whatever was sent.
const NAMED_MAX: usize = 1000;

/// The records that `code` is about; empty if it is about the batch.
pub(super) fn record_errors(
    code: Code,
    bytes: &[u8],
    config: &LogConfig,
) -> Vec<BatchIndexAndErrorMessage> {
    let compacted = config.cleanup_policy != CleanupPolicy::Delete;
    let now_ms = clock::now_ms();
    match code {
        Code::InvalidRecord if compacted => at_fault(bytes, |record| {
            let lacks_key = record.key().is_none();
            lacks_key.then(|| "Compacted topic cannot accept message without key.".to_owned())
        }),
        Code::InvalidTimestamp => at_fault(bytes, |record| {
            let timestamp = record.timestamp_ms();
            let oldest = now_ms.saturating_sub(config.timestamp_before_max_ms);
            let newest = now_ms.saturating_add(config.timestamp_after_max_ms);
            let is_wrong = timestamp != -1 && !(oldest..=newest).contains(&timestamp);
            is_wrong.then(|| {
                format!(
                    "Timestamp {timestamp} of message with offset {} is out of range. The \
                     timestamp should be within [{oldest}, {newest}]",
                    record.offset()
                )
            })
        }),
        _ => Vec::new(),
    }
}

fn at_fault(
    bytes: &[u8],
    fault: impl Fn(&Record<'_>) -> Option<String>,
) -> Vec<BatchIndexAndErrorMessage> {
    let Ok((batch, _)) = Batch::parse(bytes) else { return Vec::new() };
    let Ok(records) = batch.records(&DecodeLimits::default()) else { return Vec::new() };
    let faults = (0..).zip(records.iter()).filter_map(|(batch_index, record)| {
        let message = fault(&record.ok()?)?;
        Some(BatchIndexAndErrorMessage {
            batch_index,
            batch_index_error_message: Some(Str::from(message)),
        })
    });
    faults.take(NAMED_MAX).collect()
}
