//! The rules of an append, judged on the header of a batch (section A of Kafka's behaviour).
//!
//! Records are not decoded, not even to be counted: a batch whose header lies about its records
//! (their number, offsets or timestamps) is stored as it came, compressed or not, and a reader of
//! records gets [`ErrorKind::InvalidBatch`] for it. Kafka decodes compressed batches, and counts
//! the records of others. The exception is a compacted log: every record there
//! needs a key, so there the records are decoded.

use super::{Batch, DecodeLimits};
use crate::error::{Error, ErrorKind, Result};
use crate::options::{CleanupPolicy, LogConfig, TimestampType};
use crate::types::Origin;

/// What a batch is held against.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Rules {
    /// Who appends.
    pub origin: Origin,
    /// Largest batch in bytes.
    pub max_message_bytes: u32,
    /// Whose time the log keeps.
    pub timestamp_type: TimestampType,
    /// How far in the past a timestamp may lie, in ms.
    pub timestamp_before_max_ms: i64,
    /// How far in the future a timestamp may lie, in ms.
    pub timestamp_after_max_ms: i64,
    /// The time now, in ms.
    pub now_ms: i64,
    /// Whether every record needs a key; costs decoding the records.
    pub keys_required: bool,
}

impl Rules {
    /// The rules of a log with this configuration, for an append by `origin` at `now_ms`.
    #[must_use]
    pub fn new(config: &LogConfig, origin: Origin, now_ms: i64) -> Self {
        Self {
            origin,
            max_message_bytes: config.max_message_bytes,
            timestamp_type: config.timestamp_type,
            timestamp_before_max_ms: config.timestamp_before_max_ms,
            timestamp_after_max_ms: config.timestamp_after_max_ms,
            now_ms,
            keys_required: config.cleanup_policy != CleanupPolicy::Delete,
        }
    }
}

/// Checks that `batch` may be appended under `rules`, in Kafka's order of checks.
///
/// A follower's batches were judged by their leader: only their integrity is checked. A
/// coordinator's are not held to the rules about offsets, record counts, markers and sequences
/// . That an append by a leader is one batch is the caller's to check.
///
/// # Errors
/// - [`ErrorKind::InvalidBatch`]: a base offset other than 0, offsets and record count that
///   do not agree, a control batch, a producer without epoch or sequence, a
///   transactional batch without a producer, a null key.
/// - [`ErrorKind::BatchTooLarge`].
/// - [`ErrorKind::CorruptBatch`]: the checksum is wrong, or the offsets of a batch by a
///   coordinator or follower do not ascend.
/// - [`ErrorKind::UnsupportedCompression`]: codecs 5 to 7.
/// - [`ErrorKind::InvalidTimestamp`]: too far from now, or a time of the log's own.
///
/// # Complexity
/// Reads every byte once, for the checksum. Decodes records only if `rules.keys_required`.
pub fn validate(batch: &Batch<'_>, rules: &Rules) -> Result<()> {
    match rules.origin {
        Origin::Follower => {
            check_crc(batch)?;
            check_offsets_ascend(batch)
        }
        Origin::Coordinator => {
            check_size(batch, rules)?;
            check_crc(batch)?;
            check_offsets_ascend(batch)?;
            check_content(batch, rules)
        }
        Origin::Client => {
            check_base_offset(batch)?;
            check_size(batch, rules)?;
            check_crc(batch)?;
            check_counts(batch)?;
            check_producer(batch)?;
            check_content(batch, rules)
        }
    }
}

/// What holds for whoever leads the log.
fn check_content(batch: &Batch<'_>, rules: &Rules) -> Result<()> {
    batch.compression()?;
    check_timestamps(batch, rules)?;
    if rules.keys_required { check_keys(batch) } else { Ok(()) }
}

fn check_base_offset(batch: &Batch<'_>) -> Result<()> {
    let base = batch.base_offset().get();
    ensure(base == 0, ErrorKind::InvalidBatch, || {
        format!("a producer must send base offset 0, not {base}")
    })
}

fn check_size(batch: &Batch<'_>, rules: &Rules) -> Result<()> {
    let (size, max) = (batch.size(), rules.max_message_bytes);
    let fits = u32::try_from(size).is_ok_and(|size| size <= max);
    ensure(fits, ErrorKind::BatchTooLarge, || {
        format!("a batch of {size} bytes is larger than max_message_bytes = {max}")
    })
}

fn check_crc(batch: &Batch<'_>) -> Result<()> {
    ensure(batch.is_crc_valid(), ErrorKind::CorruptBatch, || {
        format!("the checksum {:08x} of {batch} is wrong", batch.crc())
    })
}

/// Whoever assigned the offsets, the last is not before the first.
fn check_offsets_ascend(batch: &Batch<'_>) -> Result<()> {
    let (base, delta) = (batch.base_offset(), batch.last_offset_delta());
    let fits = base.get() >= 0 && delta >= 0 && base.checked_add(i64::from(delta)).is_some();
    ensure(fits, ErrorKind::CorruptBatch, || {
        format!("base offset {base} and last offset delta {delta} are not those of a batch")
    })
}

/// In 64 bits: a delta of 2,147,483,647 is one record more than an `i32` can count.
fn check_counts(batch: &Batch<'_>) -> Result<()> {
    let offsets = i64::from(batch.last_offset_delta()).saturating_add(1);
    let count = i64::from(batch.record_count());
    ensure(count > 0 && count == offsets, ErrorKind::InvalidBatch, || {
        format!("{count} records and {offsets} offsets in a producer's batch")
    })
}

fn check_producer(batch: &Batch<'_>) -> Result<()> {
    let (epoch, sequence) = (batch.producer_epoch().get(), batch.base_sequence().get());
    let fault = if batch.is_control() {
        Some("a producer must not send control batches".to_owned())
    } else if batch.producer_id().is_some() {
        let missing = sequence < 0 || epoch < 0;
        missing.then(|| format!("a producer id with epoch {epoch} and base sequence {sequence}"))
    } else {
        // Kafka refuses it too, while it verifies the transaction with the coordinator.
        batch.is_transactional().then(|| "a transactional batch without a producer id".to_owned())
    };
    fault.map_or(Ok(()), |fault| Err(Error::new(ErrorKind::InvalidBatch, fault)))
}

/// A-37, then A-36. Only base and maximum timestamp are looked at: those between are the
/// producer's word, as the maximum is.
fn check_timestamps(batch: &Batch<'_>, rules: &Rules) -> Result<()> {
    let log_stamps = rules.timestamp_type == TimestampType::LogAppendTime;
    if batch.timestamp_type() == TimestampType::LogAppendTime {
        let stamped = !log_stamps && batch.max_timestamp_ms() != -1;
        ensure(stamped, ErrorKind::InvalidTimestamp, || {
            "a batch that arrives must not carry the log's own time".to_owned()
        })?;
    }
    if log_stamps {
        return Ok(());
    }
    [batch.base_timestamp_ms(), batch.max_timestamp_ms()]
        .into_iter()
        .try_for_each(|timestamp| check_timestamp(timestamp, rules))
}

fn check_timestamp(timestamp_ms: i64, rules: &Rules) -> Result<()> {
    let age = rules.now_ms.saturating_sub(timestamp_ms);
    let lead = timestamp_ms.saturating_sub(rules.now_ms);
    let near = age <= rules.timestamp_before_max_ms && lead <= rules.timestamp_after_max_ms;
    ensure(timestamp_ms == -1 || near, ErrorKind::InvalidTimestamp, || {
        let (before, after) = (rules.timestamp_before_max_ms, rules.timestamp_after_max_ms);
        let now = rules.now_ms;
        format!(
            "timestamp {timestamp_ms} is not within {before} ms before and {after} ms after {now}"
        )
    })
}

/// Markers have keys of their own kind.
fn check_keys(batch: &Batch<'_>) -> Result<()> {
    if batch.is_control() {
        return Ok(());
    }
    for record in &batch.records(&DecodeLimits::default())? {
        let record = record?;
        ensure(record.key().is_some(), ErrorKind::InvalidBatch, || {
            format!("record {} has no key, which a compacted log needs", record.offset())
        })?;
    }
    Ok(())
}

fn ensure(holds: bool, kind: ErrorKind, context: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::new(kind, context())) }
}
