//! What the metadata log amounts to: its records applied one after the other.

use super::record::{MetadataRecord, TopicId};
use crate::config::Overrides;
use std::collections::{BTreeMap, HashMap, HashSet};

/// What the metadata log says.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) topics: BTreeMap<TopicId, KnownTopic>,
    pub(crate) removed: HashSet<TopicId>,
    pub(crate) next_producer_id: i64,
}

/// A topic as the metadata log has it.
#[derive(Debug, Default)]
pub(crate) struct KnownTopic {
    pub(crate) name: String,
    pub(crate) partitions: i32,
    pub(crate) overrides: Overrides,
}

impl KnownTopic {
    /// The records that create the topic.
    pub(crate) fn records(&self, id: TopicId, node_id: i32) -> Vec<MetadataRecord> {
        let mut records = vec![MetadataRecord::Topic { name: self.name.clone(), id }];
        records.extend((0..self.partitions).map(|partition| MetadataRecord::Partition {
            topic: id,
            partition,
            node_id,
        }));
        records.extend(self.overrides.iter().map(|(key, value)| MetadataRecord::Config {
            topic: self.name.clone(),
            key: key.clone(),
            value: Some(value.clone()),
        }));
        records
    }
}

impl History {
    /// Applies records in the order of the log.
    pub(crate) fn replay(records: Vec<MetadataRecord>) -> Self {
        let mut history = Self::default();
        // Configuration names its topic, everything else has its id.
        let mut ids: HashMap<String, TopicId> = HashMap::new();
        for record in records {
            match record {
                MetadataRecord::Topic { name, id } => {
                    ids.insert(name.clone(), id);
                    history.topics.insert(id, KnownTopic { name, ..KnownTopic::default() });
                }
                MetadataRecord::Partition { topic, partition, .. } => {
                    if let Some(known) = history.topics.get_mut(&topic) {
                        known.partitions = known.partitions.max(partition.saturating_add(1));
                    }
                }
                MetadataRecord::Config { topic, key, value } => {
                    let known = ids.get(&topic).and_then(|id| history.topics.get_mut(id));
                    if let Some(known) = known {
                        match value {
                            Some(value) => known.overrides.insert(key, value),
                            None => known.overrides.remove(&key),
                        };
                    }
                }
                MetadataRecord::RemoveTopic { id } => {
                    history.topics.remove(&id);
                    history.removed.insert(id);
                }
                MetadataRecord::ProducerIds { next, .. } => {
                    history.next_producer_id = history.next_producer_id.max(next);
                }
            }
        }
        history
    }

    /// The records that say the same without what is history.
    pub(crate) fn live(&self, node_id: i32) -> Vec<MetadataRecord> {
        let next = self.next_producer_id;
        let mut records = vec![MetadataRecord::ProducerIds { node_id, next }];
        for (id, known) in &self.topics {
            records.extend(known.records(*id, node_id));
        }
        records
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(name: &str) -> Vec<MetadataRecord> {
        let overrides = Overrides::from([("retention.ms".to_owned(), "5".to_owned())]);
        KnownTopic { name: name.into(), partitions: 2, overrides }.records([1; 16], 0)
    }

    #[test]
    fn replaying_what_is_live_gives_the_same_history() {
        let mut records = known("a");
        records.push(MetadataRecord::ProducerIds { node_id: 0, next: 3000 });
        let history = History::replay(records.clone());
        assert_eq!(history.topics[&[1; 16]].partitions, 2);
        let live = history.live(0);
        records.extend(live.clone());
        let again = History::replay(records);
        assert_eq!(again.live(0), live);
        assert_eq!(again.next_producer_id, 3000);
    }

    #[test]
    fn a_removed_topic_is_remembered_as_removed() {
        let mut records = known("a");
        records.push(MetadataRecord::RemoveTopic { id: [1; 16] });
        let history = History::replay(records);
        assert!(history.topics.is_empty() && history.removed.contains(&[1; 16]));
    }
}
