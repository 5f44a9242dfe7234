//! OffsetCommit, OffsetFetch and OffsetDelete, from wire to group and back.

use super::clockwork::{TOMBSTONES_MAX, bury};
use super::coordinator::{Cell, Coordinator, Shared, Slot};
use super::error::GroupError;
use super::membership::{check_group_id, shared_str};
use super::records::{self, OffsetValue, TopicPartition};
use super::state::{Now, State};
use super::sync::Committer;
use crate::protocol::offset_commit::{
    OffsetCommitRequestPartition, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use crate::protocol::offset_delete::{
    OffsetDeleteRequestTopic, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use crate::protocol::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse,
};
use crate::state_log::Entry;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Longest metadata the stored form can hold, in bytes.
const METADATA_STORED_MAX: usize = 32_767;

/// The outcome of a write to come. Dropping it changes nothing about the write.
#[derive(Debug)]
pub(super) struct Stored(oneshot::Receiver<Result<(), GroupError>>);

impl Stored {
    pub(super) async fn outcome(self) -> Result<(), GroupError> {
        self.0.await.unwrap_or(Err(GroupError::CoordinatorNotAvailable))
    }
}

/// One offset of a write; without a value it is removed.
pub(super) type OffsetWrite = (TopicPartition, Option<OffsetValue>);

/// A commit's answer so far: topics in the order asked, a code per partition.
type Verdicts = Vec<OffsetCommitResponseTopic>;

impl Shared {
    /// Appends offsets in one batch and applies them once they are stored.
    pub(super) fn write_offsets(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        cell: &mut Cell,
        writes: Vec<OffsetWrite>,
    ) -> Stored {
        let (sender, receiver) = oneshot::channel();
        let entries = writes.iter().map(|(partition, value)| {
            let key = records::encode_offset_key(&slot.id, partition)?;
            let value = value.as_ref().map(OffsetValue::encode).transpose()?;
            Ok(Entry { key, value })
        });
        let entries = entries.collect::<Result<Vec<_>, records::RecordError>>();
        let entries = entries.map_err(|_too_long| GroupError::InvalidCommitOffsetSize);
        match entries.and_then(|entries| self.append(slot.partition, &entries)) {
            Err(error) => drop(sender.send(Err(error))),
            Ok(written) => {
                for (partition, _) in &writes {
                    cell.offsets.begin(partition);
                }
                let base_offset = written.base_offset;
                self.when_stored(slot, written, move |cell, _now, outcome, _effects| {
                    finish(cell, writes, base_offset, outcome);
                    // Nobody listens any more if the client is gone; the write counts all the same.
                    sender.send(outcome).unwrap_or_default();
                });
            }
        }
        Stored(receiver)
    }
}

fn finish(
    cell: &mut Cell,
    writes: Vec<OffsetWrite>,
    base_offset: i64,
    outcome: Result<(), GroupError>,
) {
    for (log_offset, (partition, value)) in (base_offset..).zip(writes) {
        match outcome {
            Ok(()) => cell.offsets.finish(&partition, log_offset, value),
            Err(_) => cell.offsets.fail(&partition),
        }
    }
}

impl Coordinator {
    /// Stores how far a group has read; resolves when that survives a power cut (G-20 to G-22).
    pub async fn commit_offsets(
        &self,
        request: OffsetCommitRequest,
        version: i16,
    ) -> OffsetCommitResponse {
        let now_ms = self.shared.host.now_ms();
        let (mut verdicts, writes) = self.judge_commit(&request, version, now_ms);
        let outcome = self.commit(&request, version, writes).await;
        if let Err(error) = outcome {
            refuse_rest(&mut verdicts, error.code());
        }
        OffsetCommitResponse { topics: verdicts, ..OffsetCommitResponse::default() }
    }

    /// Looks at each partition by itself; what can be stored comes back as writes.
    fn judge_commit(
        &self,
        request: &OffsetCommitRequest,
        version: i16,
        now_ms: i64,
    ) -> (Verdicts, Vec<OffsetWrite>) {
        let expires =
            |retention_ms: i64| (retention_ms >= 0).then(|| now_ms.saturating_add(retention_ms));
        let expire_timestamp_ms = expires(request.retention_time_ms);
        let mut writes = Vec::new();
        let topics = request.topics.iter().map(|topic| {
            let name = match version {
                10.. => self.shared.host.topic_name(topic.topic_id),
                _ => Some(topic.name.clone()),
            };
            let known = name.ok_or(GroupError::UnknownTopicId).map(|name| shared_str(&name));
            let verdicts = topic.partitions.iter().map(|asked| {
                let verdict = known.clone().and_then(|topic| {
                    self.judge_partition(
                        &topic,
                        asked.partition_index,
                        asked.committed_metadata.as_deref().unwrap_or(""),
                    )
                });
                let error_code = GroupError::code_of(&verdict);
                if let Ok(partition) = verdict {
                    let value = offset_value(asked, now_ms, expire_timestamp_ms);
                    writes.push((partition, Some(value)));
                }
                OffsetCommitResponsePartition { partition_index: asked.partition_index, error_code }
            });
            OffsetCommitResponseTopic {
                partitions: verdicts.collect(),
                name: topic.name.clone(),
                topic_id: topic.topic_id,
            }
        });
        (topics.collect(), writes)
    }

    /// Whether an offset for the partition can be stored, with this metadata (G-20).
    pub(super) fn judge_partition(
        &self,
        topic: &str,
        partition: i32,
        metadata: &str,
    ) -> Result<TopicPartition, GroupError> {
        let count = self.shared.host.partition_count(topic).unwrap_or(0);
        if !(0..count).contains(&partition) {
            return Err(GroupError::UnknownTopicOrPartition);
        }
        let longest = usize::try_from(self.shared.config.offset_metadata_max_bytes).unwrap_or(0);
        if metadata.len() > METADATA_STORED_MAX || metadata.encode_utf16().count() > longest {
            return Err(GroupError::OffsetMetadataTooLarge);
        }
        Ok(TopicPartition { topic: Arc::from(topic), partition })
    }

    async fn commit(
        &self,
        request: &OffsetCommitRequest,
        version: i16,
        writes: Vec<OffsetWrite>,
    ) -> Result<(), GroupError> {
        let group_id = &request.group_id;
        let committer = Committer {
            member_id: &request.member_id,
            instance_id: request.group_instance_id.as_deref(),
            generation: request.generation_id_or_member_epoch,
            transactional: false,
        };
        self.shared.prepare(group_id).await?;
        let mut writes = Some(writes);
        let mut store = |slot: &Arc<Slot>, cell: &mut Cell, now: Now| {
            cell.group.check_commit(now, committer)?;
            let writes = writes.take().unwrap_or_default();
            let some = !writes.is_empty();
            Ok(some.then(|| self.shared.write_offsets(slot, cell, writes)))
        };
        let begun = if committer.generation < 0 {
            // A consumer that manages its assignment itself, or an administrator, needs no group.
            self.shared.with_new(group_id, |slot, cell, now, _effects| store(slot, cell, now))
        } else {
            let known = self.shared.with(group_id, |slot, cell, now, _| store(slot, cell, now));
            known.unwrap_or(Err(unknown_group(version)))
        };
        match begun? {
            Some(stored) => stored.outcome().await.map_err(commit_error),
            None => Ok(()),
        }
    }

    /// Forgets how far a group has read in some partitions (G-33).
    pub async fn delete_offsets(&self, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
        match self.try_delete_offsets(&request).await {
            Ok(topics) => OffsetDeleteResponse { topics, ..OffsetDeleteResponse::default() },
            Err(error) => {
                let error_code = error.code();
                OffsetDeleteResponse { error_code, ..OffsetDeleteResponse::default() }
            }
        }
    }

    async fn try_delete_offsets(
        &self,
        request: &OffsetDeleteRequest,
    ) -> Result<Vec<OffsetDeleteResponseTopic>, GroupError> {
        check_group_id(&request.group_id)?;
        let begun = self.shared.with(&request.group_id, |slot, cell, _now, _effects| {
            match cell.group.state() {
                State::Dead => return Err(GroupError::GroupIdNotFound),
                State::Empty => {}
                _ if cell.group.runs_consumer_protocol() => {}
                _ => return Err(GroupError::NonEmptyGroup),
            }
            let subscribed = cell.group.subscribed();
            let mut doomed = Vec::new();
            let topics = request.topics.iter().map(|topic| {
                let read = subscribed.may_read(&topic.name);
                self.judge_deletion(cell, topic, read, &mut doomed)
            });
            let topics = topics.collect::<Vec<_>>();
            let chunks = doomed.chunks(TOMBSTONES_MAX);
            let writes = chunks.map(|chunk| bury(&self.shared, slot, cell, chunk));
            Ok((topics, writes.collect::<Vec<_>>()))
        });
        let (topics, writes) = begun.unwrap_or(Err(GroupError::GroupIdNotFound))?;
        for stored in writes {
            stored.outcome().await?;
        }
        Ok(topics)
    }

    fn judge_deletion(
        &self,
        cell: &Cell,
        topic: &OffsetDeleteRequestTopic,
        read: bool,
        doomed: &mut Vec<TopicPartition>,
    ) -> OffsetDeleteResponseTopic {
        let count = self.shared.host.partition_count(&topic.name).unwrap_or(0);
        let partitions = topic.partitions.iter().map(|asked| {
            let partition = asked.partition_index;
            let held = cell.offsets.holds(&topic.name, partition);
            let verdict = if read {
                Err(GroupError::GroupSubscribedToTopic)
            } else if held || (0..count).contains(&partition) {
                Ok(())
            } else {
                Err(GroupError::UnknownTopicOrPartition)
            };
            if verdict.is_ok() && held {
                doomed.push(TopicPartition { topic: shared_str(&topic.name), partition });
            }
            let error_code = GroupError::code_of(&verdict);
            OffsetDeleteResponsePartition { partition_index: partition, error_code }
        });
        OffsetDeleteResponseTopic { partitions: partitions.collect(), name: topic.name.clone() }
    }

    /// Forgets every group's offsets of a topic that is gone (G-34).
    ///
    /// # Errors
    /// [`GroupError`] if some of that could not be stored; offsets may then be left.
    pub async fn forget_topic(&self, topic: &str) -> Result<(), GroupError> {
        let mut writes = Vec::new();
        for slot in self.shared.slots() {
            self.shared.on(&slot, |cell, _now, _effects| {
                let all = cell.offsets.partitions().into_iter();
                let doomed = all.filter(|partition| &*partition.topic == topic).collect::<Vec<_>>();
                for chunk in doomed.chunks(TOMBSTONES_MAX) {
                    writes.push(bury(&self.shared, &slot, cell, chunk));
                }
            });
        }
        for stored in writes {
            stored.outcome().await?;
        }
        Ok(())
    }
}

/// A generation of a group that never was (G-21).
fn unknown_group(version: i16) -> GroupError {
    if version >= 9 { GroupError::GroupIdNotFound } else { GroupError::IllegalGeneration }
}

/// A commit too large to store is refused with a code of its own.
fn commit_error(error: GroupError) -> GroupError {
    match error {
        GroupError::Unknown => GroupError::InvalidCommitOffsetSize,
        other => other,
    }
}

/// What concerns the whole commit is said of every partition not refused already.
pub(super) fn refuse_rest(verdicts: &mut [OffsetCommitResponseTopic], code: i16) {
    for partition in verdicts.iter_mut().flat_map(|topic| topic.partitions.iter_mut()) {
        if partition.error_code == 0 {
            partition.error_code = code;
        }
    }
}

fn offset_value(
    asked: &OffsetCommitRequestPartition,
    now_ms: i64,
    expire_timestamp_ms: Option<i64>,
) -> OffsetValue {
    let metadata = asked.committed_metadata.as_deref().unwrap_or("");
    OffsetValue {
        offset: asked.committed_offset,
        leader_epoch: asked.committed_leader_epoch,
        metadata: Arc::from(metadata),
        commit_timestamp_ms: now_ms,
        expire_timestamp_ms,
    }
}
