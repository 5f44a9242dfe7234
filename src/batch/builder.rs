//! Building a batch as a producer sends it: base offset 0, leader epoch −1.

use super::compression::{Compression, compress};
use super::header::{Fields, HEADER_BYTES, LENGTH_OVERHEAD, LOG_APPEND_TIME, MAGIC, TRANSACTIONAL};
use super::record::Header;
use super::varint::{put_varint, put_varlong};
use crate::error::{Error, ErrorKind, Result};
use crate::options::TimestampType;
use crate::types::{ProducerEpoch, ProducerId, Sequence};
use bytes::Bytes;

/// Collects records and turns them into one batch.
///
/// ```
/// use oncelog::batch::BatchBuilder;
/// use oncelog::{ProducerEpoch, ProducerId, Sequence};
/// # fn main() -> oncelog::Result<()> {
/// let (id, epoch) = (ProducerId::new(1000), ProducerEpoch::new(0));
/// let mut builder = BatchBuilder::new().producer(id, epoch, Sequence::new(0));
/// builder.append(1_700_000_000_000, None, Some(b"hello"), &[])?;
/// let bytes = builder.build()?;
/// # assert_eq!(bytes.len(), 73);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    /// Room for the header, then the encoded records.
    bytes: Vec<u8>,
    scratch: Vec<u8>,
    compression: Compression,
    fields: Fields,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl BatchBuilder {
    /// An empty batch: uncompressed, the producer's timestamps, no producer id.
    #[must_use]
    pub fn new() -> Self {
        let fields = Fields {
            base_offset: 0,
            length: 0,
            leader_epoch: -1,
            magic: MAGIC,
            crc: 0,
            attributes: 0,
            last_offset_delta: -1,
            base_timestamp_ms: -1,
            max_timestamp_ms: -1,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            record_count: 0,
        };
        let bytes = vec![0; HEADER_BYTES];
        Self { bytes, scratch: Vec::new(), compression: Compression::None, fields }
    }

    /// Says whose time the timestamps are.
    #[must_use]
    pub const fn timestamp_type(mut self, timestamp_type: TimestampType) -> Self {
        self.fields.attributes = match timestamp_type {
            TimestampType::CreateTime => self.fields.attributes & !LOG_APPEND_TIME,
            TimestampType::LogAppendTime => self.fields.attributes | LOG_APPEND_TIME,
        };
        self
    }

    /// Compresses the records: gzip and zstd at Kafka's default levels (D-16), LZ4 at the one level
    /// of its encoder. The level is not part of the format.
    #[must_use]
    pub const fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Makes the batch idempotent: a repeated append of it is recognised.
    #[must_use]
    pub const fn producer(
        mut self,
        id: ProducerId,
        epoch: ProducerEpoch,
        base_sequence: Sequence,
    ) -> Self {
        self.fields.producer_id = id.get();
        self.fields.producer_epoch = epoch.get();
        self.fields.base_sequence = base_sequence.get();
        self
    }

    /// Makes the batch part of the producer's open transaction.
    #[must_use]
    pub const fn transactional(mut self) -> Self {
        self.fields.attributes |= TRANSACTIONAL;
        self
    }

    /// Adds a record.
    ///
    /// # Errors
    /// [`ErrorKind::BatchTooLarge`] if the batch, uncompressed, could come to more than
    /// 2,147,483,647 bytes. The record is not in the batch then; those before it are.
    ///
    /// # Complexity
    /// O(size of the record), to copy it.
    pub fn append(
        &mut self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) -> Result<()> {
        let grown = record_size_max(key, value, headers)
            .and_then(|size| self.bytes.len().checked_add(size))
            .filter(|size| i32::try_from(*size).is_ok());
        if grown.is_none() {
            let context = format!("record {} does not fit into a batch", self.len());
            return Err(Error::new(ErrorKind::BatchTooLarge, context));
        }
        let first = self.fields.record_count == 0;
        if first {
            self.fields.base_timestamp_ms = timestamp_ms;
            self.fields.max_timestamp_ms = timestamp_ms;
        }
        self.encode_record(timestamp_ms, key, value, headers);
        self.fields.max_timestamp_ms = self.fields.max_timestamp_ms.max(timestamp_ms);
        // A record takes at least a byte, so the check of the size bounds the count too.
        self.fields.last_offset_delta = self.fields.record_count;
        self.fields.record_count = self.fields.record_count.saturating_add(1);
        Ok(())
    }

    /// How many records were added.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::try_from(self.fields.record_count).unwrap_or_default()
    }

    /// Whether no record was added yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The size of the batch in bytes as it would be without compression.
    #[must_use]
    pub fn size_uncompressed(&self) -> usize {
        self.bytes.len()
    }

    /// The batch.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if no record was added; [`ErrorKind::UnsupportedCompression`] if the
    /// codec is not compiled in; [`ErrorKind::BatchTooLarge`] if compression made the batch larger
    /// than 2,147,483,647 bytes.
    ///
    /// # Complexity
    /// O(size), for the checksum; besides, what the codec takes.
    pub fn build(self) -> Result<Bytes> {
        if self.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "a batch needs at least one record"));
        }
        let mut fields = self.fields;
        fields.attributes |= self.compression.bits();
        let mut bytes = self.bytes;
        if self.compression != Compression::None {
            let records = bytes.get(HEADER_BYTES..).unwrap_or_default();
            bytes = compress(self.compression, records, vec![0; HEADER_BYTES])?;
        }
        fields.length = length_of(bytes.len())?;
        if let Some((header, records)) = bytes.split_first_chunk_mut::<HEADER_BYTES>() {
            *header = fields.seal(records);
        }
        Ok(bytes.into())
    }

    fn encode_record(
        &mut self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) {
        let body = &mut self.scratch;
        body.clear();
        body.push(0);
        put_varlong(body, timestamp_ms.wrapping_sub(self.fields.base_timestamp_ms));
        put_varint(body, self.fields.record_count);
        put_nullable(body, key);
        put_nullable(body, value);
        put_len(body, headers.len());
        for header in headers {
            put_nullable(body, Some(header.key));
            put_nullable(body, header.value);
        }
        put_len(&mut self.bytes, body.len());
        self.bytes.extend_from_slice(body);
    }
}

fn length_of(size: usize) -> Result<i32> {
    let length = size.checked_sub(LENGTH_OVERHEAD).and_then(|length| i32::try_from(length).ok());
    length.ok_or_else(|| {
        let context = format!("a batch of {size} bytes is too large for its length field");
        Error::new(ErrorKind::BatchTooLarge, context)
    })
}

/// An upper bound of what a record can take: its parts, and every number at its longest.
fn record_size_max(
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[Header<'_>],
) -> Option<usize> {
    /// Length, attributes, timestamp and offset delta, two lengths, the number of headers.
    const FIXED: usize = 5 + 1 + 10 + 5 + 5 + 5 + 5;
    const PER_HEADER: usize = 5 + 5;
    let len = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
    let start = FIXED.checked_add(len(key))?.checked_add(len(value))?;
    headers.iter().try_fold(start, |size, header| {
        size.checked_add(PER_HEADER)?.checked_add(header.key.len())?.checked_add(len(header.value))
    })
}

fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            put_len(out, bytes.len());
            out.extend_from_slice(bytes);
        }
        None => put_varint(out, -1),
    }
}

/// Lengths fit: [`record_size_max`] was below the largest `i32`.
fn put_len(out: &mut Vec<u8>, len: usize) {
    put_varint(out, i32::try_from(len).unwrap_or(i32::MAX));
}
