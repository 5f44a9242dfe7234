//! Logs whose high watermark the embedder sets: no restart shows what nobody has replicated.

use crate::common::{ALL, Draft, World, bases, create, for_each_backend, name};
use oncelog::{Engine, Log, Offset};

fn high_watermark(log: &Log) -> i64 {
    log.offsets().high_watermark.get()
}

fn set(log: &Log, high_watermark: i64) {
    log.set_high_watermark(Offset::new(high_watermark)).unwrap();
}

fn append(log: &Log, batches: usize) {
    for _ in 0..batches {
        Draft::plain().append(log).unwrap();
    }
}

fn reopened(world: &World) -> (Engine, Log) {
    let engine = world.open();
    let log = engine.log(&name()).unwrap();
    (engine, log)
}

// R-10, D-47: the high watermark on load is the stored one.
#[test]
fn a_replicated_log_opens_with_the_high_watermark_that_was_stored() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create(&engine);
        set(&log, 0);
        append(&log, 5);
        set(&log, 2);
        engine.tick();
        set(&log, 3);
        world.kill((engine, log));
        let (engine, log) = reopened(world);
        assert_eq!((high_watermark(&log), log.offsets().log_end_offset.get()), (2, 5));
        assert_eq!(bases(&log, ALL), [0, 1]);
        append(&log, 1);
        assert_eq!(high_watermark(&log), 2, "it follows nothing");
        set(&log, 4);
        assert_eq!(bases(&log, ALL), [0, 1, 2, 3]);
        engine.close().unwrap();
        let (_engine, log) = reopened(world);
        assert_eq!((high_watermark(&log), log.offsets().log_end_offset.get()), (4, 6));
    });
}

#[test]
fn the_first_high_watermark_that_is_set_outlasts_a_kill() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create(&engine);
        append(&log, 1);
        set(&log, 0);
        append(&log, 3);
        world.kill((engine, log));
        let (_engine, log) = reopened(world);
        assert_eq!((high_watermark(&log), log.offsets().log_end_offset.get()), (1, 4));
    });
}

// alone, a log moves to its end at once.
#[test]
fn a_log_that_nobody_replicates_opens_with_all_it_has() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create(&engine);
        append(&log, 2);
        engine.tick();
        append(&log, 2);
        world.kill((engine, log));
        assert_eq!(high_watermark(&reopened(world).1), 4);
    });
}

// What is appended behind a truncation is not what was replicated before.
#[test]
fn a_truncated_log_does_not_open_with_the_high_watermark_of_what_was_cut() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create(&engine);
        set(&log, 0);
        append(&log, 10);
        set(&log, 10);
        engine.tick();
        log.truncate_to(Offset::new(5)).unwrap();
        append(&log, 5);
        world.kill((engine, log));
        let (_engine, log) = reopened(world);
        assert_eq!((high_watermark(&log), log.offsets().log_end_offset.get()), (5, 10));
    });
}

#[test]
fn a_new_log_does_not_inherit_the_high_watermark_of_one_that_was_deleted() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create(&engine);
        set(&log, 0);
        append(&log, 10);
        set(&log, 10);
        engine.tick();
        engine.delete_log(&name()).unwrap();
        let again = create(&engine);
        append(&again, 1);
        assert_eq!(high_watermark(&again), 1, "nobody replicates this one");
        set(&again, 0);
        append(&again, 9);
        world.kill((engine, log, again));
        assert_eq!(high_watermark(&reopened(world).1), 1);
    });
}
