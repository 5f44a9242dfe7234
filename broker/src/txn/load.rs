//! Reading the coordinator's log at the start, and finishing what was decided before it (C-44).

use super::coordinator::Shared;
use super::record::decode_key;
use super::state::Transaction;
use crate::state_log::fields::RecordError;
use crate::state_log::{Journal, Replayed};
use std::collections::HashMap;
use std::sync::Arc;

/// What the log held that could not be used. None of it was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LoadReport {
    /// Ranges of the log that could not be read, each with place and reason.
    pub(crate) damage: Vec<String>,
    /// Records that could not be decoded (C-46). The one before it counts for its id.
    pub(crate) undecodable_records: usize,
}

/// Reads every partition; the last record of each id counts.
pub(super) fn load(shared: &Arc<Shared>) -> oncelog::Result<LoadReport> {
    let mut report = LoadReport::default();
    for partition in shared.journal.partitions()? {
        shared.journal.open(partition)?;
        let mut found: HashMap<Arc<str>, Transaction> = HashMap::new();
        shared.journal.replay(partition, &mut |replayed| match replayed {
            Replayed::Record { key, value, .. } => {
                if take(&mut found, key, value).is_err() {
                    shared.keep_all(partition);
                    report.undecodable_records += 1;
                }
            }
            Replayed::Damage(reason) => {
                shared.keep_all(partition);
                report.damage.push(reason);
            }
            Replayed::Marker { .. } => {}
        })?;
        for (id, txn) in found {
            shared.adopt(&id, partition, txn);
        }
    }
    Ok(report)
}

fn take(
    found: &mut HashMap<Arc<str>, Transaction>,
    key: &[u8],
    value: Option<&[u8]>,
) -> Result<(), RecordError> {
    let id = decode_key(key)?;
    match value.map(Transaction::decode).transpose()? {
        Some(txn) => drop(found.insert(id, txn)),
        None => drop(found.remove(&id)),
    }
    Ok(())
}

/// Ends every transaction that was decided and not completed. What cannot be ended now, on a log
/// that failed, say, is tried again when its producer or the clock asks.
pub(super) fn finish_decided(shared: &Arc<Shared>) {
    for slot in shared.all() {
        let outcome = shared.runtime.block_on(shared.complete(&slot));
        outcome.unwrap_or_default();
    }
}
