//! Records: decoded one by one from a batch, borrowed from its (decompressed) bytes (D-18 to D-21).

use super::compression::{Compression, DecodeLimits, decompress};
use super::header::Fields;
use super::varint::{Cursor, Fault};
use super::{Batch, sequence_at};
use crate::error::{Error, ErrorKind, Result};
use crate::options::TimestampType;
use crate::types::{Offset, Sequence};
use std::borrow::Cow;

impl<'a> Batch<'a> {
    /// The records, decompressed if need be. The checksum is not checked here.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidBatch`] if the records cannot be decompressed within `limits`: raise those, or
    /// step over the batch. [`ErrorKind::UnsupportedCompression`] for a codec that is unknown or not
    /// compiled in (the feature `compression`).
    ///
    /// # Complexity
    /// O(1) without compression: records are decoded one by one as they are asked for. Else everything is
    /// decompressed into memory at once.
    pub fn records(&self, limits: &DecodeLimits) -> Result<Records<'a>> {
        let stored = self.records_bytes();
        let payload = match self.compression()? {
            Compression::None => Cow::Borrowed(stored),
            codec => Cow::Owned(decompress(codec, stored, limits)?),
        };
        Ok(Records { batch: *self, payload })
    }
}

/// The records of one batch; owns their bytes if they were compressed.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    batch: Batch<'a>,
    payload: Cow<'a, [u8]>,
}

impl Records<'_> {
    /// Decodes the records in their order.
    #[must_use]
    pub fn iter(&self) -> RecordIter<'_> {
        let remaining = self.batch.fields.record_count;
        RecordIter { batch: self.batch, cursor: Cursor::new(&self.payload), remaining, over: false }
    }
}

impl<'r> IntoIterator for &'r Records<'_> {
    type Item = Result<Record<'r>>;
    type IntoIter = RecordIter<'r>;

    fn into_iter(self) -> RecordIter<'r> {
        self.iter()
    }
}

/// Decodes records. After the first [`ErrorKind::InvalidBatch`] there is nothing more.
#[derive(Clone, Debug)]
pub struct RecordIter<'r> {
    batch: Batch<'r>,
    cursor: Cursor<'r>,
    remaining: i32,
    over: bool,
}

impl<'r> Iterator for RecordIter<'r> {
    type Item = Result<Record<'r>>;

    fn next(&mut self) -> Option<Result<Record<'r>>> {
        if self.over {
            return None;
        }
        let step = self.step();
        self.over = !matches!(step, Ok(Some(_)));
        step.map_err(|fault| self.invalid(fault)).transpose()
    }
}

impl<'r> RecordIter<'r> {
    fn step(&mut self) -> Result<Option<Record<'r>>, Fault> {
        if self.remaining < 0 {
            return Err("the declared number of records is negative");
        }
        if self.remaining > 0 {
            self.remaining = self.remaining.saturating_sub(1);
            return Record::decode(&self.batch.fields, &mut self.cursor).map(Some);
        }
        if self.cursor.is_empty() { Ok(None) } else { Err("bytes follow the last record") }
    }

    fn invalid(&self, fault: Fault) -> Error {
        let at = self.batch.record_count().saturating_sub(self.remaining);
        let context = format!("record {at} of {}: {fault}", self.batch);
        Error::new(ErrorKind::InvalidBatch, context)
    }
}

/// One record, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct Record<'r> {
    offset: Offset,
    timestamp_ms: i64,
    sequence: Sequence,
    key: Option<&'r [u8]>,
    value: Option<&'r [u8]>,
    headers: Headers<'r>,
}

impl<'r> Record<'r> {
    /// Its offset (D-21), relative to 0 in a batch that was not appended yet.
    #[must_use]
    pub const fn offset(&self) -> Offset {
        self.offset
    }

    /// Its timestamp in ms: the producer's, or the log's (D-14). −1 means none.
    #[must_use]
    pub const fn timestamp_ms(&self) -> i64 {
        self.timestamp_ms
    }

    /// Its sequence, or [`Sequence::NONE`].
    #[must_use]
    pub const fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// Its key; `None` is null, which is not the empty key.
    #[must_use]
    pub const fn key(&self) -> Option<&'r [u8]> {
        self.key
    }

    /// Its value; `None` is null: a tombstone in a compacted log.
    #[must_use]
    pub const fn value(&self) -> Option<&'r [u8]> {
        self.value
    }

    /// Its headers, in order; keys may repeat.
    #[must_use]
    pub const fn headers(&self) -> Headers<'r> {
        self.headers
    }

    /// `length | attributes | timestamp delta | offset delta | key | value | headers` (D-18). The
    /// attributes of a record mean nothing.
    fn decode(batch: &Fields, cursor: &mut Cursor<'r>) -> Result<Self, Fault> {
        let mut body = Cursor::new(cursor.sized()?);
        let [_attributes] = body.array()?;
        let timestamp_delta = body.varlong()?;
        let offset_delta = body.varint()?;
        let key = body.nullable()?;
        let value = body.nullable()?;
        let headers = Headers::decode(&mut body)?;
        if !body.is_empty() {
            return Err("bytes follow the last header");
        }
        if !(0..=batch.last_offset_delta).contains(&offset_delta) {
            return Err("its offset is outside the batch");
        }
        Ok(Self {
            offset: offset_at(batch, offset_delta)?,
            timestamp_ms: timestamp_at(batch, timestamp_delta),
            sequence: sequence_at(batch, offset_delta),
            key,
            value,
            headers,
        })
    }
}

fn offset_at(batch: &Fields, delta: i32) -> Result<Offset, Fault> {
    Offset::new(batch.base_offset).checked_add(i64::from(delta)).ok_or("its offset overflows")
}

/// A sum that overflows wraps, as in Kafka: a strange time is no reason to refuse the record.
const fn timestamp_at(batch: &Fields, delta: i64) -> i64 {
    match batch.timestamp_type() {
        TimestampType::CreateTime => batch.base_timestamp_ms.wrapping_add(delta),
        TimestampType::LogAppendTime => batch.max_timestamp_ms,
    }
}

/// A name and a value beside a record's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Header<'a> {
    /// Its name: UTF-8 by convention, which nobody checks.
    pub key: &'a [u8],
    /// Its value; `None` is null.
    pub value: Option<&'a [u8]>,
}

impl<'a> Header<'a> {
    /// A header.
    #[must_use]
    pub const fn new(key: &'a [u8], value: Option<&'a [u8]>) -> Self {
        Self { key, value }
    }

    fn decode(cursor: &mut Cursor<'a>) -> Result<Self, Fault> {
        Ok(Self { key: cursor.sized()?, value: cursor.nullable()? })
    }
}

/// The headers of one record, in order. They were checked when the record was decoded.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'r> {
    cursor: Cursor<'r>,
    remaining: i32,
}

impl<'r> Headers<'r> {
    /// Walks all headers once, so that iterating over them later cannot fail.
    fn decode(cursor: &mut Cursor<'r>) -> Result<Self, Fault> {
        let count = cursor.varint()?;
        if count < 0 {
            return Err("its number of headers is negative");
        }
        let headers = Self { cursor: *cursor, remaining: count };
        for _ in 0..count {
            Header::decode(cursor)?;
        }
        Ok(headers)
    }
}

impl<'r> Iterator for Headers<'r> {
    type Item = Header<'r>;

    fn next(&mut self) -> Option<Header<'r>> {
        self.remaining = self.remaining.checked_sub(1).filter(|left| *left >= 0)?;
        Header::decode(&mut self.cursor).ok()
    }
}
