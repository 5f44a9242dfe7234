//! What every log of an engine shares: the outside world, options, budgets, maintenance.

use super::clock::AgeClock;
use super::directory::DataDirectory;
use super::space::Space;
use crate::checkpoint::{HIGH_WATERMARK_CHECKPOINT, LOG_START_CHECKPOINT};
use crate::error::{Error, ErrorKind, Result};
use crate::io::Io;
use crate::log::LogInner;
use crate::options::{EngineOptions, LogName};
use crate::segment::OpenSegments;
use crate::txn::Coordinator;
use crate::types::{Offset, Origin};
use parking_lot::{Condvar, Mutex, RwLock};
use std::collections::VecDeque;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

/// Asked before retention moves a log start offset: the offset it may move to, at most. Lets a state
/// machine keep what it has not consumed.
pub type RetentionVeto = Arc<dyn Fn(&LogName, Offset) -> Offset + Send + Sync>;

/// What every log of an engine shares.
pub(crate) struct Shared {
    pub(crate) io: Io,
    pub(crate) options: EngineOptions,
    pub(crate) maintenance: MaintenanceQueue,
    /// Sealed segments whose files are open.
    pub(crate) open_segments: Arc<OpenSegments>,
    /// The time by which data ages.
    pub(crate) age_clock: AgeClock,
    pub(super) directories: Vec<DataDirectory>,
    pub(super) staged_bytes: AtomicU64,
    pub(super) veto: RwLock<Option<RetentionVeto>>,
    /// Set once, by the engine that owns both.
    pub(super) transactions: OnceLock<Weak<Coordinator>>,
    /// The last handle of the engine is gone.
    pub(super) abandoned: AtomicBool,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("io", &self.io).finish_non_exhaustive()
    }
}

/// Logs that want maintenance.
#[derive(Debug, Default)]
pub(crate) struct MaintenanceQueue {
    pub(super) inner: Mutex<MaintenanceInner>,
    pub(super) work: Condvar,
}

#[derive(Debug, Default)]
pub(super) struct MaintenanceInner {
    /// Kept alive by the registry; a log holds what it shares, so the queue must not hold it.
    pub(super) logs: VecDeque<Weak<LogInner>>,
    pub(super) stopped: bool,
}

impl MaintenanceQueue {
    pub(crate) fn enqueue(&self, log: &Arc<LogInner>) {
        self.inner.lock().logs.push_back(Arc::downgrade(log));
        self.work.notify_one();
    }

    pub(super) fn drain(&self) {
        loop {
            let Some(log) = self.inner.lock().logs.pop_front() else { return };
            if let Some(log) = log.upgrade() {
                log.maintain();
            }
        }
    }
}

impl Shared {
    /// Admits `len` bytes to be staged in a log that lies in `space`, or refuses them.
    pub(crate) fn admit_bytes(&self, space: &Space, len: usize, origin: Origin) -> Result<()> {
        let staged = self.staged_bytes.load(Ordering::Relaxed);
        // A single batch is always let in: the bound is on what piles up.
        if staged > 0 && staged + len as u64 > self.options.staged_bytes_max {
            let limit = self.options.staged_bytes_max;
            let context = format!("{staged} bytes wait for the disk (staged_bytes_max = {limit})");
            return Err(Error::new(ErrorKind::Busy, context));
        }
        // A coordinator ends what others began: it may use the reserve.
        if origin != Origin::Coordinator && !space.has_room_for(len) {
            let reserve = self.options.reserve_bytes;
            let path = space.path().display();
            let context = format!(
                "{len} bytes more would leave fewer than {reserve} (reserve_bytes) free in {path}"
            );
            return Err(Error::new(ErrorKind::DiskFull, context));
        }
        Ok(())
    }

    /// Counts bytes that were staged.
    pub(crate) fn stage_bytes(&self, space: &Space, len: u64) {
        self.staged_bytes.fetch_add(len, Ordering::Relaxed);
        space.charge(len);
    }

    /// Counts bytes that are staged no longer: they were written, or their log has failed.
    pub(crate) fn unstage_bytes(&self, space: &Space, len: u64) {
        self.staged_bytes.fetch_sub(len, Ordering::Relaxed);
        space.settle(len);
    }

    /// The engine's transactions over several logs, while it lives.
    pub(crate) fn transactions(&self) -> Option<Arc<Coordinator>> {
        self.transactions.get()?.upgrade()
    }

    /// Whether nobody looks after the logs any more, and nobody can ask for them.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }

    /// How far retention may move the start of `name`.
    pub(crate) fn veto(&self, name: &LogName, start: Offset) -> Offset {
        let veto = self.veto.read().clone();
        veto.map_or(start, |veto| veto(name, start).min(start))
    }

    /// Makes a log start offset durable in the data directory's checkpoint.
    pub(crate) fn store_log_start(&self, name: &LogName, path: &Path, start: Offset) -> Result<()> {
        let directory = self.directory_of(path)?;
        let mut checkpoints = directory.checkpoints.lock();
        let before = checkpoints.log_starts.offsets.insert(name.clone(), start);
        let bytes = checkpoints.log_starts.encode();
        directory.replace(self, LOG_START_CHECKPOINT, &bytes).inspect_err(|_| {
            // A trim that failed must not be stored by the next one of another log.
            match before {
                Some(before) => checkpoints.log_starts.offsets.insert(name.clone(), before),
                None => checkpoints.log_starts.offsets.remove(name),
            };
        })
    }

    /// Makes a high watermark that an embedder set durable in the data directory's checkpoint, where a
    /// higher one may stand.
    pub(crate) fn store_high_watermark(
        &self,
        name: &LogName,
        path: &Path,
        high_watermark: Offset,
    ) -> Result<()> {
        let directory = self.directory_of(path)?;
        let mut checkpoints = directory.checkpoints.lock();
        checkpoints.high_watermarks.offsets.insert(name.clone(), high_watermark);
        let bytes = checkpoints.high_watermarks.encode();
        directory.replace(self, HIGH_WATERMARK_CHECKPOINT, &bytes)
    }

    pub(super) fn directory_of(&self, path: &Path) -> Result<&DataDirectory> {
        self.directories
            .iter()
            .find(|d| Some(d.path.as_path()) == path.parent())
            .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("{}", path.display())))
    }

    pub(super) fn check_space(&self) {
        for directory in &self.directories {
            // One that does not answer keeps the figures of the last look.
            drop(directory.space.look());
        }
    }
}
