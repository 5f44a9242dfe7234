//! Kafka's `.snapshot` of producer state, version 1 (D-43), byte for byte.
//!
//! ```text
//! int16 version = 1 | uint32 crc32c of all that follows | int32 count | count × 46-byte entry
//! entry: int64 producer id | int16 epoch | int32 last sequence | int64 last offset | int32 offset delta
//!        | int64 timestamp | int32 coordinator epoch | int64 first offset of the open transaction
//! ```
//!
//! It holds the last batch of each producer only (D-44); [`state`](super::state) holds the rest.

use super::ProducerTable;
use super::cursor::Cursor;
use super::entry::{CACHED_BATCHES_MAX, CachedBatch, ProducerEntry, TxnStart};
use crate::types::{Offset, ProducerEpoch, ProducerId, Sequence};
use std::error::Error as StdError;
use std::fmt;

const VERSION: i16 = 1;
/// Version and checksum, which the checksum does not cover.
const PREFIX_LEN: usize = 6;
const HEADER_LEN: usize = PREFIX_LEN + 4;
const ENTRY_LEN: usize = 46;
/// Stands for "none" in the offset fields.
const NONE: i64 = -1;

/// Why stored producer state cannot be used. An older one and a replay serve instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SnapshotDamage {
    /// The file ends too early or too late for what it says it holds.
    Length {
        expected: usize,
        found: usize,
    },
    /// Not a file of this kind.
    Magic,
    /// A version of Kafka's format that is not known here.
    Version(i16),
    Checksum {
        stored: u32,
        computed: u32,
    },
    /// An end of the log that no log can have.
    MapEnd(Offset),
    /// An entry that no log could have led to.
    Entry {
        index: usize,
        reason: &'static str,
    },
}

impl fmt::Display for SnapshotDamage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { expected, found } => {
                write!(f, "{found} bytes where {expected} were expected")
            }
            Self::Magic => f.write_str("not a file of producer state"),
            Self::Version(version) => write!(f, "unknown version {version}"),
            Self::Checksum { stored, computed } => {
                write!(f, "checksum {computed:08x} where {stored:08x} is stored")
            }
            Self::MapEnd(offset) => write!(f, "state of a log that ends at offset {offset}"),
            Self::Entry { index, reason } => write!(f, "entry {index}: {reason}"),
        }
    }
}

impl StdError for SnapshotDamage {}

/// The bytes of a snapshot of `table`.
pub(crate) fn encode(table: &ProducerTable) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_LEN + table.len() * ENTRY_LEN);
    let count = i32::try_from(table.len()).expect("memory ends before an int32 does");
    out.extend_from_slice(&VERSION.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&count.to_be_bytes());
    for entry in table.stored_order() {
        encode_entry(&mut out, entry);
    }
    let crc = crc32c::crc32c(&out[PREFIX_LEN..]);
    out[2..PREFIX_LEN].copy_from_slice(&crc.to_be_bytes());
    out
}

fn encode_entry(out: &mut Vec<u8>, entry: &ProducerEntry) {
    let no_batch = CachedBatch {
        last_offset: Offset::new(NONE),
        last_sequence: Sequence::NONE,
        ..CachedBatch::default()
    };
    let batch = entry.batches.newest().unwrap_or(&no_batch);
    let txn_first_offset = entry.txn.map_or(NONE, |txn| txn.first_offset.get());
    out.extend_from_slice(&entry.producer_id.get().to_be_bytes());
    out.extend_from_slice(&entry.producer_epoch.get().to_be_bytes());
    out.extend_from_slice(&batch.last_sequence.get().to_be_bytes());
    out.extend_from_slice(&batch.last_offset.get().to_be_bytes());
    out.extend_from_slice(&batch.offset_delta.to_be_bytes());
    out.extend_from_slice(&entry.last_timestamp_ms.to_be_bytes());
    out.extend_from_slice(&entry.coordinator_epoch.to_be_bytes());
    out.extend_from_slice(&txn_first_offset.to_be_bytes());
}

/// The entries of a snapshot, in the file's order.
pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<ProducerEntry>, SnapshotDamage> {
    let mut cursor = Cursor::new(bytes);
    let header = (cursor.i16(), cursor.u32(), cursor.i32());
    let (Some(version), Some(stored), Some(count)) = header else {
        return Err(SnapshotDamage::Length { expected: HEADER_LEN, found: bytes.len() });
    };
    if version != VERSION {
        return Err(SnapshotDamage::Version(version));
    }
    let computed = crc32c::crc32c(bytes.get(PREFIX_LEN..).unwrap_or_default());
    if stored != computed {
        return Err(SnapshotDamage::Checksum { stored, computed });
    }
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let expected = count.saturating_mul(ENTRY_LEN).saturating_add(HEADER_LEN);
    if expected != bytes.len() {
        return Err(SnapshotDamage::Length { expected, found: bytes.len() });
    }
    (0..count).map(|index| decode_entry(&mut cursor, index)).collect()
}

fn decode_entry(cursor: &mut Cursor<'_>, index: usize) -> Result<ProducerEntry, SnapshotDamage> {
    let damage = |reason| SnapshotDamage::Entry { index, reason };
    let fields = read_fields(cursor).ok_or_else(|| damage("cut short"))?;
    let (producer_id, batch, mut entry, txn_first_offset) = fields;
    if !producer_id.is_some() {
        return Err(damage("negative producer id"));
    }
    if batch.last_offset.get() >= 0 {
        if !batch.is_plausible() {
            return Err(damage("a batch with an impossible offset or sequence"));
        }
        entry.batches.push(batch, CACHED_BATCHES_MAX);
    }
    if txn_first_offset >= 0 {
        let first_offset = Offset::new(txn_first_offset);
        entry.txn = Some(TxnStart { first_offset, started_ms: entry.last_timestamp_ms });
    }
    Ok(entry)
}

type Fields = (ProducerId, CachedBatch, ProducerEntry, i64);

fn read_fields(cursor: &mut Cursor<'_>) -> Option<Fields> {
    let producer_id = ProducerId::new(cursor.i64()?);
    let mut entry = ProducerEntry::new(producer_id);
    entry.producer_epoch = ProducerEpoch::new(cursor.i16()?);
    let last_sequence = Sequence::new(cursor.i32()?);
    let last_offset = Offset::new(cursor.i64()?);
    let offset_delta = cursor.i32()?;
    let timestamp_ms = cursor.i64()?;
    entry.touch(last_offset, timestamp_ms, timestamp_ms);
    entry.coordinator_epoch = cursor.i32()?;
    let txn_first_offset = cursor.i64()?;
    let batch = CachedBatch { last_offset, timestamp_ms, last_sequence, offset_delta };
    Some((producer_id, batch, entry, txn_first_offset))
}
