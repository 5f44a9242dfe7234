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

/// Bytes read at a time; grown for a larger batch, never beyond the file.
const WINDOW_BYTES: usize = 1 << 20;

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
        self.fill(size)?;
        let position = self.position;
        let valid = |bytes| Batch::parse(bytes).is_ok_and(|(batch, _)| batch.is_crc_valid());
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
        let mut filled = 0;
        while filled < self.window.len() {
            let read =
                self.file.read_at(&mut self.window[filled..], self.position + filled as u64)?;
            if read == 0 {
                break;
            }
            filled += read;
        }
        self.window.truncate(filled);
        Ok(())
    }
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
        let found = match scanner.step() {
            Ok(Step::Batch { position, batch }) => Some(Observed::new(position, &batch)),
            Ok(Step::End) => break,
            Ok(Step::Bad) => None,
            Err(e) => return Err(Error::io("scan a segment to rebuild its indexes", e)),
        };
        match found {
            Some(observed) => {
                observed.enter(&mut indexer);
                expected = observed.last_offset.next();
            }
            None => {
                let at = scanner.position();
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
        let near = base >= expected.get() && base - expected.get() <= i64::from(i32::MAX);
        let fits = Batch::peek_len(bytes).is_some_and(|size| size as u64 <= left);
        Ok(magic == 2 && near && fits)
    }
}
