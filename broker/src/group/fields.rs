//! Bounded reading and writing of the field types in Kafka's stored schemas.
//!
//! No length is believed before the bytes are there, and no count before the smallest elements it
//! announces would fit into what is left.

use bytes::{BufMut, Bytes};
use std::fmt;
use std::sync::Arc;

/// Why a stored key or value could not be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecordError {
    /// The bytes end before the field does, or a count promises more than there is.
    Truncated,
    /// A length is negative where the field may not be null, or a varint is too long.
    BadLength,
    /// A string is not UTF-8.
    NotUtf8,
    /// A version this broker does not know.
    UnknownVersion(i16),
    /// A field is longer than its length prefix can say.
    TooLong,
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the bytes end inside a field"),
            Self::BadLength => f.write_str("a length is not possible for its field"),
            Self::NotUtf8 => f.write_str("a string is not UTF-8"),
            Self::UnknownVersion(version) => write!(f, "version {version} is not known"),
            Self::TooLong => f.write_str("a field is too long for its length prefix"),
        }
    }
}

impl std::error::Error for RecordError {}

/// A result of this codec.
pub(super) type Result<T> = std::result::Result<T, RecordError>;

/// Reads fields off the front of a slice. Flexible schemas use compact lengths and end in tags.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    pub(super) flexible: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, flexible: false }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(length).ok_or(RecordError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(RecordError::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    pub(super) fn i16(&mut self) -> Result<i16> {
        self.array().map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64> {
        self.array().map(i64::from_be_bytes)
    }

    fn varint(&mut self) -> Result<u32> {
        let mut value = 0_u32;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array()?;
            let bits = u32::from(byte & 0x7f);
            if shift == 28 && bits > 0x0f {
                return Err(RecordError::BadLength);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(RecordError::BadLength)
    }

    /// A length with "null" as `None`; `plain` reads the prefix of the inflexible form.
    fn length(&mut self, plain: fn(&mut Self) -> Result<i32>) -> Result<Option<usize>> {
        if self.flexible {
            let length = self.varint()?.checked_sub(1);
            let length = length.map(|n| usize::try_from(n).map_err(|_e| RecordError::BadLength));
            return length.transpose();
        }
        match plain(self)? {
            -1 => Ok(None),
            n => usize::try_from(n).map(Some).map_err(|_negative| RecordError::BadLength),
        }
    }

    pub(super) fn nullable_string(&mut self) -> Result<Option<Arc<str>>> {
        let Some(length) = self.length(|reader| reader.i16().map(i32::from))? else {
            return Ok(None);
        };
        let text = std::str::from_utf8(self.take(length)?).map_err(|_e| RecordError::NotUtf8)?;
        Ok(Some(Arc::from(text)))
    }

    pub(super) fn string(&mut self) -> Result<Arc<str>> {
        self.nullable_string()?.ok_or(RecordError::BadLength)
    }

    pub(super) fn bytes(&mut self) -> Result<Bytes> {
        let length = self.length(Self::i32)?.ok_or(RecordError::BadLength)?;
        // A copy, so that a small field does not keep a large log buffer alive.
        Ok(Bytes::copy_from_slice(self.take(length)?))
    }

    /// The length of an array whose elements take at least `element_bytes_min` each.
    pub(super) fn count(&mut self, element_bytes_min: usize) -> Result<usize> {
        let count = self.length(Self::i32)?.ok_or(RecordError::BadLength)?;
        let room = self.rest.len().checked_div(element_bytes_min).unwrap_or(0);
        if count > room { Err(RecordError::Truncated) } else { Ok(count) }
    }

    /// The tags at the end of a flexible struct; none is known here.
    pub(super) fn skip_tags(&mut self) -> Result<()> {
        if !self.flexible {
            return Ok(());
        }
        for _tag in 0..self.varint()? {
            self.varint()?;
            let length = self.varint()?;
            self.take(usize::try_from(length).map_err(|_e| RecordError::BadLength)?)?;
        }
        Ok(())
    }
}

/// Appends fields of an inflexible schema.
#[derive(Debug, Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn new(version: i16) -> Self {
        let mut writer = Self::default();
        writer.i16(version);
        writer
    }

    pub(super) fn i16(&mut self, value: i16) {
        self.bytes.put_i16(value);
    }

    pub(super) fn i32(&mut self, value: i32) {
        self.bytes.put_i32(value);
    }

    pub(super) fn i64(&mut self, value: i64) {
        self.bytes.put_i64(value);
    }

    pub(super) fn string(&mut self, text: &str) -> Result<()> {
        self.i16(i16::try_from(text.len()).map_err(|_e| RecordError::TooLong)?);
        self.bytes.put_slice(text.as_bytes());
        Ok(())
    }

    pub(super) fn nullable_string(&mut self, text: Option<&str>) -> Result<()> {
        match text {
            Some(text) => self.string(text),
            None => {
                self.i16(-1);
                Ok(())
            }
        }
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.count(bytes.len())?;
        self.bytes.put_slice(bytes);
        Ok(())
    }

    pub(super) fn count(&mut self, count: usize) -> Result<()> {
        self.i32(i32::try_from(count).map_err(|_e| RecordError::TooLong)?);
        Ok(())
    }

    pub(super) fn finish(self) -> Bytes {
        Bytes::from(self.bytes)
    }
}
