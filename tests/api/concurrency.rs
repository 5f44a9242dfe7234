//! Who waits for whom, and who must not.

use crate::common::{ID, append, create, name, plain, values};
use crate::hooked::Hooked;
use oncelog::io::sim::SimDisk;
use oncelog::{
    AppendOptions, Engine, EngineOptions, ErrorKind, Isolation, LogConfig, LogName, Offset,
};
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

const ALL: Isolation = Isolation::ReadUncommitted;

fn options() -> EngineOptions {
    let mut options = EngineOptions::new("/data");
    options.background = false;
    options
}

fn log_name(partition: i32) -> LogName {
    LogName::new("t", partition).unwrap()
}

/// Panics where a deadlock would hang.
fn within_a_minute<T: Send>(what: &str, work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let (done, is_done) = channel();
        let worker = scope.spawn(move || {
            let out = work();
            done.send(()).unwrap();
            out
        });
        if is_done.recv_timeout(Duration::from_secs(60)).is_err() && !worker.is_finished() {
            // The scope would wait for the stuck threads for ever, a panic with it.
            drop(writeln!(std::io::stderr(), "{what} hangs"));
            std::process::abort();
        }
        worker.join().unwrap()
    })
}

// A thousand logs that a kill left behind would else be as many flushes, one after the other.
#[test]
fn logs_are_recovered_side_by_side() {
    let disk = SimDisk::new(1);
    {
        let engine = Engine::open_with(options(), disk.io()).unwrap();
        let names: Vec<LogName> = [0, 1, 0].into_iter().map(log_name).collect();
        let created = engine.create_logs(&names, ID, &LogConfig::default());
        let twice = created[2].as_ref().unwrap_err();
        assert_eq!(*twice.kind(), ErrorKind::AlreadyExists);
        for log in created.into_iter().flatten() {
            append(&log, &plain(&[&log.name().to_string()])).unwrap();
        }
    }
    let disk = disk.kill();
    let (hooked, io) = Hooked::over(&disk);
    let (meeting, met) = (Barrier::new(2), [AtomicBool::new(false), AtomicBool::new(false)]);
    hooked.before_list(move |path| {
        for (partition, has_met) in met.iter().enumerate() {
            let is_it = path == Path::new(&format!("/data/t-{partition}"));
            // Neither load goes on before the other has begun.
            if is_it && !has_met.swap(true, Ordering::Relaxed) {
                meeting.wait();
            }
        }
    });
    let mut options = options();
    options.background = true;
    let engine = within_a_minute("a recovery of two logs", || Engine::open_with(options, io));
    let engine = engine.unwrap();
    for partition in 0..2 {
        let log = engine.log(&log_name(partition)).unwrap();
        assert_eq!(values(&log, 0, ALL), [(0, log_name(partition).to_string())]);
    }
    let names: Vec<LogName> = [0, 7, 1].into_iter().map(log_name).collect();
    let deleted = engine.delete_logs(&names);
    assert_eq!(*deleted[1].as_ref().unwrap_err().kind(), ErrorKind::NotFound);
    assert!(deleted[0].is_ok() && deleted[2].is_ok());
    assert_eq!(engine.logs().unwrap(), []);
    engine.close().unwrap();
}

#[test]
fn a_log_that_takes_long_to_load_keeps_nobody_else_waiting() {
    let disk = SimDisk::new(1);
    {
        let engine = Engine::open_with(options(), disk.io()).unwrap();
        for partition in 0..2 {
            let log = engine.create_log(&log_name(partition), ID, LogConfig::default()).unwrap();
            append(&log, &plain(&["x"])).unwrap();
        }
        engine.close().unwrap();
    }
    let ((reached, is_reached), (go_on, may_go_on)) = (channel(), channel());
    let (hooked, io) = Hooked::over(&disk);
    let engine = Engine::open_with(options(), io).unwrap();
    let may_go_on = Mutex::new(may_go_on);
    let was_there = AtomicBool::new(false);
    hooked.before_list(move |path| {
        if path == Path::new("/data/t-0") && !was_there.swap(true, Ordering::Relaxed) {
            reached.send(()).unwrap();
            may_go_on.lock().unwrap().recv().unwrap();
        }
    });
    within_a_minute("an engine with one slow log", move || {
        thread::scope(|scope| {
            let slow = scope.spawn(|| engine.log(&log_name(0)).unwrap());
            is_reached.recv().unwrap();
            // From here on the slow log is loading.
            let other = engine.log(&log_name(1)).unwrap();
            append(&other, &plain(&["y"])).unwrap();
            engine.log(&log_name(1)).unwrap();
            assert_eq!(engine.logs().unwrap().len(), 2);
            engine.create_log(&log_name(2), ID, LogConfig::default()).unwrap();
            engine.delete_log(&log_name(1)).unwrap();
            engine.tick();
            go_on.send(()).unwrap();
            assert_eq!(values(&slow.join().unwrap(), 0, ALL).len(), 1);
        });
    });
}

#[test]
fn truncations_trims_and_appends_go_on_while_the_engine_closes() {
    for round in 0..40 {
        let disk = SimDisk::new(round);
        let engine = Engine::open_with(options(), disk.io()).unwrap();
        let log = create(&engine);
        for _ in 0..8 {
            append(&log, &plain(&["a", "b", "c"])).unwrap();
        }
        within_a_minute("a close among truncations", || {
            thread::scope(|scope| {
                // Below the log start, so that truncation has a checkpoint to write.
                scope.spawn(|| while log.truncate_to(Offset::new(6)).is_ok() {});
                scope.spawn(|| {
                    while log.trim_before(log.offsets().high_watermark).is_ok()
                        || log.truncate_to(Offset::new(9)).is_ok()
                    {}
                });
                scope.spawn(|| while append(&log, &plain(&["d"])).is_ok() {});
                scope.spawn(|| (0..50).for_each(|_| engine.tick()));
                if round % 2 == 0 {
                    engine.tick();
                }
                engine.close().unwrap();
            });
        });
        let error = append(&log, &plain(&["late"])).unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Closed);
        let before = log.offsets();
        let engine = Engine::open_with(options(), disk.io()).unwrap();
        assert_eq!(engine.log(&name()).unwrap().offsets(), before, "round {round}");
    }
}

#[test]
fn what_was_staged_when_the_engine_closed_is_acknowledged() {
    let disk = SimDisk::new(1);
    let engine = Engine::open_with(options(), disk.io()).unwrap();
    let log = create(&engine);
    let ticket = log.append(&plain(&["a"]), &AppendOptions::default()).unwrap();
    engine.close().unwrap();
    ticket.wait().unwrap();
}

#[test]
fn a_reader_of_a_deleted_log_never_sees_the_next_one_of_its_name() {
    let disk = SimDisk::new(1);
    let engine = Engine::open_with(options(), disk.io()).unwrap();
    let log = create(&engine);
    append(&log, &plain(&["old"])).unwrap();
    log.roll();
    append(&log, &plain(&["older"])).unwrap();
    engine.delete_log(&name()).unwrap();
    let next = create(&engine);
    append(&next, &plain(&["new"])).unwrap();
    let error = log.read(Offset::ZERO, &oncelog::ReadOptions::default()).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Closed);
    assert_eq!(values(&next, 0, ALL), [(0, "new".to_owned())]);
    // Maintenance of the dead log writes nothing into the living one's directory.
    assert!(log.retain().is_err() && log.trim_before(Offset::new(1)).is_err());
    engine.tick();
    engine.close().unwrap();
    let engine = Engine::open_with(options(), disk.io()).unwrap();
    assert_eq!(values(&engine.log(&name()).unwrap(), 0, ALL), [(0, "new".to_owned())]);
}

#[test]
fn a_log_created_after_a_crash_in_a_deletion_begins_at_zero() {
    // The deletion's operations: rename, flush of the directory, the checkpoint's replacement.
    for operation in 1..12 {
        let disk = SimDisk::new(operation);
        let engine = Engine::open_with(options(), disk.io()).unwrap();
        let log = create(&engine);
        append(&log, &plain(&["a", "b", "c"])).unwrap();
        log.trim_before(Offset::new(2)).unwrap();
        disk.crash_after(disk.operations() + operation);
        drop(engine.delete_log(&name()));
        drop((log, engine));
        let disk = disk.kill();
        let engine = Engine::open_with(options(), disk.io()).unwrap();
        match engine.log(&name()) {
            Ok(log) => assert_eq!(log.offsets().log_start_offset, Offset::new(2)),
            Err(_) => {
                let log = create(&engine);
                assert_eq!(append(&log, &plain(&["d"])).unwrap().base_offset, Offset::ZERO);
                drop((log, engine));
                let engine = Engine::open_with(options(), disk.kill().io()).unwrap();
                let log = engine.log(&name()).unwrap();
                assert_eq!(values(&log, 0, ALL), [(0, "d".to_owned())], "crash at {operation}");
            }
        }
    }
}

#[test]
fn a_retention_veto_may_call_the_log_it_is_asked_about() {
    let disk = SimDisk::new(1);
    let engine = Engine::open_with(options(), disk.io()).unwrap();
    let mut config = LogConfig::default();
    config.retention_bytes = 0;
    let log = engine.create_log(&name(), ID, config).unwrap();
    append(&log, &plain(&["a"])).unwrap();
    log.roll();
    append(&log, &plain(&["b"])).unwrap();
    engine.tick();
    let asked = log.clone();
    engine.set_retention_veto(Arc::new(move |_, start| start.min(asked.offsets().log_end_offset)));
    within_a_minute("a veto", || engine.tick());
    assert_eq!(log.offsets().log_start_offset, Offset::new(2));
}

#[test]
fn a_ticket_from_before_a_truncation_does_not_wait_for_ever() {
    let disk = SimDisk::new(1);
    let engine = Engine::open_with(options(), disk.io()).unwrap();
    let log = create(&engine);
    append(&log, &plain(&["a"])).unwrap();
    let ticket = log.append(&plain(&["b"]), &AppendOptions::default()).unwrap();
    log.truncate_to(Offset::new(1)).unwrap();
    // What takes its offset is no acknowledgement of it.
    append(&log, &plain(&["c"])).unwrap();
    let outcome = within_a_minute("a ticket", || ticket.wait());
    assert_eq!(*outcome.unwrap_err().kind(), ErrorKind::Truncated);
    assert_eq!(values(&log, 0, ALL), [(0, "a".to_owned()), (1, "c".to_owned())]);
}
