//! The requests of transactional producers: handed to the coordinator, which answers them.

use super::{Broker, Code};
use crate::config::Settings;
use crate::protocol::add_partitions_to_txn::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopic, AddPartitionsToTxnTopicResult,
};
use crate::protocol::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse, EndTxnRequest, EndTxnResponse, TxnOffsetCommitRequest,
    TxnOffsetCommitResponse,
};
use crate::topics::OFFSETS_TOPIC;
use crate::txn::{self, Identity, TxnError};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The first versions that know PRODUCER_FENCED and TRANSACTION_ABORTABLE (C-6).
const KNOWS_FENCED_SINCE: i16 = 2;
const OFFSETS_KNOW_ABORTABLE_SINCE: i16 = 4;
/// Answered for a partition that was not added because another one of the request could not be.
const OPERATION_NOT_ATTEMPTED: i16 = 55;
const INVALID_PRODUCER_EPOCH: i16 = 47;
const INVALID_TXN_STATE: i16 = 48;

/// The coordinator's share of the settings. `partitions` are those of the topic that keeps
/// transactions, if it exists: what was given then holds, whatever the setting says now.
pub(super) fn config(settings: &Settings, partitions: Option<i32>) -> txn::Config {
    txn::Config {
        timeout_max_ms: settings.transaction_max_timeout_ms,
        timeout_check_interval_ms: settings
            .transaction_abort_timed_out_transaction_cleanup_interval_ms,
        expiration_ms: settings.transactional_id_expiration_ms,
        expiration_check_interval_ms: settings
            .transaction_remove_expired_transaction_cleanup_interval_ms,
        partitions: partitions.unwrap_or(settings.transaction_state_log_num_partitions),
    }
}

impl Broker {
    pub(super) async fn add_partitions(
        &self,
        version: i16,
        request: AddPartitionsToTxnRequest,
    ) -> AddPartitionsToTxnResponse {
        let topics = &request.v3_and_below_topics;
        let codes = if self.are_known(topics) {
            let by = Identity {
                producer_id: request.v3_and_below_producer_id,
                epoch: request.v3_and_below_producer_epoch,
            };
            let partitions = topics.iter().flat_map(|topic| {
                let name: Arc<str> = Arc::from(&*topic.name);
                topic.partitions.iter().map(move |index| (name.clone(), *index))
            });
            let partitions: BTreeSet<_> = partitions.collect();
            let id = &request.v3_and_below_transactional_id;
            let added = self.transactions.add(id, by, partitions).await;
            Some(added.map_or_else(|e| e.code_for(version >= KNOWS_FENCED_SINCE), |()| 0))
        } else {
            None
        };
        // C-21: one that does not exist stops all of them.
        let code = |topic: &str, index| match codes {
            Some(code) => code,
            None if self.is_known(topic, index) => OPERATION_NOT_ATTEMPTED,
            None => Code::UnknownTopicOrPartition.get(),
        };
        let results = topics.iter().map(|topic| AddPartitionsToTxnTopicResult {
            name: topic.name.clone(),
            results_by_partition: topic
                .partitions
                .iter()
                .map(|index| AddPartitionsToTxnPartitionResult {
                    partition_index: *index,
                    partition_error_code: code(&topic.name, *index),
                })
                .collect(),
        });
        AddPartitionsToTxnResponse {
            results_by_topic_v3_and_below: results.collect(),
            ..AddPartitionsToTxnResponse::default()
        }
    }

    fn are_known(&self, topics: &[AddPartitionsToTxnTopic]) -> bool {
        topics
            .iter()
            .all(|topic| topic.partitions.iter().all(|index| self.is_known(&topic.name, *index)))
    }

    fn is_known(&self, topic: &str, index: i32) -> bool {
        let count = self.topics.find(topic).map_or(0, |topic| topic.partition_count());
        (0..count).contains(&index)
    }

    pub(super) async fn add_offsets(
        &self,
        version: i16,
        request: &AddOffsetsToTxnRequest,
    ) -> AddOffsetsToTxnResponse {
        let by = Identity { producer_id: request.producer_id, epoch: request.producer_epoch };
        let added =
            self.transactions.add_offsets(&request.transactional_id, by, &request.group_id).await;
        AddOffsetsToTxnResponse {
            error_code: code_of(added, version),
            ..AddOffsetsToTxnResponse::default()
        }
    }

    pub(super) async fn end_txn(&self, version: i16, request: &EndTxnRequest) -> EndTxnResponse {
        let by = Identity { producer_id: request.producer_id, epoch: request.producer_epoch };
        let ended = self.transactions.end(&request.transactional_id, by, request.committed).await;
        EndTxnResponse { error_code: code_of(ended, version), ..EndTxnResponse::default() }
    }

    pub(super) async fn txn_offset_commit(
        &self,
        version: i16,
        request: TxnOffsetCommitRequest,
    ) -> TxnOffsetCommitResponse {
        let by = Identity { producer_id: request.producer_id, epoch: request.producer_epoch };
        let id = request.transactional_id.clone();
        let verify = |partition| {
            let verified = self.transactions.verify(&id, by, OFFSETS_TOPIC, partition);
            verified.map_err(|error| match error {
                TxnError::ProducerFenced => INVALID_PRODUCER_EPOCH,
                TxnError::Abortable if version < OFFSETS_KNOW_ABORTABLE_SINCE => INVALID_TXN_STATE,
                other => other.code(),
            })
        };
        self.groups.commit_in_transaction(request, version, verify).await
    }
}

fn code_of(outcome: Result<(), TxnError>, version: i16) -> i16 {
    outcome.map_or_else(|error| error.code_for(version >= KNOWS_FENCED_SINCE), |()| 0)
}
