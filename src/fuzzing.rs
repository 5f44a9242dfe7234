//! Doors for the fuzz targets into what has no public name: the readers of small files.
//!
//! Each takes the bytes of a file. They may be refused; if they are taken, what was read must
//! survive being written, answer as a plain look at the bytes does, and be of use. A broken promise
//! is a panic.

use crate::checkpoint::{MetaProperties, OffsetCheckpoint, PartitionMetadata};
use crate::epoch::LeaderEpochCache;
use crate::index::{AbortedIndex, OffsetIndex, SegmentIndexer, TimeIndex};
use crate::producer::{
    BatchFacts, ControlKind, ProducerLimits, ProducerTable, RestoreAt, snapshot, state,
};
use crate::types::Origin;
use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence};

const NOW_MS: i64 = 1_700_000_000_000;
const LIMITS: (usize, i64) = (64, 86_400_000);
/// Base offset of the segment whose index is read.
const BASE: Offset = Offset::new(1000);

fn restore_at() -> (ProducerLimits, RestoreAt) {
    let at = RestoreAt { now_ms: NOW_MS, log_start: Offset::ZERO };
    (ProducerLimits::new(LIMITS.0, LIMITS.1), at)
}

/// A `.snapshot`.
pub fn snapshot(bytes: &[u8]) {
    let (limits, at) = restore_at();
    let Ok(table) = ProducerTable::restore_snapshot(limits, bytes, at) else { return };
    let written = snapshot::encode(&table);
    let again = ProducerTable::restore_snapshot(limits, &written, at);
    let again = again.expect("what was written is read");
    assert_eq!(snapshot::encode(&again), written);
    exercise(table);
}

/// A `.state`.
pub fn state(bytes: &[u8]) {
    let (limits, at) = restore_at();
    let Ok((table, end, beside)) = ProducerTable::restore_state(limits, bytes, at) else { return };
    let written = state::encode(&table, end, &beside);
    let again = ProducerTable::restore_state(limits, &written, at);
    let (again, end_again, beside_again) = again.expect("what was written is read");
    let written_again = state::encode(&again, end_again, &beside_again);
    assert_eq!((written_again, end_again, beside_again), (written, end, beside));
    assert_eq!(again.first_unstable_offset(), table.first_unstable_offset());
    exercise(table);
}

/// A record of the transaction log. What is taken is written as the same bytes.
pub fn transaction_record(bytes: &[u8]) {
    crate::txn::check_record(bytes);
}

/// Every producer of the table, and one more, goes on: data, a retry of it, the end of a transaction.
fn exercise(mut table: ProducerTable) {
    let mut ids: Vec<ProducerId> = table.describe().iter().map(|p| p.producer_id).collect();
    assert!(ids.len() <= LIMITS.0 + table.open_transactions().count(), "the cap on producers");
    ids.push(ProducerId::new(4242));
    let mut offset = 1 << 40;
    for id in ids {
        let known = table.describe().into_iter().find(|p| p.producer_id == id);
        let epoch = known.map_or(ProducerEpoch::new(0), |p| p.producer_epoch);
        let sequence = known.map_or(Sequence::NONE, |p| p.last_sequence);
        for (sequence, control) in [
            (sequence.advance(1), ControlKind::None),
            (sequence.advance(1), ControlKind::None),
            (Sequence::NONE, marker(i32::MAX)),
        ] {
            let facts = facts(id, epoch, sequence, offset, control);
            // Any answer will do; only a panic would not.
            drop(table.admit(Origin::Client, &facts, None));
            table.apply(&facts, NOW_MS);
            offset += 1;
        }
    }
    let last_stable = table.last_stable_offset(Offset::new(offset), Offset::ZERO);
    assert!((Offset::ZERO..=Offset::new(offset)).contains(&last_stable));
    table.on_high_watermark(Offset::new(i64::MAX));
    table.on_log_start(Offset::new(i64::MAX));
    assert_eq!(table.first_unstable_offset(), None, "every transaction was ended");
    table.expire(i64::MAX, Offset::new(i64::MAX));
    assert_eq!(table.len(), 0, "nobody is left");
}

const fn marker(coordinator_epoch: i32) -> ControlKind {
    ControlKind::Marker { commit: false, coordinator_epoch, epoch_must_rise: false }
}

const fn facts(
    producer_id: ProducerId,
    producer_epoch: ProducerEpoch,
    sequence: Sequence,
    offset: i64,
    control: ControlKind,
) -> BatchFacts {
    BatchFacts {
        base_offset: Offset::new(offset),
        last_offset: Offset::new(offset),
        base_sequence: sequence,
        last_sequence: sequence,
        last_offset_delta: 0,
        producer_id,
        producer_epoch,
        transactional: true,
        control,
        max_timestamp_ms: NOW_MS,
    }
}

/// An `.index` of a segment at 1000 whose data file has 64 KiB.
pub fn offset_index(bytes: &[u8]) {
    let Ok(index) = OffsetIndex::decode(BASE, bytes, 1 << 16) else { return };
    let written = index.encode();
    assert_eq!(OffsetIndex::decode(BASE, &written, 1 << 16).as_ref(), Ok(&index));
    let (entries, _) = written.as_chunks::<8>();
    let entries: Vec<(Offset, u32)> = entries
        .iter()
        .map(|[a, b, c, d, e, f, g, h]| {
            let relative = u32::from_be_bytes([*a, *b, *c, *d]);
            let offset = Offset::new(BASE.get() + i64::from(relative));
            (offset, u32::from_be_bytes([*e, *f, *g, *h]))
        })
        .collect();
    let targets = entries.iter().flat_map(|(offset, _)| [offset.get() - 1, offset.get()]);
    for target in targets.chain([i64::MIN, 0, BASE.get(), i64::MAX]).map(Offset::new) {
        let found = entries.iter().rev().find(|(offset, _)| *offset <= target);
        assert_eq!(index.lookup(target), found.copied().unwrap_or((BASE, 0)));
        let mut cut = index.clone();
        cut.truncate_to(target);
        let left = entries.iter().filter(|(offset, _)| *offset < target).count();
        assert_eq!(cut.len(), left);
    }
    resume(index, TimeIndex::new(BASE));
}

/// A `.timeindex` of a segment from 1000 to 100,000.
pub fn time_index(bytes: &[u8]) {
    let end = Offset::new(100_000);
    let Ok(index) = TimeIndex::decode(BASE, bytes, end) else { return };
    let written = index.encode();
    assert_eq!(TimeIndex::decode(BASE, &written, end).as_ref(), Ok(&index));
    let (entries, _) = written.as_chunks::<12>();
    let entries: Vec<(i64, Offset)> = entries
        .iter()
        .map(|[a, b, c, d, e, f, g, h, i, j, k, l]| {
            let relative = u32::from_be_bytes([*i, *j, *k, *l]);
            let offset = Offset::new(BASE.get() + i64::from(relative));
            (i64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), offset)
        })
        .collect();
    let times = entries.iter().flat_map(|(time, _)| [time.saturating_sub(1), *time]);
    for time in times.chain([i64::MIN, -1, 0, i64::MAX]) {
        let found = entries.iter().rev().find(|(entry, _)| *entry <= time);
        assert_eq!(index.lookup(time), found.copied());
    }
    resume(OffsetIndex::new(BASE), index);
}

/// An indexer that goes on from these indexes adds to them and writes what can be read.
fn resume(offsets: OffsetIndex, times: TimeIndex) {
    let (end, len) = (Offset::new(i64::MAX), u64::from(u32::MAX));
    let mut indexer = SegmentIndexer::resume(offsets, times, 100);
    for nth in 0_u32..8 {
        let last_offset = Offset::new(BASE.get() + (1 << 20) + i64::from(nth));
        indexer.observe((1 << 20) + nth * 90, 90, last_offset, NOW_MS + i64::from(nth));
    }
    indexer.close();
    OffsetIndex::decode(BASE, &indexer.offsets().encode(), len).expect("what was written is read");
    TimeIndex::decode(BASE, &indexer.times().encode(), end).expect("what was written is read");
}

/// A `.txnindex` of a segment at 1000.
pub fn aborted_index(bytes: &[u8]) {
    let Ok(index) = AbortedIndex::decode(BASE, bytes) else { return };
    assert_eq!(AbortedIndex::decode(BASE, &index.encode()).as_ref(), Ok(&index));
    let offsets = index.entries().iter().flat_map(|entry| {
        [entry.first_offset, entry.last_offset, entry.last_offset.next(), entry.last_stable_offset]
    });
    let offsets: Vec<Offset> = offsets.take(40).chain([BASE, Offset::new(i64::MAX)]).collect();
    for from in &offsets {
        for to in &offsets {
            let mut found = Vec::new();
            index.collect(*from, *to, &mut found);
            // T-15: markers from the first offset asked for on, up to the first entry that says
            // that no later one can matter.
            let relevant = index.entries().iter().filter(|entry| entry.last_offset >= *from);
            let mut expected = Vec::new();
            for entry in relevant {
                if entry.first_offset < *to {
                    expected.push((entry.first_offset, entry.producer_id));
                }
                if entry.last_stable_offset >= *to {
                    break;
                }
            }
            let found: Vec<_> =
                found.iter().map(|txn| (txn.first_offset, txn.producer_id)).collect();
            assert_eq!(found, expected, "{from}..{to}");
        }
        let mut cut = index.clone();
        cut.truncate_to(*from);
        assert_eq!(AbortedIndex::decode(BASE, &cut.encode()), Ok(cut));
    }
}

/// Each of the text files: checkpoints, epochs, identities.
pub fn text_files(bytes: &[u8]) {
    if let Ok(read) = OffsetCheckpoint::decode(bytes) {
        assert_eq!(OffsetCheckpoint::decode(&read.encode()), Ok(read));
    }
    if let Ok(read) = PartitionMetadata::decode(bytes) {
        assert_eq!(PartitionMetadata::decode(&read.encode()), Ok(read));
    }
    if let Ok(read) = MetaProperties::decode(bytes) {
        // A file of version 0 need not name its cluster, one of version 1 must.
        if read.cluster_id.is_some() {
            assert_eq!(MetaProperties::decode(&read.encode()), Ok(read));
        }
    }
    if let Ok(read) = LeaderEpochCache::decode(bytes) {
        for (epoch, start) in read.entries() {
            let end = read.end_offset_for(epoch, Offset::new(i64::MAX));
            let (found, end) = end.expect("the epoch is known");
            assert!(found == epoch && end >= start);
        }
        let mut cut = read.clone();
        cut.assign(LeaderEpoch::new(i32::MAX), Offset::new(i64::MAX));
        cut.truncate_from_start(BASE);
        cut.truncate_from_end(Offset::new(1 << 20));
        assert_eq!(LeaderEpochCache::decode(&cut.encode()), Ok(cut));
        assert_eq!(LeaderEpochCache::decode(&read.encode()), Ok(read));
    }
}
