//! The offset index: where in the segment to begin looking for an offset.
//!
//! An entry names a batch by its **last** offset and the position of its **first** byte (D-26):
//!
//! ```text
//! relative offset: int32 | position: int32          8 bytes, big-endian, strictly increasing offsets
//! ```

use super::{IndexDamage, POSITIVE_MAX, absolute, positive, relative};
use crate::types::Offset;

/// Bytes of one entry.
const ENTRY_BYTES: usize = 8;

/// The offset index of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OffsetIndex {
    base: Offset,
    entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    relative: u32,
    position: u32,
}

impl OffsetIndex {
    /// The empty index of the segment at `base`.
    pub(crate) const fn new(base: Offset) -> Self {
        Self { base, entries: Vec::new() }
    }

    /// Adds the batch that ends with `last_offset` and begins at `position`; whether it was added.
    ///
    /// It is not if it does not follow the last entry (D-28) or does not fit 31 bits.
    pub(crate) fn maybe_append(&mut self, last_offset: Offset, position: u32) -> bool {
        let Some(relative) = relative(self.base, last_offset) else {
            return false;
        };
        let entry = Entry { relative, position };
        if position > POSITIVE_MAX || !self.entries.last().is_none_or(|last| follows(*last, entry))
        {
            return false;
        }
        self.entries.push(entry);
        true
    }

    /// The last entry at or before `target`: its offset and its batch's position. Without one, the
    /// start of the segment (D-29).
    ///
    /// # Complexity
    /// O(log n).
    pub(crate) fn lookup(&self, target: Offset) -> (Offset, u32) {
        let after = self.count_below(target.next());
        let found = after.checked_sub(1).and_then(|i| self.entries.get(i));
        found.map_or((self.base, 0), |entry| self.at(*entry))
    }

    /// Removes the entries at and after `offset`.
    pub(crate) fn truncate_to(&mut self, offset: Offset) {
        let kept = self.count_below(offset);
        self.entries.truncate(kept);
    }

    /// The last entry: offset and position.
    pub(crate) fn last(&self) -> Option<(Offset, u32)> {
        self.entries.last().map(|entry| self.at(*entry))
    }

    /// Base offset of the segment.
    pub(crate) const fn base(&self) -> Offset {
        self.base
    }

    /// Number of entries.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether a file of at most `max_bytes` has no room for another entry (A-51).
    pub(crate) fn is_full(&self, max_bytes: u32) -> bool {
        self.len() >= entries_max(max_bytes)
    }

    /// The whole file.
    pub(crate) fn encode(&self) -> Vec<u8> {
        self.encode_from(0)
    }

    /// The file from entry `first` on: what is left to write when the file holds `first` entries.
    pub(crate) fn encode_from(&self, first: usize) -> Vec<u8> {
        let entries = self.entries.get(first..).unwrap_or_default();
        entries
            .iter()
            .flat_map(|e| [e.relative.to_be_bytes(), e.position.to_be_bytes()])
            .flatten()
            .collect()
    }

    /// Reads the file of the segment at `base` whose log has `log_len` bytes.
    ///
    /// Kafka gives the index of an active segment its full length at once, in zeroes, and a kill
    /// leaves them (D-30, D-31). They are dropped: an entry of zeroes says no more than no entry.
    pub(crate) fn decode(base: Offset, bytes: &[u8], log_len: u64) -> Result<Self, IndexDamage> {
        let (chunks, rest) = bytes.as_chunks::<ENTRY_BYTES>();
        if !rest.is_empty() {
            return Err(IndexDamage::Length { found: bytes.len(), entry: ENTRY_BYTES });
        }
        let used = chunks.iter().rposition(|chunk| *chunk != [0; ENTRY_BYTES]);
        let used = used.map_or(0, |last| last.saturating_add(1));
        let mut index = Self { base, entries: Vec::with_capacity(used) };
        for (number, chunk) in chunks.iter().take(used).enumerate() {
            let [a, b, c, d, e, f, g, h] = *chunk;
            let entry = positive([a, b, c, d])
                .zip(positive([e, f, g, h]))
                .map(|(relative, position)| Entry { relative, position })
                .filter(|entry| u64::from(entry.position) < log_len)
                .ok_or(IndexDamage::OutOfSegment { entry: number })?;
            if !index.entries.last().is_none_or(|last| follows(*last, entry)) {
                return Err(IndexDamage::Order { entry: number });
            }
            index.entries.push(entry);
        }
        Ok(index)
    }

    /// Number of entries before `offset`.
    fn count_below(&self, offset: Offset) -> usize {
        self.entries.partition_point(|entry| absolute(self.base, entry.relative) < offset)
    }

    fn at(&self, entry: Entry) -> (Offset, u32) {
        (absolute(self.base, entry.relative), entry.position)
    }
}

/// Whether `next` may stand after `last`: offsets rise, positions do not fall.
fn follows(last: Entry, next: Entry) -> bool {
    next.relative > last.relative && next.position >= last.position
}

/// Entries that fit a file of `max_bytes`.
fn entries_max(max_bytes: u32) -> usize {
    usize::try_from(max_bytes).unwrap_or(usize::MAX) / ENTRY_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Offset = Offset::new(1000);

    fn index(entries: &[(i64, u32)]) -> OffsetIndex {
        let mut index = OffsetIndex::new(BASE);
        for (offset, position) in entries {
            assert!(index.maybe_append(Offset::new(*offset), *position));
        }
        index
    }

    fn found(index: &OffsetIndex, target: i64) -> (i64, u32) {
        let (offset, position) = index.lookup(Offset::new(target));
        (offset.get(), position)
    }

    // D-29.
    #[test]
    fn lookup_finds_the_last_entry_at_or_before_the_target() {
        let index = index(&[(1009, 5000), (1020, 9500), (1021, 15_000)]);
        assert_eq!(found(&index, 999), (1000, 0));
        assert_eq!(found(&index, i64::MIN), (1000, 0));
        assert_eq!(found(&index, 1008), (1000, 0));
        assert_eq!(found(&index, 1009), (1009, 5000));
        assert_eq!(found(&index, 1019), (1009, 5000));
        assert_eq!(found(&index, 1020), (1020, 9500));
        assert_eq!(found(&index, i64::MAX), (1021, 15_000));
    }

    // D-28, A-50b.
    #[test]
    fn an_entry_that_does_not_follow_or_fit_is_left_out() {
        let mut index = index(&[(1009, 5000)]);
        assert!(!index.maybe_append(Offset::new(1009), 6000));
        assert!(!index.maybe_append(Offset::new(1008), 6000));
        assert!(!index.maybe_append(Offset::new(1010), 4999));
        assert!(!index.maybe_append(Offset::new(1010), 1 << 31));
        assert!(!index.maybe_append(Offset::new(1000 + (1 << 31)), 6000));
        assert!(!index.maybe_append(Offset::new(i64::MIN), 6000));
        assert_eq!(index.len(), 1);
        assert!(index.maybe_append(Offset::new(1000 + i64::from(i32::MAX)), POSITIVE_MAX));
        assert_eq!(index.last(), Some((Offset::new(1000 + i64::from(i32::MAX)), POSITIVE_MAX)));
    }

    // D-26.
    #[test]
    fn the_file_is_relative_offset_and_position_in_big_endian() {
        let index = index(&[(1009, 5000), (1020, 9500)]);
        let bytes = b"\x00\x00\x00\x09\x00\x00\x13\x88\x00\x00\x00\x14\x00\x00\x25\x1c";
        assert_eq!(index.encode(), bytes);
        assert_eq!(index.encode_from(1), bytes[8..]);
        assert!(index.encode_from(2).is_empty() && index.encode_from(3).is_empty());
        assert_eq!(OffsetIndex::decode(BASE, bytes, 9501), Ok(index));
    }

    // D-30, D-31.
    #[test]
    fn the_preallocated_tail_of_an_unclosed_index_is_dropped() {
        let index = index(&[(1009, 5000)]);
        let mut bytes = index.encode();
        bytes.resize(10_485_760, 0);
        assert_eq!(OffsetIndex::decode(BASE, &bytes, 5001), Ok(index));
        assert_eq!(OffsetIndex::decode(BASE, &[0; 800], 0), Ok(OffsetIndex::new(BASE)));
    }

    #[test]
    fn damage_is_found_when_an_index_is_read() {
        let decode = |entries: &[[u32; 2]]| {
            let bytes: Vec<u8> = entries.iter().flatten().flat_map(|n| n.to_be_bytes()).collect();
            OffsetIndex::decode(BASE, &bytes, 100)
        };
        assert_eq!(
            OffsetIndex::decode(BASE, &[1; 15], 100),
            Err(IndexDamage::Length { found: 15, entry: 8 })
        );
        assert_eq!(decode(&[[9, 100]]), Err(IndexDamage::OutOfSegment { entry: 0 }));
        assert_eq!(decode(&[[9, 50], [1 << 31, 60]]), Err(IndexDamage::OutOfSegment { entry: 1 }));
        assert_eq!(decode(&[[9, 1 << 31]]), Err(IndexDamage::OutOfSegment { entry: 0 }));
        assert_eq!(decode(&[[9, 50], [9, 60]]), Err(IndexDamage::Order { entry: 1 }));
        assert_eq!(decode(&[[9, 50], [10, 49]]), Err(IndexDamage::Order { entry: 1 }));
        assert_eq!(decode(&[[9, 50], [0, 0], [10, 60]]), Err(IndexDamage::Order { entry: 1 }));
    }

    // R-16.
    #[test]
    fn truncation_removes_the_entries_at_and_after_the_offset() {
        let full = index(&[(1009, 5000), (1020, 9500), (1021, 15_000)]);
        for (target, left) in [(1022, 3), (1021, 2), (1020, 1), (1010, 1), (1009, 0), (0, 0)] {
            let mut index = full.clone();
            index.truncate_to(Offset::new(target));
            assert_eq!(index.len(), left, "{target}");
        }
    }

    // A-51.
    #[test]
    fn an_index_is_full_when_no_whole_entry_fits() {
        let index = index(&[(1009, 5000), (1020, 9500)]);
        assert!(index.is_full(16) && index.is_full(23) && index.is_full(0));
        assert!(!index.is_full(24));
    }
}
