//! When a segment's indexes get an entry: the one implementation, for append and for recovery.
//!
//! An offset entry falls due once more than `index_interval_bytes` of batches lie behind the last
//! one, tested before the batch itself is counted: so the first batch of a segment has none (D-27).
//! With it goes a time entry, if the greatest timestamp rose since the last (D-34). Closing a segment
//! adds a last time entry, so that the file ends with the segment's greatest timestamp.
//!
//! Nothing but the two indexes need be kept for a restart: right after an offset entry was added,
//! zero bytes lie behind it and the time index ends with the greatest timestamp. So replaying the
//! batches from [`SegmentIndexer::resume_position`] leads to the state of an indexer that never
//! stopped.

use super::time::NO_TIMESTAMP;
use super::{OffsetIndex, TimeIndex};
use crate::types::Offset;

/// Builds the offset index and the time index of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentIndexer {
    offsets: OffsetIndex,
    times: TimeIndex,
    interval_bytes: u32,
    bytes_since_entry: u64,
    max_timestamp: i64,
    max_timestamp_offset: Offset,
    /// All batches were observed: the greatest timestamp is theirs, and not what a file said.
    saw_all: bool,
}

impl SegmentIndexer {
    /// The indexer of an empty segment at `base`.
    pub(crate) const fn new(base: Offset, interval_bytes: u32) -> Self {
        Self {
            offsets: OffsetIndex::new(base),
            times: TimeIndex::new(base),
            interval_bytes,
            bytes_since_entry: 0,
            max_timestamp: NO_TIMESTAMP,
            max_timestamp_offset: base,
            saw_all: true,
        }
    }

    /// The indexer of a segment whose index files were read. The caller then observes every batch
    /// from [`Self::resume_position`] on, again or for the first time.
    pub(crate) fn resume(offsets: OffsetIndex, times: TimeIndex, interval_bytes: u32) -> Self {
        let base = offsets.base();
        let saw_all = offsets.last().is_none() && times.last().is_none();
        let mut indexer = Self { offsets, times, saw_all, ..Self::new(base, interval_bytes) };
        indexer.restart();
        indexer
    }

    /// As if it had seen all batches itself.
    #[cfg(test)]
    pub(super) fn confirmed(self) -> Self {
        Self { saw_all: true, ..self }
    }

    /// Where the batch of the last offset entry begins; 0 without one.
    pub(crate) fn resume_position(&self) -> u32 {
        self.offsets.last().map_or(0, |(_, position)| position)
    }

    /// Takes note of the next batch: `size` bytes at `position`, its last offset, and its greatest
    /// timestamp (−1 if it has none).
    pub(crate) fn observe(
        &mut self,
        position: u32,
        size: u32,
        last_offset: Offset,
        max_timestamp: i64,
    ) {
        if max_timestamp > self.max_timestamp {
            self.max_timestamp = max_timestamp;
            self.max_timestamp_offset = last_offset;
        }
        if self.bytes_since_entry > u64::from(self.interval_bytes)
            && self.offsets.maybe_append(last_offset, position)
        {
            self.times.maybe_append(self.max_timestamp, self.max_timestamp_offset);
            self.bytes_since_entry = 0;
        }
        self.bytes_since_entry = self.bytes_since_entry.saturating_add(u64::from(size));
    }

    /// Adds the closing time entry, at a roll or a clean close (D-34). Repeating it adds nothing,
    /// and appending may go on after it.
    pub(crate) fn close(&mut self) {
        self.times.maybe_append(self.max_timestamp, self.max_timestamp_offset);
    }

    /// The offset index so far.
    pub(crate) const fn offsets(&self) -> &OffsetIndex {
        &self.offsets
    }

    /// The time index so far.
    pub(crate) const fn times(&self) -> &TimeIndex {
        &self.times
    }

    /// The greatest timestamp, and the last offset of the first batch that carries it.
    pub(crate) fn max_timestamp(&self) -> Option<(i64, Offset)> {
        (self.max_timestamp > NO_TIMESTAMP)
            .then_some((self.max_timestamp, self.max_timestamp_offset))
    }

    /// Whether the greatest timestamp is certainly the batches' own. Retention removes nothing on the
    /// word of a file that has no checksum.
    pub(crate) const fn is_max_timestamp_confirmed(&self) -> bool {
        self.saw_all
    }

    /// Whether an index of at most `index_bytes_max` has no room left, so that the segment must be
    /// rolled before its next batch.
    pub(crate) fn is_full(&self, index_bytes_max: u32) -> bool {
        self.offsets.is_full(index_bytes_max) || self.times.is_full(index_bytes_max)
    }

    /// Changes the interval, for the batches from now on.
    pub(crate) const fn set_interval_bytes(&mut self, interval_bytes: u32) {
        self.interval_bytes = interval_bytes;
    }

    /// The state right after the last offset entry was added.
    fn restart(&mut self) {
        self.bytes_since_entry = 0;
        let none = (NO_TIMESTAMP, self.offsets.base());
        (self.max_timestamp, self.max_timestamp_offset) = self.times.last().unwrap_or(none);
    }
}
