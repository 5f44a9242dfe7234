//! What a log that is only there costs: no descriptor, no map.

#![cfg(target_os = "linux")]
#![expect(
    clippy::disallowed_methods,
    reason = "a test looks at the process and copies files itself"
)]

use crate::common::{ID, append, plain, values};
use oncelog::batch::Batch;
use oncelog::{Engine, EngineOptions, Isolation, Log, LogName, Offset, ReadOptions};
use std::fs;
use std::path::Path;

fn name(partition: i32) -> LogName {
    LogName::new("t", partition).unwrap()
}

fn options(path: &Path) -> EngineOptions {
    let mut options = EngineOptions::new(path);
    options.background = false;
    options.log.retention_ms = -1;
    options
}

/// Descriptors and maps of this process that lead into `path`.
fn held(path: &Path) -> (usize, usize) {
    let fds = fs::read_dir("/proc/self/fd").unwrap();
    let links = fds.filter_map(|fd| fs::read_link(fd.unwrap().path()).ok());
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let text = path.to_str().unwrap();
    (
        links.filter(|link| link.starts_with(path)).count(),
        maps.lines().filter(|line| line.contains(text)).count(),
    )
}

/// One log that was written by an engine, and as many copies as make `logs`.
fn directory(logs: i32, closed: bool) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let engine = Engine::open(options(directory.path())).unwrap();
    let log = engine.create_log(&name(0), ID, options(directory.path()).log).unwrap();
    append(&log, &plain(&["a"])).unwrap();
    if closed {
        engine.close().unwrap();
    }
    drop((log, engine));
    let first = directory.path().join("t-0");
    for partition in 1..logs {
        let copy = directory.path().join(format!("t-{partition}"));
        fs::create_dir(&copy).unwrap();
        for file in fs::read_dir(&first).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), copy.join(file.file_name())).unwrap();
        }
    }
    directory
}

#[test]
fn ten_thousand_idle_logs_hold_no_descriptor_and_no_map() {
    for (count, closed) in [(10_000, true), (2_000, false)] {
        let directory = directory(count, closed);
        let engine = Engine::open(options(directory.path())).unwrap();
        // The lock file.
        let (of_the_engine, _) = held(directory.path());
        assert!(of_the_engine <= 2, "{of_the_engine} after a clean close: {closed}");
        let logs: Vec<Log> = (0..count).map(|n| engine.log(&name(n)).unwrap()).collect();
        assert_eq!(held(directory.path()), (of_the_engine, 0), "loaded, closed: {closed}");
        let used = &logs[77];
        append(used, &plain(&["b"])).unwrap();
        used.roll();
        append(used, &plain(&["c"])).unwrap();
        engine.tick();
        assert_eq!(values(used, 0, Isolation::ReadUncommitted).len(), 3);
        assert!(held(directory.path()).0 > of_the_engine);
        // Not used for one whole tick.
        engine.tick();
        engine.tick();
        assert_eq!(held(directory.path()), (of_the_engine, 0), "at rest, closed: {closed}");
        append(used, &plain(&["d"])).unwrap();
        assert_eq!(values(used, 0, Isolation::ReadUncommitted).len(), 4);
    }
}

// Retention looks at logs that nobody asked for, and lets go of what it looked at.
#[test]
fn retention_of_idle_logs_holds_no_descriptor_and_no_map() {
    let directory = directory(200, true);
    let mut options = options(directory.path());
    options.log.retention_ms = 1000;
    let engine = Engine::open(options.clone()).unwrap();
    for partition in (0..200).step_by(2) {
        // Remembered: only these are to lose what expired long ago.
        engine.log(&name(partition)).unwrap().set_config(options.log.clone()).unwrap();
    }
    engine.close().unwrap();
    let engine = Engine::open(options).unwrap();
    let idle = held(directory.path());
    engine.tick();
    assert_eq!(held(directory.path()), idle);
    for partition in 0..200 {
        let expired = i64::from(partition % 2 == 0);
        let offsets = engine.log(&name(partition)).unwrap().offsets();
        assert_eq!(offsets.log_start_offset.get(), expired, "{partition}");
    }
}

/// A log of `segments` sealed segments with one record each, in an engine that may open `max` of them.
fn sealed(path: &Path, segments: i64, max: usize) -> (Engine, Log) {
    let mut options = options(path);
    options.open_segments_max = max;
    let engine = Engine::open(options.clone()).unwrap();
    let log = engine.create_log(&name(0), ID, options.log.clone()).unwrap();
    for n in 0..segments {
        append(&log, &plain(&[&n.to_string()])).unwrap();
        log.roll();
    }
    engine.close().unwrap();
    let engine = Engine::open(options).unwrap();
    let log = engine.log(&name(0)).unwrap();
    (engine, log)
}

#[test]
fn segments_that_are_read_in_turn_never_hold_more_than_the_budget() {
    let directory = tempfile::tempdir().unwrap();
    let (_engine, log) = sealed(directory.path(), 40, 4);
    let (fds_of_the_engine, _) = held(directory.path());
    let mut most = (0, 0);
    for offset in (0..40).chain(0..40) {
        assert_eq!(values(&log, offset, Isolation::ReadUncommitted)[0].1, offset.to_string());
        let (fds, maps) = held(directory.path());
        most = (most.0.max(fds - fds_of_the_engine), most.1.max(maps));
    }
    assert!(most.0 == 4 && most.1 <= 4, "{most:?}");
    // What readers hold outlasts the map's leaving.
    let read = |n| log.read(Offset::new(n), &ReadOptions::default()).unwrap().slices;
    let slices: Vec<_> = (0..40).map(read).collect();
    for (n, slices) in slices.iter().enumerate() {
        let (batch, _) = Batch::parse(&slices[0]).unwrap();
        assert!(batch.is_crc_valid() && batch.base_offset().get() == i64::try_from(n).unwrap());
    }
    assert!(held(directory.path()).0 - fds_of_the_engine <= 4);
}

#[test]
fn readers_on_many_threads_keep_to_the_budget() {
    let directory = tempfile::tempdir().unwrap();
    let (_engine, log) = sealed(directory.path(), 30, 3);
    let (idle, _) = held(directory.path());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let log = &log;
            scope.spawn(move || {
                for step in 0..400 {
                    let offset = (thread * 7 + step * 11) % 30;
                    let read = log.read(Offset::new(offset), &ReadOptions::default()).unwrap();
                    assert!(!read.slices.is_empty());
                }
            });
        }
    });
    let (fds, maps) = held(directory.path());
    assert!(fds - idle <= 3 && maps <= 3, "{fds} descriptors, {maps} maps");
}
