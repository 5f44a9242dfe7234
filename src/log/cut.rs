//! Cutting a run of batches down to what a reader asked for and may see, and telling where a right
//! batch should begin and does not.

use super::api::ReadOptions;
use crate::batch::{Batch, HEADER_BYTES};
use crate::types::Offset;
use bytes::Bytes;

/// How a segment is walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Care {
    /// From the index entry on; what lies before the offset is stepped over.
    Usual,
    /// Damage was met: from the beginning, with the checksum of every batch.
    Suspicious,
}

/// How a walk over some bytes ended.
pub(super) enum Taken {
    /// The reader has what it may have.
    Enough,
    /// The bytes ended on a batch boundary.
    All,
    /// The bytes end inside a batch that begins at `consumed`, or too early to judge it.
    Incomplete { consumed: usize, needed: usize },
    /// No right batch begins at `consumed`.
    Bad { consumed: usize },
}

/// Cuts a run of batches down to what a reader asked for and may see.
pub(super) struct Cut<'a> {
    pub(super) options: &'a ReadOptions,
    pub(super) offset: Offset,
    pub(super) bound: Offset,
    pub(super) care: Care,
    /// Gaps between batches are no damage.
    pub(super) compacted: bool,
    /// Where the segment ends.
    pub(super) end: Offset,
    pub(super) taken_bytes: usize,
    /// Position in the file of the bytes walked next.
    pub(super) origin: u64,
    /// Position of the first batch taken.
    pub(super) begins: u64,
    /// The offset after the last batch taken.
    pub(super) next: Offset,
    /// The offset after the last batch walked past, `None` before the first one.
    pub(super) follows: Option<Offset>,
    /// The last offset of the first batch, as the index has it.
    pub(super) indexed: Option<Offset>,
}

impl Cut<'_> {
    /// Walks the batches in `bytes` and takes those that belong to the answer, as one slice. `is_rest`
    /// says that nothing follows `bytes`. Damage behind the first batch taken ends the answer before
    /// it: the next read meets it.
    pub(super) fn take(&mut self, bytes: &Bytes, is_rest: bool, slices: &mut Vec<Bytes>) -> Taken {
        let mut start = None;
        let mut at = 0;
        let taken = loop {
            let rest = bytes.get(at..).unwrap_or_default();
            if rest.is_empty() {
                break Taken::All;
            }
            let size = match Batch::peek_len(rest) {
                Some(size) if size <= rest.len() => size,
                Some(needed) => break Taken::Incomplete { consumed: at, needed },
                None if rest.len() < HEADER_BYTES => {
                    break Taken::Incomplete { consumed: at, needed: HEADER_BYTES };
                }
                None => break Taken::Bad { consumed: at },
            };
            let Ok((batch, behind)) = Batch::parse(rest) else {
                break Taken::Bad { consumed: at };
            };
            // An index has no checksum: it is believed once the batch says the same.
            if self.indexed.take().is_some_and(|last| last != batch.last_offset()) {
                break Taken::Bad { consumed: at };
            }
            match self.is_in_place(&batch, behind) {
                Some(true) => {}
                Some(false) => break Taken::Bad { consumed: at },
                // With nothing behind it, the segment's end has had its say.
                None if is_rest => {}
                None => break Taken::Incomplete { consumed: at, needed: size + HEADER_BYTES },
            }
            let is_wanted = batch.last_offset() >= self.offset;
            if is_wanted {
                let first = self.taken_bytes == 0;
                let too_large = self.taken_bytes + size > self.options.max_bytes;
                if batch.base_offset() >= self.bound
                    || (too_large && !(first && self.options.min_one_batch))
                {
                    break Taken::Enough;
                }
            }
            let verify = if is_wanted { self.options.verify } else { false };
            if (verify || self.care == Care::Suspicious) && !batch.is_crc_valid() {
                break Taken::Bad { consumed: at };
            }
            if is_wanted {
                start.get_or_insert(at);
                self.taken_bytes += size;
                self.next = batch.next_offset();
            }
            self.follows = Some(batch.next_offset());
            at += size;
        };
        if let Some(start) = start {
            if slices.is_empty() {
                self.begins = self.origin + start as u64;
            }
            slices.push(bytes.slice(start..at));
        }
        taken
    }

    /// Whether the batch's offset, which its checksum does not cover, is one it can have: it follows
    /// on the batch before, or what comes behind it says the same as it does. `None` if that is too
    /// far away to be seen.
    fn is_in_place(&self, batch: &Batch<'_>, behind: &[u8]) -> Option<bool> {
        if batch.last_offset() < batch.base_offset() || batch.next_offset() > self.end {
            return Some(false);
        }
        let Some(follows) = self.follows.filter(|follows| batch.base_offset() != *follows) else {
            return Some(true);
        };
        // What was stepped over unchecked may be what is wrong.
        let is_careful = self.care == Care::Suspicious || self.compacted;
        if batch.base_offset() < follows || !is_careful {
            return Some(false);
        }
        let next = behind.first_chunk::<8>().map(|base| i64::from_be_bytes(*base));
        next.map(|next| next >= batch.next_offset().get())
    }
}
