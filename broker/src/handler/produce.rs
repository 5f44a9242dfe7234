//! Produce: every batch is staged before the next request is read, and acknowledged later.
//!
//! `acks` 1 and −1 mean the same on one node: the answer waits until the log's durability
//! (`log.durability`, by default a flush to stable storage) is reached. `acks` 0 is not answered,
//! and an error closes the connection, which is all that its client can notice.

use super::recompress::recompressed;
use super::record_errors::record_errors;
use super::{Broker, Call, Client, Code, Reply, Verdict};
use crate::blocking::blocking;
use crate::protocol::produce::{
    BatchIndexAndErrorMessage, PartitionProduceData, PartitionProduceResponse, TopicProduceData,
    TopicProduceResponse,
};
use crate::protocol::{ProduceRequest, ProduceResponse, Str};
use crate::topics::Topic;
use crate::txn::{Identity, TxnError};
use bytes::Bytes;
use oncelog::{
    AppendOptions, AppendTicket, Appended, Error, ErrorKind, Isolation, LeaderEpoch, Log,
    ProducerEpoch, ProducerId, Sequence, Verification, VerificationGuard,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// Position and size of a batch's attributes.
const ATTRIBUTES_AT: usize = 21;
/// Positions of the producer's fields.
const PRODUCER_ID_AT: usize = 43;
const PRODUCER_EPOCH_AT: usize = 51;
const BASE_SEQUENCE_AT: usize = 53;
const CODEC_MASK: i16 = 0b111;
const CODEC_ZSTD: i16 = 4;
const TRANSACTIONAL: i16 = 1 << 4;
/// The first version whose clients know zstd.
const ZSTD_SINCE: i16 = 7;

/// The first version whose clients know that a transaction can only be aborted (C-6).
const ABORTABLE_SINCE: i16 = 11;

/// A request of at most so many bytes is written by the thread that serves its connection: two
/// hand-offs between threads would cost it more than the write. A larger one would keep the
/// connection from reading on meanwhile, so it is only where the client sends nothing meanwhile.
const LEAD_BYTES_MAX: usize = 64 << 10;

/// How long an append that is refused for want of room waits for its own log before it tries again.
const BUSY_PATIENCE: Duration = Duration::from_millis(50);

/// What the partitions of a request have in common.
struct Asked {
    version: i16,
    transactional_id: Option<Str>,
    wait: Duration,
}

/// A topic of the answer, with what is still under way.
struct StagedTopic {
    name: Str,
    partitions: Vec<StagedPartition>,
}

/// A partition: refused, or appended and not acknowledged yet.
struct StagedPartition {
    index: i32,
    outcome: Result<(Log, AppendTicket), Refused>,
}

/// Why nothing was appended, or why it is not acknowledged.
struct Refused {
    code: Code,
    message: Option<String>,
    /// The records at fault, if it was not the whole batch.
    records: Vec<BatchIndexAndErrorMessage>,
    /// The log start offset, for the codes that carry it.
    log_start_offset: i64,
}

impl Refused {
    fn code(code: Code) -> Self {
        Self { code, message: None, records: Vec::new(), log_start_offset: -1 }
    }

    /// What the transaction coordinator said, in words that a producer of this version knows (P-24).
    fn by_coordinator(error: TxnError, version: i16) -> Self {
        Self::code(match error {
            TxnError::Concurrent | TxnError::NotAvailable => Code::NotEnoughReplicas,
            TxnError::ProducerFenced => Code::InvalidProducerEpoch,
            TxnError::Abortable if version >= ABORTABLE_SINCE => Code::TransactionAbortable,
            TxnError::InvalidProducerIdMapping => Code::InvalidProducerIdMapping,
            _ => Code::InvalidTxnState,
        })
    }

    fn by_engine(error: &Error, log: Option<&Log>) -> Self {
        let code = Code::from(error);
        let start = log.map_or(-1, |log| log.offsets().log_start_offset.get());
        let carries_start = matches!(
            code,
            Code::InvalidRecord
                | Code::InvalidTimestamp
                | Code::OutOfOrderSequence
                | Code::InvalidProducerEpoch
                | Code::InvalidTxnState
        );
        Self {
            code,
            message: Some(error.to_string()),
            records: Vec::new(),
            log_start_offset: if carries_start { start } else { -1 },
        }
    }
}

impl Broker {
    pub(super) async fn produce(
        &self,
        client: &Client,
        call: Call,
        request: ProduceRequest,
    ) -> Verdict {
        let acks = request.acks;
        let wait = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
        let (refusal, mut topics) = (whole_request_refusal(&request), Vec::new());
        let is_short = || records_bytes(&request) <= LEAD_BYTES_MAX;
        let leads = self.may_lead && (client.takes_turns || is_short());
        let asked =
            Asked { version: call.version, transactional_id: request.transactional_id, wait };
        for topic in request.topic_data {
            topics.push(self.stage_topic(&asked, refusal, topic).await);
        }
        if acks == 0 {
            let failed = topics.iter().flat_map(|t| &t.partitions).any(|p| p.outcome.is_err());
            return if failed { Verdict::Close } else { Verdict::Silent };
        }
        let acknowledged = async move {
            let deadline = Instant::now() + wait;
            if leads {
                lead(&topics);
            }
            let mut responses = Vec::with_capacity(topics.len());
            for topic in topics {
                responses.push(acknowledge(topic, deadline).await);
            }
            call.answer(ProduceResponse { responses, ..ProduceResponse::default() })
        };
        Verdict::Reply(Reply::Later(Box::pin(acknowledged)))
    }

    async fn stage_topic(
        &self,
        asked: &Asked,
        refusal: Option<Code>,
        data: TopicProduceData,
    ) -> StagedTopic {
        let topic = self.topics.find(&data.name);
        let mut partitions = Vec::with_capacity(data.partition_data.len());
        for partition in data.partition_data {
            let outcome = match (refusal, &topic) {
                (Some(code), _) => Err(Refused::code(code)),
                (None, None) => Err(Refused::code(Code::UnknownTopicOrPartition)),
                (None, Some(topic)) => self.stage(asked, topic, &partition).await,
            };
            partitions.push(StagedPartition { index: partition.index, outcome });
        }
        StagedTopic { name: data.name, partitions }
    }

    /// For the first batch of a transaction in a partition: the coordinator's word that it may go
    /// there, valid until a marker arrives (P-20 to P-24).
    fn verification(
        &self,
        asked: &Asked,
        topic: &Topic,
        index: i32,
        log: &Log,
        records: &[u8],
    ) -> Result<Option<VerificationGuard>, Refused> {
        let Some((by, base_sequence)) = transactional_producer(records) else { return Ok(None) };
        let id = asked.transactional_id.as_deref().unwrap_or_default();
        let verification = Verification::new(
            ProducerId::new(by.producer_id),
            ProducerEpoch::new(by.epoch),
            Sequence::new(base_sequence),
        );
        let guard = log.begin_verification(&verification);
        let guard = guard.map_err(|error| Refused::by_engine(&error, Some(log)))?;
        if guard.is_some() {
            let verified = self.transactions.verify(id, by, &topic.name, index);
            verified.map_err(|error| Refused::by_coordinator(error, asked.version))?;
        }
        Ok(guard)
    }

    /// Appends one partition's batch: its offsets are assigned when this returns.
    async fn stage(
        &self,
        asked: &Asked,
        topic: &Arc<Topic>,
        data: &PartitionProduceData,
    ) -> Result<(Log, AppendTicket), Refused> {
        let records = data.records.clone().unwrap_or_default();
        if records.is_empty() {
            return Err(Refused::code(Code::InvalidRecord));
        }
        let codec = attributes(&records).map(|attributes| attributes & CODEC_MASK);
        if asked.version < ZSTD_SINCE && codec == Some(CODEC_ZSTD) {
            return Err(Refused::code(Code::UnsupportedCompression));
        }
        if topic.internal {
            return Err(Refused::code(Code::InvalidTopic));
        }
        let log = self.topics.log(topic, data.index).await;
        let log = log.map_err(|error| Refused::by_engine(&error, None))?;
        let verification = self.verification(asked, topic, data.index, &log, &records)?;
        let records = stored_form(topic, records).await;
        let records = records.map_err(|error| Refused::by_engine(&error, Some(&log)))?;
        match append(&log, &records, verification, asked.wait).await {
            Ok(ticket) => Ok((log, ticket)),
            Err(error) => {
                let refused = Refused::by_engine(&error, Some(&log));
                let at_fault = record_errors(refused.code, &records, &topic.config);
                Err(Refused { records: at_fault, ..refused })
            }
        }
    }
}

/// The batch as the topic stores it. Recompressing takes long enough to be done elsewhere.
async fn stored_form(topic: &Topic, records: Bytes) -> oncelog::Result<Bytes> {
    let Some(codec) = topic.codec else { return Ok(records) };
    blocking(move || Ok(recompressed(&records, codec)?.unwrap_or(records))).await
}

/// Bytes of records in a request.
fn records_bytes(request: &ProduceRequest) -> usize {
    let partitions = request.topic_data.iter().flat_map(|topic| &topic.partition_data);
    partitions.map(|partition| partition.records.as_ref().map_or(0, Bytes::len)).sum()
}

/// Has what was staged written on this thread. Polled only when the connection had nothing more to
/// read, so that requests which came together share a write. One group carries all logs.
fn lead(topics: &[StagedTopic]) {
    let mut staged = topics
        .iter()
        .flat_map(|topic| &topic.partitions)
        .filter_map(|partition| partition.outcome.as_ref().ok().map(|(_, ticket)| ticket));
    if let Some(ticket) = staged.next() {
        ticket.lead();
    }
}

/// What refuses every partition of a request.
fn whole_request_refusal(request: &ProduceRequest) -> Option<Code> {
    if !matches!(request.acks, -1..=1) {
        return Some(Code::InvalidRequiredAcks);
    }
    let batches = request.topic_data.iter().flat_map(|topic| &topic.partition_data);
    let transactional = batches
        .filter_map(|partition| attributes(partition.records.as_deref()?))
        .any(|attributes| attributes & TRANSACTIONAL != 0);
    let nameless = transactional && request.transactional_id.is_none();
    nameless.then_some(Code::TransactionalIdAuthorizationFailed)
}

/// The attributes of a batch, if the bytes reach so far.
fn attributes(batch: &[u8]) -> Option<i16> {
    let bytes = batch.get(ATTRIBUTES_AT..)?.first_chunk()?;
    Some(i16::from_be_bytes(*bytes))
}

/// The producer of a transactional batch and its sequence; `None` if it is not one, or too short to
/// be: then the log refuses it.
fn transactional_producer(batch: &[u8]) -> Option<(Identity, i32)> {
    if attributes(batch)? & TRANSACTIONAL == 0 {
        return None;
    }
    let producer_id = i64::from_be_bytes(*batch.get(PRODUCER_ID_AT..)?.first_chunk()?);
    let epoch = i16::from_be_bytes(*batch.get(PRODUCER_EPOCH_AT..)?.first_chunk()?);
    let base_sequence = i32::from_be_bytes(*batch.get(BASE_SEQUENCE_AT..)?.first_chunk()?);
    Some((Identity { producer_id, epoch }, base_sequence))
}

/// Appends, waiting for the disk to make progress while too much is staged.
async fn append(
    log: &Log,
    records: &[u8],
    verification: Option<VerificationGuard>,
    wait: Duration,
) -> oncelog::Result<AppendTicket> {
    let mut options = AppendOptions::default();
    options.verification = verification;
    options.leader_epoch = Some(LeaderEpoch::new(0));
    let is_busy = |outcome: &oncelog::Result<AppendTicket>| {
        outcome.as_ref().is_err_and(|error| *error.kind() == ErrorKind::Busy)
    };
    let mut outcome = log.append(records, &options);
    if !is_busy(&outcome) {
        return outcome;
    }
    let deadline = Instant::now() + wait;
    while is_busy(&outcome) && Instant::now() < deadline {
        let progress = log.wait_for(log.offsets().high_watermark, Isolation::ReadUncommitted);
        // Another log's bytes may be what is in the way, so this one's progress is not all.
        let patience = deadline.min(Instant::now() + BUSY_PATIENCE);
        outcome = log.append(records, &options);
        if is_busy(&outcome) && timeout_at(patience, progress).await.is_ok_and(|r| r.is_err()) {
            break;
        }
    }
    outcome
}

async fn acknowledge(topic: StagedTopic, deadline: Instant) -> TopicProduceResponse {
    let mut partition_responses = Vec::with_capacity(topic.partitions.len());
    for partition in topic.partitions {
        let outcome = match partition.outcome {
            Ok((log, ticket)) => acknowledged(&log, ticket, deadline).await,
            Err(refused) => Err(refused),
        };
        partition_responses.push(answer(partition.index, outcome));
    }
    TopicProduceResponse {
        name: topic.name,
        partition_responses,
        ..TopicProduceResponse::default()
    }
}

async fn acknowledged(
    log: &Log,
    ticket: AppendTicket,
    deadline: Instant,
) -> Result<Appended, Refused> {
    let left = deadline.saturating_duration_since(Instant::now());
    match timeout(left, ticket).await {
        Ok(outcome) => outcome.map_err(|error| Refused::by_engine(&error, Some(log))),
        // The append goes on; a retry will find it as a duplicate.
        Err(_) => Err(Refused::code(Code::RequestTimedOut)),
    }
}

fn answer(index: i32, outcome: Result<Appended, Refused>) -> PartitionProduceResponse {
    match outcome {
        Ok(appended) => PartitionProduceResponse {
            index,
            base_offset: appended.base_offset.get(),
            log_append_time_ms: appended.log_append_time_ms,
            log_start_offset: appended.log_start_offset.get(),
            ..PartitionProduceResponse::default()
        },
        Err(refused) => PartitionProduceResponse {
            index,
            error_code: refused.code.get(),
            base_offset: -1,
            log_start_offset: refused.log_start_offset,
            record_errors: refused.records,
            error_message: refused.message.map(Str::from),
            ..PartitionProduceResponse::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An engine whose disk moves only when a test says so, with room for 1 MiB to wait.
    fn idle_engine(directory: &tempfile::TempDir) -> (oncelog::Engine, Log) {
        let mut options = oncelog::EngineOptions::new(directory.path());
        options.background = false;
        options.staged_bytes_max = 1 << 20;
        let engine = oncelog::Engine::open(options).unwrap();
        let name = oncelog::LogName::new("t", 0).unwrap();
        let log = engine.create_log(&name, [1; 16], oncelog::LogConfig::default()).unwrap();
        (engine, log)
    }

    fn large() -> Bytes {
        let mut builder = oncelog::batch::BatchBuilder::new();
        builder.append(0, None, Some(&vec![0; 600_000]), &[]).unwrap();
        builder.build().unwrap()
    }

    #[tokio::test]
    async fn what_finds_no_room_in_time_is_refused_with_a_code_that_is_retried() {
        let directory = tempfile::tempdir().unwrap();
        let (_engine, log) = idle_engine(&directory);
        let first = append(&log, &large(), None, Duration::ZERO).await.unwrap();
        let error = append(&log, &large(), None, Duration::ZERO).await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Busy);
        assert_eq!(Refused::by_engine(&error, Some(&log)).code, Code::NotEnoughReplicas);
        assert_eq!(log.offsets().log_end_offset.get(), 1, "nothing was appended");
        first.wait().unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_finds_no_room_waits_for_the_disk() {
        let directory = tempfile::tempdir().unwrap();
        let (_engine, log) = idle_engine(&directory);
        let first = append(&log, &large(), None, Duration::ZERO).await.unwrap();
        let waiting = async { append(&log, &large(), None, Duration::from_secs(20)).await };
        let moving = async {
            tokio::task::yield_now().await;
            blocking(move || first.wait()).await.unwrap()
        };
        let (second, _) = tokio::join!(waiting, moving);
        assert_eq!(second.unwrap().wait().unwrap().base_offset.get(), 1);
    }

    #[test]
    fn attributes_of_short_bytes_are_unknown() {
        assert_eq!(attributes(&[0; 22]), None);
        let mut batch = [0; 23];
        batch[22] = 0x14;
        assert_eq!(attributes(&batch), Some(0x14));
    }
}
