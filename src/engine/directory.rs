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
use std::sync::{Arc, OnceLock};

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
    /// Why its small files can no longer be replaced, if a flush failed.
    failure: OnceLock<Error>,
    /// Given back by the clean close; else by the process's end.
    pub(super) lock: Mutex<Option<Box<dyn DirLock>>>,
}

#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    pub(super) recovery_points: OffsetCheckpoint,
    pub(super) high_watermarks: OffsetCheckpoint,
    pub(super) log_starts: OffsetCheckpoint,
    /// Checksums of the three files as last written by [`DataDirectory::store_checkpoints`].
    stored: [Option<u32>; 3],
}

impl Checkpoints {
    /// Takes over where a log stands.
    pub(super) fn note(&mut self, name: &LogName, at: Positions) {
        self.recovery_points.offsets.insert(name.clone(), at.recovery_point);
        self.high_watermarks.offsets.insert(name.clone(), at.high_watermark);
        // D-46: only logs that begin behind their first segment's base; an entry that is there stays true.
        if at.log_start > at.first_base || self.log_starts.offsets.contains_key(name) {
            self.log_starts.offsets.insert(name.clone(), at.log_start);
        }
    }
}

impl DataDirectory {
    /// Opens one of the `options`' directories; whether it was closed in order.
    pub(super) fn open(options: &EngineOptions, io: &Io, index: usize) -> Result<(Self, bool)> {
        let path = options.directories.get(index).map_or_else(|| Path::new(""), PathBuf::as_path);
        let failed = |e| Error::io(format!("open the data directory {}", path.display()), e);
        let storage = &io.storage;
        create_durably(storage.as_ref(), path).map_err(failed)?;
        let lock = storage.lock_dir(path).map_err(|e| match e.kind() {
            io::ErrorKind::WouldBlock => Error::with_source(
                ErrorKind::Locked,
                format!("{} is in use by {}", path.display(), other_user(index)),
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
            stored: [None; 3],
        };
        let space = Space::new(Arc::clone(storage), path, options.reserve_bytes).map_err(failed)?;
        let directory = Self {
            path: path.to_owned(),
            committer: Arc::new(Committer::new(Arc::clone(storage))),
            space: Arc::new(space),
            checkpoints: Mutex::new(checkpoints),
            failure: OnceLock::new(),
            lock: Mutex::new(Some(lock)),
        };
        Ok((directory, clean))
    }

    /// Takes over where `logs` stand, and writes the checkpoints that this changed. Recovery of ours
    /// needs none of it but the log starts, which are also stored by every trim; a broker of Kafka's
    /// that is started on the directory after a crash does.
    pub(super) fn store_checkpoints(
        &self,
        shared: &Shared,
        logs: &[(LogName, Positions)],
    ) -> Result<()> {
        let mut checkpoints = self.checkpoints.lock();
        if self.lock.lock().is_none() {
            // Closed; it may be another engine's by now.
            return Ok(());
        }
        for (name, at) in logs {
            checkpoints.note(name, *at);
        }
        let files = [
            (RECOVERY_POINT_CHECKPOINT, checkpoints.recovery_points.encode()),
            (HIGH_WATERMARK_CHECKPOINT, checkpoints.high_watermarks.encode()),
            (LOG_START_CHECKPOINT, checkpoints.log_starts.encode()),
        ];
        let checksums = files.each_ref().map(|(_, bytes)| Some(crc32c::crc32c(bytes)));
        let changed = files.iter().zip(checksums.iter().zip(&checkpoints.stored));
        let changed: Vec<(&str, &[u8])> = changed
            .filter(|(_, (now, stored))| now != stored)
            .map(|((name, bytes), _)| (*name, bytes.as_slice()))
            .collect();
        if !changed.is_empty() {
            self.replace_all(shared, &changed)?;
            checkpoints.stored = checksums;
        }
        Ok(())
    }

    /// Replaces one of the directory's small files.
    pub(super) fn replace(&self, shared: &Shared, name: &str, bytes: &[u8]) -> Result<()> {
        self.replace_all(shared, &[(name, bytes)])
    }

    /// Replaces some of the directory's small files, in any order.
    ///
    /// After a flush of the directory that failed nothing more is replaced: a later one that succeeds
    /// says nothing of the names that the failed one lost.
    fn replace_all(&self, shared: &Shared, files: &[(&str, &[u8])]) -> Result<()> {
        let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
        let what = format!("write {} in {}", names.join(", "), self.path.display());
        if let Some(error) = self.failure.get() {
            let context = format!("{what}; open the engine again");
            return Err(Error::with_source(ErrorKind::Poisoned, context, error.clone()));
        }
        checkpoint::replace_files(shared.io.storage.as_ref(), &self.path, files).map_err(|e| {
            let error = Error::io(what, e);
            if *error.kind() != ErrorKind::DiskFull {
                // The first failure is the one that counts.
                self.failure.get_or_init(|| error.clone());
            }
            error
        })
    }
}

/// Who has a directory open that cannot be locked.
fn other_user(index: usize) -> &'static str {
    // Names that differ may lead to one directory, by a link.
    if index == 0 { "another engine" } else { "another engine, or listed before by another name" }
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
        storage.sync_dir(parent.unwrap_or_else(|| Path::new(".")))?;
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
