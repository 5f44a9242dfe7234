//! Control batches: the markers that end transactions (D-22 to D-25).

use super::header::{CONTROL, Fields, HEADER_BYTES, MAGIC, TRANSACTIONAL};
use super::varint::{Cursor, Fault};
use super::{Batch, DecodeLimits};
use crate::error::{Error, ErrorKind, Result};
use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

/// The size of the batch that [`marker_batch`] makes (D-24).
pub const MARKER_BATCH_BYTES: usize = 78;

const RECORD_BYTES: usize = 17;
const _: () = assert!(HEADER_BYTES + RECORD_BYTES == MARKER_BATCH_BYTES, "INV-MARKER-SIZE");

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "a transaction has no third end")]
pub enum MarkerKind {
    /// Its records are to be skipped by `ReadCommitted` readers.
    Abort,
    /// Its records count.
    Commit,
}

/// The end of a producer's transaction in one log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct EndMarker {
    /// How it ended.
    pub kind: MarkerKind,
    /// The epoch of the transaction coordinator that decided it.
    pub coordinator_epoch: i32,
}

impl EndMarker {
    /// The end `kind`, decided by the coordinator in `coordinator_epoch`.
    #[must_use]
    pub const fn new(kind: MarkerKind, coordinator_epoch: i32) -> Self {
        Self { kind, coordinator_epoch }
    }
}

impl Batch<'_> {
    /// The marker in this batch. `None` for a batch of a program's records, for a control batch that
    /// compaction emptied (D-25, P-19), and for the control records of other purposes, known to
    /// Kafka or not (D-22).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidBatch`] if the control record cannot be read.
    pub fn end_marker(&self) -> Result<Option<EndMarker>> {
        if !self.is_control() || self.record_count() == 0 {
            return Ok(None);
        }
        let records = self.records(&DecodeLimits::default())?;
        let Some(record) = records.iter().next().transpose()? else {
            return Ok(None);
        };
        parse_marker(record.key(), record.value()).map_err(|fault| {
            Error::new(ErrorKind::InvalidBatch, format!("the control record of {self}: {fault}"))
        })
    }
}

/// Newer versions may be longer: only a negative version and missing bytes are faults (D-22, D-23).
fn parse_marker(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Option<EndMarker>, Fault> {
    let mut key = Cursor::new(key.ok_or("its key is null")?);
    check_version(&mut key)?;
    let kind = match i16::from_be_bytes(key.array()?) {
        ABORT => MarkerKind::Abort,
        COMMIT => MarkerKind::Commit,
        _ => return Ok(None),
    };
    let mut value = Cursor::new(value.ok_or("its value is null")?);
    check_version(&mut value)?;
    let coordinator_epoch = i32::from_be_bytes(value.array()?);
    Ok(Some(EndMarker { kind, coordinator_epoch }))
}

fn check_version(cursor: &mut Cursor<'_>) -> Result<(), Fault> {
    let version = i16::from_be_bytes(cursor.array()?);
    if version < 0 { Err("its version is negative") } else { Ok(()) }
}

const ABORT: i16 = 0;
const COMMIT: i16 = 1;

/// The batch that ends the transaction of `producer_id` as `marker` says, byte for byte as Kafka
/// writes it (D-24).
#[must_use]
pub fn marker_batch(
    base_offset: Offset,
    leader_epoch: LeaderEpoch,
    producer_id: ProducerId,
    producer_epoch: ProducerEpoch,
    marker: EndMarker,
    timestamp_ms: i64,
) -> [u8; MARKER_BATCH_BYTES] {
    /// What follows the length field.
    const LENGTH: i32 = 66;
    let record = marker_record(marker);
    let fields = Fields {
        base_offset: base_offset.get(),
        length: LENGTH,
        leader_epoch: leader_epoch.get(),
        magic: MAGIC,
        crc: 0,
        attributes: TRANSACTIONAL | CONTROL,
        last_offset_delta: 0,
        base_timestamp_ms: timestamp_ms,
        max_timestamp_ms: timestamp_ms,
        producer_id: producer_id.get(),
        producer_epoch: producer_epoch.get(),
        base_sequence: -1,
        record_count: 1,
    };
    let mut out = [0; MARKER_BATCH_BYTES];
    out[..HEADER_BYTES].copy_from_slice(&fields.seal(&record));
    out[HEADER_BYTES..].copy_from_slice(&record);
    out
}

/// A record of fixed size; its lengths are zigzag varints of one byte: 16, 4 and 6.
fn marker_record(marker: EndMarker) -> [u8; RECORD_BYTES] {
    let kind: u8 = match marker.kind {
        MarkerKind::Abort => 0,
        MarkerKind::Commit => 1,
    };
    let [e0, e1, e2, e3] = marker.coordinator_epoch.to_be_bytes();
    [0x20, 0, 0, 0, 0x08, 0, 0, 0, kind, 0x0c, 0, 0, e0, e1, e2, e3, 0]
}
