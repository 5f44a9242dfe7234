//! A storage that passes everything on to the simulated disk, and lets a test look on or speak for it.

use oncelog::io::sim::SimDisk;
use oncelog::io::{DirEntry, DirLock, File, Io, OpenMode, Storage, StorageInfo, WriteOp};
use std::fmt;
use std::io;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

/// What a test does in between; by default nothing.
pub(crate) trait Hooks: fmt::Debug + Send + Sync + 'static {
    /// A directory is about to be listed.
    fn on_list(&self, _path: &Path) {}

    /// How many bytes are free, if not the disk says so.
    fn free_at(&self, _path: &Path) -> Option<u64> {
        None
    }

    /// A commit group is about to be written.
    fn on_write(&self, _group: &[WriteOp]) {}
}

/// The simulated disk with hooks.
#[derive(Debug)]
pub(crate) struct Passing<H> {
    storage: Arc<dyn Storage>,
    hooks: H,
}

impl<H: Hooks + Default> Passing<H> {
    /// Itself, to be asked, and the world with it for the engine.
    pub(crate) fn over(disk: &SimDisk) -> (Arc<Self>, Io) {
        let io = disk.io();
        let passing = Arc::new(Self { storage: io.storage, hooks: H::default() });
        let storage = Arc::clone(&passing) as Arc<dyn Storage>;
        (passing, Io { storage, clock: io.clock, random: io.random })
    }
}

impl<H> Deref for Passing<H> {
    type Target = H;

    fn deref(&self) -> &H {
        &self.hooks
    }
}

impl<H: Hooks> Storage for Passing<H> {
    fn info(&self) -> StorageInfo {
        self.storage.info()
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.storage.create_dir(path)
    }

    fn list_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.hooks.on_list(path);
        self.storage.list_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.storage.sync_dir(path)
    }

    fn open(&self, path: &Path, mode: OpenMode, direct: bool) -> io::Result<Arc<dyn File>> {
        self.storage.open(path, mode, direct)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.storage.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.storage.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.storage.remove_dir(path)
    }

    fn lock_dir(&self, path: &Path) -> io::Result<Box<dyn DirLock>> {
        self.storage.lock_dir(path)
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        self.hooks.free_at(path).map_or_else(|| self.storage.free_space(path), Ok)
    }

    fn write_all(&self, group: Vec<WriteOp>) -> Vec<io::Result<()>> {
        self.hooks.on_write(&group);
        self.storage.write_all(group)
    }
}
