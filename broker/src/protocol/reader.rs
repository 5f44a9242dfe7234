//! Reading from one frame: every length is held against the bytes that are there before it is used.
//!
//! Three limits make memory a function of what was really received: a value never reaches past its
//! frame (or tagged field); an array is allocated only if its elements could fit in what is left;
//! and all arrays of a message together stay within a budget proportional to the frame.

use super::DecodeError;
use bytes::Bytes;

/// The most memory a decoded message takes per byte of its frame, beyond [`DECODE_MEMORY_BASE`].
///
/// The smallest elements grow most: a four-letter topic name is 6 bytes on the wire and 48 in
/// memory. No client sends a large message made of smaller ones.
pub const DECODE_MEMORY_FACTOR: usize = 8;

/// What a decoded message may take however small its frame is.
pub const DECODE_MEMORY_BASE: usize = 64 * 1024;

/// More tagged fields in one struct than any version of any message has.
const TAGS_MAX: usize = 1024;

/// A cursor over one frame. What it hands out shares the frame's memory.
#[derive(Debug)]
pub struct Reader {
    frame: Bytes,
    at: usize,
    end: usize,
    budget: usize,
}

/// How a length is written where the encoding is not the compact one.
#[derive(Clone, Copy)]
pub(super) enum LengthSize {
    Two,
    Four,
}

impl Reader {
    /// Starts at the first byte of `frame`, which does not include the frame's size.
    #[must_use]
    pub const fn new(frame: Bytes) -> Self {
        let end = frame.len();
        let budget = end.saturating_mul(DECODE_MEMORY_FACTOR).saturating_add(DECODE_MEMORY_BASE);
        Self { frame, at: 0, end, budget }
    }

    /// Bytes not yet read.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.end.saturating_sub(self.at)
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    ///
    /// [`DecodeError::TrailingBytes`] if something is.
    pub const fn finish(&self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            left => Err(DecodeError::TrailingBytes(left)),
        }
    }

    /// The next `len` bytes, shared with the frame.
    pub(super) fn take(&mut self, len: usize) -> Result<Bytes, DecodeError> {
        let start = self.advance(len)?;
        Ok(self.frame.slice(start..self.at))
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let start = self.advance(N)?;
        let bytes = self.frame.get(start..self.at).and_then(|bytes| bytes.try_into().ok());
        bytes.ok_or(DecodeError::Truncated { needed: N, left: 0 })
    }

    /// Moves on by `len` bytes and says where they start.
    const fn advance(&mut self, len: usize) -> Result<usize, DecodeError> {
        let left = self.remaining();
        if len > left {
            return Err(DecodeError::Truncated { needed: len, left });
        }
        let start = self.at;
        self.at += len;
        Ok(start)
    }

    /// Seven bits per byte, lowest first; at most 32 bits.
    pub(super) fn unsigned_varint(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array()?;
            let bits = u32::from(byte & 0x7f);
            if shift == 28 && bits > 0x0f {
                return Err(DecodeError::VarintTooLong);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::VarintTooLong)
    }

    /// A length, or `None` for null. Says nothing yet about whether the bytes are there.
    pub(super) fn length(
        &mut self,
        flexible: bool,
        size: LengthSize,
    ) -> Result<Option<usize>, DecodeError> {
        let length = if flexible {
            // Stated plus one, so that zero is null.
            i64::from(self.unsigned_varint()?) - 1
        } else {
            match size {
                LengthSize::Two => i64::from(i16::from_be_bytes(self.array()?)),
                LengthSize::Four => i64::from(i32::from_be_bytes(self.array()?)),
            }
        };
        match (length, usize::try_from(length)) {
            (_, Ok(length)) => Ok(Some(length)),
            (-1, Err(_)) => Ok(None),
            (_, Err(_)) => {
                Err(DecodeError::NegativeLength(i32::try_from(length).unwrap_or(i32::MIN)))
            }
        }
    }

    /// Room for `count` elements of at least `size_min` bytes each on the wire.
    pub(super) fn reserve<T>(
        &mut self,
        count: usize,
        size_min: usize,
    ) -> Result<Vec<T>, DecodeError> {
        let left = self.remaining();
        match count.checked_mul(size_min.max(1)) {
            Some(needed) if needed <= left => {}
            _ => return Err(DecodeError::CountTooLarge { count, left }),
        }
        self.charge(count.saturating_mul(size_of::<T>()))?;
        let mut items = Vec::new();
        match items.try_reserve_exact(count) {
            Ok(()) => Ok(items),
            Err(_) => Err(DecodeError::BudgetExceeded),
        }
    }

    pub(super) fn charge(&mut self, bytes: usize) -> Result<(), DecodeError> {
        self.budget = self.budget.checked_sub(bytes).ok_or(DecodeError::BudgetExceeded)?;
        Ok(())
    }

    /// Reads the tagged fields that close a struct: `read` decodes those it knows and says whether
    /// it did; the others are skipped.
    pub(super) fn tagged_fields(
        &mut self,
        mut read: impl FnMut(u32, &mut Self) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        let count = self.small()?;
        let left = self.remaining();
        if count > TAGS_MAX {
            return Err(DecodeError::TooManyTags(count));
        }
        // A field is at least a tag and a size.
        if count.saturating_mul(2) > left {
            return Err(DecodeError::CountTooLarge { count, left });
        }
        (0..count).try_for_each(|_| self.tagged_field(&mut read))
    }

    fn tagged_field(
        &mut self,
        read: &mut impl FnMut(u32, &mut Self) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        let tag = self.unsigned_varint()?;
        let size = self.small()?;
        let start = self.advance(size)?;
        let (after, outer_end) = (self.at, self.end);
        self.at = start;
        self.end = after;
        let known = read(tag, self)?;
        if known && self.at != after {
            return Err(DecodeError::TagSizeMismatch { tag, left: self.remaining() });
        }
        self.at = after;
        self.end = outer_end;
        Ok(())
    }

    /// A count or size; one the platform cannot even number is as good as the largest it can.
    fn small(&mut self) -> Result<usize, DecodeError> {
        Ok(usize::try_from(self.unsigned_varint()?).unwrap_or(usize::MAX))
    }
}
