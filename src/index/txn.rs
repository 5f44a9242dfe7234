//! The aborted transactions whose marker lies in a segment, in marker order.
//!
//! ```text
//! version: int16 = 0 | producer id: int64 | first offset: int64 | last offset: int64
//! | last stable offset: int64                                     34 bytes, big-endian (D-38)
//! ```
//!
//! There is no checksum in it, and a wrong entry hides records or shows them. So an [`AbortedSum`] of
//! it is kept where a checksum guards it (`.state`), and a file that no sum vouches for is not used.
//!
//! The last offset is the marker's own and rises from entry to entry. The first offsets are in no
//! order, and one old open transaction can hold the last stable offset down over a million entries;
//! so both are searched through their [`Minima`], and a read costs what it finds.

use super::IndexDamage;
use super::minima::Minima;
use crate::types::{Offset, ProducerId};

/// Bytes of one entry.
const ENTRY_BYTES: usize = 34;

/// The only version there is.
const VERSION: i16 = 0;

/// An aborted transaction that overlaps what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct AbortedTxn {
    /// First offset of the transaction.
    pub first_offset: Offset,
    /// Its producer.
    pub producer_id: ProducerId,
}

/// One aborted transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AbortedEntry {
    /// Its producer.
    pub(crate) producer_id: ProducerId,
    /// Offset of its first record, maybe in an earlier segment.
    pub(crate) first_offset: Offset,
    /// Offset of its marker.
    pub(crate) last_offset: Offset,
    /// The last stable offset right after the marker (T-9): no transaction that was completed later
    /// begins before it.
    pub(crate) last_stable_offset: Offset,
}

/// What the file of one segment must begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AbortedSum {
    /// Base offset of the segment.
    pub(crate) base: Offset,
    pub(crate) entries: u32,
    /// CRC-32C of that many entries.
    pub(crate) checksum: u32,
}

impl AbortedSum {
    /// The entries in `bytes` that it vouches for; `None` if they are others. More may follow: what
    /// was entered after the sum was taken.
    fn covered<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let len = usize::try_from(self.entries).ok()?.checked_mul(ENTRY_BYTES)?;
        let covered = bytes.get(..len)?;
        (crc32c::crc32c(covered) == self.checksum).then_some(covered)
    }
}

/// The index of aborted transactions of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AbortedIndex {
    base: Offset,
    entries: Vec<AbortedEntry>,
    first_offsets: Minima,
    /// Complements of the last stable offsets, so that the greatest is the least.
    stable_complements: Minima,
}

impl AbortedIndex {
    /// The empty index of the segment at `base`.
    pub(crate) fn new(base: Offset) -> Self {
        Self {
            base,
            entries: Vec::new(),
            first_offsets: Minima::default(),
            stable_complements: Minima::default(),
        }
    }

    /// Adds an aborted transaction.
    ///
    /// # Errors
    /// [`IndexDamage::Order`] unless its marker lies after the last entry's (D-40);
    /// [`IndexDamage::OutOfSegment`] if it lies before the segment or before its own transaction.
    pub(crate) fn append(&mut self, entry: AbortedEntry) -> Result<(), IndexDamage> {
        let number = self.entries.len();
        if entry.last_offset < self.base || entry.first_offset > entry.last_offset {
            return Err(IndexDamage::OutOfSegment { entry: number });
        }
        if self.entries.last().is_some_and(|last| entry.last_offset <= last.last_offset) {
            return Err(IndexDamage::Order { entry: number });
        }
        self.first_offsets.push(number, entry.first_offset.get());
        self.stable_complements.push(number, complement(entry.last_stable_offset));
        self.entries.push(entry);
        Ok(())
    }

    /// Adds to `found` what a reader of `fetch_offset..upper_bound` must skip (T-15), in marker
    /// order. Whether that is all: if not, later segments may hold more.
    ///
    /// # Complexity
    /// O((hits + 1) log n).
    pub(crate) fn collect(
        &self,
        fetch_offset: Offset,
        upper_bound: Offset,
        found: &mut Vec<AbortedTxn>,
    ) -> bool {
        let start = self.entries.partition_point(|entry| entry.last_offset < fetch_offset);
        let stop = self.stable_complements.first_at_most(complement(upper_bound), start, |n| {
            Some(complement(self.entries.get(n)?.last_stable_offset))
        });
        let Some(bound) = upper_bound.checked_add(-1) else {
            return stop.is_some();
        };
        let mut from = start;
        while let Some(hit) = self
            .first_offsets
            .first_at_most(bound.get(), from, |n| Some(self.entries.get(n)?.first_offset.get()))
        {
            if stop.is_some_and(|stop| hit > stop) {
                break;
            }
            found.extend(self.entries.get(hit).map(|entry| AbortedTxn {
                first_offset: entry.first_offset,
                producer_id: entry.producer_id,
            }));
            from = hit.saturating_add(1);
        }
        stop.is_some()
    }

    /// Removes the transactions whose marker lies at or after `offset` (D-42).
    pub(crate) fn truncate_to(&mut self, offset: Offset) {
        let kept = self.entries.partition_point(|entry| entry.last_offset < offset);
        if kept == self.entries.len() {
            return;
        }
        self.entries.truncate(kept);
        self.first_offsets = Minima::default();
        self.stable_complements = Minima::default();
        for (number, entry) in self.entries.iter().enumerate() {
            self.first_offsets.push(number, entry.first_offset.get());
            self.stable_complements.push(number, complement(entry.last_stable_offset));
        }
    }

    /// The entries, in marker order.
    pub(crate) fn entries(&self) -> &[AbortedEntry] {
        &self.entries
    }

    /// What vouches for the file as of now; `None` if there are more entries than it can count, more
    /// than fit any segment.
    pub(crate) fn sum(&self) -> Option<AbortedSum> {
        let entries = u32::try_from(self.entries.len()).ok()?;
        Some(AbortedSum { base: self.base, entries, checksum: crc32c::crc32c(&self.encode()) })
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
            bytes.extend(VERSION.to_be_bytes());
            bytes.extend(entry.producer_id.get().to_be_bytes());
            bytes.extend(entry.first_offset.get().to_be_bytes());
            bytes.extend(entry.last_offset.get().to_be_bytes());
            bytes.extend(entry.last_stable_offset.get().to_be_bytes());
        }
        bytes
    }

    /// Reads as much of a file as `sum` vouches for.
    pub(crate) fn decode_covered(sum: &AbortedSum, bytes: &[u8]) -> Option<Self> {
        Self::decode(sum.base, sum.covered(bytes)?).ok()
    }

    /// Reads the file of the segment at `base` (D-41).
    pub(crate) fn decode(base: Offset, bytes: &[u8]) -> Result<Self, IndexDamage> {
        let (chunks, rest) = bytes.as_chunks::<ENTRY_BYTES>();
        if !rest.is_empty() {
            return Err(IndexDamage::Length { found: bytes.len(), entry: ENTRY_BYTES });
        }
        let mut index = Self::new(base);
        index.entries.reserve_exact(chunks.len());
        for (number, chunk) in chunks.iter().enumerate() {
            let (version, entry) =
                decode_entry(chunk).ok_or(IndexDamage::OutOfSegment { entry: number })?;
            if version > VERSION {
                return Err(IndexDamage::NewerVersion { entry: number, version });
            }
            if version < VERSION
                || !entry.producer_id.is_some()
                || entry.first_offset < Offset::ZERO
            {
                return Err(IndexDamage::OutOfSegment { entry: number });
            }
            index.append(entry)?;
        }
        Ok(index)
    }
}

fn decode_entry(mut bytes: &[u8]) -> Option<(i16, AbortedEntry)> {
    let version = i16::from_be_bytes(take(&mut bytes)?);
    let mut number = || Some(i64::from_be_bytes(take(&mut bytes)?));
    let entry = AbortedEntry {
        producer_id: ProducerId::new(number()?),
        first_offset: Offset::new(number()?),
        last_offset: Offset::new(number()?),
        last_stable_offset: Offset::new(number()?),
    };
    Some((version, entry))
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*head)
}

/// A number that falls as `offset` rises, defined for every offset.
const fn complement(offset: Offset) -> i64 {
    !offset.get()
}
