//! The free space of one data directory, as appends see it.
//!
//! Asking the file system costs a system call, so it is asked rarely and the bytes charged since
//! are counted instead. Two counters only rise: what was ever charged, and what of it has settled
//! (was written, or given up). What had settled *before* a look is on the disk when the look is
//! taken, so
//!
//! ```text
//! limit = settled before the look + free at the look − reserve
//! ```
//!
//! is how far `charged` may go without touching the reserve. Bytes that nobody charges (indexes,
//! checkpoints, other programs) are seen at the next look, which comes after half of what was left,
//! and at once when an append would be refused: service resumes with the first append after space
//! returned.

use crate::io::Storage;
use parking_lot::Mutex;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Fewest bytes between two looks while there is room.
const LOOK_BYTES_MIN: u64 = 1 << 20;
/// Most bytes between two looks: other programs fill disks too.
const LOOK_BYTES_MAX: u64 = 64 << 20;

/// The free space of one data directory.
#[derive(Debug)]
pub(crate) struct Space {
    storage: Arc<dyn Storage>,
    path: PathBuf,
    reserve_bytes: u64,
    charged: AtomicU64,
    settled: AtomicU64,
    /// How far `charged` may go.
    limit: AtomicU64,
    /// Where `charged` asks for the next look.
    next_look: AtomicU64,
    /// Held by the one who looks.
    looking: Mutex<()>,
}

impl Space {
    /// Looks once.
    pub(super) fn new(
        storage: Arc<dyn Storage>,
        path: &Path,
        reserve_bytes: u64,
    ) -> io::Result<Self> {
        let space = Self {
            storage,
            path: path.to_owned(),
            reserve_bytes,
            charged: AtomicU64::new(0),
            settled: AtomicU64::new(0),
            limit: AtomicU64::new(0),
            next_look: AtomicU64::new(0),
            looking: Mutex::new(()),
        };
        space.look()?;
        Ok(space)
    }

    /// The data directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether `len` more bytes leave the reserve alone.
    pub(crate) fn has_room_for(&self, len: usize) -> bool {
        let after = self.charged.load(Ordering::Relaxed).saturating_add(len as u64);
        if after > self.limit.load(Ordering::Relaxed) {
            // A file system that does not answer has no room to promise.
            return self.look().is_ok() && after <= self.limit.load(Ordering::Relaxed);
        }
        if after >= self.next_look.load(Ordering::Relaxed)
            && let Some(_one_is_enough) = self.looking.try_lock()
        {
            return self.look_alone().is_ok() && after <= self.limit.load(Ordering::Relaxed);
        }
        true
    }

    /// Counts `len` bytes that are going to be written.
    pub(crate) fn charge(&self, len: u64) {
        self.charged.fetch_add(len, Ordering::Relaxed);
    }

    /// `len` charged bytes were written, or never will be.
    pub(crate) fn settle(&self, len: u64) {
        self.settled.fetch_add(len, Ordering::Release);
    }

    /// Asks the file system.
    pub(crate) fn look(&self) -> io::Result<()> {
        let _one_at_a_time = self.looking.lock();
        self.look_alone()
    }

    fn look_alone(&self) -> io::Result<()> {
        let settled = self.settled.load(Ordering::Acquire);
        let free = self.storage.free_space(&self.path)?;
        let limit = settled.saturating_add(free.saturating_sub(self.reserve_bytes));
        let charged = self.charged.load(Ordering::Relaxed);
        let step = (limit.saturating_sub(charged) / 2).clamp(LOOK_BYTES_MIN, LOOK_BYTES_MAX);
        self.limit.store(limit, Ordering::Relaxed);
        self.next_look.store(charged.saturating_add(step), Ordering::Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::OpenMode;
    use crate::io::sim::SimDisk;

    const MIB: u64 = 1 << 20;

    /// A disk of 100 MiB with a reserve of 10.
    fn disk() -> (Arc<SimDisk>, Arc<dyn Storage>, Space) {
        let disk = SimDisk::new(1);
        disk.set_capacity(Some(100 * MIB));
        let storage = disk.io().storage;
        let space = Space::new(Arc::clone(&storage), Path::new("/"), 10 * MIB).unwrap();
        (disk, storage, space)
    }

    fn write(storage: &dyn Storage, name: &str, len: u64) {
        let file = storage.open(&Path::new("/").join(name), OpenMode::Truncate, false).unwrap();
        file.set_len(len).unwrap();
    }

    #[test]
    fn bytes_that_are_still_in_memory_count_before_the_disk_shows_them() {
        let (_disk, _storage, space) = disk();
        space.charge(89 * MIB);
        assert!(space.has_room_for(1 << 20));
        assert!(!space.has_room_for((1 << 20) + 1), "the reserve is touched");
    }

    #[test]
    fn written_bytes_are_counted_once() {
        let (_disk, storage, space) = disk();
        space.charge(50 * MIB);
        write(storage.as_ref(), "a", 50 * MIB);
        space.settle(50 * MIB);
        space.look().unwrap();
        assert!(space.has_room_for(40 << 20));
        assert!(!space.has_room_for((40 << 20) + 1));
    }

    #[test]
    fn what_others_write_is_seen_after_half_of_what_was_left() {
        let (_disk, storage, space) = disk();
        write(storage.as_ref(), "other", 90 * MIB);
        assert!(space.has_room_for(1), "nobody had a reason to look");
        space.charge(45 * MIB);
        assert!(!space.has_room_for(1));
    }

    #[test]
    fn the_first_append_after_space_returned_is_let_in() {
        let (_disk, storage, space) = disk();
        write(storage.as_ref(), "other", 95 * MIB);
        space.look().unwrap();
        assert!(!space.has_room_for(1));
        storage.remove_file(Path::new("/other")).unwrap();
        assert!(space.has_room_for(1));
    }
}
