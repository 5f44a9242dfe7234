//! Cutting a log from its end.

use crate::common::{
    ALL, COMMITTED, Draft, End, T0, World, aborted, append, bases, create, create_with, end,
    for_each_backend, last_stable, name, plain, reopened, values, verdict,
};
use oncelog::{AppendOptions, AppendTicket, ErrorKind, Log, Offset};
use std::future::Future;
use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;

// at, above and below the end; across segments, sealed or not; to nothing.
#[test]
fn a_truncation_removes_every_batch_that_reaches_the_offset() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create(&engine);
        let config = log.config();
        for part in 0..4 {
            if part > 0 {
                log.roll();
            }
            for i in 0..3 {
                Draft::plain().records(2).at(T0 + part * 100 + i).append(&log).unwrap();
            }
            if part == 1 {
                engine.tick();
            }
        }
        let all: Vec<i64> = (0..12).map(|i| 2 * i).collect();
        for (offset, left) in [(30, 12), (24, 12), (23, 11), (22, 11), (18, 9), (13, 6), (5, 2)] {
            log.truncate_to(Offset::new(offset)).unwrap();
            assert_eq!(bases(&log, ALL), all[..left], "to {offset}");
            assert_eq!(end(&log), 2 * i64::try_from(left).unwrap(), "to {offset}");
            let offsets = log.offsets();
            assert_eq!(offsets.high_watermark, offsets.log_end_offset);
            assert_eq!(log.offset_for_timestamp(T0 + 400, ALL).unwrap(), None);
        }
        Draft::plain().append(&log).unwrap();
        assert_eq!(bases(&log, ALL), [0, 2, 4]);
        world.kill((engine, log));
        let engine = world.open();
        let log = reopened(&engine, config);
        assert_eq!(bases(&log, ALL), [0, 2, 4]);
        log.truncate_to(Offset::ZERO).unwrap();
        assert_eq!((bases(&log, ALL), end(&log), log.segments().len()), (vec![], 0, 1));
        engine.close().unwrap();
        assert_eq!(end(&world.open().log(&name()).unwrap()), 0);
    });
}

// S-39.
#[test]
fn a_reopened_log_can_be_truncated_and_its_indexes_agree() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create_with(&engine, |c| c.index_interval_bytes = 100);
        let config = log.config();
        for i in 0..40 {
            Draft::plain().sized(60).at(T0 + i).append(&log).unwrap();
            if i == 19 {
                log.roll();
            }
        }
        engine.close().unwrap();
        for to in [33, 21, 20, 11] {
            let engine = world.open();
            let log = reopened(&engine, config.clone());
            log.truncate_to(Offset::new(to)).unwrap();
            let check = |log: &Log| {
                assert_eq!(bases(log, ALL), (0..to).collect::<Vec<_>>());
                for i in 0..to {
                    assert_eq!(values(log, i, ALL).len(), usize::try_from(to - i).unwrap());
                    let found = log.offset_for_timestamp(T0 + i, ALL).unwrap();
                    assert_eq!(found.map(|f| f.offset.get()), Some(i));
                }
            };
            check(&log);
            engine.close().unwrap();
            let engine = world.open();
            check(&reopened(&engine, config.clone()));
            engine.close().unwrap();
        }
    });
}

// S-19, P-35: producers are what the batches that are left make them.
#[test]
fn producers_go_back_to_what_they_were() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create(&engine);
        for sequence in 0..6 {
            Draft::of(1, 0, sequence).append(&log).unwrap();
        }
        Draft::of(2, 3, 0).append(&log).unwrap();
        Draft::of(1, 1, 0).append(&log).unwrap();
        log.truncate_to(Offset::new(3)).unwrap();
        let check = |log: &Log| {
            assert_eq!(log.producers().len(), 1);
            for (sequence, expected) in [(0, "duplicate"), (2, "duplicate"), (5, "45"), (4, "45")] {
                assert_eq!(verdict(Draft::of(1, 0, sequence).append(log)), expected);
            }
        };
        check(&log);
        world.kill((engine, log));
        let log = world.open().log(&name()).unwrap();
        check(&log);
        assert_eq!(verdict(Draft::of(1, 0, 3).append(&log)), "accepted");
        assert_eq!(verdict(Draft::of(2, 0, 7).append(&log)), "accepted", "forgotten");
    });
}

// T-2, T-9, D-42: transactions too, open again when their marker goes.
#[test]
fn a_transaction_whose_marker_was_cut_is_open_again() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create(&engine);
        Draft::of(1, 0, 0).txn().append(&log).unwrap();
        Draft::plain().append(&log).unwrap();
        log.roll();
        End::abort(1, 0).append(&log).unwrap();
        Draft::plain().append(&log).unwrap();
        engine.tick();
        assert_eq!((last_stable(&log), aborted(&log, 0, 1 << 20)), (4, vec![(0, 1)]));
        log.truncate_to(Offset::new(3)).unwrap();
        assert_eq!(aborted(&log, 0, 1 << 20), [(0, 1)], "the marker is still there");
        log.truncate_to(Offset::new(2)).unwrap();
        assert_eq!((last_stable(&log), aborted(&log, 0, 1 << 20)), (0, vec![]));
        End::commit(1, 0).append(&log).unwrap();
        assert_eq!(bases(&log, COMMITTED), [0, 1], "this time it was committed");
        world.kill((engine, log));
        assert_eq!(bases(&world.open().log(&name()).unwrap(), COMMITTED), [0, 1]);
    });
}

// T-6: an ended transaction whose marker is not replicated holds readers back after a cut too.
#[test]
fn a_truncation_does_not_replicate_a_marker() {
    for_each_backend(|world| {
        let log = create(&world.open());
        log.set_high_watermark(Offset::ZERO).unwrap();
        Draft::of(1, 0, 0).txn().append(&log).unwrap();
        Draft::plain().append(&log).unwrap();
        End::commit(1, 0).append(&log).unwrap();
        Draft::plain().append(&log).unwrap();
        log.set_high_watermark(Offset::new(2)).unwrap();
        assert_eq!(last_stable(&log), 0);
        log.truncate_to(Offset::new(3)).unwrap();
        let offsets = log.offsets();
        assert_eq!((offsets.high_watermark.get(), offsets.log_end_offset.get()), (2, 3));
        assert_eq!(last_stable(&log), 0, "the marker at 2 is not below the high watermark");
        log.set_high_watermark(Offset::new(3)).unwrap();
        assert_eq!(last_stable(&log), 3);
    });
}

// below the log start there is nothing left; the log goes on where it was cut.
#[test]
fn a_truncation_below_the_log_start_lowers_it() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create(&engine);
        let config = log.config();
        for _ in 0..6 {
            Draft::plain().append(&log).unwrap();
        }
        log.trim_before(Offset::new(4)).unwrap();
        log.truncate_to(Offset::new(2)).unwrap();
        let offsets = log.offsets();
        assert_eq!((offsets.log_start_offset.get(), offsets.log_end_offset.get()), (2, 2));
        assert_eq!(Draft::plain().append(&log).unwrap().base_offset, Offset::new(2));
        assert_eq!(bases(&log, ALL), [2]);
        world.kill((engine, log));
        assert_eq!(bases(&reopened(&world.open(), config), ALL), [2]);
    });
}

// T below the first segment's base: everything goes, and the log begins at T.
#[test]
fn a_truncation_below_the_first_segment_starts_the_log_anew() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create(&engine);
        let config = log.config();
        for _ in 0..6 {
            Draft::of(1, 0, 0).at(T0).append(&log).unwrap();
            Draft::plain().append(&log).unwrap();
        }
        log.roll();
        Draft::plain().append(&log).unwrap();
        engine.tick();
        let first = log.segments()[1].0;
        log.trim_before(first).unwrap();
        log.retain().unwrap();
        assert_eq!(log.segments()[0].0, first);
        let target = Offset::new(first.get() - 2);
        log.truncate_to(target).unwrap();
        let offsets = log.offsets();
        assert_eq!((offsets.log_start_offset, offsets.log_end_offset), (target, target));
        assert_eq!(Draft::plain().append(&log).unwrap().base_offset, target);
        world.kill((engine, log));
        let log = reopened(&world.open(), config);
        assert_eq!(bases(&log, ALL), [target.get()]);
    });
}

// the batch that holds the log start is cut as a whole.
#[test]
fn a_truncation_inside_the_batch_that_holds_the_log_start_begins_where_that_batch_did() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create(&engine);
        Draft::plain().records(7).append(&log).unwrap();
        Draft::plain().records(5).append(&log).unwrap();
        log.trim_before(Offset::new(10)).unwrap();
        log.truncate_to(Offset::new(11)).unwrap();
        let ends = |log: &Log| {
            let offsets = log.offsets();
            (offsets.log_start_offset.get(), offsets.log_end_offset.get())
        };
        assert_eq!(ends(&log), (7, 7));
        world.kill((engine, log));
        let engine = world.open();
        let log = engine.log(&name()).unwrap();
        assert_eq!(ends(&log), (7, 7));
        assert_eq!(Draft::plain().append(&log).unwrap().base_offset.get(), 7);
    });
}

// P-32: what segments told of producers outlives them. A truncation takes the checkpoints behind it along, and
// goes back to the producers as of the first segment that is left, whoever completed the one before.
#[test]
fn a_truncation_knows_the_producers_of_segments_that_were_removed() {
    for rolled_by in ["the log", "a recovery", "kafka"] {
        for_each_backend(|world| {
            let engine = world.open();
            let log = create(&engine);
            let config = log.config();
            for sequence in 0..3 {
                Draft::of(1, 0, sequence).append(&log).unwrap();
            }
            Draft::of(2, 0, 0).txn().append(&log).unwrap();
            Draft::of(3, 4, 0).txn().append(&log).unwrap();
            End::commit(3, 4).append(&log).unwrap();
            log.roll();
            Draft::plain().append(&log).unwrap();
            let open = || {
                let engine = world.open();
                let log = reopened(&engine, config.clone());
                (engine, log)
            };
            let (mut engine, mut log) = match rolled_by {
                "the log" => {
                    engine.tick();
                    let stored = world.files(".state");
                    assert!(stored.contains(&"00000000000000000006.state".to_owned()));
                    (engine, log)
                }
                "a recovery" => {
                    world.kill((engine, log));
                    open()
                }
                _ => {
                    engine.close().unwrap();
                    for state in world.files(".state") {
                        world.remove(&world.file(&state));
                    }
                    open()
                }
            };
            log.trim_before(Offset::new(6)).unwrap();
            engine.tick();
            assert_eq!(world.files(".log"), ["00000000000000000006.log"], "{rolled_by}");
            // So many that the old ones are in no list of a producer's last batches.
            for sequence in 3..9 {
                Draft::of(1, 0, sequence).append(&log).unwrap();
            }
            End::abort(2, 0).append(&log).unwrap();
            engine.close().unwrap();
            (engine, log) = open();
            log.truncate_to(Offset::new(7)).unwrap();
            for life in 0..2 {
                let what = format!("rolled by {rolled_by}, life {life}");
                assert_eq!((end(&log), last_stable(&log)), (7, 6), "{what}");
                assert_eq!(verdict(Draft::of(1, 0, 2).append(&log)), "duplicate", "{what}");
                assert_eq!(verdict(Draft::of(1, 0, 4).append(&log)), "45", "{what}");
                assert_eq!(verdict(Draft::of(3, 3, 0).append(&log)), "47", "{what}");
                world.kill((engine, log));
                (engine, log) = open();
            }
            assert_eq!(verdict(Draft::of(1, 0, 3).append(&log)), "accepted");
        });
    }
}

#[test]
fn a_ticket_gives_the_same_answer_however_often_it_is_polled() {
    let world = World::simulated();
    let engine = world.open();
    let log = create(&engine);
    let append = || log.append(&plain(&["x"]), &AppendOptions::default()).unwrap();
    let poll = |ticket: &mut AppendTicket| {
        let polled = pin!(ticket).poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(outcome) = polled else { panic!("its outcome is known") };
        outcome.map(|appended| appended.base_offset.get()).map_err(|error| error.kind().clone())
    };
    let (mut seen, mut lost) = (append(), append());
    assert_eq!(poll(&mut seen), Ok(0));
    log.truncate_to(Offset::ZERO).unwrap();
    // Others take the place of what went.
    append().wait().unwrap();
    append().wait().unwrap();
    for _ in 0..3 {
        assert_eq!(poll(&mut lost), Err(ErrorKind::Truncated));
        assert_eq!(poll(&mut seen), Ok(0), "it was acknowledged before");
    }
    assert_eq!(*lost.wait().unwrap_err().kind(), ErrorKind::Truncated);
}

#[test]
fn a_truncation_succeeds_beside_busy_appenders() {
    for_each_backend(|world| {
        let mut options = world.options();
        options.background = true;
        let engine = world.open_with(options).unwrap();
        let log = create(&engine);
        let (is_over, failures) = (AtomicBool::new(false), Mutex::new(Vec::new()));
        let has_failed = || !failures.lock().unwrap().is_empty();
        let outcomes: Vec<_> = thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !is_over.load(Ordering::Relaxed) && !has_failed() {
                        match append(&log, &plain(&["x"])) {
                            Err(error) if *error.kind() != ErrorKind::Truncated => {
                                failures.lock().unwrap().push(error);
                            }
                            _ => {}
                        }
                    }
                });
            }
            let truncate = |_| {
                let enough = end(&log) + 20;
                while end(&log) < enough && !has_failed() {
                    thread::yield_now();
                }
                log.truncate_to(Offset::new(end(&log) - 10))
            };
            let outcomes = (0..20).map(truncate).collect();
            is_over.store(true, Ordering::Relaxed);
            outcomes
        });
        assert!(!has_failed(), "{failures:?}");
        for outcome in outcomes {
            outcome.unwrap();
        }
        let values = bases(&log, ALL);
        let whole: Vec<i64> = (0..end(&log)).collect();
        assert_eq!(values, whole);
    });
}
