//! Transactions that hold readers back: open ones, and ended ones not yet replicated (T-1).
//!
//! The last stable offset must not pass a marker that a new leader might not have, so an ended
//! transaction stays *unreplicated* until the high watermark is above its marker (T-6). Both sets
//! are ordered by first offset; the second also by marker, so that a moving high watermark costs
//! only what it releases.

use super::state::UnreplicatedTxn;
use crate::types::{Offset, ProducerId};
use std::collections::BTreeSet;

/// A transaction that a marker just ended; an aborted one becomes an entry of the aborted index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CompletedTxn {
    pub(crate) producer_id: ProducerId,
    pub(crate) first_offset: Offset,
    /// Offset of the marker.
    pub(crate) last_offset: Offset,
    pub(crate) aborted: bool,
    /// The first offset of the earliest other open transaction, else the one after the marker.
    /// Neither unreplicated transactions nor the high watermark count here (T-9).
    pub(crate) last_stable_offset: Offset,
}

#[derive(Debug, Default)]
pub(super) struct TxnTracker {
    /// First offset and producer.
    ongoing: BTreeSet<(Offset, ProducerId)>,
    /// First offset and marker offset, of ended transactions.
    ended: BTreeSet<(Offset, Offset)>,
    /// The same, marker offset first.
    ended_by_marker: BTreeSet<(Offset, Offset)>,
}

impl TxnTracker {
    pub(super) fn open(&mut self, first_offset: Offset, producer_id: ProducerId) {
        self.ongoing.insert((first_offset, producer_id));
    }

    pub(super) fn complete(
        &mut self,
        producer_id: ProducerId,
        first_offset: Offset,
        marker: Offset,
        aborted: bool,
    ) -> CompletedTxn {
        self.ongoing.remove(&(first_offset, producer_id));
        self.restore_unreplicated(UnreplicatedTxn { first_offset, marker_offset: marker });
        let last_stable_offset = self.ongoing.first().map_or_else(|| marker.next(), |txn| txn.0);
        CompletedTxn { producer_id, first_offset, last_offset: marker, aborted, last_stable_offset }
    }

    pub(super) fn restore_unreplicated(&mut self, txn: UnreplicatedTxn) {
        self.ended.insert((txn.first_offset, txn.marker_offset));
        self.ended_by_marker.insert((txn.marker_offset, txn.first_offset));
    }

    /// T-3.
    pub(super) fn first_unstable_offset(&self) -> Option<Offset> {
        let open = self.ongoing.first().map(|txn| txn.0);
        let ended = self.ended.first().map(|txn| txn.0);
        open.into_iter().chain(ended).min()
    }

    /// Drops ended transactions whose marker lies below `offset` (T-2).
    pub(super) fn drop_ended_before(&mut self, offset: Offset) {
        while let Some(&(marker, first)) = self.ended_by_marker.first() {
            if marker >= offset {
                break;
            }
            self.ended_by_marker.pop_first();
            self.ended.remove(&(first, marker));
        }
    }

    /// First offset and producer of each open transaction, by first offset.
    pub(super) fn ongoing(&self) -> impl Iterator<Item = (Offset, ProducerId)> {
        self.ongoing.iter().copied()
    }

    pub(super) fn unreplicated(&self) -> impl ExactSizeIterator<Item = UnreplicatedTxn> {
        let txn = |&(first_offset, marker_offset)| UnreplicatedTxn { first_offset, marker_offset };
        self.ended.iter().map(txn)
    }
}
