//! The engine's own threads: one per data directory for commits that no thread waits for, one for
//! maintenance.

use super::EngineInner;
use super::shared::Shared;
use crate::error::{Error, Result};
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

    /// What is due for the engine and each of its loaded logs.
    pub(super) fn tick(&self) {
        crate::io::buf::give_back_half();
        self.shared.check_space();
        // Whatever hinders it hinders the next transaction, too, which says so.
        drop(self.transactions.trim());
        for log in self.registry.all().iter().filter_map(|slot| slot.loaded()) {
            // A failure of one log shows in its own calls; the others still get their turn.
            log.inner().tick();
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
    }
}

/// The maintenance thread: serves the queue as it fills, and everything else every [`TICK`].
fn maintain_until_stopped(engine: &Weak<EngineInner>, shared: &Shared) {
    loop {
        let timed_out = {
            let mut queue = shared.maintenance.inner.lock();
            let idle = queue.logs.is_empty() && !queue.stopped;
            let timed_out = idle && shared.maintenance.work.wait_for(&mut queue, TICK).timed_out();
            if queue.stopped {
                return;
            }
            timed_out
        };
        shared.maintenance.drain();
        if timed_out {
            let Some(engine) = engine.upgrade() else { return };
            engine.tick();
        }
    }
}
