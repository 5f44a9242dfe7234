//! The state behind a log's handles: what is under its lock, and what is readable without it.

use super::tail::Tail;
use super::ticket::Frontier;
use super::wait::WaitList;
use crate::commit::Committer;
use crate::engine::{Shared, Space};
use crate::epoch::LeaderEpochCache;
use crate::error::{Error, ErrorKind, Result};
use crate::index::{AbortedEntry, AbortedIndex, SegmentIndexer};
use crate::io::{Clock, Storage};
use crate::options::{LogConfig, LogName, Retention};
use crate::producer::{CompletedTxn, ProducerLimits, ProducerTable};
use crate::segment::{Indexes, Segment};
use crate::types::{LeaderEpoch, Offset};
use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// One log. Handles are `Arc`s of it.
#[derive(Debug)]
pub(crate) struct LogInner {
    pub(super) name: LogName,
    pub(super) id: [u8; 16],
    pub(super) path: Arc<Path>,
    pub(super) shared: Arc<Shared>,
    pub(super) committer: Arc<Committer>,
    /// Free space of the data directory it lies in.
    pub(super) space: Arc<Space>,
    pub(super) state: Mutex<LogState>,
    /// Wakes the appends that a truncation holds off.
    pub(super) resumed: Condvar,
    /// Truncations under way, which hold appends off. Changes under the state's lock.
    pub(super) appends_held: AtomicU32,
    /// It is in the committer's queue.
    pub(super) queued: AtomicBool,
    /// Held by the one maintenance step under way.
    pub(super) maintenance: Mutex<()>,
    /// It is in the maintenance queue.
    pub(super) maintenance_queued: AtomicBool,
    /// How often it was truncated. Changes under the state's lock.
    truncations: AtomicU64,
    frontiers: [AtomicI64; 4],
    waiters: [WaitList; 4],
    failure: OnceLock<Error>,
}

/// Everything that changes under the log's lock. No I/O is done while it is held.
///
/// INV-FRONTIERS: `log_start ≤ high_watermark`, `durable_end ≤ written_end ≤ end`, and on a log
/// whose high watermark nobody sets, `high_watermark = durable_end`.
#[derive(Debug)]
pub(super) struct LogState {
    pub(super) config: Arc<LogConfig>,
    /// Every segment by base offset; the last is the active one's.
    pub(super) segments: Vec<Arc<Segment>>,
    pub(super) active: Active,
    /// Rolled, with bytes that are not durable yet; oldest first.
    pub(super) rolled: VecDeque<Active>,
    /// Durable to the last byte, to be sealed by maintenance.
    pub(super) to_seal: Vec<Arc<Segment>>,
    pub(super) log_start: Offset,
    /// The next offset to be assigned (log end offset).
    pub(super) end: Offset,
    pub(super) written_end: Offset,
    pub(super) durable_end: Offset,
    pub(super) high_watermark: Offset,
    /// A replicating embedder sets the high watermark itself.
    pub(super) manual_high_watermark: bool,
    pub(super) epochs: LeaderEpochCache,
    pub(super) producers: ProducerTable,
    /// Somebody waits for the next group to be flushed.
    pub(super) wants_durable: bool,
    /// Bytes of batches that no group has taken yet, as they count against the engine's budget.
    pub(super) staged_bytes: u64,
    /// Unreadable ranges, by first offset.
    pub(super) damaged: Vec<DamagedRange>,
    /// Kafka has compacted it once: offsets may be missing at the end of a segment, too.
    pub(super) has_gaps: bool,
    /// Where the last checkpoint that was written ends: restarts replay from here.
    pub(super) checkpointed_end: Offset,
    /// What retention may remove, as the last checkpoint keeps it with the log.
    pub(super) stored_retention: Option<Retention>,
    /// Bytes appended since the last checkpoint.
    pub(super) uncheckpointed_bytes: u64,
    /// What the files say as an orderly close leaves them, if they are so since the log was loaded.
    pub(super) stored: Option<Extent>,
    /// Producers as of the end of rolled segments, until those are sealed: the bytes of a state each.
    pub(super) rolled_states: VecDeque<(Offset, Vec<u8>)>,
    /// Removed segments whose files wait for their end, and when it comes; soonest first.
    pub(super) doomed: VecDeque<(Duration, Offset)>,
    /// Nothing is appended any more.
    pub(super) closing: bool,
    /// Nothing is read any more.
    pub(super) closed: bool,
}

/// What a data directory's checkpoints say of a log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Positions {
    pub(crate) first_base: Offset,
    pub(crate) log_start: Offset,
    pub(crate) high_watermark: Offset,
    /// What lies below needs no recovery: it is durable, and so are its indexes.
    pub(crate) recovery_point: Offset,
}

/// All that a log's files depend on: two that are equal, without a truncation in between, are of the same
/// files. Producers change with the log's end, or by going, which the next load repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    log_start: Offset,
    end: Offset,
    active_base: Offset,
    epochs: u32,
    retention: Retention,
}

impl Extent {
    pub(super) fn of(state: &LogState) -> Self {
        Self {
            log_start: state.log_start,
            end: state.end,
            active_base: state.active.segment.base(),
            epochs: crc32c::crc32c(&state.epochs.encode()),
            retention: state.config.retention(),
        }
    }
}

/// A range of offsets whose bytes are damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DamagedRange {
    pub(crate) first: Offset,
    pub(crate) next: Offset,
    /// Base offset of the segment it lies in.
    pub(crate) segment_base: Offset,
    /// Byte range within that segment's data file.
    pub(crate) position: u64,
    pub(crate) end_position: u64,
}

/// A segment that is being written.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) segment: Arc<Segment>,
    pub(super) tail: Tail,
    pub(super) indexer: SegmentIndexer,
    pub(super) aborted: AbortedIndex,
    pub(super) written: u64,
    pub(super) durable: u64,
    /// The file's blocks were written once up to here: writes below need no new metadata.
    pub(super) prepared: u64,
    /// Largest timestamp of the first batch, which starts the clock of a roll by time.
    pub(super) first_timestamp_ms: Option<i64>,
    pub(super) created_ms: i64,
}

impl Active {
    /// An active segment without a byte.
    pub(super) fn empty(segment: Arc<Segment>, interval_bytes: u32, created_ms: i64) -> Self {
        let base = segment.base();
        Self {
            segment,
            tail: Tail::new(0, Bytes::new()),
            indexer: SegmentIndexer::new(base, interval_bytes),
            aborted: AbortedIndex::new(base),
            written: 0,
            durable: 0,
            prepared: 0,
            first_timestamp_ms: None,
            created_ms,
        }
    }

    /// Bytes of batches in it.
    pub(super) fn size(&self) -> u64 {
        self.tail.end()
    }

    /// The largest record timestamp in it, −1 if there is none.
    pub(super) fn largest_timestamp_ms(&self) -> i64 {
        self.indexer.max_timestamp().map_or(-1, |(timestamp, _)| timestamp)
    }

    /// Indexes a transaction that was aborted.
    pub(super) fn note_aborted(&mut self, txn: &CompletedTxn) {
        let entry = AbortedEntry {
            producer_id: txn.producer_id,
            first_offset: txn.first_offset,
            last_offset: txn.last_offset,
            last_stable_offset: txn.last_stable_offset,
        };
        // Markers arrive in offset order and at or above the segment's base.
        self.aborted.append(entry).expect("INV-MARKER-ORDER: markers come in offset order");
    }

    /// Offset and time index as they stand.
    pub(super) fn indexes(&self) -> Indexes {
        Indexes {
            offsets: self.indexer.offsets().clone(),
            times: self.indexer.times().clone(),
            is_own: true,
        }
    }
}

/// What a log is made of when it was loaded or created.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) name: LogName,
    pub(super) id: [u8; 16],
    pub(super) path: Arc<Path>,
    pub(super) shared: Arc<Shared>,
    pub(super) committer: Arc<Committer>,
    pub(super) space: Arc<Space>,
    pub(super) state: LogState,
}

impl LogInner {
    pub(super) fn new(parts: Parts) -> Self {
        let state = &parts.state;
        let last_stable = state.producers.last_stable_offset(state.high_watermark, state.log_start);
        let frontiers = [state.written_end, state.durable_end, state.high_watermark, last_stable];
        Self {
            name: parts.name,
            id: parts.id,
            path: parts.path,
            shared: parts.shared,
            committer: parts.committer,
            space: parts.space,
            state: Mutex::new(parts.state),
            resumed: Condvar::new(),
            appends_held: AtomicU32::new(0),
            queued: AtomicBool::new(false),
            maintenance: Mutex::new(()),
            maintenance_queued: AtomicBool::new(false),
            truncations: AtomicU64::new(0),
            frontiers: frontiers.map(|offset| AtomicI64::new(offset.get())),
            waiters: Default::default(),
            failure: OnceLock::new(),
        }
    }

    pub(super) fn committer(&self) -> &Committer {
        &self.committer
    }

    pub(super) fn storage(&self) -> &Arc<dyn Storage> {
        &self.shared.io.storage
    }

    pub(super) fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.shared.io.clock)
    }

    pub(super) fn waiters(&self, frontier: Frontier) -> &WaitList {
        &self.waiters[frontier as usize]
    }

    /// A frontier without the lock. Exact for a waiter that registered before it looked.
    pub(super) fn frontier(&self, frontier: Frontier) -> Offset {
        Offset::new(self.frontiers[frontier as usize].load(Ordering::Acquire))
    }

    /// How often the log was truncated.
    pub(super) fn truncations(&self) -> u64 {
        self.truncations.load(Ordering::Acquire)
    }

    /// Ends the wait of every append from before a truncation. The state's lock is held, and the
    /// frontiers have not gone back yet.
    pub(super) fn note_truncation(&self) {
        self.truncations.fetch_add(1, Ordering::Release);
        self.waiters.iter().for_each(WaitList::wake_all);
    }

    /// Lets every reader that waits look again.
    pub(crate) fn wake_readers(&self) {
        let of_readers = [Frontier::HighWatermark, Frontier::LastStable];
        of_readers.into_iter().for_each(|frontier| self.waiters(frontier).wake_all());
    }

    /// Why the log refuses everything, if it does.
    pub(super) fn failure(&self) -> Option<Error> {
        self.failure.get().cloned()
    }

    /// Whether the log still works.
    pub(crate) fn is_alive(&self) -> bool {
        self.failure.get().is_none()
    }

    pub(super) fn check_alive(&self) -> Result<()> {
        self.failure().map_or(Ok(()), Err)
    }

    /// What the data directory's checkpoints say of it.
    pub(crate) fn positions(&self) -> Positions {
        let state = self.state.lock();
        Positions {
            first_base: state.segments.first().map_or(state.log_start, |first| first.base()),
            log_start: state.log_start,
            high_watermark: state.high_watermark,
            recovery_point: state.checkpointed_end.min(state.durable_end),
        }
    }

    /// Makes every call from now on fail with `error`, and every waiter learn of it.
    pub(crate) fn fail(&self, error: Error) {
        // The first failure is the one that explains the others.
        drop(self.failure.set(error));
        self.waiters.iter().for_each(WaitList::wake_all);
    }

    /// Poisons the log after a failed write or flush.
    pub(crate) fn poison(&self, what: &str, source: std::io::Error) {
        let context = format!("{}: {what}; reopen the log", self.name);
        self.fail(Error::with_source(ErrorKind::Poisoned, context, source));
    }

    /// Publishes the frontiers of `state` and wakes whom they satisfy. Called after every change,
    /// with the lock released or held: waking takes no lock of the log.
    pub(super) fn publish(&self, state: &LogState) {
        let last_stable = state.producers.last_stable_offset(state.high_watermark, state.log_start);
        let in_order = [state.durable_end, state.written_end, state.end].is_sorted()
            && [state.log_start, state.high_watermark, state.durable_end].is_sorted();
        debug_assert!(in_order, "INV-FRONTIERS");
        debug_assert!(
            state.log_start <= last_stable && last_stable <= state.high_watermark,
            "INV-LSO-LE-HW"
        );
        let values = [state.written_end, state.durable_end, state.high_watermark, last_stable];
        for (slot, value) in self.frontiers.iter().zip(values) {
            slot.store(value.get(), Ordering::Release);
        }
    }

    /// Wakes everyone whom the published frontiers satisfy.
    pub(super) fn wake_waiters(&self) {
        for (list, slot) in self.waiters.iter().zip(&self.frontiers) {
            list.advance(Offset::new(slot.load(Ordering::Acquire)));
        }
    }

    /// Puts the log into the commit queue, once.
    pub(super) fn enqueue(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.committer.enqueue(self);
        }
    }

    /// Asks maintenance to look after this log, once.
    pub(super) fn request_maintenance(self: &Arc<Self>) {
        if !self.maintenance_queued.swap(true, Ordering::AcqRel) {
            self.shared.maintenance.enqueue(self);
        }
    }

    pub(super) fn limits(shared: &Shared, config: &LogConfig) -> ProducerLimits {
        let options = &shared.options;
        let mut limits =
            ProducerLimits::new(options.producers_max, config.producer_id_expiration_ms);
        limits.verification_required = config.transaction_verification;
        #[cfg(any(test, feature = "test-util"))]
        {
            limits.planted = options.planted.producer();
        }
        limits
    }
}

impl LogState {
    /// The current leader epoch.
    pub(super) fn leader_epoch(&self) -> LeaderEpoch {
        self.epochs.latest().unwrap_or(LeaderEpoch::NONE)
    }

    pub(super) fn last_stable_offset(&self) -> Offset {
        self.producers.last_stable_offset(self.high_watermark, self.log_start)
    }

    /// The segment that holds `offset`, or the last one.
    pub(super) fn segment_for(&self, offset: Offset) -> usize {
        self.segments.partition_point(|s| s.base() <= offset).saturating_sub(1)
    }

    /// The damage that covers `offset`, if any.
    pub(super) fn damage_at(&self, offset: Offset) -> Option<DamagedRange> {
        let index = self.damaged.partition_point(|d| d.next <= offset);
        self.damaged.get(index).copied().filter(|d| d.first <= offset)
    }

    /// The position in the segment at `base` behind the last damage before `offset`, and the offset
    /// that begins there.
    pub(super) fn undamaged_from(&self, base: Offset, offset: Offset) -> (u64, Offset) {
        let before = self.damaged.partition_point(|d| d.next <= offset);
        let last = self.damaged.get(..before).and_then(<[_]>::last);
        let last = last.filter(|d| d.segment_base == base);
        last.map_or((0, base), |d| (d.end_position, d.next))
    }

    /// Whether writing down all producers costs little beside the segment that is rolled.
    pub(super) fn is_state_small(&self) -> bool {
        let bytes = self.producers.len() as u64 * 256;
        bytes <= (self.active.size() / 8).max(64 << 10)
    }

    /// Moves the high watermark, never back.
    pub(super) fn advance_high_watermark(&mut self, to: Offset) {
        if to > self.high_watermark {
            self.high_watermark = to;
            self.producers.on_high_watermark(to);
        }
    }
}
