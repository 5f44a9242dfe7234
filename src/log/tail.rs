//! The end of a log in memory: the bytes that wait for the disk, and the last few that are there.
//!
//! A tail is a queue of append-only chunks. The chunk a batch is copied into is the very memory the
//! disk write takes its blocks from and that readers get slices of; nothing is copied twice.
//!
//! A batch never straddles two chunks. Direct writes need whole blocks, so a new chunk begins at
//! the block boundary at or below the end of the one before it and repeats that partial block:
//!
//! ```text
//! chunk 0  |block|block|blo-             readers: [0 .. e)
//! chunk 1              |blo-ck|block|…   readers: [e .. …), writers from the boundary below e
//! ```

use crate::io::BLOCK_BYTES;
use crate::io::buf::{AlignedBuf, ChunkWriter};
use bytes::Bytes;
use std::collections::VecDeque;
use std::ops::Range;

/// Capacity of the first chunk of an idle log; doubles up to [`CHUNK_BYTES_MAX`].
const CHUNK_BYTES_MIN: usize = 16 << 10;
/// Capacity from which chunks stop growing (a larger batch gets a chunk of its own size).
const CHUNK_BYTES_MAX: usize = 1 << 20;

const BLOCK: u64 = BLOCK_BYTES as u64;

/// The block boundary at or below `position`.
pub(crate) fn block_floor(position: u64) -> u64 {
    position - position % BLOCK
}

#[derive(Debug)]
struct Piece {
    /// File position of the chunk's first byte; a multiple of the block size.
    start: u64,
    /// File position of the first byte that is not a repetition of the piece before.
    data_start: u64,
    chunk: ChunkWriter,
}

impl Piece {
    fn end(&self) -> u64 {
        self.start + self.chunk.len() as u64
    }

    fn view(&self, range: Range<u64>) -> Bytes {
        self.chunk.view(to_usize(range.start - self.start)..to_usize(range.end - self.start))
    }
}

/// The in-memory end of one segment.
#[derive(Debug)]
pub(crate) struct Tail {
    pieces: VecDeque<Piece>,
    /// Where the tail began when it was created: the end of what only the file has.
    end_at_creation: u64,
    /// Bytes of the partial block below `end_at_creation`.
    prefix: Bytes,
    next_capacity: usize,
}

impl Tail {
    /// The tail of a segment whose file already holds `end` bytes; `prefix` repeats the partial
    /// block below `end`.
    pub(crate) fn new(end: u64, prefix: Bytes) -> Self {
        assert_eq!(prefix.len() as u64, end % BLOCK, "the prefix is the last partial block");
        Self {
            pieces: VecDeque::new(),
            end_at_creation: end,
            prefix,
            next_capacity: CHUNK_BYTES_MIN,
        }
    }

    /// Where the tail ends: the size of the segment.
    pub(crate) fn end(&self) -> u64 {
        self.pieces.back().map_or(self.end_at_creation, Piece::end)
    }

    /// The first position readers find here; below it they read the file.
    pub(crate) fn data_start(&self) -> u64 {
        self.pieces.front().map_or(self.end_at_creation, |piece| piece.data_start)
    }

    /// Appends one batch, given as its patched header and the rest, and returns its position.
    pub(crate) fn append(&mut self, header: &[u8], rest: &[u8]) -> u64 {
        let len = header.len() + rest.len();
        if self.pieces.back().is_none_or(|piece| piece.chunk.remaining() < len) {
            self.add_piece(len);
        }
        let piece = self.pieces.back_mut().expect("a piece with room was just ensured");
        let position = piece.end();
        piece.chunk.append(header);
        piece.chunk.append(rest);
        position
    }

    fn add_piece(&mut self, batch_len: usize) {
        let end = self.end();
        let start = block_floor(end);
        let prefix = match self.pieces.back() {
            Some(piece) if start >= piece.start => piece.view(start..end),
            _ => self.prefix.clone(),
        };
        let mut chunk = ChunkWriter::new(self.capacity_for(prefix.len() + batch_len));
        chunk.append(&prefix);
        self.pieces.push_back(Piece { start, data_start: end, chunk });
        self.next_capacity = (self.next_capacity * 2).min(CHUNK_BYTES_MAX);
    }

    /// A larger batch than a full chunk takes gets one of a round size, which can be used again.
    fn capacity_for(&self, needed: usize) -> usize {
        if needed <= self.next_capacity { self.next_capacity } else { round_up(needed) }
    }

    /// Slices of `range`, one per chunk it touches. `range` lies within what readers find here.
    pub(crate) fn read(&self, range: Range<u64>) -> Vec<Bytes> {
        let overlap = |piece: &Piece| {
            let start = range.start.max(piece.data_start);
            let end = range.end.min(piece.end());
            (start < end).then(|| piece.view(start..end))
        };
        let first = self.pieces.partition_point(|piece| piece.end() <= range.start);
        self.pieces.iter().skip(first).map_while(overlap).collect()
    }

    /// The buffers of the aligned write of `from..end()`, from the block boundary below `from`,
    /// ending in a block or two that hold the rest of the data, zeroes, and `trailer` at their very
    /// end. Returns the write's position too.
    pub(crate) fn write_buffers(&self, from: u64, trailer: &[u8]) -> (u64, Vec<Bytes>) {
        let position = block_floor(from);
        let end = self.end();
        let whole_end = block_floor(end);
        let mut buffers = Vec::new();
        let mut at = position;
        let first = self.pieces.partition_point(|piece| piece.end() <= position);
        for (index, piece) in self.pieces.iter().enumerate().skip(first) {
            let next = self.pieces.get(index + 1).map_or(whole_end, |next| next.start);
            if at < next {
                buffers.push(piece.view(at..next));
                at = next;
            }
        }
        buffers.push(self.last_blocks(whole_end, end, trailer));
        (position, buffers)
    }

    fn last_blocks(&self, start: u64, end: u64, trailer: &[u8]) -> Bytes {
        let len = (end - start) + trailer.len() as u64;
        let mut blocks = AlignedBuf::new(to_usize(len.next_multiple_of(BLOCK)));
        let data = match self.pieces.back() {
            Some(piece) => piece.view(start..end),
            None => self.prefix.clone(),
        };
        blocks[..data.len()].copy_from_slice(&data);
        let trailer_at = blocks.len() - trailer.len();
        blocks[trailer_at..].copy_from_slice(trailer);
        blocks.freeze()
    }

    /// Lets go of chunks whose bytes are all in the file below `written`, but keeps up to
    /// `keep_bytes` for readers at the end of the log.
    pub(crate) fn release(&mut self, written: u64, keep_bytes: u64) {
        let end = self.end();
        while let [front, _, ..] = self.pieces.make_contiguous() {
            if front.end() > written || end - front.end() < keep_bytes {
                return;
            }
            self.pieces.pop_front();
        }
    }

    /// Gives back the memory of an idle tail: all of it is in the file.
    pub(crate) fn shrink(&mut self) {
        let end = self.end();
        let start = block_floor(end);
        if let Some(piece) = self.pieces.back() {
            self.prefix = Bytes::copy_from_slice(&piece.view(start..end));
        }
        self.pieces.clear();
        self.end_at_creation = end;
        self.next_capacity = CHUNK_BYTES_MIN;
    }
}

fn round_up(needed: usize) -> usize {
    let step = if needed > CHUNK_BYTES_MAX { CHUNK_BYTES_MAX / 4 } else { CHUNK_BYTES_MIN };
    needed.next_multiple_of(step)
}

fn to_usize(value: u64) -> usize {
    usize::try_from(value).expect("a distance within one segment fits usize")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(slices: &[Bytes]) -> Vec<u8> {
        slices.concat()
    }

    #[test]
    fn batches_come_back_whole_across_chunks() {
        let mut tail = Tail::new(0, Bytes::new());
        let mut expected = Vec::new();
        for i in 0..200_u32 {
            let body = vec![u8::try_from(i).unwrap(); 500 + i as usize];
            let position = tail.append(&[0xAA; 61], &body);
            assert_eq!(position, expected.len() as u64);
            expected.extend_from_slice(&[0xAA; 61]);
            expected.extend_from_slice(&body);
        }
        assert_eq!(joined(&tail.read(0..tail.end())), expected);
        assert_eq!(joined(&tail.read(700..9000)), expected[700..9000]);
        assert!(tail.pieces.len() > 2, "the chunks grew");
    }

    #[test]
    fn a_write_covers_whole_blocks_and_ends_in_the_trailer() {
        let mut tail = Tail::new(0, Bytes::new());
        let mut expected = Vec::new();
        for i in 0..60_u8 {
            tail.append(&[i; 61], &vec![i; 2000]);
            expected.extend_from_slice(&[i; 2061]);
        }
        for from in [0, 1, 4096, 5000, 20_000, 40_000, tail.end() - 1] {
            let (position, buffers) = tail.write_buffers(from, &[7; 64]);
            assert_eq!(position, block_floor(from));
            for buffer in &buffers {
                assert_eq!(buffer.len() % BLOCK_BYTES, 0);
                assert_eq!(buffer.as_ptr() as usize % BLOCK_BYTES, 0);
            }
            let bytes = joined(&buffers);
            let data = &expected[usize::try_from(position).unwrap()..];
            assert_eq!(bytes[..data.len()], *data);
            assert_eq!(bytes[bytes.len() - 64..], [7; 64]);
            assert!(bytes[data.len()..bytes.len() - 64].iter().all(|b| *b == 0));
        }
    }

    #[test]
    fn a_tail_that_resumes_repeats_the_partial_block_of_the_file() {
        let prefix = Bytes::from(vec![9; 100]);
        let mut tail = Tail::new(8192 + 100, prefix);
        tail.append(&[1; 61], &[2; 10]);
        let (position, buffers) = tail.write_buffers(8192 + 100, &[7; 64]);
        assert_eq!(position, 8192);
        assert_eq!(joined(&buffers)[..100], [9; 100]);
        assert_eq!(tail.data_start(), 8192 + 100);
        tail.shrink();
        assert_eq!(tail.end(), 8192 + 171);
        assert_eq!(tail.write_buffers(8192 + 171, &[7; 64]).1[0][..100], [9; 100]);
    }

    #[test]
    fn release_keeps_what_is_not_written_and_a_budget_for_readers() {
        let mut tail = Tail::new(0, Bytes::new());
        for _ in 0..100 {
            tail.append(&[1; 61], &[2; 4000]);
        }
        let end = tail.end();
        tail.release(0, 0);
        assert_eq!(tail.data_start(), 0);
        tail.release(end, u64::MAX);
        assert_eq!(tail.data_start(), 0);
        tail.release(end, 0);
        assert!(tail.data_start() > 0);
        assert_eq!(
            joined(&tail.read(tail.data_start()..end)).len() as u64,
            end - tail.data_start()
        );
    }
}
