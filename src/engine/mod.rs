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
mod together;
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
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

/// A set of data directories and the logs in them. Cheap to clone; all clones are one engine.
///
/// End it with [`Engine::close`]. When the last clone is dropped without, its threads end, and nobody
/// looks after the logs any more: appends still work, and those who wait for them do the disk's work
/// themselves; waits for more to read end with [`ErrorKind::Closed`]. The directories are given back when
/// the last handle of a log, ticket or transaction has gone too, and the next open recovers them.
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
    /// Opens the data directories, and creates those that are not there. After an unclean end every log
    /// is recovered before this returns; after a clean one logs are loaded when first asked for.
    ///
    /// # Errors
    /// Nothing was changed that a later open could not go on with.
    /// - [`ErrorKind::Locked`]: another engine, in this process or another, has a directory open. Close
    ///   that one; a process that ended holds nothing.
    /// - [`ErrorKind::WrongDirectory`]: a directory belongs to another cluster or node, is a copy of
    ///   another one, or one that was used together with these is not among them. See what is mounted
    ///   where; for the last, [`EngineOptions::accept_missing_directories`] goes on without it.
    /// - [`ErrorKind::Invalid`]: an option is out of bounds, a log is in two directories, or a file is
    ///   none that recovery can make sense of; the text says which.
    /// - [`ErrorKind::NewerFormat`]: a later version has written here; open it with that.
    /// - [`ErrorKind::DiskFull`], [`ErrorKind::Io`], [`ErrorKind::Poisoned`]: see the source; it can be
    ///   tried again.
    ///
    /// # Complexity
    /// O(logs) after a clean close. Else what each log was given since its last checkpoint is read
    /// again, [`EngineOptions::checkpoint_bytes`] at most as a rule.
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
        for index in 0..options.directories.len() {
            directories.push(DataDirectory::open(&options, &io, index)?);
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
            logs::find(&io, &options.directories, index, *clean, &registry)?;
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
            abandoned: AtomicBool::new(false),
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

    /// The log of that name with this configuration, created if there is none: what a program calls
    /// when it starts, the first time and every other time.
    ///
    /// One that is there is had whatever its id, and its data is left alone. A new one gets the id of the
    /// other logs of its topic in this engine, or a random one if it is the first; the data directory
    /// with the fewest logs gets it, and it is durable when this returns.
    ///
    /// # Errors
    /// Those of [`Engine::log`] and [`Engine::create_log`], but for [`ErrorKind::NotFound`] and
    /// [`ErrorKind::AlreadyExists`].
    ///
    /// # Complexity
    /// As [`Engine::log`]; O(logs) to create one, and a few flushes.
    pub fn open_log(&self, name: &LogName, config: LogConfig) -> Result<Log> {
        config.validate()?;
        loop {
            match self.log(name) {
                Ok(log) => {
                    log.set_config(config)?;
                    return Ok(log);
                }
                Err(error) if *error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            match self.inner.create(name, self.inner.topic_id(name)?, config.clone(), None) {
                // Another thread was faster.
                Err(error) if *error.kind() == ErrorKind::AlreadyExists => {}
                created => return created,
            }
        }
    }

    /// Creates a log of the topic with the 16-byte `id`; durable when this returns. The data
    /// directory with the fewest logs gets it.
    ///
    /// # Errors
    /// Nothing was created if this returns an error.
    /// - [`ErrorKind::AlreadyExists`]: there is a log of that name. [`Engine::open_log`] takes either.
    /// - [`ErrorKind::Invalid`]: the id is all zeroes, the configuration is out of bounds, or the name
    ///   is one that is not for programs (the engine's own log, a Kafka controller's).
    /// - [`ErrorKind::DiskFull`], [`ErrorKind::Io`]: see the source; it can be tried again.
    /// - [`ErrorKind::Poisoned`]: the directory's small files cannot be written; open the engine again.
    /// - [`ErrorKind::Closed`]: the engine was closed.
    ///
    /// # Complexity
    /// O(logs), and a few flushes.
    pub fn create_log(&self, name: &LogName, id: [u8; 16], config: LogConfig) -> Result<Log> {
        check_name(name)?;
        config.validate()?;
        if id == [0; 16] {
            let context = format!("the id of {name} is all zeroes, which stands for no id");
            return Err(Error::new(ErrorKind::Invalid, context));
        }
        self.inner.create(name, id, config, None)
    }

    /// The log of that name, loaded if it was not. When it is loaded its configuration is
    /// [`EngineOptions::log`], but for what retention may remove: that is remembered with the log. See
    /// [`Log::set_config`].
    ///
    /// # Errors
    /// - [`ErrorKind::NotFound`]: there is none; [`Engine::open_log`] creates it.
    /// - [`ErrorKind::Invalid`]: it is the engine's own log, or a file in it is none that recovery
    ///   can make sense of; the text names the file. Nothing was changed; restore it from a backup.
    /// - [`ErrorKind::NewerFormat`]: a later version has written to it; open it with that.
    /// - [`ErrorKind::DiskFull`], [`ErrorKind::Io`]: see the source; it can be tried again.
    /// - [`ErrorKind::Closed`]: the engine was closed.
    ///
    /// # Complexity
    /// O(log of logs) if it is loaded. Else its last checkpoint is read and what was appended since is
    /// replayed: next to nothing after a clean close.
    pub fn log(&self, name: &LogName) -> Result<Log> {
        check_name(name)?;
        self.inner.find(name)
    }

    /// Every log with its 16-byte topic id, in name order. The id is all zeroes where Kafka has not
    /// written one yet.
    ///
    /// # Errors
    /// [`ErrorKind::Io`], [`ErrorKind::Corrupt`] or [`ErrorKind::NewerFormat`] if an id cannot be read:
    /// the text names the file. [`ErrorKind::Closed`] if the engine was closed.
    ///
    /// # Complexity
    /// O(logs); a small file is read for each log the first time. No log is loaded.
    pub fn logs(&self) -> Result<Vec<(LogName, [u8; 16])>> {
        self.inner.registry.check_open()?;
        let slots = self.inner.registry.all();
        let of_embedder = slots.iter().filter(|slot| check_name(&slot.name).is_ok());
        of_embedder.map(|slot| Ok((slot.name.clone(), self.inner.id(slot)?))).collect()
    }

    /// Removes a log; its name is free and its data gone for good when this returns. Handles to it
    /// fail with [`ErrorKind::Closed`]; slices that readers hold stay valid.
    ///
    /// # Errors
    /// - [`ErrorKind::NotFound`]: there is none. [`ErrorKind::Invalid`]: it is the engine's own log.
    /// - [`ErrorKind::Io`]: it may be gone or there still, which [`Engine::log`] tells; files that could
    ///   not be removed go when the engine is opened next.
    /// - [`ErrorKind::Poisoned`]: the transaction log or the directory's small files cannot be written;
    ///   open the engine again.
    /// - [`ErrorKind::Closed`]: the engine was closed.
    ///
    /// # Complexity
    /// Waits for the commits under way and the log's commit group; then O(files of the log).
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

    /// Lets `veto` hold retention back, in every log, from now on; it takes the place of the one before.
    /// It is called on the thread that applies retention, and should return at once.
    pub fn set_retention_veto(&self, veto: RetentionVeto) {
        *self.inner.shared.veto.write() = Some(veto);
    }

    /// Does the work that is due: checkpoints, sealing, retention, free space. The engine's own
    /// thread does it too, every 30 s; without one ([`EngineOptions::background`]) the embedder calls
    /// this, and staged appends that nobody waits for are written and flushed first. What fails in a
    /// log shows in that log's own calls.
    ///
    /// # Complexity
    /// O(loaded logs), and the I/O that is due.
    pub fn tick(&self) {
        if !self.inner.shared.options.background {
            self.inner.write_staged();
        }
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

    /// Writes and flushes everything, then marks the directories cleanly closed: the next open need not
    /// recover anything. Open transactions are aborted. Every handle and wait fails with
    /// [`ErrorKind::Closed`] afterwards, and the directories can be opened again. Closing again does
    /// nothing.
    ///
    /// # Errors
    /// The first failure: [`ErrorKind::Poisoned`] of a log that had failed before, else
    /// [`ErrorKind::Io`] or [`ErrorKind::DiskFull`]. Every log that could be closed was, and every
    /// directory is given back; the next open recovers those of the others.
    ///
    /// # Complexity
    /// O(loaded logs): one commit group, and a checkpoint of each that changed.
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
