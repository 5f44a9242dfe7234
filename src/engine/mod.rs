//! An engine: data directories, the registry of their logs, and the work done in the background.

mod close;
mod directory;
mod logs;
mod registry;
mod shared;
mod space;
mod threads;

use crate::error::{Error, Result};
use crate::io::os::StdStorage;
use crate::io::{Io, StorageInfo};
use crate::log::Log;
use crate::log::recover::RecoveryReport;
use crate::options::{EngineOptions, LogConfig, LogName};
use directory::{DataDirectory, create_durably, remove_clean_mark};
use parking_lot::{Mutex, RwLock};
use registry::Registry;
use shared::MaintenanceQueue;
pub use shared::RetentionVeto;
pub(crate) use shared::Shared;
pub(crate) use space::Space;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;
use std::time::Duration;

/// A set of data directories and the logs in them. Cheap to clone; the last clone that goes stops
/// the engine's threads without a clean close: call [`Engine::close`].
#[derive(Clone, Debug)]
pub struct Engine {
    inner: Arc<EngineInner>,
}

#[derive(Debug)]
struct EngineInner {
    shared: Arc<Shared>,
    registry: Registry,
    threads: Mutex<Vec<JoinHandle<()>>>,
    recovery_time: Duration,
    reports: Mutex<Vec<RecoveryReport>>,
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
        let registry = Registry::default();
        for (index, path) in options.directories.iter().enumerate() {
            let (directory, clean) = DataDirectory::open(&options, &io, path)?;
            if !clean {
                // Names that a killed process made, and nobody flushed: logs are built on them now.
                io.storage
                    .sync_dir(path)
                    .map_err(|e| Error::io(format!("flush {}", path.display()), e))?;
            }
            logs::find(&io, path, index, clean, &registry)?;
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
            registry,
            threads: Mutex::default(),
            recovery_time: Duration::ZERO,
            reports: Mutex::default(),
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
        config.validate()?;
        self.inner.create(name, id, config)
    }

    /// The log of that name, opened if it was not. Its configuration is the engine's default until
    /// [`Log::set_config`].
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], or what loading it met.
    pub fn log(&self, name: &LogName) -> Result<Log> {
        self.inner.find(name)
    }

    /// Every log with its 16-byte topic id, in name order.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] or [`ErrorKind::Invalid`] if an id cannot be read.
    pub fn logs(&self) -> Result<Vec<(LogName, [u8; 16])>> {
        let slots = self.inner.registry.all();
        slots.iter().map(|slot| Ok((slot.name.clone(), self.inner.id(slot)?))).collect()
    }

    /// Removes a log; its name is free and its data gone for good when this returns. Handles to it
    /// fail with [`ErrorKind::Closed`]; slices that readers hold stay valid.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::Io`].
    pub fn delete_log(&self, name: &LogName) -> Result<()> {
        self.inner.delete(name)
    }

    /// Lets `veto` hold retention back.
    pub fn set_retention_veto(&self, veto: RetentionVeto) {
        *self.inner.shared.veto.write() = Some(veto);
    }

    /// Does the work that is due: checkpoints, sealing, retention, free space. The engine's own
    /// thread does it too; without one ([`EngineOptions::background`]) the embedder calls this.
    pub fn tick(&self) {
        self.inner.shared.maintenance.drain();
        self.inner.tick();
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
    /// [`ErrorKind::Closed`] afterwards, and the directories can be opened again.
    ///
    /// # Errors
    /// The first failure. Every log that could be closed was; the next open recovers the directories
    /// of the others.
    pub fn close(&self) -> Result<()> {
        self.inner.close()
    }
}
