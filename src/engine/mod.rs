//! An engine: data directories, the registry of their logs, and the work done in the background.

mod directory;
mod shared;

use crate::checkpoint::{
    self, CLEAN_SHUTDOWN, CLEAN_SHUTDOWN_BODY, HIGH_WATERMARK_CHECKPOINT, LOG_START_CHECKPOINT,
    RECOVERY_POINT_CHECKPOINT,
};
use crate::error::{Error, ErrorKind, Result};
use crate::io::os::StdStorage;
use crate::io::{Io, StorageInfo};
use crate::log::Log;
use crate::log::recover::{self, RecoveryReport};
use crate::options::{EngineOptions, LogConfig, LogName};
use crate::segment::name::{delete_dir_name, is_delete_dir};
use directory::{DataDirectory, create_durably, remove_clean_mark};
use parking_lot::{Mutex, RwLock};
use shared::MaintenanceQueue;
pub use shared::RetentionVeto;
pub(crate) use shared::Shared;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How often the maintenance thread looks after free space and retention when nothing wakes it.
const TICK: Duration = Duration::from_secs(30);

/// Where a log is and whether it is loaded.
#[derive(Debug)]
struct Slot {
    directory: usize,
    log: Option<Log>,
    /// It was closed in order and not loaded since.
    clean: bool,
}

/// A set of data directories and the logs in them. Cheap to clone; the last clone that goes stops
/// the engine's threads without a clean close: call [`Engine::close`].
#[derive(Clone, Debug)]
pub struct Engine {
    inner: Arc<EngineInner>,
}

#[derive(Debug)]
struct EngineInner {
    shared: Arc<Shared>,
    registry: Mutex<BTreeMap<LogName, Slot>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    recovery_time: Duration,
    reports: Mutex<Vec<RecoveryReport>>,
    closed: AtomicBool,
}

impl Engine {
    /// Opens the data directories. After an unclean end every log is recovered before this returns;
    /// after a clean one logs are opened when first asked for.
    ///
    /// # Errors
    /// [`ErrorKind::Locked`] if another engine has a directory open; [`ErrorKind::NewerFormat`] if a
    /// file is of a later version; [`ErrorKind::Invalid`] for an option out of bounds or a file
    /// that recovery cannot make sense of; [`ErrorKind::Io`]. Nothing was changed that a later open
    /// could not go on with.
    pub fn open(options: EngineOptions) -> Result<Self> {
        options.validate()?;
        let first = options.directories.first().cloned().unwrap_or_default();
        // The probe of the backend writes a block where the data will be.
        create_durably(&StdStorage::new("before the probe"), &first)
            .map_err(|e| Error::io(format!("create {}", first.display()), e))?;
        let io = Io::system(options.backend, &first)?;
        Self::open_with(options, io)
    }

    /// [`Engine::open`] on a custom or simulated outside world.
    ///
    /// # Errors
    /// As [`Engine::open`].
    pub fn open_with(options: EngineOptions, io: Io) -> Result<Self> {
        options.validate()?;
        let started = io.clock.monotonic();
        let mut directories = Vec::new();
        let mut registry = BTreeMap::new();
        for (index, path) in options.directories.iter().enumerate() {
            let (directory, clean) = DataDirectory::open(&options, &io, path)?;
            find_logs(&io, path, index, clean, &mut registry)?;
            directories.push((directory, clean));
        }
        let unclean: Vec<bool> = directories.iter().map(|(_, clean)| !clean).collect();
        let shared = Arc::new(Shared {
            io,
            maintenance: MaintenanceQueue::default(),
            directories: directories.into_iter().map(|(d, _)| d).collect(),
            staged_bytes: AtomicU64::new(0),
            veto: RwLock::new(None),
            options,
        });
        for (directory, unclean) in shared.directories.iter().zip(unclean) {
            if !unclean {
                remove_clean_mark(&shared, directory)?;
            }
        }
        let mut inner = EngineInner {
            shared,
            registry: Mutex::new(registry),
            threads: Mutex::default(),
            recovery_time: Duration::ZERO,
            reports: Mutex::default(),
            closed: AtomicBool::new(false),
        };
        inner.recover_unclean()?;
        inner.recovery_time = inner.shared.io.clock.monotonic().saturating_sub(started);
        let inner = Arc::new(inner);
        inner.spawn_threads()?;
        Ok(Self { inner })
    }

    /// Creates a log of the topic with the 16-byte `id`; durable when this returns. The data
    /// directory with the fewest logs gets it.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`], [`ErrorKind::Invalid`], [`ErrorKind::Io`].
    pub fn create_log(&self, name: &LogName, id: [u8; 16], config: LogConfig) -> Result<Log> {
        self.inner.check_open()?;
        config.validate()?;
        let mut registry = self.inner.registry.lock();
        if registry.contains_key(name) {
            return Err(Error::new(ErrorKind::AlreadyExists, format!("{name} exists already")));
        }
        let directory = self.inner.emptiest_directory(&registry);
        let source = self.inner.source(name, directory, false, config);
        let log = Log::new(Arc::new(recover::create(source, id)?));
        registry.insert(name.clone(), Slot { directory, log: Some(log.clone()), clean: false });
        Ok(log)
    }

    /// The log of that name, opened if it was not. Its configuration is the engine's default until
    /// [`Log::set_config`].
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], or what loading it met.
    pub fn log(&self, name: &LogName) -> Result<Log> {
        self.inner.check_open()?;
        let mut registry = self.inner.registry.lock();
        let Some(slot) = registry.get_mut(name) else {
            return Err(Error::new(ErrorKind::NotFound, format!("there is no log {name}")));
        };
        if let Some(log) = &slot.log {
            return Ok(log.clone());
        }
        self.inner.load(name, slot)
    }

    /// Every log with its 16-byte topic id, in name order.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] or [`ErrorKind::Invalid`] if an id cannot be read.
    pub fn logs(&self) -> Result<Vec<(LogName, [u8; 16])>> {
        let registry = self.inner.registry.lock();
        let id = |name: &LogName, slot: &Slot| match &slot.log {
            Some(log) => Ok(log.id()),
            None => recover::read_id(&self.inner.shared, &self.inner.path(name, slot.directory)),
        };
        registry.iter().map(|(name, slot)| Ok((name.clone(), id(name, slot)?))).collect()
    }

    /// Removes a log; its name is free and its data gone for good when this returns. Handles to it
    /// fail with [`ErrorKind::Closed`]; slices that readers hold stay valid.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::Io`].
    pub fn delete_log(&self, name: &LogName) -> Result<()> {
        self.inner.check_open()?;
        let mut registry = self.inner.registry.lock();
        let Some(slot) = registry.remove(name) else {
            return Err(Error::new(ErrorKind::NotFound, format!("there is no log {name}")));
        };
        if let Some(log) = &slot.log {
            log.inner().fail(Error::new(ErrorKind::Closed, format!("{name} was deleted")));
        }
        self.inner.remove_log_directory(name, slot.directory)
    }

    /// Lets `veto` hold retention back.
    pub fn set_retention_veto(&self, veto: RetentionVeto) {
        *self.inner.shared.veto.write() = Some(veto);
    }

    /// Does the work that is due: checkpoints, sealing, retention, free space. The engine's own
    /// thread does it too; without one ([`EngineOptions::background`]) the embedder calls this.
    pub fn tick(&self) {
        self.inner.shared.maintenance.drain();
        self.inner.retain_all();
    }

    /// The backend in use and why.
    #[must_use]
    pub fn storage_info(&self) -> StorageInfo {
        self.inner.shared.io.storage.info()
    }

    /// How long opening, with recovery, took.
    #[must_use]
    pub fn recovery_time(&self) -> Duration {
        self.inner.recovery_time
    }

    /// What recovery met that was not in order, log by log.
    #[must_use]
    pub fn recovery_reports(&self) -> Vec<RecoveryReport> {
        self.inner.reports.lock().clone()
    }

    /// Writes and flushes everything, then marks the directories cleanly closed. Handles fail with
    /// [`ErrorKind::Closed`] afterwards.
    ///
    /// # Errors
    /// The first failure; the next open then recovers.
    pub fn close(&self) -> Result<()> {
        self.inner.close()
    }
}

impl EngineInner {
    fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::new(ErrorKind::Closed, "the engine was closed"));
        }
        Ok(())
    }

    fn path(&self, name: &LogName, directory: usize) -> PathBuf {
        self.shared.directories[directory].path.join(name.to_string())
    }

    fn emptiest_directory(&self, registry: &BTreeMap<LogName, Slot>) -> usize {
        let mut counts = vec![0_usize; self.shared.directories.len()];
        registry.values().for_each(|slot| counts[slot.directory] += 1);
        (0..counts.len()).min_by_key(|index| counts[*index]).unwrap_or(0)
    }

    fn source(
        &self,
        name: &LogName,
        directory: usize,
        clean: bool,
        config: LogConfig,
    ) -> recover::Source {
        let data = &self.shared.directories[directory];
        recover::Source {
            name: name.clone(),
            path: self.path(name, directory).into(),
            shared: Arc::clone(&self.shared),
            committer: Arc::clone(&data.committer),
            config: Arc::new(config),
            clean,
            log_start: data.checkpoints.lock().log_starts.offsets.get(name).copied(),
        }
    }

    fn load(&self, name: &LogName, slot: &mut Slot) -> Result<Log> {
        let config = self.shared.options.log.clone();
        let source = self.source(name, slot.directory, slot.clean, config);
        let (inner, report) = recover::load(source)?;
        if !report.is_clean() || !report.rebuilt.is_empty() {
            self.reports.lock().push(report);
        }
        let log = Log::new(Arc::new(inner));
        slot.log = Some(log.clone());
        slot.clean = false;
        Ok(log)
    }

    /// Loads every log of the directories that were not closed in order.
    fn recover_unclean(&self) -> Result<()> {
        let mut registry = self.registry.lock();
        for (name, slot) in registry.iter_mut().filter(|(_, slot)| !slot.clean) {
            self.load(name, slot)?;
        }
        Ok(())
    }

    fn spawn_threads(self: &Arc<Self>) -> Result<()> {
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

    fn open_logs(&self) -> Vec<Log> {
        self.registry.lock().values().filter_map(|slot| slot.log.clone()).collect()
    }

    fn retain_all(&self) {
        crate::io::buf::give_back_half();
        self.shared.check_space();
        for log in self.open_logs() {
            // A failure of one log shows in its own calls; the others still get their turn.
            if log.inner().is_alive() {
                if let Err(error) = log.retain() {
                    log.inner().poison("retention failed", io::Error::other(error));
                }
            }
        }
    }

    fn remove_log_directory(&self, name: &LogName, directory: usize) -> Result<()> {
        let data = &self.shared.directories[directory];
        let storage = &self.shared.io.storage;
        let path = self.path(name, directory);
        let failed = |e| Error::io(format!("delete {}", path.display()), e);
        let mut uuid = [0; 16];
        for half in uuid.chunks_exact_mut(8) {
            half.copy_from_slice(&self.shared.io.random.next_u64().to_be_bytes());
        }
        let doomed = data.path.join(delete_dir_name(name, uuid));
        data.committer.exclusively(|| storage.rename(&path, &doomed)).map_err(failed)?;
        storage.sync_dir(&data.path).map_err(failed)?;
        let mut checkpoints = data.checkpoints.lock();
        checkpoints.recovery_points.offsets.remove(name);
        checkpoints.high_watermarks.offsets.remove(name);
        if checkpoints.log_starts.offsets.remove(name).is_some() {
            let bytes = checkpoints.log_starts.encode();
            data.replace(&self.shared, LOG_START_CHECKPOINT, &bytes)?;
        }
        drop(checkpoints);
        storage.remove_dir(&doomed).map_err(failed)
    }

    fn close(&self) -> Result<()> {
        if self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.stop_threads();
        let logs: Vec<(LogName, usize, Log)> = self
            .registry
            .lock()
            .iter()
            .filter_map(|(name, slot)| Some((name.clone(), slot.directory, slot.log.clone()?)))
            .collect();
        for (name, directory, log) in logs {
            log.inner().close()?;
            let offsets = log.offsets();
            let mut checkpoints = self.shared.directories[directory].checkpoints.lock();
            checkpoints.recovery_points.offsets.insert(name.clone(), offsets.log_end_offset);
            checkpoints.high_watermarks.offsets.insert(name.clone(), offsets.high_watermark);
            if log.segments().first().is_some_and(|(base, _)| *base < offsets.log_start_offset) {
                checkpoints.log_starts.offsets.insert(name, offsets.log_start_offset);
            }
        }
        for directory in &self.shared.directories {
            let checkpoints = directory.checkpoints.lock();
            let files = [
                (RECOVERY_POINT_CHECKPOINT, checkpoints.recovery_points.encode()),
                (HIGH_WATERMARK_CHECKPOINT, checkpoints.high_watermarks.encode()),
                (LOG_START_CHECKPOINT, checkpoints.log_starts.encode()),
                (CLEAN_SHUTDOWN, CLEAN_SHUTDOWN_BODY.to_vec()),
            ];
            for (name, bytes) in files {
                directory.replace(&self.shared, name, &bytes)?;
            }
            drop(checkpoints);
            *directory.lock.lock() = None;
        }
        Ok(())
    }

    fn stop_threads(&self) {
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
            engine.retain_all();
        }
    }
}

/// Finds the logs of a data directory, and finishes deletions that a crash interrupted.
fn find_logs(
    io: &Io,
    path: &Path,
    directory: usize,
    clean: bool,
    registry: &mut BTreeMap<LogName, Slot>,
) -> Result<()> {
    let failed = |e| Error::io(format!("list {}", path.display()), e);
    for entry in io.storage.list_dir(path).map_err(failed)? {
        if !entry.is_dir {
            if checkpoint::is_temporary(&entry.name) {
                io.storage.remove_file(&path.join(&entry.name)).map_err(failed)?;
            }
            continue;
        }
        if is_delete_dir(&entry.name) {
            io.storage.remove_dir(&path.join(&entry.name)).map_err(failed)?;
        } else if let Some(name) = LogName::from_dir_name(&entry.name) {
            let slot = Slot { directory, log: None, clean };
            if registry.insert(name.clone(), slot).is_some() {
                let context = format!("{name} is in two data directories");
                return Err(Error::new(ErrorKind::Invalid, context));
            }
        }
    }
    Ok(())
}
