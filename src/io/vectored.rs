//! Writing a list of buffers to the end, however the kernel cuts it: short writes, interrupts, more
//! buffers than one call takes.
//!
//! The one idea: a [`Cursor`] names what is left, every completion moves it, and the backends only
//! differ in how they hand the rest to the kernel.

use super::{BLOCK_BYTES, WriteOp};
use bytes::Bytes;
use std::io;

/// Buffers per call; Linux refuses more (`IOV_MAX`).
const BUFFERS_MAX: usize = 1024;

/// What of a list of buffers is still to be written, and where.
#[derive(Debug)]
pub(super) struct Cursor {
    position: u64,
    direct: bool,
    /// First buffer that is not fully written.
    index: usize,
    /// Bytes of it that are.
    within: usize,
}

impl Cursor {
    pub(super) fn new(position: u64, direct: bool) -> Self {
        Self { position, direct, index: 0, within: 0 }
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The next buffers to write, as many as one call takes; empty when all is written.
    pub(super) fn rest<'a>(&self, buffers: &'a [Bytes]) -> impl Iterator<Item = &'a [u8]> {
        let within = self.within;
        let rest = buffers.get(self.index..).unwrap_or_default();
        let bytes = rest.iter().enumerate().map(move |(nth, buffer)| {
            if nth == 0 { buffer.get(within..).unwrap_or_default() } else { &buffer[..] }
        });
        bytes.filter(|bytes| !bytes.is_empty()).take(BUFFERS_MAX)
    }

    /// Moves past the `written` bytes of a completion. A direct file goes on at a block boundary:
    /// a block that the device took in part is written again, with the same bytes.
    ///
    /// # Errors
    /// `WriteZero` if that would move nothing, and so never end.
    pub(super) fn advance(&mut self, buffers: &[Bytes], written: usize) -> io::Result<()> {
        let whole = if self.direct { written - written % BLOCK_BYTES } else { written };
        if whole == 0 {
            let context = format!("the device took {written} bytes at {}", self.position);
            return Err(io::Error::new(io::ErrorKind::WriteZero, context));
        }
        let mut left = whole;
        while left > 0 {
            let len = buffers.get(self.index).map_or(0, |buffer| buffer.len() - self.within);
            if len > left {
                self.within += left;
                break;
            }
            left -= len;
            self.index += 1;
            self.within = 0;
            assert!(left == 0 || self.index < buffers.len(), "more bytes written than given");
        }
        self.position += whole as u64;
        Ok(())
    }
}

/// Refuses a direct write whose position, addresses or lengths are not whole blocks.
pub(super) fn check_alignment(op: &WriteOp) -> io::Result<()> {
    if !op.file.is_direct() || op.is_aligned() {
        return Ok(());
    }
    let context = format!("unaligned direct write of {} bytes at {}", op.len(), op.position);
    Err(io::Error::new(io::ErrorKind::InvalidInput, context))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffers(lens: &[usize]) -> Vec<Bytes> {
        let fill =
            |(nth, len): (usize, &usize)| Bytes::from(vec![u8::try_from(nth).unwrap(); *len]);
        lens.iter().enumerate().map(fill).collect()
    }

    fn rest(cursor: &Cursor, buffers: &[Bytes]) -> Vec<(u8, usize)> {
        cursor.rest(buffers).map(|bytes| (bytes[0], bytes.len())).collect()
    }

    #[test]
    fn a_short_write_goes_on_inside_the_buffer_it_stopped_in() {
        let buffers = buffers(&[10, 0, 20, 30]);
        let mut cursor = Cursor::new(100, false);
        cursor.advance(&buffers, 13).unwrap();
        assert_eq!(cursor.position(), 113);
        assert_eq!(rest(&cursor, &buffers), [(2, 17), (3, 30)]);
        cursor.advance(&buffers, 17).unwrap();
        assert_eq!(rest(&cursor, &buffers), [(3, 30)]);
        cursor.advance(&buffers, 30).unwrap();
        assert_eq!(rest(&cursor, &buffers), []);
    }

    #[test]
    fn a_short_direct_write_goes_on_at_a_block_boundary() {
        let buffers = buffers(&[2 * BLOCK_BYTES, BLOCK_BYTES]);
        let mut cursor = Cursor::new(0, true);
        cursor.advance(&buffers, BLOCK_BYTES + 512).unwrap();
        assert_eq!(cursor.position(), BLOCK_BYTES as u64);
        assert_eq!(rest(&cursor, &buffers), [(0, BLOCK_BYTES), (1, BLOCK_BYTES)]);
    }

    #[test]
    fn a_write_that_moves_nothing_is_an_error_rather_than_a_loop() {
        let buffers = buffers(&[BLOCK_BYTES]);
        for (direct, written) in [(false, 0), (true, 0), (true, 512)] {
            let error = Cursor::new(0, direct).advance(&buffers, written).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::WriteZero);
        }
    }

    #[test]
    fn one_call_never_takes_more_buffers_than_the_kernel_allows() {
        let buffers = vec![Bytes::from_static(b"x"); 2000];
        let mut cursor = Cursor::new(0, false);
        assert_eq!(cursor.rest(&buffers).count(), BUFFERS_MAX);
        cursor.advance(&buffers, BUFFERS_MAX).unwrap();
        assert_eq!(cursor.rest(&buffers).count(), 2000 - BUFFERS_MAX);
    }
}
