//! A cursor over foreign bytes, and the zigzag variable-length integers of records (D-17).
//!
//! Every read takes from the front of what is left or fails; nothing is read past the end and no
//! length is believed before its bytes are there. A form longer than its value needs is accepted, as
//! Kafka does, as long as it stays within 5 (varint) or 10 (varlong) bytes and loses no bit.

/// Why bytes are not what they should be; completed with its place by whoever knows it.
pub(super) type Fault = &'static str;

/// What is left of some bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[cfg(feature = "compression")]
    pub(super) fn starts_with(&self, prefix: &[u8]) -> bool {
        self.rest.starts_with(prefix)
    }

    /// The next `len` bytes.
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or("the bytes end too early")?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or("the bytes end too early")?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn varint(&mut self) -> Result<i32, Fault> {
        let raw = u32::try_from(self.unsigned(u32::BITS)?).ok().ok_or(TOO_LONG)?;
        Ok((raw >> 1).cast_signed() ^ (raw & 1).cast_signed().wrapping_neg())
    }

    pub(super) fn varlong(&mut self) -> Result<i64, Fault> {
        let raw = self.unsigned(u64::BITS)?;
        Ok((raw >> 1).cast_signed() ^ (raw & 1).cast_signed().wrapping_neg())
    }

    /// Bytes preceded by their length, which must not be negative.
    pub(super) fn sized(&mut self) -> Result<&'a [u8], Fault> {
        let len = usize::try_from(self.varint()?).ok().ok_or("a length is negative")?;
        self.take(len)
    }

    /// Bytes preceded by their length, where −1 means null.
    pub(super) fn nullable(&mut self) -> Result<Option<&'a [u8]>, Fault> {
        let before = *self;
        if self.varint()? == -1 {
            return Ok(None);
        }
        *self = before;
        self.sized().map(Some)
    }

    /// A base-128 number of at most `bits` bits, rounded up to whole groups of seven.
    fn unsigned(&mut self, bits: u32) -> Result<u64, Fault> {
        let mut value = 0_u64;
        for shift in (0..bits).step_by(7) {
            let [byte] = self.array()?;
            let group = u64::from(byte & 0x7f);
            let placed = group.wrapping_shl(shift);
            if placed.wrapping_shr(shift) != group {
                return Err(TOO_LONG);
            }
            value |= placed;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(TOO_LONG)
    }
}

/// Appends `value` as a varint.
pub(super) fn put_varint(out: &mut Vec<u8>, value: i32) {
    put_varlong(out, i64::from(value));
}

/// Appends `value` as a varlong; for values of 32 bits that is also the varint.
pub(super) fn put_varlong(out: &mut Vec<u8>, value: i64) {
    let mut rest = (value.wrapping_shl(1) ^ (value >> 63)).cast_unsigned();
    while let Some(group) = low_group(rest).filter(|_| rest > 0x7f) {
        out.push(group | 0x80);
        rest >>= 7;
    }
    out.extend(low_group(rest));
}

fn low_group(value: u64) -> Option<u8> {
    u8::try_from(value & 0x7f).ok()
}

const TOO_LONG: Fault = "a variable-length integer is too long";

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(value: i64) -> Vec<u8> {
        let mut out = Vec::new();
        put_varlong(&mut out, value);
        out
    }

    // D-17.
    #[test]
    fn zigzag_values_have_protobuf_s_bytes() {
        let cases: [(i64, &[u8]); 7] = [
            (0, &[0]),
            (-1, &[1]),
            (1, &[2]),
            (-64, &[0x7f]),
            (64, &[0x80, 1]),
            (i64::from(i32::MIN), &[0xff, 0xff, 0xff, 0xff, 0x0f]),
            (i64::MIN, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
        ];
        for (value, bytes) in cases {
            assert_eq!(encoded(value), bytes, "{value}");
            assert_eq!(Cursor::new(bytes).varlong(), Ok(value));
            if let Ok(value) = i32::try_from(value) {
                assert_eq!(Cursor::new(bytes).varint(), Ok(value));
            }
        }
    }

    #[test]
    fn every_bit_width_survives_a_round_trip() {
        for bit in 0..64 {
            for value in [1_i64 << bit, (1_i64 << bit).wrapping_sub(1), !(1_i64 << bit)] {
                let bytes = encoded(value);
                let mut cursor = Cursor::new(&bytes);
                assert_eq!(cursor.varlong(), Ok(value));
                assert!(cursor.is_empty());
            }
        }
    }

    #[test]
    fn truncated_and_too_long_forms_are_refused() {
        assert!(Cursor::new(&[]).varint().is_err());
        assert!(Cursor::new(&[0x80]).varint().is_err());
        assert!(Cursor::new(&[0x80, 0x80, 0x80, 0x80, 0x80, 0]).varint().is_err());
        assert_eq!(Cursor::new(&[0xff, 0xff, 0xff, 0xff, 0x1f]).varint(), Err(TOO_LONG));
        let mut long = [0xff_u8; 10];
        long[9] = 2;
        assert_eq!(Cursor::new(&long).varlong(), Err(TOO_LONG));
        assert!(Cursor::new(&[0x80; 11]).varlong().is_err());
    }

    #[test]
    fn a_padded_form_within_five_bytes_is_accepted() {
        assert_eq!(Cursor::new(&[0x82, 0x80, 0]).varint(), Ok(1));
    }

    #[test]
    fn lengths_below_minus_one_are_refused() {
        assert!(Cursor::new(&[3]).nullable().is_err());
        assert_eq!(Cursor::new(&[1]).nullable(), Ok(None));
        assert_eq!(Cursor::new(&[2, 7]).nullable(), Ok(Some(&[7_u8][..])));
        assert!(Cursor::new(&[4, 7]).nullable().is_err());
        assert!(Cursor::new(&[1]).sized().is_err());
    }
}
