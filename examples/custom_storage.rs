//! An engine on a storage of one's own: here a wrapper that counts what reaches the device.
//!
//! Every access to the outside world goes through [`oncelog::io::Io`]. A program can put anything
//! there: counters, delays, encryption, a disk in memory.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use oncelog::batch::BatchBuilder;
use oncelog::io::{DirEntry, DirLock, File, Io, OpenMode, Storage, StorageInfo, WriteOp};
use oncelog::{AppendOptions, Backend, Engine, EngineOptions, LogConfig, LogName};
use std::error::Error;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Debug)]
struct Counting {
    inner: Arc<dyn Storage>,
    flushed_writes: AtomicUsize,
}

impl Storage for Counting {
    fn info(&self) -> StorageInfo {
        StorageInfo::new("counting", format!("around {}", self.inner.info().backend))
    }
    fn write_all(&self, group: Vec<WriteOp>) -> Vec<io::Result<()>> {
        let flushed = group.iter().filter(|write| write.durable).count();
        self.flushed_writes.fetch_add(flushed, Ordering::Relaxed);
        self.inner.write_all(group)
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.create_dir(path)
    }
    fn list_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.inner.list_dir(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.sync_dir(path)
    }
    fn open(&self, path: &Path, mode: OpenMode, direct: bool) -> io::Result<Arc<dyn File>> {
        self.inner.open(path, mode, direct)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_file(path)
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_dir(path)
    }
    fn lock_dir(&self, path: &Path) -> io::Result<Box<dyn DirLock>> {
        self.inner.lock_dir(path)
    }
    fn free_space(&self, path: &Path) -> io::Result<u64> {
        self.inner.free_space(path)
    }
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let system = Io::system(Backend::Auto, directory.path())?;
    let inner = Arc::clone(&system.storage);
    let counting = Arc::new(Counting { inner, flushed_writes: AtomicUsize::new(0) });
    let io = Io { storage: Arc::clone(&counting) as Arc<dyn Storage>, ..system };
    let engine = Engine::open_with(EngineOptions::new(directory.path()), io)?;
    println!("backend: {:?}", engine.storage_info());

    let log = engine.open_log(&LogName::new("counted", 0)?, LogConfig::default())?;
    let mut builder = BatchBuilder::new();
    builder.append(1_700_000_000_000, None, Some(b"one of many"), &[])?;
    let batch = builder.build()?;
    let before = counting.flushed_writes.load(Ordering::Relaxed);
    let tickets: Vec<_> = (0..100)
        .map(|_| log.append(&batch, &AppendOptions::default()))
        .collect::<oncelog::Result<_>>()?;
    for ticket in tickets {
        ticket.wait()?;
    }
    let flushed = counting.flushed_writes.load(Ordering::Relaxed) - before;
    println!("100 appends, {flushed} flushed write");
    assert_eq!(flushed, 1, "what waits together is committed together");
    engine.close()?;
    Ok(())
}
