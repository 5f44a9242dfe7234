//! One producer: its epoch, its recent batches, its open transaction (P-1).

use super::BatchFacts;
use crate::types::{Offset, ProducerEpoch, ProducerId, Sequence};

/// Batches remembered per producer; clients keep at most as many in flight (P-4).
pub(super) const CACHED_BATCHES_MAX: usize = 5;

/// Everything remembered of one producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProducerEntry {
    pub(super) producer_id: ProducerId,
    pub(super) batches: CachedBatches,
    pub(super) txn: Option<TxnStart>,
    /// Largest record time of the last batch, or the time of the last marker.
    pub(super) last_timestamp_ms: i64,
    /// When the last batch or marker was appended, by the log's clock.
    pub(super) last_used_ms: i64,
    /// Last offset of the last batch or marker.
    pub(super) last_used_offset: Offset,
    pub(super) coordinator_epoch: i32,
    pub(super) producer_epoch: ProducerEpoch,
}

/// A producer as [`Log::producers`](crate::Log::producers) shows it (C-49).
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

/// Where and when an open transaction began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TxnStart {
    pub(super) first_offset: Offset,
    pub(super) started_ms: i64,
}

impl ProducerEntry {
    pub(super) fn new(producer_id: ProducerId) -> Self {
        Self {
            producer_id,
            batches: CachedBatches::default(),
            txn: None,
            last_timestamp_ms: -1,
            last_used_ms: -1,
            last_used_offset: Offset::new(-1),
            coordinator_epoch: -1,
            producer_epoch: ProducerEpoch::NONE,
        }
    }

    /// Batches of another epoch are not comparable: they go (P-3, P-16).
    pub(super) fn enter_epoch(&mut self, epoch: ProducerEpoch) {
        if self.producer_epoch != epoch {
            self.batches = CachedBatches::default();
            self.producer_epoch = epoch;
        }
    }

    pub(super) fn touch(&mut self, last_offset: Offset, timestamp_ms: i64, append_time_ms: i64) {
        self.last_timestamp_ms = timestamp_ms;
        self.last_used_ms = append_time_ms;
        self.last_used_offset = last_offset;
    }

    /// The sequence of the last record, −1 if no batch of this epoch is remembered.
    pub(super) fn last_sequence(&self) -> Sequence {
        self.batches.newest().map_or(Sequence::NONE, |batch| batch.last_sequence)
    }

    pub(super) fn describe(&self) -> ProducerDescription {
        ProducerDescription {
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
            last_sequence: self.last_sequence(),
            last_timestamp_ms: self.last_timestamp_ms,
            coordinator_epoch: self.coordinator_epoch,
            txn_first_offset: self.txn.map(|txn| txn.first_offset),
        }
    }
}

/// A batch as a retry of it would be recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct CachedBatch {
    pub(super) last_offset: Offset,
    pub(super) timestamp_ms: i64,
    pub(super) last_sequence: Sequence,
    /// Never negative.
    pub(super) offset_delta: i32,
}

impl CachedBatch {
    pub(super) fn of(facts: &BatchFacts) -> Self {
        Self {
            last_offset: facts.last_offset,
            timestamp_ms: facts.max_timestamp_ms,
            last_sequence: facts.last_sequence,
            offset_delta: facts.last_offset_delta.max(0),
        }
    }

    /// P-2; a coordinator's batch has no sequences.
    pub(super) fn base_sequence(&self) -> Sequence {
        if self.last_sequence.get() < 0 {
            return Sequence::NONE;
        }
        self.last_sequence.retreat(self.offset_delta)
    }

    /// P-2.
    pub(super) fn base_offset(&self) -> Offset {
        Offset::new(self.last_offset.get().saturating_sub(i64::from(self.offset_delta)))
    }

    /// Whether a batch read from a file can have been in a log.
    pub(super) fn is_plausible(&self) -> bool {
        self.offset_delta >= 0
            && self.base_offset().get() >= 0
            && self.last_sequence >= Sequence::NONE
    }
}

/// The last few batches, oldest first, kept in place: a million producers are one allocation.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CachedBatches {
    slots: [CachedBatch; CACHED_BATCHES_MAX],
    len: u8,
}

impl CachedBatches {
    pub(super) fn as_slice(&self) -> &[CachedBatch] {
        self.slots.get(..usize::from(self.len)).unwrap_or_default()
    }

    pub(super) fn newest(&self) -> Option<&CachedBatch> {
        self.as_slice().last()
    }

    /// Adds the newest batch; of `max` already there the oldest goes.
    pub(super) fn push(&mut self, batch: CachedBatch, max: usize) {
        let max = max.clamp(1, CACHED_BATCHES_MAX);
        let mut len = usize::from(self.len);
        if len >= max {
            self.slots.copy_within(1..len, 0);
            len -= 1;
        }
        self.slots[len] = batch;
        self.len += u8::from(len == usize::from(self.len));
    }
}

impl PartialEq for CachedBatches {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for CachedBatches {}
