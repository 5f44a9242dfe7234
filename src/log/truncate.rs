//! Truncation: cutting a log at its end, and loading what is left of it.
//!
//! The files are cut first and the state is made from them again, as a recovery would: nothing of what
//! went can be left in memory. It is a step of maintenance, and appends stand back meanwhile.

use super::LogInner;
use super::api::ReadOptions;
use crate::batch::Batch;
use crate::error::{Error, ErrorKind, Result};
use crate::log::recover;
use crate::options::LogConfig;
use crate::types::Offset;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl LogInner {
    /// Removes everything from `offset` on; see [`Log::truncate_to`](super::Log::truncate_to).
    pub(super) fn truncate_to(self: &Arc<Self>, offset: Offset) -> Result<()> {
        self.check_alive()?;
        let _held = HeldAppends::new(self);
        let end = self.state.lock().end;
        self.wait_durable(end)?;
        self.seal_rolled()?;
        let _one_at_a_time = self.maintenance()?;
        // Only steps of maintenance move the log start, so it stays where it is. It moves back
        // before anything goes: a log that ended below its start would begin there anew.
        let floor = self.floor_of_truncation(offset);
        let log_start = self.state.lock().log_start;
        if floor < log_start {
            self.shared.store_log_start(&self.name, &self.path, floor)?;
        }
        self.lower_stored_high_watermark(offset)?;
        let cut = self.committer.exclusively(|| self.truncate_files(offset, floor));
        if cut.is_err() && floor < log_start && self.is_alive() {
            // Nothing was cut, so what was trimmed stays trimmed.
            self.shared.store_log_start(&self.name, &self.path, log_start)?;
        }
        cut
    }

    /// Where a log truncated to `offset` begins, if that is before its log start: at `offset`, or where
    /// a batch begins that holds the log start and goes as a whole.
    fn floor_of_truncation(&self, offset: Offset) -> Offset {
        let log_start = self.state.lock().log_start;
        if offset < log_start {
            return offset;
        }
        let first_batch = ReadOptions { max_bytes: 0, verify: false, ..ReadOptions::default() };
        let Ok(outcome) = self.read(log_start, &first_batch) else { return offset };
        let Some(Ok((batch, _))) = outcome.slices.first().map(|slice| Batch::parse(slice)) else {
            return offset;
        };
        let goes = batch.base_offset() < log_start && batch.next_offset() > offset;
        if goes { batch.base_offset() } else { offset }
    }

    /// With no group under way: cuts the files, then loads the log's state from them again.
    fn truncate_files(self: &Arc<Self>, offset: Offset, floor: Offset) -> Result<()> {
        let mut state = self.state.lock();
        self.check_alive()?;
        if offset >= state.end {
            return Ok(());
        }
        if state.durable_end < state.end {
            return Err(Error::new(ErrorKind::Busy, "appends go on while the log is truncated"));
        }
        let coordinator = self.shared.transactions();
        let is_ours = |id| coordinator.as_ref().is_some_and(|c| c.owns(id));
        if state.producers.open_transactions().any(|txn| is_ours(txn.producer_id)) {
            let context = format!("a transaction that appended to {} is open", self.name);
            return Err(Error::new(ErrorKind::Busy, context));
        }
        // Truncation is the one operation that does I/O under the lock: an append that came in
        // between would get an offset after something that is about to go.
        state.segments.iter().for_each(|segment| segment.retire());
        let cut = recover::cut(self, &state, offset).and_then(|()| {
            let log_start = Some(state.log_start.min(floor));
            let mut source = self.source(Arc::clone(&state.config), log_start);
            source.high_watermark = state.manual_high_watermark.then_some(state.high_watermark);
            recover::load(source)
        });
        match cut {
            Ok((loaded, _report)) => {
                let manual = state.manual_high_watermark.then_some(state.high_watermark);
                let closing = state.closing;
                self.note_truncation();
                *state = loaded.state.into_inner();
                state.closing = closing;
                if let Some(high_watermark) = manual {
                    state.manual_high_watermark = true;
                    state.high_watermark = high_watermark.min(state.end);
                }
            }
            Err(error) => {
                drop(state);
                self.poison("a truncation failed half-way", io::Error::other(error.clone()));
                return Err(error);
            }
        }
        self.publish(&state);
        drop(state);
        self.wake_waiters();
        Ok(())
    }

    fn source(&self, config: Arc<LogConfig>, log_start: Option<Offset>) -> recover::Source {
        recover::Source {
            name: self.name.clone(),
            path: Arc::clone(&self.path),
            shared: Arc::clone(&self.shared),
            committer: Arc::clone(&self.committer),
            space: Arc::clone(&self.space),
            config,
            is_default_config: false,
            clean: false,
            log_start,
            high_watermark: None,
        }
    }
}

/// While it lives, appends stand back.
struct HeldAppends<'a>(&'a LogInner);

impl<'a> HeldAppends<'a> {
    fn new(log: &'a LogInner) -> Self {
        let _state = log.state.lock();
        log.appends_held.fetch_add(1, Ordering::Relaxed);
        Self(log)
    }
}

impl Drop for HeldAppends<'_> {
    fn drop(&mut self) {
        let state = self.0.state.lock();
        self.0.appends_held.fetch_sub(1, Ordering::Relaxed);
        drop(state);
        self.0.resumed.notify_all();
    }
}
