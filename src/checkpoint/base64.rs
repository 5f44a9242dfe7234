//! Ids of 16 bytes as Kafka writes them: url-safe base64 without padding, 22 characters.

/// The digits, by value.
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Digits of an id.
const LEN: usize = 22;

/// Bits in a digit.
const DIGIT_BITS: u32 = 6;

/// Bits of the last digit that stand for nothing.
const SPARE_BITS: u32 = DIGIT_BITS.saturating_sub(LAST_BITS);

/// Bits of an id in the last digit; its other four are zero, for 22 digits have 132 bits.
const LAST_BITS: u32 = 2;

/// The text of an id.
pub(crate) fn encode(id: [u8; 16]) -> String {
    let id = u128::from_be_bytes(id);
    let most = (LAST_BITS..u128::BITS).step_by(6).rev().map(|shift| id >> shift);
    let last = id << SPARE_BITS;
    let digit = |value| DIGITS.get(usize::try_from(value & 63).ok()?).copied();
    most.chain([last]).filter_map(digit).map(char::from).collect()
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
    let id = id << LAST_BITS | last >> SPARE_BITS;
    (last.trailing_zeros() >= SPARE_BITS).then(|| id.to_be_bytes())
}

fn value_of(digit: u8) -> Option<u128> {
    DIGITS.iter().position(|d| *d == digit).and_then(|value| u128::try_from(value).ok())
}
