//! What a log that is only there costs: no descriptor, no map.

#![cfg(target_os = "linux")]
#![expect(
    clippy::disallowed_methods,
    reason = "a test looks at the process and copies files itself"
)]

use crate::common::{ID, append, plain, values};
use oncelog::{Engine, EngineOptions, Isolation, Log, LogConfig, LogName};
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
    let log = engine.create_log(&name(0), ID, LogConfig::default()).unwrap();
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
