//! What creating, closing and opening logs cost the device: flushes, which are what takes the time.

use crate::common::{ID, append, create, plain};
use oncelog::io::sim::SimDisk;
use oncelog::{Engine, EngineOptions, LogConfig, LogName};
use std::ops::Sub;

/// What a step cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cost {
    flushes: u64,
    /// Everything that changes the disk, flushes included.
    operations: u64,
}

impl Cost {
    fn so_far(disk: &SimDisk) -> Self {
        Self { flushes: disk.flushes(), operations: disk.operations() }
    }
}

impl Sub for Cost {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            flushes: self.flushes - before.flushes,
            operations: self.operations - before.operations,
        }
    }
}

fn cost(disk: &SimDisk, step: impl FnOnce()) -> Cost {
    let before = Cost::so_far(disk);
    step();
    Cost::so_far(disk) - before
}

fn open(disk: &SimDisk) -> Engine {
    let mut options = EngineOptions::new("/data");
    options.background = false;
    Engine::open_with(options, disk.io()).unwrap()
}

fn create_some(engine: &Engine, logs: i32) {
    for partition in 0..logs {
        let name = LogName::new("many", partition).unwrap();
        engine.create_log(&name, ID, LogConfig::default()).unwrap();
    }
}

/// Three small files with something in them, the log's directory, the data directory.
#[test]
fn a_log_is_created_with_five_flushes() {
    let disk = SimDisk::new(1);
    let engine = open(&disk);
    assert_eq!(cost(&disk, || create_some(&engine, 1)).flushes, 5);
}

/// Two of the three text checkpoints have changed; the mark of the clean close comes after them.
#[test]
fn logs_that_are_as_they_were_cost_a_close_nothing() {
    let of_no_logs = {
        let disk = SimDisk::new(1);
        let engine = open(&disk);
        cost(&disk, || engine.close().unwrap())
    };
    assert_eq!(of_no_logs.flushes, 6);
    for logs in [1, 50] {
        let disk = SimDisk::new(1);
        let engine = open(&disk);
        create_some(&engine, logs);
        assert_eq!(cost(&disk, || engine.close().unwrap()), of_no_logs, "{logs} new logs");
        let engine = open(&disk);
        for (name, _) in engine.logs().unwrap() {
            engine.log(&name).unwrap();
        }
        assert_eq!(cost(&disk, || engine.close().unwrap()), of_no_logs, "{logs} unchanged logs");
    }
}

/// The data file; the time index, the epochs, the directory; producers in both forms, the directory. An
/// index without an entry has nothing to flush.
#[test]
fn a_log_that_was_appended_to_is_closed_with_seven_flushes() {
    let disk = SimDisk::new(1);
    let engine = open(&disk);
    let of_no_logs = 6;
    let log = create(&engine);
    append(&log, &plain(&["a"])).unwrap();
    assert_eq!(cost(&disk, || engine.close().unwrap()).flushes, of_no_logs + 7);
    // Once more, after it was read only.
    let engine = open(&disk);
    engine.log(log.name()).unwrap();
    assert_eq!(cost(&disk, || engine.close().unwrap()).flushes, of_no_logs);
}
