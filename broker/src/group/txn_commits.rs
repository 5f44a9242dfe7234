//! TxnOffsetCommit: offsets that count when, and if, a producer's transaction commits (G-24 to G-28).
//!
//! They go to the group's log as a batch of that producer's transaction. From the moment that is
//! staged they are pending: a reader that wants stable offsets waits. The marker in the log's
//! partition decides; the transaction coordinator reports it here when it is durable.

use super::commits::{OffsetWrite, refuse_rest};
use super::coordinator::{Cell, Coordinator, Shared, Slot};
use super::error::GroupError;
use super::records::{self, OffsetValue};
use super::state::Now;
use super::sync::Committer;
use crate::protocol::offset_commit::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use crate::protocol::txn_offset_commit::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use crate::protocol::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};
use crate::state_log::{Entry, TxnProducer, Written};
use oncelog::{ErrorKind, ProducerEpoch, ProducerId};
use std::sync::Arc;

/// The first version that says who commits (KIP-447).
const NAMES_MEMBER_SINCE: i16 = 3;

/// Why a commit in a transaction is refused: Kafka's number.
type Refused = i16;

const INVALID_PRODUCER_EPOCH: Refused = 47;
const INVALID_TXN_STATE: Refused = 48;
const CONCURRENT_TRANSACTIONS: Refused = 51;

impl Coordinator {
    /// Stores how far a group will have read if a transaction commits; resolves when that survives a
    /// power cut. `verify` is asked whether the partition of the group's log is part of the
    /// producer's transaction, unless the producer has written there already.
    pub async fn commit_in_transaction(
        &self,
        request: TxnOffsetCommitRequest,
        version: i16,
        verify: impl Fn(i32) -> Result<(), i16>,
    ) -> TxnOffsetCommitResponse {
        let (mut verdicts, writes) = self.judge_transactional(&request);
        if let Err(code) = self.try_commit_in_transaction(&request, version, verify, writes).await {
            refuse_rest(&mut verdicts, code);
        }
        let topics = verdicts.into_iter().map(|topic| TxnOffsetCommitResponseTopic {
            name: topic.name,
            partitions: topic
                .partitions
                .into_iter()
                .map(|partition| TxnOffsetCommitResponsePartition {
                    partition_index: partition.partition_index,
                    error_code: partition.error_code,
                })
                .collect(),
        });
        TxnOffsetCommitResponse { topics: topics.collect(), ..TxnOffsetCommitResponse::default() }
    }

    fn judge_transactional(
        &self,
        request: &TxnOffsetCommitRequest,
    ) -> (Vec<OffsetCommitResponseTopic>, Vec<OffsetWrite>) {
        let now_ms = self.shared.host.now_ms();
        let mut writes = Vec::new();
        let topics = request.topics.iter().map(|topic| {
            let verdicts = topic.partitions.iter().map(|asked| {
                let metadata = asked.committed_metadata.as_deref().unwrap_or("");
                let verdict = self.judge_partition(&topic.name, asked.partition_index, metadata);
                let error_code = GroupError::code_of(&verdict);
                if let Ok(partition) = verdict {
                    let value = OffsetValue {
                        offset: asked.committed_offset,
                        leader_epoch: asked.committed_leader_epoch,
                        metadata: Arc::from(metadata),
                        commit_timestamp_ms: now_ms,
                        expire_timestamp_ms: None,
                    };
                    writes.push((partition, Some(value)));
                }
                OffsetCommitResponsePartition { partition_index: asked.partition_index, error_code }
            });
            OffsetCommitResponseTopic {
                partitions: verdicts.collect(),
                name: topic.name.clone(),
                ..OffsetCommitResponseTopic::default()
            }
        });
        (topics.collect(), writes)
    }

    async fn try_commit_in_transaction(
        &self,
        request: &TxnOffsetCommitRequest,
        version: i16,
        verify: impl Fn(i32) -> Result<(), i16>,
        writes: Vec<OffsetWrite>,
    ) -> Result<(), Refused> {
        let group_id = &request.group_id;
        self.shared.prepare(group_id).await.map_err(GroupError::code)?;
        let partition = self.shared.partition_of(group_id);
        let producer = self.verified(request, partition, verify)?;
        let names_member = version >= NAMES_MEMBER_SINCE;
        let committer = Committer {
            member_id: if names_member { &request.member_id } else { "" },
            instance_id: request.group_instance_id.as_deref().filter(|_| names_member),
            generation: if names_member { request.generation_id } else { -1 },
            transactional: true,
        };
        let mut writes = Some((writes, producer));
        let mut store = |slot: &Arc<Slot>, cell: &mut Cell, now: Now| {
            cell.group.check_commit(now, committer).map_err(GroupError::code)?;
            match writes.take() {
                Some((writes, producer)) if !writes.is_empty() => {
                    self.shared.stage_offsets(slot, cell, writes, producer).map(Some)
                }
                _ => Ok(None),
            }
        };
        let begun = if committer.generation < 0 {
            self.shared.with_new(group_id, |slot, cell, now, _effects| store(slot, cell, now))
        } else {
            let known = self.shared.with(group_id, |slot, cell, now, _| store(slot, cell, now));
            known.unwrap_or(Err(GroupError::IllegalGeneration.code()))
        };
        match begun? {
            Some(written) => written.stored.await.map_err(|error| refusal(&error)),
            None => Ok(()),
        }
    }

    /// The producer, if its transaction may write to the partition of the group's log (P-20, P-24).
    fn verified(
        &self,
        request: &TxnOffsetCommitRequest,
        partition: i32,
        verify: impl Fn(i32) -> Result<(), i16>,
    ) -> Result<TxnProducer, Refused> {
        let id = ProducerId::new(request.producer_id);
        let epoch = ProducerEpoch::new(request.producer_epoch);
        let guard = self.shared.journal.begin_verification(partition, id, epoch);
        let guard = guard.map_err(|error| refusal(&error))?;
        if guard.is_some() {
            verify(partition)?;
        }
        Ok(TxnProducer { id, epoch, guard })
    }

    /// A transaction has ended in a partition of the log: what it wrote there counts, or never did.
    pub(crate) fn end_transaction(&self, partition: i32, producer_id: i64, commit: bool) {
        let slots = self.shared.staged.lock().remove(&(partition, producer_id));
        for slot in slots.into_iter().flatten() {
            self.shared.on(&slot, |cell, _now, _effects| {
                cell.offsets.end_transaction(producer_id, commit);
            });
        }
    }
}

impl Shared {
    /// Appends offsets as a part of a transaction; they are pending from now on.
    fn stage_offsets(
        &self,
        slot: &Arc<Slot>,
        cell: &mut Cell,
        writes: Vec<OffsetWrite>,
        producer: TxnProducer,
    ) -> Result<Written, Refused> {
        let entries = writes.iter().map(|(partition, value)| {
            let key = records::encode_offset_key(&slot.id, partition)?;
            let value = value.as_ref().map(OffsetValue::encode).transpose()?;
            Ok(Entry { key, value })
        });
        let entries = entries.collect::<Result<Vec<_>, records::RecordError>>();
        let entries = entries.map_err(|_long| GroupError::InvalidCommitOffsetSize.code())?;
        let producer_id = producer.id.get();
        let now_ms = self.host.now_ms();
        let written =
            self.journal.append_in_transaction(slot.partition, now_ms, &entries, producer);
        let written = written.map_err(|error| refusal(&error))?;
        for (log_offset, (partition, value)) in (written.base_offset..).zip(writes) {
            if let Some(value) = value {
                cell.offsets.stage(producer_id, &partition, log_offset, value);
            }
        }
        self.note_staged(slot, producer_id);
        Ok(written)
    }

    /// The group will want to know how the producer's transaction ends.
    pub(super) fn note_staged(&self, slot: &Arc<Slot>, producer_id: i64) {
        let mut staged = self.staged.lock();
        let slots = staged.entry((slot.partition, producer_id)).or_default();
        if !slots.iter().any(|known| Arc::ptr_eq(known, slot)) {
            slots.push(slot.clone());
        }
    }
}

/// What the group's log said, as the producer should hear it.
fn refusal(error: &oncelog::Error) -> Refused {
    match error.kind() {
        ErrorKind::InvalidProducerEpoch { .. } => INVALID_PRODUCER_EPOCH,
        ErrorKind::InvalidTxnState => INVALID_TXN_STATE,
        ErrorKind::ConcurrentTransactions => CONCURRENT_TRANSACTIONS,
        ErrorKind::BatchTooLarge | ErrorKind::LargerThanSegment => {
            GroupError::InvalidCommitOffsetSize.code()
        }
        _ => GroupError::CoordinatorNotAvailable.code(),
    }
}
