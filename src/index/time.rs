//! The time index: from which offset on a timestamp can first be met.
//!
//! An entry says that up to its offset no record is younger than its timestamp (D-33):
//!
//! ```text
//! timestamp: int64 | relative offset: int32        12 bytes, big-endian, strictly increasing times
//! ```
//!
//! The offset is the last one of the batch that carries the timestamp.

use super::{IndexDamage, absolute, positive, relative};
use crate::types::Offset;

/// Bytes of one entry.
const ENTRY_BYTES: usize = 12;

/// The timestamp of a batch that has none.
pub(super) const NO_TIMESTAMP: i64 = -1;

/// The time index of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TimeIndex {
    base: Offset,
    entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    timestamp: i64,
    relative: u32,
}

impl TimeIndex {
    /// The empty index of the segment at `base`.
    pub(crate) const fn new(base: Offset) -> Self {
        Self { base, entries: Vec::new() }
    }

    /// Adds that no record up to `offset` is younger than `timestamp`; whether it was added.
    ///
    /// It is not unless `timestamp` is above the last entry's, or above −1 in an empty index (D-34),
    /// nor if `offset` lies before the last entry's or does not fit 31 bits.
    pub(crate) fn maybe_append(&mut self, timestamp: i64, offset: Offset) -> bool {
        let Some(relative) = relative(self.base, offset) else {
            return false;
        };
        let entry = Entry { timestamp, relative };
        if !self.may_follow(entry) {
            return false;
        }
        self.entries.push(entry);
        true
    }

    /// The last entry whose timestamp is not above `timestamp`; without one, a search by time
    /// begins at the segment's base (D-36).
    ///
    /// # Complexity
    /// O(log n).
    pub(crate) fn lookup(&self, timestamp: i64) -> Option<(i64, Offset)> {
        let after = self.entries.partition_point(|entry| entry.timestamp <= timestamp);
        after.checked_sub(1).and_then(|i| self.entries.get(i)).map(|entry| self.at(*entry))
    }

    /// Removes the entries at and after `offset`.
    pub(crate) fn truncate_to(&mut self, offset: Offset) {
        let kept =
            self.entries.partition_point(|entry| absolute(self.base, entry.relative) < offset);
        self.entries.truncate(kept);
    }

    /// The last entry: timestamp and offset.
    pub(crate) fn last(&self) -> Option<(i64, Offset)> {
        self.entries.last().map(|entry| self.at(*entry))
    }

    /// Number of entries.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether a file of at most `max_bytes` has no room for another entry *and* the closing one
    /// (D-35).
    pub(crate) fn is_full(&self, max_bytes: u32) -> bool {
        let fit = usize::try_from(max_bytes).unwrap_or(usize::MAX) / ENTRY_BYTES;
        self.len() >= fit.saturating_sub(1)
    }

    /// The whole file.
    pub(crate) fn encode(&self) -> Vec<u8> {
        self.encode_from(0)
    }

    /// The file from entry `first` on: what is left to write when the file holds `first` entries.
    pub(crate) fn encode_from(&self, first: usize) -> Vec<u8> {
        let entries = self.entries.get(first..).unwrap_or_default();
        let mut bytes = Vec::with_capacity(entries.len().saturating_mul(ENTRY_BYTES));
        for entry in entries {
            bytes.extend(entry.timestamp.to_be_bytes());
            bytes.extend(entry.relative.to_be_bytes());
        }
        bytes
    }

    /// Reads the file of the segment that begins at `base` and ends before `end`.
    ///
    /// The zeroes that Kafka preallocates are dropped (D-35). One entry of zeroes may be real; to
    /// lose it only makes a search begin at the base, where it would have begun anyway.
    pub(crate) fn decode(base: Offset, bytes: &[u8], end: Offset) -> Result<Self, IndexDamage> {
        let (chunks, rest) = bytes.as_chunks::<ENTRY_BYTES>();
        if !rest.is_empty() {
            return Err(IndexDamage::Length { found: bytes.len(), entry: ENTRY_BYTES });
        }
        let used = chunks.iter().rposition(|chunk| *chunk != [0; ENTRY_BYTES]);
        let used = used.map_or(0, |last| last.saturating_add(1));
        let mut index = Self { base, entries: Vec::with_capacity(used) };
        for (number, chunk) in chunks.iter().take(used).enumerate() {
            let [a, b, c, d, e, f, g, h, i, j, k, l] = *chunk;
            let relative = positive([i, j, k, l])
                .filter(|relative| absolute(base, *relative) < end)
                .ok_or(IndexDamage::OutOfSegment { entry: number })?;
            let timestamp = i64::from_be_bytes([a, b, c, d, e, f, g, h]);
            let entry = Entry { timestamp, relative };
            if !index.may_follow(entry) {
                return Err(IndexDamage::Order { entry: number });
            }
            index.entries.push(entry);
        }
        Ok(index)
    }

    /// Whether `next` may stand at the end: times rise, offsets do not fall.
    fn may_follow(&self, next: Entry) -> bool {
        match self.entries.last() {
            None => next.timestamp > NO_TIMESTAMP,
            Some(last) => next.timestamp > last.timestamp && next.relative >= last.relative,
        }
    }

    fn at(&self, entry: Entry) -> (i64, Offset) {
        (entry.timestamp, absolute(self.base, entry.relative))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Offset = Offset::new(1000);
    const END: Offset = Offset::new(2000);

    fn index(entries: &[(i64, i64)]) -> TimeIndex {
        let mut index = TimeIndex::new(BASE);
        for (timestamp, offset) in entries {
            assert!(index.maybe_append(*timestamp, Offset::new(*offset)));
        }
        index
    }

    // D-36.
    #[test]
    fn lookup_finds_the_last_entry_not_younger_than_the_target() {
        let index = index(&[(10, 1001), (20, 1002), (30, 1007)]);
        assert_eq!(index.lookup(9), None);
        assert_eq!(index.lookup(i64::MIN), None);
        assert_eq!(index.lookup(10), Some((10, Offset::new(1001))));
        assert_eq!(index.lookup(29), Some((20, Offset::new(1002))));
        assert_eq!(index.lookup(i64::MAX), Some((30, Offset::new(1007))));
    }

    // D-34.
    #[test]
    fn only_a_younger_timestamp_gets_an_entry() {
        let mut index = index(&[(10, 1001)]);
        assert!(!index.maybe_append(10, Offset::new(1005)));
        assert!(!index.maybe_append(9, Offset::new(1005)));
        assert!(!index.maybe_append(11, Offset::new(1000)));
        assert!(!index.maybe_append(11, Offset::new(1000 + (1 << 31))));
        assert!(index.maybe_append(11, Offset::new(1005)));
        assert!(!TimeIndex::new(BASE).maybe_append(NO_TIMESTAMP, BASE));
        assert!(TimeIndex::new(BASE).maybe_append(0, BASE));
    }

    // D-33.
    #[test]
    fn the_file_is_timestamp_and_relative_offset_in_big_endian() {
        let index = index(&[(1_700_000_000_000, 1001), (1_700_000_000_005, 1258)]);
        let bytes = b"\x00\x00\x01\x8b\xcf\xe5\x68\x00\x00\x00\x00\x01\
                      \x00\x00\x01\x8b\xcf\xe5\x68\x05\x00\x00\x01\x02";
        assert_eq!(index.encode(), bytes);
        assert_eq!(index.encode_from(1), bytes[12..]);
        assert!(index.encode_from(2).is_empty() && index.encode_from(9).is_empty());
        assert_eq!(TimeIndex::decode(BASE, bytes, END), Ok(index));
    }

    // D-35.
    #[test]
    fn the_preallocated_tail_of_an_unclosed_index_is_dropped() {
        let index = index(&[(10, 1001)]);
        let mut bytes = index.encode();
        bytes.resize(10_485_756, 0);
        assert_eq!(TimeIndex::decode(BASE, &bytes, END), Ok(index));
    }

    #[test]
    fn damage_is_found_when_an_index_is_read() {
        let decode = |entries: &[(i64, u32)]| {
            let mut bytes = Vec::new();
            for (timestamp, relative) in entries {
                bytes.extend(timestamp.to_be_bytes());
                bytes.extend(relative.to_be_bytes());
            }
            TimeIndex::decode(BASE, &bytes, END)
        };
        assert_eq!(
            TimeIndex::decode(BASE, &[1; 13], END),
            Err(IndexDamage::Length { found: 13, entry: 12 })
        );
        assert_eq!(decode(&[(5, 1000)]), Err(IndexDamage::OutOfSegment { entry: 0 }));
        assert_eq!(decode(&[(5, 1 << 31)]), Err(IndexDamage::OutOfSegment { entry: 0 }));
        assert_eq!(decode(&[(-1, 3)]), Err(IndexDamage::Order { entry: 0 }));
        assert_eq!(decode(&[(5, 3), (5, 4)]), Err(IndexDamage::Order { entry: 1 }));
        assert_eq!(decode(&[(5, 3), (6, 2)]), Err(IndexDamage::Order { entry: 1 }));
        assert_eq!(decode(&[(5, 3), (0, 0), (6, 4)]), Err(IndexDamage::Order { entry: 1 }));
    }

    // R-16.
    #[test]
    fn truncation_removes_the_entries_at_and_after_the_offset() {
        let full = index(&[(10, 1001), (20, 1002), (30, 1007)]);
        for (target, left) in [(1008, 3), (1007, 2), (1003, 2), (1002, 1), (1000, 0)] {
            let mut index = full.clone();
            index.truncate_to(Offset::new(target));
            assert_eq!(index.len(), left, "{target}");
        }
    }

    // D-35.
    #[test]
    fn a_full_index_has_room_for_the_closing_entry() {
        let index = index(&[(10, 1001), (20, 1002)]);
        assert!(index.is_full(36) && index.is_full(47) && index.is_full(0));
        assert!(!index.is_full(48));
    }
}
