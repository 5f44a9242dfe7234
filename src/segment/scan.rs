//! Walking the batches of a data file from the disk, trusting nothing.
//!
//! The scanner yields one checked batch after the other and stops at the first place that is none.
//! It does not judge what that place is — a clean end, a torn tail, damage: `log::recover` does.

use super::{Indexes, Segment};
use crate::batch::{Batch, HEADER_BYTES};
use crate::error::{Error, Result};
use crate::index::SegmentIndexer;
use crate::io::File;
use crate::types::Offset;
use std::io;
use std::sync::Arc;

/// Bytes read at a time; grown for a larger batch once its checksum is right.
const WINDOW_BYTES: usize = 1 << 20;

/// Where a batch's checksum lies; it covers all that follows.
const CRC_AT: usize = 17;

/// What the scanner met.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    /// A batch whose structure and checksum are right, at `position`.
    Batch {
        /// Where it begins.
        position: u64,
        /// The batch.
        batch: Batch<'a>,
    },
    /// The end of the file, on a batch boundary.
    End,
    /// No batch begins at the scanner's position.
    Bad,
}

/// A cursor over the batches of a file.
#[derive(Debug)]
pub(crate) struct Scanner {
    file: Arc<dyn File>,
    position: u64,
    len: u64,
    window: Vec<u8>,
    window_start: u64,
    window_bytes: usize,
}

impl Scanner {
    /// Scans the first `len` bytes of `file` from `position` on.
    pub(crate) fn new(file: Arc<dyn File>, position: u64, len: u64) -> Self {
        Self {
            file,
            position,
            len,
            window: Vec::new(),
            window_start: position,
            window_bytes: WINDOW_BYTES,
        }
    }

    /// Reads little more than it is asked for: for a look at one batch.
    pub(crate) fn with_small_window(mut self) -> Self {
        self.window_bytes = 4 << 10;
        self
    }

    /// Where the next batch is expected.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Goes on at `position` instead.
    pub(crate) fn seek(&mut self, position: u64) {
        self.position = position;
    }

    /// The next batch, past which the scanner moves, or why there is none.
    ///
    /// # Errors
    /// Only what reading the file says.
    pub(crate) fn step(&mut self) -> io::Result<Step<'_>> {
        let left = self.len.saturating_sub(self.position);
        if left == 0 {
            return Ok(Step::End);
        }
        if left < HEADER_BYTES as u64 {
            return Ok(Step::Bad);
        }
        self.fill(HEADER_BYTES)?;
        let size = match Batch::peek_len(self.at_position()) {
            Some(size) if size as u64 <= left => size,
            _ => return Ok(Step::Bad),
        };
        if size > WINDOW_BYTES && !is_right(self.file.as_ref(), self.position, self.len)? {
            return Ok(Step::Bad);
        }
        self.fill(size)?;
        let position = self.position;
        // A batch that ends before it begins would take the log's end back, and with it the log.
        let valid = |bytes| {
            Batch::parse(bytes).is_ok_and(|(b, _)| b.last_offset_delta() >= 0 && b.is_crc_valid())
        };
        if !valid(self.at_position()) {
            return Ok(Step::Bad);
        }
        self.position += size as u64;
        let start = usize::try_from(position - self.window_start).map_err(io::Error::other)?;
        match self.window.get(start..).map(Batch::parse) {
            Some(Ok((batch, _rest))) => Ok(Step::Batch { position, batch }),
            _ => Ok(Step::Bad),
        }
    }

    fn at_position(&self) -> &[u8] {
        let start = usize::try_from(self.position - self.window_start).unwrap_or(usize::MAX);
        self.window.get(start..).unwrap_or_default()
    }

    /// Makes at least `want` bytes from the position on available; the file has them.
    fn fill(&mut self, want: usize) -> io::Result<()> {
        let in_window = self.position >= self.window_start
            && self.position <= self.window_start + self.window.len() as u64;
        if in_window && self.at_position().len() >= want {
            return Ok(());
        }
        let left = usize::try_from(self.len - self.position).unwrap_or(usize::MAX);
        self.window.clear();
        self.window.resize(want.max(self.window_bytes).min(left), 0);
        self.window_start = self.position;
        let filled = read_full(self.file.as_ref(), &mut self.window, self.position)?;
        self.window.truncate(filled);
        Ok(())
    }
}

/// Whether the batch at `position` ends within the first `len` bytes and has the checksum that it says, in
/// memory that does not depend on its length: no buffer is made for a length before the bytes are there.
///
/// # Errors
/// Only what reading the file says.
pub(crate) fn is_right(file: &dyn File, position: u64, len: u64) -> io::Result<bool> {
    let mut header = [0; HEADER_BYTES];
    if read_full(file, &mut header, position)? < HEADER_BYTES {
        return Ok(false);
    }
    let end = Batch::peek_len(&header).and_then(|size| position.checked_add(size as u64));
    let Some(end) = end.filter(|end| *end <= len) else { return Ok(false) };
    let Some((stored, covered)) = header[CRC_AT..].split_first_chunk::<4>() else {
        return Ok(false);
    };
    let mut crc = crc32c::crc32c(covered);
    let mut buffer = vec![0; WINDOW_BYTES];
    let mut at = position + HEADER_BYTES as u64;
    while at < end {
        let left = usize::try_from(end - at).unwrap_or(usize::MAX);
        let want = left.min(buffer.len());
        if read_full(file, &mut buffer[..want], at)? < want {
            return Ok(false);
        }
        crc = crc32c::crc32c_append(crc, &buffer[..want]);
        at += want as u64;
    }
    Ok(crc == u32::from_be_bytes(*stored))
}

/// Reads until `buffer` is full or the file ends; how much there was.
///
/// # Errors
/// Only what reading the file says.
pub(crate) fn read_full(file: &dyn File, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], position + filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

/// What an indexer needs to know of a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Observed {
    position: u64,
    size: usize,
    last_offset: Offset,
    max_timestamp_ms: i64,
}

impl Observed {
    /// The batch at `position`.
    pub(crate) fn new(position: u64, batch: &Batch<'_>) -> Self {
        Self {
            position,
            size: batch.size(),
            last_offset: batch.last_offset(),
            max_timestamp_ms: batch.max_timestamp_ms(),
        }
    }

    /// A batch of `size` bytes at `position`.
    pub(crate) fn of(
        position: u64,
        size: usize,
        last_offset: Offset,
        max_timestamp_ms: i64,
    ) -> Self {
        Self { position, size, last_offset, max_timestamp_ms }
    }

    /// Tells the indexer. A position that an index cannot name is left out: the batch is found by
    /// walking to it.
    pub(crate) fn enter(self, indexer: &mut SegmentIndexer) {
        if let (Ok(position), Ok(size)) = (u32::try_from(self.position), u32::try_from(self.size)) {
            indexer.observe(position, size, self.last_offset, self.max_timestamp_ms);
        }
    }
}

/// Rebuilds offset and time index of a sealed segment from its data. Batches behind damage are found again
/// by the base offsets that follow, so a bad batch costs its own entries only.
///
/// # Errors
/// [`ErrorKind::Io`](crate::ErrorKind::Io) if the data cannot be read.
pub(crate) fn rebuild_indexes(segment: &Segment, interval_bytes: u32) -> Result<Indexes> {
    let mut indexer = SegmentIndexer::new(segment.base(), interval_bytes);
    let mut scanner = Scanner::new(segment.file()?, 0, segment.size());
    let mut expected = segment.base();
    loop {
        let at = scanner.position();
        let found = match scanner.step() {
            Ok(Step::Batch { position, batch }) if batch.base_offset() >= expected => {
                Some(Observed::new(position, &batch))
            }
            Ok(Step::End) => break,
            Ok(Step::Batch { .. } | Step::Bad) => None,
            Err(e) => return Err(Error::io("scan a segment to rebuild its indexes", e)),
        };
        match found {
            Some(observed) => {
                observed.enter(&mut indexer);
                expected = observed.last_offset.next();
            }
            None => {
                scanner.seek(at);
                let resumed = resync(&mut scanner, expected)
                    .map_err(|e| Error::io("scan a segment to rebuild its indexes", e))?;
                if resumed.is_none() {
                    scanner.seek(at);
                    break;
                }
            }
        }
    }
    indexer.close();
    let (offsets, times) = (indexer.offsets().clone(), indexer.times().clone());
    Ok(Indexes { offsets, times, is_own: true })
}

/// Looks for the next batch behind damage: one whose checksum is right and whose base offset is
/// past `expected`. Leaves the scanner there and returns the base offset.
///
/// # Errors
/// Only what reading the file says.
pub(crate) fn resync(scanner: &mut Scanner, expected: Offset) -> io::Result<Option<Offset>> {
    let mut at = scanner.position();
    // A plausible header makes the scanner check a whole batch; a file made of plausible headers
    // must not cost more than a few passes over it.
    let mut budget = scanner.len.saturating_mul(4).max(1 << 20);
    while at < scanner.len {
        at += 1;
        scanner.seek(at);
        if !scanner.is_plausible(expected)? {
            continue;
        }
        let claimed = Batch::peek_len(scanner.at_position()).unwrap_or(0) as u64;
        if claimed > budget {
            return Ok(None);
        }
        budget -= claimed;
        let found = match scanner.step()? {
            Step::Batch { batch, .. } => Some(batch.base_offset()),
            _ => None,
        };
        if let Some(base) = found {
            scanner.seek(at);
            return Ok(Some(base));
        }
    }
    Ok(None)
}

impl Scanner {
    /// Whether the bytes at the position look like the header of a batch past `expected`.
    fn is_plausible(&mut self, expected: Offset) -> io::Result<bool> {
        let left = self.len.saturating_sub(self.position);
        if left < HEADER_BYTES as u64 {
            return Ok(false);
        }
        self.fill(HEADER_BYTES)?;
        let bytes = self.at_position();
        let (Some(base), Some(&magic)) = (bytes.first_chunk::<8>(), bytes.get(16)) else {
            return Ok(false);
        };
        let base = i64::from_be_bytes(*base);
        let ahead = base.checked_sub(expected.get());
        let near = ahead.is_some_and(|ahead| (0..=i64::from(i32::MAX)).contains(&ahead));
        let fits = Batch::peek_len(bytes).is_some_and(|size| size as u64 <= left);
        Ok(magic == 2 && near && fits)
    }
}
