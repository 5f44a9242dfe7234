//! What an administrator asks of transactions: who has one, where, and to end one that hangs
//! (C-47 to C-51).

use super::{Broker, Code};
use crate::clock;
use crate::protocol::describe_producers::{
    PartitionResponse, ProducerState, TopicRequest, TopicResponse,
};
use crate::protocol::write_txn_markers::{
    WritableTxnMarker, WritableTxnMarkerPartitionResult, WritableTxnMarkerResult,
    WritableTxnMarkerTopicResult,
};
use crate::protocol::{
    DescribeProducersRequest, DescribeProducersResponse, DescribeTransactionsRequest,
    DescribeTransactionsResponse, ListTransactionsRequest, ListTransactionsResponse, Str,
    WriteTxnMarkersRequest, WriteTxnMarkersResponse, describe_transactions, list_transactions,
};
use crate::txn::Marker;
use oncelog::ProducerDescription;
use std::collections::HashSet;

impl Broker {
    pub(super) fn describe_transactions(
        &self,
        request: DescribeTransactionsRequest,
    ) -> DescribeTransactionsResponse {
        let describe = |id: Str| match self.transactions.describe(&id) {
            Ok(found) => describe_transactions::TransactionState {
                transactional_id: id,
                transaction_state: Str::from_static(found.state),
                transaction_timeout_ms: found.timeout_ms,
                transaction_start_time_ms: found.start_ms,
                producer_id: found.producer.producer_id,
                producer_epoch: found.producer.epoch,
                topics: found
                    .topics
                    .into_iter()
                    .map(|(topic, partitions)| describe_transactions::TopicData {
                        topic: Str::from(&*topic),
                        partitions,
                    })
                    .collect(),
                ..describe_transactions::TransactionState::default()
            },
            Err(error) => describe_transactions::TransactionState {
                error_code: error.code(),
                transactional_id: id,
                ..describe_transactions::TransactionState::default()
            },
        };
        DescribeTransactionsResponse {
            transaction_states: request.transactional_ids.into_iter().map(describe).collect(),
            ..DescribeTransactionsResponse::default()
        }
    }

    pub(super) fn list_transactions(
        &self,
        request: ListTransactionsRequest,
    ) -> ListTransactionsResponse {
        // Sets: how many there are is the client's choice, and each is held against every id.
        let (known, unknown): (HashSet<Str>, HashSet<Str>) =
            request.state_filters.into_iter().partition(|name| crate::txn::is_state(name));
        let states_given = !known.is_empty() || !unknown.is_empty();
        let ids: HashSet<i64> = request.producer_id_filters.into_iter().collect();
        let now_ms = clock::now_ms();
        let asked = |found: &crate::txn::Described| {
            let running_ms = now_ms.saturating_sub(found.start_ms);
            let long_enough = request.duration_filter < 0
                || (found.start_ms >= 0 && running_ms > request.duration_filter);
            let state = !states_given || known.contains(found.state);
            state && long_enough && (ids.is_empty() || ids.contains(&found.producer.producer_id))
        };
        let found = self.transactions.all().into_iter().filter(|(_, found)| asked(found));
        let states = found.map(|(id, found)| list_transactions::TransactionState {
            transactional_id: Str::from(&*id),
            producer_id: found.producer.producer_id,
            transaction_state: Str::from_static(found.state),
        });
        ListTransactionsResponse {
            transaction_states: states.collect(),
            unknown_state_filters: unknown.into_iter().collect(),
            ..ListTransactionsResponse::default()
        }
    }

    pub(super) async fn describe_producers(
        &self,
        request: DescribeProducersRequest,
    ) -> DescribeProducersResponse {
        let mut topics = Vec::with_capacity(request.topics.len());
        // Each partition once: a few bytes of a request must not stand for all its producers again.
        let mut seen = HashSet::new();
        for TopicRequest { name, partition_indexes } in request.topics {
            let mut partitions = Vec::with_capacity(partition_indexes.len());
            for partition_index in partition_indexes {
                let found = if seen.insert((name.clone(), partition_index)) {
                    self.producers_of(&name, partition_index).await
                } else {
                    Err(Code::InvalidRequest)
                };
                let (error_code, active_producers) = match found {
                    Ok(producers) => (0, producers.into_iter().map(producer_state).collect()),
                    Err(code) => (code.get(), Vec::new()),
                };
                partitions.push(PartitionResponse {
                    partition_index,
                    error_code,
                    active_producers,
                    ..PartitionResponse::default()
                });
            }
            topics.push(TopicResponse { name, partitions });
        }
        DescribeProducersResponse { topics, ..DescribeProducersResponse::default() }
    }

    async fn producers_of(
        &self,
        topic: &str,
        partition: i32,
    ) -> Result<Vec<ProducerDescription>, Code> {
        let topic = self.topics.find(topic).ok_or(Code::UnknownTopicOrPartition)?;
        let log = self.topics.log(&topic, partition).await.map_err(|error| Code::from(&error))?;
        Ok(log.producers())
    }

    /// Markers as the caller gives them, straight to the partitions (C-35, C-51).
    pub(super) async fn write_txn_markers(
        &self,
        request: WriteTxnMarkersRequest,
    ) -> WriteTxnMarkersResponse {
        let mut markers = Vec::with_capacity(request.markers.len());
        for asked in request.markers {
            markers.push(self.write_marker(asked).await);
        }
        WriteTxnMarkersResponse { markers }
    }

    async fn write_marker(&self, asked: WritableTxnMarker) -> WritableTxnMarkerResult {
        let marker = Marker::new(
            asked.producer_id,
            asked.producer_epoch,
            asked.transaction_result,
            asked.coordinator_epoch,
        );
        let mut topics = Vec::with_capacity(asked.topics.len());
        for topic in asked.topics {
            let mut partitions = Vec::with_capacity(topic.partition_indexes.len());
            for partition_index in topic.partition_indexes {
                let written =
                    self.transactions.write_one(&topic.name, partition_index, marker).await;
                let error_code = match written {
                    Ok(true) => 0,
                    Ok(false) => Code::UnknownTopicOrPartition.get(),
                    Err(error) => Code::from(&error).get(),
                };
                partitions.push(WritableTxnMarkerPartitionResult { partition_index, error_code });
            }
            topics.push(WritableTxnMarkerTopicResult { name: topic.name, partitions });
        }
        WritableTxnMarkerResult { producer_id: asked.producer_id, topics }
    }
}

fn producer_state(producer: ProducerDescription) -> ProducerState {
    ProducerState {
        producer_id: producer.producer_id.get(),
        producer_epoch: i32::from(producer.producer_epoch.get()),
        last_sequence: producer.last_sequence.get(),
        last_timestamp: producer.last_timestamp_ms,
        coordinator_epoch: producer.coordinator_epoch,
        current_txn_start_offset: producer.txn_first_offset.map_or(-1, oncelog::Offset::get),
    }
}
