//! The engine's own threads: one per data directory for commits that no thread waits for, one for
//! maintenance.

use super::EngineInner;
use super::shared::Shared;
use crate::error::{Error, Result};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

/// How often the maintenance thread looks after free space and retention when nothing wakes it.
const TICK: Duration = Duration::from_secs(30);

impl EngineInner {
    pub(super) fn spawn_threads(self: &Arc<Self>) -> Result<()> {
        if !self.shared.options.background {
            return Ok(());
        }
        let failed = |e| Error::io("start a thread", e);
        let mut threads = self.threads.lock();
        for (index, directory) in self.shared.directories.iter().enumerate() {
            let name = format!("oncelog-commit-{index}");
            threads.push(directory.committer.spawn(name).map_err(failed)?);
        }
        let (weak, shared) = (Arc::downgrade(self), Arc::clone(&self.shared));
        let maintenance = thread::Builder::new()
            .name("oncelog-maintain".to_owned())
            .spawn(move || maintain_until_stopped(&weak, &shared))
            .map_err(failed)?;
        threads.push(maintenance);
        Ok(())
    }

    /// Writes and flushes what is staged now.
    pub(super) fn write_staged(&self) {
        for directory in &self.shared.directories {
            // What the first group only writes is flushed with the second.
            directory.committer.try_lead();
            directory.committer.try_lead();
        }
    }

    /// What is due for the engine and each of its logs.
    pub(super) fn tick(&self) {
        crate::io::buf::give_back_half();
        self.shared.check_space();
        // Whatever hinders it hinders the next transaction, too, which says so.
        drop(self.transactions.trim());
        let mut positions: Vec<_> = self.shared.directories.iter().map(|_| Vec::new()).collect();
        for slot in self.registry.all() {
            let is_new = self.load_if_due(&slot);
            let Some(log) = slot.loaded() else { continue };
            // A failure of one log shows in its own calls; the others still get their turn.
            log.inner().tick();
            if is_new {
                // At once: many logs may be due in one tick, and nobody has asked for any.
                log.inner().rest();
            }
            if log.inner().is_alive() {
                positions[slot.directory].push((slot.name.clone(), log.inner().positions()));
            }
        }
        for (directory, logs) in self.shared.directories.iter().zip(positions) {
            // Replaced whole or not at all; a trim, which depends on it, meets the failure itself.
            drop(directory.store_checkpoints(&self.shared, &logs));
        }
    }

    pub(super) fn stop_threads(&self) {
        for directory in &self.shared.directories {
            directory.committer.stop();
        }
        self.shared.maintenance.inner.lock().stopped = true;
        self.shared.maintenance.work.notify_all();
        for thread in self.threads.lock().drain(..) {
            // The last handle may go on the maintenance thread itself.
            if thread.thread().id() != thread::current().id() {
                // A thread that panicked has poisoned nothing that the close does not check itself.
                drop(thread.join());
            }
        }
    }
}

impl Drop for EngineInner {
    fn drop(&mut self) {
        self.stop_threads();
        self.transactions.abandon();
        self.shared.abandoned.store(true, Ordering::Release);
        for log in self.registry.all().iter().filter_map(|slot| slot.loaded()) {
            log.inner().wake_readers();
        }
    }
}

/// The maintenance thread: serves the queue as it fills, and everything else every [`TICK`], however
/// busy the queue is.
fn maintain_until_stopped(engine: &Weak<EngineInner>, shared: &Shared) {
    let clock = &shared.io.clock;
    let mut next_tick = clock.monotonic().saturating_add(TICK);
    loop {
        {
            let mut queue = shared.maintenance.inner.lock();
            let left = next_tick.saturating_sub(clock.monotonic());
            if queue.logs.is_empty() && !queue.stopped && !left.is_zero() {
                shared.maintenance.work.wait_for(&mut queue, left);
            }
            if queue.stopped {
                return;
            }
        }
        shared.maintenance.drain();
        if clock.monotonic() >= next_tick {
            let Some(engine) = engine.upgrade() else { return };
            engine.tick();
            next_tick = clock.monotonic().saturating_add(TICK);
        }
    }
}
