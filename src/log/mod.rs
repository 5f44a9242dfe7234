//! One log: the handle an embedder holds.

use crate::error::{Error, ErrorKind, Result};
use crate::options::{Durability, LogConfig, LogName};
use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence};
use bytes::Bytes;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// Who appends, which decides the rules that apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Origin {
    /// A producer: every rule of sections A and P holds.
    #[default]
    Client,
    /// A coordinator of groups or transactions: markers allowed, sequences not checked.
    Coordinator,
    /// A follower copying its leader: offsets and epochs are in the batches already.
    Follower,
}

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
}

/// What an append got; known as soon as [`Log::append`] returns.
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

/// An append under way. Await it on any executor, or [`wait`](Self::wait) on a thread. Dropping it
/// never cancels the append.
#[derive(Debug)]
#[must_use = "an append is acknowledged only when its ticket resolves"]
pub struct AppendTicket {}

impl AppendTicket {
    /// The offsets given; not yet an acknowledgement.
    #[must_use]
    pub fn appended(&self) -> Appended {
        Appended {
            base_offset: Offset::ZERO,
            last_offset: Offset::ZERO,
            duplicate: false,
            log_append_time_ms: -1,
            log_start_offset: Offset::ZERO,
        }
    }

    /// Blocks until the append is acknowledged at its durability.
    ///
    /// # Errors
    /// [`ErrorKind::Poisoned`] if the write or flush failed: whether the batch will be there after
    /// a reopen is unknown.
    pub fn wait(self) -> Result<Appended> {
        skeleton()
    }
}

impl Future for AppendTicket {
    type Output = Result<Appended>;
    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(skeleton())
    }
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
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            max_bytes: 1 << 20,
            min_one_batch: true,
            isolation: Isolation::ReadUncommitted,
        }
    }
}

/// An aborted transaction that overlaps what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct AbortedTxn {
    /// First offset of the transaction.
    pub first_offset: Offset,
    /// Its producer.
    pub producer_id: ProducerId,
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

/// A producer as [`Log::producers`] shows it (C-49).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProducerDescription {
    /// Id.
    pub producer_id: ProducerId,
    /// Epoch.
    pub producer_epoch: ProducerEpoch,
    /// Last sequence, −1 if no batch is remembered.
    pub last_sequence: Sequence,
    /// Time of the last batch or marker, in ms.
    pub last_timestamp_ms: i64,
    /// Epoch of the coordinator that wrote the last marker, −1 if none.
    pub coordinator_epoch: i32,
    /// First offset of the open transaction, if one is open.
    pub txn_first_offset: Option<Offset>,
}

/// Resolves when a reader's bound passes an offset.
#[derive(Debug)]
pub struct WaitFor {}

impl WaitFor {
    /// Blocks for at most `timeout`; whether the bound was passed.
    ///
    /// # Errors
    /// [`ErrorKind::Poisoned`] or [`ErrorKind::Closed`].
    pub fn wait(self, _timeout: Duration) -> Result<bool> {
        skeleton()
    }
}

impl Future for WaitFor {
    type Output = Result<()>;
    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Pending
    }
}

fn skeleton<T>() -> Result<T> {
    Err(Error::new(ErrorKind::Closed, "skeleton"))
}

/// A log. Cheap to clone and to send; all clones are one log.
#[derive(Clone, Debug)]
pub struct Log {}

impl Log {
    /// Appends the one batch in `batch` (several, for a follower). Uses the CPU only.
    ///
    /// # Errors
    /// See [`ErrorKind`]: nothing was appended.
    pub fn append(&self, _batch: &[u8], _options: &AppendOptions) -> Result<AppendTicket> {
        skeleton()
    }

    /// Reads whole batches from `offset` on.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfRange`], [`ErrorKind::Corrupt`], [`ErrorKind::Io`].
    pub fn read(&self, _offset: Offset, _options: &ReadOptions) -> Result<ReadOutcome> {
        skeleton()
    }

    /// Resolves when the bound of `isolation` is greater than `offset`.
    #[must_use]
    pub fn wait_for(&self, _offset: Offset, _isolation: Isolation) -> WaitFor {
        WaitFor {}
    }

    /// The log's bounds now.
    #[must_use]
    pub fn offsets(&self) -> LogOffsets {
        LogOffsets {
            log_start_offset: Offset::ZERO,
            last_stable_offset: Offset::ZERO,
            high_watermark: Offset::ZERO,
            log_end_offset: Offset::ZERO,
        }
    }

    /// The log's name.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn name(&self) -> LogName {
        LogName::new("skeleton", 0).expect("a legal name")
    }

    /// Current configuration.
    #[must_use]
    pub fn config(&self) -> LogConfig {
        LogConfig::default()
    }

    /// Replaces the configuration, for appends and maintenance from now on.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`].
    pub fn set_config(&self, _config: LogConfig) -> Result<()> {
        skeleton()
    }

    /// The first record at or after `timestamp_ms` that a reader of `isolation` may see.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`], [`ErrorKind::Io`].
    pub fn offset_for_timestamp(
        &self,
        _timestamp_ms: i64,
        _isolation: Isolation,
    ) -> Result<Option<TimestampedOffset>> {
        skeleton()
    }

    /// The record with the largest timestamp.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`], [`ErrorKind::Io`].
    pub fn offset_of_max_timestamp(&self) -> Result<Option<TimestampedOffset>> {
        skeleton()
    }

    /// The current leader epoch, [`LeaderEpoch::NONE`] if none was ever assigned.
    #[must_use]
    pub fn leader_epoch(&self) -> LeaderEpoch {
        LeaderEpoch::NONE
    }

    /// Begins a new leader epoch at the log end offset. Durable when this returns.
    ///
    /// # Errors
    /// [`ErrorKind::FencedLeaderEpoch`] if it is not above the current one; [`ErrorKind::Io`].
    pub fn begin_leader_epoch(&self, _epoch: LeaderEpoch) -> Result<()> {
        skeleton()
    }

    /// The largest known epoch not above `epoch`, and where it ends.
    #[must_use]
    pub fn end_offset_for_epoch(&self, _epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        None
    }

    /// Raises the log start offset; durable when this returns. Returns the new start.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfRange`] above the high watermark.
    pub fn trim_before(&self, _offset: Offset) -> Result<Offset> {
        skeleton()
    }

    /// Removes everything from `offset` on, even what was acknowledged.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    pub fn truncate_to(&self, _offset: Offset) -> Result<()> {
        skeleton()
    }

    /// Bytes of all segments.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        0
    }

    /// Live producers.
    #[must_use]
    pub fn producers(&self) -> Vec<ProducerDescription> {
        Vec::new()
    }
}
