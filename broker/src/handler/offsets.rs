//! ListOffsets and OffsetForLeaderEpoch.

use super::{Broker, Code, check_leader_epoch, leader_epoch};
use crate::blocking::blocking;
use crate::protocol::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsTopic, ListOffsetsTopicResponse,
};
use crate::protocol::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderPartition, OffsetForLeaderTopicResult,
};
use crate::protocol::{
    ListOffsetsRequest, ListOffsetsResponse, OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
};
use oncelog::{Isolation, LeaderEpoch, Log, Offset};
use std::collections::HashMap;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

/// Offset, timestamp and leader epoch; −1 each where there is none (T-22).
type Found = (i64, i64, i32);
const NOT_FOUND: Found = (-1, -1, -1);

impl Broker {
    pub(super) async fn list_offsets(
        &self,
        version: i16,
        request: ListOffsetsRequest,
    ) -> ListOffsetsResponse {
        let isolation = isolation(request.isolation_level);
        let mut topics = Vec::new();
        for topic in request.topics {
            topics.push(self.list_offsets_of(version, isolation, topic).await);
        }
        ListOffsetsResponse { topics, ..ListOffsetsResponse::default() }
    }

    async fn list_offsets_of(
        &self,
        version: i16,
        isolation: Isolation,
        topic: ListOffsetsTopic,
    ) -> ListOffsetsTopicResponse {
        let mut times: HashMap<i32, usize> = HashMap::new();
        for partition in &topic.partitions {
            *times.entry(partition.partition_index).or_default() += 1;
        }
        let mut partitions = Vec::new();
        for asked in &topic.partitions {
            let twice = times.get(&asked.partition_index).is_some_and(|times| *times > 1);
            let found = if twice {
                Err(Code::InvalidRequest)
            } else {
                self.list_offset(version, isolation, &topic.name, asked).await
            };
            let code = found.err().unwrap_or(Code::None);
            let (offset, timestamp, leader_epoch) = found.unwrap_or(NOT_FOUND);
            partitions.push(ListOffsetsPartitionResponse {
                partition_index: asked.partition_index,
                error_code: code.get(),
                timestamp,
                offset,
                leader_epoch,
            });
        }
        ListOffsetsTopicResponse { name: topic.name, partitions }
    }

    async fn list_offset(
        &self,
        version: i16,
        isolation: Isolation,
        topic: &str,
        asked: &ListOffsetsPartition,
    ) -> Result<Found, Code> {
        let log = self.partition_log(topic, asked.partition_index).await?;
        check_leader_epoch(&log, asked.current_leader_epoch)?;
        let timestamp = asked.timestamp;
        match timestamp {
            LATEST => {
                let offsets = log.offsets();
                let end = match isolation {
                    Isolation::ReadCommitted => offsets.last_stable_offset,
                    _ => offsets.high_watermark,
                };
                Ok((end.get(), -1, leader_epoch(&log).get()))
            }
            // Nothing is tiered, so what is local is everything.
            EARLIEST => Ok(earliest(&log)),
            EARLIEST_LOCAL if version >= 8 => Ok(earliest(&log)),
            LATEST_TIERED if version >= 9 => Ok(NOT_FOUND),
            EARLIEST_PENDING_UPLOAD if version >= 11 => Ok(NOT_FOUND),
            MAX_TIMESTAMP if version >= 7 => search(move || log.offset_of_max_timestamp()).await,
            0.. => search(move || log.offset_for_timestamp(timestamp, isolation)).await,
            _ => Err(Code::UnsupportedVersion),
        }
    }

    pub(super) async fn offset_for_leader_epoch(
        &self,
        request: OffsetForLeaderEpochRequest,
    ) -> OffsetForLeaderEpochResponse {
        let mut topics = Vec::new();
        for topic in request.topics {
            let mut partitions = Vec::new();
            for asked in &topic.partitions {
                partitions.push(self.epoch_end(&topic.topic, asked).await);
            }
            topics.push(OffsetForLeaderTopicResult { topic: topic.topic, partitions });
        }
        OffsetForLeaderEpochResponse { topics, ..OffsetForLeaderEpochResponse::default() }
    }

    async fn epoch_end(&self, topic: &str, asked: &OffsetForLeaderPartition) -> EpochEndOffset {
        let log = self.partition_log(topic, asked.partition).await;
        let checked =
            log.and_then(|log| check_leader_epoch(&log, asked.current_leader_epoch).map(|()| log));
        let mut answer = EpochEndOffset { partition: asked.partition, ..EpochEndOffset::default() };
        match checked {
            Err(code) => answer.error_code = code.get(),
            Ok(log) => {
                let end = log.end_offset_for_epoch(LeaderEpoch::new(asked.leader_epoch));
                if let Some((epoch, offset)) = end {
                    (answer.leader_epoch, answer.end_offset) = (epoch.get(), offset.get());
                }
            }
        }
        answer
    }

    /// The log of a partition, by the name of its topic.
    pub(super) async fn partition_log(&self, topic: &str, index: i32) -> Result<Log, Code> {
        let topic = self.topics.find(topic).ok_or(Code::UnknownTopicOrPartition)?;
        self.topics.log(&topic, index).await.map_err(|e| Code::from(&e))
    }
}

/// What a request's isolation level means; anything but 1 is the weaker one.
pub(super) fn isolation(level: i8) -> Isolation {
    if level == 1 { Isolation::ReadCommitted } else { Isolation::ReadUncommitted }
}

fn earliest(log: &Log) -> Found {
    (log.offsets().log_start_offset.get(), -1, leader_epoch(log).get())
}

async fn search<F>(lookup: F) -> Result<Found, Code>
where
    F: FnOnce() -> oncelog::Result<Option<oncelog::TimestampedOffset>> + Send + 'static,
{
    let found = blocking(lookup).await.map_err(|e| Code::from(&e))?;
    let describe = |found: oncelog::TimestampedOffset| {
        (Offset::get(found.offset), found.timestamp_ms, found.leader_epoch.get())
    };
    Ok(found.map_or(NOT_FOUND, describe))
}
