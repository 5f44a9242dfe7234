//! Retention: whole segments from the front that are too old, or too many.
//!
//! What decides can lie, so none of it is believed at once. The largest timestamp of a segment may come
//! from a damaged index file: it is confirmed by the batches before the segment goes for it. The wall
//! clock may have jumped: time is what `engine::clock` makes of it. And the embedder has a veto.
//!
//! The active segment never goes. If everything in it has expired too, it is rolled first, so that a
//! log which nobody appends to any more becomes empty.

use super::LogInner;
use super::inner::LogState;
use crate::error::Result;
use crate::options::Retention;
use crate::producer::reserved::is_reserved;
use crate::segment::Segment;
use crate::types::Offset;
use std::sync::Arc;

impl LogInner {
    /// Applies retention and forgets producers whose time has come.
    pub(crate) fn retain(self: &Arc<Self>) -> Result<()> {
        let now_ms = self.shared.age_clock.now_ms(self.shared.io.clock.as_ref());
        {
            let mut state = self.state.lock();
            let log_start = state.log_start;
            state.producers.expire(now_ms, log_start);
        }
        self.roll_expired(now_ms)?;
        let new_start = self.retention_start(now_ms)?;
        // The embedder's own code: it may call this log.
        match new_start.map(|start| self.shared.veto(&self.name, start)) {
            Some(start) => {
                self.trim_before(start)?;
                self.remove_trimmed()
            }
            None => self.remove_trimmed(),
        }
    }

    /// Rolls the active segment if it would go with all before it, were it complete.
    fn roll_expired(self: &Arc<Self>, now_ms: i64) -> Result<()> {
        let sealed_start = self.retention_start(now_ms)?;
        let end = {
            let state = self.state.lock();
            if !state.active_expires(now_ms, sealed_start) {
                return Ok(());
            }
            state.end
        };
        if self.shared.veto(&self.name, end) < end {
            return Ok(());
        }
        self.force_roll();
        self.wait_durable(end)?;
        self.seal_rolled()
    }

    /// [`LogState::retention_start`], resting only on timestamps that the batches confirmed.
    fn retention_start(&self, now_ms: i64) -> Result<Option<Offset>> {
        loop {
            let (start, unconfirmed, interval) = {
                let state = self.state.lock();
                let start = state.retention_start(now_ms);
                (start, state.unconfirmed_up_to(start), state.config.index_interval_bytes)
            };
            let Some(segment) = unconfirmed else { return Ok(start) };
            segment.confirm_largest_timestamp(interval)?;
        }
    }
}

impl Retention {
    /// Whether a segment may go whose latest record is of this time. One without any times stays.
    fn is_aged(self, now_ms: i64, largest_timestamp_ms: i64) -> bool {
        self.ms >= 0
            && (0..i64::MAX).contains(&largest_timestamp_ms)
            && now_ms.saturating_sub(largest_timestamp_ms) > self.ms
    }

    /// Whether a log of `size` has its first segment, of `first` bytes, too many.
    pub(super) fn is_oversized(self, size: u64, first: u64) -> bool {
        let first = i64::try_from(first).unwrap_or(i64::MAX);
        self.bytes >= 0 && self.excess(size) >= first
    }

    /// Bytes of a log of `size` that are too many; negative if there are none.
    fn excess(self, size: u64) -> i64 {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        if self.bytes < 0 { -1 } else { size.saturating_sub(self.bytes) }
    }
}

impl LogState {
    /// Where retention would let the log begin, if it would remove anything. Only whole sealed
    /// segments below the high watermark count.
    fn retention_start(&self, now_ms: i64) -> Option<Offset> {
        let retention = self.config.retention();
        let mut excess = retention.excess(self.size_bytes());
        let bound = self.retention_bound();
        let mut start = None;
        for segment in self.segments.iter().filter(|s| s.is_sealed()) {
            let Some(end) = segment.end().filter(|end| *end <= bound) else { break };
            excess = excess.saturating_sub(i64::try_from(segment.size()).unwrap_or(i64::MAX));
            let is_oversized = retention.bytes >= 0 && excess >= 0;
            if !is_oversized && !retention.is_aged(now_ms, segment.largest_timestamp_ms()) {
                break;
            }
            start = Some(end);
        }
        start.filter(|start| *start > self.log_start)
    }

    /// What one of the engine's transactions has appended stays until that has ended, and nothing goes
    /// that readers have not been able to see.
    fn retention_bound(&self) -> Offset {
        let open = self.producers.open_transactions().filter(|txn| is_reserved(txn.producer_id));
        let undecided = open.map(|txn| txn.first_offset).min();
        undecided.map_or(self.high_watermark, |offset| offset.min(self.high_watermark))
    }

    /// Whether retention takes everything before the active segment, and would take that one too.
    fn active_expires(&self, now_ms: i64, sealed_start: Option<Offset>) -> bool {
        let base = self.active.segment.base();
        let is_all_before = self.segments.len() == 1
            || self.log_start >= base
            || sealed_start.is_some_and(|start| start >= base);
        let retention = self.config.retention();
        let is_due =
            retention.bytes == 0 || retention.is_aged(now_ms, self.active.largest_timestamp_ms());
        is_all_before && is_due && self.active.size() > 0 && self.end <= self.retention_bound()
    }

    /// A segment that retention to `start` would remove, or stop at, on the word of an index file.
    fn unconfirmed_up_to(&self, start: Option<Offset>) -> Option<Arc<Segment>> {
        if self.config.retention().ms < 0 {
            return None;
        }
        let goes = |s: &Arc<Segment>| s.end().is_some_and(|end| Some(end) <= start);
        let mut sealed = self.segments.iter().filter(|s| s.is_sealed());
        let unconfirmed = sealed.find(|s| !goes(s) || !s.is_timestamp_confirmed())?;
        (!unconfirmed.is_timestamp_confirmed()).then(|| Arc::clone(unconfirmed))
    }
}
