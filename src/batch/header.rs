//! The 61 bytes before the records, decoded and encoded (D-8, D-9).
//!
//! [`Fields`] keeps every bit of them: decoding and encoding again gives the same bytes.

use super::varint::{Cursor, Fault};
use crate::options::TimestampType;

/// Size of a batch before its records (D-8).
pub const HEADER_BYTES: usize = 61;

/// Bytes before the part that the batch length counts: base offset and the length itself.
pub(super) const LENGTH_OVERHEAD: usize = 12;

/// Where the checksummed part begins: at the attributes (D-9).
pub(super) const CRC_START: usize = 21;

/// The one format this crate stores.
pub(super) const MAGIC: u8 = 2;

pub(super) const CODEC_MASK: i16 = 0x07;
pub(super) const LOG_APPEND_TIME: i16 = 1 << 3;
pub(super) const TRANSACTIONAL: i16 = 1 << 4;
pub(super) const CONTROL: i16 = 1 << 5;
pub(super) const DELETE_HORIZON: i16 = 1 << 6;
/// The attributes with a meaning; Kafka clears the others whenever it rewrites them (D-10).
pub(super) const KNOWN_BYTE: i16 = 0xff;

/// A batch header as numbers, in the order of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) base_offset: i64,
    pub(super) length: i32,
    pub(super) leader_epoch: i32,
    pub(super) magic: u8,
    pub(super) crc: u32,
    pub(super) attributes: i16,
    pub(super) last_offset_delta: i32,
    pub(super) base_timestamp_ms: i64,
    pub(super) max_timestamp_ms: i64,
    pub(super) producer_id: i64,
    pub(super) producer_epoch: i16,
    pub(super) base_sequence: i32,
    pub(super) record_count: i32,
}

impl Fields {
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let mut cursor = Cursor::new(bytes);
        Ok(Self {
            base_offset: i64::from_be_bytes(cursor.array()?),
            length: i32::from_be_bytes(cursor.array()?),
            leader_epoch: i32::from_be_bytes(cursor.array()?),
            magic: u8::from_be_bytes(cursor.array()?),
            crc: u32::from_be_bytes(cursor.array()?),
            attributes: i16::from_be_bytes(cursor.array()?),
            last_offset_delta: i32::from_be_bytes(cursor.array()?),
            base_timestamp_ms: i64::from_be_bytes(cursor.array()?),
            max_timestamp_ms: i64::from_be_bytes(cursor.array()?),
            producer_id: i64::from_be_bytes(cursor.array()?),
            producer_epoch: i16::from_be_bytes(cursor.array()?),
            base_sequence: i32::from_be_bytes(cursor.array()?),
            record_count: i32::from_be_bytes(cursor.array()?),
        })
    }

    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[0..8].copy_from_slice(&self.base_offset.to_be_bytes());
        out[8..12].copy_from_slice(&self.length.to_be_bytes());
        out[12..16].copy_from_slice(&self.leader_epoch.to_be_bytes());
        out[16] = self.magic;
        out[17..21].copy_from_slice(&self.crc.to_be_bytes());
        out[21..23].copy_from_slice(&self.attributes.to_be_bytes());
        out[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        out[27..35].copy_from_slice(&self.base_timestamp_ms.to_be_bytes());
        out[35..43].copy_from_slice(&self.max_timestamp_ms.to_be_bytes());
        out[43..51].copy_from_slice(&self.producer_id.to_be_bytes());
        out[51..53].copy_from_slice(&self.producer_epoch.to_be_bytes());
        out[53..57].copy_from_slice(&self.base_sequence.to_be_bytes());
        out[57..61].copy_from_slice(&self.record_count.to_be_bytes());
        out
    }

    pub(super) const fn has(&self, attribute: i16) -> bool {
        self.attributes & attribute != 0
    }

    pub(super) const fn timestamp_type(&self) -> TimestampType {
        if self.has(LOG_APPEND_TIME) {
            TimestampType::LogAppendTime
        } else {
            TimestampType::CreateTime
        }
    }

    /// Encodes with the checksum that these fields and `records` have.
    pub(super) fn seal(mut self, records: &[u8]) -> [u8; HEADER_BYTES] {
        let header = self.encode();
        self.crc = crc32c::crc32c_append(crc32c::crc32c(&header[CRC_START..]), records);
        self.encode()
    }
}
