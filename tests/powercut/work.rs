//! What is written. A batch follows from its producer and its number alone, so that a retry is equal
//! to the first attempt and every stored byte can be checked without having been remembered.

use crate::child::Life;
use oncelog::batch::{BatchBuilder, EndMarker, MarkerKind, marker_batch};
use oncelog::{EngineOptions, LeaderEpoch, LogName, Offset, ProducerEpoch, ProducerId, Sequence};
use std::path::Path;

pub(crate) const LOGS: usize = 3;
pub(crate) const ID: [u8; 16] = [3; 16];
/// Idempotent producer n writes to log n.
pub(crate) const FIRST_IDEMPOTENT: i64 = 100;
/// Each life of the child has a transactional producer of its own.
pub(crate) const FIRST_TRANSACTIONAL: i64 = 1000;
const TIME_MS: i64 = 1_700_000_000_000;
const EPOCH: ProducerEpoch = ProducerEpoch::new(0);

pub(crate) fn name(log: usize) -> LogName {
    LogName::new("cut", i32::try_from(log).unwrap()).unwrap()
}

pub(crate) fn options(life: &Life, directory: &Path) -> EngineOptions {
    let mut options = EngineOptions::new(directory);
    options.backend = life.backend;
    options.checkpoint_bytes = 1 << 20;
    options.planted.ack_before_flush = life.plant_early_acks;
    // Large enough that blocks are prepared ahead, small enough to roll between two cuts.
    options.log.segment_bytes = 512 << 10;
    options.log.retention_ms = -1;
    options
}

/// Records of batch `number`: one to four.
fn count(number: u64) -> u64 {
    1 + number % 4
}

fn first_sequence(number: u64) -> i32 {
    let whole = number / 4 * 10;
    i32::try_from(whole + (0..number % 4).map(count).sum::<u64>()).unwrap()
}

/// Batch `number` of a producer.
pub(crate) fn batch(pid: i64, number: u64) -> Vec<u8> {
    let sequence = Sequence::new(first_sequence(number));
    let mut builder = BatchBuilder::new().producer(ProducerId::new(pid), EPOCH, sequence);
    if pid >= FIRST_TRANSACTIONAL {
        builder = builder.transactional();
    }
    for record in 0..count(number) {
        let value = value(pid, number, record);
        builder.append(TIME_MS, None, Some(value.as_bytes()), &[]).unwrap();
    }
    builder.build().unwrap().to_vec()
}

/// `producer/batch/record/` and as many letters as chance, told by those three, wants.
fn value(pid: i64, number: u64, record: u64) -> String {
    let mixed =
        (pid.unsigned_abs() << 40 ^ number << 8 ^ record).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mixed = mixed >> 32;
    let len = match mixed % 40 {
        0 => 40_000,
        1..4 => 5_000,
        _ => mixed % 700,
    };
    let letter = char::from(b'a' + u8::try_from(mixed % 26).unwrap());
    let filler = letter.to_string().repeat(usize::try_from(len).unwrap());
    format!("{pid}/{number}/{record}/{filler}")
}

/// Producer and number of a batch, told by the value of its first record.
pub(crate) fn parse(value: &[u8]) -> Option<(i64, u64)> {
    let text = std::str::from_utf8(value).ok()?;
    let mut parts = text.split('/');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

pub(crate) fn marker(pid: i64, commit: bool) -> Vec<u8> {
    let kind = if commit { MarkerKind::Commit } else { MarkerKind::Abort };
    let marker = EndMarker::new(kind, 0);
    marker_batch(Offset::ZERO, LeaderEpoch::NONE, ProducerId::new(pid), EPOCH, marker, TIME_MS)
        .to_vec()
}

/// The two logs of transaction `number`, and whether it commits.
pub(crate) fn transaction(number: u64) -> ([usize; 2], bool) {
    let first = usize::try_from(number).unwrap() % LOGS;
    ([first, (first + 1) % LOGS], number % 3 != 1)
}

/// A sum over a whole batch as it is stored, header and all.
pub(crate) fn checksum(batch: &[u8]) -> u32 {
    crc32c::crc32c(batch)
}
