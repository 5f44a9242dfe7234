//! The indexes of one segment, held in memory and written as Kafka's files, byte for byte.
//!
//! All three are caches of the segment's batches: whatever is missing, damaged or too old is built
//! again from them. So decoding is strict (anything odd is [`IndexDamage`]) and appending is lax (an
//! entry that cannot be expressed is left out, which costs a longer scan and nothing else).
//!
//! - [`OffsetIndex`]: offset to position, one entry in every few kilobytes.
//! - [`TimeIndex`]: timestamp to offset, beside it.
//! - [`AbortedIndex`]: the aborted transactions whose marker lies in the segment.
//! - [`SegmentIndexer`]: when the first two get an entry; one implementation for append and recovery.

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

mod indexer;
mod minima;
mod offset;
#[cfg(test)]
mod tests;
mod time;
mod txn;

pub(crate) use indexer::SegmentIndexer;
pub(crate) use offset::OffsetIndex;
pub(crate) use time::TimeIndex;
pub use txn::AbortedTxn;
pub(crate) use txn::{AbortedEntry, AbortedIndex, AbortedSum};

use crate::types::Offset;
use std::fmt;

/// Why an index file cannot be trusted. Only [`Self::NewerVersion`] may not be answered by building
/// the index again: those bytes are somebody's and stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IndexDamage {
    /// The length is not a whole number of entries.
    Length {
        /// Bytes of the file.
        found: usize,
        /// Bytes of one entry.
        entry: usize,
    },
    /// An entry does not follow the one before it.
    Order {
        /// Number of the entry, from 0.
        entry: usize,
    },
    /// An entry points outside its segment.
    OutOfSegment {
        /// Number of the entry, from 0.
        entry: usize,
    },
    /// An entry is of a version this library does not know.
    NewerVersion {
        /// Number of the entry, from 0.
        entry: usize,
        /// Its version.
        version: i16,
    },
}

impl fmt::Display for IndexDamage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { found, entry } => {
                write!(f, "{found} bytes are not a whole number of {entry}-byte entries")
            }
            Self::Order { entry } => write!(f, "entry {entry} does not follow the one before it"),
            Self::OutOfSegment { entry } => write!(f, "entry {entry} points outside its segment"),
            Self::NewerVersion { entry, version } => {
                write!(f, "entry {entry} has version {version}, newer than is known")
            }
        }
    }
}

impl std::error::Error for IndexDamage {}

/// `offset` as Kafka's indexes store it: its distance from the segment's base, if that fits 31 bits.
fn relative(base: Offset, offset: Offset) -> Option<u32> {
    let distance = offset.get().checked_sub(base.get())?;
    u32::try_from(distance).ok().filter(|d| *d <= POSITIVE_MAX)
}

/// The offset that lies `relative` after `base`.
fn absolute(base: Offset, relative: u32) -> Offset {
    Offset::new(base.get().saturating_add(i64::from(relative)))
}

/// Reads a number that is stored signed but never negative.
fn positive(bytes: [u8; 4]) -> Option<u32> {
    Some(u32::from_be_bytes(bytes)).filter(|n| *n <= POSITIVE_MAX)
}

/// Greatest `int32`: on disk, relative offsets and positions are signed.
const POSITIVE_MAX: u32 = i32::MAX.cast_unsigned();
