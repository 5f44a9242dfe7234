//! Sixteen-byte identities: topics and directories.

use std::fmt;

/// An identity as it stands on the wire; all zeros means none.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_structs, reason = "sixteen bytes are all an identity will ever be")]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// No identity.
    pub const ZERO: Self = Self([0; 16]);

    /// Whether this is no identity.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }
}

/// URL-safe base64 without padding, the form Kafka's tools and files use.
impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = u128::from_be_bytes(self.0);
        // 128 bits are 21 groups of six and two bits more, which close the text shifted left.
        (0..21).try_for_each(|group| write_group(f, bits >> (122 - 6 * group)))?;
        write_group(f, bits << 4)
    }
}

fn write_group(f: &mut fmt::Formatter<'_>, bits: u128) -> fmt::Result {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let index = usize::try_from(bits & 63).unwrap_or_default();
    fmt::Write::write_char(f, char::from(ALPHABET[index]))
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
