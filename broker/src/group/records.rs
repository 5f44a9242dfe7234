//! The keys and values of `__consumer_offsets`, byte for byte as Kafka stores them (G-1, G-2).
//!
//! ```text
//! key    int16 kind; 0 and 1: group, topic, partition; 2: group; others belong to other protocols
//! value  int16 version; a missing value is a tombstone
//! ```
//!
//! Written: offset values in version 3 (1 with an explicit expiry), group values in version 3. Read:
//! 0 to 4 of both; 4 is the flexible form.

pub(super) use crate::state_log::fields::RecordError;

use crate::state_log::fields::{Reader, Result, Writer};
use bytes::Bytes;
use std::sync::Arc;

/// What a record is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// The committed offset of a partition.
    Offset {
        /// The group that committed.
        group: Arc<str>,
        /// The partition it committed for.
        partition: TopicPartition,
    },
    /// The state of a classic group.
    Group {
        /// The group.
        group: Arc<str>,
    },
    /// A kind of record this coordinator does not keep.
    Other(i16),
}

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct TopicPartition {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
}

/// A committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OffsetValue {
    pub(super) offset: i64,
    /// −1 if the client named none.
    pub(super) leader_epoch: i32,
    pub(super) metadata: Arc<str>,
    pub(super) commit_timestamp_ms: i64,
    /// Set if the client asked for a retention of its own.
    pub(super) expire_timestamp_ms: Option<i64>,
}

/// A classic group between rebalances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GroupValue {
    pub(super) protocol_type: Arc<str>,
    pub(super) generation: i32,
    pub(super) protocol: Option<Arc<str>>,
    pub(super) leader: Option<Arc<str>>,
    pub(super) state_since_ms: Option<i64>,
    pub(super) members: Vec<MemberValue>,
}

/// A member in a [`GroupValue`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MemberValue {
    pub(super) id: Arc<str>,
    pub(super) instance_id: Option<Arc<str>>,
    pub(super) client_id: Arc<str>,
    pub(super) client_host: Arc<str>,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) session_timeout_ms: i32,
    pub(super) subscription: Bytes,
    pub(super) assignment: Bytes,
}

const OFFSET_KEY: i16 = 1;
const GROUP_KEY: i16 = 2;
const VALUE_VERSION: i16 = 3;
const EXPIRING_OFFSET_VERSION: i16 = 1;
const FLEXIBLE_VERSION: i16 = 4;
/// The least a member takes in any version.
const MEMBER_BYTES_MIN: usize = 12;

impl Key {
    /// Reads a key.
    ///
    /// # Errors
    /// [`RecordError`] if a key of a known kind is damaged.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        match reader.i16()? {
            0 | OFFSET_KEY => {
                let group = reader.string()?;
                let topic = reader.string()?;
                let partition = TopicPartition { topic, partition: reader.i32()? };
                Ok(Self::Offset { group, partition })
            }
            GROUP_KEY => Ok(Self::Group { group: reader.string()? }),
            kind => Ok(Self::Other(kind)),
        }
    }
}

/// The key of a committed offset.
///
/// # Errors
/// [`RecordError::TooLong`].
pub(super) fn encode_offset_key(group: &str, partition: &TopicPartition) -> Result<Bytes> {
    let mut writer = Writer::new(OFFSET_KEY);
    writer.string(group)?;
    writer.string(&partition.topic)?;
    writer.i32(partition.partition);
    Ok(writer.finish())
}

/// The key of a group.
///
/// # Errors
/// [`RecordError::TooLong`].
pub(super) fn encode_group_key(group: &str) -> Result<Bytes> {
    let mut writer = Writer::new(GROUP_KEY);
    writer.string(group)?;
    Ok(writer.finish())
}

/// Reads a version and fits the reader to it.
fn versioned(bytes: &[u8]) -> Result<(Reader<'_>, i16)> {
    let mut reader = Reader::new(bytes);
    let version = reader.i16()?;
    if !(0..=FLEXIBLE_VERSION).contains(&version) {
        return Err(RecordError::UnknownVersion(version));
    }
    reader.flexible = version == FLEXIBLE_VERSION;
    Ok((reader, version))
}

impl OffsetValue {
    /// The value's bytes.
    ///
    /// # Errors
    /// [`RecordError::TooLong`].
    pub(super) fn encode(&self) -> Result<Bytes> {
        let version = match self.expire_timestamp_ms {
            Some(_) => EXPIRING_OFFSET_VERSION,
            None => VALUE_VERSION,
        };
        let mut writer = Writer::new(version);
        writer.i64(self.offset);
        if version >= 3 {
            writer.i32(self.leader_epoch);
        }
        writer.string(&self.metadata)?;
        writer.i64(self.commit_timestamp_ms);
        if let Some(expire_timestamp_ms) = self.expire_timestamp_ms {
            writer.i64(expire_timestamp_ms);
        }
        Ok(writer.finish())
    }

    /// Reads a value.
    ///
    /// # Errors
    /// [`RecordError`].
    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let (mut reader, version) = versioned(bytes)?;
        let offset = reader.i64()?;
        let leader_epoch = if version >= 3 { reader.i32()? } else { -1 };
        let metadata = reader.string()?;
        let commit_timestamp_ms = reader.i64()?;
        let expire = if version == EXPIRING_OFFSET_VERSION { reader.i64()? } else { -1 };
        let expire_timestamp_ms = Some(expire).filter(|&timestamp| timestamp != -1);
        reader.skip_tags()?;
        Ok(Self { offset, leader_epoch, metadata, commit_timestamp_ms, expire_timestamp_ms })
    }
}

impl GroupValue {
    /// The value's bytes.
    ///
    /// # Errors
    /// [`RecordError::TooLong`].
    pub(super) fn encode(&self) -> Result<Bytes> {
        let mut writer = Writer::new(VALUE_VERSION);
        writer.string(&self.protocol_type)?;
        writer.i32(self.generation);
        writer.nullable_string(self.protocol.as_deref())?;
        writer.nullable_string(self.leader.as_deref())?;
        writer.i64(self.state_since_ms.unwrap_or(-1));
        writer.count(self.members.len())?;
        for member in &self.members {
            member.encode(&mut writer)?;
        }
        Ok(writer.finish())
    }

    /// Reads a value.
    ///
    /// # Errors
    /// [`RecordError`].
    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let (mut reader, version) = versioned(bytes)?;
        let protocol_type = reader.string()?;
        let generation = reader.i32()?;
        let protocol = reader.nullable_string()?;
        let leader = reader.nullable_string()?;
        let since = if version >= 2 { reader.i64()? } else { -1 };
        let state_since_ms = Some(since).filter(|&timestamp| timestamp != -1);
        let count = reader.count(MEMBER_BYTES_MIN)?;
        let members = (0..count).map(|_| MemberValue::decode(&mut reader, version));
        let members = members.collect::<Result<Vec<_>>>()?;
        reader.skip_tags()?;
        Ok(Self { protocol_type, generation, protocol, leader, state_since_ms, members })
    }
}

impl MemberValue {
    fn encode(&self, writer: &mut Writer) -> Result<()> {
        writer.string(&self.id)?;
        writer.nullable_string(self.instance_id.as_deref())?;
        writer.string(&self.client_id)?;
        writer.string(&self.client_host)?;
        writer.i32(self.rebalance_timeout_ms);
        writer.i32(self.session_timeout_ms);
        writer.bytes(&self.subscription)?;
        writer.bytes(&self.assignment)
    }

    fn decode(reader: &mut Reader<'_>, version: i16) -> Result<Self> {
        let id = reader.string()?;
        let instance_id = if version >= 3 { reader.nullable_string()? } else { None };
        let client_id = reader.string()?;
        let client_host = reader.string()?;
        let rebalance = if version >= 1 { Some(reader.i32()?) } else { None };
        let session_timeout_ms = reader.i32()?;
        let subscription = reader.bytes()?;
        let assignment = reader.bytes()?;
        reader.skip_tags()?;
        Ok(Self {
            id,
            instance_id,
            client_id,
            client_host,
            // Version 0 had one timeout for both purposes.
            rebalance_timeout_ms: rebalance.unwrap_or(session_timeout_ms),
            session_timeout_ms,
            subscription,
            assignment,
        })
    }
}
