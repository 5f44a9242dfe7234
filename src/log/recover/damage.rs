//! Torn tail or damage: what to make of a place where no right batch begins.

use super::loader::Loader;
use super::walk::Walk;
use crate::error::{Error, Result};
use crate::io::{BLOCK_BYTES, File, OpenMode};
use crate::log::inner::DamagedRange;
use crate::log::tail::block_floor;
use crate::segment::name::{FileKind, segment_file};
use crate::segment::scan::{Scanner, resync};
use crate::segment::trailer::{TRAILER_BYTES, Trailer, padded_end};
use crate::types::Offset;
use std::io;

impl Loader {
    /// At a place where no right batch begins: `true` if it is damage and the walk goes on behind
    /// it, `false` if the segment's data ends here.
    pub(super) fn skip_damage(
        &mut self,
        walk: &mut Walk,
        scanner: &mut Scanner,
    ) -> io::Result<bool> {
        if self.next_base_after(walk.base) == Some(self.expected) {
            // Complete; what follows is the padding that sealing would have trimmed.
            return Ok(false);
        }
        let first = self.expected;
        let watermark = Some(self.watermark(walk)?).filter(|watermark| first < *watermark);
        if watermark.is_none() && !self.is_end_unknown {
            // Everything from here on may never have been flushed.
            walk.torn = true;
            return Ok(false);
        }
        let found = resync(scanner, first)?;
        let end_position = if found.is_some() { scanner.position() } else { walk.len };
        let Some(next) = found.or_else(|| self.next_base_after(walk.base)).or(watermark) else {
            // Bytes behind the log's end.
            walk.torn = true;
            return Ok(false);
        };
        self.damaged.push(DamagedRange {
            first,
            next,
            segment_base: walk.base,
            position: walk.end,
            end_position,
        });
        self.expected = next;
        walk.end = end_position;
        Ok(found.is_some())
    }

    /// Whether the gap between the walk's end and the next segment says that the group which
    /// rolled was torn.
    pub(super) fn is_gap_torn(&mut self, next: Offset, later: &[Offset]) -> Result<bool> {
        if next <= self.expected || !self.is_ours {
            return Ok(false);
        }
        let failed = |e| Error::io(format!("recover {}", self.source.name), e);
        let mut watermark = self.durable_to;
        for base in later {
            let path = self.source.path.join(segment_file(*base, FileKind::Log));
            let storage = &self.source.shared.io.storage;
            let file = storage.open(&path, OpenMode::Read, false).map_err(failed)?;
            let len = file.len().map_err(failed)?;
            watermark =
                watermark.max(last_watermark(file.as_ref(), *base, 0, len).map_err(failed)?);
        }
        Ok(self.expected >= watermark)
    }

    /// Up to where the log is known to have been durable, from the trailers behind the walk's end.
    fn watermark(&self, walk: &Walk) -> io::Result<Offset> {
        let in_file = last_watermark(walk.file.as_ref(), walk.base, walk.end, walk.len)?;
        let mut watermark = self.durable_to.max(in_file);
        for base in self.bases.iter().filter(|b| **b > walk.base) {
            let path = self.source.path.join(segment_file(*base, FileKind::Log));
            let file = self.source.shared.io.storage.open(&path, OpenMode::Read, false)?;
            let len = file.len()?;
            watermark = watermark.max(last_watermark(file.as_ref(), *base, 0, len)?);
        }
        Ok(watermark)
    }
}

/// The trailer of the group that ends at `end`, if there is one.
pub(super) fn trailer_behind(
    file: &dyn File,
    base: Offset,
    end: u64,
) -> io::Result<Option<Trailer>> {
    let mut bytes = [0; TRAILER_BYTES];
    let at = padded_end(end) - TRAILER_BYTES as u64;
    if file.read_at(&mut bytes, at)? < TRAILER_BYTES {
        return Ok(None);
    }
    let trailer = Trailer::decode(&bytes);
    Ok(trailer.filter(|t| t.segment_base == base && t.group_end_position == end))
}

/// The largest durable end that a trailer in `from..len` of a segment's file states.
fn last_watermark(file: &dyn File, base: Offset, from: u64, len: u64) -> io::Result<Offset> {
    let mut watermark = Offset::ZERO;
    let mut block_end = block_floor(from) + BLOCK_BYTES as u64;
    let mut bytes = [0; TRAILER_BYTES];
    while block_end <= len {
        let read = file.read_at(&mut bytes, block_end - TRAILER_BYTES as u64)?;
        let trailer = Trailer::decode(&bytes).filter(|t| t.segment_base == base);
        if let (TRAILER_BYTES, Some(trailer)) = (read, trailer) {
            watermark = watermark.max(trailer.durable_end);
        }
        block_end += BLOCK_BYTES as u64;
    }
    Ok(watermark)
}

/// Bytes behind the walk's end that are neither zero nor a trailer: what a torn write left.
pub(super) fn leftover_bytes(walk: &Walk) -> io::Result<u64> {
    let mut block = vec![0; BLOCK_BYTES];
    let mut at = block_floor(walk.end);
    let mut leftover = 0;
    while at < walk.len {
        let read = walk.file.read_at(&mut block, at)?;
        if read == 0 {
            break;
        }
        let data_end = match Trailer::decode(&block[read.saturating_sub(TRAILER_BYTES)..read]) {
            Some(_) => read - TRAILER_BYTES,
            None => read,
        };
        let skip = usize::try_from(walk.end.saturating_sub(at)).unwrap_or(usize::MAX).min(data_end);
        leftover += block[skip..data_end].iter().filter(|b| **b != 0).count() as u64;
        at += read as u64;
    }
    Ok(leftover)
}
