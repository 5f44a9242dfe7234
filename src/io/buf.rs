//! Memory that direct writes and readers share: block-aligned, and written at most once.
//!
//! Two shapes. An [`AlignedBuf`] is an exclusive buffer that ends as [`Bytes`]. A [`ChunkWriter`]
//! appends to memory that is being read at the same time:
//!
//! ```text
//!  0            published                     capacity
//!  |#############|.............................|
//!   views: shared   the writer's alone
//!   and immutable
//! ```
//!
//! The one idea: the boundary only moves right, only the one writer moves it, and it moves with
//! Release after the bytes are there. A byte left of it is never written again; a byte right of it is
//! never read. So no reference ever overlaps a write, which is the whole safety argument.
//!
//! Large chunks are recycled: giving a mebibyte back to the system and having it zeroed again page by
//! page takes about as long as writing it to a fast disk.
#![expect(unsafe_code, reason = "aligned allocation and disjoint sharing of one allocation")]

use super::BLOCK_BYTES;
use bytes::Bytes;
use parking_lot::Mutex;
use std::alloc::{self, Layout};
use std::fmt;
use std::ops::{Deref, DerefMut, Range};
use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// An exclusive, zeroed, block-aligned buffer.
pub struct AlignedBuf {
    region: Region,
    len: usize,
}

impl AlignedBuf {
    /// `len` zero bytes at an address that is a multiple of [`BLOCK_BYTES`].
    #[must_use]
    pub fn new(len: usize) -> Self {
        Self { region: Region::zeroed(len), len }
    }

    /// The bytes, immutable from now on, at the same address.
    #[must_use]
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let start = self.region.at(0);
        // SAFETY: `start` is valid for `len` bytes (`len` was the size asked of the allocation, and
        // `Region` rounds up), they are initialised (zeroed at birth), and this buffer is the
        // region's only user, so `&self` keeps every write away while the slice lives.
        unsafe { slice::from_raw_parts(start, self.len) }
    }
}

impl DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        let start = self.region.at(0);
        // SAFETY: valid and initialised as in `deref`; `&mut self` on the region's only user makes
        // the slice the only access while it lives.
        unsafe { slice::from_raw_parts_mut(start, self.len) }
    }
}

impl AsRef<[u8]> for AlignedBuf {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlignedBuf").field("len", &self.len).finish()
    }
}

/// The one writer of a chunk of append-only memory.
///
/// Appended bytes never change and never move; a [`view`](Self::view) of them copies nothing and
/// keeps the whole chunk alive.
pub struct ChunkWriter {
    chunk: Chunk,
    len: usize,
}

impl ChunkWriter {
    /// Room for `capacity` bytes, rounded up to whole blocks.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let region = Region::recycled(capacity).unwrap_or_else(|| Region::zeroed(capacity));
        let memory = Memory { region, published: AtomicUsize::new(0) };
        Self { chunk: Chunk { memory: Arc::new(memory) }, len: 0 }
    }

    /// Bytes appended so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was appended yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that still fit.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.chunk.memory.region.capacity - self.len
    }

    /// Appends `bytes` and returns where they are.
    ///
    /// # Panics
    /// If they do not fit: the caller asks [`remaining`](Self::remaining) first.
    pub fn append(&mut self, bytes: &[u8]) -> Range<usize> {
        self.extend(bytes.len(), |room| room.copy_from_slice(bytes))
    }

    /// Appends `len` bytes that `fill` writes in place, and returns where they are. What `fill`
    /// leaves untouched is zero.
    ///
    /// # Panics
    /// If they do not fit. If `fill` panics, nothing is appended.
    pub fn append_with(&mut self, len: usize, fill: impl FnOnce(&mut [u8])) -> Range<usize> {
        self.extend(len, |room| {
            room.fill(0);
            fill(room);
        })
    }

    /// Appends `len` bytes; `fill` finds arbitrary ones and replaces them all.
    fn extend(&mut self, len: usize, fill: impl FnOnce(&mut [u8])) -> Range<usize> {
        assert!(len <= self.remaining(), "{len} bytes into {} of a chunk", self.remaining());
        let end = self.len + len;
        let start = self.chunk.memory.region.at(self.len);
        // SAFETY: `len` bytes from `self.len` lie inside the allocation (asserted above) and are
        // initialised (zeroed at its birth). No shared slice covers them: views end at `published`,
        // which equals `self.len` and is stored by this writer alone. No other exclusive slice
        // exists: `&mut self` on the only writer, and the slice dies before this call returns.
        let room = unsafe { slice::from_raw_parts_mut(start, len) };
        fill(room);
        self.chunk.memory.published.store(end, Ordering::Release);
        let range = self.len..end;
        self.len = end;
        range
    }

    /// Appended bytes, shared without copying.
    ///
    /// # Panics
    /// If `range` is not within what was appended.
    #[must_use]
    pub fn view(&self, range: Range<usize>) -> Bytes {
        self.chunk.view(range)
    }

    /// A reader's handle on the chunk.
    #[must_use]
    pub fn shared(&self) -> Chunk {
        self.chunk.clone()
    }
}

impl fmt::Debug for ChunkWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let capacity = self.chunk.memory.region.capacity;
        f.debug_struct("ChunkWriter").field("len", &self.len).field("capacity", &capacity).finish()
    }
}

/// A reader's handle on a chunk. Cheap to clone; keeps the memory alive.
#[derive(Clone)]
pub struct Chunk {
    memory: Arc<Memory>,
}

impl Chunk {
    /// Bytes that may be viewed; grows while the writer appends.
    #[must_use]
    pub fn len(&self) -> usize {
        self.memory.published.load(Ordering::Acquire)
    }

    /// Whether nothing may be viewed yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appended bytes, shared without copying.
    ///
    /// # Panics
    /// If `range` is not within [`len`](Self::len).
    #[must_use]
    pub fn view(&self, range: Range<usize>) -> Bytes {
        let len = self.len();
        assert!(range.start <= range.end && range.end <= len, "view {range:?} of {len} bytes");
        if range.is_empty() {
            return Bytes::new();
        }
        Bytes::from_owner(View { memory: Arc::clone(&self.memory), range })
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunk").field("len", &self.len()).finish()
    }
}

/// What keeps a view's bytes alive. Invariant: `range` was published when it was made.
struct View {
    memory: Arc<Memory>,
    range: Range<usize>,
}

impl AsRef<[u8]> for View {
    fn as_ref(&self) -> &[u8] {
        let start = self.memory.region.at(self.range.start);
        // SAFETY: the range was at or below `published` (checked by `Chunk::view` with an Acquire
        // load that pairs with the writer's Release store), so it lies inside the allocation, its
        // bytes were written before, and the writer, which only touches bytes from `published` on,
        // never writes them again. `self.memory` keeps the allocation for as long as `self` lives.
        unsafe { slice::from_raw_parts(start, self.range.len()) }
    }
}

struct Memory {
    region: Region,
    /// Bytes below are immutable and readable; bytes from here on belong to the writer.
    published: AtomicUsize,
}

/// One initialised, block-aligned allocation. Hands out raw pointers; its users own the aliasing
/// rules.
struct Region {
    start: NonNull<u8>,
    capacity: usize,
}

// SAFETY: a region owns its allocation as a box would, and the global allocator may free on any
// thread.
unsafe impl Send for Region {}

// SAFETY: `&Region` only yields an address and a size. Every dereference is in one of the three
// types above, each of which argues its own disjointness.
unsafe impl Sync for Region {}

impl Region {
    fn zeroed(capacity: usize) -> Self {
        let capacity = capacity.max(1).next_multiple_of(BLOCK_BYTES);
        let layout = Self::layout(capacity);
        // SAFETY: `capacity` is at least one block, so the layout is not empty.
        let start = unsafe { alloc::alloc_zeroed(layout) };
        let start = NonNull::new(start).unwrap_or_else(|| alloc::handle_alloc_error(layout));
        Self { start, capacity }
    }

    /// A region of at least `capacity` bytes that was used before, holding whatever it held.
    fn recycled(capacity: usize) -> Option<Self> {
        SPARES.lock().take(capacity)
    }

    /// Frees the memory, spare or not.
    fn free(start: NonNull<u8>, capacity: usize) {
        // SAFETY: every region came from `alloc_zeroed` with this very layout. It is freed once:
        // here by its owner, which is either the last `Region` of it as that is dropped, or the
        // list of spares, which forgets it.
        unsafe { alloc::dealloc(start.as_ptr(), Self::layout(capacity)) };
    }

    fn layout(capacity: usize) -> Layout {
        Layout::from_size_align(capacity, BLOCK_BYTES).expect("a buffer is smaller than isize::MAX")
    }

    fn at(&self, position: usize) -> *mut u8 {
        self.start.as_ptr().wrapping_add(position)
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        let spare = Spare { start: self.start, capacity: self.capacity };
        if !SPARES.lock().offer(spare) {
            Self::free(self.start, self.capacity);
        }
    }
}

/// Sizes of regions that are worth keeping: a full chunk, and one for a batch larger than that.
const SPARE_BYTES: Range<usize> = 1 << 20..(4 << 20) + 1;
/// Bytes of spares that are kept at most.
const SPARES_BYTES_MAX: usize = 32 << 20;

/// Regions nobody uses, for the next chunks.
static SPARES: Mutex<Spares> = Mutex::new(Spares { list: Vec::new(), bytes: 0 });

/// Gives back half of the memory that waits to be used again. Called now and then, so that a program
/// that no longer appends does not hold it for ever.
pub(crate) fn give_back_half() {
    let given = {
        let mut spares = SPARES.lock();
        let keep = spares.list.len() / 2;
        let given = spares.list.split_off(keep);
        spares.bytes -= given.iter().map(|spare| spare.capacity).sum::<usize>();
        given
    };
    for spare in given {
        Region::free(spare.start, spare.capacity);
    }
}

struct Spares {
    list: Vec<Spare>,
    bytes: usize,
}

/// A region without a user. Not a [`Region`]: dropping one would put it into the list again.
struct Spare {
    start: NonNull<u8>,
    capacity: usize,
}

// SAFETY: a spare owns its allocation, which may be freed or used on any thread.
unsafe impl Send for Spare {}

impl Spares {
    /// The most recently used one that fits and wastes little.
    fn take(&mut self, capacity: usize) -> Option<Region> {
        if !SPARE_BYTES.contains(&capacity) {
            return None;
        }
        let fits = |spare: &Spare| (capacity..=capacity + capacity / 4).contains(&spare.capacity);
        let Spare { start, capacity } = self.list.remove(self.list.iter().rposition(fits)?);
        self.bytes -= capacity;
        Some(Region { start, capacity })
    }

    /// Keeps it, or returns false.
    fn offer(&mut self, spare: Spare) -> bool {
        let keep = SPARE_BYTES.contains(&spare.capacity)
            && self.bytes + spare.capacity <= SPARES_BYTES_MAX;
        if keep {
            self.bytes += spare.capacity;
            self.list.push(spare);
        }
        keep
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::thread;

    #[test]
    fn a_buffer_is_zeroed_aligned_and_keeps_its_address_when_frozen() {
        let mut buffer = AlignedBuf::new(5000);
        assert_eq!(buffer.len(), 5000);
        assert!(buffer.iter().all(|&byte| byte == 0));
        buffer[4999] = 7;
        let address = buffer.as_ptr();
        assert_eq!(address.addr() % BLOCK_BYTES, 0);
        let bytes = buffer.freeze();
        assert_eq!((bytes.as_ptr(), bytes[4999]), (address, 7));
    }

    #[test]
    fn an_empty_buffer_is_legal() {
        assert!(AlignedBuf::new(0).freeze().is_empty());
    }

    #[test]
    fn a_view_shows_the_appended_bytes_without_copying_and_outlives_the_writer() {
        let mut writer = ChunkWriter::new(10);
        assert_eq!(writer.remaining(), BLOCK_BYTES);
        let first = writer.append(b"abc");
        let second = writer.append_with(4, |room| room[1..].copy_from_slice(b"xyz"));
        assert_eq!(first, 0..3);
        assert_eq!(second, 3..7);
        let all = writer.view(0..7);
        let part = writer.view(second);
        assert_eq!(all.as_ptr().addr() % BLOCK_BYTES, 0);
        assert_eq!(part.as_ptr(), all[3..].as_ptr());
        drop(writer);
        assert_eq!(&all[..], b"abc\0xyz");
    }

    #[test]
    fn a_view_lives_on_while_the_writer_appends() {
        let mut writer = ChunkWriter::new(BLOCK_BYTES);
        let range = writer.append(b"old");
        let old = writer.view(range);
        writer.append(b"new");
        assert_eq!(&old[..], b"old");
        assert_eq!(&writer.view(0..6)[..], b"oldnew");
    }

    #[test]
    fn bytes_that_were_not_appended_cannot_be_viewed() {
        let mut writer = ChunkWriter::new(BLOCK_BYTES);
        writer.append(b"abc");
        let chunk = writer.shared();
        for range in [0..4, 4..4, Range { start: 2, end: 1 }] {
            catch_unwind(AssertUnwindSafe(|| chunk.view(range))).unwrap_err();
        }
    }

    #[test]
    fn an_append_that_does_not_fit_or_panics_changes_nothing() {
        let mut writer = ChunkWriter::new(BLOCK_BYTES);
        writer.append(b"abc");
        let too_long = vec![1; BLOCK_BYTES - 2];
        catch_unwind(AssertUnwindSafe(|| writer.append(&too_long))).unwrap_err();
        catch_unwind(AssertUnwindSafe(|| writer.append_with(1, |_| panic!("fill")))).unwrap_err();
        assert_eq!((writer.len(), writer.shared().len()), (3, 3));
        assert_eq!(writer.append(&too_long[1..]).end, BLOCK_BYTES);
        assert_eq!(writer.remaining(), 0);
    }

    #[test]
    fn a_recycled_chunk_shows_nothing_of_its_former_life() {
        let capacity = 1 << 20;
        for _ in 0..40 {
            let mut writer = ChunkWriter::new(capacity);
            assert_eq!((writer.remaining(), writer.shared().len()), (capacity, 0));
            let range = writer.append_with(capacity, |_| ());
            assert!(writer.view(range).iter().all(|&byte| byte == 0));
            let mut dirty = ChunkWriter::new(capacity);
            dirty.append(&vec![7; capacity]);
            drop((dirty, writer));
            assert!(AlignedBuf::new(capacity).iter().all(|&byte| byte == 0));
        }
        let spares = SPARES.lock();
        assert!(spares.bytes <= SPARES_BYTES_MAX);
        assert_eq!(spares.bytes, spares.list.iter().map(|spare| spare.capacity).sum::<usize>());
    }

    #[test]
    fn readers_on_other_threads_see_every_published_byte() {
        let mut writer = ChunkWriter::new(BLOCK_BYTES);
        let chunk = writer.shared();
        let reader = thread::spawn(move || {
            let mut seen = 0;
            while seen < 200 {
                let len = chunk.len();
                let view = chunk.view(seen..len);
                for (byte, want) in view.iter().zip(seen..) {
                    assert_eq!(usize::from(*byte), want);
                }
                seen = len;
                thread::yield_now();
            }
        });
        for byte in 0..200u8 {
            writer.append(&[byte]);
        }
        reader.join().unwrap();
    }
}
