//! A storage between the engine and the simulated disk, for what that disk cannot do by itself.

use oncelog::io::sim::SimDisk;
use oncelog::io::{DirEntry, DirLock, File, Io, OpenMode, Storage, StorageInfo, WriteOp};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

type Hook = Box<dyn Fn(&Path) + Send + Sync>;

/// Passes everything on, except what a test asked for.
pub(crate) struct Hooked {
    storage: Arc<dyn Storage>,
    free: Mutex<BTreeMap<PathBuf, u64>>,
    before_list: Mutex<Option<Arc<Hook>>>,
}

impl fmt::Debug for Hooked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooked").field("storage", &self.storage).finish_non_exhaustive()
    }
}

impl Hooked {
    pub(crate) fn over(disk: &SimDisk) -> (Arc<Self>, Io) {
        let io = disk.io();
        let hooked = Arc::new(Self {
            storage: io.storage,
            free: Mutex::default(),
            before_list: Mutex::default(),
        });
        let storage = Arc::clone(&hooked) as Arc<dyn Storage>;
        (hooked, Io { storage, clock: io.clock, random: io.random })
    }

    /// Says that so many bytes are free at `path`.
    pub(crate) fn claim_free(&self, path: &str, free: u64) {
        self.free.lock().unwrap().insert(path.into(), free);
    }

    /// Calls `hook` before a directory is listed.
    pub(crate) fn before_list(&self, hook: impl Fn(&Path) + Send + Sync + 'static) {
        *self.before_list.lock().unwrap() = Some(Arc::new(Box::new(hook)));
    }
}

impl Storage for Hooked {
    fn info(&self) -> StorageInfo {
        self.storage.info()
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.storage.create_dir(path)
    }
    fn list_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let hook = self.before_list.lock().unwrap().clone();
        if let Some(hook) = hook {
            hook(path);
        }
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
        match self.free.lock().unwrap().get(path) {
            Some(free) => Ok(*free),
            None => self.storage.free_space(path),
        }
    }
    fn write_all(&self, group: Vec<WriteOp>) -> Vec<io::Result<()>> {
        self.storage.write_all(group)
    }
}
