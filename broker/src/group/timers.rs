//! When which group wants to be woken: one ordered map, and the one task that sleeps on it.

use super::coordinator::Slot;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Notify;

/// Orders wake-ups by time, then by slot.
type Key = (i64, u64);

/// Wake-ups, earliest first.
#[derive(Debug, Default)]
pub(super) struct Timers {
    due: Mutex<BTreeMap<Key, Arc<Slot>>>,
    changed: Notify,
}

impl Timers {
    /// Moves the wake-up of `slot` from `before` to `at_ms`.
    pub(super) fn arm(&self, slot: &Arc<Slot>, before: Option<i64>, at_ms: i64) {
        let mut due = self.due.lock();
        if let Some(before) = before {
            due.remove(&(before, slot.number));
        }
        due.insert((at_ms, slot.number), slot.clone());
        let is_first = due.first_key_value().is_some_and(|(key, _)| *key == (at_ms, slot.number));
        drop(due);
        if is_first {
            self.changed.notify_one();
        }
    }

    /// Takes the wake-up of `slot` back.
    pub(super) fn disarm(&self, slot: &Slot, at_ms: i64) {
        self.due.lock().remove(&(at_ms, slot.number));
    }

    pub(super) fn first_ms(&self) -> Option<i64> {
        self.due.lock().first_key_value().map(|((at_ms, _), _)| *at_ms)
    }

    /// Takes the groups whose time has come.
    pub(super) fn take_due(&self, now_ms: i64) -> Vec<Arc<Slot>> {
        let mut due = self.due.lock();
        let later = due.split_off(&(now_ms.saturating_add(1), 0));
        std::mem::replace(&mut *due, later).into_values().collect()
    }

    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Wakes the task so that it notices that its coordinator is gone.
    pub(super) fn wake(&self) {
        self.changed.notify_one();
    }
}
