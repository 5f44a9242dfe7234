//! What the indexes answer, against the rule catalogue and against plain scans.

use super::AbortedTxn;
use super::minima::Minima;
use super::*;
use crate::types::ProducerId;

/// A small generator of numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % bound
    }

    fn index(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(u64::try_from(bound).unwrap())).unwrap()
    }
}

fn aborted(producer: i64, first: i64, last: i64, stable: i64) -> AbortedEntry {
    AbortedEntry {
        producer_id: ProducerId::new(producer),
        first_offset: Offset::new(first),
        last_offset: Offset::new(last),
        last_stable_offset: Offset::new(stable),
    }
}

/// The four transactions of scenarios S-32 and S-33.
fn four_aborted() -> AbortedIndex {
    let mut index = AbortedIndex::new(Offset::ZERO);
    for entry in [
        aborted(0, 0, 10, 11),
        aborted(1, 5, 15, 13),
        aborted(2, 18, 35, 25),
        aborted(3, 32, 50, 40),
    ] {
        index.append(entry).unwrap();
    }
    index
}

/// The producers collected for a range, and whether the search was complete.
fn collect(index: &AbortedIndex, fetch: i64, upper: i64) -> (Vec<AbortedTxn>, bool) {
    let mut found = Vec::new();
    let complete = index.collect(Offset::new(fetch), Offset::new(upper), &mut found);
    (found, complete)
}

fn scan(entries: &[AbortedEntry], fetch: i64, upper: i64) -> (Vec<AbortedTxn>, bool) {
    let mut found = Vec::new();
    for entry in entries {
        if entry.last_offset.get() >= fetch && entry.first_offset.get() < upper {
            found.push(AbortedTxn {
                first_offset: entry.first_offset,
                producer_id: entry.producer_id,
            });
        }
        if entry.last_stable_offset.get() >= upper {
            return (found, true);
        }
    }
    (found, false)
}

// S-32.
#[test]
fn aborted_transactions_are_collected_as_far_as_the_range_reaches() {
    let index = four_aborted();
    for (fetch, upper, producers, complete) in [
        (0, 100, &[0, 1, 2, 3][..], false),
        (0, 32, &[0, 1, 2], true),
        (0, 35, &[0, 1, 2, 3], true),
        (10, 35, &[0, 1, 2, 3], true),
        (11, 35, &[1, 2, 3], true),
        (20, 41, &[2, 3], false),
    ] {
        let (found, was_complete) = collect(&index, fetch, upper);
        let found: Vec<i64> = found.iter().map(|txn| txn.producer_id.get()).collect();
        assert_eq!((&found[..], was_complete), (producers, complete), "{fetch}..{upper}");
    }
}

// S-33, D-40.
#[test]
fn the_markers_of_aborted_transactions_must_rise() {
    let mut index = four_aborted();
    for last in [50, 49] {
        assert_eq!(index.append(aborted(4, 33, last, 60)), Err(IndexDamage::Order { entry: 4 }));
    }
    assert_eq!(index.append(aborted(4, 52, 51, 60)), Err(IndexDamage::OutOfSegment { entry: 4 }));
    index.append(aborted(4, 33, 51, 52)).unwrap();
}

// S-33, D-42.
#[test]
fn truncation_removes_the_transactions_whose_marker_goes() {
    for (target, left) in [(51, 4), (50, 3), (36, 3), (35, 2), (0, 0)] {
        let mut index = four_aborted();
        index.truncate_to(Offset::new(target));
        assert_eq!(index.entries().len(), left, "{target}");
        assert_eq!(collect(&index, 0, 100).0.len(), left, "{target}");
    }
}

// S-33, D-41.
#[test]
fn a_marker_before_the_segment_is_damage() {
    let bytes = four_aborted().encode();
    assert_eq!(AbortedIndex::decode(Offset::new(10), &bytes).unwrap().entries().len(), 4);
    assert_eq!(
        AbortedIndex::decode(Offset::new(11), &bytes),
        Err(IndexDamage::OutOfSegment { entry: 0 })
    );
}

// D-38 and the test vector of 12.3.
#[test]
fn an_aborted_transaction_takes_34_bytes() {
    let mut index = AbortedIndex::new(Offset::ZERO);
    index.append(aborted(1000, 5, 7, 8)).unwrap();
    let mut bytes = vec![0, 0];
    bytes.extend([1000_i64, 5, 7, 8].into_iter().flat_map(i64::to_be_bytes));
    assert_eq!(index.encode(), bytes);
    assert_eq!(bytes[..10], *b"\x00\x00\x00\x00\x00\x00\x00\x00\x03\xe8");
    let decoded = AbortedIndex::decode(Offset::ZERO, &bytes).unwrap();
    assert_eq!(decoded, index);
    assert_eq!(decoded.entries(), [aborted(1000, 5, 7, 8)]);
    assert_eq!(AbortedIndex::decode(Offset::ZERO, &[]), Ok(AbortedIndex::new(Offset::ZERO)));

    index.append(aborted(1000, 8, 9, 10)).unwrap();
    assert_eq!(index.encode()[34..], index.encode_from(1));
    assert!(index.encode_from(2).is_empty());
}

#[test]
fn damage_is_found_when_aborted_transactions_are_read() {
    let decode = |bytes: &[u8]| AbortedIndex::decode(Offset::ZERO, bytes);
    let good = four_aborted().encode();
    assert_eq!(decode(&good[..67]), Err(IndexDamage::Length { found: 67, entry: 34 }));

    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        decode(&bytes)
    };
    assert_eq!(with(34 + 1, 1), Err(IndexDamage::NewerVersion { entry: 1, version: 1 }));
    assert_eq!(with(34, 0x80), Err(IndexDamage::OutOfSegment { entry: 1 }));
    assert_eq!(with(34 + 2, 0x80), Err(IndexDamage::OutOfSegment { entry: 1 }));
    assert_eq!(with(34 + 10, 0x80), Err(IndexDamage::OutOfSegment { entry: 1 }));
    assert_eq!(with(34 + 17, 16), Err(IndexDamage::OutOfSegment { entry: 1 }));
    assert_eq!(with(34 + 25, 10), Err(IndexDamage::Order { entry: 1 }));
}

/// Random interleavings of transactions, as a log would index them: last stable offsets follow from
/// what is open. Old transactions that stay open are common, for they are what makes a scan long.
fn random_history(numbers: &mut Numbers, entries: usize) -> Vec<AbortedEntry> {
    let mut open: Vec<(i64, i64)> = Vec::new();
    let mut done = Vec::new();
    let mut offset = 0;
    while done.len() < entries {
        if open.is_empty() || numbers.below(2) == 0 {
            open.push((offset, i64::try_from(numbers.below(1000)).unwrap()));
        } else {
            let old = numbers.below(200) == 0;
            let at = if old { 0 } else { open.len() - 1 - numbers.index(open.len().min(4)) };
            let (first, producer) = open.remove(at);
            let stable = open.iter().map(|(first, _)| *first).min().unwrap_or(offset + 1);
            if numbers.below(4) > 0 {
                done.push(aborted(producer, first, offset, stable));
            }
        }
        offset += 1 + i64::try_from(numbers.below(3)).unwrap();
    }
    done
}

// T-15.
#[test]
fn collecting_finds_what_a_scan_of_every_entry_finds() {
    let mut numbers = Numbers(7);
    for entries in [1, 2, 63, 64, 65, 300, 4096, 4097, 9000] {
        let history = random_history(&mut numbers, entries);
        let mut index = AbortedIndex::new(Offset::ZERO);
        for entry in &history {
            index.append(*entry).unwrap();
        }
        let end = history.last().unwrap().last_offset.get() + 5;
        for round in 0..200 {
            let fetch = numbers.below(end.unsigned_abs()).cast_signed();
            let length = if round % 2 == 0 { 20 } else { end.unsigned_abs() };
            let upper = fetch + 1 + numbers.below(length).cast_signed();
            assert_eq!(
                collect(&index, fetch, upper),
                scan(&history, fetch, upper),
                "{entries} entries, {fetch}..{upper}"
            );
        }
        assert_eq!(AbortedIndex::decode(Offset::ZERO, &index.encode()), Ok(index.clone()));

        let cut = history[entries / 2].last_offset;
        index.truncate_to(cut);
        for _ in 0..50 {
            let fetch = numbers.below(end.unsigned_abs()).cast_signed();
            let upper = fetch + 1 + numbers.below(end.unsigned_abs()).cast_signed();
            let kept = &history[..entries / 2];
            assert_eq!(collect(&index, fetch, upper), scan(kept, fetch, upper));
        }
    }
}

// A transaction that stays open holds the last stable offset down, so that only the first offsets
// tell the entries apart.
#[test]
fn one_hit_among_a_million_entries_is_found_without_reading_them() {
    let mut minima = Minima::default();
    for number in 0..1_000_000 {
        minima.push(number, if number == 765_432 { 5 } else { 1_000_000 });
    }
    let looked_at = std::cell::Cell::new(0);
    let find = |from| {
        minima.first_at_most(5, from, |n| {
            looked_at.set(looked_at.get() + 1);
            (n < 1_000_000).then_some(if n == 765_432 { 5 } else { 1_000_000 })
        })
    };
    assert_eq!(find(0), Some(765_432));
    assert_eq!(find(765_432), Some(765_432));
    assert_eq!(find(765_433), None);
    assert!(looked_at.get() <= 4 * 64, "{}", looked_at.get());
}

#[test]
fn a_lone_small_value_is_found_wherever_a_level_begins() {
    for lone in [0, 63, 64, 65, 4095, 4096, 4097, 4159, 4160, 8191, 8192, 8999] {
        let value = |n: usize| (n < 9000).then_some(if n == lone { 5 } else { 6 });
        let mut minima = Minima::default();
        for number in 0..9000 {
            minima.push(number, value(number).unwrap());
        }
        for from in [0, 1, 64, 4095, 4096, lone] {
            let expected = (from <= lone).then_some(lone);
            assert_eq!(minima.first_at_most(5, from, value), expected, "{lone} from {from}");
        }
    }
}

/// `count` batches of varied size as (position, size, last offset, greatest timestamp).
fn batches(base: i64, count: u64) -> Vec<(u32, u32, Offset, i64)> {
    let mut numbers = Numbers(3);
    let mut position = 0;
    let mut next = base;
    (0..count)
        .map(|_| {
            let size = 61 + u32::try_from(numbers.below(3000)).unwrap();
            let last = next + numbers.below(20).cast_signed();
            let batch = (
                position,
                size,
                Offset::new(last),
                numbers.below(500).cast_signed() + i64::from(position) / 100,
            );
            position += size;
            next = last + 1;
            batch
        })
        .collect()
}

fn observe_all(indexer: &mut SegmentIndexer, batches: &[(u32, u32, Offset, i64)]) {
    for (position, size, last, timestamp) in batches {
        indexer.observe(*position, *size, *last, *timestamp);
    }
}

// D-27.
#[test]
fn an_entry_falls_due_after_more_than_the_interval() {
    let mut indexer = SegmentIndexer::new(Offset::new(100), 200);
    for (position, size, last) in
        [(0, 100, 100), (100, 100, 101), (200, 1, 102), (201, 300, 103), (501, 99, 104)]
    {
        indexer.observe(position, size, Offset::new(last), 1000 + last);
    }
    // Behind the batch at 200 lie exactly 200 bytes: not more. Behind 201, 201; behind 501, 300.
    let expected = OffsetIndex::decode(
        Offset::new(100),
        b"\x00\x00\x00\x03\x00\x00\x00\xc9\x00\x00\x00\x04\x00\x00\x01\xf5",
        600,
    );
    assert_eq!(Ok(indexer.offsets().clone()), expected);
    assert_eq!(indexer.times().lookup(i64::MAX), Some((1104, Offset::new(104))));
    assert_eq!(indexer.times().len(), 2);
}

#[test]
fn the_first_batch_of_a_segment_has_no_entry() {
    let mut indexer = SegmentIndexer::new(Offset::ZERO, 0);
    indexer.observe(0, 5000, Offset::ZERO, 1);
    assert_eq!((indexer.offsets().len(), indexer.times().len()), (0, 0));
    indexer.observe(5000, 70, Offset::new(1), 1);
    assert_eq!((indexer.offsets().len(), indexer.times().len()), (1, 1));
}

// D-34: the entry holds the greatest timestamp so far, with the offset of the batch that carries it.
#[test]
fn the_closing_entry_holds_the_greatest_timestamp_of_the_segment() {
    let mut indexer = SegmentIndexer::new(Offset::ZERO, 4096);
    assert_eq!(indexer.max_timestamp(), None);
    indexer.observe(0, 100, Offset::new(4), 50);
    indexer.observe(100, 100, Offset::new(9), 70);
    indexer.observe(200, 100, Offset::new(14), 70);
    indexer.observe(300, 100, Offset::new(19), 60);
    assert_eq!(indexer.times().last(), None);
    indexer.close();
    indexer.close();
    assert_eq!(indexer.times().len(), 1);
    assert_eq!(indexer.times().last(), Some((70, Offset::new(9))));
    assert_eq!(indexer.max_timestamp(), Some((70, Offset::new(9))));
    assert_eq!(indexer.offsets().len(), 0);
}

#[test]
fn a_segment_without_timestamps_has_an_empty_time_index() {
    let mut indexer = SegmentIndexer::new(Offset::ZERO, 10);
    for number in 0..5 {
        indexer.observe(100 * number, 100, Offset::new(i64::from(number)), -1);
    }
    indexer.close();
    assert_eq!((indexer.offsets().len(), indexer.times().len()), (4, 0));
    assert_eq!(indexer.max_timestamp(), None);
}

// D-33: what every entry claims holds for every batch.
#[test]
fn no_batch_up_to_a_time_entry_is_younger_than_it() {
    let all = batches(1000, 400);
    let mut indexer = SegmentIndexer::new(Offset::new(1000), 4096);
    observe_all(&mut indexer, &all);
    indexer.close();
    assert!(indexer.times().len() > 20 && indexer.offsets().len() > 50);
    for timestamp in 0..indexer.times().last().unwrap().0 {
        let Some((bound, offset)) = indexer.times().lookup(timestamp) else {
            continue;
        };
        assert!(all.iter().all(|(_, _, last, ts)| *last > offset || *ts <= bound));
        assert!(all.iter().any(|(_, _, last, ts)| *last == offset && *ts == bound));
    }
    for (position, _, last, _) in &all {
        let (offset, start) = indexer.offsets().lookup(*last);
        assert!(start <= *position && offset <= *last);
    }
}

#[test]
fn a_resumed_indexer_goes_on_as_if_it_had_not_stopped() {
    let all = batches(1000, 400);
    let mut whole = SegmentIndexer::new(Offset::new(1000), 4096);
    for stop in 0..all.len() {
        let resumed = SegmentIndexer::resume(whole.offsets().clone(), whole.times().clone(), 4096);
        let from = resumed.resume_position();
        let again = all.iter().position(|batch| batch.0 == from).unwrap();
        let mut resumed = resumed;
        observe_all(&mut resumed, &all[again.min(stop)..stop]);
        assert_eq!(resumed.clone().confirmed(), whole, "{stop}");
        let is_resumed = whole.offsets().last().is_some();
        assert_eq!(resumed.is_max_timestamp_confirmed(), !is_resumed, "{stop}");
        observe_all(&mut whole, &all[stop..=stop]);
    }
}

//
#[test]
fn either_full_index_makes_the_segment_roll() {
    let mut indexer = SegmentIndexer::new(Offset::ZERO, 0);
    assert!(!indexer.is_full(24));
    indexer.observe(0, 100, Offset::ZERO, 5);
    indexer.observe(100, 100, Offset::new(1), 6);
    assert!(indexer.is_full(24), "one time entry, and room for the closing one only");
    assert!(!indexer.is_full(36));
    indexer.set_interval_bytes(1000);
    indexer.observe(200, 100, Offset::new(2), 7);
    assert!(!indexer.is_full(36));
}

#[test]
fn damage_reads_as_a_sentence() {
    assert_eq!(
        IndexDamage::Length { found: 13, entry: 12 }.to_string(),
        "13 bytes are not a whole number of 12-byte entries"
    );
    assert_eq!(
        IndexDamage::NewerVersion { entry: 3, version: 1 }.to_string(),
        "entry 3 has version 1, newer than is known"
    );
}

// Whatever is accepted means what was written, and nothing makes a decoder panic.
#[test]
fn a_damaged_file_is_refused_or_read_as_it_stands() {
    let mut indexer = SegmentIndexer::new(Offset::new(1000), 4096);
    observe_all(&mut indexer, &batches(1000, 100));
    let files = [indexer.offsets().encode(), indexer.times().encode(), four_aborted().encode()];
    let trimmed = |bytes: &[u8], entry: usize| {
        let used = bytes.chunks(entry).rposition(|e| e.iter().any(|b| *b != 0));
        bytes[..used.map_or(0, |last| (last + 1) * entry)].to_vec()
    };
    let mut numbers = Numbers(11);
    let mut accepted = [0; 3];
    for round in 0..3000 {
        let mut damaged = files.clone();
        for bytes in &mut damaged {
            for _ in 0..round % 4 {
                let at = numbers.index(bytes.len());
                bytes[at] ^= 1 << numbers.below(8);
            }
            if round % 5 == 0 {
                bytes.resize(numbers.index(2 * bytes.len()), 0);
            }
        }
        let [offsets, times, txns] = damaged;
        let base = Offset::new(1000);
        if let Ok(index) = OffsetIndex::decode(base, &offsets, 1 << 20) {
            assert_eq!(index.encode(), trimmed(&offsets, 8));
            accepted[0] += 1;
        }
        if let Ok(index) = TimeIndex::decode(base, &times, Offset::new(10_000)) {
            assert_eq!(index.encode(), trimmed(&times, 12));
            accepted[1] += 1;
        }
        if let Ok(index) = AbortedIndex::decode(Offset::ZERO, &txns) {
            assert_eq!(index.encode(), txns);
            accepted[2] += 1;
        }
    }
    assert!(accepted.iter().all(|count| (600..2900).contains(count)), "{accepted:?}");
}
