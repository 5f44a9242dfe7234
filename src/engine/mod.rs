//! An engine: data directories, the registry of their logs, and the work done in the background.

mod abreast;
mod clock;
mod close;
mod directory;
mod identity;
mod logs;
mod registry;
mod shared;
mod space;
mod threads;
mod transactions;

use crate::error::{Error, ErrorKind, Result};
use crate::io::os::StdStorage;
use crate::io::{Io, StorageInfo};
use crate::log::Log;
use crate::log::recover::RecoveryReport;
use crate::options::{EngineOptions, LogConfig, LogName};
use crate::segment::OpenSegments;
use crate::txn::{self, Coordinator};
use clock::AgeClock;
use directory::{DataDirectory, create_durably, remove_clean_mark};
use identity::Identity;
use parking_lot::{Mutex, RwLock};
use registry::Registry;
use shared::MaintenanceQueue;
pub use shared::RetentionVeto;
pub(crate) use shared::Shared;
pub(crate) use space::Space;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
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
    identity: Identity,
    registry: Registry,
    threads: Mutex<Vec<JoinHandle<()>>>,
    recovery_time: Duration,
    reports: Mutex<Vec<RecoveryReport>>,
    transactions: Arc<Coordinator>,
}

impl Engine {
    /// Opens the data directories. After an unclean end every log is recovered before this returns;
    /// after a clean one logs are opened when first asked for.
    ///
    /// # Errors
    /// [`ErrorKind::Locked`] if another engine has a directory open; [`ErrorKind::WrongDirectory`] if
    /// one belongs to another cluster or node; [`ErrorKind::NewerFormat`] if a
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
        for path in &options.directories {
            directories.push(DataDirectory::open(&options, &io, path)?);
        }
        let opened: Vec<&DataDirectory> = directories.iter().map(|(d, _)| d).collect();
        // Before anything in them changes.
        let identity = Identity::claim(&opened, &options, &io)?;
        for (index, (directory, clean)) in directories.iter().enumerate() {
            if !clean {
                // Names that a killed process made, and nobody flushed: logs are built on them now.
                io.storage
                    .sync_dir(&directory.path)
                    .map_err(|e| Error::io(format!("flush {}", directory.path.display()), e))?;
            }
            logs::find(&io, &directory.path, index, *clean, &registry)?;
        }
        let unclean: Vec<bool> = directories.iter().map(|(_, clean)| !clean).collect();
        let shared = Arc::new(Shared {
            age_clock: AgeClock::new(io.clock.as_ref()),
            open_segments: Arc::new(OpenSegments::new(options.open_segments_max)),
            io,
            maintenance: MaintenanceQueue::default(),
            directories: directories.into_iter().map(|(d, _)| d).collect(),
            staged_bytes: AtomicU64::new(0),
            veto: RwLock::new(None),
            transactions: OnceLock::new(),
            options,
        });
        let was_clean = !unclean.contains(&true);
        for (directory, unclean) in shared.directories.iter().zip(unclean) {
            if !unclean {
                remove_clean_mark(&shared, directory)?;
            }
        }
        let transactions = Arc::new(Coordinator::new(Arc::clone(&shared)));
        shared.transactions.get_or_init(|| Arc::downgrade(&transactions));
        let mut inner = EngineInner {
            shared,
            identity,
            registry,
            threads: Mutex::default(),
            recovery_time: Duration::ZERO,
            reports: Mutex::default(),
            transactions,
        };
        inner.recover_unclean()?;
        if !was_clean {
            inner.recover_transactions()?;
        }
        inner.recovery_time = inner.shared.io.clock.monotonic().saturating_sub(started);
        let inner = Arc::new(inner);
        inner.spawn_threads()?;
        Ok(Self { inner })
    }

    /// [`Engine::create_log`] for each of `names`, several at a time: their flushes are shared.
    /// Outcomes in the order of the names; one that fails changes nothing for the others.
    ///
    /// # Errors
    /// In each outcome, as [`Engine::create_log`].
    pub fn create_logs(
        &self,
        names: &[LogName],
        id: [u8; 16],
        config: &LogConfig,
    ) -> Vec<Result<Log>> {
        abreast::for_all(self.inner.shared.options.background, names, |name| {
            self.create_log(name, id, config.clone())
        })
    }

    /// Creates a log of the topic with the 16-byte `id`; durable when this returns. The data
    /// directory with the fewest logs gets it.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`], [`ErrorKind::Invalid`], [`ErrorKind::Io`].
    pub fn create_log(&self, name: &LogName, id: [u8; 16], config: LogConfig) -> Result<Log> {
        check_name(name)?;
        config.validate()?;
        self.inner.create(name, id, config, None)
    }

    /// The log of that name, opened if it was not. After a restart its configuration is the engine's
    /// default ([`EngineOptions::log`]) until [`Log::set_config`], but for what retention may remove: that
    /// is remembered with the log.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], or what loading it met.
    pub fn log(&self, name: &LogName) -> Result<Log> {
        check_name(name)?;
        self.inner.find(name)
    }

    /// Every log with its 16-byte topic id, in name order.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] or [`ErrorKind::Invalid`] if an id cannot be read.
    pub fn logs(&self) -> Result<Vec<(LogName, [u8; 16])>> {
        let slots = self.inner.registry.all();
        let of_embedder = slots.iter().filter(|slot| check_name(&slot.name).is_ok());
        of_embedder.map(|slot| Ok((slot.name.clone(), self.inner.id(slot)?))).collect()
    }

    /// Removes a log; its name is free and its data gone for good when this returns. Handles to it
    /// fail with [`ErrorKind::Closed`]; slices that readers hold stay valid.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::Io`].
    pub fn delete_log(&self, name: &LogName) -> Result<()> {
        check_name(name)?;
        // What decisions say of the log must not matter any more when it is gone.
        let _settled = self.inner.transactions.settle()?;
        self.inner.delete(name)
    }

    /// [`Engine::delete_log`] for each of `names`, several at a time. Outcomes in the order of the
    /// names; one that fails changes nothing for the others.
    ///
    /// # Errors
    /// In each outcome, as [`Engine::delete_log`].
    pub fn delete_logs(&self, names: &[LogName]) -> Vec<Result<()>> {
        // Held until all are gone, by this thread.
        let (_settled, failed) = match self.inner.transactions.settle() {
            Ok(gate) => (Some(gate), None),
            Err(error) => (None, Some(error)),
        };
        abreast::for_all(self.inner.shared.options.background, names, |name| {
            check_name(name)?;
            failed.clone().map_or(Ok(()), Err)?;
            self.inner.delete(name)
        })
    }

    /// Lets `veto` hold retention back.
    pub fn set_retention_veto(&self, veto: RetentionVeto) {
        *self.inner.shared.veto.write() = Some(veto);
    }

    /// Does the work that is due: checkpoints, sealing, retention, free space. The engine's own
    /// thread does it too; without one ([`EngineOptions::background`]) the embedder calls this.
    pub fn tick(&self) {
        self.inner.shared.maintenance.drain();
        self.inner.transactions.drive();
        self.inner.tick();
    }

    /// The cluster its data directories belong to; see [`EngineOptions::cluster_id`].
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        &self.inner.identity.cluster_id
    }

    /// The number of this node; see [`EngineOptions::node_id`].
    #[must_use]
    pub fn node_id(&self) -> i32 {
        self.inner.identity.node_id
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

/// The engine's own log is none of the embedder's.
fn check_name(name: &LogName) -> Result<()> {
    if *name == txn::log_name() {
        return Err(Error::new(ErrorKind::Invalid, format!("{name} is the engine's own log")));
    }
    Ok(())
}
