//! What a log remembers of its idempotent and transactional producers.
//!
//! One idea (INV-APPLY-PURE): the table is a pure function of the batches applied to it, in order.
//! [`admit`] decides about a batch and changes nothing; [`apply`] changes and cannot fail. A leader
//! calls both, a follower and a replay after a crash only the second, so all three arrive at the
//! same table.
//!
//! ```text
//! ProducerTable ─┬─ Entries            producer id → epoch, five recent batches, open transaction
//!                │                     idle producers in a list, longest unused first
//!                ├─ TxnTracker         open transactions by first offset; ended ones until the
//!                │                     high watermark passes their marker
//!                └─ Verifications      guards handed out before a first transactional append
//! ```
//!
//! An append costs a few hash look-ups and, inside transactions, a few `O(log n)` steps; nothing
//! walks all producers. The module does no I/O and reads no clock: times are arguments.
//!
//! [`admit`]: ProducerTable::admit
//! [`apply`]: ProducerTable::apply

mod admit;
mod cursor;
mod entries;
mod entry;
pub(crate) mod reserved;
pub(crate) mod snapshot;
pub(crate) mod state;
#[cfg(test)]
mod tests;
mod txn;
mod verification;

pub use entry::ProducerDescription;
pub(crate) use txn::CompletedTxn;
pub use verification::VerificationGuard;
pub(crate) use verification::{VerificationRefused, VerificationRequest};

use crate::index::AbortedSum;
use crate::types::{Offset, ProducerEpoch, ProducerId, Sequence};
use entries::Entries;
use entry::{CachedBatch, ProducerEntry, TxnStart};
use snapshot::SnapshotDamage;
use state::{StateError, UnreplicatedTxn};
use txn::TxnTracker;
use verification::Verifications;

/// What the producer rules need to know of a batch; offsets as they will be assigned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchFacts {
    pub(crate) base_offset: Offset,
    pub(crate) last_offset: Offset,
    pub(crate) base_sequence: Sequence,
    pub(crate) last_sequence: Sequence,
    pub(crate) last_offset_delta: i32,
    pub(crate) producer_id: ProducerId,
    pub(crate) producer_epoch: ProducerEpoch,
    pub(crate) transactional: bool,
    pub(crate) control: ControlKind,
    pub(crate) max_timestamp_ms: i64,
}

/// Whether a batch is data, and if not, what it controls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ControlKind {
    /// A data batch.
    None,
    /// A control batch whose record compaction removed; ignored entirely (P-19).
    Empty,
    /// The end of a transaction.
    Marker {
        commit: bool,
        coordinator_epoch: i32,
        /// Whether the request that carries the marker asks for an epoch above the producer's
        /// (P-19d). Not in the batch's bytes, so false on replay, where nothing is checked.
        epoch_must_rise: bool,
    },
    /// Any other control batch; of no concern to producers.
    Other,
}

/// What becomes of a batch that broke no rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Append it.
    Accept,
    /// It is in the log already, here (P-5): answer success, append nothing.
    Duplicate { base_offset: Offset, last_offset: Offset, timestamp_ms: i64 },
}

/// A transaction that has data in the log and no marker yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenTxn {
    pub(crate) producer_id: ProducerId,
    pub(crate) producer_epoch: ProducerEpoch,
    pub(crate) first_offset: Offset,
    /// When its first batch was appended, by the log's clock.
    pub(crate) started_ms: i64,
    /// When its last batch was appended, by the log's clock.
    pub(crate) last_used_ms: i64,
}

/// Bounds of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProducerLimits {
    /// Most producers remembered. Replayed transactions that are all open may exceed it: forgetting
    /// one would show readers what they must not see.
    pub(crate) producers_max: usize,
    /// Unused for this long, a producer whose data is gone may be forgotten.
    pub(crate) expiration_ms: i64,
    /// Whether a first transactional append needs a guard (P-14, P-20).
    pub(crate) verification_required: bool,
    #[cfg(any(test, feature = "test-util"))]
    pub(crate) planted: Planted,
}

/// Bugs that a test can switch on, to prove that the suite would notice them.
#[cfg(any(test, feature = "test-util"))]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Planted {
    /// Remembers four batches per producer instead of five (P-1).
    pub(crate) four_cached_batches: bool,
    /// Lets read-committed readers see the first batch of an open transaction (T-5).
    pub(crate) lso_off_by_one: bool,
    /// Refuses a marker that repeats the last one (P-19c).
    pub(crate) markers_not_idempotent: bool,
}

impl ProducerLimits {
    /// Limits without verification.
    pub(crate) fn new(producers_max: usize, expiration_ms: i64) -> Self {
        Self {
            producers_max,
            expiration_ms,
            verification_required: false,
            #[cfg(any(test, feature = "test-util"))]
            planted: Planted::default(),
        }
    }

    fn cached_batches(&self) -> usize {
        #[cfg(any(test, feature = "test-util"))]
        if self.planted.four_cached_batches {
            return entry::CACHED_BATCHES_MAX - 1;
        }
        entry::CACHED_BATCHES_MAX
    }
}

/// The moment at which a stored table comes back, which decides what of it is still of use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RestoreAt {
    pub(crate) now_ms: i64,
    pub(crate) log_start: Offset,
}

/// All producers of one log.
#[derive(Debug)]
pub(crate) struct ProducerTable {
    limits: ProducerLimits,
    entries: Entries,
    txns: TxnTracker,
    verifications: Verifications,
}

impl ProducerTable {
    /// An empty table.
    pub(crate) fn new(limits: ProducerLimits) -> Self {
        Self {
            limits,
            entries: Entries::default(),
            txns: TxnTracker::default(),
            verifications: Verifications::default(),
        }
    }

    /// A table from the bytes of a Kafka snapshot, which hold one batch per producer (D-44).
    pub(crate) fn restore_snapshot(
        limits: ProducerLimits,
        bytes: &[u8],
        at: RestoreAt,
    ) -> Result<Self, SnapshotDamage> {
        let mut stored = snapshot::decode(bytes)?;
        // The file's order means nothing; the order of use is that of the last offsets.
        stored.sort_by_key(|entry| (entry.last_used_offset, entry.producer_id));
        let mut table = Self::new(limits);
        for (index, entry) in stored.into_iter().enumerate() {
            table.restore_entry(index, entry, at)?;
        }
        Ok(table)
    }

    /// A table from the bytes of our sidecar, the offset up to which it has seen the log, and what
    /// vouches for the log's transaction indexes.
    pub(crate) fn restore_state(
        limits: ProducerLimits,
        bytes: &[u8],
        at: RestoreAt,
    ) -> Result<(Self, Offset, Vec<AbortedSum>), StateError> {
        let decoded = state::decode(bytes)?;
        let mut table = Self::new(limits);
        for txn in decoded.unreplicated {
            table.txns.restore_unreplicated(txn);
        }
        for (index, entry) in decoded.producers.enumerate() {
            table.restore_entry(index, entry?, at)?;
        }
        Ok((table, decoded.map_end_offset, decoded.sums))
    }

    fn restore_entry(
        &mut self,
        index: usize,
        stored: ProducerEntry,
        at: RestoreAt,
    ) -> Result<(), SnapshotDamage> {
        if self.entries.get(stored.producer_id).is_some() {
            return Err(SnapshotDamage::Entry { index, reason: "a producer listed twice" });
        }
        if self.is_forgettable(&stored, at.now_ms, at.log_start) {
            return Ok(());
        }
        if let Some(txn) = stored.txn {
            self.txns.open(txn.first_offset, stored.producer_id);
        }
        self.entries.update(stored.producer_id, self.limits.producers_max, |entry| {
            *entry = stored;
        });
        Ok(())
    }

    /// Replaces the limits, for batches from now on.
    pub(crate) fn set_limits(&mut self, limits: ProducerLimits) {
        self.limits = limits;
    }

    /// Forgets everything; outstanding guards become void.
    pub(crate) fn clear(&mut self) {
        self.entries = Entries::default();
        self.txns = TxnTracker::default();
        self.verifications.clear();
    }

    /// Records a batch that is now part of the log, and the transaction that it ended, if any.
    ///
    /// Never fails: on a leader [`admit`](Self::admit) came before, under the same lock; what a
    /// follower copies or a replay finds is history (P-18).
    pub(crate) fn apply(
        &mut self,
        facts: &BatchFacts,
        append_time_ms: i64,
    ) -> Option<CompletedTxn> {
        if !facts.producer_id.is_some() {
            return None;
        }
        match facts.control {
            ControlKind::None => {
                self.apply_data(facts, append_time_ms);
                None
            }
            ControlKind::Marker { commit, coordinator_epoch, .. } => {
                self.apply_marker(facts, append_time_ms, commit, coordinator_epoch)
            }
            ControlKind::Empty | ControlKind::Other => None,
        }
    }

    fn apply_data(&mut self, facts: &BatchFacts, append_time_ms: i64) {
        let cached_max = self.limits.cached_batches();
        let mut opened = false;
        self.entries.update(facts.producer_id, self.limits.producers_max, |entry| {
            entry.enter_epoch(facts.producer_epoch);
            entry.batches.push(CachedBatch::of(facts), cached_max);
            entry.touch(facts.last_offset, facts.max_timestamp_ms, append_time_ms);
            if facts.transactional && entry.txn.is_none() {
                let first_offset = facts.base_offset;
                entry.txn = Some(TxnStart { first_offset, started_ms: append_time_ms });
                opened = true;
            }
        });
        if opened {
            self.txns.open(facts.base_offset, facts.producer_id);
        }
        if facts.transactional {
            self.verifications.remove(facts.producer_id);
        }
    }

    fn apply_marker(
        &mut self,
        facts: &BatchFacts,
        append_time_ms: i64,
        commit: bool,
        coordinator_epoch: i32,
    ) -> Option<CompletedTxn> {
        let mut ended = None;
        self.entries.update(facts.producer_id, self.limits.producers_max, |entry| {
            entry.enter_epoch(facts.producer_epoch);
            entry.coordinator_epoch = coordinator_epoch;
            entry.touch(facts.last_offset, facts.max_timestamp_ms, append_time_ms);
            ended = entry.txn.take();
        });
        self.verifications.remove(facts.producer_id);
        let first_offset = ended?.first_offset;
        Some(self.txns.complete(facts.producer_id, first_offset, facts.last_offset, !commit))
    }

    /// The first offset that read-committed readers may not pass, if any (T-3).
    pub(crate) fn first_unstable_offset(&self) -> Option<Offset> {
        self.txns.first_unstable_offset()
    }

    /// The bound of read-committed readers: `log_start ≤ it ≤ high_watermark` (T-4, T-5).
    pub(crate) fn last_stable_offset(&self, high_watermark: Offset, log_start: Offset) -> Offset {
        let Some(first_unstable) = self.first_unstable_offset() else {
            return high_watermark;
        };
        #[cfg(any(test, feature = "test-util"))]
        let first_unstable =
            if self.limits.planted.lso_off_by_one { first_unstable.next() } else { first_unstable };
        first_unstable.max(log_start).min(high_watermark)
    }

    /// Lets go of ended transactions whose marker is now replicated (T-2).
    pub(crate) fn on_high_watermark(&mut self, high_watermark: Offset) {
        self.txns.drop_ended_before(high_watermark);
    }

    /// Lets go of ended transactions whose marker is no longer in the log (P-35). Open ones stay:
    /// their marker is still to come (S-26).
    pub(crate) fn on_log_start(&mut self, log_start: Offset) {
        self.txns.drop_ended_before(log_start);
    }

    /// Open transactions, by first offset.
    pub(crate) fn open_transactions(&self) -> impl Iterator<Item = OpenTxn> {
        self.txns.ongoing().filter_map(|(first_offset, producer_id)| {
            let entry = self.entries.get(producer_id)?;
            Some(OpenTxn {
                producer_id,
                producer_epoch: entry.producer_epoch,
                first_offset,
                started_ms: entry.txn?.started_ms,
                last_used_ms: entry.last_used_ms,
            })
        })
    }

    /// Every producer, longest unused first, then those with an open transaction.
    pub(crate) fn describe(&self) -> Vec<ProducerDescription> {
        self.stored_order().map(ProducerEntry::describe).collect()
    }

    /// How many producers are remembered.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Forgets producers unused for the expiration time whose last batch or marker is no longer in
    /// the log, and says how many. Costs what it forgets.
    ///
    /// Kafka expires by record time alone (P-27), so a client whose clock is wrong loses its
    /// duplicate detection while its batches are still there; here a replay of the log never knows
    /// more than the table did.
    pub(crate) fn expire(&mut self, now_ms: i64, log_start: Offset) -> usize {
        self.verifications.expire(now_ms, self.limits.expiration_ms);
        let mut forgotten = 0;
        // Last uses ascend along the list, in offset and (unless the clock jumped) in time.
        while let Some(oldest) = self.entries.longest_unused() {
            if !self.is_forgettable(oldest, now_ms, log_start) {
                break;
            }
            self.entries.evict_longest_unused();
            forgotten += 1;
        }
        forgotten
    }

    fn is_forgettable(&self, entry: &ProducerEntry, now_ms: i64, log_start: Offset) -> bool {
        let idle_ms = now_ms.saturating_sub(entry.last_used_ms);
        entry.txn.is_none()
            && idle_ms >= self.limits.expiration_ms
            && entry.last_used_offset < log_start
    }

    /// Entries in the order in which a stored table lists them: inserting them again in that order
    /// restores the order of eviction too.
    fn stored_order(&self) -> impl Iterator<Item = &ProducerEntry> {
        let open = self.txns.ongoing().filter_map(|(_, id)| self.entries.get(id));
        self.entries.idle().chain(open)
    }

    fn unreplicated(&self) -> impl ExactSizeIterator<Item = UnreplicatedTxn> {
        self.txns.unreplicated()
    }

    /// Prepares a producer's first append to a new transaction (P-20, P-21).
    ///
    /// The caller asks the transaction coordinator next, then appends with the guard; a marker that
    /// arrives in between voids it, so that a late append cannot reopen an ended transaction.
    pub(crate) fn create_guard(
        &mut self,
        request: &VerificationRequest,
    ) -> Result<VerificationGuard, VerificationRefused> {
        if let Some(entry) = self.entries.get(request.producer_id) {
            if entry.producer_epoch > request.producer_epoch {
                return Err(VerificationRefused::StaleEpoch {
                    current: entry.producer_epoch,
                    found: request.producer_epoch,
                });
            }
            if entry.txn.is_some() {
                return if entry.producer_epoch == request.producer_epoch {
                    Ok(VerificationGuard::NOT_NEEDED)
                } else {
                    Err(VerificationRefused::OlderTxnOpen)
                };
            }
        }
        self.verifications.create(request, self.limits.producers_max)
    }
}
