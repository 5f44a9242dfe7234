//! OffsetFetch, from wire to group and back.

use super::coordinator::Coordinator;
use super::error::GroupError;
use super::offsets::{Fetched, Offsets};
use crate::protocol::offset_fetch::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponseGroup,
    OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use crate::protocol::{OffsetFetchRequest, OffsetFetchResponse, Str, Uuid};

impl Coordinator {
    /// How far groups have read, as far as that is stored (G-29). An unknown group has read nothing.
    #[must_use]
    pub fn fetch_offsets(&self, request: &OffsetFetchRequest, version: i16) -> OffsetFetchResponse {
        let stable = request.require_stable;
        if version >= 8 {
            let groups =
                request.groups.iter().map(|asked| self.fetch_group(asked, stable, version));
            return OffsetFetchResponse {
                groups: groups.collect(),
                ..OffsetFetchResponse::default()
            };
        }
        let asked = OffsetFetchRequestGroup {
            group_id: request.group_id.clone(),
            topics: request.topics.as_ref().map(|topics| {
                let of = topics.iter().map(|topic| OffsetFetchRequestTopics {
                    name: topic.name.clone(),
                    partition_indexes: topic.partition_indexes.clone(),
                    ..OffsetFetchRequestTopics::default()
                });
                of.collect()
            }),
            ..OffsetFetchRequestGroup::default()
        };
        let topics = self.fetch_group(&asked, stable, version).topics;
        OffsetFetchResponse {
            topics: topics.into_iter().map(single_group_topic).collect(),
            ..OffsetFetchResponse::default()
        }
    }

    fn fetch_group(
        &self,
        asked: &OffsetFetchRequestGroup,
        stable: bool,
        version: i16,
    ) -> OffsetFetchResponseGroup {
        let found = self.shared.with(&asked.group_id, |_slot, cell, _now, _effects| {
            self.fetch_topics(&cell.offsets, asked, stable, version)
        });
        let topics =
            found.unwrap_or_else(|| self.fetch_topics(&Offsets::default(), asked, stable, version));
        OffsetFetchResponseGroup {
            group_id: asked.group_id.clone(),
            topics,
            ..OffsetFetchResponseGroup::default()
        }
    }

    fn fetch_topics(
        &self,
        offsets: &Offsets,
        asked: &OffsetFetchRequestGroup,
        stable: bool,
        version: i16,
    ) -> Vec<OffsetFetchResponseTopics> {
        match &asked.topics {
            Some(topics) => {
                let of =
                    topics.iter().map(|topic| self.fetch_topic(offsets, topic, stable, version));
                of.collect()
            }
            None => self.fetch_all(offsets, stable, version),
        }
    }

    fn fetch_topic(
        &self,
        offsets: &Offsets,
        asked: &OffsetFetchRequestTopics,
        stable: bool,
        version: i16,
    ) -> OffsetFetchResponseTopics {
        let name = match version {
            10.. => self.shared.host.topic_name(asked.topic_id),
            _ => Some(asked.name.clone()),
        };
        let partitions = asked.partition_indexes.iter().map(|&partition| match &name {
            Some(name) => answer(partition, offsets.fetch(name, partition, stable)),
            None => nothing(partition, Some(GroupError::UnknownTopicId)),
        });
        OffsetFetchResponseTopics {
            partitions: partitions.collect(),
            name: asked.name.clone(),
            topic_id: asked.topic_id,
        }
    }

    /// Everything committed. A topic that has no id any more cannot be named in version 10.
    fn fetch_all(
        &self,
        offsets: &Offsets,
        stable: bool,
        version: i16,
    ) -> Vec<OffsetFetchResponseTopics> {
        let topics = offsets.committed_partitions().filter_map(|(topic, partitions)| {
            let topic_id = match version {
                10.. => self.shared.host.topic_id(topic)?,
                _ => Uuid::ZERO,
            };
            let fetched = partitions
                .into_iter()
                .map(|partition| answer(partition, offsets.fetch(topic, partition, stable)));
            let partitions = fetched.collect();
            Some(OffsetFetchResponseTopics { name: Str::from(&**topic), topic_id, partitions })
        });
        topics.collect()
    }
}

fn answer(partition: i32, fetched: Fetched) -> OffsetFetchResponsePartitions {
    match fetched {
        Fetched::Committed(value) => OffsetFetchResponsePartitions {
            partition_index: partition,
            committed_offset: value.offset,
            committed_leader_epoch: value.leader_epoch,
            metadata: Some(Str::from(&*value.metadata)),
            error_code: 0,
        },
        Fetched::Nothing => nothing(partition, None),
        Fetched::Unstable => nothing(partition, Some(GroupError::UnstableOffsetCommit)),
    }
}

fn nothing(partition: i32, error: Option<GroupError>) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index: partition,
        committed_offset: -1,
        committed_leader_epoch: -1,
        metadata: Some(Str::EMPTY),
        error_code: error.map_or(0, GroupError::code),
    }
}

/// The form of a topic before one request could ask for several groups.
fn single_group_topic(topic: OffsetFetchResponseTopics) -> OffsetFetchResponseTopic {
    let partitions = topic.partitions.into_iter().map(|fetched| OffsetFetchResponsePartition {
        partition_index: fetched.partition_index,
        committed_offset: fetched.committed_offset,
        committed_leader_epoch: fetched.committed_leader_epoch,
        metadata: fetched.metadata,
        error_code: fetched.error_code,
    });
    OffsetFetchResponseTopic { partitions: partitions.collect(), name: topic.name }
}
