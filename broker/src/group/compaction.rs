//! Keeping the log as small as what it says: now and then every group of a partition is written
//! anew, and what lies before that is let go.
//!
//! ```text
//! start := log end               everything before it will go
//! each group of the partition:   under its lock, and only if none of its writes is under way,
//!                                append what is in memory
//! all of that is stored:         log start := start
//! ```
//!
//! A crash before the last step leaves both copies, of which the later wins and says the same. A
//! group that comes into being meanwhile writes behind `start`. What this broker cannot write anew
//! (records of other protocols or later versions, undecided transactions) keeps its partition as it is.

use super::coordinator::{Cell, Shared, Slot};
use super::error::GroupError;
use super::records;
use super::state::State;
use crate::state_log::{Entry, Written};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Records a partition may hold beyond what is needed before it is worth the work.
const SLACK_RECORDS: i64 = 10_000;
/// How many records may stand in the log for each that is needed.
const WASTE: i64 = 4;
/// Most records in one batch, so that it always fits.
const BATCH_RECORDS_MAX: usize = 1000;

/// Starts to look at all partitions, unless a look is under way.
pub(super) fn begin(shared: &Arc<Shared>) {
    if shared.compacting.swap(true, Ordering::SeqCst) {
        return;
    }
    let shared = shared.clone();
    shared.runtime.clone().spawn(async move {
        for partition in shared.journal.partitions().unwrap_or_default() {
            if worth_it(&shared, partition) {
                // What did not work leaves the log longer than it need be, and is tried again.
                compact(&shared, partition).await.unwrap_or_default();
            }
        }
        shared.compacting.store(false, Ordering::SeqCst);
    });
}

fn worth_it(shared: &Arc<Shared>, partition: i32) -> bool {
    if shared.keeps_all(partition) {
        return false;
    }
    let Ok((start, end)) = shared.journal.bounds(partition) else { return false };
    let mut needed = 0;
    for slot in slots(shared, partition) {
        shared.on(&slot, |cell, _now, _effects| needed += 1 + cell.offsets.committed_count());
    }
    let needed = i64::try_from(needed).unwrap_or(i64::MAX);
    end.saturating_sub(start) > SLACK_RECORDS.saturating_add(needed.saturating_mul(WASTE))
}

fn slots(shared: &Arc<Shared>, partition: i32) -> Vec<Arc<Slot>> {
    let mut slots = shared.slots();
    slots.retain(|slot| slot.partition == partition);
    slots
}

/// Writes a partition anew; gives up, to try again later, if one of its groups is in motion.
async fn compact(shared: &Arc<Shared>, partition: i32) -> Result<(), GroupError> {
    let bounds = shared.journal.bounds(partition);
    // Before the groups are listed: who is not on the list writes behind this.
    let (_, start) = bounds.map_err(|error| GroupError::from_store(&error))?;
    let mut writes = Vec::new();
    for slot in slots(shared, partition) {
        let mut written = Err(GroupError::CoordinatorNotAvailable);
        shared.on(&slot, |cell, _now, _effects| written = rewrite(shared, &slot, cell));
        writes.extend(written?);
    }
    for written in writes {
        written.stored.await.map_err(|error| GroupError::from_store(&error))?;
    }
    let journal = shared.journal.clone();
    let trimmed = shared.runtime.spawn_blocking(move || journal.trim(partition, start)).await;
    match trimmed {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(GroupError::from_store(&error)),
        Err(_cut_short) => Err(GroupError::CoordinatorNotAvailable),
    }
}

/// Appends everything about a group at rest.
fn rewrite(
    shared: &Arc<Shared>,
    slot: &Arc<Slot>,
    cell: &mut Cell,
) -> Result<Vec<Written>, GroupError> {
    if cell.removed {
        return Ok(Vec::new());
    }
    let at_rest = matches!(cell.group.state(), State::Empty | State::Stable);
    if !at_rest || !cell.group.writes.is_empty() || !cell.offsets.is_settled() {
        return Err(GroupError::RebalanceInProgress);
    }
    let entries = entries(slot, cell).map_err(|_too_long| GroupError::Unknown)?;
    let batches = entries.chunks(BATCH_RECORDS_MAX);
    batches.map(|batch| shared.append(slot.partition, batch)).collect()
}

fn entries(slot: &Slot, cell: &Cell) -> Result<Vec<Entry>, records::RecordError> {
    let mut entries = Vec::new();
    if let Some(value) = cell.group.record() {
        let key = records::encode_group_key(&slot.id)?;
        entries.push(Entry { key, value: Some(value.encode()?) });
    }
    for (partition, value) in cell.offsets.committed() {
        let key = records::encode_offset_key(&slot.id, &partition)?;
        entries.push(Entry { key, value: Some(value.encode()?) });
    }
    Ok(entries)
}
