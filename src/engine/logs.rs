//! Creating, loading and deleting logs, each under its slot's work lock.

use super::EngineInner;
use super::abreast::for_all;
use super::directory::DataDirectory;
use super::identity::random_id;
use super::registry::{Found, Registry, Slot};
use crate::checkpoint::{self, LOG_START_CHECKPOINT, OffsetCheckpoint};
use crate::error::{Error, ErrorKind, Result};
use crate::io::Io;
use crate::log::recover;
use crate::log::{Log, retention_due_ms};
use crate::options::{LogConfig, LogName};
use crate::segment::name::{delete_dir_name, is_delete_dir};
use crate::txn;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The log of a Kafka controller that shares the data directory: not ours to load, recover or close
/// (D-1).
const CLUSTER_METADATA_DIR: &str = "__cluster_metadata-0";

impl EngineInner {
    /// Adds a log and its files.
    pub(super) fn create(
        &self,
        name: &LogName,
        id: [u8; 16],
        config: LogConfig,
        directory: Option<usize>,
    ) -> Result<Log> {
        if name.to_string() == CLUSTER_METADATA_DIR {
            let context = format!("{name} is the name of a Kafka controller's own log");
            return Err(Error::new(ErrorKind::Invalid, context));
        }
        let emptiest = || self.registry.emptiest_of(self.shared.directories.len());
        let directory = directory.unwrap_or_else(emptiest);
        let slot = Arc::new(Slot::new(name.clone(), directory, false));
        // Taken before anybody else can find the slot: they wait until the log is there.
        let _work = slot.work.lock();
        self.registry.insert(&slot)?;
        let data = &self.shared.directories[directory];
        // A log on its way in has the name of one on its way out: after a crash it goes like one.
        let making =
            data.path.join(delete_dir_name(name, random_id(self.shared.io.random.as_ref())));
        // A crash in the middle of deleting the last log of this name may have left its log start.
        let created = self
            .forget(data, name)
            .and_then(|()| recover::create(self.source(&slot, false, Some(config)), id, &making));
        match created {
            Ok(inner) => {
                let log = Log::new(Arc::new(inner));
                slot.set_loaded(&log);
                Ok(log)
            }
            Err(error) => {
                slot.set_deleted();
                // What there is of it must not be in the way of the next attempt. If it cannot be
                // removed either, the next open finds a log that is empty.
                drop(self.shared.io.storage.remove_dir(&self.path(&slot)));
                self.registry.remove(&slot);
                Err(error)
            }
        }
    }

    /// The log of that name, loaded if it was not.
    pub(super) fn find(&self, name: &LogName) -> Result<Log> {
        let slot = self.registry.slot(name)?;
        match slot.find()? {
            Found::Log(log) => Ok(log),
            Found::Unloaded { .. } => self.load(&slot),
        }
    }

    /// Loads a log, or finds that somebody else did meanwhile.
    pub(super) fn load(&self, slot: &Slot) -> Result<Log> {
        let _work = slot.work.lock();
        let clean = match slot.find()? {
            Found::Log(log) => return Ok(log),
            Found::Unloaded { clean } => clean,
        };
        let source = self.source(slot, clean, None);
        let (inner, report) = recover::load(source)?;
        if !report.is_clean() || !report.rebuilt.is_empty() {
            self.reports.lock().push(report);
        }
        let log = Log::new(Arc::new(inner));
        slot.set_loaded(&log);
        Ok(log)
    }

    /// Loads a log that was closed in order, and that nobody has asked for since, if retention may take
    /// something from it by now; whether it did.
    pub(super) fn load_if_due(&self, slot: &Slot) -> bool {
        if !matches!(slot.find(), Ok(Found::Unloaded { clean: true })) {
            return false;
        }
        let mut due_ms = slot.due_ms.lock();
        let due = due_ms.map_or_else(|| self.look_at(slot), Ok);
        // What cannot be looked at now is looked at again.
        let Ok(due) = due else { return false };
        *due_ms = Some(due);
        if due > self.shared.age_clock.now_ms(self.shared.io.clock.as_ref()) {
            return false;
        }
        let loaded = self.load(slot).is_ok();
        if !loaded {
            // Who asks for it learns why.
            *due_ms = Some(i64::MAX);
        }
        loaded
    }

    fn look_at(&self, slot: &Slot) -> Result<i64> {
        let data = &self.shared.directories[slot.directory];
        let log_start = data.checkpoints.lock().log_starts.offsets.get(&slot.name).copied();
        retention_due_ms(self.shared.io.storage.as_ref(), &self.path(slot), log_start)
    }

    /// Removes a log with its files.
    pub(super) fn delete(&self, name: &LogName) -> Result<()> {
        let slot = self.registry.slot(name)?;
        let _work = slot.work.lock();
        // Once more with the lock: it may have gone meanwhile.
        let loaded = match slot.find()? {
            Found::Log(log) => Some(log),
            Found::Unloaded { .. } => None,
        };
        let data = &self.shared.directories[slot.directory];
        let doomed =
            data.path.join(delete_dir_name(name, random_id(self.shared.io.random.as_ref())));
        let rename = || self.move_away(data, &slot, &doomed);
        let moved = match &loaded {
            Some(log) => log.inner().retire(rename),
            None => rename(),
        };
        if let Err(error) = moved {
            // Under which name it is now is for the next load to find out.
            slot.set_unloaded();
            return Err(error);
        }
        slot.set_deleted();
        let forgotten = self.forget(data, name);
        self.registry.remove(&slot);
        forgotten?;
        let storage = &self.shared.io.storage;
        storage
            .remove_dir(&doomed)
            .map_err(|e| Error::io(format!("delete {}", doomed.display()), e))
    }

    /// From here on a crash finishes the deletion.
    fn move_away(&self, data: &DataDirectory, slot: &Slot, doomed: &Path) -> Result<()> {
        let path = self.path(slot);
        let storage = &self.shared.io.storage;
        storage
            .rename(&path, doomed)
            .and_then(|()| storage.sync_dir(&data.path))
            .map_err(|e| Error::io(format!("delete {}", path.display()), e))
    }

    /// Takes a log out of the data directory's checkpoints: a new one of its name begins at 0.
    fn forget(&self, data: &DataDirectory, name: &LogName) -> Result<()> {
        let mut checkpoints = data.checkpoints.lock();
        checkpoints.recovery_points.offsets.remove(name);
        checkpoints.high_watermarks.offsets.remove(name);
        if checkpoints.log_starts.offsets.remove(name).is_some() {
            let bytes = checkpoints.log_starts.encode();
            data.replace(&self.shared, LOG_START_CHECKPOINT, &bytes)?;
        }
        Ok(())
    }

    /// The id for a new log of that name: the other logs' of its topic, else a random one.
    pub(super) fn topic_id(&self, name: &LogName) -> Result<[u8; 16]> {
        let slots = self.registry.all();
        let siblings = slots.iter().filter(|slot| slot.name.topic() == name.topic());
        for slot in siblings {
            let id = self.id(slot)?;
            if id != [0; 16] {
                return Ok(id);
            }
        }
        Ok(random_id(self.shared.io.random.as_ref()))
    }

    /// The id of a log's topic, without loading the log.
    pub(super) fn id(&self, slot: &Slot) -> Result<[u8; 16]> {
        if let Some(id) = slot.id.get() {
            return Ok(*id);
        }
        let id = recover::read_id(&self.shared, &self.path(slot))?;
        // Kafka writes the file lazily, so a missing one is looked for again.
        Ok(if id == [0; 16] { id } else { *slot.id.get_or_init(|| id) })
    }

    /// Loads every log of the directories that were not closed in order, several at a time.
    pub(super) fn recover_unclean(&self) -> Result<()> {
        let mut unclean = Vec::new();
        for slot in self.registry.all() {
            if matches!(slot.find()?, Found::Unloaded { clean: false }) {
                unclean.push(slot);
            }
        }
        let background = self.shared.options.background;
        let loaded = for_all(background, &unclean, |slot| self.load(slot).map(drop));
        loaded.into_iter().collect::<Result<()>>()?;
        self.reports.lock().sort_by_cached_key(|report| report.log.to_string());
        Ok(())
    }

    fn path(&self, slot: &Slot) -> PathBuf {
        self.shared.directories[slot.directory].path.join(slot.name.to_string())
    }

    fn source(&self, slot: &Slot, clean: bool, config: Option<LogConfig>) -> recover::Source {
        let is_default_config = config.is_none();
        let config = config.unwrap_or_else(|| self.shared.options.log.clone());
        let data = &self.shared.directories[slot.directory];
        let (log_start, high_watermark) = {
            let checkpoints = data.checkpoints.lock();
            let of = |listed: &OffsetCheckpoint| listed.offsets.get(&slot.name).copied();
            (of(&checkpoints.log_starts), of(&checkpoints.high_watermarks))
        };
        recover::Source {
            name: slot.name.clone(),
            path: self.path(slot).into(),
            shared: Arc::clone(&self.shared),
            committer: Arc::clone(&data.committer),
            space: Arc::clone(&data.space),
            config: Arc::new(config),
            is_default_config,
            clean,
            log_start,
            high_watermark,
        }
    }
}

/// Finds the logs of a data directory, and finishes deletions that a crash interrupted.
pub(super) fn find(
    io: &Io,
    paths: &[PathBuf],
    directory: usize,
    clean: bool,
    registry: &Registry,
) -> Result<()> {
    let Some(path) = paths.get(directory) else { return Ok(()) };
    let failed = |e| Error::io(format!("list {}", path.display()), e);
    for entry in io.storage.list_dir(path).map_err(failed)? {
        if !entry.is_dir {
            if checkpoint::is_temporary(&entry.name) {
                io.storage.remove_file(&path.join(&entry.name)).map_err(failed)?;
            }
            continue;
        }
        if entry.name == CLUSTER_METADATA_DIR {
            continue;
        }
        if is_delete_dir(&entry.name) {
            io.storage.remove_dir(&path.join(&entry.name)).map_err(failed)?;
        } else if let Some(name) = LogName::from_dir_name(&entry.name) {
            let slot = Arc::new(Slot::new(name, directory, clean));
            if let Some(other) = registry.directory_of(&slot.name) {
                return Err(in_two_directories(&slot.name, paths, other, directory));
            }
            registry.insert(&slot)?;
        }
    }
    Ok(())
}

/// Which of the two is the right one only its owner knows.
fn in_two_directories(name: &LogName, paths: &[PathBuf], first: usize, second: usize) -> Error {
    let dir =
        |index: usize| paths.get(index).map_or_else(String::new, |path| path.display().to_string());
    let (first, second) = (dir(first), dir(second));
    let what = if *name == txn::log_name() {
        "the engine's log of transactions; the one that is older belongs to both directories, the other \
         was made while its directory was opened without the first"
    } else {
        "a log"
    };
    let context = format!(
        "{name} ({what}) is in two data directories, {first} and {second}: move the one that is not \
         wanted out of its data directory, then open the engine again"
    );
    Error::new(ErrorKind::Invalid, context)
}
