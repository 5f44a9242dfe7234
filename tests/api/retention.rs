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
        assert_eq!(segment_bases(&log), [3], "R-43");
    });
}

// S-45, R-24: nothing at or above the high watermark goes, however old.
#[test]
fn retention_does_not_reach_the_high_watermark() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create_with(&engine, config(|c| c.retention_ms = 1000));
        log.set_high_watermark(Offset::ZERO);
        segments_at(&log, &[T0; 5]);
        for high_watermark in [0, 1, 3] {
            log.set_high_watermark(Offset::new(high_watermark));
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
        Draft::plain().append(&log).unwrap();
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
