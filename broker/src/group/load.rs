//! Reading the coordinator's log at the start: the last record of each key wins.

use super::coordinator::Shared;
use super::journal::Replayed;
use super::offsets::Offsets;
use super::records::{GroupValue, Key, OffsetValue};
use std::collections::HashMap;
use std::sync::Arc;

/// A group as far as it has been read.
#[derive(Debug, Default)]
struct Found {
    value: Option<GroupValue>,
    offsets: Offsets,
}

/// Reads every partition and gives what it finds to the coordinator.
pub(super) fn load(shared: &Arc<Shared>) -> oncelog::Result<()> {
    for partition in shared.journal.partitions() {
        shared.journal.open(partition)?;
        let mut groups: HashMap<Arc<str>, Found> = HashMap::new();
        shared
            .journal
            .replay(partition, &mut |replayed| take(&mut groups, replayed))?;
        for (group_id, found) in groups {
            if found.value.is_some() || !found.offsets.is_empty() {
                shared.adopt(&group_id, found.value, found.offsets);
            }
        }
    }
    Ok(())
}

fn take(groups: &mut HashMap<Arc<str>, Found>, replayed: Replayed<'_>) {
    match replayed {
        Replayed::Marker {
            producer_id,
            commit,
        } => {
            // One marker decides for every group of the partition (G-27).
            for found in groups.values_mut() {
                found.offsets.end_transaction(producer_id, commit);
            }
        }
        Replayed::Record {
            offset,
            producer_id,
            key,
            value,
        } => {
            // A key or value of a kind or version this broker does not know is somebody else's: it
            // is left where it is, and its neighbours are read.
            let Ok(key) = Key::decode(key) else { return };
            take_record(groups, offset, producer_id, key, value);
        }
    }
}

fn take_record(
    groups: &mut HashMap<Arc<str>, Found>,
    log_offset: i64,
    producer_id: Option<i64>,
    key: Key,
    value: Option<&[u8]>,
) {
    match key {
        Key::Offset { group, partition } => {
            let value = value.map(OffsetValue::decode);
            let offsets = &mut groups.entry(group).or_default().offsets;
            match (value, producer_id) {
                (Some(Ok(value)), Some(producer_id)) => {
                    offsets.stage(producer_id, &partition, log_offset, value);
                }
                (Some(Ok(value)), None) => offsets.apply(&partition, log_offset, Some(value)),
                (None, _) => offsets.apply(&partition, log_offset, None),
                (Some(Err(_unreadable)), _) => {}
            }
        }
        Key::Group { group } => match value.map(GroupValue::decode) {
            Some(Ok(value)) => groups.entry(group).or_default().value = Some(value),
            None => groups.entry(group).or_default().value = None,
            Some(Err(_unreadable)) => {}
        },
        Key::Other(_) => {}
    }
}
