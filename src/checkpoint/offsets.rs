//! A checkpoint of one offset per log, at the root of a data directory.
//!
//! ```text
//! 0                      version
//! 2                      number of lines that follow
//! orders 0 1042          topic, partition, offset
//! orders 1 17
//! ```

use super::{TextDamage, checkpoint_lines, encode_checkpoint};
use crate::options::LogName;
use crate::types::Offset;
use std::collections::BTreeMap;

/// One offset per log (D-46); the file's name says which.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OffsetCheckpoint {
    /// The offsets.
    pub(crate) offsets: BTreeMap<LogName, Offset>,
}

impl OffsetCheckpoint {
    /// The whole file, in name order.
    pub(crate) fn encode(&self) -> Vec<u8> {
        encode_checkpoint(self.offsets.iter().map(|(log, offset)| {
            let (topic, partition) = (log.topic(), log.partition());
            format!("{topic} {partition} {offset}")
        }))
    }

    /// Reads a file. An empty one holds no offsets. A log that is named twice is damage, for the
    /// two offsets cannot both be right.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, TextDamage> {
        let mut offsets = BTreeMap::new();
        for (number, line) in checkpoint_lines(bytes)? {
            let (log, offset) = parse_entry(line)
                .ok_or_else(|| TextDamage::malformed(number, "topic, partition and offset"))?;
            if offsets.insert(log, offset).is_some() {
                return Err(TextDamage::malformed(number, "a log that was not named before"));
            }
        }
        Ok(Self { offsets })
    }
}

fn parse_entry(line: &str) -> Option<(LogName, Offset)> {
    let mut words = line.split_whitespace();
    let (topic, partition) = (words.next()?, words.next()?.parse().ok()?);
    let offset = Offset::new(words.next()?.parse().ok()?);
    if words.next().is_some() || offset < Offset::ZERO {
        return None;
    }
    Some((LogName::new(topic, partition).ok()?, offset))
}
