//! Bounded reading and writing of the field types in Kafka's stored schemas.
//!
//! No length is believed before the bytes are there, and no count before the smallest elements it
//! announces would fit into what is left.

use bytes::{BufMut, Bytes};
use std::fmt;
use std::sync::Arc;

/// Why a stored key or value could not be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordError {
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
pub(crate) type Result<T> = std::result::Result<T, RecordError>;

/// Reads fields off the front of a slice. Flexible schemas use compact lengths and end in tags.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    pub(crate) flexible: bool,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
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

    pub(crate) fn i16(&mut self) -> Result<i16> {
        self.array().map(i16::from_be_bytes)
    }

    pub(crate) fn i8(&mut self) -> Result<i8> {
        self.array().map(i8::from_be_bytes)
    }

    pub(crate) fn i32(&mut self) -> Result<i32> {
        self.array().map(i32::from_be_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64> {
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

    pub(crate) fn nullable_string(&mut self) -> Result<Option<Arc<str>>> {
        let Some(length) = self.length(|reader| reader.i16().map(i32::from))? else {
            return Ok(None);
        };
        let text = std::str::from_utf8(self.take(length)?).map_err(|_e| RecordError::NotUtf8)?;
        Ok(Some(Arc::from(text)))
    }

    pub(crate) fn string(&mut self) -> Result<Arc<str>> {
        self.nullable_string()?.ok_or(RecordError::BadLength)
    }

    pub(crate) fn bytes(&mut self) -> Result<Bytes> {
        let length = self.length(Self::i32)?.ok_or(RecordError::BadLength)?;
        // A copy, so that a small field does not keep a large log buffer alive.
        Ok(Bytes::copy_from_slice(self.take(length)?))
    }

    /// The length of an array whose elements take at least `element_bytes_min` each.
    pub(crate) fn count(&mut self, element_bytes_min: usize) -> Result<usize> {
        self.nullable_count(element_bytes_min)?.ok_or(RecordError::BadLength)
    }

    /// The length of an array that may be null.
    pub(crate) fn nullable_count(&mut self, element_bytes_min: usize) -> Result<Option<usize>> {
        let Some(count) = self.length(Self::i32)? else { return Ok(None) };
        let room = self.rest.len().checked_div(element_bytes_min).unwrap_or(0);
        if count > room { Err(RecordError::Truncated) } else { Ok(Some(count)) }
    }

    /// The tags at the end of a flexible struct, each with the fields in it.
    pub(crate) fn tags(
        &mut self,
        mut visit: impl FnMut(u32, &mut Self) -> Result<()>,
    ) -> Result<()> {
        if !self.flexible {
            return Ok(());
        }
        for _tag in 0..self.varint()? {
            let tag = self.varint()?;
            let length = self.varint()?;
            let bytes = self.take(usize::try_from(length).map_err(|_e| RecordError::BadLength)?)?;
            visit(tag, &mut Reader { rest: bytes, flexible: true })?;
        }
        Ok(())
    }

    /// The tags at the end of a flexible struct of which none is known.
    pub(crate) fn skip_tags(&mut self) -> Result<()> {
        self.tags(|_, _| Ok(()))
    }
}

/// Appends fields. The names with `compact` are those of flexible schemas.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn new(version: i16) -> Self {
        let mut writer = Self::default();
        writer.i16(version);
        writer
    }

    pub(crate) fn i16(&mut self, value: i16) {
        self.bytes.put_i16(value);
    }

    pub(crate) fn i32(&mut self, value: i32) {
        self.bytes.put_i32(value);
    }

    pub(crate) fn i64(&mut self, value: i64) {
        self.bytes.put_i64(value);
    }

    pub(crate) fn string(&mut self, text: &str) -> Result<()> {
        self.i16(i16::try_from(text.len()).map_err(|_e| RecordError::TooLong)?);
        self.bytes.put_slice(text.as_bytes());
        Ok(())
    }

    pub(crate) fn nullable_string(&mut self, text: Option<&str>) -> Result<()> {
        match text {
            Some(text) => self.string(text),
            None => {
                self.i16(-1);
                Ok(())
            }
        }
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.count(bytes.len())?;
        self.bytes.put_slice(bytes);
        Ok(())
    }

    pub(crate) fn count(&mut self, count: usize) -> Result<()> {
        self.i32(i32::try_from(count).map_err(|_e| RecordError::TooLong)?);
        Ok(())
    }

    pub(crate) fn i8(&mut self, value: i8) {
        self.bytes.put_i8(value);
    }

    fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.bytes.put_u8((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.put_u8((value & 0x7f) as u8);
    }

    /// The length of an array or string plus one; 0 is null.
    pub(crate) fn compact_count(&mut self, count: Option<usize>) -> Result<()> {
        let stored = count.map_or(Some(0), |count| u32::try_from(count).ok()?.checked_add(1));
        self.varint(stored.ok_or(RecordError::TooLong)?);
        Ok(())
    }

    pub(crate) fn compact_string(&mut self, text: &str) -> Result<()> {
        self.compact_count(Some(text.len()))?;
        self.bytes.put_slice(text.as_bytes());
        Ok(())
    }

    /// Tags in ascending order, each with its bytes.
    pub(crate) fn tags(&mut self, tags: &[(u32, &[u8])]) -> Result<()> {
        self.varint(u32::try_from(tags.len()).map_err(|_e| RecordError::TooLong)?);
        for (tag, bytes) in tags {
            self.varint(*tag);
            self.varint(u32::try_from(bytes.len()).map_err(|_e| RecordError::TooLong)?);
            self.bytes.put_slice(bytes);
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Bytes {
        Bytes::from(self.bytes)
    }
}
