//! Reading: bounds, limits, every place bytes can be in, file ranges, and what outlives its segment.

use crate::common::{
    ALL, COMMITTED, Draft, End, World, bases, create, create_with, end, for_each_backend, name,
    reopened, values,
};
use oncelog::batch::Batch;
use oncelog::io::sim::{Fault, FaultKind};
use oncelog::{Backend, Engine, ErrorKind, Log, Offset, ReadOptions, ReadOutcome};
use std::path::Path;

fn read(log: &Log, from: i64, max_bytes: usize) -> oncelog::Result<ReadOutcome> {
    let mut options = ReadOptions::default();
    options.max_bytes = max_bytes;
    log.read(Offset::new(from), &options)
}

/// The base offsets of the batches of a read.
fn bases_of(outcome: &ReadOutcome) -> Vec<i64> {
    let bytes = outcome.slices.concat();
    let (mut rest, mut found) = (&bytes[..], Vec::new());
    while !rest.is_empty() {
        let (batch, after) = Batch::parse(rest).unwrap();
        found.push(batch.base_offset().get());
        rest = after;
    }
    found
}

// S-43.
#[test]
fn outside_of_the_log_is_an_error_and_its_end_is_not() {
    for_each_backend(|world| {
        let log = create(&world.open());
        Draft::plain().records(4).append(&log).unwrap();
        log.trim_before(Offset::new(1)).unwrap();
        for offset in [-1, 0, 5, i64::MAX] {
            let error = read(&log, offset, 100).unwrap_err();
            let (start, end) = (Offset::new(1), Offset::new(4));
            assert_eq!(*error.kind(), ErrorKind::OutOfRange { start, end }, "{offset}");
        }
        let at_end = read(&log, 4, 100).unwrap();
        assert!(at_end.slices.is_empty());
        assert_eq!(at_end.next_offset, Offset::new(4));
        // the log start lies inside the batch, which is returned whole.
        assert_eq!(bases_of(&read(&log, 1, 100).unwrap()), [0]);
    });
}

// T-12: between the reader's bound and the log's end there is nothing, and no error.
#[test]
fn a_reader_sees_up_to_the_bound_of_its_isolation() {
    for_each_backend(|world| {
        let log = create(&world.open());
        for _ in 0..3 {
            Draft::plain().append(&log).unwrap();
        }
        log.set_high_watermark(Offset::new(3));
        Draft::of(1, 0, 0).txn().append(&log).unwrap();
        Draft::plain().append(&log).unwrap();
        Draft::plain().append(&log).unwrap();
        log.set_high_watermark(Offset::new(5));
        assert_eq!(
            (bases(&log, ALL), bases(&log, COMMITTED)),
            (vec![0, 1, 2, 3, 4], vec![0, 1, 2])
        );
        for (isolation, bound) in [(ALL, 5), (COMMITTED, 3)] {
            let mut options = ReadOptions::default();
            options.isolation = isolation;
            for offset in bound..=6 {
                let outcome = log.read(Offset::new(offset), &options).unwrap();
                assert!(outcome.slices.is_empty());
                assert_eq!(outcome.high_watermark, Offset::new(5));
                assert_eq!(outcome.last_stable_offset, Offset::new(3));
            }
        }
    });
}

// A bound inside a batch: set so by whoever replicates. The batch is not cut.
#[test]
fn a_batch_that_begins_below_the_bound_is_returned_whole() {
    for_each_backend(|world| {
        let log = create(&world.open());
        log.set_high_watermark(Offset::ZERO);
        Draft::plain().records(4).append(&log).unwrap();
        Draft::plain().append(&log).unwrap();
        log.set_high_watermark(Offset::new(2));
        assert_eq!(bases_of(&read(&log, 0, 1000).unwrap()), [0]);
    });
}

// S-42, B-24.
#[test]
fn the_first_batch_may_exceed_the_limit_if_asked_for_and_others_may_not() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create(&engine);
        let size = Draft::plain().sized(100).build().len();
        for _ in 0..4 {
            Draft::plain().sized(100).append(&log).unwrap();
        }
        let check = |log: &Log| {
            for (max_bytes, count) in [(0, 1), (size, 1), (2 * size - 1, 1), (2 * size, 2)] {
                assert_eq!(bases_of(&read(log, 1, max_bytes).unwrap()).len(), count, "{max_bytes}");
                let mut options = ReadOptions::default();
                (options.max_bytes, options.min_one_batch) = (max_bytes, false);
                let outcome = log.read(Offset::new(1), &options).unwrap();
                let count = if max_bytes < size { 0 } else { count };
                assert_eq!(bases_of(&outcome).len(), count, "{max_bytes}, strict");
                let next = 1 + i64::try_from(count).unwrap();
                assert_eq!(outcome.next_offset, Offset::new(next));
            }
        };
        check(&log);
        log.roll();
        Draft::plain().append(&log).unwrap();
        check(&log);
        engine.tick();
        check(&log);
    });
}

// S-41, R-44: in a hole, the next batch, whatever segment it is in.
#[test]
fn a_read_in_a_hole_finds_the_next_batch() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create(&engine);
        for offset in [0, 10, 1000, 1001] {
            Draft::plain().copy_to(&log, offset, 0).unwrap();
            if offset >= 10 {
                log.roll();
            }
        }
        Draft::plain().copy_to(&log, 5000, 0).unwrap();
        let check = |log: &Log| {
            for (from, first) in [(0, 0), (1, 10), (10, 10), (11, 1000), (999, 1000), (1002, 5000)]
            {
                assert_eq!(bases_of(&read(log, from, 0).unwrap()), [first], "from {from}");
            }
            assert_eq!(bases(log, ALL), [0, 10, 1000, 1001, 5000]);
        };
        check(&log);
        engine.tick();
        check(&log);
        engine.close().unwrap();
        check(&world.open().log(&name()).unwrap());
    });
}

/// A log with bytes in every place: sealed segments, a rolled one, an active one whose beginning is
/// behind the tail, and the tail itself.
fn in_every_place(world: &World) -> (Engine, Log, Vec<Vec<u8>>) {
    let engine = world.open();
    let log = create_with(&engine, |c| c.segment_bytes = 6 << 20);
    let mut sent = Vec::new();
    let mut offset = 0;
    let mut put = |count: usize, bytes: usize| {
        for i in 0..count {
            let batch = Draft::of(1, 0, i32::try_from(offset).unwrap())
                .records(1 + i % 3)
                .sized(bytes)
                .build();
            let appended = crate::common::append(&log, &batch).unwrap();
            sent.push(crate::common::placed(batch, appended.base_offset.get(), -1));
            offset = appended.last_offset.get() + 1;
        }
    };
    put(20, 1000);
    log.roll();
    put(30, 5000);
    log.roll();
    engine.tick();
    put(9, 30_000);
    log.roll();
    // More than the tail keeps.
    put(12, 200_000);
    (engine, log, sent)
}

#[test]
fn bytes_are_the_same_wherever_they_are() {
    for_each_backend(|world| {
        let (engine, log, sent) = in_every_place(world);
        let whole = sent.concat();
        let check = |log: &Log, what: &str| {
            let all: Vec<u8> =
                log.batches(Offset::ZERO, ALL).flat_map(|b| b.unwrap().into_bytes()).collect();
            assert!(all == whole, "{what}: {} of {} bytes", all.len(), whole.len());
            // From every offset, also inside of batches.
            for batch in &sent {
                let (batch, _) = Batch::parse(batch).unwrap();
                for offset in batch.base_offset().get()..=batch.last_offset().get() {
                    let outcome = read(log, offset, 0).unwrap();
                    assert!(outcome.slices.concat() == batch.as_bytes(), "{what}: at {offset}");
                    assert_eq!(outcome.next_offset, batch.next_offset());
                }
            }
        };
        check(&log, "as written");
        engine.tick();
        check(&log, "sealed");
        let config = log.config();
        engine.close().unwrap();
        check(&reopened(&world.open(), config), "reopened");
    });
}

// What a reader holds stays what it was, whatever happens to the log.
#[test]
fn slices_outlive_retention_truncation_deletion_and_the_engine() {
    for_each_backend(|world| {
        let (engine, log, sent) = in_every_place(world);
        let whole = sent.concat();
        let hold = |log: &Log| -> Vec<bytes::Bytes> {
            log.batches(Offset::ZERO, ALL).map(|b| b.unwrap().into_bytes()).collect()
        };
        let held = hold(&log);
        let truncated = hold(&log);
        log.truncate_to(Offset::new(70)).unwrap();
        assert!(truncated.concat() == whole, "truncated");
        log.truncate_to(Offset::new(5)).unwrap();
        for i in 0..50 {
            Draft::plain().sized(3000 + i).append(&log).unwrap();
        }
        assert!(truncated.concat() == whole, "truncated and written anew");
        log.roll();
        Draft::plain().append(&log).unwrap();
        engine.tick();
        let again = hold(&log);
        let copy = again.concat();
        log.trim_before(Offset::new(end(&log) - 1)).unwrap();
        log.retain().unwrap();
        assert_eq!(log.segments().len(), 1);
        assert!(again.concat() == copy, "removed");
        engine.delete_log(&name()).unwrap();
        assert!(again.concat() == copy, "deleted");
        drop((log, engine));
        assert!(held.concat() == whole && again.concat() == copy, "and the engine is gone");
    });
}

// A sealed file that another program cut: an error, not a crash. (After it was mapped, nothing can be
// done about it: see the notes on maps in DESIGN.md.)
#[test]
fn a_sealed_file_that_somebody_cut_is_an_error() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create(&engine);
        for _ in 0..20 {
            Draft::plain().sized(1000).append(&log).unwrap();
        }
        log.roll();
        Draft::plain().append(&log).unwrap();
        engine.tick();
        let path = world.file("00000000000000000000.log");
        let bytes = world.read(&path);
        world.write(&path, &bytes[..bytes.len() / 2]);
        let error = read(&log, 15, 100).unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::Io | ErrorKind::Corrupt { .. }),
            "{}: {error:?}",
            world.backend
        );
        assert_eq!(bases_of(&read(&log, 20, 100).unwrap()), [20], "its neighbour is readable");
    });
}

// Damage in a sealed segment: reported with where to go on, and what lies before it is served.
#[test]
fn damage_ends_an_answer_and_is_reported_by_the_next_read() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create(&engine);
        let mut positions = vec![0];
        for _ in 0..5 {
            let batch = Draft::plain().records(3).sized(100).build();
            positions.push(positions.last().unwrap() + batch.len());
            crate::common::append(&log, &batch).unwrap();
        }
        log.roll();
        Draft::plain().append(&log).unwrap();
        let config = log.config();
        engine.close().unwrap();
        let path = world.file("00000000000000000000.log");
        let mut bytes = world.read(&path);
        bytes[positions[3] + 70] ^= 1;
        world.write(&path, &bytes);
        let engine = world.open();
        let log = reopened(&engine, config);
        assert_eq!(bases_of(&read(&log, 0, 1 << 20).unwrap()), [0, 3, 6]);
        for offset in 9..12 {
            let error = read(&log, offset, 1 << 20).unwrap_err();
            let (first, next) = (Offset::new(9), Offset::new(12));
            assert_eq!(*error.kind(), ErrorKind::Corrupt { first, next }, "at {offset}");
        }
        assert_eq!(bases_of(&read(&log, 12, 0).unwrap()), [12], "the way leads around it");
        let mut unverified = ReadOptions::default();
        unverified.verify = false;
        let known = log.read(Offset::new(9), &unverified).unwrap_err();
        assert!(matches!(*known.kind(), ErrorKind::Corrupt { .. }), "known damage is not served");
        let seen: Vec<_> = log.batches(Offset::ZERO, ALL).collect();
        assert_eq!(seen.len(), 6, "four before and after it, the active one, and the error");
        assert_eq!(seen.iter().filter(|b| b.is_err()).count(), 1);
        assert_eq!(values(&log, 15, ALL).len(), 1);
    });
}

#[test]
fn a_resident_read_is_what_a_read_returns_or_nothing() {
    for_each_backend(|world| {
        let (_engine, log, sent) = in_every_place(world);
        let last = Offset::new(log.offsets().log_end_offset.get() - 1);
        let mut resident = 0;
        for batch in &sent {
            let (batch, _) = Batch::parse(batch).unwrap();
            for max_bytes in [0, 300_000, 1 << 20] {
                let mut options = ReadOptions::default();
                options.max_bytes = max_bytes;
                options.isolation = COMMITTED;
                let offset = batch.base_offset();
                if let Some(found) = log.read_resident(offset, &options).unwrap() {
                    let read = log.read(offset, &options).unwrap();
                    assert!(found.slices.concat() == read.slices.concat(), "{offset}");
                    assert_eq!(found.next_offset, read.next_offset);
                    assert_eq!(found.high_watermark, read.high_watermark);
                    resident += 1;
                } else {
                    assert!(offset < last, "the newest batch is in memory");
                }
            }
        }
        assert!(resident >= 9 && resident < 3 * sent.len(), "{resident} of {}", sent.len());
        let options = ReadOptions::default();
        let nothing = log.read_resident(last.next(), &options).unwrap().unwrap();
        assert!(nothing.slices.is_empty(), "that there is nothing is known without the disk");
        assert!(log.read_resident(Offset::new(last.get() + 2), &options).is_err());
    });
}

#[test]
fn a_resident_read_never_asks_the_disk() {
    let world = World::simulated();
    let (_engine, log, sent) = in_every_place(&world);
    let mut options = ReadOptions::default();
    options.isolation = COMMITTED;
    let is_read = |batch: &Vec<u8>| {
        let (batch, _) = Batch::parse(batch).unwrap();
        log.read_resident(batch.base_offset(), &options).unwrap().is_some()
    };
    world.disk().fail(Fault::new(FaultKind::Read, 0).sticky());
    let resident = sent.iter().filter(|batch| is_read(batch)).count();
    assert!(resident > 3, "{resident}");
    assert_eq!(world.disk().faults_met(), 0);
}

// sendfile: the range of the file holds the very bytes that a read returns.
#[test]
fn a_file_range_names_the_bytes_that_a_read_returns() {
    for_each_backend(|world| {
        let (engine, log, sent) = in_every_place(world);
        engine.tick();
        let active = log.segments().last().unwrap().0;
        let mut ranges = 0;
        for batch in &sent {
            let (batch, _) = Batch::parse(batch).unwrap();
            for max_bytes in [0, 12_000, 1 << 20] {
                let mut options = ReadOptions::default();
                options.max_bytes = max_bytes;
                let offset = batch.last_offset();
                let range = log.read_file_range(offset, &options).unwrap();
                if offset >= active {
                    assert!(range.is_none(), "an active segment's file is still written");
                    continue;
                }
                let (range, read) = (range.unwrap(), log.read(offset, &options).unwrap());
                let mut bytes = vec![0; range.len];
                assert_eq!(range.file.read_at(&mut bytes, range.position).unwrap(), range.len);
                assert!(bytes == read.slices.concat(), "at {offset}, {max_bytes}");
                assert!(range.outcome.slices.is_empty());
                assert_eq!(range.outcome.next_offset, read.next_offset);
                assert_eq!(range.outcome.high_watermark, read.high_watermark);
                ranges += 1;
            }
        }
        assert!(ranges > 100);
        let end = log.offsets().log_end_offset;
        assert!(log.read_file_range(end, &ReadOptions::default()).unwrap().is_none());
        assert!(log.read_file_range(end.next(), &ReadOptions::default()).is_err());
    });
}

// A file range for a read-committed reader ends at its bound and lists what is aborted.
#[test]
fn a_file_range_respects_isolation() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create(&engine);
        Draft::of(1, 0, 0).txn().append(&log).unwrap();
        End::abort(1, 0).append(&log).unwrap();
        Draft::of(2, 0, 0).txn().append(&log).unwrap();
        Draft::plain().append(&log).unwrap();
        log.roll();
        Draft::plain().append(&log).unwrap();
        engine.tick();
        let mut options = ReadOptions::default();
        options.isolation = COMMITTED;
        let range = log.read_file_range(Offset::ZERO, &options).unwrap().unwrap();
        assert_eq!(range.outcome.next_offset, Offset::new(2));
        let first = range.outcome.aborted[0];
        assert_eq!((first.first_offset, first.producer_id.get()), (Offset::ZERO, 1));
        assert!(log.read_file_range(Offset::new(2), &options).unwrap().is_none());
    });
}

#[cfg(target_os = "linux")]
#[test]
fn sendfile_copies_a_file_range_after_its_log_was_deleted() {
    use std::os::fd::AsFd;
    for backend in [Backend::Std, Backend::Auto] {
        let world = World::real(backend);
        let (engine, log, sent) = in_every_place(&world);
        engine.tick();
        let range = log.read_file_range(Offset::ZERO, &ReadOptions::default()).unwrap().unwrap();
        engine.delete_log(&name()).unwrap();
        let target = tempfile::tempfile().unwrap();
        let source = range.as_fd().unwrap();
        let mut position = range.position;
        let mut left = range.len;
        while left > 0 {
            let moved = rustix::fs::sendfile(target.as_fd(), source, Some(&mut position), left);
            left -= moved.unwrap();
        }
        let mut copied = vec![0; range.len];
        std::os::unix::fs::FileExt::read_exact_at(&target, &mut copied, 0).unwrap();
        assert!(sent.concat().starts_with(&copied) && copied.len() > 20_000);
        assert!(!Path::new(&world.path).join("t-0").exists());
    }
}
