//! Tables that come back from bytes: S-15, S-16, S-19, S-23, and damage of every kind.

use super::*;

const START: RestoreAt = RestoreAt { now_ms: 0, log_start: Offset::ZERO };

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let pair = |p: &[u8]| u8::from_str_radix(std::str::from_utf8(p).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

/// Three producers: five batches and more, an open transaction, an ended one not yet replicated.
fn eventful() -> Bench {
    let mut bench = Bench::new();
    for sequence in 0..7 {
        bench.now_ms += 10;
        bench.send(data(1, 0, sequence * 2).records(2)).unwrap();
    }
    bench.send(data(2, 3, 0).in_txn()).unwrap();
    bench.send(data(3, 1, i32::MAX).records(2).in_txn()).unwrap();
    bench.end(marker(3, 1, false, 8)).unwrap();
    bench
}

// The vector of the format's description.
#[test]
fn a_snapshot_has_kafkas_bytes() {
    let expected = unhex(
        "0001 c720ea41 00000001 00000000000003e8 0005 00000001 0000000000000001 00000001 \
         0000018bcfe56805 ffffffff 0000000000000000",
    );
    let mut table = ProducerTable::new(limits());
    table.apply(&data(1000, 5, 0).records(2).in_txn().at(0, 1_700_000_000_005), 0);
    assert_eq!(snapshot::encode(&table), expected);

    let restored = ProducerTable::restore_snapshot(limits(), &expected, START).unwrap();
    assert_eq!(snapshot::encode(&restored), expected);
    assert_eq!(restored.first_unstable_offset(), Some(Offset::ZERO));
    assert_eq!(restored.open_transactions().next().unwrap().started_ms, 1_700_000_000_005);
}

// The worked example of docs/format.md, computed without this crate.
#[test]
fn a_sidecar_has_the_documented_bytes() {
    let expected = unhex(
        "6f6e63656c6f6750 0002 0000 8c1f3fbf \
         0000000000000004 \
         00000001 0000000000000002 0000000000000003 \
         00000001 0000000000000000 00000000 00000000 \
         00000002 \
         0000000000000007 0000 00000009 0000018bcfe56807 0000018bcfe56811 0000000000000003 \
         ffffffffffffffff ffffffffffffffff 01 00000000 0000000000000002 00000000 0000018bcfe56806 \
         00000000000003e8 0005 ffffffff 0000018bcfe56805 0000018bcfe5680f 0000000000000001 \
         0000000000000000 0000018bcfe5680f 01 00000001 0000000000000001 00000001 0000018bcfe56805 \
         b0f7f7d7",
    );
    let sums = [AbortedSum { base: Offset::ZERO, entries: 0, checksum: 0 }];
    let mut table = ProducerTable::new(limits());
    let time = 1_700_000_000_005;
    let first = data(1000, 5, 0).records(2).in_txn();
    table.apply(&first.at(0, time), time + 10);
    table.apply(&data(7, 0, 0).in_txn().at(2, time + 1), time + 11);
    table.apply(&marker(7, 0, true, 9).at(3, time + 2), time + 12);
    let end = Offset::new(4);
    assert_eq!(state::encode_with(&table, end, &sums), expected);

    let (restored, restored_end, restored_sums) =
        ProducerTable::restore_state(limits(), &expected, START).unwrap();
    assert_eq!((restored_end, &restored_sums[..]), (end, &sums[..]));
    assert_eq!(state::encode_with(&restored, end, &sums), expected);
}

// As written before there were checksums of transaction indexes; computed without this crate.
#[test]
fn a_sidecar_of_version_1_is_read_and_vouches_for_no_transaction_index() {
    let bytes = unhex(
        "6f6e63656c6f6750 0001 0000 6631ffcc \
         0000000000000004 \
         00000001 0000000000000002 0000000000000003 \
         00000002 \
         0000000000000007 0000 00000009 0000018bcfe56807 0000018bcfe56811 0000000000000003 \
         ffffffffffffffff ffffffffffffffff 01 00000000 0000000000000002 00000000 0000018bcfe56806 \
         00000000000003e8 0005 ffffffff 0000018bcfe56805 0000018bcfe5680f 0000000000000001 \
         0000000000000000 0000018bcfe5680f 01 00000001 0000000000000001 00000001 0000018bcfe56805 \
         a7eb7984",
    );
    let (restored, end, sums) = ProducerTable::restore_state(limits(), &bytes, START).unwrap();
    assert_eq!((end.get(), restored.len(), sums.len()), (4, 2, 0));
    assert_eq!(restored.first_unstable_offset(), Some(Offset::ZERO));
}

// D-43: last_offset −1 stands for no batch.
#[test]
fn a_producer_without_batches_survives_a_snapshot() {
    let mut bench = Bench::new();
    bench.end(marker(1, 4, true, 9));
    let bytes = snapshot::encode(&bench.table);
    bench.table = ProducerTable::restore_snapshot(limits(), &bytes, START).unwrap();
    let known = bench.described(1).unwrap();
    assert_eq!((known.producer_epoch.get(), known.coordinator_epoch), (4, 9));
    assert_eq!(bench.error(data(1, 4, 1)), out_of_order(0, 1));
}

// S-23, D-44, P-6.
#[test]
fn a_snapshot_remembers_one_batch_and_the_sidecar_five() {
    let mut bench = eventful();
    let retry = |table: &ProducerTable, sequence| {
        table.admit(Origin::Client, &data(1, 0, sequence).records(2).at(99, 0), None)
    };
    bench.table = bench.restarted();
    for (nth, sequence) in [4, 6, 8, 10, 12].into_iter().enumerate() {
        let timestamp_ms = 1030 + 10 * i64::try_from(nth).unwrap();
        let offset = i64::from(sequence);
        let expected = duplicate(offset, offset + 1, timestamp_ms);
        assert_eq!(retry(&bench.table, sequence).unwrap(), expected);
    }
    assert!(retry(&bench.table, 2).is_err());

    let bytes = snapshot::encode(&bench.table);
    let from_kafka = ProducerTable::restore_snapshot(limits(), &bytes, START).unwrap();
    assert_eq!(retry(&from_kafka, 12).unwrap(), duplicate(12, 13, 1070));
    assert_eq!(*retry(&from_kafka, 10).unwrap_err().kind(), out_of_order(14, 10));
}

// T-26 for the part that no replay follows.
#[test]
fn the_sidecar_holds_open_and_unreplicated_transactions() {
    let bench = eventful();
    let mut restored = bench.restarted();
    assert_eq!(state::encode(&restored, Offset::ZERO), state::encode(&bench.table, Offset::ZERO));
    assert_eq!(restored.first_unstable_offset(), Some(Offset::new(14)));
    let abort = marker(2, 3, false, 0).at(18, 0);
    assert_eq!(restored.apply(&abort, 0).unwrap().last_stable_offset.get(), 19);
    restored.on_high_watermark(Offset::new(18));
    assert_eq!(restored.first_unstable_offset(), Some(Offset::new(14)));
    restored.on_high_watermark(Offset::new(19));
    assert_eq!(restored.first_unstable_offset(), None);
}

#[test]
fn the_order_of_eviction_survives_a_restart() {
    let mut bench = Bench::with(ProducerLimits::new(3, DAY_MS));
    for id in [5, 3, 4] {
        bench.send(data(id, 0, 0)).unwrap();
    }
    bench.send(data(5, 0, 1)).unwrap();
    let bytes = snapshot::encode(&bench.table);
    let from_kafka = ProducerTable::restore_snapshot(bench.table.limits, &bytes, START).unwrap();
    for table in [bench.restarted(), from_kafka] {
        let order: Vec<_> = table.describe().iter().map(|p| p.producer_id.get()).collect();
        assert_eq!(order, [3, 4, 5]);
    }
}

#[test]
fn a_table_larger_than_the_cap_comes_back_with_the_last_used() {
    let mut bench = Bench::new();
    for id in 0..10 {
        bench.send(data(id, 0, 0)).unwrap();
    }
    let bytes = state::encode(&bench.table, Offset::new(10));
    let small = ProducerLimits::new(2, DAY_MS);
    let (table, ..) = ProducerTable::restore_state(small, &bytes, START).unwrap();
    let left: Vec<_> = table.describe().iter().map(|p| p.producer_id.get()).collect();
    assert_eq!(left, [8, 9]);
}

// S-15, P-34; but what is still in the log stays.
#[test]
fn loading_drops_the_expired_unless_open_or_still_in_the_log() {
    let bench = eventful();
    let late = 1070 + DAY_MS;
    let restore = |log_start| {
        let at = RestoreAt { now_ms: late, log_start: Offset::new(log_start) };
        let state = state::encode(&bench.table, Offset::ZERO);
        let (from_state, ..) = ProducerTable::restore_state(limits(), &state, at).unwrap();
        let snapshot = snapshot::encode(&bench.table);
        let from_snapshot = ProducerTable::restore_snapshot(limits(), &snapshot, at).unwrap();
        [from_state, from_snapshot].map(|table| {
            let mut ids: Vec<_> = table.describe().iter().map(|p| p.producer_id.get()).collect();
            ids.sort_unstable();
            ids
        })
    };
    assert_eq!(restore(0), [[1, 2, 3], [1, 2, 3]]);
    assert_eq!(restore(14), [[2, 3], [2, 3]]);
    assert_eq!(restore(100), [[2], [2]], "its transaction is open");
}

// S-19: the core truncates by loading an older table and replaying.
#[test]
fn an_older_table_and_a_replay_make_the_same_table() {
    let batches = [
        data(1, 0, 0).in_txn(),
        data(2, 0, 5),
        marker(1, 0, false, 1),
        data(1, 0, 1).in_txn(),
        marker(1, 1, true, 2),
        data(2, 0, 6),
    ];
    for cut in 0..=batches.len() {
        let mut whole = Bench::new();
        let mut cut_bytes = Vec::new();
        for (index, batch) in batches.into_iter().enumerate() {
            if index == cut {
                cut_bytes = state::encode(&whole.table, Offset::new(whole.next_offset));
            }
            assert_eq!(whole.send_as(Origin::Coordinator, batch).unwrap(), Admission::Accept);
        }
        if cut == batches.len() {
            cut_bytes = state::encode(&whole.table, Offset::new(whole.next_offset));
        }
        let (mut table, end, _) =
            ProducerTable::restore_state(limits(), &cut_bytes, START).unwrap();
        for (offset, batch) in (0_i64..).zip(batches).skip_while(|(o, _)| *o < end.get()) {
            table.apply(&batch.at(offset, 1000), 1000);
        }
        let end = Offset::new(whole.next_offset);
        assert_eq!(state::encode(&table, end), state::encode(&whole.table, end), "cut {cut}");
    }
}

fn damaged_state(bytes: &[u8]) -> bool {
    match ProducerTable::restore_state(limits(), bytes, START) {
        Err(StateError::Damaged(_)) => true,
        Err(StateError::Newer(error)) => panic!("damage passes for a newer format: {error}"),
        Ok(_) => false,
    }
}

// S-16: newest damaged, so that an older one is used, is the core's part.
#[test]
fn every_cut_and_every_flipped_bit_is_noticed() {
    let bench = eventful();
    let state = state::encode(&bench.table, Offset::new(18));
    let snapshot = snapshot::encode(&bench.table);
    for len in 0..state.len() {
        assert!(damaged_state(&state[..len]), "state cut to {len}");
    }
    for len in 0..snapshot.len() {
        assert!(snapshot::decode(&snapshot[..len]).is_err(), "snapshot cut to {len}");
    }
    for bit in 0..state.len() * 8 {
        let mut bytes = state.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(damaged_state(&bytes), "state bit {bit}");
    }
    for bit in 0..snapshot.len() * 8 {
        let mut bytes = snapshot.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(snapshot::decode(&bytes).is_err(), "snapshot bit {bit}");
    }
    for bytes in [[state, vec![0]].concat(), [snapshot, vec![0; 46]].concat()] {
        assert!(damaged_state(&bytes) && snapshot::decode(&bytes).is_err());
    }
}

/// `bytes` with its checksum made right again, as hostile bytes would have it.
fn resealed_state(mut bytes: Vec<u8>) -> Vec<u8> {
    let header = crc32c::crc32c(&bytes[..12]);
    bytes[12..16].copy_from_slice(&header.to_be_bytes());
    let body_end = bytes.len() - 4;
    let whole = crc32c::crc32c(&bytes[..body_end]);
    bytes[body_end..].copy_from_slice(&whole.to_be_bytes());
    bytes
}

fn resealed_snapshot(mut bytes: Vec<u8>) -> Vec<u8> {
    let crc = crc32c::crc32c(&bytes[6..]);
    bytes[2..6].copy_from_slice(&crc.to_be_bytes());
    bytes
}

#[test]
fn more_than_was_counted_is_damage_even_under_a_right_checksum() {
    let snapshot = [snapshot::encode(&eventful().table), vec![0; 46]].concat();
    assert!(snapshot::decode(&resealed_snapshot(snapshot)).is_err());

    let state = [state::encode(&eventful().table, Offset::ZERO), vec![0; 55]].concat();
    assert!(damaged_state(&resealed_state(state)));
}

#[test]
fn six_batches_of_one_producer_are_damage() {
    let mut bench = Bench::new();
    bench.end(marker(1, 0, true, 0));
    let with_batches = |count: u8| {
        let mut bytes = state::encode(&bench.table, Offset::new(1));
        bytes.truncate(bytes.len() - 5);
        bytes.push(count);
        // Zeroes are a batch: sequence 0 at offset 0. Then room for the trailer.
        bytes.resize(bytes.len() + 24 * usize::from(count) + 4, 0);
        resealed_state(bytes)
    };
    assert!(!damaged_state(&with_batches(5)));
    assert!(damaged_state(&with_batches(6)));
}

#[test]
fn a_newer_sidecar_is_refused_and_told_from_a_damaged_one() {
    let mut bytes = state::encode(&eventful().table, Offset::ZERO);
    bytes[9] = 3;
    assert!(damaged_state(&bytes));
    match ProducerTable::restore_state(limits(), &resealed_state(bytes), START) {
        Err(StateError::Newer(error)) => assert_eq!(*error.kind(), ErrorKind::NewerFormat),
        other => panic!("{other:?}"),
    }
}

#[test]
fn impossible_numbers_are_damage_not_allocations() {
    let mut snapshot = snapshot::encode(&eventful().table);
    snapshot[6..10].copy_from_slice(&i32::MAX.to_be_bytes());
    let snapshot = resealed_snapshot(snapshot);
    assert!(matches!(snapshot::decode(&snapshot), Err(SnapshotDamage::Length { .. })));

    let state = state::encode(&Bench::new().table, Offset::ZERO);
    for count_at in [24, 28, 32] {
        let mut bytes = state.clone();
        bytes[count_at..count_at + 4].copy_from_slice(&u32::MAX.to_be_bytes());
        assert!(damaged_state(&resealed_state(bytes)));
    }
    let negative_end = state::encode(&Bench::new().table, Offset::new(-1));
    assert!(damaged_state(&negative_end));
}

// Hostile contents under a right checksum: an error or a table that works, never a panic.
#[test]
fn resealed_nonsense_is_damage_or_a_table_that_works() {
    let state = state::encode(&eventful().table, Offset::new(18));
    let (mut refused, mut taken) = (0, 0);
    for at in 16..state.len() - 4 {
        for value in [0x00, 0x7f, 0x80, 0xff] {
            let mut bytes = state.clone();
            bytes[at] = value;
            match ProducerTable::restore_state(limits(), &resealed_state(bytes), START) {
                Err(_) => refused += 1,
                Ok((mut table, ..)) => {
                    taken += 1;
                    for batch in [data(1, 0, 14), data(2, 3, 0).in_txn(), marker(3, 1, true, 9)] {
                        // Either answer is right; only a panic would not be.
                        drop(table.admit(Origin::Client, &batch.at(18, 0), None));
                        table.apply(&batch.at(18, 0), 0);
                    }
                    table.expire(i64::MAX, Offset::new(i64::MAX));
                }
            }
        }
    }
    assert!(refused > 0 && taken > 0);
}

#[test]
fn a_producer_listed_twice_is_damage() {
    let mut bench = Bench::new();
    bench.send(data(1, 0, 0)).unwrap();
    bench.send(data(2, 0, 0)).unwrap();
    let mut bytes = snapshot::encode(&bench.table);
    let second_id = 10 + 46;
    bytes[second_id..second_id + 8].copy_from_slice(&1_i64.to_be_bytes());
    let bytes = resealed_snapshot(bytes);
    let damage = ProducerTable::restore_snapshot(limits(), &bytes, START).unwrap_err();
    assert!(matches!(damage, SnapshotDamage::Entry { .. }), "{damage}");
}

#[test]
fn a_large_table_is_written_in_chunks_that_add_up() {
    let mut bench = Bench::with(ProducerLimits::new(usize::MAX, DAY_MS));
    for id in 0..3000 {
        bench.send(data(id, 0, 0)).unwrap();
    }
    let mut chunks = Vec::new();
    let end = Offset::new(3000);
    state::encode_chunks(&bench.table, end, &[], |chunk| chunks.push(chunk.to_vec()));
    assert!(chunks.len() > 2 && chunks.iter().all(|chunk| chunk.len() < 70_000));
    assert_eq!(chunks.concat(), state::encode(&bench.table, end));
    bench.restarted();
}
