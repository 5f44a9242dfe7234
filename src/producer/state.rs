//! The sidecar `.state`: all of a producer table, which Kafka's snapshot cannot hold, and the checksums
//! that Kafka's transaction indexes do not have.
//!
//! ```text
//! header  "oncelogP" | uint16 version = 2 | uint16 reserved = 0 | uint32 crc32c of these 12 bytes
//! body    int64 map end offset
//!         uint32 count | count × { int64 first offset | int64 marker offset }   unreplicated
//!         uint32 count | count × { int64 base offset | uint32 entries | uint32 crc32c }    since 2
//!         uint32 count | count × producer                                       in order of use
//! trailer uint32 crc32c of header and body
//! ```
//!
//! The first 16 bytes keep this layout in every version to come, so a newer file is told from a
//! damaged one. The file is written and read front to back in one pass; a count is only ever a
//! number of entries to try, memory follows the bytes that are there.

use super::ProducerTable;
use super::cursor::Cursor;
use super::entry::{CACHED_BATCHES_MAX, CachedBatch, ProducerEntry, TxnStart};
use super::snapshot::SnapshotDamage;
use crate::error::{Error, ErrorKind};
use crate::index::AbortedSum;
use crate::types::{Offset, ProducerEpoch, ProducerId, Sequence};
use std::fmt;

const MAGIC: [u8; 8] = *b"oncelogP";
const VERSION: u16 = 2;
/// Still read: it has no checksums of transaction indexes.
const VERSION_WITHOUT_SUMS: u16 = 1;
const HEADER_LEN: usize = 16;
const CHECKED_HEADER_LEN: usize = 12;
const TRAILER_LEN: usize = 4;
/// Header, map end offset, two counts, trailer: what version 1 has at least.
const EMPTY_LEN: usize = HEADER_LEN + 8 + 4 + 4 + TRAILER_LEN;
const CHUNK_LEN: usize = 64 * 1024;
/// Stands for "none" in the offset fields.
const NONE: i64 = -1;

/// An ended transaction whose marker the high watermark had not passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnreplicatedTxn {
    pub(crate) first_offset: Offset,
    pub(crate) marker_offset: Offset,
}

/// Why a sidecar cannot be used.
#[derive(Debug)]
pub(crate) enum StateError {
    /// Of kind [`ErrorKind::NewerFormat`]; pass it on, leave the file alone.
    Newer(Error),
    /// Use the snapshot or a replay instead.
    Damaged(SnapshotDamage),
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newer(error) => error.fmt(f),
            Self::Damaged(damage) => damage.fmt(f),
        }
    }
}

impl From<SnapshotDamage> for StateError {
    fn from(damage: SnapshotDamage) -> Self {
        Self::Damaged(damage)
    }
}

/// The bytes of a sidecar of `table`, which has seen the log up to `map_end_offset`, of a log that has
/// no transaction indexes.
pub(crate) fn encode(table: &ProducerTable, map_end_offset: Offset) -> Vec<u8> {
    encode_with(table, map_end_offset, &[])
}

/// The bytes of a sidecar of `table`, which has seen the log up to `map_end_offset`, and of the
/// transaction indexes as they were then.
pub(crate) fn encode_with(
    table: &ProducerTable,
    map_end_offset: Offset,
    sums: &[AbortedSum],
) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_chunks(table, map_end_offset, sums, |chunk| {
        bytes.extend_from_slice(chunk);
    });
    bytes
}

/// Hands the same bytes to `sink` in chunks of about 64 KiB.
pub(crate) fn encode_chunks(
    table: &ProducerTable,
    map_end_offset: Offset,
    sums: &[AbortedSum],
    sink: impl FnMut(&[u8]),
) {
    let mut out = ChunkWriter { chunk: Vec::new(), crc: 0, sink };
    write_header(&mut out);
    out.put(&map_end_offset.get().to_be_bytes());
    write_count(&mut out, table.unreplicated().len());
    for txn in table.unreplicated() {
        out.put(&txn.first_offset.get().to_be_bytes());
        out.put(&txn.marker_offset.get().to_be_bytes());
    }
    write_count(&mut out, sums.len());
    for sum in sums {
        out.put(&sum.base.get().to_be_bytes());
        out.put(&sum.entries.to_be_bytes());
        out.put(&sum.checksum.to_be_bytes());
    }
    write_count(&mut out, table.len());
    for entry in table.stored_order() {
        write_entry(&mut out, entry);
    }
    out.finish();
}

/// Collects bytes into chunks and keeps their checksum.
struct ChunkWriter<S> {
    chunk: Vec<u8>,
    /// Of the chunks handed on.
    crc: u32,
    sink: S,
}

impl<S: FnMut(&[u8])> ChunkWriter<S> {
    fn put(&mut self, bytes: &[u8]) {
        self.chunk.extend_from_slice(bytes);
        if self.chunk.len() >= CHUNK_LEN {
            self.crc = crc32c::crc32c_append(self.crc, &self.chunk);
            (self.sink)(&self.chunk);
            self.chunk.clear();
        }
    }

    fn finish(mut self) {
        let crc = crc32c::crc32c_append(self.crc, &self.chunk);
        self.chunk.extend_from_slice(&crc.to_be_bytes());
        (self.sink)(&self.chunk);
    }
}

fn write_header<S: FnMut(&[u8])>(out: &mut ChunkWriter<S>) {
    let mut header = [0; CHECKED_HEADER_LEN];
    header[..8].copy_from_slice(&MAGIC);
    header[8..10].copy_from_slice(&VERSION.to_be_bytes());
    out.put(&header);
    out.put(&crc32c::crc32c(&header).to_be_bytes());
}

fn write_count<S: FnMut(&[u8])>(out: &mut ChunkWriter<S>, count: usize) {
    let count = u32::try_from(count).expect("memory ends before an uint32 does");
    out.put(&count.to_be_bytes());
}

fn write_entry<S: FnMut(&[u8])>(out: &mut ChunkWriter<S>, entry: &ProducerEntry) {
    let (txn_first_offset, txn_started_ms) = match entry.txn {
        Some(txn) => (txn.first_offset.get(), txn.started_ms),
        None => (NONE, NONE),
    };
    let batches = entry.batches.as_slice();
    let batch_count = u8::try_from(batches.len()).expect("at most five");
    out.put(&entry.producer_id.get().to_be_bytes());
    out.put(&entry.producer_epoch.get().to_be_bytes());
    out.put(&entry.coordinator_epoch.to_be_bytes());
    out.put(&entry.last_timestamp_ms.to_be_bytes());
    out.put(&entry.last_used_ms.to_be_bytes());
    out.put(&entry.last_used_offset.get().to_be_bytes());
    out.put(&txn_first_offset.to_be_bytes());
    out.put(&txn_started_ms.to_be_bytes());
    out.put(&[batch_count]);
    for batch in batches {
        out.put(&batch.last_sequence.get().to_be_bytes());
        out.put(&batch.last_offset.get().to_be_bytes());
        out.put(&batch.offset_delta.to_be_bytes());
        out.put(&batch.timestamp_ms.to_be_bytes());
    }
}

/// A sidecar whose checksum is right; its producers are decoded as they are asked for.
#[derive(Debug)]
pub(crate) struct DecodedState<'a> {
    pub(crate) map_end_offset: Offset,
    pub(crate) unreplicated: Vec<UnreplicatedTxn>,
    pub(crate) sums: Vec<AbortedSum>,
    pub(crate) producers: StoredProducers<'a>,
}

/// Checks header and checksum, and reads all but the producers.
pub(crate) fn decode(bytes: &[u8]) -> Result<DecodedState<'_>, StateError> {
    let version = check_header(bytes)?;
    let body = checked_body(bytes)?;
    let mut cursor = Cursor::new(body);
    let cut_short = SnapshotDamage::Length { expected: EMPTY_LEN, found: bytes.len() };
    let map_end_offset = Offset::new(cursor.i64().ok_or(cut_short)?);
    if map_end_offset < Offset::ZERO {
        return Err(SnapshotDamage::MapEnd(map_end_offset).into());
    }
    let unreplicated = read_unreplicated(&mut cursor)?;
    let sums = match version {
        VERSION_WITHOUT_SUMS => Vec::new(),
        _ => read_sums(&mut cursor)?,
    };
    let count = cursor.u32().ok_or(cut_short)?;
    let producers = StoredProducers { cursor, index: 0, left: count };
    Ok(DecodedState { map_end_offset, unreplicated, sums, producers })
}

/// The version, if it is one that is read here.
fn check_header(bytes: &[u8]) -> Result<u16, StateError> {
    let too_short = SnapshotDamage::Length { expected: EMPTY_LEN, found: bytes.len() };
    let mut cursor = Cursor::new(bytes);
    let (Some(magic), Some(version), Some(_reserved), Some(stored)) =
        (cursor.take::<8>(), cursor.u16(), cursor.u16(), cursor.u32())
    else {
        return Err(too_short.into());
    };
    if magic != MAGIC {
        return Err(SnapshotDamage::Magic.into());
    }
    let computed = crc32c::crc32c(bytes.get(..CHECKED_HEADER_LEN).unwrap_or_default());
    if stored != computed {
        return Err(SnapshotDamage::Checksum { stored, computed }.into());
    }
    match version {
        VERSION_WITHOUT_SUMS..=VERSION => Ok(version),
        _ if version > VERSION => {
            let context = format!("producer state of format {version}, this is {VERSION}");
            Err(StateError::Newer(Error::new(ErrorKind::NewerFormat, context)))
        }
        _ => Err(SnapshotDamage::Version(0).into()),
    }
}

/// What lies between header and trailer, once the trailer's checksum has proved it.
fn checked_body(bytes: &[u8]) -> Result<&[u8], SnapshotDamage> {
    let too_short = SnapshotDamage::Length { expected: EMPTY_LEN, found: bytes.len() };
    let (checked, trailer) = bytes.split_last_chunk::<TRAILER_LEN>().ok_or(too_short)?;
    let body = checked.get(HEADER_LEN..).ok_or(too_short)?;
    let (stored, computed) = (u32::from_be_bytes(*trailer), crc32c::crc32c(checked));
    if stored != computed {
        return Err(SnapshotDamage::Checksum { stored, computed });
    }
    Ok(body)
}

fn read_unreplicated(cursor: &mut Cursor<'_>) -> Result<Vec<UnreplicatedTxn>, SnapshotDamage> {
    let found = cursor.remaining();
    let cut_short = |expected| SnapshotDamage::Length { expected, found };
    let count = cursor.u32().ok_or_else(|| cut_short(4))?;
    let mut txns = Vec::new();
    for _ in 0..count {
        let (Some(first), Some(marker)) = (cursor.i64(), cursor.i64()) else {
            let expected = usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(16);
            return Err(cut_short(expected.saturating_add(4)));
        };
        let (first_offset, marker_offset) = (Offset::new(first), Offset::new(marker));
        txns.push(UnreplicatedTxn { first_offset, marker_offset });
    }
    Ok(txns)
}

fn read_sums(cursor: &mut Cursor<'_>) -> Result<Vec<AbortedSum>, SnapshotDamage> {
    let found = cursor.remaining();
    let count = cursor.u32().ok_or(SnapshotDamage::Length { expected: 4, found })?;
    let mut sums = Vec::new();
    for _ in 0..count {
        let (Some(base), Some(entries), Some(checksum)) =
            (cursor.i64(), cursor.u32(), cursor.u32())
        else {
            let expected = usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(16);
            return Err(SnapshotDamage::Length { expected: expected.saturating_add(4), found });
        };
        sums.push(AbortedSum { base: Offset::new(base), entries, checksum });
    }
    Ok(sums)
}

/// The producers of a sidecar, each checked as it is read.
#[derive(Debug)]
pub(crate) struct StoredProducers<'a> {
    cursor: Cursor<'a>,
    index: usize,
    left: u32,
}

impl Iterator for StoredProducers<'_> {
    type Item = Result<ProducerEntry, SnapshotDamage>;

    fn next(&mut self) -> Option<Self::Item> {
        let index = self.index;
        let damage = |reason| Some(Err(SnapshotDamage::Entry { index, reason }));
        let Some(left) = self.left.checked_sub(1) else {
            let trailing = std::mem::replace(&mut self.cursor, Cursor::new(&[])).remaining();
            return if trailing > 0 { damage("bytes after the last entry") } else { None };
        };
        self.left = left;
        self.index += 1;
        let Some(entry) = read_entry(&mut self.cursor) else {
            // Nothing after this can be told apart.
            *self = Self { cursor: Cursor::new(&[]), index, left: 0 };
            return damage("cut short, or more than five batches");
        };
        if !entry.producer_id.is_some() {
            return damage("negative producer id");
        }
        if entry.txn.is_some_and(|txn| txn.first_offset.get() < 0) {
            return damage("a transaction that begins below offset 0");
        }
        if !entry.batches.as_slice().iter().all(CachedBatch::is_plausible) {
            return damage("a batch with an impossible offset or sequence");
        }
        Some(Ok(entry))
    }
}

fn read_entry(cursor: &mut Cursor<'_>) -> Option<ProducerEntry> {
    let mut entry = ProducerEntry::new(ProducerId::new(cursor.i64()?));
    entry.producer_epoch = ProducerEpoch::new(cursor.i16()?);
    entry.coordinator_epoch = cursor.i32()?;
    entry.last_timestamp_ms = cursor.i64()?;
    entry.last_used_ms = cursor.i64()?;
    entry.last_used_offset = Offset::new(cursor.i64()?);
    let (txn_first_offset, started_ms) = (cursor.i64()?, cursor.i64()?);
    if txn_first_offset != NONE {
        entry.txn = Some(TxnStart { first_offset: Offset::new(txn_first_offset), started_ms });
    }
    let batch_count = usize::from(cursor.u8()?);
    if batch_count > CACHED_BATCHES_MAX {
        return None;
    }
    for _ in 0..batch_count {
        entry.batches.push(read_batch(cursor)?, CACHED_BATCHES_MAX);
    }
    Some(entry)
}

fn read_batch(cursor: &mut Cursor<'_>) -> Option<CachedBatch> {
    let last_sequence = Sequence::new(cursor.i32()?);
    let last_offset = Offset::new(cursor.i64()?);
    let offset_delta = cursor.i32()?;
    let timestamp_ms = cursor.i64()?;
    Some(CachedBatch { last_offset, timestamp_ms, last_sequence, offset_delta })
}
