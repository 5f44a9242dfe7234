//! Keeping the log as small as what it says: now and then every id of a partition is written anew, and
//! what lies before that is let go.
//!
//! A crash before that leaves both copies, of which the later wins and says the same. Each id is
//! written in its turn, so that no decision about it is under way.

use super::coordinator::Shared;
use super::error::TxnError;
use crate::blocking::blocking;
use crate::state_log::Journal;
use std::sync::Arc;

/// Records a partition may hold beyond what is needed before it is worth the work.
const SLACK_RECORDS: i64 = 10_000;
/// How many records may stand in the log for each that is needed.
const WASTE: i64 = 4;

/// Looks at every partition. What does not work leaves the log longer than it need be, and is tried
/// again.
pub(super) async fn run(shared: &Arc<Shared>) {
    for partition in shared.journal.partitions().unwrap_or_default() {
        if worth_it(shared, partition) {
            compact(shared, partition).await.unwrap_or_default();
        }
    }
}

fn worth_it(shared: &Shared, partition: i32) -> bool {
    let Ok((start, end)) = shared.journal.bounds(partition) else { return false };
    let ids = shared.all().iter().filter(|slot| slot.partition == partition).count();
    let needed = i64::try_from(ids).unwrap_or(i64::MAX);
    !shared.keeps_all(partition)
        && end.saturating_sub(start) > SLACK_RECORDS.saturating_add(needed.saturating_mul(WASTE))
}

pub(super) async fn compact(shared: &Arc<Shared>, partition: i32) -> Result<(), TxnError> {
    let failed = |error: oncelog::Error| TxnError::from_store(&error);
    // Before the ids are listed: who is not on the list writes behind this.
    let (_, start) = shared.journal.bounds(partition).map_err(failed)?;
    for slot in shared.all().into_iter().filter(|slot| slot.partition == partition) {
        let written = shared.in_turn(slot, |shared, slot| async move {
            let Some(txn) = slot.known() else { return Ok(()) };
            let written = shared.append(&slot, Some(&txn))?;
            written.stored.await.map_err(|error| TxnError::from_store(&error))
        });
        written.await?;
    }
    let shared = shared.clone();
    blocking(move || shared.journal.trim(partition, start)).await.map_err(failed)
}
