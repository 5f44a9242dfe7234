//! One data directory: its lock, its committer, Kafka's text checkpoints in it.

use super::shared::Shared;
use super::space::Space;
use crate::checkpoint::{
    self, CLEAN_SHUTDOWN, HIGH_WATERMARK_CHECKPOINT, LOG_START_CHECKPOINT, OffsetCheckpoint,
    RECOVERY_POINT_CHECKPOINT, TextDamage,
};
use crate::commit::Committer;
use crate::error::{Error, ErrorKind, Result};
use crate::io::{DirLock, Io, Storage};
use crate::log::Positions;
use crate::options::{EngineOptions, LogName};
use parking_lot::Mutex;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Largest checkpoint file that is read.
const TEXT_BYTES_MAX: usize = 64 << 20;

/// One data directory: Kafka's `log.dirs` entry.
#[derive(Debug)]
pub(super) struct DataDirectory {
    pub(super) path: PathBuf,
    pub(super) committer: Arc<Committer>,
    /// What producers' appends may still take of it.
    pub(super) space: Arc<Space>,
    /// Kafka's text checkpoints as last read or written.
    pub(super) checkpoints: Mutex<Checkpoints>,
    /// Given back by the clean close; else by the process's end.
    pub(super) lock: Mutex<Option<Box<dyn DirLock>>>,
}

#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    pub(super) recovery_points: OffsetCheckpoint,
    pub(super) high_watermarks: OffsetCheckpoint,
    pub(super) log_starts: OffsetCheckpoint,
}

impl Checkpoints {
    /// Takes over where a log stands.
    pub(super) fn note(&mut self, name: &LogName, at: Positions) {
        self.recovery_points.offsets.insert(name.clone(), at.durable_end);
        self.high_watermarks.offsets.insert(name.clone(), at.high_watermark);
        // D-46: only logs that begin behind their first segment's base.
        if at.log_start > at.first_base {
            self.log_starts.offsets.insert(name.clone(), at.log_start);
        }
    }
}

impl DataDirectory {
    pub(super) fn open(options: &EngineOptions, io: &Io, path: &Path) -> Result<(Self, bool)> {
        let failed = |e| Error::io(format!("open the data directory {}", path.display()), e);
        let storage = &io.storage;
        create_durably(storage.as_ref(), path).map_err(failed)?;
        let lock = storage.lock_dir(path).map_err(|e| match e.kind() {
            io::ErrorKind::WouldBlock => Error::with_source(
                ErrorKind::Locked,
                format!("{} is in use by another engine", path.display()),
                e,
            ),
            _ => failed(e),
        })?;
        let read = |name: &str| {
            checkpoint::read_file(storage.as_ref(), &path.join(name), TEXT_BYTES_MAX)
                .map_err(failed)
        };
        let clean = read(CLEAN_SHUTDOWN)?.is_some();
        let offsets = |name| -> Result<OffsetCheckpoint> {
            match read(name)? {
                None => Ok(OffsetCheckpoint::default()),
                Some(bytes) => match OffsetCheckpoint::decode(&bytes) {
                    Ok(checkpoint) => Ok(checkpoint),
                    Err(e @ TextDamage::Newer { .. }) => Err(e.into_error(&path.join(name))),
                    // A malformed one is treated as empty (D-48).
                    Err(_damage) => Ok(OffsetCheckpoint::default()),
                },
            }
        };
        let checkpoints = Checkpoints {
            recovery_points: offsets(RECOVERY_POINT_CHECKPOINT)?,
            high_watermarks: offsets(HIGH_WATERMARK_CHECKPOINT)?,
            log_starts: offsets(LOG_START_CHECKPOINT)?,
        };
        let space = Space::new(Arc::clone(storage), path, options.reserve_bytes).map_err(failed)?;
        let directory = Self {
            path: path.to_owned(),
            committer: Arc::new(Committer::new(Arc::clone(storage))),
            space: Arc::new(space),
            checkpoints: Mutex::new(checkpoints),
            lock: Mutex::new(Some(lock)),
        };
        Ok((directory, clean))
    }

    pub(super) fn replace(&self, shared: &Shared, name: &str, bytes: &[u8]) -> Result<()> {
        checkpoint::replace_file(shared.io.storage.as_ref(), &self.path, name, bytes)
            .map_err(|e| Error::io(format!("write {}", self.path.join(name).display()), e))
    }
}

/// Creates a directory with its parents and makes all their names durable.
pub(super) fn create_durably(storage: &dyn Storage, path: &Path) -> io::Result<()> {
    let is_empty = |path: &Path| match storage.list_dir(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(true),
        found => found.map(|entries| entries.is_empty()),
    };
    // A process that was killed while it created them left an empty directory, and perhaps names
    // on the way to it that are not durable yet.
    let mut new = Vec::new();
    let mut at = path;
    while is_empty(at)? {
        new.push(at);
        match at.parent() {
            Some(parent) if parent != Path::new("") => at = parent,
            _ => break,
        }
    }
    storage.create_dir(path)?;
    for created in new.into_iter().rev() {
        let parent = created.parent().filter(|p| *p != Path::new(""));
        storage.sync_dir(parent.unwrap_or(Path::new(".")))?;
    }
    Ok(())
}

/// From here on a crash means recovery.
pub(super) fn remove_clean_mark(shared: &Shared, directory: &DataDirectory) -> Result<()> {
    let path = directory.path.join(CLEAN_SHUTDOWN);
    let storage = &shared.io.storage;
    storage
        .remove_file(&path)
        .and_then(|()| storage.sync_dir(&directory.path))
        .map_err(|e| Error::io(format!("remove {}", path.display()), e))
}
