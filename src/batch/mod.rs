//! Kafka's record batch, format 2: the unit that is appended, checksummed, stored and read.
//!
//! [`Batch`] borrows the bytes and decodes the 61-byte header only; the log never needs more to
//! append. Records are decoded, and decompressed, when a reader asks ([`Batch::records`]), under a
//! cap on the output. [`BatchBuilder`] and [`marker_batch`] make batches.
//!
//! ```text
//! 0          8        12       16    17    21     23       27        35       43
//! baseOffset | length | epoch  | magic | crc | attr | lastDelta | baseTs | maxTs |
//!            43         51      53        57      61
//!            producerId | epoch | baseSeq | count | records …
//! ```
//!
//! The checksum covers everything from the attributes on, so base offset and leader epoch are
//! written over the producer's without touching it. All bytes are taken to be hostile: nothing
//! here panics, and nothing is allocated on the word of a length field.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
#![cfg_attr(
    test,
    expect(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "a panic in a test is a failed test"
    )
)]

mod builder;
mod compression;
mod control;
mod header;
mod parse;
mod record;
#[cfg(feature = "compression")]
mod snappy;
#[cfg(test)]
mod tests;
mod validate;
mod varint;

pub use builder::BatchBuilder;
pub use compression::{Compression, DecodeLimits};
pub use control::{EndMarker, MARKER_BATCH_BYTES, MarkerKind, marker_batch};
pub use header::HEADER_BYTES;
pub use parse::ParseError;
pub use record::{Header, Headers, Record, RecordIter, Records};
pub use validate::{Rules, validate};

use crate::error::{Error, ErrorKind, Result};
use crate::options::TimestampType;
use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence};
use header::{
    CODEC_MASK, CONTROL, CRC_START, DELETE_HORIZON, Fields, KNOWN_BYTE, LENGTH_OVERHEAD,
    LOG_APPEND_TIME, MAGIC, TRANSACTIONAL,
};
use std::fmt;

/// Exactly one complete batch, borrowed. Copying it copies the decoded header, not the records.
///
/// ```
/// use oncelog::batch::{Batch, BatchBuilder};
/// # fn main() -> oncelog::Result<()> {
/// let mut builder = BatchBuilder::new();
/// builder.append(1_700_000_000_000, Some(b"key"), Some(b"value"), &[])?;
/// let bytes = builder.build()?;
///
/// let (batch, rest) = Batch::parse(&bytes)?;
/// assert!(batch.is_crc_valid() && rest.is_empty());
/// for record in batch.records(&Default::default())?.iter() {
///     assert_eq!(record?.value(), Some(&b"value"[..]));
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    bytes: &'a [u8],
    fields: Fields,
}

impl<'a> Batch<'a> {
    /// The batch at the start of `bytes`, and what follows it.
    ///
    /// Checks the structure only: the checksum is [`is_crc_valid`](Self::is_crc_valid), the rules
    /// of an append are [`validate`].
    ///
    /// # Errors
    /// [`ParseError::Incomplete`] if more bytes could make it a batch: read on. Otherwise
    /// [`ParseError::Malformed`] or [`ParseError::Magic`]: it is none, and never will be.
    ///
    /// # Complexity
    /// O(1): only the header is looked at.
    pub fn parse(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), ParseError> {
        // A batch of an older format may be smaller than our header; it is refused for its format.
        const LEGACY_LENGTH_MIN: i32 = 14;
        let missing = ParseError::Incomplete { needed: HEADER_BYTES };
        let length = declared_length(bytes).ok_or(missing)?;
        if length < LEGACY_LENGTH_MIN {
            return Err(ParseError::Malformed("the batch length is too small"));
        }
        match bytes.get(16) {
            Some(&MAGIC) | None => {}
            Some(&magic) => return Err(ParseError::Magic(magic)),
        }
        let size = total_size(length)
            .ok_or(ParseError::Malformed("the batch length is smaller than a header"))?;
        let (bytes, rest) =
            bytes.split_at_checked(size).ok_or(ParseError::Incomplete { needed: size })?;
        let fields = Fields::decode(bytes).map_err(ParseError::Malformed)?;
        Ok((Self { bytes, fields }, rest))
    }

    /// The total size that the header at the start of `bytes` declares. `None` if fewer than 12
    /// bytes are there or the size cannot be that of a batch. Nothing else is checked.
    #[must_use]
    pub fn peek_len(bytes: &[u8]) -> Option<usize> {
        total_size(declared_length(bytes)?)
    }

    /// The bytes, header included.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The size of the whole batch in bytes; at least [`HEADER_BYTES`].
    #[must_use]
    pub const fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The offset of the first record; a producer sends 0.
    #[must_use]
    pub const fn base_offset(&self) -> Offset {
        Offset::new(self.fields.base_offset)
    }

    /// The offset of the last record the batch was written with, which compaction may have removed.
    /// Saturates at the ends of the number range.
    #[must_use]
    pub fn last_offset(&self) -> Offset {
        let delta = i64::from(self.fields.last_offset_delta);
        Offset::new(self.fields.base_offset.saturating_add(delta))
    }

    /// The offset after the batch: where its successor may begin. Saturates.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.last_offset().next()
    }

    /// The epoch of the leader that appended the batch; a producer sends −1.
    #[must_use]
    pub const fn leader_epoch(&self) -> LeaderEpoch {
        LeaderEpoch::new(self.fields.leader_epoch)
    }

    /// The stored CRC-32C.
    #[must_use]
    pub const fn crc(&self) -> u32 {
        self.fields.crc
    }

    /// Whether the stored checksum is that of the bytes (D-9).
    ///
    /// # Complexity
    /// Reads every byte from the attributes on.
    #[must_use]
    pub fn is_crc_valid(&self) -> bool {
        let checked = self.bytes.get(CRC_START..).unwrap_or_default();
        crc32c::crc32c(checked) == self.fields.crc
    }

    /// The attribute bits as they are stored (D-10); the accessors below read them.
    #[must_use]
    pub const fn attributes(&self) -> i16 {
        self.fields.attributes
    }

    /// The codec of the records.
    ///
    /// # Errors
    /// [`ErrorKind::UnsupportedCompression`] for the codecs 5 to 7, which do not exist.
    pub fn compression(&self) -> Result<Compression> {
        let bits = self.fields.attributes & CODEC_MASK;
        Compression::from_bits(bits).ok_or_else(|| {
            let context = format!("codec {bits} of {self} does not exist");
            Error::new(ErrorKind::UnsupportedCompression, context)
        })
    }

    /// Whose time the records' timestamps are (D-14).
    #[must_use]
    pub const fn timestamp_type(&self) -> TimestampType {
        self.fields.timestamp_type()
    }

    /// Whether the batch belongs to a transaction.
    #[must_use]
    pub const fn is_transactional(&self) -> bool {
        self.has(TRANSACTIONAL)
    }

    /// Whether the batch holds a marker instead of a program's records.
    #[must_use]
    pub const fn is_control(&self) -> bool {
        self.has(CONTROL)
    }

    /// Whether the base timestamp is the time after which a cleaner may drop tombstones (D-13).
    #[must_use]
    pub const fn has_delete_horizon(&self) -> bool {
        self.has(DELETE_HORIZON)
    }

    /// Last offset minus base offset, as stored.
    #[must_use]
    pub const fn last_offset_delta(&self) -> i32 {
        self.fields.last_offset_delta
    }

    /// What the records' timestamps are counted from, in ms; −1 if none.
    #[must_use]
    pub const fn base_timestamp_ms(&self) -> i64 {
        self.fields.base_timestamp_ms
    }

    /// The largest timestamp of the records, by the word of whoever wrote the header, in ms.
    #[must_use]
    pub const fn max_timestamp_ms(&self) -> i64 {
        self.fields.max_timestamp_ms
    }

    /// The producer, or [`ProducerId::NONE`].
    #[must_use]
    pub const fn producer_id(&self) -> ProducerId {
        ProducerId::new(self.fields.producer_id)
    }

    /// The producer's incarnation, or [`ProducerEpoch::NONE`].
    #[must_use]
    pub const fn producer_epoch(&self) -> ProducerEpoch {
        ProducerEpoch::new(self.fields.producer_epoch)
    }

    /// The sequence of the first record, or [`Sequence::NONE`].
    #[must_use]
    pub const fn base_sequence(&self) -> Sequence {
        Sequence::new(self.fields.base_sequence)
    }

    /// The sequence of the last offset, wrapping after 2,147,483,647 to 0 (D-11), or
    /// [`Sequence::NONE`].
    #[must_use]
    pub const fn last_sequence(&self) -> Sequence {
        sequence_at(&self.fields, self.fields.last_offset_delta)
    }

    /// The declared number of records; hostile until [`records`](Self::records) has counted them.
    #[must_use]
    pub const fn record_count(&self) -> i32 {
        self.fields.record_count
    }

    /// The records' block as stored, compressed if [`compression`](Self::compression) says so.
    #[must_use]
    pub fn records_bytes(&self) -> &'a [u8] {
        self.bytes.get(HEADER_BYTES..).unwrap_or_default()
    }

    /// The header to store before [`records_bytes`](Self::records_bytes) when a leader appends
    /// (A-40): with the offset and epoch it assigns, and, in a log that stamps its own time, with
    /// that time as the maximum timestamp and the `LogAppendTime` bit.
    ///
    /// Without `append_time_ms` the checksummed bytes, and so the checksum, are the producer's.
    /// With it, the unused attribute bits become 0 and the checksum is computed anew.
    ///
    /// # Complexity
    /// Constant; linear in the size with `append_time_ms`. Copies no records.
    #[must_use]
    pub fn patched_header(
        &self,
        base_offset: Offset,
        leader_epoch: LeaderEpoch,
        append_time_ms: Option<i64>,
    ) -> [u8; HEADER_BYTES] {
        let mut fields = Fields {
            base_offset: base_offset.get(),
            leader_epoch: leader_epoch.get(),
            ..self.fields
        };
        let Some(time) = append_time_ms else {
            return fields.encode();
        };
        fields.max_timestamp_ms = time;
        fields.attributes = fields.attributes & KNOWN_BYTE | LOG_APPEND_TIME;
        fields.seal(self.records_bytes())
    }

    const fn has(&self, attribute: i16) -> bool {
        self.fields.has(attribute)
    }
}

impl fmt::Display for Batch<'_> {
    /// Names the batch in an error: its offsets and its size.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (base, last) = (self.base_offset(), self.last_offset());
        write!(f, "the batch of offsets {base} to {last} ({} bytes)", self.size())
    }
}

/// The length field, which counts the bytes after itself.
fn declared_length(bytes: &[u8]) -> Option<i32> {
    let length = bytes.get(8..LENGTH_OVERHEAD)?.first_chunk()?;
    Some(i32::from_be_bytes(*length))
}

fn total_size(length: i32) -> Option<usize> {
    let size = usize::try_from(length).ok()?.checked_add(LENGTH_OVERHEAD)?;
    (size >= HEADER_BYTES).then_some(size)
}

/// The sequence of the record at `offset_delta` (D-11, D-21).
const fn sequence_at(fields: &Fields, offset_delta: i32) -> Sequence {
    if fields.base_sequence < 0 {
        return Sequence::NONE;
    }
    Sequence::new(fields.base_sequence).advance(offset_delta)
}
