//! Kafka's metadata records, as far as a single node has something to say in them.
//!
//! ```text
//! frame version (1) │ record type │ record version │ fields, compact │ tagged fields
//!      uvarint           uvarint         uvarint
//! ```
//!
//! Only what we write is read back: TopicRecord, PartitionRecord, ConfigRecord, RemoveTopicRecord
//! and ProducerIdsRecord in version 0. Any other type or version is refused rather than guessed.

use std::fmt;

/// The 16 bytes that identify a topic for good.
pub(crate) type TopicId = [u8; 16];

const FRAME_VERSION: u32 = 1;
const RECORD_VERSION: u32 = 0;
const TOPIC: u32 = 2;
const PARTITION: u32 = 3;
const CONFIG: u32 = 4;
const REMOVE_TOPIC: u32 = 9;
const PRODUCER_IDS: u32 = 15;
/// ConfigRecord's resource type of topics.
const RESOURCE_TOPIC: u8 = 2;
/// The value of a tagged-field buffer without fields.
const NO_TAGS: u32 = 0;

/// One fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MetadataRecord {
    /// A topic exists. Its partitions and configuration follow in the same batch.
    Topic { name: String, id: TopicId },
    /// A topic has this partition, on this node.
    Partition { topic: TopicId, partition: i32, node_id: i32 },
    /// A topic was given this configuration; none withdraws it.
    Config { topic: String, key: String, value: Option<String> },
    /// The topic of this id is gone.
    RemoveTopic { id: TopicId },
    /// Producer ids below this one may have been handed out.
    ProducerIds { node_id: i32, next: i64 },
}

/// Why the bytes are none of these records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordError {
    Truncated,
    TrailingBytes,
    NotText,
    Unknown { record_type: u32, version: u32 },
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("it ends early"),
            Self::TrailingBytes => f.write_str("it does not end where it should"),
            Self::NotText => f.write_str("a name is not UTF-8"),
            Self::Unknown { record_type, version } => {
                write!(f, "it is of type {record_type} and version {version}")
            }
        }
    }
}

impl MetadataRecord {
    /// The bytes of the record's value.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Out(Vec::with_capacity(64));
        out.uvarint(FRAME_VERSION);
        out.uvarint(self.record_type());
        out.uvarint(RECORD_VERSION);
        match self {
            Self::Topic { name, id } => {
                out.string(Some(name));
                out.bytes(id);
            }
            Self::Partition { topic, partition, node_id } => {
                out.int32(*partition);
                out.bytes(topic);
                out.nodes(&[*node_id]);
                out.nodes(&[*node_id]);
                out.nodes(&[]);
                out.nodes(&[]);
                out.int32(*node_id);
                out.int32(0);
                out.int32(0);
            }
            Self::Config { topic, key, value } => {
                out.bytes(&[RESOURCE_TOPIC]);
                out.string(Some(topic));
                out.string(Some(key));
                out.string(value.as_deref());
            }
            Self::RemoveTopic { id } => out.bytes(id),
            Self::ProducerIds { node_id, next } => {
                out.int32(*node_id);
                out.int64(0);
                out.int64(*next);
            }
        }
        out.uvarint(NO_TAGS);
        out.0
    }

    fn record_type(&self) -> u32 {
        match self {
            Self::Topic { .. } => TOPIC,
            Self::Partition { .. } => PARTITION,
            Self::Config { .. } => CONFIG,
            Self::RemoveTopic { .. } => REMOVE_TOPIC,
            Self::ProducerIds { .. } => PRODUCER_IDS,
        }
    }

    /// Reads the value of a record.
    pub(crate) fn decode(value: &[u8]) -> Result<Self, RecordError> {
        let mut input = In(value);
        let (frame, record_type, version) = (input.uvarint()?, input.uvarint()?, input.uvarint()?);
        if frame != FRAME_VERSION || version != RECORD_VERSION {
            return Err(RecordError::Unknown { record_type, version });
        }
        let record = Self::decode_fields(record_type, version, &mut input)?;
        // Tagged fields would be additions that a reader may ignore; a missing count is damage.
        match input.uvarint()? {
            NO_TAGS if !input.0.is_empty() => Err(RecordError::TrailingBytes),
            _ => Ok(record),
        }
    }

    fn decode_fields(
        record_type: u32,
        version: u32,
        input: &mut In<'_>,
    ) -> Result<Self, RecordError> {
        match record_type {
            TOPIC => Ok(Self::Topic { name: input.required_string()?, id: input.array()? }),
            PARTITION => {
                let partition = input.int32()?;
                let topic = input.array()?;
                for _ in ["replicas", "in sync", "removing", "adding"] {
                    input.skip_nodes()?;
                }
                let node_id = input.int32()?;
                let (_leader_epoch, _partition_epoch) = (input.int32()?, input.int32()?);
                Ok(Self::Partition { topic, partition, node_id })
            }
            CONFIG => {
                let [_resource_type] = input.array()?;
                Ok(Self::Config {
                    topic: input.required_string()?,
                    key: input.required_string()?,
                    value: input.string()?,
                })
            }
            REMOVE_TOPIC => Ok(Self::RemoveTopic { id: input.array()? }),
            PRODUCER_IDS => {
                let node_id = input.int32()?;
                input.int64()?;
                Ok(Self::ProducerIds { node_id, next: input.int64()? })
            }
            _ => Err(RecordError::Unknown { record_type, version }),
        }
    }
}

struct Out(Vec<u8>);

impl Out {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn uvarint(&mut self, mut value: u32) {
        while value >= 0x80 {
            let [.., low] = value.to_be_bytes();
            self.0.push(low | 0x80);
            value >>= 7;
        }
        let [.., low] = value.to_be_bytes();
        self.0.push(low);
    }

    /// A compact length: one more than the length, 0 for null.
    fn length(&mut self, length: Option<usize>) {
        // Names and values come from requests bounded far below 4 GiB.
        self.uvarint(length.map_or(0, |n| u32::try_from(n).unwrap_or(u32::MAX - 1) + 1));
    }

    fn string(&mut self, text: Option<&str>) {
        self.length(text.map(str::len));
        self.bytes(text.unwrap_or_default().as_bytes());
    }

    fn nodes(&mut self, nodes: &[i32]) {
        self.length(Some(nodes.len()));
        nodes.iter().for_each(|node| self.int32(*node));
    }

    fn int32(&mut self, value: i32) {
        self.bytes(&value.to_be_bytes());
    }

    fn int64(&mut self, value: i64) {
        self.bytes(&value.to_be_bytes());
    }
}

struct In<'a>(&'a [u8]);

impl<'a> In<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], RecordError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(RecordError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(RecordError::Truncated)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn uvarint(&mut self) -> Result<u32, RecordError> {
        let mut value: u32 = 0;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array()?;
            value |= u32::from(byte & 0x7f).checked_shl(shift).unwrap_or_default();
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(RecordError::Truncated)
    }

    fn length(&mut self) -> Result<Option<usize>, RecordError> {
        let stated = self.uvarint()?;
        Ok(stated.checked_sub(1).and_then(|n| usize::try_from(n).ok()))
    }

    fn string(&mut self) -> Result<Option<String>, RecordError> {
        let Some(length) = self.length()? else { return Ok(None) };
        let text = std::str::from_utf8(self.take(length)?).or(Err(RecordError::NotText))?;
        Ok(Some(text.to_owned()))
    }

    fn required_string(&mut self) -> Result<String, RecordError> {
        self.string()?.ok_or(RecordError::Truncated)
    }

    fn skip_nodes(&mut self) -> Result<(), RecordError> {
        let count = self.length()?.unwrap_or_default();
        self.take(count.checked_mul(4).ok_or(RecordError::Truncated)?)?;
        Ok(())
    }

    fn int32(&mut self) -> Result<i32, RecordError> {
        self.array().map(i32::from_be_bytes)
    }

    fn int64(&mut self) -> Result<i64, RecordError> {
        self.array().map(i64::from_be_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<MetadataRecord> {
        let (topic, key) = ("a".repeat(200), "k".to_owned());
        vec![
            MetadataRecord::Topic { name: topic.clone(), id: [7; 16] },
            MetadataRecord::Partition { topic: [7; 16], partition: 3, node_id: 1 },
            MetadataRecord::Config { topic: topic.clone(), key: key.clone(), value: None },
            MetadataRecord::Config { topic, key, value: Some(String::new()) },
            MetadataRecord::RemoveTopic { id: [7; 16] },
            MetadataRecord::ProducerIds { node_id: 1, next: 2000 },
        ]
    }

    #[test]
    fn every_record_comes_back_as_written() {
        for record in samples() {
            assert_eq!(MetadataRecord::decode(&record.encode()), Ok(record));
        }
    }

    #[test]
    fn a_topic_record_is_kafkas() {
        let record = MetadataRecord::Topic { name: "ab".into(), id: [9; 16] };
        let mut expected = vec![1, 2, 0, 3, b'a', b'b'];
        expected.extend([9; 16]);
        expected.push(0);
        assert_eq!(record.encode(), expected);
    }

    #[test]
    fn damaged_records_are_refused_without_panic() {
        for record in samples() {
            let bytes = record.encode();
            for end in 0..bytes.len() {
                assert!(MetadataRecord::decode(&bytes[..end]).is_err());
            }
        }
        assert!(MetadataRecord::decode(&[1, 99, 0]).is_err());
        assert!(MetadataRecord::decode(&[1, 2, 0, 0xff, 0xff, 0xff, 0xff, 0x0f]).is_err());
    }
}
