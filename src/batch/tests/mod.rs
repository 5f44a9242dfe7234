//! Golden bytes, round trips and hostile input of the batch format.

#[cfg(feature = "compression")]
mod codecs;
mod hostile;
mod round_trip;
mod rules;
mod vectors;

use super::*;

/// A small seeded generator; equal seeds give equal tests.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }

    /// At most `len_max` bytes, runs of equal ones as often as noise.
    fn bytes(&mut self, len_max: usize) -> Vec<u8> {
        let len = self.below(len_max + 1);
        if self.below(2) == 0 {
            return vec![self.byte(); len];
        }
        (0..len).map(|_| self.byte()).collect()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[7]
    }
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

fn parse(bytes: &[u8]) -> Batch<'_> {
    let (batch, rest) = Batch::parse(bytes).unwrap();
    assert!(rest.is_empty());
    batch
}

/// `bytes` with `patch` written at `at`, and the checksum made right again.
fn patched(bytes: &[u8], at: usize, patch: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + patch.len()].copy_from_slice(patch);
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
}

const CODECS: &[Compression] = &[
    Compression::None,
    #[cfg(feature = "compression")]
    Compression::Gzip,
    #[cfg(feature = "compression")]
    Compression::Snappy,
    #[cfg(feature = "compression")]
    Compression::Lz4,
    #[cfg(feature = "compression")]
    Compression::Zstd,
];
