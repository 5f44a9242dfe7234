//! One segment: a stretch of a log in files that share a base offset.
//!
//! A segment is *active* (appended to), then *rolled* (complete, its last bytes perhaps still on
//! their way), then *sealed* (trimmed, flushed, never changed again). Only sealed segments are
//! mapped, and their indexes are loaded when somebody first asks.

mod confirm;
pub(crate) mod name;
pub(crate) mod scan;
pub(crate) mod trailer;

use crate::error::{Error, ErrorKind, Result};
use crate::index::{AbortedIndex, AbortedSum, IndexDamage, OffsetIndex, TimeIndex};
use crate::io::flush_failed;
use crate::io::{File, OpenMode, Storage};
use crate::types::Offset;
use bytes::Bytes;
use name::{FileKind, Suffix, segment_file, segment_file_with};
use parking_lot::Mutex;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

/// Offset and time index of a segment that takes no more appends.
#[derive(Debug)]
pub(crate) struct Indexes {
    pub(crate) offsets: OffsetIndex,
    pub(crate) times: TimeIndex,
    /// Made from the batches by this process; what a file says is confirmed before it is used.
    pub(crate) is_own: bool,
}

/// What is known of the aborted transactions whose marker lies in a segment.
#[derive(Debug, Default)]
struct Aborted {
    index: Option<Arc<AbortedIndex>>,
    /// Vouches for the file. Without one the batches have to.
    sum: Option<AbortedSum>,
}

/// One segment of a log.
#[derive(Debug)]
pub(crate) struct Segment {
    base: Offset,
    dir: Arc<Path>,
    storage: Arc<dyn Storage>,
    /// Whether there is a data file.
    exists: AtomicBool,
    file: Mutex<Option<Arc<dyn File>>>,
    /// File or map were asked for since [`Segment::rest`] last looked.
    used: AtomicBool,
    /// Bytes of batches; final once rolled.
    size: AtomicU64,
    /// The offset after the last one; `i64::MAX` while active.
    end: AtomicI64,
    /// Largest record timestamp, −1 if none.
    largest_timestamp_ms: AtomicI64,
    /// That timestamp is the batches' own, not an index file's.
    timestamp_confirmed: AtomicBool,
    sealed: AtomicBool,
    /// Its files are gone or another's: what was not opened before must not be opened now.
    retired: AtomicBool,
    indexes: Mutex<Option<Arc<Indexes>>>,
    aborted: Mutex<Aborted>,
    map: Mutex<Option<Bytes>>,
}

impl Segment {
    /// The active segment of a log, with its file or before it has one.
    pub(crate) fn active(
        storage: Arc<dyn Storage>,
        dir: Arc<Path>,
        base: Offset,
        file: Option<Arc<dyn File>>,
    ) -> Self {
        Self {
            base,
            dir,
            storage,
            exists: AtomicBool::new(file.is_some()),
            file: Mutex::new(file),
            used: AtomicBool::new(true),
            size: AtomicU64::new(0),
            end: AtomicI64::new(i64::MAX),
            largest_timestamp_ms: AtomicI64::new(-1),
            timestamp_confirmed: AtomicBool::new(true),
            sealed: AtomicBool::new(false),
            retired: AtomicBool::new(false),
            indexes: Mutex::new(None),
            aborted: Mutex::default(),
            map: Mutex::new(None),
        }
    }

    /// A sealed segment found at open. Nothing is read until somebody asks.
    pub(crate) fn sealed(
        storage: Arc<dyn Storage>,
        dir: Arc<Path>,
        base: Offset,
        end: Offset,
        size: u64,
        largest_timestamp_ms: i64,
        sum: Option<AbortedSum>,
    ) -> Self {
        let mut segment = Self::active(storage, dir, base, None);
        segment.size.store(size, Ordering::Relaxed);
        segment.end.store(end.get(), Ordering::Relaxed);
        segment.largest_timestamp_ms.store(largest_timestamp_ms, Ordering::Relaxed);
        segment.timestamp_confirmed.store(false, Ordering::Relaxed);
        segment.aborted.get_mut().sum = sum;
        segment.exists.store(true, Ordering::Relaxed);
        segment.sealed.store(true, Ordering::Release);
        segment
    }

    pub(crate) fn base(&self) -> Offset {
        self.base
    }

    /// The offset after the last one, `None` while active.
    pub(crate) fn end(&self) -> Option<Offset> {
        let end = self.end.load(Ordering::Acquire);
        (end != i64::MAX).then(|| Offset::new(end))
    }

    pub(crate) fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    pub(crate) fn set_size(&self, size: u64) {
        self.size.store(size, Ordering::Release);
    }

    pub(crate) fn largest_timestamp_ms(&self) -> i64 {
        self.largest_timestamp_ms.load(Ordering::Relaxed)
    }

    pub(crate) fn set_largest_timestamp_ms(&self, timestamp_ms: i64) {
        self.largest_timestamp_ms.store(timestamp_ms, Ordering::Relaxed);
        self.timestamp_confirmed.store(true, Ordering::Release);
    }

    pub(crate) fn is_timestamp_confirmed(&self) -> bool {
        self.timestamp_confirmed.load(Ordering::Acquire)
    }

    pub(crate) fn is_sealed(&self) -> bool {
        self.sealed.load(Ordering::Acquire)
    }

    /// Its files are about to go, or to become another's. Who has them open keeps them.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// After opening a file: it was this segment's unless the segment was retired by now.
    fn check_not_retired(&self) -> Result<()> {
        if self.is_retired() {
            let context = format!("segment {} is no longer part of its log", self.base);
            return Err(Error::new(ErrorKind::Closed, context));
        }
        Ok(())
    }

    /// Ends appending: the segment reaches to `end` and keeps its indexes for readers.
    pub(crate) fn roll(&self, end: Offset, indexes: Indexes, aborted: AbortedIndex) {
        *self.indexes.lock() = Some(Arc::new(indexes));
        self.set_aborted(aborted);
        self.end.store(end.get(), Ordering::Release);
    }

    /// The path of one of its files.
    pub(crate) fn path(&self, kind: FileKind) -> PathBuf {
        self.dir.join(segment_file(self.base, kind))
    }

    /// Whether there is a data file, open or not.
    pub(crate) fn has_file(&self) -> bool {
        self.exists.load(Ordering::Acquire)
    }

    /// Whether the data file is open.
    pub(crate) fn is_open(&self) -> bool {
        self.file.lock().is_some()
    }

    /// Lets go of descriptor and map; the next user opens them again. Not for a segment with bytes
    /// that are written and not flushed: an error of theirs could get lost.
    pub(crate) fn release(&self) {
        *self.file.lock() = None;
        *self.map.lock() = None;
    }

    /// Releases what nobody asked for since the last call.
    pub(crate) fn rest(&self) {
        if !self.used.swap(false, Ordering::Relaxed) {
            self.release();
        }
    }

    /// Creates the data file of a fresh segment. Durable once the directory is synced.
    pub(crate) fn create_file(&self) -> io::Result<()> {
        let path = self.path(FileKind::Log);
        let file = self.storage.open(&path, OpenMode::CreateNew, true)?;
        *self.file.lock() = Some(file);
        self.exists.store(true, Ordering::Release);
        Ok(())
    }

    /// The data file, opened on first use.
    pub(crate) fn file(&self) -> Result<Arc<dyn File>> {
        self.used.store(true, Ordering::Relaxed);
        let mut slot = self.file.lock();
        if let Some(file) = slot.as_ref() {
            return Ok(Arc::clone(file));
        }
        let path = self.path(FileKind::Log);
        let mode = if self.is_sealed() { OpenMode::Read } else { OpenMode::Write };
        let file = self
            .storage
            .open(&path, mode, mode == OpenMode::Write)
            .map_err(|e| Error::io(format!("open {}", path.display()), e));
        self.check_not_retired()?;
        let file = file?;
        *slot = Some(Arc::clone(&file));
        Ok(file)
    }

    /// The whole data of a sealed segment as a map, `None` where the storage has no maps.
    pub(crate) fn map(&self) -> Result<Option<Bytes>> {
        if !self.is_sealed() {
            return Ok(None);
        }
        self.used.store(true, Ordering::Relaxed);
        let mut slot = self.map.lock();
        if slot.is_none() {
            let len = usize::try_from(self.size()).unwrap_or(usize::MAX);
            *slot = self
                .file()?
                .map(len)
                .map_err(|e| Error::io(format!("map {}", self.path(FileKind::Log).display()), e))?;
        }
        Ok(slot.clone())
    }

    /// Offset and time index: from the roll, or from the files, or rebuilt from the data when a file
    /// is missing or damaged.
    pub(crate) fn indexes(&self, index_interval_bytes: u32) -> Result<Arc<Indexes>> {
        if let Some(indexes) = self.indexes.lock().as_ref() {
            return Ok(Arc::clone(indexes));
        }
        let loaded = match self.load_indexes()? {
            Some(indexes) => indexes,
            None => scan::rebuild_indexes(self, index_interval_bytes)?,
        };
        // Last: a file that was removed meanwhile reads as one that never was.
        self.check_not_retired()?;
        let loaded = Arc::new(loaded);
        self.set_indexes(&loaded);
        Ok(loaded)
    }

    fn set_indexes(&self, indexes: &Arc<Indexes>) {
        *self.indexes.lock() = Some(Arc::clone(indexes));
    }

    fn load_indexes(&self) -> Result<Option<Indexes>> {
        let size = self.size();
        let Some(bytes) = self.read_small(FileKind::OffsetIndex)? else { return Ok(None) };
        let Ok(offsets) = OffsetIndex::decode(self.base, &bytes, size) else { return Ok(None) };
        let Some(bytes) = self.read_small(FileKind::TimeIndex)? else { return Ok(None) };
        let end = self.end().unwrap_or(Offset::new(i64::MAX));
        let Ok(times) = TimeIndex::decode(self.base, &bytes, end) else { return Ok(None) };
        // Either no record has a time, or Kafka lost the file and made an empty one.
        if times.last().is_none() && size > 0 {
            return Ok(None);
        }
        Ok(Some(Indexes { offsets, times, is_own: false }))
    }

    /// The aborted transactions whose marker lies in the segment; `None` if nothing vouches for the file
    /// and they must be found again, which takes more than this segment
    /// (`log::recover::rebuild_aborted`).
    ///
    /// # Errors
    /// [`ErrorKind::NewerFormat`]: the file is somebody's. [`ErrorKind::Io`].
    pub(crate) fn aborted(&self) -> Result<Option<Arc<AbortedIndex>>> {
        let sum = {
            let known = self.aborted.lock();
            if let Some(index) = &known.index {
                return Ok(Some(Arc::clone(index)));
            }
            known.sum
        };
        let Some(bytes) = self.read_small(FileKind::TxnIndex)? else { return Ok(None) };
        let Some(index) = sum.and_then(|sum| AbortedIndex::decode_covered(&sum, &bytes)) else {
            return match AbortedIndex::decode(self.base, &bytes) {
                Err(newer @ IndexDamage::NewerVersion { .. }) => {
                    let context = format!("read {}", self.path(FileKind::TxnIndex).display());
                    Err(Error::with_source(ErrorKind::NewerFormat, context, newer))
                }
                _ => Ok(None),
            };
        };
        self.check_not_retired()?;
        let index = Arc::new(index);
        self.aborted.lock().index = Some(Arc::clone(&index));
        Ok(Some(index))
    }

    /// Kafka's snapshot of the producers as of the segment's beginning, if it left one.
    pub(crate) fn snapshot(&self) -> Result<Option<Vec<u8>>> {
        let bytes = self.read_small(FileKind::Snapshot)?;
        self.check_not_retired()?;
        Ok(bytes)
    }

    /// What vouches for the transaction index, for a checkpoint to keep.
    pub(crate) fn aborted_sum(&self) -> Option<AbortedSum> {
        self.aborted.lock().sum
    }

    /// Keeps the aborted transactions as the batches have them.
    pub(crate) fn set_aborted(&self, index: AbortedIndex) -> Arc<AbortedIndex> {
        let sum = index.sum();
        let index = Arc::new(index);
        *self.aborted.lock() = Aborted { index: Some(Arc::clone(&index)), sum };
        index
    }

    /// Writes the transaction index anew. The caller has the right to change the log's files.
    pub(crate) fn store_aborted(&self, aborted: &AbortedIndex) -> io::Result<()> {
        self.write_index(FileKind::TxnIndex, &aborted.encode())
    }

    fn read_small(&self, kind: FileKind) -> Result<Option<Vec<u8>>> {
        /// No index of ours or Kafka's is larger than a segment can need at one entry a batch.
        const BYTES_MAX: usize = 1 << 30;
        let path = self.path(kind);
        crate::checkpoint::read_file(self.storage.as_ref(), &path, BYTES_MAX)
            .map_err(|e| Error::io(format!("read {}", path.display()), e))
    }

    /// Trims the padding, writes the index files, flushes all of it: the segment never changes
    /// again.
    pub(crate) fn seal(&self) -> io::Result<()> {
        let file = self.file().map_err(io::Error::other)?;
        file.set_len(self.size())?;
        file.sync().map_err(flush_failed)?;
        let indexes = self.indexes.lock().clone();
        if let Some(indexes) = indexes {
            self.write_index(FileKind::OffsetIndex, &indexes.offsets.encode())?;
            self.write_index(FileKind::TimeIndex, &indexes.times.encode())?;
        }
        let aborted = self.aborted.lock().index.clone();
        if let Some(aborted) = aborted {
            // Even if it is empty: a missing one means that it must be built again.
            self.store_aborted(&aborted)?;
        }
        self.storage.sync_dir(&self.dir).map_err(flush_failed)?;
        // The next user opens it for reading only: nothing can write it any more.
        self.sealed.store(true, Ordering::Release);
        *self.file.lock() = None;
        Ok(())
    }

    /// Replaces an index file. The old one stays until the new one is whole: recovery may need what
    /// both hold.
    fn write_index(&self, kind: FileKind, bytes: &[u8]) -> io::Result<()> {
        let name = segment_file(self.base, kind);
        crate::checkpoint::replace_file(self.storage.as_ref(), &self.dir, &name, bytes)
    }

    /// Removes every file of the segment, durably; readers that hold it keep reading.
    pub(crate) fn remove_files(&self) -> io::Result<()> {
        self.withdraw(|kind| self.storage.remove_file(&self.path(kind)))
    }

    /// Takes every file of the segment out of use, durably, to be removed later (D-6).
    pub(crate) fn doom_files(&self) -> io::Result<()> {
        self.withdraw(|kind| {
            let doomed = self.dir.join(segment_file_with(self.base, kind, Suffix::Deleted));
            self.storage.rename(&self.path(kind), &doomed)
        })
    }

    /// The data last: as long as it is there, the rest can be built again, and an index alone says that
    /// data was lost. Names that are not flushed survive a power cut in any combination, so each of the two
    /// steps is flushed, and whoever removes several segments leaves no hole between two of them.
    fn withdraw(&self, withdraw: impl Fn(FileKind) -> io::Result<()>) -> io::Result<()> {
        for kind in DERIVED {
            present(withdraw(kind))?;
        }
        self.storage.sync_dir(&self.dir).map_err(flush_failed)?;
        present(withdraw(FileKind::Log))?;
        self.storage.sync_dir(&self.dir).map_err(flush_failed)
    }
}

/// Removes what [`Segment::doom_files`] left of the segment at `base`.
pub(crate) fn remove_doomed(storage: &dyn Storage, dir: &Path, base: Offset) -> io::Result<()> {
    for kind in DERIVED.into_iter().chain([FileKind::Log]) {
        let doomed = dir.join(segment_file_with(base, kind, Suffix::Deleted));
        present(storage.remove_file(&doomed))?;
    }
    Ok(())
}

/// Files of a segment beside its data.
const DERIVED: [FileKind; 4] =
    [FileKind::OffsetIndex, FileKind::TimeIndex, FileKind::TxnIndex, FileKind::Snapshot];

/// A file that is not there is as good as one that went.
fn present(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}
