//! A disk, a clock and randomness that exist only in memory, obey a seed, and misbehave on purpose.
//!
//! [`SimDisk`] is what a test holds: it hands out an [`Io`](super::Io), plans faults and power cuts,
//! and looks underneath. The model, in `content` (bytes) and `names` (directories):
//!
//! - what was written is visible at once, and durable only after a flush;
//! - a power cut decides for each 512-byte sector, each file's length and each change of a name alone
//!   whether it survives, unless it was flushed;
//! - a failed flush leaves its bytes undecided for good, and the next flush still says `Ok`;
//! - the writes of one group take effect in an order the seed chooses.
//!
//! A power cut makes a new disk, so one state can be cut in many ways, and handles of the old disk
//! stay dead. The same calls with the same seed give the same [`SimDisk::trace_hash`].

mod clock;
mod content;
mod crash;
mod names;
mod rng;
mod state;
mod storage;
#[cfg(test)]
mod tests;

use super::Io;
use crash::Chooser;
use parking_lot::Mutex;
use rng::Rng;
use state::State;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use clock::{SimClock, SimRandom};
pub use crash::Crash;

/// A simulated disk with its clock and randomness. Cheap to clone; clones are the same disk.
#[derive(Clone, Debug)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
    clock: Arc<SimClock>,
    random: Arc<SimRandom>,
}

/// When, relative to one operation, the power goes; see [`SimDisk::cut_at`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Moment {
    /// The operation never reached the disk.
    Before,
    /// It took effect, as far as something that is not flushed does, and nobody was told. A flush
    /// of its own that a durable write asks for did not happen; a plain flush did.
    During,
}

/// Which calls a [`Fault`] hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultKind {
    /// Reads and listings fail.
    Read,
    /// Writes fail; a part of the bytes may be there afterwards.
    Write,
    /// Flushes fail: of files, of directories, and those of durable writes.
    Flush,
    /// Changes of a file's length fail, without an effect.
    Length,
    /// Creating, renaming and removing fail, without an effect.
    Name,
}

/// A planned error: `EIO`, or `ENOSPC` if it is [`full`](Fault::full).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// Which calls.
    pub kind: FaultKind,
    /// How many of them succeed before the first that fails.
    pub after: u64,
    /// Whether all later ones fail too.
    pub sticky: bool,
    /// Only on paths that contain this text; empty for all.
    pub path: String,
    /// `ENOSPC` instead of `EIO`.
    pub full: bool,
}

impl Fault {
    /// A fault that hits one call, after `after` good ones, on any path.
    #[must_use]
    pub fn new(kind: FaultKind, after: u64) -> Self {
        Self { kind, after, sticky: false, path: String::new(), full: false }
    }

    /// The same, and every call after it.
    #[must_use]
    pub fn sticky(mut self) -> Self {
        self.sticky = true;
        self
    }

    /// The same with `ENOSPC`: the disk has no room for this one call.
    #[must_use]
    pub fn full(mut self) -> Self {
        self.full = true;
        self
    }

    /// The same, only on paths that contain `text`.
    #[must_use]
    pub fn on(mut self, text: impl Into<String>) -> Self {
        self.path = text.into();
        self
    }
}

/// Protected bytes that were written over or cut off; see [`SimDisk::protect`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// The file.
    pub path: PathBuf,
    /// Where the write began, or the length it was cut to.
    pub position: usize,
    /// The operation, counted as by [`SimDisk::operations`].
    pub operation: u64,
}

impl SimDisk {
    /// An empty disk. Everything random about it follows from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Arc<Self> {
        let mut rng = Rng::new(seed);
        let random = Arc::new(SimRandom::new(Rng::new(rng.next())));
        Self::with(State::new(rng), Arc::new(SimClock::new()), random)
    }

    fn with(state: State, clock: Arc<SimClock>, random: Arc<SimRandom>) -> Arc<Self> {
        Arc::new(Self { state: Arc::new(Mutex::new(state)), clock, random })
    }

    /// The outside world of an engine on this disk.
    #[must_use]
    pub fn io(&self) -> Io {
        let clock = Arc::clone(&self.clock);
        let random = Arc::clone(&self.random);
        Io { storage: Arc::new(self.clone()), clock, random }
    }

    /// The clock; it moves only when told to, and goes on across power cuts.
    #[must_use]
    pub fn clock(&self) -> &SimClock {
        &self.clock
    }

    /// Calls so far that change the disk; each write of a group counts.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.state.lock().operations
    }

    /// Flushes so far: of files, of directories, and those that durable writes ask for.
    #[must_use]
    pub fn flushes(&self) -> u64 {
        self.state.lock().flushes
    }

    /// Cuts the power during operation number `operation` (the first is 1): it may have taken effect
    /// or not, and it and every later call fail until the disk is [`crash`](Self::crash)ed.
    pub fn crash_after(&self, operation: u64) {
        self.state.lock().dies_at = Some((operation, None));
    }

    /// [`crash_after`](Self::crash_after), with the moment chosen instead of left to chance.
    pub fn cut_at(&self, operation: u64, moment: Moment) {
        self.state.lock().dies_at = Some((operation, Some(moment)));
    }

    /// Cuts the power now: every later call fails.
    pub fn power_off(&self) {
        self.state.lock().powered = false;
    }

    /// Whether calls still work.
    #[must_use]
    pub fn is_powered(&self) -> bool {
        self.state.lock().powered
    }

    /// The disk after a power cut now, powered on again; this one stays off. Planned faults are gone.
    #[must_use]
    pub fn crash(&self, crash: &Crash) -> Arc<Self> {
        self.successor(|state| state.names.crashed(&mut Chooser::new(crash)))
    }

    /// The disk after a kill of the process now: the operating system still has everything, flushed
    /// or not. This one stays off.
    #[must_use]
    pub fn kill(&self) -> Arc<Self> {
        self.successor(|state| state.names.clone())
    }

    fn successor(&self, names: impl FnOnce(&State) -> names::Names) -> Arc<Self> {
        let mut state = self.state.lock();
        state.powered = false;
        let next = state.successor(names(&state));
        Self::with(next, Arc::clone(&self.clock), Arc::clone(&self.random))
    }

    /// How many sectors, lengths and names a power cut now would decide about: the bits of
    /// [`Crash::Exact`].
    #[must_use]
    pub fn undecided(&self) -> usize {
        self.state.lock().names.undecided()
    }

    /// Plans a fault.
    pub fn fail(&self, fault: Fault) {
        self.state.lock().faults.push(fault);
    }

    /// Forgets planned faults.
    pub fn heal(&self) {
        self.state.lock().faults.clear();
    }

    /// The faults that are still to come, with as many good calls before them as are left.
    #[must_use]
    pub fn planned_faults(&self) -> Vec<Fault> {
        self.state.lock().faults.clone()
    }

    /// How many calls planned faults have hit so far; a power cut or a kill starts over.
    #[must_use]
    pub fn faults_met(&self) -> u64 {
        self.state.lock().faults_met
    }

    /// Every file there is, as readers see it, in path order.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        self.state.lock().names.files()
    }

    /// Limits the bytes of all files together; a write past it is `StorageFull`.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state.lock().capacity = bytes;
    }

    /// Whether files may be opened for direct writes. They may at first.
    pub fn set_direct(&self, direct: bool) {
        self.state.lock().direct = direct;
    }

    /// Declares the first `end` bytes of a file final: a later write that changes one of them, or a
    /// cut below, is recorded in [`violations`](Self::violations). A new call moves the end.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn protect(&self, path: &Path, end: usize) -> io::Result<()> {
        self.edit(path, |content| content.protected = end)
    }

    /// Changes of protected bytes so far, also before power cuts.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        self.state.lock().violations.clone()
    }

    /// Flips one bit of a file, on the medium.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` past the file's end.
    pub fn flip_bit(&self, path: &Path, position: usize, bit: u32) -> io::Result<()> {
        if position >= self.visible(path)?.len() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.edit(path, |content| content.flip_bit(position, bit))
    }

    /// Replaces a file's bytes behind the engine's back, durably; its name must exist.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn overwrite(&self, path: &Path, bytes: Vec<u8>) -> io::Result<()> {
        self.edit(path, |content| content.replace(bytes))
    }

    /// Cuts a file behind the engine's back, durably.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn truncate(&self, path: &Path, len: usize) -> io::Result<()> {
        let mut bytes = self.visible(path)?;
        bytes.truncate(len);
        self.overwrite(path, bytes)
    }

    /// A file as readers see it.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn visible(&self, path: &Path) -> io::Result<Vec<u8>> {
        let state = self.state.lock();
        Ok(state.names.file(state.names.find(path)?)?.visible().to_vec())
    }

    /// The bytes of a file that certainly survive (its name may not).
    ///
    /// # Errors
    /// `NotFound`.
    pub fn durable(&self, path: &Path) -> io::Result<Vec<u8>> {
        let state = self.state.lock();
        Ok(state.names.file(state.names.find(path)?)?.durable().to_vec())
    }

    /// A digest of every call and its outcome so far, also before power cuts.
    #[must_use]
    pub fn trace_hash(&self) -> u64 {
        self.state.lock().trace
    }

    fn edit(&self, path: &Path, change: impl FnOnce(&mut content::Content)) -> io::Result<()> {
        let mut state = self.state.lock();
        let node = state.names.find(path)?;
        change(state.names.file_mut(node)?);
        Ok(())
    }
}
