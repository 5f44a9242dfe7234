//! The one seam to the outside world: files, directories, clock and randomness.
//!
//! Everything above this module is deterministic: given the same calls and the same answers from
//! an [`Io`], it does the same things. Three backends stand behind it — [`os`] (plain system calls),
//! `uring` (the same, with groups of writes through a ring) and `sim` (a disk that tears, loses,
//! reorders and fails on purpose) — and one conformance suite, `tests/io`, holds all three to it.
//!
//! Calls block the calling thread until the outcome is known. Concurrency enters through
//! [`Storage::write_all`], which takes a whole commit group and may run its writes in parallel.

pub mod buf;
mod direct;
mod map;
pub mod os;
#[cfg(any(test, feature = "test-util"))]
pub mod sim;
#[cfg(all(feature = "uring", target_os = "linux"))]
mod uring;
mod vectored;

use bytes::Bytes;
use std::any::Any;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub use os::open_storage;

/// Alignment, in bytes, of every position, length and address of a direct write.
pub const BLOCK_BYTES: usize = 4096;

/// The outside world of an engine. Cheap to clone.
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "an embedder makes one, of three parts it may replace"
)]
pub struct Io {
    /// Files and directories.
    pub storage: Arc<dyn Storage>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness (identities, jitter; nothing secret).
    pub random: Arc<dyn Random>,
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenMode {
    /// Existing file, reads only.
    Read,
    /// Existing file, reads and writes.
    Write,
    /// Created empty; an existing file of that name is an error (`AlreadyExists`).
    CreateNew,
    /// Created, or emptied if it exists.
    Truncate,
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DirEntry {
    /// Name within the directory. Names that are not UTF-8 are not listed.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
}

impl DirEntry {
    /// An entry called `name`.
    #[must_use]
    pub fn new(name: impl Into<String>, is_dir: bool) -> Self {
        Self { name: name.into(), is_dir }
    }
}

/// One write of a commit group.
///
/// `buffers` are written one after the other from `position`. If the file reports
/// [`File::is_direct`], position, every buffer's length and the address of every buffer that is not
/// empty must be multiples of [`BLOCK_BYTES`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WriteOp {
    /// The file.
    pub file: Arc<dyn File>,
    /// Byte position of the first buffer.
    pub position: u64,
    /// What to write; kept alive until the device is done with it.
    pub buffers: Vec<Bytes>,
    /// Whether success means "on stable storage" (a power cut cannot take it back), or only
    /// "in the operating system" (a process kill cannot).
    pub durable: bool,
}

impl WriteOp {
    /// A write of `buffers` at `position`.
    #[must_use]
    pub fn new(file: Arc<dyn File>, position: u64, buffers: Vec<Bytes>, durable: bool) -> Self {
        Self { file, position, buffers, durable }
    }

    /// Total bytes of the buffers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buffers.iter().map(Bytes::len).sum()
    }

    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buffers.iter().all(Bytes::is_empty)
    }

    /// Whether a direct file takes this write: position, addresses and lengths are whole blocks.
    #[must_use]
    pub fn is_aligned(&self) -> bool {
        // One without a byte has no address to speak of, and is skipped.
        let block = |buffer: &Bytes| {
            let is_whole = (buffer.len() | buffer.as_ptr().addr()).is_multiple_of(BLOCK_BYTES);
            buffer.is_empty() || is_whole
        };
        self.position.is_multiple_of(BLOCK_BYTES as u64) && self.buffers.iter().all(block)
    }
}

/// Which backend runs, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StorageInfo {
    /// `"uring"`, `"std"`, `"sim"`, or the name of a custom storage.
    pub backend: &'static str,
    /// Why this one: what was asked for, or what the probe found.
    pub reason: String,
}

impl StorageInfo {
    /// Describes a backend.
    #[must_use]
    pub fn new(backend: &'static str, reason: impl Into<String>) -> Self {
        Self { backend, reason: reason.into() }
    }
}

/// Files and directories.
///
/// # Guarantees an implementation gives
/// - A file's bytes survive a power cut once [`File::sync`] or a durable [`WriteOp`] over them
///   returned `Ok`; so does the file's length if it had to grow for them.
/// - A name (created, renamed, removed) survives a power cut once [`Storage::sync_dir`] of its
///   directory returned `Ok`; a file that was created and never written is empty then.
///   [`Storage::rename`] replaces a file atomically.
/// - An error means "state unknown" for the range concerned; nothing is retried inside.
pub trait Storage: Send + Sync + fmt::Debug + 'static {
    /// Which backend this is.
    fn info(&self) -> StorageInfo;

    /// Creates `path` and its missing parents; an existing directory is fine.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Lists a directory in name order.
    ///
    /// # Errors
    /// `NotFound` if it does not exist; else whatever the operating system says.
    fn list_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>>;

    /// Makes the names in `path` durable.
    ///
    /// # Errors
    /// Whatever the operating system says; the caller treats it like a failed flush.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Opens a file. `direct` asks for unbuffered writes through [`Storage::write_all`]; where the
    /// file system refuses, the file is opened buffered and [`File::is_direct`] says so.
    ///
    /// # Errors
    /// `NotFound`, `AlreadyExists`, or whatever the operating system says.
    fn open(&self, path: &Path, mode: OpenMode, direct: bool) -> io::Result<Arc<dyn File>>;

    /// Renames within a data directory, replacing an existing file `to` atomically; whoever has it open
    /// keeps it. A directory moves with what is in it, and never replaces one that holds something.
    ///
    /// # Errors
    /// `NotFound` if there is no `from` or no directory for `to`; else whatever the operating system
    /// says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// `NotFound`, or whatever the operating system says.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory with the files in it (one level; a log's directory has no more).
    ///
    /// # Errors
    /// `NotFound`; an error if there is a directory in it, which stays, while files beside it may be
    /// gone; else whatever the operating system says.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// Takes the exclusive lock of a data directory until the returned guard is dropped.
    ///
    /// # Errors
    /// `WouldBlock` if another process, or another engine of this one, holds it; `NotFound` if there
    /// is no such directory.
    fn lock_dir(&self, path: &Path) -> io::Result<Box<dyn DirLock>>;

    /// Bytes that can still be written under `path`.
    ///
    /// # Errors
    /// `NotFound` if it does not exist; else whatever the operating system says.
    fn free_space(&self, path: &Path) -> io::Result<u64>;

    /// Performs every write of a group and returns one outcome per write, in order.
    ///
    /// Writes may run in parallel and in any order. `Ok` means the full length was written and, if
    /// the write is durable, flushed. Two writes of one group never overlap. A write that fails keeps
    /// no other from being done. An unaligned write to a direct file, or one to a file of another
    /// storage, is `InvalidInput` and touches nothing.
    fn write_all(&self, group: Vec<WriteOp>) -> Vec<io::Result<()>>;
}

/// The guard of a locked data directory.
pub trait DirLock: Send + Sync + fmt::Debug {}

/// An open file. Reads and small writes are ordinary buffered calls.
///
/// `Any`, so that a storage finds its own files in the writes it is given.
#[expect(clippy::len_without_is_empty, reason = "a length is asked for to read that much")]
pub trait File: Any + Send + Sync + fmt::Debug {
    /// Whether [`Storage::write_all`] writes this file unbuffered, and so needs alignment.
    fn is_direct(&self) -> bool;

    /// Current length in bytes.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn len(&self) -> io::Result<u64>;

    /// Cuts or extends (with zeroes) to `len`. Not durable until [`File::sync`].
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Reads at `position`; short only at the end of the file.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize>;

    /// Writes all of `buf` at `position` through the page cache. Not durable until [`File::sync`].
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn write_at(&self, buf: &[u8], position: u64) -> io::Result<()>;

    /// Makes everything written so far, and the length, durable.
    ///
    /// # Errors
    /// After an error the state of unflushed bytes is unknown and no later call repairs it.
    fn sync(&self) -> io::Result<()>;

    /// Makes later reads ask the device for everything that is not waiting to be written. After a
    /// flush failed, a cache may show bytes that the device never took, to a later process too.
    ///
    /// A backend without a cache of its own has nothing to do.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn drop_cache(&self) -> io::Result<()> {
        Ok(())
    }

    /// Says that `len` bytes from `position` on will be read soon, so that the device can be busy with
    /// them meanwhile. Does nothing where that means nothing, and cannot fail.
    fn will_read(&self, position: u64, len: u64) {
        let _ = (position, len);
    }

    /// A read-only view of the first `len` bytes that shares the page cache, or `None` where the
    /// backend has no maps. Only for files nobody will ever write or cut again.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn map(&self, len: usize) -> io::Result<Option<Bytes>>;

    /// The descriptor, for sendfile; `None` where there is none.
    #[cfg(unix)]
    fn as_fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        None
    }
}

/// Time.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// Wall-clock milliseconds since the Unix epoch. May jump.
    fn now_ms(&self) -> i64;

    /// Time since some fixed point. Never goes back.
    fn monotonic(&self) -> Duration;
}

/// Randomness for identities and jitter.
pub trait Random: Send + Sync + fmt::Debug + 'static {
    /// The next number.
    fn next_u64(&self) -> u64;
}

/// The error of a failed flush: never that of a full disk, after which the caller may try again.
pub(crate) fn flush_failed(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => io::Error::other(error),
        _ => error,
    }
}
