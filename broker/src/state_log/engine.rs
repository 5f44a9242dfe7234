//! A coordinator's topic as logs of the engine, one per partition, created when first written to.

use super::{Entry, Journal, Replayed, TxnProducer, Written};
use oncelog::batch::{Batch, BatchBuilder, DecodeLimits, MarkerKind};
use oncelog::{
    AppendOptions, CleanupPolicy, Durability, Engine, Error, ErrorKind, Log, LogConfig, LogName,
    Offset, Origin, ProducerEpoch, ProducerId, ReadOptions, Result, Sequence, Verification,
    VerificationGuard,
};
use parking_lot::Mutex;
use std::collections::BTreeMap;

/// Its segments are small, as Kafka's are: they are read in full at every start (G-3).
const SEGMENT_BYTES: u32 = 104_857_600;
/// A group's record holds every member's metadata and assignment.
const BATCH_BYTES_MAX: u32 = 64 << 20;

/// The engine's side of the coordinator's log.
#[derive(Debug)]
pub(crate) struct EngineJournal {
    topic: &'static str,
    engine: Engine,
    /// The id of the topic, for partitions that do not exist yet.
    topic_id: [u8; 16],
    logs: Mutex<BTreeMap<i32, Log>>,
}

impl EngineJournal {
    /// The logs of `topic` in `engine`.
    pub(crate) fn new(engine: &Engine, topic: &'static str, topic_id: [u8; 16]) -> Self {
        Self { topic, engine: engine.clone(), topic_id, logs: Mutex::default() }
    }

    /// The log of an open partition.
    pub(crate) fn log(&self, partition: i32) -> Result<Log> {
        let log = self.logs.lock().get(&partition).cloned();
        log.ok_or_else(|| {
            let context = format!("partition {partition} of {} is not open", self.topic);
            Error::new(ErrorKind::NotFound, context)
        })
    }

    fn append_batch(
        &self,
        partition: i32,
        batch: BatchBuilder,
        options: &AppendOptions,
    ) -> Result<Written> {
        let ticket = self.log(partition)?.append(&batch.build()?, options)?;
        let base_offset = ticket.appended().base_offset.get();
        Ok(Written { base_offset, stored: Box::pin(async move { ticket.await.map(drop) }) })
    }
}

fn config() -> LogConfig {
    let mut config = LogConfig::default();
    config.segment_bytes = SEGMENT_BYTES;
    config.max_message_bytes = BATCH_BYTES_MAX;
    config.retention_ms = -1;
    config.retention_bytes = -1;
    config.cleanup_policy = CleanupPolicy::Compact;
    config.durability = Durability::Durable;
    config.transaction_verification = true;
    config
}

fn options() -> AppendOptions {
    let mut options = AppendOptions::default();
    options.origin = Origin::Coordinator;
    options.durability = Some(Durability::Durable);
    options
}

fn batch_of(now_ms: i64, entries: &[Entry]) -> Result<BatchBuilder> {
    let mut builder = BatchBuilder::new();
    for entry in entries {
        builder.append(now_ms, Some(&entry.key), entry.value.as_deref(), &[])?;
    }
    Ok(builder)
}

impl Journal for EngineJournal {
    fn partitions(&self) -> Result<Vec<i32>> {
        let logs = self.engine.logs()?;
        let own = logs.iter().filter(|(name, _)| name.topic() == self.topic);
        Ok(own.map(|(name, _)| name.partition()).collect())
    }

    fn is_open(&self, partition: i32) -> bool {
        self.logs.lock().contains_key(&partition)
    }

    fn open(&self, partition: i32) -> Result<()> {
        if self.is_open(partition) {
            return Ok(());
        }
        let name = LogName::new(self.topic, partition)?;
        let log = match self.engine.create_log(&name, self.topic_id, config()) {
            Err(error) if *error.kind() == ErrorKind::AlreadyExists => {
                let log = self.engine.log(&name)?;
                log.set_config(config())?;
                log
            }
            created => created?,
        };
        self.logs.lock().insert(partition, log);
        Ok(())
    }

    fn append(&self, partition: i32, now_ms: i64, entries: &[Entry]) -> Result<Written> {
        self.append_batch(partition, batch_of(now_ms, entries)?, &options())
    }

    fn begin_verification(
        &self,
        partition: i32,
        id: ProducerId,
        epoch: ProducerEpoch,
    ) -> Result<Option<VerificationGuard>> {
        self.log(partition)?.begin_verification(&Verification::new(id, epoch, Sequence::NONE))
    }

    fn append_in_transaction(
        &self,
        partition: i32,
        now_ms: i64,
        entries: &[Entry],
        producer: TxnProducer,
    ) -> Result<Written> {
        let batch = batch_of(now_ms, entries)?
            .producer(producer.id, producer.epoch, Sequence::NONE)
            .transactional();
        let mut options = options();
        options.verification = producer.guard;
        self.append_batch(partition, batch, &options)
    }

    fn bounds(&self, partition: i32) -> Result<(i64, i64)> {
        let offsets = self.log(partition)?.offsets();
        Ok((offsets.log_start_offset.get(), offsets.log_end_offset.get()))
    }

    fn trim(&self, partition: i32, before: i64) -> Result<()> {
        self.log(partition)?.trim_before(Offset::new(before)).map(drop)
    }

    fn replay(&self, partition: i32, visit: &mut dyn FnMut(Replayed<'_>)) -> Result<()> {
        let log = self.log(partition)?;
        let mut offset = log.offsets().log_start_offset;
        while offset < log.offsets().high_watermark {
            let next = match replay_from(&log, offset, visit) {
                Err(error) => match *error.kind() {
                    // The range stays unreadable; what was committed after it counts all the same.
                    ErrorKind::Corrupt { next, .. } => {
                        visit(Replayed::Damage(error.to_string()));
                        next
                    }
                    _ => return Err(error),
                },
                Ok(next) => next,
            };
            if next <= offset {
                let context = format!("reading {} stands still at {offset}", log.name());
                return Err(Error::new(ErrorKind::Io, context));
            }
            offset = next;
        }
        Ok(())
    }
}

/// Replays one read; returns where to go on.
fn replay_from(log: &Log, from: Offset, visit: &mut dyn FnMut(Replayed<'_>)) -> Result<Offset> {
    let outcome = log.read(from, &ReadOptions::default())?;
    for slice in &outcome.slices {
        replay_slice(slice, from, visit)?;
    }
    Ok(outcome.next_offset)
}

fn replay_slice(mut rest: &[u8], from: Offset, visit: &mut dyn FnMut(Replayed<'_>)) -> Result<()> {
    while !rest.is_empty() {
        let (batch, after) = Batch::parse(rest)?;
        rest = after;
        replay_batch(&batch, from, visit)?;
    }
    Ok(())
}

fn replay_batch(
    batch: &Batch<'_>,
    from: Offset,
    visit: &mut dyn FnMut(Replayed<'_>),
) -> Result<()> {
    let producer_id = batch.producer_id().get();
    if batch.is_control() {
        if let Some(marker) = batch.end_marker()? {
            visit(Replayed::Marker { producer_id, commit: marker.kind == MarkerKind::Commit });
        }
        return Ok(());
    }
    let records = batch.records(&DecodeLimits::default())?;
    for record in &records {
        let record = record?;
        if record.offset() < from {
            continue;
        }
        let Some(key) = record.key() else { continue };
        visit(Replayed::Record {
            offset: record.offset().get(),
            producer_id: batch.is_transactional().then_some(producer_id),
            key,
            value: record.value(),
        });
    }
    Ok(())
}
