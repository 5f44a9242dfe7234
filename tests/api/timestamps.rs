//! Offsets by time.

use crate::common::{
    ALL, COMMITTED, Draft, End, T0, World, create, create_with, for_each_backend, name, reopened,
};
use oncelog::{Isolation, LeaderEpoch, Log, Offset, TimestampType, TimestampedOffset};

/// Offset, time relative to the first record, leader epoch.
fn short(found: Option<TimestampedOffset>) -> Option<(i64, i64, i32)> {
    found.map(|f| (f.offset.get(), f.timestamp_ms - T0, f.leader_epoch.get()))
}

fn at(log: &Log, time: i64, isolation: Isolation) -> Option<(i64, i64, i32)> {
    short(log.offset_for_timestamp(T0 + time, isolation).unwrap())
}

fn max(log: &Log) -> Option<(i64, i64, i32)> {
    short(log.offset_of_max_timestamp().unwrap())
}

/// Runs a check on the log as it was written, sealed, reopened, and recovered.
fn in_every_state(world: &World, write: impl Fn(&Log), check: impl Fn(&Log, &str)) {
    let engine = world.open();
    let log = create_with(&engine, |c| c.index_interval_bytes = 200);
    let config = log.config();
    write(&log);
    check(&log, "as written");
    engine.tick();
    check(&log, "sealed");
    engine.close().unwrap();
    let engine = world.open();
    let log = reopened(&engine, config.clone());
    check(&log, "reopened");
    world.kill((engine, log));
    let engine = world.open();
    check(&reopened(&engine, config), "recovered");
}

// S-49, D-36, 4.5.
#[test]
fn the_first_record_at_or_after_a_time_is_found_inside_its_batch() {
    for_each_backend(|world| {
        let write = |log: &Log| {
            log.begin_leader_epoch(LeaderEpoch::new(2)).unwrap();
            Draft::plain().records(10).step(10).append(log).unwrap();
            log.begin_leader_epoch(LeaderEpoch::new(5)).unwrap();
            log.roll();
            for i in 1..20 {
                Draft::plain().records(10).at(T0 + 100 * i).step(10).append(log).unwrap();
            }
        };
        in_every_state(world, write, |log, what| {
            assert_eq!(at(log, -5, ALL), Some((0, 0, 2)), "{what}");
            for time in 1..=1990 {
                let offset = (time + 9) / 10;
                let epoch = if offset < 10 { 2 } else { 5 };
                assert_eq!(at(log, time, ALL), Some((offset, offset * 10, epoch)), "{what}");
            }
            assert_eq!(at(log, 1991, ALL), None, "{what}");
            assert_eq!(max(log), Some((199, 1990, 5)), "{what}");
        });
    });
}

// D-33: times that jump back. The first record by offset counts, not the nearest by time.
#[test]
fn among_times_that_jump_the_first_offset_wins() {
    let times = [50, 10, 90, 20, 90, 30, 70, 95, 5, 95];
    for_each_backend(|world| {
        let write = |log: &Log| {
            for (i, time) in times.into_iter().enumerate() {
                Draft::plain().at(T0 + time).sized(150).append(log).unwrap();
                if i % 4 == 3 {
                    log.roll();
                }
            }
        };
        in_every_state(world, write, |log, what| {
            for time in 0..=100 {
                let first = (0_i64..).zip(times).find(|(_, t)| *t >= time);
                let expected = first.map(|(offset, t)| (offset, t, -1));
                assert_eq!(at(log, time, ALL), expected, "{what}: {time}");
            }
            assert_eq!(max(log), Some((7, 95, -1)), "{what}: the first of the latest");
        });
    });
}

// T-22: what the reader may not see is not found either.
#[test]
fn a_search_by_time_ends_at_the_readers_bound() {
    for_each_backend(|world| {
        let log = create(&world.open());
        Draft::plain().append(&log).unwrap();
        Draft::of(1, 0, 0).txn().at(T0 + 10).append(&log).unwrap();
        Draft::plain().at(T0 + 20).append(&log).unwrap();
        assert_eq!(at(&log, 1, ALL), Some((1, 10, -1)));
        assert_eq!(at(&log, 1, COMMITTED), None);
        assert_eq!(at(&log, 0, COMMITTED), Some((0, 0, -1)));
        // T-25: records of an aborted transaction count.
        End::abort(1, 0).append(&log).unwrap();
        assert_eq!(at(&log, 1, COMMITTED), Some((1, 10, -1)));
        log.set_high_watermark(Offset::new(4)).unwrap();
        Draft::plain().at(T0 + 30).append(&log).unwrap();
        assert_eq!(at(&log, 25, ALL), None);
        log.set_high_watermark(Offset::new(5)).unwrap();
        assert_eq!(at(&log, 25, ALL), Some((4, 30, -1)));
    });
}

// D-34: records without a time have no entry, and are never found.
#[test]
fn records_without_a_time_are_not_found_and_hide_nothing() {
    for_each_backend(|world| {
        let write = |log: &Log| {
            for _ in 0..5 {
                Draft::plain().at(-1).sized(100).append(log).unwrap();
            }
            log.roll();
            Draft::plain().at(T0 + 7).append(log).unwrap();
            log.roll();
            Draft::plain().at(-1).append(log).unwrap();
        };
        in_every_state(world, write, |log, what| {
            assert_eq!(at(log, 0, ALL), Some((5, 7, -1)), "{what}");
            assert_eq!(max(log), Some((5, 7, -1)), "{what}");
        });
        let world = World::simulated();
        let log = create(&world.open());
        assert_eq!((at(&log, 0, ALL), max(&log)), (None, None), "nothing at all");
        Draft::plain().at(-1).append(&log).unwrap();
        assert_eq!((at(&log, 0, ALL), max(&log)), (None, None), "nothing with a time");
    });
}

// R-31, T-22: records before the log start are not found, though their batch is still there.
#[test]
fn trimmed_records_are_not_found_by_time() {
    for_each_backend(|world| {
        let write = |log: &Log| {
            // The latest time is that of the first record.
            Draft::plain().records(5).at(T0 + 500).step(-100).append(log).unwrap();
            Draft::plain().at(T0 + 250).append(log).unwrap();
            log.roll();
            Draft::plain().at(T0 + 50).append(log).unwrap();
            log.trim_before(Offset::new(2)).unwrap();
        };
        in_every_state(world, write, |log, what| {
            assert_eq!(at(log, 0, ALL), Some((2, 300, -1)), "{what}");
            assert_eq!(at(log, 301, ALL), None, "{what}");
            assert_eq!(max(log), Some((2, 300, -1)), "{what}");
            let log_start = log.offsets().log_start_offset;
            assert_eq!(log_start, Offset::new(2));
        });
    });
}

// A marker is no record of a program; the largest time may be its own, as in Kafka.
#[test]
fn a_marker_is_found_as_the_largest_time_only() {
    for_each_backend(|world| {
        let log = create(&world.open());
        Draft::of(1, 0, 0).txn().at(T0 - 100).append(&log).unwrap();
        End::commit(1, 0).append(&log).unwrap();
        assert_eq!(at(&log, -50, ALL), None);
        assert_eq!(max(&log), Some((1, 0, -1)));
        Draft::plain().at(T0 + 1).append(&log).unwrap();
        assert_eq!(at(&log, -50, ALL), Some((2, 1, -1)));
    });
}

// D-14: with the log's own time, every record of a batch has it.
#[test]
fn with_the_logs_own_time_a_batch_is_one_moment() {
    for_each_backend(|world| {
        let log = create_with(&world.open(), |c| c.timestamp_type = TimestampType::LogAppendTime);
        let first = Draft::plain().records(3).step(5).append(&log).unwrap().log_append_time_ms;
        world.pass_ms(1000);
        Draft::plain().records(3).append(&log).unwrap();
        let find = |time| short(log.offset_for_timestamp(time, ALL).unwrap()).map(|f| f.0);
        assert_eq!([find(first), find(first + 1), find(first + 1001)], [Some(0), Some(3), None]);
    });
}

// S-36 for time: whatever happened to the index files, the answers are the same.
#[test]
fn a_lost_or_damaged_time_index_changes_no_answer() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create_with(&engine, |c| c.index_interval_bytes = 100);
        let config = log.config();
        for i in 0..30 {
            Draft::plain().at(T0 + i * 10).sized(100).append(&log).unwrap();
            if i % 10 == 9 {
                log.roll();
            }
        }
        Draft::plain().at(T0 + 1000).append(&log).unwrap();
        engine.close().unwrap();
        let files: Vec<(String, Vec<u8>)> = world
            .files("index")
            .into_iter()
            .map(|file| (file.clone(), world.read(&world.file(&file))))
            .collect();
        for damage in ["removed", "emptied", "a byte short", "filled with ones"] {
            for (file, bytes) in &files {
                let path = world.file(file);
                match damage {
                    "removed" => world.remove(&path),
                    "emptied" => world.write(&path, &[]),
                    "a byte short" => world.write(&path, &bytes[..bytes.len().saturating_sub(1)]),
                    _ => world.write(&path, &vec![0xff; bytes.len()]),
                }
            }
            let engine = world.open();
            let log = reopened(&engine, config.clone());
            for i in 0..30 {
                assert_eq!(at(&log, i * 10 - 3, ALL), Some((i, i * 10, -1)), "{damage}");
            }
            assert_eq!(at(&log, 291, ALL), Some((30, 1000, -1)), "{damage}");
            assert_eq!(max(&log), Some((30, 1000, -1)), "{damage}");
            assert_eq!(crate::common::bases(&log, ALL).len(), 31, "{damage}");
            engine.close().unwrap();
        }
        assert_eq!(world.open().log(&name()).unwrap().segments().len(), 4);
    });
}
