//! Retention and trimming: what may go, what must stay, and that it stays gone.

use crate::common::{
    ALL, DAY_MS, Draft, End, NOW_MS, T0, World, bases, create, create_with, end, for_each_backend,
    name, reopened, verdict,
};
use oncelog::{CleanupPolicy, Engine, ErrorKind, Log, LogConfig, Offset};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

fn segment_bases(log: &Log) -> Vec<i64> {
    log.segments().iter().map(|(base, _)| base.get()).collect()
}

fn log_start(log: &Log) -> i64 {
    log.offsets().log_start_offset.get()
}

/// A segment for each time, of one batch; the last is active.
fn segments_at(log: &Log, times: &[i64]) {
    for (i, time) in times.iter().enumerate() {
        if i > 0 {
            log.roll();
        }
        Draft::plain().at(*time).append(log).unwrap();
    }
}

fn config(change: impl FnOnce(&mut LogConfig)) -> impl FnOnce(&mut LogConfig) {
    |c| {
        c.timestamp_after_max_ms = i64::MAX;
        c.segment_ms = i64::MAX;
        change(c);
    }
}

fn settle(engine: &Engine, log: &Log) {
    engine.tick();
    log.retain().unwrap();
}

// whole segments from the front, each older than the limit by its latest record.
#[test]
fn segments_go_when_their_latest_record_is_too_old() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create_with(&engine, config(|c| c.retention_ms = 10_000));
        segments_at(&log, &[NOW_MS, NOW_MS + 1000, NOW_MS + 2000, NOW_MS + 9000]);
        world.pass_ms(10_000);
        settle(&engine, &log);
        assert_eq!(segment_bases(&log), [0, 1, 2, 3], "exactly as old as allowed");
        world.pass_ms(1);
        settle(&engine, &log);
        assert_eq!((segment_bases(&log), log_start(&log)), (vec![1, 2, 3], 1));
        world.pass_ms(2000);
        settle(&engine, &log);
        assert_eq!((segment_bases(&log), log_start(&log)), (vec![3], 3));
        assert_eq!(bases(&log, ALL), [3]);
        assert_eq!(world.files(".log").len(), 1, "R-28: the files are gone");
        assert_eq!(world.files("00.index").len(), 0);
    });
}

// one record from the future holds its segment and all behind it.
#[test]
fn retention_stops_at_the_first_segment_that_must_stay() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create_with(&engine, config(|c| c.retention_ms = 1000));
        segments_at(&log, &[T0, T0, NOW_MS + DAY_MS, T0, T0]);
        settle(&engine, &log);
        assert_eq!(segment_bases(&log), [2, 3, 4]);
    });
}

// the log stays at or above its limit.
#[test]
fn segments_go_by_size_as_long_as_the_log_stays_at_the_limit() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create_with(&engine, config(|c| c.retention_ms = -1));
        segments_at(&log, &[NOW_MS; 5]);
        let size = log.size_bytes() / 5;
        let set = |limit: u64| {
            let mut config = log.config();
            config.retention_bytes = i64::try_from(limit).unwrap();
            log.set_config(config).unwrap();
        };
        for (limit, left) in [(5 * size, 5), (4 * size + 1, 5), (4 * size, 4), (2 * size + 1, 3)] {
            set(limit);
            settle(&engine, &log);
            assert_eq!(log.segments().len(), left, "limit {limit} of {size} each");
            assert!(log.size_bytes() >= limit);
        }
    });
}

#[test]
fn without_limits_nothing_goes() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create_with(&engine, config(|c| c.retention_ms = -1));
        segments_at(&log, &[1, 2, T0]);
        world.pass_ms(1000 * DAY_MS);
        settle(&engine, &log);
        assert_eq!(segment_bases(&log), [0, 1, 2]);
    });
}

// a compacted log loses only what lies before its log start.
#[test]
fn a_compacted_log_keeps_old_segments() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create_with(
            &engine,
            config(|c| (c.retention_ms, c.cleanup_policy) = (1000, CleanupPolicy::Compact)),
        );
        segments_at(&log, &[T0; 4]);
        settle(&engine, &log);
        assert_eq!(segment_bases(&log), [0, 1, 2, 3]);
        log.trim_before(Offset::new(2)).unwrap();
        settle(&engine, &log);
        assert_eq!(segment_bases(&log), [2, 3], "R-27");
        let mut both = log.config();
        both.cleanup_policy = CleanupPolicy::CompactDelete;
        log.set_config(both).unwrap();
        settle(&engine, &log);
        assert_eq!(segment_bases(&log), [4], "R-43");
    });
}

// S-45, R-24: nothing at or above the high watermark goes, however old.
#[test]
fn retention_does_not_reach_the_high_watermark() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create_with(&engine, config(|c| c.retention_ms = 1000));
        log.set_high_watermark(Offset::ZERO).unwrap();
        segments_at(&log, &[T0; 5]);
        for high_watermark in [0, 1, 3] {
            log.set_high_watermark(Offset::new(high_watermark)).unwrap();
            settle(&engine, &log);
            assert_eq!(log_start(&log), high_watermark);
        }
    });
}

// The embedder has the last word.
#[test]
fn a_veto_holds_retention_back() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create_with(&engine, config(|c| c.retention_ms = 1000));
        segments_at(&log, &[T0; 5]);
        let bound = Arc::new(AtomicI64::new(0));
        let veto = Arc::clone(&bound);
        engine.set_retention_veto(Arc::new(move |_, wanted| {
            wanted.min(Offset::new(veto.load(Ordering::SeqCst)))
        }));
        for allowed in [0, 2, 3] {
            bound.store(allowed, Ordering::SeqCst);
            settle(&engine, &log);
            assert_eq!(log_start(&log), allowed);
        }
    });
}

// S-46, R-30, R-31.
#[test]
fn trimming_moves_the_log_start_forward_only_and_not_past_the_high_watermark() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create(&engine);
        for _ in 0..4 {
            Draft::plain().records(3).append(&log).unwrap();
            log.roll();
        }
        engine.tick();
        let error = log.trim_before(Offset::new(13)).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::OutOfRange { .. }), "{error:?}");
        assert_eq!(log.trim_before(Offset::new(4)).unwrap(), Offset::new(4));
        assert_eq!(log.trim_before(Offset::new(2)).unwrap(), Offset::new(4), "never back");
        assert!(log.read(Offset::new(3), &oncelog::ReadOptions::default()).is_err());
        log.retain().unwrap();
        assert_eq!(segment_bases(&log), [3, 6, 9, 12]);
        log.trim_before(Offset::new(12)).unwrap();
        log.retain().unwrap();
        assert_eq!((log_start(&log), end(&log)), (12, 12), "everything");
        assert_eq!(Draft::plain().append(&log).unwrap().base_offset, Offset::new(12));
    });
}

// S-46: an acknowledged trim is durable, over every kind of stop.
#[test]
fn a_trim_survives_kill_and_close() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create(&engine);
        let config = log.config();
        segments_at(&log, &[T0; 4]);
        Draft::plain().records(5).append(&log).unwrap();
        engine.tick();
        log.trim_before(Offset::new(2)).unwrap();
        world.kill((engine, log));
        let engine = world.open();
        let log = reopened(&engine, config.clone());
        assert_eq!((log_start(&log), end(&log)), (2, 9));
        log.trim_before(Offset::new(6)).unwrap();
        log.retain().unwrap();
        engine.close().unwrap();
        let log = reopened(&world.open(), config);
        assert_eq!((log_start(&log), end(&log)), (6, 9));
    });
}

// P-36: the producers of removed records are remembered.
#[test]
fn retention_forgets_no_producer() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create_with(&engine, config(|c| c.retention_ms = 1000));
        let config = log.config();
        for sequence in 0..3 {
            Draft::of(1, 0, sequence).at(T0).append(&log).unwrap();
            log.roll();
        }
        Draft::plain().at(NOW_MS).append(&log).unwrap();
        settle(&engine, &log);
        assert_eq!(log_start(&log), 3);
        assert_eq!(verdict(Draft::of(1, 0, 2).at(T0).append(&log)), "duplicate");
        world.kill((engine, log));
        let log = reopened(&world.open(), config);
        assert_eq!(verdict(Draft::of(1, 0, 2).at(T0).append(&log)), "duplicate");
        assert_eq!(verdict(Draft::of(1, 0, 4).at(T0).append(&log)), "45");
    });
}

// T-4, T-10: the aborted transactions of what is left are still known.
#[test]
fn retention_keeps_what_is_known_of_transactions_that_reach_into_the_rest() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create(&engine);
        let config = log.config();
        Draft::of(1, 0, 0).txn().append(&log).unwrap();
        log.roll();
        Draft::of(1, 0, 1).txn().append(&log).unwrap();
        Draft::plain().append(&log).unwrap();
        End::abort(1, 0).append(&log).unwrap();
        log.roll();
        Draft::plain().append(&log).unwrap();
        engine.tick();
        log.trim_before(Offset::new(1)).unwrap();
        log.retain().unwrap();
        assert_eq!(segment_bases(&log), [1, 4]);
        let check = |log: &Log| assert_eq!(bases(log, crate::common::COMMITTED), [2, 4]);
        check(&log);
        engine.close().unwrap();
        check(&reopened(&world.open(), config));
    });
}

// a segment whose latest time nothing says is kept rather than removed.
#[test]
fn a_segment_without_times_is_not_removed_by_age() {
    for_each_backend(|world: &World| {
        let engine = world.open();
        let log = create_with(&engine, config(|c| c.retention_ms = 1000));
        let config = log.config();
        segments_at(&log, &[-1, T0, T0]);
        settle(&engine, &log);
        assert_eq!(segment_bases(&log), [0, 1, 2]);
        engine.close().unwrap();
        let engine = world.open();
        let log = reopened(&engine, config);
        settle(&engine, &log);
        assert_eq!(segment_bases(&log), [0, 1, 2]);
        assert_eq!(engine.logs().unwrap().len(), 1);
        assert!(engine.log(&name()).is_ok());
    });
}

// if all of a log has expired, an empty segment at its end remains.
#[test]
fn a_log_whose_every_record_has_expired_becomes_empty() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create_with(&engine, config(|c| c.retention_ms = 10_000));
        let config = log.config();
        segments_at(&log, &[NOW_MS, NOW_MS + 1000, NOW_MS + 2000]);
        world.pass_ms(12_000);
        settle(&engine, &log);
        assert_eq!(segment_bases(&log), [2], "exactly as old as allowed");
        world.pass_ms(1);
        settle(&engine, &log);
        assert_eq!(log.segments(), [(Offset::new(3), 0)]);
        assert_eq!((log_start(&log), end(&log)), (3, 3));
        settle(&engine, &log);
        assert_eq!(log.segments(), [(Offset::new(3), 0)], "an empty segment stays");
        world.kill((engine, log));
        let log = reopened(&world.open(), config);
        assert_eq!((log_start(&log), end(&log)), (3, 3));
        assert_eq!(Draft::plain().append(&log).unwrap().base_offset, Offset::new(3));
    });
}

// the active segment is rolled for retention only if retention may then remove it.
#[test]
fn an_expired_active_segment_is_not_rolled_in_vain() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create_with(&engine, config(|c| c.retention_ms = 1000));
        log.set_high_watermark(Offset::ZERO).unwrap();
        Draft::plain().at(T0).append(&log).unwrap();
        settle(&engine, &log);
        assert_eq!(segment_bases(&log), [0], "not replicated");
        log.set_high_watermark(Offset::new(1)).unwrap();
        engine.set_retention_veto(Arc::new(|_, _| Offset::ZERO));
        settle(&engine, &log);
        assert_eq!(segment_bases(&log), [0], "vetoed");
        engine.set_retention_veto(Arc::new(|_, wanted| wanted));
        settle(&engine, &log);
        assert_eq!(segment_bases(&log), [1]);
    });
}

// a time index that was read from its file is not the last word about the active segment either.
#[test]
fn a_damaged_time_index_costs_no_fresh_record_of_the_active_segment() {
    let world = World::simulated();
    let engine = world.open();
    let log = create_with(&engine, config(|c| c.retention_ms = 1000));
    let config = log.config();
    for n in 0..200 {
        Draft::plain().at(NOW_MS - 10_000 + n).sized(100).append(&log).unwrap();
    }
    // The youngest record is not the last one.
    Draft::plain().at(NOW_MS).sized(10_000).append(&log).unwrap();
    for _ in 0..4 {
        Draft::plain().at(T0).sized(6000).append(&log).unwrap();
    }
    engine.close().unwrap();
    let file = world.file("00000000000000000000.timeindex");
    let mut bytes = world.read(&file);
    let last = bytes.len() - 12;
    assert_eq!(bytes[last..last + 8], NOW_MS.to_be_bytes());
    bytes[last..last + 8].copy_from_slice(&(NOW_MS - 5000).to_be_bytes());
    world.write(&file, &bytes);
    let engine = world.open();
    let log = reopened(&engine, config);
    settle(&engine, &log);
    assert_eq!((log_start(&log), end(&log)), (0, 205));
}

// data that was appended a moment ago is not old because the clock says so.
#[test]
fn a_clock_that_jumps_ahead_costs_no_fresh_data() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create_with(&engine, config(|c| c.retention_ms = DAY_MS));
        let clock = world.clock();
        segments_at(&log, &[NOW_MS - 2 * DAY_MS, NOW_MS, NOW_MS]);
        clock.set_wall_ms(NOW_MS + 30 * DAY_MS);
        settle(&engine, &log);
        assert_eq!(segment_bases(&log), [1, 2], "what was old before is old");
        world.pass_ms(DAY_MS / 2);
        settle(&engine, &log);
        assert_eq!(segment_bases(&log), [1, 2]);
        // Somebody sets it right.
        clock.set_wall_ms(NOW_MS + DAY_MS / 2);
        settle(&engine, &log);
        world.pass_ms(DAY_MS / 2);
        settle(&engine, &log);
        assert_eq!(segment_bases(&log), [1, 2], "exactly as old as allowed");
        world.pass_ms(1);
        settle(&engine, &log);
        assert_eq!(segment_bases(&log), [3]);
    });
}

#[test]
fn a_jump_of_the_clock_that_lasts_is_believed_after_a_day() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create_with(&engine, config(|c| c.retention_ms = 10 * DAY_MS));
        segments_at(&log, &[NOW_MS, NOW_MS]);
        world.clock().set_wall_ms(NOW_MS + 30 * DAY_MS);
        settle(&engine, &log);
        world.pass_ms(DAY_MS - 1);
        settle(&engine, &log);
        assert_eq!(log_start(&log), 0);
        world.pass_ms(1);
        settle(&engine, &log);
        assert_eq!(log_start(&log), 2);
    });
}

// retention does not wait for somebody to ask for the log.
#[test]
fn a_log_that_nobody_asked_for_since_a_clean_open_loses_what_expired() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create_with(&engine, config(|c| c.retention_ms = DAY_MS));
        segments_at(&log, &[NOW_MS - DAY_MS, NOW_MS, NOW_MS]);
        engine.close().unwrap();
        let engine = world.open();
        engine.tick();
        assert_eq!(world.files(".log").len(), 3, "exactly as old as allowed");
        world.pass_ms(1);
        engine.tick();
        assert_eq!(world.files(".log.deleted").len(), 1);
        engine.close().unwrap();
        // By size, and below a log start that was stored before a kill could remove anything.
        let engine = world.open();
        let mut config = log_config(&engine);
        (config.retention_ms, config.retention_bytes) = (-1, 0);
        reopened(&engine, config);
        engine.close().unwrap();
        let engine = world.open();
        engine.tick();
        assert_eq!(world.files(".log.deleted").len(), 2);
        assert_eq!(log_start(&engine.log(&name()).unwrap()), 3);
    });
}

fn log_config(engine: &Engine) -> LogConfig {
    engine.log(&name()).unwrap().config()
}

// Nobody has configured the log yet in this life of the engine: its default must cost nothing.
#[test]
fn what_retention_may_remove_is_remembered_with_the_log() {
    for_each_backend(|world| {
        let options = || {
            let mut options = world.options();
            options.log.retention_ms = 1000;
            options
        };
        let engine = world.open_with(options()).unwrap();
        let log = create_with(&engine, config(|c| c.retention_ms = -1));
        segments_at(&log, &[T0; 3]);
        world.kill((engine, log));
        // After a kill every log is loaded by the open.
        let engine = world.open_with(options()).unwrap();
        engine.tick();
        assert_eq!(log_start(&engine.log(&name()).unwrap()), 0);
        engine.close().unwrap();
        let engine = world.open_with(options()).unwrap();
        engine.tick();
        let log = engine.log(&name()).unwrap();
        engine.tick();
        assert_eq!((log_start(&log), log.config().retention_ms), (0, -1));
        // What is set later counts, durably at once.
        let mut config = log.config();
        config.retention_ms = 2 * DAY_MS;
        log.set_config(config).unwrap();
        world.kill((engine, log));
        let engine = world.open_with(options()).unwrap();
        assert_eq!(log_config(&engine).retention_ms, 2 * DAY_MS);
    });
}

// A truncation removes the state that remembered it.
#[test]
fn retention_is_remembered_over_a_truncation() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create_with(&engine, config(|c| c.retention_ms = 1000));
        segments_at(&log, &[NOW_MS; 3]);
        let mut config = log.config();
        config.retention_ms = -1;
        log.set_config(config).unwrap();
        log.truncate_to(Offset::new(1)).unwrap();
        world.kill((engine, log));
        assert_eq!(log_config(&world.open()).retention_ms, -1);
    });
}
