//! Writing one frame as a list of buffers, so that record bytes go to the socket uncopied.
//!
//! A mistake of the sender (a string too long for its length field) is remembered and reported once,
//! when the frame is asked for: nothing in between needs to look.

use super::EncodeError;
use bytes::{BufMut, Bytes, BytesMut};

/// The frame's size, written when everything else is known.
const SIZE_BYTES: usize = 4;

/// Slices shorter than this are copied: a buffer of its own costs more than the copy.
const SHARE_MIN: usize = 512;

/// Collects a frame.
#[derive(Debug)]
pub struct Writer {
    /// Closed buffers; those written here are still writable, for the size.
    closed: Vec<Segment>,
    current: BytesMut,
    error: Option<EncodeError>,
}

#[derive(Debug)]
enum Segment {
    Written(BytesMut),
    Shared(Bytes),
}

impl Segment {
    fn freeze(self) -> Bytes {
        match self {
            Self::Written(bytes) => bytes.freeze(),
            Self::Shared(bytes) => bytes,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Written(bytes) => bytes.len(),
            Self::Shared(bytes) => bytes.len(),
        }
    }
}

impl Default for Writer {
    fn default() -> Self {
        Self::new()
    }
}

impl Writer {
    /// An empty frame.
    #[must_use]
    pub fn new() -> Self {
        let mut current = BytesMut::with_capacity(256);
        current.put_bytes(0, SIZE_BYTES);
        Self { closed: Vec::new(), current, error: None }
    }

    /// The frame with its size in front, in buffers to be written in order.
    ///
    /// # Errors
    ///
    /// The first [`EncodeError`] met while writing.
    pub fn into_frame(self) -> Result<Vec<Bytes>, EncodeError> {
        let mut segments = self.into_segments()?;
        let total: usize = segments.iter().map(Segment::len).sum();
        let size = total.saturating_sub(SIZE_BYTES);
        let size_field = i32::try_from(size).or(Err(EncodeError::TooLong(size)))?.to_be_bytes();
        if let Some(Segment::Written(first)) = segments.first_mut() {
            first.iter_mut().zip(size_field).for_each(|(byte, value)| *byte = value);
        }
        Ok(segments.into_iter().map(Segment::freeze).collect())
    }

    /// The bytes written, without a size.
    ///
    /// # Errors
    ///
    /// The first [`EncodeError`] met while writing.
    pub fn into_buffers(self) -> Result<Vec<Bytes>, EncodeError> {
        let segments = self.into_segments()?;
        let mut buffers: Vec<Bytes> = segments.into_iter().map(Segment::freeze).collect();
        if let Some(first) = buffers.first_mut() {
            *first = first.slice(SIZE_BYTES.min(first.len())..);
        }
        Ok(buffers)
    }

    fn into_segments(mut self) -> Result<Vec<Segment>, EncodeError> {
        self.close_current();
        match self.error {
            Some(error) => Err(error),
            None => Ok(self.closed),
        }
    }

    fn close_current(&mut self) {
        if !self.current.is_empty() {
            self.closed.push(Segment::Written(std::mem::take(&mut self.current)));
        }
    }

    pub(super) const fn fail(&mut self, error: EncodeError) {
        if self.error.is_none() {
            self.error = Some(error);
        }
    }

    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.current.put_slice(bytes);
    }

    /// Adds `bytes` without copying them, unless they are few.
    pub(super) fn put_shared(&mut self, bytes: &Bytes) {
        if bytes.len() < SHARE_MIN {
            return self.put(bytes);
        }
        self.close_current();
        self.closed.push(Segment::Shared(bytes.clone()));
    }

    pub(super) fn unsigned_varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.current.put_u8((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.current.put_u8((value & 0x7f) as u8);
    }

    /// The length of a string that is not compact; `None` is null.
    pub(super) fn short_length(&mut self, length: Option<usize>) {
        let stated = length.map_or(Ok(-1), i16::try_from);
        let stated = self.checked(stated.ok(), length);
        self.put(&stated.to_be_bytes());
    }

    /// The length of bytes or an array that are not compact; `None` is null.
    pub(super) fn long_length(&mut self, length: Option<usize>) {
        let stated = length.map_or(Ok(-1), i32::try_from);
        let stated = self.checked(stated.ok(), length);
        self.put(&stated.to_be_bytes());
    }

    /// The length of anything compact: stated plus one, so that zero is null.
    pub(super) fn compact_length(&mut self, length: Option<usize>) {
        let stated = length.map_or(Ok(0), |length| u32::try_from(length.saturating_add(1)));
        let stated = self.checked(stated.ok(), length);
        self.unsigned_varint(stated);
    }

    fn checked<T: Default>(&mut self, stated: Option<T>, length: Option<usize>) -> T {
        stated.unwrap_or_else(|| {
            self.fail(EncodeError::TooLong(length.unwrap_or_default()));
            T::default()
        })
    }

    /// One tagged field: its tag, the size of its value, its value.
    pub(super) fn tagged_field(&mut self, tag: u32, write: impl FnOnce(&mut Self)) {
        let mut value = Self::new();
        write(&mut value);
        match value.into_buffers() {
            Ok(buffers) => {
                let size: usize = buffers.iter().map(Bytes::len).sum();
                let size_field = self.checked(u32::try_from(size).ok(), Some(size));
                self.unsigned_varint(tag);
                self.unsigned_varint(size_field);
                buffers.iter().for_each(|bytes| self.put_shared(bytes));
            }
            Err(error) => self.fail(error),
        }
    }
}
