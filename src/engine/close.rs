//! The clean close: every log written out, then the data directories' checkpoints, then their marks.

use super::EngineInner;
use super::directory::DataDirectory;
use super::registry::Slot;
use crate::checkpoint::{CLEAN_SHUTDOWN, CLEAN_SHUTDOWN_BODY};
use crate::error::Result;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Threads that close logs beside the caller's.
const CLOSERS: usize = 15;

impl EngineInner {
    pub(super) fn close(&self) -> Result<()> {
        if !self.registry.close() {
            return Ok(());
        }
        let ended = self.transactions.close();
        self.stop_threads();
        // With a transaction undecided no directory is in order, whatever its own logs say.
        let outcomes = self.close_logs(vec![ended; self.shared.directories.len()]);
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

    /// Closes every log; adds what went wrong to the outcomes of their directories.
    ///
    /// Several at once, unless an embedder wants no threads of the engine: a file system commits the
    /// flushes that come while it is busy with another one together.
    fn close_logs(&self, outcomes: Vec<Result<()>>) -> Vec<Result<()>> {
        let slots = self.registry.all();
        let next = AtomicUsize::new(0);
        let outcomes = Mutex::new(outcomes);
        let work = || {
            while let Some(slot) = slots.get(next.fetch_add(1, Ordering::Relaxed)) {
                // A directory with one log that is not in order is not marked; its others still are
                // closed, which leaves recovery less to do.
                let closed = self.close_log(slot);
                let outcome = &mut outcomes.lock()[slot.directory];
                if outcome.is_ok() {
                    *outcome = closed;
                }
            }
        };
        let helpers = if self.shared.options.background { CLOSERS.min(slots.len()) } else { 0 };
        thread::scope(|scope| {
            for _ in 0..helpers {
                let closer = thread::Builder::new().name("oncelog-close".to_owned());
                // Without it the others have more to do.
                drop(closer.spawn_scoped(scope, work));
            }
            work();
        });
        outcomes.into_inner()
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
