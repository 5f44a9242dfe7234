//! The coordinator's one task: aborts transactions that have timed out, finishes what could not be
//! finished, forgets ids that nobody uses, and keeps the log short (C-36, C-37).

use super::coordinator::Shared;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Runs until its coordinator is gone.
pub(super) async fn run(shared: Weak<Shared>) {
    let Some((mut ticks, expiration_interval)) = shared.upgrade().map(|shared| {
        let ticks = interval(millis(shared.config.timeout_check_interval_ms));
        (ticks, millis(shared.config.expiration_check_interval_ms))
    }) else {
        return;
    };
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut expire_at = Instant::now() + expiration_interval;
    loop {
        let now = ticks.tick().await;
        let Some(shared) = shared.upgrade() else { return };
        end_overdue(&shared).await;
        if now >= expire_at {
            expire_unused(&shared).await;
            super::compaction::run(&shared).await;
            expire_at = now + expiration_interval;
        }
    }
}

fn millis(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0).max(1))
}

/// A failure is tried again at the next tick.
pub(super) async fn end_overdue(shared: &Arc<Shared>) {
    for slot in shared.all() {
        let due = slot.known().is_some_and(|txn| {
            txn.state.prepared().is_some() || txn.has_timed_out(crate::clock::now_ms())
        });
        if due {
            let ended = shared.in_turn(slot, |shared, slot| async move {
                // Somebody else may have had a turn meanwhile.
                match slot.known() {
                    Some(txn) if txn.has_timed_out(crate::clock::now_ms()) => {
                        shared.abort(&slot, &txn).await
                    }
                    _ => shared.complete(&slot).await,
                }
            });
            ended.await.unwrap_or_default();
        }
    }
}

pub(super) async fn expire_unused(shared: &Arc<Shared>) {
    let after_ms = shared.config.expiration_ms;
    for slot in shared.all() {
        let is_unused = move |txn: &super::state::Transaction| {
            txn.has_expired(after_ms, crate::clock::now_ms())
        };
        if slot.known().is_some_and(|txn| is_unused(&txn)) {
            let expired = shared.in_turn(slot, move |shared, slot| async move {
                match slot.known().filter(is_unused) {
                    Some(_) => shared.expire(&slot).await,
                    None => Ok(()),
                }
            });
            expired.await.unwrap_or_default();
        }
    }
}
