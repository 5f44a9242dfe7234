//! Who waits for a frontier of a log, and how they are woken.
//!
//! One [`WaitList`] per frontier: an ordered map from the offset waited for to the waiter, so an
//! advance touches exactly the waiters it satisfies. A waiter is a thread (parked) or a task (its
//! waker); neither is ever called with the list's lock held.

use crate::types::Offset;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::task::Waker;
use std::thread::Thread;

/// How to wake one waiter.
#[derive(Debug)]
pub(crate) enum Wake {
    /// A parked thread.
    Thread(Thread),
    /// A task of some executor.
    Task(Waker),
}

impl Wake {
    pub(crate) fn wake(self) {
        match self {
            Self::Thread(thread) => thread.unpark(),
            Self::Task(waker) => waker.wake(),
        }
    }
}

/// Names a registration, to update or remove it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WaitKey {
    /// The frontier must reach this (exclusive) end.
    end: Offset,
    number: u64,
}

/// The waiters of one frontier, ordered by what they wait for.
#[derive(Debug, Default)]
pub(crate) struct WaitList {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    waiters: BTreeMap<WaitKey, Wake>,
    next_number: u64,
}

impl WaitList {
    /// Registers a waiter for the frontier to reach `end`.
    ///
    /// The caller checks the frontier *after* registering: an advance in between would be missed.
    pub(crate) fn register(&self, end: Offset, wake: Wake) -> WaitKey {
        let mut inner = self.inner.lock();
        let key = WaitKey { end, number: inner.next_number };
        inner.next_number += 1;
        inner.waiters.insert(key, wake);
        key
    }

    /// Replaces how a registered waiter is woken; `false` if it was woken already.
    pub(crate) fn update(&self, key: WaitKey, wake: Wake) -> bool {
        match self.inner.lock().waiters.get_mut(&key) {
            Some(slot) => {
                *slot = wake;
                true
            }
            None => false,
        }
    }

    /// Whether a waiter is still registered.
    pub(crate) fn contains(&self, key: WaitKey) -> bool {
        self.inner.lock().waiters.contains_key(&key)
    }

    /// Forgets a waiter; harmless if it was woken already.
    pub(crate) fn remove(&self, key: WaitKey) {
        self.inner.lock().waiters.remove(&key);
    }

    /// Wakes everyone who waited for the frontier to reach `end` or less.
    pub(crate) fn advance(&self, end: Offset) {
        let woken = {
            let mut inner = self.inner.lock();
            if inner.waiters.first_key_value().is_none_or(|(key, _)| key.end > end) {
                return;
            }
            let Some(bound) = end.checked_add(1) else { return };
            let rest = inner.waiters.split_off(&WaitKey { end: bound, number: 0 });
            std::mem::replace(&mut inner.waiters, rest)
        };
        woken.into_values().for_each(Wake::wake);
    }

    /// Wakes everyone, whatever they wait for: the log failed or closed.
    pub(crate) fn wake_all(&self) {
        let woken = std::mem::take(&mut self.inner.lock().waiters);
        woken.into_values().for_each(Wake::wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    struct Counter(AtomicUsize);

    impl std::task::Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn an_advance_wakes_only_those_it_satisfies() {
        let list = WaitList::default();
        let counter = Arc::new(Counter(AtomicUsize::new(0)));
        let wake = || Wake::Task(Waker::from(Arc::clone(&counter)));
        list.register(Offset::new(5), wake());
        let late = list.register(Offset::new(6), wake());
        let gone = list.register(Offset::new(5), wake());
        list.remove(gone);
        list.advance(Offset::new(4));
        assert_eq!(counter.0.load(Ordering::SeqCst), 0);
        list.advance(Offset::new(5));
        assert_eq!(counter.0.load(Ordering::SeqCst), 1);
        assert!(list.update(late, wake()));
        list.wake_all();
        assert_eq!(counter.0.load(Ordering::SeqCst), 2);
        assert!(!list.update(late, wake()));
    }
}
