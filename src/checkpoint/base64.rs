//! Ids of 16 bytes as Kafka writes them: url-safe base64 without padding, 22 characters.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

/// The digits, by value.
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Digits of an id.
const LEN: usize = 22;

/// Bits in a digit.
const DIGIT_BITS: u32 = 6;

/// Bits in the last digit that stand for nothing: 22 digits have 132 bits, an id 128.
const SPARE_BITS: u32 = 4;

/// The text of an id.
pub(super) fn encode(id: [u8; 16]) -> String {
    let id = u128::from_be_bytes(id);
    let shifts = (0..LEN as u32)
        .map(|n| 128_u32.saturating_sub(DIGIT_BITS).checked_sub(n.saturating_mul(DIGIT_BITS)));
    shifts
        .filter_map(|shift| {
            let value = match shift {
                Some(shift) => id >> shift,
                None => id << SPARE_BITS,
            };
            DIGITS.get(usize::from(value.to_be_bytes()[15] & 63)).copied().map(char::from)
        })
        .collect()
}

/// The id of a text; `None` unless it is exactly what [`encode`] gives.
pub(super) fn decode(text: &str) -> Option<[u8; 16]> {
    if text.len() != LEN {
        return None;
    }
    let mut id = 0_u128;
    let (most, last) = text.as_bytes().split_at_checked(LEN.saturating_sub(1))?;
    for digit in most {
        id = id << DIGIT_BITS | value_of(*digit)?;
    }
    // The last digit gives its upper two bits.
    let last = value_of(*last.first()?)?;
    let id = id << DIGIT_BITS.saturating_sub(SPARE_BITS) | last >> SPARE_BITS;
    (last.trailing_zeros() >= SPARE_BITS).then(|| id.to_be_bytes())
}

fn value_of(digit: u8) -> Option<u128> {
    DIGITS.iter().position(|d| *d == digit).and_then(|value| u128::try_from(value).ok())
}
