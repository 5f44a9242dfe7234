//! Logs whose high watermark an embedder sets.
//!
//! That it does is remembered by a file without a byte, which no flipped bit can change: a log that
//! forgot it would show records that nobody has replicated. Where the high watermark is, Kafka's
//! checkpoint of the data directory says; one that lies too low costs nothing but the next call.

use super::LogInner;
use crate::error::{Error, Result};
use crate::io::OpenMode;
use crate::segment::name::REPLICATED;
use crate::types::Offset;
use std::io;
use std::sync::Arc;

impl LogInner {
    /// See [`Log::set_high_watermark`](super::Log::set_high_watermark).
    pub(super) fn set_high_watermark(self: &Arc<Self>, offset: Offset) -> Result<()> {
        let is_first = !self.state.lock().manual_high_watermark;
        if is_first {
            self.become_replicated(offset)?;
        }
        let mut state = self.state.lock();
        state.manual_high_watermark = true;
        let capped = offset.min(state.durable_end);
        state.advance_high_watermark(capped);
        self.publish(&state);
        drop(state);
        self.wake_waiters();
        Ok(())
    }

    /// Remembers that the embedder sets the high watermark, before it counts.
    fn become_replicated(&self, offset: Offset) -> Result<()> {
        let _one_at_a_time = self.maintenance()?;
        let (start, end) = {
            let mut state = self.state.lock();
            if state.manual_high_watermark {
                return Ok(());
            }
            // From here on it does not follow the durable end, whatever becomes durable meanwhile.
            state.manual_high_watermark = true;
            (state.high_watermark, state.durable_end)
        };
        let first = offset.clamp(start, end);
        let remembered = self
            .shared
            .store_high_watermark(&self.name, &self.path, first)
            .and_then(|()| self.create_mark().map_err(|e| Error::io("remember replication", e)));
        if remembered.is_err() {
            let mut state = self.state.lock();
            state.manual_high_watermark = false;
            let durable_end = state.durable_end;
            state.advance_high_watermark(durable_end);
            self.publish(&state);
            drop(state);
            self.wake_waiters();
        }
        remembered
    }

    fn create_mark(&self) -> io::Result<()> {
        let path = self.path.join(REPLICATED);
        self.storage().open(&path, OpenMode::Truncate, false)?.sync()?;
        self.storage().sync_dir(&self.path)
    }

    /// Before a truncation to `offset`: no open after a crash may show what is appended behind it.
    pub(super) fn lower_stored_high_watermark(&self, offset: Offset) -> Result<()> {
        let lowered = {
            let state = self.state.lock();
            (state.manual_high_watermark && offset < state.high_watermark).then_some(offset)
        };
        lowered.map_or(Ok(()), |to| self.shared.store_high_watermark(&self.name, &self.path, to))
    }
}
