//! The logs of an engine by name: which there are, which are loaded, and who is at work on one.
//!
//! Each log has a slot. What touches its files (creating, loading, closing, deleting) is done by one
//! thread at a time, under the slot's [`work`](Slot::work) lock, and never under the registry's: a log
//! that takes long to recover keeps nobody waiting but those who ask for it. A log that is loaded
//! is had without the work lock.

use crate::error::{Error, ErrorKind, Result};
use crate::log::Log;
use crate::options::LogName;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// Every log of an engine.
#[derive(Debug, Default)]
pub(super) struct Registry {
    slots: Mutex<Slots>,
}

#[derive(Debug, Default)]
struct Slots {
    by_name: BTreeMap<LogName, Arc<Slot>>,
    closed: bool,
}

/// Where a log is and what is known of it.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) name: LogName,
    /// Index of its data directory.
    pub(super) directory: usize,
    /// Its topic's id, once it was read.
    pub(super) id: OnceLock<[u8; 16]>,
    /// From which time on retention may take something from it while it is not loaded, once somebody
    /// looked.
    pub(super) due_ms: Mutex<Option<i64>>,
    /// Held by the one who works on the log's files.
    pub(super) work: Mutex<()>,
    state: Mutex<SlotState>,
}

#[derive(Clone, Debug)]
enum SlotState {
    Unloaded {
        /// It was closed in order.
        clean: bool,
    },
    Loaded(Log),
    Deleted,
    /// The engine was closed.
    Closed,
}

/// What a slot has to offer.
#[derive(Debug)]
pub(super) enum Found {
    /// The log.
    Log(Log),
    /// Nothing yet; take the work lock, look again, load.
    Unloaded {
        /// It was closed in order.
        clean: bool,
    },
}

impl Slot {
    pub(super) fn new(name: LogName, directory: usize, clean: bool) -> Self {
        Self {
            name,
            directory,
            id: OnceLock::new(),
            due_ms: Mutex::new(None),
            work: Mutex::new(()),
            state: Mutex::new(SlotState::Unloaded { clean }),
        }
    }

    /// The log, or that it has to be loaded first.
    pub(super) fn find(&self) -> Result<Found> {
        match self.state.lock().clone() {
            SlotState::Loaded(log) => Ok(Found::Log(log)),
            SlotState::Unloaded { clean } => Ok(Found::Unloaded { clean }),
            SlotState::Deleted => Err(not_found(&self.name)),
            SlotState::Closed => Err(engine_closed()),
        }
    }

    /// The log, if it is loaded.
    pub(super) fn loaded(&self) -> Option<Log> {
        match &*self.state.lock() {
            SlotState::Loaded(log) => Some(log.clone()),
            _ => None,
        }
    }

    pub(super) fn set_loaded(&self, log: &Log) {
        // Another thread may have read the id already, and the same one.
        self.id.get_or_init(|| log.id());
        *self.state.lock() = SlotState::Loaded(log.clone());
    }

    /// The next user loads it as after a crash.
    pub(super) fn set_unloaded(&self) {
        *self.state.lock() = SlotState::Unloaded { clean: false };
    }

    pub(super) fn set_deleted(&self) {
        *self.state.lock() = SlotState::Deleted;
    }

    pub(super) fn set_closed(&self) {
        *self.state.lock() = SlotState::Closed;
    }
}

impl Registry {
    /// Adds a slot.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`]; [`ErrorKind::Closed`].
    pub(super) fn insert(&self, slot: &Arc<Slot>) -> Result<()> {
        let mut slots = self.slots.lock();
        if slots.closed {
            return Err(engine_closed());
        }
        if slots.by_name.contains_key(&slot.name) {
            let context = format!("{} exists already", slot.name);
            return Err(Error::new(ErrorKind::AlreadyExists, context));
        }
        slots.by_name.insert(slot.name.clone(), Arc::clone(slot));
        Ok(())
    }

    /// The slot of that name.
    pub(super) fn slot(&self, name: &LogName) -> Result<Arc<Slot>> {
        let slots = self.slots.lock();
        if slots.closed {
            return Err(engine_closed());
        }
        slots.by_name.get(name).cloned().ok_or_else(|| not_found(name))
    }

    /// Index of the data directory that has the log of that name.
    pub(super) fn directory_of(&self, name: &LogName) -> Option<usize> {
        self.slots.lock().by_name.get(name).map(|slot| slot.directory)
    }

    /// Frees the name of `slot`.
    pub(super) fn remove(&self, slot: &Slot) {
        self.slots.lock().by_name.remove(&slot.name);
    }

    /// Refuses if the engine was closed.
    pub(super) fn check_open(&self) -> Result<()> {
        if self.slots.lock().closed { Err(engine_closed()) } else { Ok(()) }
    }

    /// Every slot, in name order.
    pub(super) fn all(&self) -> Vec<Arc<Slot>> {
        self.slots.lock().by_name.values().cloned().collect()
    }

    /// From here on nothing is added or found; `false` if that was so before.
    pub(super) fn close(&self) -> bool {
        !std::mem::replace(&mut self.slots.lock().closed, true)
    }

    /// The one of `directories` data directories that has the fewest logs.
    pub(super) fn emptiest_of(&self, directories: usize) -> usize {
        let mut counts = vec![0_usize; directories];
        for slot in self.slots.lock().by_name.values() {
            counts[slot.directory] += 1;
        }
        (0..directories).min_by_key(|index| counts[*index]).unwrap_or(0)
    }
}

pub(super) fn engine_closed() -> Error {
    Error::new(ErrorKind::Closed, "the engine was closed")
}

fn not_found(name: &LogName) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no log {name}"))
}
