//! Reading the coordinator's log at the start: the last record of each key wins.

use super::coordinator::Shared;
use super::offsets::Offsets;
use super::records::{GroupValue, Key, OffsetValue, RecordError};
use crate::state_log::Replayed;
use std::collections::HashMap;
use std::sync::Arc;

/// A group as far as it has been read.
#[derive(Debug, Default)]
struct Found {
    value: Option<GroupValue>,
    offsets: Offsets,
}

/// What the log held that could not be used. None of it was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadReport {
    /// Ranges of the log that could not be read, each with place and reason.
    pub damage: Vec<String>,
    /// Records of a known kind that could not be decoded. The one before it counts for its key.
    pub undecodable_records: usize,
}

/// Reads every partition and gives what it finds to the coordinator.
pub(super) fn load(shared: &Arc<Shared>) -> oncelog::Result<LoadReport> {
    let mut report = LoadReport::default();
    for partition in shared.journal.partitions()? {
        shared.journal.open(partition)?;
        let mut reading = Reading { groups: HashMap::new(), foreign: false, report: &mut report };
        shared.journal.replay(partition, &mut |replayed| reading.take(replayed))?;
        if reading.foreign {
            shared.keep_all(partition);
        }
        for (group_id, found) in reading.groups {
            if found.value.is_some() || !found.offsets.is_empty() {
                shared.adopt(&group_id, found.value, found.offsets);
            }
        }
    }
    Ok(report)
}

/// One partition as far as it has been read.
struct Reading<'a> {
    groups: HashMap<Arc<str>, Found>,
    /// Whether the partition holds something that this broker cannot write anew.
    foreign: bool,
    report: &'a mut LoadReport,
}

impl Reading<'_> {
    fn take(&mut self, replayed: Replayed<'_>) {
        match replayed {
            Replayed::Damage(reason) => {
                self.foreign = true;
                self.report.damage.push(reason);
            }
            Replayed::Marker { producer_id, commit } => {
                // One marker decides for every group of the partition (G-27).
                for found in self.groups.values_mut() {
                    found.offsets.end_transaction(producer_id, commit);
                }
            }
            Replayed::Record { offset, producer_id, key, value } => {
                let taken = self.take_record(offset, producer_id, key, value);
                self.foreign |= taken.is_err();
                self.report.undecodable_records += usize::from(taken.is_err());
            }
        }
    }

    /// A record of another protocol's kind is left where it is.
    fn take_record(
        &mut self,
        log_offset: i64,
        producer_id: Option<i64>,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), RecordError> {
        match Key::decode(key)? {
            Key::Offset { group, partition } => {
                let value = value.map(OffsetValue::decode).transpose()?;
                let offsets = &mut self.groups.entry(group).or_default().offsets;
                match (value, producer_id) {
                    (Some(value), Some(producer_id)) => {
                        offsets.stage(producer_id, &partition, log_offset, value);
                    }
                    (value, _) => offsets.apply(&partition, log_offset, value),
                }
            }
            Key::Group { group } => {
                let value = value.map(GroupValue::decode).transpose()?;
                self.groups.entry(group).or_default().value = value;
            }
            Key::Other(_) => self.foreign = true,
        }
        Ok(())
    }
}
