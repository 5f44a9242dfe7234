//! Transactions in one log: the last stable offset, aborted ranges, and what survives a restart.

use crate::common::{
    ALL, COMMITTED, Draft, End, World, aborted, bases, create, create_with, end, for_each_backend,
    last_stable, name, reopened, values, verdict,
};
use oncelog::io::sim::{Fault, FaultKind};
use oncelog::{ErrorKind, Log, LogConfig, Offset};

const WHOLE: usize = 1 << 20;

fn number(bytes: &[u8], at: usize) -> i64 {
    i64::from_be_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// The entries of every transaction index file: producer, first, last, last stable offset.
fn index_entries(world: &World) -> Vec<[i64; 4]> {
    let mut entries = Vec::new();
    for file in world.files(".txnindex") {
        let bytes = world.read(&world.file(&file));
        assert_eq!(bytes.len() % 34, 0, "D-38");
        for entry in bytes.chunks(34) {
            assert_eq!(entry[..2], [0, 0], "D-38");
            entries.push([2, 10, 18, 26].map(|at| number(entry, at)));
        }
    }
    entries
}

// S-24, T-3, T-5, T-6, T-8, T-9.
#[test]
fn each_end_of_a_transaction_releases_readers_once_it_is_replicated() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create(&engine);
        let (a, b, c) = (1, 2, 3);
        for (pid, offset) in [(a, 100), (b, 125), (c, 157)] {
            Draft::of(pid, 0, 0).txn().copy_to(&log, offset, 0).unwrap();
        }
        log.set_high_watermark(Offset::new(158)).unwrap();
        assert_eq!(last_stable(&log), 100);
        End::abort(a, 0).copy_to(&log, 172, 0).unwrap();
        assert_eq!(last_stable(&log), 100, "the marker is not replicated yet");
        log.set_high_watermark(Offset::new(172)).unwrap();
        assert_eq!(last_stable(&log), 100, "one short");
        log.set_high_watermark(Offset::new(173)).unwrap();
        assert_eq!(last_stable(&log), 125);
        End::abort(c, 0).copy_to(&log, 192, 0).unwrap();
        log.set_high_watermark(Offset::new(193)).unwrap();
        assert_eq!(last_stable(&log), 125, "an earlier one is still open");
        End::abort(b, 0).copy_to(&log, 270, 0).unwrap();
        log.set_high_watermark(Offset::new(271)).unwrap();
        assert_eq!(last_stable(&log), 271);
        engine.close().unwrap();
        let expected = [[a, 100, 172, 125], [c, 157, 192, 125], [b, 125, 270, 271]];
        assert_eq!(index_entries(world), expected);
    });
}

// S-25, T-5, T-7.
#[test]
fn plain_records_behind_an_open_transaction_wait_for_its_end() {
    for_each_backend(|world| {
        let log = create(&world.open());
        Draft::of(1, 0, 0).append(&log).unwrap();
        Draft::of(2, 0, 0).txn().append(&log).unwrap();
        Draft::of(1, 0, 1).append(&log).unwrap();
        Draft::plain().append(&log).unwrap();
        assert_eq!((last_stable(&log), end(&log)), (1, 4));
        assert_eq!(bases(&log, COMMITTED), [0]);
        assert_eq!(bases(&log, ALL), [0, 1, 2, 3]);
        End::commit(2, 0).append(&log).unwrap();
        assert_eq!(last_stable(&log), 5);
        assert_eq!(bases(&log, COMMITTED), [0, 1, 2, 3]);
    });
}

// S-26, T-4.
#[test]
fn the_last_stable_offset_is_never_below_the_log_start() {
    for_each_backend(|world| {
        let log = create(&world.open());
        Draft::of(1, 0, 0).txn().append(&log).unwrap();
        for _ in 0..5 {
            Draft::plain().append(&log).unwrap();
        }
        assert_eq!(last_stable(&log), 0);
        log.trim_before(Offset::new(4)).unwrap();
        assert_eq!(last_stable(&log), 4);
        // Also once the segment that holds the beginning is gone.
        log.roll();
        Draft::plain().append(&log).unwrap();
        log.trim_before(Offset::new(6)).unwrap();
        log.retain().unwrap();
        assert_eq!(last_stable(&log), 6);
        assert_eq!(verdict(End::commit(1, 0).append(&log)), "accepted");
        assert_eq!(last_stable(&log), end(&log));
    });
}

// S-26 over a restart: the open transaction is remembered though its records are gone.
#[test]
fn an_open_transaction_outlives_its_own_records() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create(&engine);
        Draft::of(1, 0, 0).txn().append(&log).unwrap();
        log.roll();
        Draft::plain().append(&log).unwrap();
        engine.tick();
        log.trim_before(Offset::new(1)).unwrap();
        log.retain().unwrap();
        assert_eq!(log.segments().len(), 1);
        world.kill((engine, log));
        let log = world.open().log(&name()).unwrap();
        assert_eq!(last_stable(&log), 1);
        assert_eq!(verdict(Draft::of(1, 0, 1).append(&log)), "48", "still inside");
        End::commit(1, 0).append(&log).unwrap();
        assert_eq!(last_stable(&log), 3);
    });
}

/// An aborted transaction over three segments, something committed in each, everything sealed.
fn spanning(world: &World) -> (oncelog::Engine, Log, LogConfig) {
    let engine = world.open();
    let log = create_with(&engine, |c| c.index_interval_bytes = 200);
    for part in 0..3 {
        Draft::of(1, 0, part).txn().sized(150).append(&log).unwrap();
        Draft::of(2, 0, part).sized(150).append(&log).unwrap();
        Draft::of(3, 0, 2 * part).txn().sized(150).append(&log).unwrap();
        Draft::of(3, 0, 2 * part + 1).txn().sized(150).append(&log).unwrap();
        End::commit(3, 0).append(&log).unwrap();
        if part == 2 {
            End::abort(1, 0).append(&log).unwrap();
        }
        log.roll();
    }
    Draft::plain().append(&log).unwrap();
    engine.tick();
    let config = log.config();
    (engine, log, config)
}

fn assert_spanning(log: &Log, what: &str) {
    for from in 0..=15 {
        assert_eq!(aborted(log, from, WHOLE), [(0, 1)], "{what}: from {from}");
    }
    assert_eq!(aborted(log, 16, WHOLE), [], "{what}");
    let seen = bases(log, COMMITTED);
    assert_eq!(seen, [1, 2, 3, 6, 7, 8, 11, 12, 13, 16], "{what}");
}

// S-27, T-10, T-14, T-15.
#[test]
fn a_transaction_over_three_segments_is_aborted_in_each() {
    for_each_backend(|world| {
        let (_engine, log, _) = spanning(world);
        assert_eq!(log.segments().len(), 4);
        assert_spanning(&log, "as written");
    });
}

// S-28: the follower's index is the leader's.
#[test]
fn leader_and_follower_index_the_same_aborted_transactions() {
    for_each_backend(|world| {
        let (engine, log, _) = spanning(world);
        let mut copied = Vec::new();
        for (base, _) in log.segments() {
            let outcome = log.read(base, &oncelog::ReadOptions::default()).unwrap();
            copied.push(outcome.slices.concat());
        }
        engine.close().unwrap();
        let leader = index_entries(world);
        assert_eq!(leader, [[1, 0, 15, 16]], "only the aborted one");
        let follower = World::simulated();
        let engine = follower.open();
        let log = create_with(&engine, |c| c.index_interval_bytes = 200);
        for segment in copied {
            crate::common::append_as(&log, &segment, oncelog::Origin::Follower).unwrap();
            log.roll();
        }
        assert_spanning(&log, "copied");
        engine.close().unwrap();
        assert_eq!(index_entries(&follower), leader);
    });
}

// S-29, R-5, P-39: every combination of derived files gone, after a kill and after a clean close.
#[test]
fn aborted_transactions_are_found_again_whatever_derived_file_is_missing() {
    let sets: [&[&str]; 6] = [
        &[".txnindex"],
        &[".index"],
        &[".timeindex"],
        &[".state"],
        &[".state", ".snapshot"],
        &[".txnindex", ".index", ".timeindex", ".state", ".snapshot"],
    ];
    for clean in [false, true] {
        for gone in sets {
            // Kafka's format alone cannot say that a transaction index is missing (D-39).
            if clean && gone.len() == 5 {
                continue;
            }
            for_each_backend(|world| {
                let (engine, log, config) = spanning(world);
                let before = log.producers();
                if clean {
                    engine.close().unwrap();
                } else {
                    world.kill((engine, log));
                }
                for suffix in gone {
                    for file in world.files(suffix) {
                        world.remove(&world.file(&file));
                    }
                }
                let engine = world.open();
                let log = reopened(&engine, config);
                let what = format!("{gone:?} gone, clean {clean}");
                assert_spanning(&log, &what);
                if !(clean && gone.contains(&".snapshot")) {
                    let sequences = |p: &[oncelog::ProducerDescription]| {
                        let mut all: Vec<_> =
                            p.iter().map(|p| (p.producer_id, p.last_sequence)).collect();
                        all.sort_unstable();
                        all
                    };
                    assert_eq!(sequences(&log.producers()), sequences(&before), "{what}");
                }
                engine.close().unwrap();
                assert_eq!(index_entries(world), [[1, 0, 15, 16]], "{what}");
            });
        }
    }
}

// D-41: damage instead of absence.
#[test]
fn a_damaged_index_of_a_sealed_segment_hides_no_aborted_transaction() {
    for_each_backend(|world| {
        for suffix in [".txnindex", ".index", ".timeindex"] {
            let world = match world.backend {
                "sim" => World::simulated(),
                _ => World::real(oncelog::Backend::Std),
            };
            let (engine, _, config) = spanning(&world);
            engine.close().unwrap();
            for file in world.files(suffix) {
                let mut bytes = world.read(&world.file(&file));
                bytes.push(1);
                world.write(&world.file(&file), &bytes);
            }
            let engine = world.open();
            let log = reopened(&engine, config);
            assert_spanning(&log, suffix);
        }
    });
}

// S-30: the index of a segment cannot be written; readers do not see what was aborted, then or later.
#[test]
fn a_transaction_index_that_cannot_be_written_poisons_and_is_rebuilt() {
    let world = World::simulated();
    let engine = world.open();
    let log = create(&engine);
    Draft::of(1, 0, 0).txn().append(&log).unwrap();
    world.disk().fail(Fault::new(FaultKind::Write, 0).sticky().on(".txnindex"));
    End::abort(1, 0).append(&log).unwrap();
    log.roll();
    Draft::plain().append(&log).unwrap();
    engine.tick();
    let error = Draft::plain().append(&log).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Poisoned);
    assert_eq!(bases(&log, COMMITTED), [2], "reads go on, without the aborted record");
    world.disk().heal();
    world.kill((engine, log));
    let engine = world.open();
    let log = engine.log(&name()).unwrap();
    assert_eq!(bases(&log, COMMITTED), [2]);
    engine.close().unwrap();
    assert_eq!(index_entries(&world), [[1, 0, 1, 2]]);
}

// S-32, T-15: through the log, with the transactions of the scenario.
#[test]
fn a_read_lists_the_aborted_transactions_that_overlap_it() {
    for_each_backend(|world| {
        let log = create(&world.open());
        let mut at = 0;
        // First and last offset of each, markers in the order of their offsets.
        let mut events: Vec<(i64, i64, bool)> = Vec::new();
        for (pid, first, last) in [(1, 0, 10), (2, 5, 15), (3, 18, 35), (4, 32, 50)] {
            events.extend([(first, pid, false), (last, pid, true)]);
        }
        events.sort_unstable();
        for (offset, pid, ends) in events {
            while at < offset {
                Draft::plain().copy_to(&log, at, 0).unwrap();
                at += 1;
            }
            match ends {
                true => End::abort(pid, 0).copy_to(&log, at, 0).unwrap(),
                false => Draft::of(pid, 0, 0).txn().copy_to(&log, at, 0).unwrap(),
            };
            at += 1;
        }
        let all = [(0, 1), (5, 2), (18, 3), (32, 4)];
        for from in 0..=51 {
            for upto in from + 1..=51 {
                let bytes: usize = log.batches_of(from, upto).iter().map(bytes::Bytes::len).sum();
                let last = |pid: i64| [10, 15, 35, 50][usize::try_from(pid).unwrap() - 1];
                let expected: Vec<(i64, i64)> = all
                    .into_iter()
                    .filter(|(first, pid)| last(*pid) >= from && *first < upto)
                    .collect();
                assert_eq!(aborted(&log, from, bytes), expected, "{from}..{upto}");
            }
        }
    });
}

/// The stored bytes of every batch in a range.
trait BatchesOf {
    fn batches_of(&self, from: i64, upto: i64) -> Vec<bytes::Bytes>;
}

impl BatchesOf for Log {
    fn batches_of(&self, from: i64, upto: i64) -> Vec<bytes::Bytes> {
        let outcome = self.read(Offset::new(from), &oncelog::ReadOptions::default()).unwrap();
        let whole = outcome.slices.concat();
        let mut rest = &whole[..];
        let mut found = Vec::new();
        while let Ok((batch, after)) = oncelog::batch::Batch::parse(rest) {
            if batch.base_offset().get() < upto {
                found.push(bytes::Bytes::copy_from_slice(batch.as_bytes()));
            }
            rest = after;
        }
        found
    }
}

// T-20: what a producer writes outside of its transactions is never taken for aborted.
#[test]
fn a_plain_batch_after_an_aborted_transaction_is_delivered() {
    for_each_backend(|world| {
        let log = create(&world.open());
        Draft::of(1, 0, 0).txn().append(&log).unwrap();
        End::abort(1, 0).append(&log).unwrap();
        Draft::of(1, 0, 1).append(&log).unwrap();
        Draft::of(1, 0, 2).txn().append(&log).unwrap();
        End::commit(1, 0).append(&log).unwrap();
        assert_eq!(bases(&log, COMMITTED), [2, 3]);
        assert_eq!(values(&log, 1, COMMITTED).len(), 2, "from the marker on");
    });
}

// T-11, T-16, T-21b: one entry per aborted transaction, by first offset and producer.
#[test]
fn aborted_transactions_are_listed_once_each_by_first_offset() {
    for_each_backend(|world| {
        let log = create(&world.open());
        for (pid, sequence) in [(9, 0), (4, 0), (7, 0)] {
            Draft::of(pid, 0, sequence).txn().append(&log).unwrap();
        }
        for pid in [7, 4] {
            End::abort(pid, 0).append(&log).unwrap();
        }
        Draft::of(7, 0, 1).txn().append(&log).unwrap();
        End::abort(7, 0).append(&log).unwrap();
        End::abort(5, 0).append(&log).unwrap();
        End::commit(9, 0).append(&log).unwrap();
        assert_eq!(aborted(&log, 0, WHOLE), [(1, 4), (2, 7), (5, 7)]);
        assert_eq!(bases(&log, COMMITTED), [0]);
    });
}
