//! Plain system calls: [`StdStorage`], the system's clock and randomness, and the choice of backend.
//!
//! The one idea: a file opened for direct writes has two descriptors, a direct one for
//! [`Storage::write_all`] and a buffered one for everything else, so that reads and small writes
//! need no alignment. The kernel keeps the two coherent.
//!
//! A lone durable write is one call, `pwritev2` with `RWF_DSYNC`; several writes to one file share
//! one `fdatasync`. Nothing is retried after an error: only interrupted and short calls go on.
#![expect(clippy::disallowed_methods, reason = "this module is the outside world of the others")]

use super::vectored::{Cursor, check_alignment};
use super::{Clock, DirEntry, DirLock, File, Io, OpenMode, Random, Storage, StorageInfo, WriteOp};
use super::{direct, map};
use crate::error::{Error, ErrorKind, Result};
use crate::options::Backend;
use bytes::Bytes;
use std::any::Any;
use std::fs::{self, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Name of the file whose lock is the lock of a data directory.
const LOCK_NAME: &str = ".lock";

impl Io {
    /// The real world: `backend` for files, the system's clock and randomness.
    ///
    /// # Errors
    /// Those of [`open_storage`].
    pub fn system(backend: Backend, probe_dir: &Path) -> Result<Self> {
        Ok(Self {
            storage: open_storage(backend, probe_dir)?,
            clock: Arc::new(SystemClock::new()),
            random: Arc::new(SystemRandom::new()),
        })
    }
}

/// Opens the storage `backend` names. For [`Backend::Auto`], tries the ring in `probe_dir` (an
/// existing, writable directory of the file system to be used) and falls back to plain system calls;
/// [`Storage::info`] says which one runs and why.
///
/// # Errors
/// [`ErrorKind::Invalid`] if [`Backend::Uring`] was asked for and cannot be had.
pub fn open_storage(backend: Backend, probe_dir: &Path) -> Result<Arc<dyn Storage>> {
    let refused = match backend {
        Backend::Std => return Ok(Arc::new(StdStorage::new("asked for"))),
        Backend::Auto | Backend::Uring => match open_uring(backend, probe_dir) {
            Ok(storage) => return Ok(storage),
            Err(reason) => reason,
        },
    };
    if backend == Backend::Uring {
        let context = format!("io_uring was asked for and is not available: {refused}");
        return Err(Error::new(ErrorKind::Invalid, context));
    }
    Ok(Arc::new(StdStorage::new(format!("io_uring is not available: {refused}"))))
}

#[cfg(all(feature = "uring", target_os = "linux"))]
fn open_uring(backend: Backend, probe_dir: &Path) -> std::result::Result<Arc<dyn Storage>, String> {
    let storage = super::uring::UringStorage::probe(backend, probe_dir)?;
    Ok(Arc::new(storage))
}

#[cfg(not(all(feature = "uring", target_os = "linux")))]
fn open_uring(_: Backend, _: &Path) -> std::result::Result<Arc<dyn Storage>, String> {
    Err("this build has no io_uring (Linux with the feature `uring`)".to_owned())
}

/// Files through plain system calls.
#[derive(Debug)]
pub struct StdStorage {
    reason: String,
    direct: direct::Support,
    flush: Flush,
}

impl StdStorage {
    /// A storage whose [`StorageInfo`] gives `reason`.
    #[must_use]
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), direct: direct::Support::default(), flush: Flush::default() }
    }

    /// Opens for the other backends, which need the descriptors.
    pub(super) fn open_file(
        &self,
        path: &Path,
        mode: OpenMode,
        direct: bool,
    ) -> io::Result<StdFile> {
        let mut options = OpenOptions::new();
        options.read(true).mode(0o600);
        match mode {
            OpenMode::Read => &mut options,
            OpenMode::Write => options.write(true),
            OpenMode::CreateNew => options.write(true).create_new(true),
            OpenMode::Truncate => options.write(true).create(true).truncate(true),
        };
        let buffered = options.open(path)?;
        let wanted = direct && mode != OpenMode::Read;
        let direct = if wanted { self.direct.open(path, &buffered)? } else { None };
        Ok(StdFile { buffered, direct })
    }

    fn write_one(&self, op: &WriteOp, flush: bool) -> io::Result<()> {
        let file = StdFile::of(op)?;
        check_alignment(op)?;
        file.write_buffers(op, if flush { Some(&self.flush) } else { None })
    }
}

impl Storage for StdStorage {
    fn info(&self) -> StorageInfo {
        StorageInfo::new("std", self.reason.clone())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    fn list_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string() {
                entries.push(DirEntry::new(name, entry.file_type()?.is_dir()));
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all()
    }

    fn open(&self, path: &Path, mode: OpenMode, direct: bool) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(self.open_file(path, mode, direct)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        // Not `remove_dir_all`: a directory that holds directories is not one of ours.
        for entry in fs::read_dir(path)? {
            fs::remove_file(entry?.path())?;
        }
        fs::remove_dir(path)
    }

    fn lock_dir(&self, path: &Path) -> io::Result<Box<dyn DirLock>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path.join(LOCK_NAME))?;
        // The lock belongs to this open file, not to the process: a second engine of this process
        // opens a second one and is refused like a stranger.
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(StdDirLock { _file: file }))
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn write_all(&self, group: Vec<WriteOp>) -> Vec<io::Result<()>> {
        let shares = |op: &WriteOp| {
            let same = |other: &&WriteOp| Arc::ptr_eq(&other.file, &op.file) && other.durable;
            group.iter().filter(same).count() > 1
        };
        let shared: Vec<bool> = group.iter().map(|op| op.durable && shares(op)).collect();
        let mut outcomes: Vec<_> = group
            .iter()
            .zip(&shared)
            .map(|(op, &shared)| self.write_one(op, op.durable && !shared))
            .collect();
        flush_shared(&group, &shared, &mut outcomes);
        outcomes
    }
}

/// One flush for every file that took several durable writes; its outcome is theirs.
fn flush_shared(group: &[WriteOp], shared: &[bool], outcomes: &mut [io::Result<()>]) {
    let mut pending: Vec<usize> = (0..group.len()).filter(|&nth| shared[nth]).collect();
    while let Some(&first) = pending.first() {
        let file = &group[first].file;
        let flushed = StdFile::of(&group[first]).and_then(StdFile::sync_data);
        pending.retain(|&nth| {
            let same = Arc::ptr_eq(&group[nth].file, file);
            if let (true, Ok(()), Err(error)) = (same, &outcomes[nth], &flushed) {
                outcomes[nth] = Err(copy_of(error));
            }
            !same
        });
    }
}

/// The same error once more, for every write that shares its flush.
fn copy_of(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

/// How one durable write is flushed: with the write, or, where the kernel or the file system does
/// not know `RWF_DSYNC`, after it.
#[derive(Debug, Default)]
struct Flush {
    separate: AtomicBool,
}

impl Flush {
    /// Writes once, flushed if `RWF_DSYNC` is known here.
    #[cfg(target_os = "linux")]
    fn write(&self, fd: &fs::File, slices: &[io::IoSlice<'_>], position: u64) -> io::Result<usize> {
        use rustix::io::{Errno, ReadWriteFlags};
        if self.separate.load(Ordering::Relaxed) {
            return write_once(fd, slices, position);
        }
        match rustix::io::pwritev2(fd, slices, position, ReadWriteFlags::DSYNC) {
            // A refusal of the flag touches nothing, so the write without it is the first one.
            Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => {
                let written = write_once(fd, slices, position)?;
                self.separate.store(true, Ordering::Relaxed);
                Ok(written)
            }
            other => Ok(other?),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn write(&self, fd: &fs::File, slices: &[io::IoSlice<'_>], position: u64) -> io::Result<usize> {
        self.separate.store(true, Ordering::Relaxed);
        write_once(fd, slices, position)
    }
}

#[cfg(target_os = "linux")]
fn write_once(fd: &fs::File, slices: &[io::IoSlice<'_>], position: u64) -> io::Result<usize> {
    Ok(rustix::io::pwritev(fd, slices, position)?)
}

#[cfg(not(target_os = "linux"))]
fn write_once(fd: &fs::File, slices: &[io::IoSlice<'_>], position: u64) -> io::Result<usize> {
    slices.first().map_or(Ok(0), |slice| fd.write_at(slice, position))
}

/// An open file of [`StdStorage`].
#[derive(Debug)]
pub(super) struct StdFile {
    buffered: fs::File,
    direct: Option<fs::File>,
}

impl StdFile {
    /// The file of a write, which must be one of ours.
    pub(super) fn of(op: &WriteOp) -> io::Result<&Self> {
        let file: &dyn Any = &*op.file;
        file.downcast_ref::<Self>().ok_or_else(|| {
            let context = "the file was not opened by this storage";
            io::Error::new(io::ErrorKind::InvalidInput, context)
        })
    }

    /// The descriptor that [`Storage::write_all`] writes to.
    pub(super) fn target(&self) -> &fs::File {
        self.direct.as_ref().unwrap_or(&self.buffered)
    }

    fn write_buffers(&self, op: &WriteOp, flush: Option<&Flush>) -> io::Result<()> {
        let mut cursor = Cursor::new(op.position, self.direct.is_some());
        let mut unflushed = false;
        loop {
            let slices: Vec<_> = cursor.rest(&op.buffers).map(io::IoSlice::new).collect();
            if slices.is_empty() {
                break;
            }
            let outcome = match flush {
                Some(flush) => flush.write(self.target(), &slices, cursor.position()),
                None => write_once(self.target(), &slices, cursor.position()),
            };
            match outcome {
                Ok(written) => cursor.advance(&op.buffers, written)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            unflushed = flush.is_some_and(|flush| flush.separate.load(Ordering::Relaxed));
        }
        if unflushed { self.sync_data() } else { Ok(()) }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.buffered.sync_data()
    }
}

impl File for StdFile {
    fn is_direct(&self) -> bool {
        self.direct.is_some()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.buffered.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.buffered.set_len(len)
    }

    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buf.len() {
            match self.buffered.read_at(&mut buf[filled..], position + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, buf: &[u8], position: u64) -> io::Result<()> {
        self.buffered.write_all_at(buf, position)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    #[cfg(target_os = "linux")]
    fn drop_cache(&self) -> io::Result<()> {
        Ok(rustix::fs::fadvise(&self.buffered, 0, None, rustix::fs::Advice::DontNeed)?)
    }

    #[cfg(target_os = "linux")]
    fn will_read(&self, position: u64, len: u64) {
        let len = std::num::NonZeroU64::new(len);
        // Only advice: whoever reads learns what is wrong.
        rustix::fs::fadvise(&self.buffered, position, len, rustix::fs::Advice::WillNeed)
            .unwrap_or_default();
    }

    fn map(&self, len: usize) -> io::Result<Option<Bytes>> {
        map::map(&self.buffered, len)
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(AsFd::as_fd(&self.buffered))
    }
}

/// Held while the engine runs; closing the descriptor releases the lock.
#[derive(Debug)]
struct StdDirLock {
    _file: fs::File,
}

impl DirLock for StdDirLock {}

/// The system's clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    #[must_use]
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        let clamp = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => clamp(since),
            Err(before) => -clamp(before.duration()),
        }
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// Numbers nobody repeats or guesses by accident: a counter under a hash keyed by the system's
/// randomness. Not for secrets.
#[derive(Debug, Default)]
pub struct SystemRandom {
    key: RandomState,
    count: AtomicU64,
}

impl SystemRandom {
    /// A source with a key of its own.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Random for SystemRandom {
    fn next_u64(&self) -> u64 {
        self.key.hash_one(self.count.fetch_add(1, Ordering::Relaxed))
    }
}
