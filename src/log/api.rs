//! The values that a log's calls take and return.

use crate::index::AbortedTxn;
use crate::io::File;
use crate::options::Durability;
use crate::producer::VerificationGuard;
use crate::types::{LeaderEpoch, Offset, Origin, ProducerEpoch, ProducerId, Sequence};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// How far a reader may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Isolation {
    /// To the high watermark.
    #[default]
    ReadUncommitted,
    /// To the last stable offset, with the aborted transactions to skip.
    ReadCommitted,
}

/// Options of one append.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct AppendOptions {
    /// Who appends.
    pub origin: Origin,
    /// Stamped into the batches (not for followers). Default: the log's current epoch.
    pub leader_epoch: Option<LeaderEpoch>,
    /// When the ticket resolves. Default: the log's own.
    pub durability: Option<Durability>,
    /// What [`Log::begin_verification`](super::Log::begin_verification) gave, for the first batch of
    /// a transaction in a log that asks for it. Default none.
    pub verification: Option<VerificationGuard>,
}

/// The append that [`Log::begin_verification`](super::Log::begin_verification) prepares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verification {
    /// Its producer.
    pub producer_id: ProducerId,
    /// The producer's epoch.
    pub producer_epoch: ProducerEpoch,
    /// Sequence of its first record.
    pub base_sequence: Sequence,
    /// Whether the producer's epoch rises with each transaction (`transaction.version` 2), so that
    /// an unknown one can only begin with sequence 0 (P-12).
    pub supports_epoch_bump: bool,
}

impl Verification {
    /// Of a producer whose epoch does not rise with each transaction.
    #[must_use]
    pub fn new(
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
        base_sequence: Sequence,
    ) -> Self {
        Self { producer_id, producer_epoch, base_sequence, supports_epoch_bump: false }
    }
}

/// A transaction that has records in the log and no marker yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenTransaction {
    /// Its producer.
    pub producer_id: ProducerId,
    /// The producer's epoch.
    pub producer_epoch: ProducerEpoch,
    /// Offset of its first record: read-committed readers wait there.
    pub first_offset: Offset,
    /// How long ago its first batch was appended, by the log's clock.
    pub age: Duration,
    /// How long ago its last batch was appended.
    pub idle: Duration,
}

/// What an append got; known as soon as [`Log::append`](super::Log::append) returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Appended {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Offset of the last record.
    pub last_offset: Offset,
    /// Whether this was a retry of a batch that is in the log already (P-5); nothing was written.
    pub duplicate: bool,
    /// The log's time, if it stamps its own; the stored batch's time for a duplicate; else −1.
    pub log_append_time_ms: i64,
    /// The log start offset at the append.
    pub log_start_offset: Offset,
}

/// Options of one read.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ReadOptions {
    /// Most bytes to return. Default 1 MiB.
    pub max_bytes: usize,
    /// Return the first batch even if it is larger than `max_bytes`. Default true.
    pub min_one_batch: bool,
    /// How far to see. Default [`Isolation::ReadUncommitted`].
    pub isolation: Isolation,
    /// Verify every batch's checksum. Default true; false for bytes that go to a reader who does.
    pub verify: bool,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            max_bytes: 1 << 20,
            min_one_batch: true,
            isolation: Isolation::ReadUncommitted,
            verify: true,
        }
    }
}

/// What a read returned.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReadOutcome {
    /// Whole batches, in order; each slice holds one or more. The first may begin before the offset
    /// asked for, when that lies inside a batch.
    pub slices: Vec<Bytes>,
    /// Where the next read should begin.
    pub next_offset: Offset,
    /// Log start offset.
    pub log_start_offset: Offset,
    /// High watermark.
    pub high_watermark: Offset,
    /// Last stable offset.
    pub last_stable_offset: Offset,
    /// For [`Isolation::ReadCommitted`]: aborted transactions, sorted by first offset, then
    /// producer (T-21b).
    pub aborted: Vec<AbortedTxn>,
}

/// Whole batches in a file that nobody will change again; it stays open as long as this lives.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FileRange {
    /// The file.
    pub file: Arc<dyn File>,
    /// Position of the first batch in it.
    pub position: u64,
    /// Bytes of all batches.
    pub len: usize,
    /// What a read would have said besides; without slices.
    pub outcome: ReadOutcome,
}

impl FileRange {
    /// The descriptor of the file, `None` where the storage has none.
    #[cfg(unix)]
    #[must_use]
    pub fn as_fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        self.file.as_fd()
    }
}

/// The bounds of a log at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogOffsets {
    /// First offset a reader may ask for.
    pub log_start_offset: Offset,
    /// Bound of what `ReadCommitted` readers see.
    pub last_stable_offset: Offset,
    /// Bound of what other readers see.
    pub high_watermark: Offset,
    /// Next offset to be assigned.
    pub log_end_offset: Offset,
}

/// A record found by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TimestampedOffset {
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp in ms.
    pub timestamp_ms: i64,
    /// The leader epoch of its batch.
    pub leader_epoch: LeaderEpoch,
}
