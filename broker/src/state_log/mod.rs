//! The logs in which coordinators keep their state: records under keys, the last of each key counting.
//!
//! [`Journal`] is what a coordinator needs of its topic; [`EngineJournal`] is that topic in an engine.

mod engine;
pub(crate) mod fields;

pub(crate) use engine::EngineJournal;

use bytes::Bytes;
use oncelog::{ProducerEpoch, ProducerId, VerificationGuard};
use std::fmt;
use std::future::Future;
use std::pin::Pin;

/// A record to append; without a value it removes its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: Bytes,
    pub(crate) value: Option<Bytes>,
}

/// An append under way.
pub(crate) struct Written {
    /// The log offset of the first record; the others follow.
    pub(crate) base_offset: i64,
    /// Resolves when the records will survive a power cut, or may not have been stored.
    pub(crate) stored: Pin<Box<dyn Future<Output = oncelog::Result<()>> + Send>>,
}

/// One thing found while reading a partition from its start.
#[derive(Clone, Debug)]
pub(crate) enum Replayed<'a> {
    /// A record.
    Record {
        offset: i64,
        /// The producer whose undecided transaction it belongs to.
        producer_id: Option<i64>,
        key: &'a [u8],
        value: Option<&'a [u8]>,
    },
    /// The end of a producer's transaction.
    Marker { producer_id: i64, commit: bool },
    /// A range that cannot be read, and why.
    Damage(String),
}

/// The producer whose transaction a record belongs to.
#[derive(Clone, Debug)]
pub(crate) struct TxnProducer {
    pub(crate) id: ProducerId,
    pub(crate) epoch: ProducerEpoch,
    /// What [`Journal::begin_verification`] gave.
    pub(crate) guard: Option<VerificationGuard>,
}

/// The partitions of a coordinator's topic.
pub(crate) trait Journal: Send + Sync + fmt::Debug + 'static {
    /// Which partitions exist, in order.
    fn partitions(&self) -> oncelog::Result<Vec<i32>>;

    /// Whether `partition` can be appended to without creating it.
    fn is_open(&self, partition: i32) -> bool;

    /// Creates or opens `partition`. Blocks.
    fn open(&self, partition: i32) -> oncelog::Result<()>;

    /// Appends one batch to an open partition. Uses the CPU only.
    fn append(&self, partition: i32, now_ms: i64, entries: &[Entry]) -> oncelog::Result<Written>;

    /// Prepares the first append of a producer's transaction to an open partition (P-20); `None` if
    /// it has appended there already.
    fn begin_verification(
        &self,
        partition: i32,
        id: ProducerId,
        epoch: ProducerEpoch,
    ) -> oncelog::Result<Option<VerificationGuard>>;

    /// [`Journal::append`] as a part of a producer's transaction.
    fn append_in_transaction(
        &self,
        partition: i32,
        now_ms: i64,
        entries: &[Entry],
        producer: TxnProducer,
    ) -> oncelog::Result<Written>;

    /// The log start offset and the log end offset of an open partition.
    fn bounds(&self, partition: i32) -> oncelog::Result<(i64, i64)>;

    /// Lets go of everything in an open partition before offset `before`. Blocks.
    fn trim(&self, partition: i32, before: i64) -> oncelog::Result<()>;

    /// Reads `partition` from its start to its end. Blocks.
    fn replay(&self, partition: i32, visit: &mut dyn FnMut(Replayed<'_>)) -> oncelog::Result<()>;
}

/// Which partition keeps a group or a transactional id (G-3, C-39): Java's string hash, made positive by its true absolute
/// value; the one value that has none counts as 0.
pub(crate) fn partition_of(id: &str, partitions: i32) -> i32 {
    let hash = id.encode_utf16().fold(0_i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit.cast_signed()) & 0xffff)
    });
    hash.checked_abs().unwrap_or(0).checked_rem(partitions.max(1)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    // The vectors of section 12.4; G-3, C-39.
    #[test]
    fn an_id_lives_where_kafka_would_put_it() {
        let vectors = [
            ("", 0),
            ("my-group", 12),
            ("my-transactional-id", 46),
            ("test-group", 12),
            ("txn-1", 10),
            ("connect-cluster", 13),
            ("polygenelubricants", 0),
            ("日本", 47),
            ("\u{1F600}", 49),
        ];
        for (id, partition) in vectors {
            assert_eq!(partition_of(id, 50), partition, "{id}");
        }
    }
}
