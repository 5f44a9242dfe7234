//! The trailer that ends every commit group in an active segment: the durable watermark.
//!
//! A torn tail and damage look alike: a batch whose checksum is wrong. What tells them apart is
//! knowing how far the log was durable. Each group's last block therefore ends in a trailer that
//! says where the group *before* it ended: that much was flushed before this group was even
//! submitted. It costs no round trip, because it rides in the padding the group's aligned write has
//! anyway, and it vanishes when the segment is sealed, because sealing trims the padding.
//!
//! ```text
//! | batches … batch | zeroes … | trailer |   one or more 4 KiB blocks
//!                   ^ group end           ^ block boundary
//! ```
//!
//! INV-TRAILER-NO-BATCH: a reader of batches never mistakes it for one. It lies behind zeroes, and
//! its own bytes 8..12, where a batch has its length, are zero.

use crate::io::BLOCK_BYTES;
use crate::types::Offset;

/// Size of a trailer.
pub(crate) const TRAILER_BYTES: usize = 64;

const MAGIC: [u8; 8] = *b"oncelogW";
const VERSION: u16 = 1;
const CRC_AT: usize = TRAILER_BYTES - 4;

/// What a group's trailer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trailer {
    /// Base offset of the segment it lies in; a trailer of another file is not believed.
    pub(crate) segment_base: Offset,
    /// Everything below this offset was durable when the group was submitted.
    pub(crate) durable_end: Offset,
    /// Where the group ends, in offsets.
    pub(crate) group_end: Offset,
    /// Where the group ends, in bytes of this segment.
    pub(crate) group_end_position: u64,
}

impl Trailer {
    /// The trailer's bytes.
    pub(crate) fn encode(&self) -> [u8; TRAILER_BYTES] {
        let mut out = [0; TRAILER_BYTES];
        out[..8].copy_from_slice(&MAGIC);
        // Bytes 8..12 stay zero: a scanner of batches reads its length field there.
        out[12..14].copy_from_slice(&VERSION.to_be_bytes());
        out[16..24].copy_from_slice(&self.segment_base.get().to_be_bytes());
        out[24..32].copy_from_slice(&self.durable_end.get().to_be_bytes());
        out[32..40].copy_from_slice(&self.group_end.get().to_be_bytes());
        out[40..48].copy_from_slice(&self.group_end_position.to_be_bytes());
        let crc = crc32c::crc32c(&out[..CRC_AT]);
        out[CRC_AT..].copy_from_slice(&crc.to_be_bytes());
        out
    }

    /// The trailer in `bytes`, if that is what they are.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; TRAILER_BYTES] = bytes.try_into().ok()?;
        let crc = u32::from_be_bytes(bytes[CRC_AT..].try_into().ok()?);
        let version = u16::from_be_bytes([bytes[12], bytes[13]]);
        if bytes[..8] != MAGIC || version != VERSION || crc != crc32c::crc32c(&bytes[..CRC_AT]) {
            return None;
        }
        let int = |at: usize| bytes[at..at + 8].try_into().map(i64::from_be_bytes).ok();
        Some(Self {
            segment_base: Offset::new(int(16)?),
            durable_end: Offset::new(int(24)?),
            group_end: Offset::new(int(32)?),
            group_end_position: u64::try_from(int(40)?).ok()?,
        })
    }
}

/// Where the padded write of a group that ends at `data_end` ends: room for the trailer included.
pub(crate) fn padded_end(data_end: u64) -> u64 {
    (data_end + TRAILER_BYTES as u64).next_multiple_of(BLOCK_BYTES as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRAILER: Trailer = Trailer {
        segment_base: Offset::new(7),
        durable_end: Offset::new(9),
        group_end: Offset::new(12),
        group_end_position: 400,
    };

    #[test]
    fn a_trailer_round_trips_and_every_flipped_bit_voids_it() {
        let bytes = TRAILER.encode();
        assert_eq!(Trailer::decode(&bytes), Some(TRAILER));
        for bit in 0..TRAILER_BYTES * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Trailer::decode(&damaged), None, "bit {bit}");
        }
        assert_eq!(Trailer::decode(&bytes[1..]), None);
    }

    #[test]
    fn a_trailer_is_no_batch() {
        assert_eq!(TRAILER.encode()[8..12], [0; 4]);
    }

    #[test]
    fn the_padded_end_leaves_room_for_the_trailer() {
        assert_eq!(padded_end(0), 4096);
        assert_eq!(padded_end(4096 - 64), 4096);
        assert_eq!(padded_end(4096 - 63), 8192);
        assert_eq!(padded_end(4096), 8192);
    }
}
