//! What the broker remembers: topics and producer ids, in a log of the engine.
//!
//! The log is `__oncelog_metadata-0` and its records are Kafka's own metadata records. One commit is
//! one record batch, so it is in the log as a whole or not at all, and it is durable before anything
//! depends on it. At start the log is replayed; when most of it is history it is written anew and
//! trimmed. The log's own 16-byte id is the cluster's id.

pub(crate) mod history;
pub(crate) mod record;

use crate::clock;
use oncelog::batch::{Batch, BatchBuilder, DecodeLimits};
use oncelog::{
    AppendOptions, CleanupPolicy, Durability, Engine, Error, ErrorKind, LeaderEpoch, Log,
    LogConfig, LogName, Origin, ReadOptions, Result,
};
use record::{MetadataRecord, TopicId};

/// The topic of the log, which no client can create (it answers 42).
const METADATA_TOPIC: &str = "__oncelog_metadata";
/// Bytes read at a time when replaying.
const REPLAY_BYTES: usize = 1 << 20;
/// Records of history that a start tolerates without writing the log anew.
const HISTORY_MAX: usize = 10_000;
/// Records of one batch when the log is written anew.
const REWRITE_BATCH: usize = 1000;
/// Largest commit: a topic with as many partitions as one may have.
const BATCH_BYTES_MAX: u32 = 16 << 20;

/// The log of the broker's own state.
#[derive(Clone, Debug)]
pub(crate) struct MetadataLog {
    log: Log,
    cluster_id: TopicId,
}

impl MetadataLog {
    /// Opens the log, creating it in a fresh directory, and returns everything in it.
    pub(crate) fn open(engine: &Engine) -> Result<(Self, Vec<MetadataRecord>)> {
        let name = LogName::new(METADATA_TOPIC, 0)?;
        let existing = engine.logs()?.into_iter().find(|(log, _)| *log == name);
        let (log, cluster_id) = match existing {
            Some((_, id)) => (engine.log(&name)?, id),
            None => {
                let id = clock::random_id();
                (engine.create_log(&name, id, log_config())?, id)
            }
        };
        log.set_config(log_config())?;
        let metadata = Self { log, cluster_id };
        let records = metadata.replay()?;
        Ok((metadata, records))
    }

    /// The id of the cluster, which is this node.
    pub(crate) fn cluster_id(&self) -> TopicId {
        self.cluster_id
    }

    /// Appends records as one batch; they are durable when this returns. Blocks.
    pub(crate) fn commit(&self, records: &[MetadataRecord]) -> Result<()> {
        let mut batch = BatchBuilder::new();
        let now_ms = clock::now_ms();
        for record in records {
            batch.append(now_ms, None, Some(&record.encode()), &[])?;
        }
        let mut options = AppendOptions::default();
        options.origin = Origin::Coordinator;
        options.leader_epoch = Some(LeaderEpoch::new(0));
        options.durability = Some(Durability::Durable);
        self.log.append(&batch.build()?, &options)?.wait()?;
        Ok(())
    }

    /// Writes the log anew if most of its records no longer matter. `live` replayed after the whole
    /// log changes nothing, so a crash in between is harmless.
    pub(crate) fn rewrite(&self, live: &[MetadataRecord], replayed: usize) -> Result<()> {
        if replayed <= HISTORY_MAX.max(2 * live.len()) {
            return Ok(());
        }
        let start = self.log.offsets().log_end_offset;
        for records in live.chunks(REWRITE_BATCH) {
            self.commit(records)?;
        }
        self.log.trim_before(start)?;
        Ok(())
    }

    fn replay(&self) -> Result<Vec<MetadataRecord>> {
        let mut records = Vec::new();
        let mut options = ReadOptions::default();
        options.max_bytes = REPLAY_BYTES;
        let mut offset = self.log.offsets().log_start_offset;
        while offset < self.log.offsets().high_watermark {
            let outcome = self.log.read(offset, &options)?;
            if outcome.next_offset <= offset {
                break;
            }
            offset = outcome.next_offset;
            for slice in &outcome.slices {
                decode_batches(slice, &mut records)?;
            }
        }
        Ok(records)
    }
}

fn decode_batches(mut slice: &[u8], records: &mut Vec<MetadataRecord>) -> Result<()> {
    while !slice.is_empty() {
        let (batch, rest) = Batch::parse(slice).map_err(|e| unreadable(&e))?;
        slice = rest;
        for record in batch.records(&DecodeLimits::default())?.iter() {
            let value = record?.value().unwrap_or_default().to_owned();
            records.push(MetadataRecord::decode(&value).map_err(|e| unreadable(&e))?);
        }
    }
    Ok(())
}

fn unreadable(what: &dyn std::fmt::Display) -> Error {
    let context = format!("{METADATA_TOPIC} holds a record this version cannot read: {what}");
    Error::new(ErrorKind::NewerFormat, context)
}

/// Kept for ever, whatever the defaults for clients' topics are.
fn log_config() -> LogConfig {
    let mut config = LogConfig::default();
    config.cleanup_policy = CleanupPolicy::Delete;
    config.retention_ms = -1;
    config.retention_bytes = -1;
    config.max_message_bytes = BATCH_BYTES_MAX;
    config.durability = Durability::Durable;
    config
}

#[cfg(test)]
mod tests {
    use super::*;
    use oncelog::EngineOptions;

    fn ids(count: i64) -> Vec<MetadataRecord> {
        (0..count).map(|next| MetadataRecord::ProducerIds { node_id: 0, next }).collect()
    }

    #[test]
    fn history_is_written_anew_once_there_is_enough_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let engine = Engine::open(EngineOptions::new(directory.path())).unwrap();
        let (metadata, records) = MetadataLog::open(&engine).unwrap();
        assert!(records.is_empty());
        let history = ids(12_000);
        for records in history.chunks(4000) {
            metadata.commit(records).unwrap();
        }
        let live = ids(3);
        metadata.rewrite(&live, HISTORY_MAX).unwrap();
        assert_eq!(metadata.replay().unwrap(), history, "too little of it");
        metadata.rewrite(&live, history.len()).unwrap();
        assert_eq!(metadata.replay().unwrap(), live);
        let id = metadata.cluster_id();
        engine.close().unwrap();
        drop((metadata, engine));
        let engine = Engine::open(EngineOptions::new(directory.path())).unwrap();
        let (metadata, records) = MetadataLog::open(&engine).unwrap();
        assert_eq!((metadata.cluster_id(), records), (id, live));
    }

    #[test]
    fn a_record_of_a_newer_version_is_refused_and_not_guessed() {
        let directory = tempfile::tempdir().unwrap();
        let engine = Engine::open(EngineOptions::new(directory.path())).unwrap();
        let (metadata, _) = MetadataLog::open(&engine).unwrap();
        let mut batch = BatchBuilder::new();
        batch.append(0, None, Some(&[1, 2, 9]), &[]).unwrap();
        let mut options = AppendOptions::default();
        options.origin = Origin::Coordinator;
        metadata.log.append(&batch.build().unwrap(), &options).unwrap().wait().unwrap();
        let error = metadata.replay().unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::NewerFormat);
    }
}
