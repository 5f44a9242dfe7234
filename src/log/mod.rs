//! One log: the handle an embedder holds, and what stands behind it.
//!
//! | file | owns |
//! |---|---|
//! | `inner` | the state under the lock, the frontiers beside it |
//! | `append` | checks, admission, staging |
//! | `tail` | staged and recent bytes in memory |
//! | `group` | the log's part in a commit group |
//! | `ticket`, `wait` | who waits, and how they are woken |
//! | `read`, `cut`, `reader` | where bytes are found; how they are cut; batch by batch |
//! | `aborted`, `times` | aborted transactions of a range; records by their time |
//! | `transactions` | open transactions, verification of new ones |
//! | `recover` | from files to state |
//! | `txn` | the log's part in transactions over several logs |
//! | `maintain` | sealing, checkpoints, trimming, truncation, clean close |
//! | `replicated` | a high watermark that an embedder sets |
//! | `retain`, `idle` | what retention removes; when it would of a log that is not loaded |

mod aborted;
mod api;
mod append;
mod cut;
mod group;
mod idle;
mod inner;
mod maintain;
mod read;
mod reader;
pub(crate) mod recover;
mod replicated;
mod retain;
mod tail;
mod ticket;
mod times;
mod transactions;
mod truncate;
mod txn;
mod wait;

pub use api::{
    AppendOptions, Appended, FileRange, Isolation, LogOffsets, OpenTransaction, ReadOptions,
    ReadOutcome, TimestampedOffset, Verification,
};
pub(crate) use idle::retention_due_ms;
pub(crate) use inner::{LogInner, Positions};
pub use reader::{BatchReader, BlockingBatches, CommittedFilter, StoredBatch};
pub use recover::RecoveryReport;
pub use ticket::{AppendTicket, WaitFor};
pub(crate) use txn::DurableWait;

use crate::error::{Error, ErrorKind, Result};
use crate::options::{LogConfig, LogName};
use crate::producer::{ProducerDescription, VerificationGuard};
use crate::types::{LeaderEpoch, Offset};
use std::fmt;
use std::sync::Arc;

/// A log. Cheap to clone and to send; all clones are one log.
#[derive(Clone)]
pub struct Log {
    inner: Arc<LogInner>,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("name", &self.inner.name).finish_non_exhaustive()
    }
}

impl Log {
    pub(crate) fn new(inner: Arc<LogInner>) -> Self {
        Self { inner }
    }

    pub(crate) fn inner(&self) -> &Arc<LogInner> {
        &self.inner
    }

    /// Appends the one batch in `batch` (for [`Origin::Follower`](crate::Origin::Follower), one or more): checks it, gives it
    /// offsets and queues it for the disk. Uses the CPU only; the ticket says when it is there. It stands
    /// back for a [truncation](Log::truncate_to) of this log, and waits for nothing else.
    ///
    /// A retry of a batch that is in the log already is a success with the original offsets.
    ///
    /// # Errors
    /// Nothing was appended if this returns an error.
    /// - [`ErrorKind::CorruptBatch`], [`ErrorKind::InvalidBatch`], [`ErrorKind::InvalidTimestamp`],
    ///   [`ErrorKind::BatchTooLarge`], [`ErrorKind::LargerThanSegment`],
    ///   [`ErrorKind::UnsupportedCompression`]: the batch is at fault.
    ///   Producer ids from 2^62 upward are the engine's own ([`Transaction`](crate::Transaction)), and
    ///   nobody else's: [`ErrorKind::InvalidBatch`].
    /// - [`ErrorKind::OutOfOrderSequence`], [`ErrorKind::InvalidProducerEpoch`],
    ///   [`ErrorKind::InvalidTxnState`], [`ErrorKind::CoordinatorFenced`],
    ///   [`ErrorKind::TooManyProducers`]: the producer's state forbids it.
    /// - [`ErrorKind::Busy`], [`ErrorKind::DiskFull`]: try again later.
    /// - [`ErrorKind::Poisoned`], [`ErrorKind::Closed`]: open the engine again.
    ///
    /// # Complexity
    /// O(size of the batch), for its checksum and one copy.
    pub fn append(&self, batch: &[u8], options: &AppendOptions) -> Result<AppendTicket> {
        self.inner.append(batch, options)
    }

    /// Reads whole batches from `offset` on; none if the reader may not see any there yet.
    ///
    /// The first batch may begin before `offset`, when that lies inside it. Damage behind the first
    /// batch returned ends the answer before it; the next read meets it.
    ///
    /// # Errors
    /// - [`ErrorKind::OutOfRange`]: outside log start offset to log end offset, which the kind carries.
    /// - [`ErrorKind::Corrupt`]: the bytes at `offset` are damaged; reading can go on at `next`.
    /// - [`ErrorKind::Io`]: see the source; out of descriptors, for one, it can be tried again.
    /// - [`ErrorKind::Closed`]: the log was closed or deleted. A poisoned log can be read.
    ///
    /// # Complexity
    /// O(log n) to find the place, then the bytes returned.
    pub fn read(&self, offset: Offset, options: &ReadOptions) -> Result<ReadOutcome> {
        self.inner.read(offset, options)
    }

    /// Reads like [`Log::read`] if the answer is in memory: what was appended last, or that there is
    /// nothing to see yet. `None` if the disk has to be asked: then read, on a thread that may wait.
    ///
    /// # Errors
    /// As [`Log::read`].
    ///
    /// # Complexity
    /// As [`Log::read`], without I/O.
    pub fn read_resident(
        &self,
        offset: Offset,
        options: &ReadOptions,
    ) -> Result<Option<ReadOutcome>> {
        self.inner.read_resident(offset, options)
    }

    /// Where in a file [`Log::read`] would find the same batches, for a caller that hands them to a
    /// socket with `sendfile` and never looks at them. `None` if they lie in no sealed segment, or there
    /// is nothing to see yet: then read.
    ///
    /// Sealed files never change, and the range keeps its file open: it stays valid after retention,
    /// truncation or deletion of the log. With [`ReadOptions::verify`] every batch's checksum is
    /// verified here; without it only headers are looked at.
    ///
    /// # Errors
    /// As [`Log::read`].
    ///
    /// # Complexity
    /// As [`Log::read`]; without verifying, O(batches).
    pub fn read_file_range(
        &self,
        offset: Offset,
        options: &ReadOptions,
    ) -> Result<Option<FileRange>> {
        self.inner.read_file_range(offset, options)
    }

    /// Reads batch by batch from `from` on, leaving out what a reader of `isolation` must not see: as
    /// an iterator, as a stream, or following the log's end on a thread.
    #[must_use]
    pub fn batches(&self, from: Offset, isolation: Isolation) -> BatchReader {
        BatchReader::new(self.clone(), from, isolation)
    }

    /// Resolves when the bound of `isolation` is greater than `offset`, so that a read there finds
    /// something. No thread and no timer is used.
    #[must_use]
    pub fn wait_for(&self, offset: Offset, isolation: Isolation) -> WaitFor {
        WaitFor::new(&self.inner, offset, isolation)
    }

    /// The log's bounds now.
    #[must_use]
    pub fn offsets(&self) -> LogOffsets {
        let state = self.inner.state.lock();
        LogOffsets {
            log_start_offset: state.log_start,
            last_stable_offset: state.last_stable_offset(),
            high_watermark: state.high_watermark,
            log_end_offset: state.end,
        }
    }

    /// The log's name.
    #[must_use]
    pub fn name(&self) -> &LogName {
        &self.inner.name
    }

    /// The 16-byte id of its topic.
    #[must_use]
    pub fn id(&self) -> [u8; 16] {
        self.inner.id
    }

    /// Current configuration.
    #[must_use]
    pub fn config(&self) -> LogConfig {
        LogConfig::clone(&self.inner.state.lock().config)
    }

    /// Replaces the configuration, for appends and maintenance from now on.
    ///
    /// What retention may remove (`retention_ms`, `retention_bytes`, or nothing with a policy of
    /// compaction alone) is remembered with the log, durably when this returns. The rest is not stored:
    /// after the next load of the log it is [`EngineOptions::log`](crate::EngineOptions::log) again, unless
    /// [`Engine::open_log`](crate::Engine::open_log) sets it. Waits for the disk if it changes retention.
    ///
    /// # Errors
    /// - [`ErrorKind::Invalid`], naming the field and its bounds; nothing was changed.
    /// - What storing the retention met, which is in force nevertheless until the log is loaded again.
    pub fn set_config(&self, config: LogConfig) -> Result<()> {
        config.validate()?;
        let mut state = self.inner.state.lock();
        state.producers.set_limits(LogInner::limits(&self.inner.shared, &config));
        state.active.indexer.set_interval_bytes(config.index_interval_bytes);
        state.config = Arc::new(config);
        drop(state);
        self.inner.store_retention()
    }

    /// The first record at or after `timestamp_ms` that a reader of `isolation` may see.
    ///
    /// # Errors
    /// As [`Log::read`], but for [`ErrorKind::OutOfRange`].
    ///
    /// # Complexity
    /// O(segments + log entries), then the batches between two index entries.
    pub fn offset_for_timestamp(
        &self,
        timestamp_ms: i64,
        isolation: Isolation,
    ) -> Result<Option<TimestampedOffset>> {
        self.inner.offset_for_timestamp(timestamp_ms, isolation)
    }

    /// The record with the largest timestamp, the first one if several have it; as in Kafka, it may be
    /// the marker of a transaction.
    ///
    /// # Errors
    /// As [`Log::read`], but for [`ErrorKind::OutOfRange`].
    ///
    /// # Complexity
    /// O(segments), then the batches between two index entries.
    pub fn offset_of_max_timestamp(&self) -> Result<Option<TimestampedOffset>> {
        self.inner.offset_of_max_timestamp()
    }

    /// The current leader epoch, [`LeaderEpoch::NONE`] if none was ever assigned.
    #[must_use]
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.inner.state.lock().leader_epoch()
    }

    /// Begins a new leader epoch at the log end offset. Durable when this returns.
    ///
    /// # Errors
    /// - [`ErrorKind::FencedLeaderEpoch`]: it is not above the current one. Nothing was changed.
    /// - [`ErrorKind::DiskFull`], [`ErrorKind::Io`]: it has begun, and may not be durable; begin a higher
    ///   one.
    /// - [`ErrorKind::Poisoned`], [`ErrorKind::Closed`]: open the engine again.
    pub fn begin_leader_epoch(&self, epoch: LeaderEpoch) -> Result<()> {
        self.inner.begin_leader_epoch(epoch)
    }

    /// The largest known epoch not above `epoch`, and where it ends.
    ///
    /// # Complexity
    /// O(log of epochs).
    #[must_use]
    pub fn end_offset_for_epoch(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        let state = self.inner.state.lock();
        state.epochs.end_offset_for(epoch, state.end)
    }

    /// Raises the log start offset to `offset`; durable when this returns. What lies before
    /// it can no longer be read, and maintenance removes whole segments of it. Returns the log start
    /// offset, which is higher if it was already.
    ///
    /// # Errors
    /// - [`ErrorKind::Invalid`]: the offset is negative.
    /// - [`ErrorKind::OutOfRange`]: it is above the high watermark. Nothing was changed.
    /// - [`ErrorKind::DiskFull`], [`ErrorKind::Io`]: nothing was changed; see the source, try again.
    /// - [`ErrorKind::Poisoned`], [`ErrorKind::Closed`]: open the engine again.
    ///
    /// # Complexity
    /// O(logs of the data directory): a small file is replaced and flushed.
    pub fn trim_before(&self, offset: Offset) -> Result<Offset> {
        self.check_not_negative(offset)?;
        self.inner.trim_before(offset)
    }

    /// Removes every batch that reaches `offset` or beyond, acknowledged or not. The log
    /// then ends where the last batch left ends, at `offset` or, if it cut a batch, before it. Before
    /// the first batch of the log it begins at `offset` anew, without producers.
    /// At or behind the log's end nothing happens. Durable when this returns.
    ///
    /// Appends stand back meanwhile: [`Log::append`] blocks until the cut is done. Tickets of appends
    /// from before end with [`ErrorKind::Truncated`], unless they had been looked at.
    ///
    /// # Errors
    /// - [`ErrorKind::Invalid`]: the offset is negative.
    /// - [`ErrorKind::Busy`]: a [`Transaction`](crate::Transaction) that appended to this log is open;
    ///   end it and try again. Also if the disk takes longer than a second to flush what was staged, and
    ///   an append came in meanwhile: try again.
    /// - [`ErrorKind::DiskFull`], [`ErrorKind::Io`]: nothing was cut; see the source, try again.
    /// - [`ErrorKind::Poisoned`]: the log had failed, or its files could be cut half-way only. Open the
    ///   engine again. [`ErrorKind::Closed`]: likewise.
    ///
    /// # Complexity
    /// Waits for what is staged to be flushed and for commits under way; then the segment that is cut is
    /// written anew, and the log is loaded from its last checkpoint before the cut.
    pub fn truncate_to(&self, offset: Offset) -> Result<()> {
        self.check_not_negative(offset)?;
        let transactions = self.inner.shared.transactions();
        // What decisions say of this log must not matter any more when its end is gone.
        let _settled = transactions.as_ref().map(|t| t.settle()).transpose()?;
        self.inner.truncate_to(offset)?;
        // The state that remembered it may have gone.
        self.inner.store_retention()
    }

    /// Truncates to where `epoch` ended in a leader's log: what a follower does before it
    /// copies. Returns the log end offset.
    ///
    /// # Errors
    /// As [`Log::truncate_to`]; [`ErrorKind::UnknownLeaderEpoch`] if no such epoch is known.
    pub fn truncate_to_epoch(&self, epoch: LeaderEpoch) -> Result<Offset> {
        let Some((_, end)) = self.end_offset_for_epoch(epoch) else {
            let context = format!("{} knows no epoch up to {epoch}", self.inner.name);
            return Err(Error::new(ErrorKind::UnknownLeaderEpoch, context));
        };
        self.truncate_to(end)?;
        Ok(self.offsets().log_end_offset)
    }

    fn check_not_negative(&self, offset: Offset) -> Result<()> {
        if offset >= Offset::ZERO {
            return Ok(());
        }
        let context = format!("{}: offset {offset} is outside 0..={}", self.inner.name, i64::MAX);
        Err(Error::new(ErrorKind::Invalid, context))
    }

    /// Completes the active segment, so that everything appended so far can be sealed, mapped and
    /// removed by retention. Does nothing on an empty one.
    pub fn roll(&self) {
        self.inner.force_roll();
    }

    /// Sets the high watermark of a log that somebody replicates: readers see what is below it, and
    /// it no longer follows the durable end by itself. It is capped at the durable end and never
    /// moves back.
    ///
    /// The first call makes the log a replicated one for good, durably when it returns: call it before
    /// the first append, with offset 0. From then on the high watermark never moves but by this call, not
    /// at an open either. It is stored in Kafka's `replication-offset-checkpoint` with every tick and at
    /// the close, and the log opens with what was stored last, which may lie below what was set: like
    /// Kafka, it would rather show less than what may be lost. So set it again before serving readers.
    ///
    /// # Errors
    /// Only of a first call: [`ErrorKind::Io`] and what else keeps it from being durable. The log then
    /// follows the durable end as before.
    pub fn set_high_watermark(&self, offset: Offset) -> Result<()> {
        self.inner.set_high_watermark(offset)
    }

    /// Bytes of batches in all segments.
    ///
    /// # Complexity
    /// O(segments).
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.inner.state.lock().size_bytes()
    }

    /// Base offsets and sizes of the segments, oldest first; the last is active.
    ///
    /// # Complexity
    /// O(segments).
    #[must_use]
    pub fn segments(&self) -> Vec<(Offset, u64)> {
        let state = self.inner.state.lock();
        let (active, sealed) =
            state.segments.split_last().map_or((None, &[][..]), |(a, s)| (Some(a), s));
        let sealed = sealed.iter().map(|s| (s.base(), s.size()));
        sealed.chain(active.map(|a| (a.base(), state.active.size()))).collect()
    }

    /// Live producers (C-49).
    ///
    /// # Complexity
    /// O(producers), under the log's lock.
    #[must_use]
    pub fn producers(&self) -> Vec<ProducerDescription> {
        self.inner.state.lock().producers.describe()
    }

    /// Transactions without a marker, the oldest first. One that is much older than its producer's
    /// timeout was forgotten by its coordinator, and holds read-committed readers back until a
    /// marker ends it (C-52).
    ///
    /// # Complexity
    /// O(open transactions).
    #[must_use]
    pub fn open_transactions(&self) -> Vec<OpenTransaction> {
        self.inner.open_transactions()
    }

    /// Prepares the first batch of a transaction (P-20 to P-23): call it, ask the transaction
    /// coordinator whether the transaction is under way, then append with the guard. A marker that
    /// arrives in between voids the guard, and the append fails with [`ErrorKind::InvalidTxnState`]
    /// instead of opening a transaction again that has ended. `None` if a transaction of this
    /// producer and epoch is open already: nothing to ask.
    ///
    /// Guards are not stored: after a restart the producer is verified again. A log without
    /// [`LogConfig::transaction_verification`] needs none.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidProducerEpoch`] if a newer incarnation is known;
    /// [`ErrorKind::ConcurrentTransactions`] if an older one's transaction awaits its marker: retry.
    pub fn begin_verification(&self, of: &Verification) -> Result<Option<VerificationGuard>> {
        self.inner.begin_verification(of)
    }

    /// Applies retention now: raises the log start offset past segments that are too old or too
    /// many, removes their files, forgets producers whose time has come. [`Engine::tick`] does it
    /// for every open log.
    ///
    /// [`Engine::tick`]: crate::Engine::tick
    ///
    /// # Errors
    /// - [`ErrorKind::DiskFull`], [`ErrorKind::Io`]: see the source; what could not be removed goes with
    ///   the next call.
    /// - [`ErrorKind::Poisoned`], [`ErrorKind::Closed`]: open the engine again.
    ///
    /// # Complexity
    /// O(segments + producers), and the I/O of what is removed.
    pub fn retain(&self) -> Result<()> {
        self.inner.retain()
    }
}
