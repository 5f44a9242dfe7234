//! The keys and values of `__transaction_state`, byte for byte as Kafka stores them (C-40).
//!
//! ```text
//! key    int16 kind = 0 | transactional id: string
//! value  int16 version; a missing value is a tombstone
//! ```
//!
//! Written: version 1, the flexible form, with the tags of the schema that Kafka reads and never
//! writes, and one of our own that others skip (C-43). Read: 0 and 1.

use super::state::{Partition, State, Transaction};
use crate::state_log::fields::{Reader, RecordError, Result, Writer};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;

const KEY_KIND: i16 = 0;
const VALUE_VERSION: i16 = 1;
const TAG_PREVIOUS_PRODUCER_ID: u32 = 0;
/// Ours: the epoch before the last one, which tells a retry of InitProducerId after a restart.
const TAG_LAST_PRODUCER_EPOCH: u32 = 1000;
/// A topic: the length of its name and of its partitions, and the tags.
const TOPIC_BYTES_MIN: usize = 3;

/// What a record is about: a transactional id, or something of another version.
pub(super) fn decode_key(key: &[u8]) -> Result<Arc<str>> {
    let mut reader = Reader::new(key);
    match reader.i16()? {
        KEY_KIND => reader.string(),
        other => Err(RecordError::UnknownVersion(other)),
    }
}

pub(super) fn encode_key(transactional_id: &str) -> Result<Bytes> {
    let mut writer = Writer::new(KEY_KIND);
    writer.string(transactional_id)?;
    Ok(writer.finish())
}

impl Transaction {
    pub(super) fn encode(&self) -> Result<Bytes> {
        let mut writer = Writer::new(VALUE_VERSION);
        writer.i64(self.producer_id);
        writer.i16(self.producer_epoch);
        writer.i32(self.timeout_ms);
        writer.i8(self.state.id());
        self.encode_partitions(&mut writer)?;
        writer.i64(self.last_update_ms);
        writer.i64(self.start_ms);
        let previous = self.previous_producer_id.to_be_bytes();
        let last_epoch = self.last_producer_epoch.to_be_bytes();
        let mut tags: Vec<(u32, &[u8])> = Vec::new();
        if self.previous_producer_id >= 0 {
            tags.push((TAG_PREVIOUS_PRODUCER_ID, &previous));
        }
        if self.last_producer_epoch >= 0 {
            tags.push((TAG_LAST_PRODUCER_EPOCH, &last_epoch));
        }
        writer.tags(&tags)?;
        Ok(writer.finish())
    }

    /// Null while nothing was added (C-41).
    fn encode_partitions(&self, writer: &mut Writer) -> Result<()> {
        if self.state == State::Empty {
            return writer.compact_count(None);
        }
        let mut topics: Vec<(&str, Vec<i32>)> = Vec::new();
        for (topic, partition) in &self.partitions {
            match topics.last_mut() {
                Some((last, partitions)) if *last == &**topic => partitions.push(*partition),
                _ => topics.push((topic, vec![*partition])),
            }
        }
        writer.compact_count(Some(topics.len()))?;
        for (topic, partitions) in topics {
            writer.compact_string(topic)?;
            writer.compact_count(Some(partitions.len()))?;
            partitions.into_iter().for_each(|partition| writer.i32(partition));
            writer.tags(&[])?;
        }
        Ok(())
    }

    pub(super) fn decode(value: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(value);
        let version = reader.i16()?;
        if !matches!(version, 0 | 1) {
            return Err(RecordError::UnknownVersion(version));
        }
        reader.flexible = version == 1;
        let producer_id = reader.i64()?;
        let producer_epoch = reader.i16()?;
        let timeout_ms = reader.i32()?;
        let state = State::from_id(reader.i8()?).ok_or(RecordError::BadLength)?;
        let partitions = decode_partitions(&mut reader)?;
        let last_update_ms = reader.i64()?;
        let start_ms = reader.i64()?;
        let (mut previous_producer_id, mut last_producer_epoch) = (-1, -1);
        reader.tags(|tag, field| {
            match tag {
                TAG_PREVIOUS_PRODUCER_ID => previous_producer_id = field.i64()?,
                TAG_LAST_PRODUCER_EPOCH => last_producer_epoch = field.i16()?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(Self {
            producer_id,
            previous_producer_id,
            producer_epoch,
            last_producer_epoch,
            timeout_ms,
            state,
            partitions,
            last_update_ms,
            start_ms,
        })
    }
}

fn decode_partitions(reader: &mut Reader<'_>) -> Result<BTreeSet<Partition>> {
    let mut all = BTreeSet::new();
    for _topic in 0..reader.nullable_count(TOPIC_BYTES_MIN)?.unwrap_or(0) {
        let topic = reader.string()?;
        for _partition in 0..reader.count(size_of::<i32>())? {
            all.insert((topic.clone(), reader.i32()?));
        }
        reader.skip_tags()?;
    }
    Ok(all)
}
