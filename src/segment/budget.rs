//! How many sealed segments have their files open at once, over all logs of an engine.
//!
//! A sealed segment that somebody reads holds a descriptor and a map of its file. Both can be had again,
//! so when one more than the budget wants them, the segment that was not used for longest lets go of
//! its own. Slices and file ranges that readers hold keep what they need themselves.
//!
//! A segment *enters* before it opens anything, and whoever is made to leave has let go before that. So
//! never more than the budget are held. One that was made to leave while it was opening keeps nothing.
//!
//! Lock order: the budget's list, then a segment's files; nobody who has a segment's files locked
//! asks the budget for anything.

use crate::io::File;
use bytes::Bytes;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// The sealed segments whose files are open.
#[derive(Debug)]
pub(crate) struct OpenSegments {
    max: usize,
    /// Counts uses, and so orders them.
    uses: AtomicU64,
    entered: Mutex<Vec<Weak<Files>>>,
}

/// What one segment has open.
#[derive(Debug, Default)]
pub(super) struct Files {
    last_use: AtomicU64,
    /// It counts against the budget.
    entered: AtomicBool,
    pub(super) held: Mutex<Held>,
}

#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) file: Option<Arc<dyn File>>,
    pub(super) map: Option<Bytes>,
}

impl OpenSegments {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, uses: AtomicU64::new(0), entered: Mutex::default() }
    }

    /// Counts `files` against the budget, and as used just now. When this returns there is room for them.
    ///
    /// # Complexity
    /// O(1) if they are counted already; else O(budget).
    pub(super) fn enter(&self, files: &Arc<Files>) {
        files.last_use.store(self.uses.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        if files.entered.load(Ordering::Acquire) {
            return;
        }
        let mut entered = self.entered.lock();
        if files.entered.load(Ordering::Acquire) {
            return;
        }
        if entered.len() >= self.max {
            entered.retain(|other| other.strong_count() > 0);
        }
        while entered.len() >= self.max {
            let Some(index) = longest_unused(&entered) else { break };
            if let Some(other) = entered.swap_remove(index).upgrade() {
                other.entered.store(false, Ordering::Release);
                other.let_go();
            }
        }
        files.entered.store(true, Ordering::Release);
        entered.push(Arc::downgrade(files));
    }

    /// Lets go of `files`, which count no longer.
    pub(super) fn leave(&self, files: &Arc<Files>) {
        if !files.entered.load(Ordering::Acquire) {
            return files.let_go();
        }
        let mut entered = self.entered.lock();
        files.entered.store(false, Ordering::Release);
        files.let_go();
        entered.retain(|other| !std::ptr::eq(other.as_ptr(), Arc::as_ptr(files)));
    }
}

fn longest_unused(entered: &[Weak<Files>]) -> Option<usize> {
    let last_use =
        |index: &usize| entered[*index].upgrade().map(|f| f.last_use.load(Ordering::Relaxed));
    (0..entered.len()).min_by_key(last_use)
}

impl Files {
    pub(super) fn of(file: Option<Arc<dyn File>>) -> Self {
        Self { held: Mutex::new(Held { file, map: None }), ..Self::default() }
    }

    pub(super) fn let_go(&self) {
        *self.held.lock() = Held::default();
    }

    /// Whether it may hold what it opened: asked with the files locked, so that whoever makes it leave
    /// meanwhile finds what was kept.
    pub(super) fn has_entered(&self) -> bool {
        self.entered.load(Ordering::Acquire)
    }
}
