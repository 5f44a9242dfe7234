//! Snappy as Kafka's clients frame it (D-15).
//!
//! ```text
//! 82 'S' 'N' 'A' 'P' 'P' 'Y' 00 | version i32 | compatible i32 | (length i32 | raw block)*
//! ```
//!
//! Some clients send one raw block without the framing; it is read as well. Files that were
//! concatenated repeat the preamble, and it is skipped where a block's length would stand.

use super::compression::{malformed, over_cap};
use super::varint::Cursor;
use std::io;

const MAGIC: [u8; 8] = *b"\x82SNAPPY\0";
const PREAMBLE_BYTES: usize = 16;

/// What the Java library cuts the input into.
const BLOCK_BYTES: usize = 32 << 10;

pub(super) fn decompress(input: &[u8], cap: usize) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    if !input.starts_with(&MAGIC) {
        append_block(input, cap, &mut out)?;
        return Ok(out);
    }
    let mut cursor = Cursor::new(input);
    while !cursor.is_empty() {
        if cursor.starts_with(&MAGIC) {
            cursor.take(PREAMBLE_BYTES).map_err(malformed)?;
            continue;
        }
        let len = i32::from_be_bytes(cursor.array().map_err(malformed)?);
        let len = usize::try_from(len).map_err(malformed)?;
        append_block(cursor.take(len).map_err(malformed)?, cap, &mut out)?;
    }
    Ok(out)
}

/// Decompresses one raw block to the end of `out`.
fn append_block(block: &[u8], cap: usize, out: &mut Vec<u8>) -> io::Result<()> {
    /// Three bytes of a block (a copy with a two-byte distance) yield 64 bytes at most.
    const RATIO_MAX: usize = 22;
    let declared = snap::raw::decompress_len(block).map_err(malformed)?;
    if declared > block.len().saturating_mul(RATIO_MAX) {
        return Err(malformed("a block declares more than its bytes can hold"));
    }
    let start = out.len();
    let end = start.saturating_add(declared);
    if end > cap {
        return Err(over_cap(cap));
    }
    out.resize(end, 0);
    let target = out.get_mut(start..).unwrap_or_default();
    snap::raw::Decoder::new().decompress(block, target).map_err(malformed)?;
    Ok(())
}

pub(super) fn compress(records: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let mut encoder = snap::raw::Encoder::new();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1]);
    for chunk in records.chunks(BLOCK_BYTES) {
        let block = encoder.compress_vec(chunk).map_err(io::Error::other)?;
        let len = i32::try_from(block.len()).map_err(io::Error::other)?;
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(&block);
    }
    Ok(())
}
