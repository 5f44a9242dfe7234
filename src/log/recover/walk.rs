//! Walking one segment, batch by batch, from its last trusted index entry on.

use super::STATE_BYTES_MAX;
use super::aborted::aborted_entry;
use super::damage::trailer_behind;
use super::loader::Loader;
use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::index::{AbortedIndex, OffsetIndex, SegmentIndexer, TimeIndex};
use crate::io::{File, OpenMode};
use crate::log::append::stored_facts;
use crate::producer::CompletedTxn;
use crate::segment::Indexes;
use crate::segment::name::{FileKind, segment_file};
use crate::segment::scan::{Observed, Scanner, Step};
use crate::types::Offset;
use std::io;
use std::sync::Arc;

/// Asked of the device at once: more than lies between two checkpoints. One read after the other, it
/// would be idle most of the time.
const READ_AHEAD_BYTES_MAX: u64 = 128 << 20;

/// One segment being walked.
pub(super) struct Walk {
    pub(super) base: Offset,
    pub(super) file: Arc<dyn File>,
    pub(super) len: u64,
    /// Where its data ends, as far as it was walked.
    pub(super) end: u64,
    pub(super) torn: bool,
    pub(super) first_timestamp_ms: Option<i64>,
    pub(super) indexer: SegmentIndexer,
    pub(super) aborted: AbortedIndex,
}

impl Walk {
    /// Indexes a transaction that was aborted. An index that disagrees with the batches loses.
    fn note_aborted(&mut self, txn: &CompletedTxn) {
        let entry = aborted_entry(txn);
        if self.aborted.append(entry).is_err() {
            self.aborted.truncate_to(txn.last_offset);
            // With everything at or above it gone there is nothing left to disagree with.
            match self.aborted.append(entry) {
                Ok(()) | Err(_) => {}
            }
        }
    }

    pub(super) fn into_indexes(self) -> (Indexes, AbortedIndex) {
        let (offsets, times) = (self.indexer.offsets().clone(), self.indexer.times().clone());
        (Indexes { offsets, times, is_own: true }, self.aborted)
    }
}

impl Loader {
    /// Walks one segment from its last trusted index entry on.
    pub(super) fn walk(&mut self, base: Offset) -> Result<Walk> {
        let storage = Arc::clone(&self.source.shared.io.storage);
        let path = self.source.path.join(segment_file(base, FileKind::Log));
        let failed = |e| Error::io(format!("recover {}", path.display()), e);
        let file = storage.open(&path, OpenMode::Write, true).map_err(failed)?;
        if !self.source.clean {
            // A flush may have failed in the process before this one: what counts is on the device.
            file.drop_cache().map_err(failed)?;
        }
        let len = file.len().map_err(failed)?;
        let indexer = self.resume_indexer(base, len)?;
        let aborted = self.resume_aborted(base, len)?;
        let start = u64::from(indexer.resume_position());
        file.will_read(start, len.saturating_sub(start).min(READ_AHEAD_BYTES_MAX));
        let mut scanner = Scanner::new(Arc::clone(&file), start, len);
        self.expected = self.expected.max(base);
        let mut walk = Walk {
            base,
            file,
            len,
            end: start,
            torn: false,
            first_timestamp_ms: None,
            indexer,
            aborted,
        };
        if start > 0 {
            // The first batch's own offset says where the walk begins.
            self.expected = Offset::ZERO;
        }
        loop {
            match scanner.step().map_err(failed)? {
                Step::Batch { position, batch }
                    if self.is_in_place(&walk, position, &batch).map_err(failed)? =>
                {
                    walk.end = position + batch.size() as u64;
                    self.replay(&mut walk, position, &batch)?;
                }
                Step::End => {
                    // An end that was lost on a batch boundary looks like an end.
                    if self.next_base_after(base).is_none() {
                        self.skip_damage(&mut walk, &mut scanner).map_err(failed)?;
                    }
                    break;
                }
                Step::Batch { .. } | Step::Bad => {
                    scanner.seek(walk.end);
                    if !self.skip_damage(&mut walk, &mut scanner).map_err(failed)? {
                        break;
                    }
                }
            }
        }
        Ok(walk)
    }

    /// Whether a batch's offset is one it can have. The checksum does not cover it, so a gap before
    /// the batch (compaction leaves some, and followers copy them) wants a witness: the batch that
    /// follows, the trailer of its group, the next segment or where the log was durable.
    fn is_in_place(&self, walk: &Walk, position: u64, batch: &Batch<'_>) -> io::Result<bool> {
        let is_resumed = walk.end > 0 && self.expected == Offset::ZERO;
        if batch.base_offset() == self.expected || is_resumed {
            return Ok(true);
        }
        if batch.base_offset() < self.expected {
            return Ok(false);
        }
        let (next, end) = (batch.next_offset(), position + batch.size() as u64);
        let below = |bound: Offset| self.expected >= bound || next <= bound;
        if !self.next_base_after(walk.base).is_none_or(below) || !below(self.durable_to) {
            return Ok(false);
        }
        let mut scanner = Scanner::new(Arc::clone(&walk.file), end, walk.len);
        if let Step::Batch { batch: follower, .. } = scanner.step()? {
            return Ok(follower.base_offset() >= next);
        }
        let trailer = trailer_behind(walk.file.as_ref(), walk.base, end)?;
        Ok(trailer.is_none_or(|trailer| trailer.group_end == next))
    }

    /// The indexer as of the last index entry below the replay point, or of the segment's start.
    fn resume_indexer(&mut self, base: Offset, len: u64) -> Result<SegmentIndexer> {
        let interval = self.source.config.index_interval_bytes;
        let fresh = SegmentIndexer::new(base, interval);
        if self.source.shared.options.planted().trust_index {
            return self.resume_unchecked(base, fresh);
        }
        let names = [FileKind::OffsetIndex, FileKind::TimeIndex].map(|k| segment_file(base, k));
        let offsets = self.read(&names[0], STATE_BYTES_MAX)?;
        let times = self.read(&names[1], STATE_BYTES_MAX)?;
        let (Some(offsets), Some(times)) = (offsets, times) else { return Ok(fresh) };
        let decoded = OffsetIndex::decode(base, &offsets, len)
            .and_then(|o| Ok((o, TimeIndex::decode(base, &times, Offset::new(i64::MAX))?)));
        let Ok((mut offsets, mut times)) = decoded else {
            self.report.rebuilt.extend(names);
            return Ok(fresh);
        };
        offsets.truncate_to(self.replay_from);
        times.truncate_to(self.replay_from);
        if offsets.last().is_none() {
            // Every batch is walked: no need to believe what the other file says of their times.
            return Ok(fresh);
        }
        let resumed = SegmentIndexer::resume(offsets, times, interval);
        if self.is_confirmed(base, &resumed, len)? {
            return Ok(resumed);
        }
        self.report.rebuilt.extend(names);
        Ok(fresh)
    }

    /// Whether the last index entry points at a batch that ends with the entry's offset.
    fn is_confirmed(&self, base: Offset, indexer: &SegmentIndexer, len: u64) -> Result<bool> {
        let Some((last_offset, position)) = indexer.offsets().last() else { return Ok(true) };
        let path = self.source.path.join(segment_file(base, FileKind::Log));
        let failed = |e| Error::io(format!("read {}", path.display()), e);
        let storage = &self.source.shared.io.storage;
        let file = storage.open(&path, OpenMode::Read, false).map_err(failed)?;
        let mut scanner = Scanner::new(file, u64::from(position), len);
        Ok(match scanner.step().map_err(failed)? {
            Step::Batch { batch, .. } => batch.last_offset() == last_offset,
            Step::End | Step::Bad => false,
        })
    }

    fn resume_unchecked(&self, base: Offset, fresh: SegmentIndexer) -> Result<SegmentIndexer> {
        let interval = self.source.config.index_interval_bytes;
        let read = |kind| self.read(&segment_file(base, kind), STATE_BYTES_MAX);
        let (Some(offsets), Some(times)) =
            (read(FileKind::OffsetIndex)?, read(FileKind::TimeIndex)?)
        else {
            return Ok(fresh);
        };
        match (
            OffsetIndex::decode(base, &offsets, u64::MAX),
            TimeIndex::decode(base, &times, Offset::new(i64::MAX)),
        ) {
            (Ok(offsets), Ok(times)) => Ok(SegmentIndexer::resume(offsets, times, interval)),
            _ => Ok(fresh),
        }
    }

    /// Takes one right batch into account.
    fn replay(&mut self, walk: &mut Walk, position: u64, batch: &Batch<'_>) -> Result<()> {
        let facts = stored_facts(batch)?;
        self.report.scanned_bytes += batch.size() as u64;
        Observed::new(position, batch).enter(&mut walk.indexer);
        walk.first_timestamp_ms.get_or_insert(facts.max_timestamp_ms);
        self.expected = facts.last_offset.next();
        if facts.base_offset < self.replay_from {
            return Ok(());
        }
        self.epochs.replay(batch.leader_epoch(), facts.base_offset);
        let now_ms = self.source.shared.io.clock.now_ms();
        if let Some(txn) = self.producers.apply(&facts, now_ms).filter(|txn| txn.aborted) {
            walk.note_aborted(&txn);
        }
        Ok(())
    }
}
