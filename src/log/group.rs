//! A log's part in a commit group: what it writes, and what it makes of the outcome.
//!
//! A plan covers everything staged at one moment, in the rolled segments and the active one. Each
//! segment's write starts at the block boundary below what the file has and ends in padding with a
//! trailer (`segment::trailer`), so it is aligned whatever was appended. The last partial block is
//! thus written again with the next group, with an identical prefix: bytes that are durable never
//! change (INV-DURABLE-PREFIX).

use super::LogInner;
use super::inner::{Active, LogState};
use crate::io::buf::AlignedBuf;
use crate::io::{BLOCK_BYTES, File, WriteOp};
use crate::planted::Planted;
use crate::segment::Segment;
use crate::segment::trailer::{Trailer, padded_end};
use crate::types::Offset;
use bytes::Bytes;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

/// Bytes of tail kept in memory for readers at the end of a log.
const TAIL_KEEP_BYTES: u64 = 2 << 20;

/// Blocks are prepared (written once with zeroes) for segments that have grown past this, and so are
/// in use…
const PREPARE_FROM_BYTES: u64 = 4 << 10;
/// …as many as the segment has already, so that the zeroes cost a log that is seldom written to
/// little and the writes that extend a file become rare, within these bounds…
const PREPARE_BYTES_MIN: u64 = 16 << 10;
const PREPARE_BYTES_MAX: u64 = 1 << 20;
/// …if groups are smaller than this: a larger write hides the cost of extending.
const PREPARE_GROUP_BYTES_MAX: u64 = 256 << 10;

/// Bytes of an active segment that may be written and not flushed.
const UNFLUSHED_BYTES_MAX: u64 = 8 << 20;

/// One log's writes in a commit group.
#[derive(Debug)]
pub(crate) struct CommitPlan {
    pub(crate) writes: Vec<WriteOp>,
    /// Files to flush after the writes.
    pub(crate) flushes: Vec<Arc<dyn File>>,
    parts: Vec<Part>,
    /// Where the log will then be written to.
    end: Offset,
    durable: bool,
    /// Bytes that stop counting as staged.
    staged_bytes: u64,
    /// Bytes that are written ahead.
    prepared_bytes: u64,
}

#[derive(Debug)]
struct Part {
    segment_base: Offset,
    end_position: u64,
    prepared: u64,
}

impl LogInner {
    /// Plans this log's writes; `None` if there is nothing to do or the log has failed.
    pub(crate) fn plan_commit(self: &Arc<Self>) -> Option<CommitPlan> {
        // From here on an append queues the log again: it may come too late for this plan.
        self.queued.store(false, Ordering::Release);
        if self.failure().is_some() {
            self.give_up_staged();
            return None;
        }
        if let Err(e) = self.create_missing_files() {
            self.poison("cannot create a segment", e);
            self.give_up_staged();
            return None;
        }
        let may_prepare = self.space.has_room_for(2 * PREPARE_BYTES_MAX as usize);
        let mut state = self.state.lock();
        let unwritten = state.written_end < state.end;
        // Bytes written without a flush are flushed with the first group that has to be, as soon as
        // there is nothing left to write, or when they are many: until then memory holds them.
        let durable = state.wants_durable
            || !unwritten
            || state.active.written - state.active.durable >= UNFLUSHED_BYTES_MAX;
        if !unwritten && state.durable_end == state.written_end {
            return None;
        }
        let planned = state.plan(durable, may_prepare, self.shared.options.planted());
        match planned {
            Ok(plan) => {
                state.wants_durable &= !plan.durable;
                state.staged_bytes -= plan.staged_bytes;
                self.space.charge(plan.prepared_bytes);
                Some(plan)
            }
            Err(e) => {
                drop(state);
                self.poison("cannot open a segment", e);
                self.give_up_staged();
                None
            }
        }
    }

    /// Creates the files of segments that were rolled to since the last group. A roll under way
    /// meanwhile is seen in the next round: the plan leaves out what has no file.
    fn create_missing_files(&self) -> io::Result<()> {
        let missing: Vec<Arc<Segment>> = {
            let state = self.state.lock();
            let parts = state.rolled.iter().chain([&state.active]);
            parts
                .filter(|part| part.size() > part.written && !part.segment.has_file())
                .map(|part| Arc::clone(&part.segment))
                .collect()
        };
        if missing.is_empty() {
            return Ok(());
        }
        missing.iter().try_for_each(|segment| segment.create_file())?;
        if self.shared.options.planted().skip_directory_flush {
            return Ok(());
        }
        self.storage().sync_dir(&self.path)
    }

    /// What a failed log still has staged will never be written: the budget is for others.
    fn give_up_staged(&self) {
        let staged = std::mem::take(&mut self.state.lock().staged_bytes);
        self.shared.unstage_bytes(&self.space, staged);
    }

    /// The planted bug of trusting a second flush after a failed one.
    pub(crate) fn plants_flush_retry(&self) -> bool {
        self.shared.options.planted().retry_failed_flush
    }

    /// Takes note of a plan's outcome and wakes whom it satisfies.
    pub(crate) fn finish_commit(self: &Arc<Self>, plan: &CommitPlan, outcome: io::Result<()>) {
        self.shared.unstage_bytes(&self.space, plan.staged_bytes);
        self.space.settle(plan.prepared_bytes);
        if let Err(e) = outcome {
            self.poison("a write or flush failed", e);
            self.give_up_staged();
            return;
        }
        let mut state = self.state.lock();
        state.finish(plan);
        let unflushed = state.durable_end < state.written_end;
        let maintenance = !state.to_seal.is_empty()
            || state.uncheckpointed_bytes >= self.shared.options.checkpoint_bytes;
        self.publish(&state);
        drop(state);
        self.wake_waiters();
        if unflushed {
            self.enqueue();
            self.committer.kick();
        }
        if maintenance {
            self.request_maintenance();
        }
    }
}

impl LogState {
    fn plan(&self, durable: bool, may_prepare: bool, planted: Planted) -> io::Result<CommitPlan> {
        let mut plan = CommitPlan {
            writes: Vec::new(),
            flushes: Vec::new(),
            parts: Vec::new(),
            end: self.written_end,
            durable,
            staged_bytes: 0,
            prepared_bytes: 0,
        };
        for part in self.rolled.iter().chain([&self.active]) {
            if !part.segment.has_file() {
                // Rolled to after the files were created; the next group takes it.
                break;
            }
            self.plan_part(part, &mut plan, may_prepare, planted)?;
            plan.end = part.segment.end().unwrap_or(self.end);
        }
        Ok(plan)
    }

    fn plan_part(
        &self,
        part: &Active,
        plan: &mut CommitPlan,
        may_prepare: bool,
        planted: Planted,
    ) -> io::Result<()> {
        let unflushed_before = part.durable < part.written;
        let file = part.segment.file().map_err(io::Error::other)?;
        if part.size() == part.written {
            if plan.durable && unflushed_before {
                plan.flushes.push(file);
            }
            return Ok(());
        }
        let trailer = Trailer {
            segment_base: part.segment.base(),
            durable_end: self.durable_end,
            group_end: part.segment.end().unwrap_or(self.end),
            group_end_position: part.size(),
        };
        let (position, mut buffers) = part.tail.write_buffers(part.written, &trailer.encode());
        let end = padded_end(part.size());
        let prepared = part.prepared.max(end);
        let staged = part.size() - part.written;
        let prepared = if may_prepare && part.is_worth_preparing(end, staged) {
            let ahead = end.clamp(PREPARE_BYTES_MIN, PREPARE_BYTES_MAX);
            buffers.push(zeroes(ahead));
            plan.prepared_bytes += ahead;
            prepared + ahead
        } else {
            prepared
        };
        // A flush that rides on the write covers only the write; earlier bytes that were never
        // flushed need one of their own, after it.
        let rides = plan.durable && !unflushed_before && !planted.ack_before_flush;
        if plan.durable && unflushed_before {
            plan.flushes.push(Arc::clone(&file));
        }
        plan.writes.push(WriteOp::new(file, position, buffers, rides));
        plan.staged_bytes += staged;
        plan.parts.push(Part {
            segment_base: part.segment.base(),
            end_position: part.size(),
            prepared,
        });
        Ok(())
    }

    fn finish(&mut self, plan: &CommitPlan) {
        for part in &plan.parts {
            let active =
                match self.rolled.iter_mut().find(|a| a.segment.base() == part.segment_base) {
                    Some(rolled) => rolled,
                    None if self.active.segment.base() == part.segment_base => &mut self.active,
                    None => continue,
                };
            active.written = part.end_position;
            active.prepared = part.prepared;
            active.segment.set_size(active.written.max(active.segment.size()));
        }
        self.written_end = plan.end;
        if plan.durable {
            self.durable_end = plan.end;
            for active in self.rolled.iter_mut().chain([&mut self.active]) {
                active.durable = active.written;
                active.tail.release(active.durable, TAIL_KEEP_BYTES);
            }
            self.release_rolled();
            if !self.manual_high_watermark {
                self.advance_high_watermark(self.durable_end);
            }
        }
    }
}

impl LogState {
    /// Hands rolled segments that are durable to the last byte over to be sealed.
    pub(super) fn release_rolled(&mut self) {
        while let Some(done) = self.rolled.pop_front_if(|a| a.durable == a.size()) {
            self.to_seal.push(done.segment);
        }
    }
}

impl Active {
    /// Whether blocks should be written ahead, right behind the write that ends at `end`.
    fn is_worth_preparing(&self, end: u64, staged: u64) -> bool {
        // Only at the end of what is prepared: zeroes must never land on anything else.
        end > self.prepared
            && self.segment.end().is_none()
            && end >= PREPARE_FROM_BYTES
            && staged < PREPARE_GROUP_BYTES_MAX
    }
}

/// Aligned zeroes, up to [`PREPARE_BYTES_MAX`] of them, shared by everyone.
fn zeroes(len: u64) -> Bytes {
    static ZEROES: OnceLock<Bytes> = OnceLock::new();
    const MAX: usize = PREPARE_BYTES_MAX as usize;
    const { assert!(MAX.is_multiple_of(BLOCK_BYTES)) };
    let all = ZEROES.get_or_init(|| AlignedBuf::new(MAX).freeze());
    all.slice(..usize::try_from(len).unwrap_or(MAX).min(MAX))
}
