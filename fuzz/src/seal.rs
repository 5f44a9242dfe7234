//! Right checksums over foreign bytes: an attacker has them, and chance does not find them.

use oncelog::batch::{Batch, HEADER_BYTES};

/// Every group of writes ends on a block boundary, in a trailer.
const BLOCK: usize = 4096;
const TRAILER: usize = 64;

/// Makes the checksums of a data file right: of its batches, one after the other, and of the
/// trailers at the ends of its blocks.
pub fn data_file(bytes: &mut [u8], renumber: bool) {
    let (mut at, mut next) = (0, 0_i64);
    while let Some(rest) = bytes.get_mut(at..) {
        let Some(size) = Batch::peek_len(rest).filter(|size| *size <= rest.len()) else { break };
        let Some(batch) = rest.get_mut(..size) else { break };
        if renumber {
            batch[..8].copy_from_slice(&next.to_be_bytes());
            let delta = i32::from_be_bytes([batch[23], batch[24], batch[25], batch[26]]);
            next = next.saturating_add(i64::from(delta)).saturating_add(1);
        }
        seal_batch(batch);
        at += size;
    }
    for block in bytes.chunks_exact_mut(BLOCK) {
        let trailer = &mut block[BLOCK - TRAILER..];
        if trailer.starts_with(b"oncelogW") {
            let crc = crc32c::crc32c(&trailer[..TRAILER - 4]);
            trailer[TRAILER - 4..].copy_from_slice(&crc.to_be_bytes());
        }
    }
}

fn seal_batch(batch: &mut [u8]) {
    if batch.len() >= HEADER_BYTES {
        let crc = crc32c::crc32c(&batch[21..]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
    }
}

/// Makes the checksum of a `.snapshot` right.
pub fn snapshot(bytes: &mut [u8]) {
    if bytes.len() >= 6 {
        let crc = crc32c::crc32c(&bytes[6..]);
        bytes[2..6].copy_from_slice(&crc.to_be_bytes());
    }
}

/// Makes the two checksums of a `.state` right.
pub fn state(bytes: &mut [u8]) {
    if bytes.len() >= 20 {
        let header = crc32c::crc32c(&bytes[..12]);
        bytes[12..16].copy_from_slice(&header.to_be_bytes());
        let body_end = bytes.len() - 4;
        let whole = crc32c::crc32c(&bytes[..body_end]);
        bytes[body_end..].copy_from_slice(&whole.to_be_bytes());
    }
}
