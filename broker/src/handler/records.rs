//! DeleteRecords: raises the log start offset, durably.

use super::{Broker, Code};
use crate::blocking::blocking;
use crate::protocol::delete_records::{
    DeleteRecordsPartition, DeleteRecordsPartitionResult, DeleteRecordsTopic,
    DeleteRecordsTopicResult,
};
use crate::protocol::{DeleteRecordsRequest, DeleteRecordsResponse};
use oncelog::Offset;

impl Broker {
    pub(super) async fn delete_records(
        &self,
        request: DeleteRecordsRequest,
    ) -> DeleteRecordsResponse {
        let mut topics = Vec::new();
        for topic in request.topics {
            topics.push(self.delete_records_of(topic).await);
        }
        DeleteRecordsResponse { topics, ..DeleteRecordsResponse::default() }
    }

    async fn delete_records_of(&self, topic: DeleteRecordsTopic) -> DeleteRecordsTopicResult {
        let mut partitions = Vec::new();
        for partition in &topic.partitions {
            let trimmed = self.trim(&topic.name, partition).await;
            partitions.push(DeleteRecordsPartitionResult {
                partition_index: partition.partition_index,
                low_watermark: trimmed.unwrap_or(-1),
                error_code: trimmed.err().unwrap_or(Code::None).get(),
            });
        }
        DeleteRecordsTopicResult { name: topic.name, partitions }
    }

    async fn trim(&self, name: &str, partition: &DeleteRecordsPartition) -> Result<i64, Code> {
        let topic = self.topics.find(name).ok_or(Code::UnknownTopicOrPartition)?;
        if topic.internal {
            return Err(Code::InvalidTopic);
        }
        if !topic.is_trimmable() {
            return Err(Code::PolicyViolation);
        }
        let log = self.topics.log(&topic, partition.partition_index).await;
        let log = log.map_err(|e| Code::from(&e))?;
        let offset = match partition.offset {
            -1 => log.offsets().high_watermark,
            negative if negative < 0 => return Err(Code::OffsetOutOfRange),
            offset => Offset::new(offset),
        };
        let start = blocking(move || log.trim_before(offset)).await;
        start.map(Offset::get).map_err(|e| Code::from(&e))
    }
}
