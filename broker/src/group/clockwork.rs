//! The coordinator's one task: wakes groups whose time has come, and now and then looks for offsets
//! and groups that have outlived their use (G-31, G-32).

use super::commits::Stored;
use super::coordinator::{Cell, Shared, Slot};
use super::records::{self, TopicPartition};
use super::state::State;
use super::timers::Timers;
use crate::state_log::Entry;
use std::sync::{Arc, Weak};
use tokio::time::sleep_until;

/// Runs until its coordinator is gone.
pub(super) async fn run(shared: Weak<Shared>, timers: Arc<Timers>) {
    let mut cleanup_at_ms = match shared.upgrade() {
        Some(shared) => {
            super::compaction::begin(&shared);
            next_cleanup_ms(&shared)
        }
        None => return,
    };
    loop {
        let Some(wake_at) = shared.upgrade().map(|shared| {
            let first_ms = timers.first_ms().unwrap_or(i64::MAX);
            shared.instant(first_ms.min(cleanup_at_ms))
        }) else {
            return;
        };
        tokio::select! {
            () = sleep_until(wake_at) => {}
            () = timers.changed() => {}
        }
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let now_ms = shared.now().monotonic_ms;
        for slot in timers.take_due(now_ms) {
            shared.wake(&slot);
        }
        if now_ms >= cleanup_at_ms {
            cleanup(&shared);
            super::compaction::begin(&shared);
            cleanup_at_ms = next_cleanup_ms(&shared);
        }
    }
}

fn next_cleanup_ms(shared: &Shared) -> i64 {
    let interval_ms = shared.config.offsets_retention_check_interval_ms.max(1);
    shared.now().monotonic_ms.saturating_add(interval_ms)
}

/// Removes expired offsets, and groups with nothing left.
pub(super) fn cleanup(shared: &Arc<Shared>) {
    for slot in shared.slots() {
        shared.on(&slot, |cell, now, _effects| {
            if cell.removed || cell.group.state() == State::Dead {
                return;
            }
            let expiry = cell.group.offset_expiry();
            let retention_ms = shared.config.retention_ms();
            let expired = cell.offsets.expired(&expiry, retention_ms, now.wall_ms);
            if !expired.is_empty() {
                remove_offsets(shared, &slot, cell, &expired);
            } else if cell.group.is_idle() && cell.offsets.is_empty() && cell.group.kill(now) {
                remove_group(shared, &slot, cell);
            }
        });
    }
}

fn remove_offsets(
    shared: &Arc<Shared>,
    slot: &Arc<Slot>,
    cell: &mut Cell,
    expired: &[TopicPartition],
) {
    for chunk in expired.chunks(TOMBSTONES_MAX) {
        // What cannot be removed now is found again by the next look.
        drop(bury(shared, slot, cell, chunk));
    }
}

fn remove_group(shared: &Arc<Shared>, slot: &Arc<Slot>, cell: &mut Cell) {
    let written = group_tombstone(&slot.id).map(|entry| shared.append(slot.partition, &[entry]));
    match written {
        Some(Ok(written)) => {
            shared.when_stored(slot, written, |cell, now, outcome, _effects| match outcome {
                Ok(()) => cell.removed = true,
                Err(_) => cell.group.revive(now),
            });
        }
        _ => cell.group.revive(shared.now()),
    }
}

/// Most removals in one batch, so that it always fits.
pub(super) const TOMBSTONES_MAX: usize = 1000;

/// The record that removes a group.
pub(super) fn group_tombstone(group_id: &str) -> Option<Entry> {
    Some(Entry { key: records::encode_group_key(group_id).ok()?, value: None })
}

/// Starts to remove the offsets of `partitions`.
pub(super) fn bury(
    shared: &Arc<Shared>,
    slot: &Arc<Slot>,
    cell: &mut Cell,
    partitions: &[TopicPartition],
) -> Stored {
    let writes = partitions.iter().cloned().map(|partition| (partition, None)).collect();
    shared.write_offsets(slot, cell, writes)
}
