//! The clean close: every log written out, then the data directories' checkpoints, then their marks.

use super::EngineInner;
use super::abreast::for_all;
use super::directory::DataDirectory;
use super::registry::Slot;
use crate::checkpoint::{CLEAN_SHUTDOWN, CLEAN_SHUTDOWN_BODY};
use crate::error::Result;

impl EngineInner {
    pub(super) fn close(&self) -> Result<()> {
        if !self.registry.close() {
            return Ok(());
        }
        let ended = self.transactions.close();
        self.stop_threads();
        // With a transaction undecided no directory is in order, whatever its own logs say.
        let mut outcomes = vec![ended; self.shared.directories.len()];
        let slots = self.registry.all();
        let background = self.shared.options.background;
        let closed = for_all(background, &slots, |slot| self.close_log(slot));
        for (slot, closed) in slots.iter().zip(closed) {
            // A directory with one log that is not in order is not marked; its others still are
            // closed, which leaves recovery less to do.
            let outcome = &mut outcomes[slot.directory];
            if outcome.is_ok() {
                *outcome = closed;
            }
        }
        let mut first = Ok(());
        for (directory, outcome) in self.shared.directories.iter().zip(outcomes) {
            let marked = outcome.and_then(|()| self.mark_clean(directory));
            // Whoever stores checkpoints at this moment finishes first.
            let _checkpoints = directory.checkpoints.lock();
            *directory.lock.lock() = None;
            first = first.and(marked);
        }
        first
    }

    /// Waits for whoever works on the log; nobody loads it afterwards.
    fn close_log(&self, slot: &Slot) -> Result<()> {
        let _work = slot.work.lock();
        let log = slot.loaded();
        slot.set_closed();
        let Some(log) = log else { return Ok(()) };
        log.inner().close()?;
        // Looked up before the checkpoints are locked: the log's lock comes first.
        let positions = log.inner().positions();
        self.shared.directories[slot.directory].checkpoints.lock().note(&slot.name, positions);
        Ok(())
    }

    fn mark_clean(&self, directory: &DataDirectory) -> Result<()> {
        directory.store_checkpoints(&self.shared, &[])?;
        directory.replace(&self.shared, CLEAN_SHUTDOWN, CLEAN_SHUTDOWN_BODY)
    }
}
