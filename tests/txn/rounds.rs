//! How often the device is asked to flush: rounds do not depend on the number of logs, and each log is
//! flushed twice.

use crate::common::{append, create, load, simulated_options};
use crate::passing::{Hooks, Passing};
use oncelog::io::WriteOp;
use oncelog::io::sim::SimDisk;
use oncelog::{Engine, Offset};
use std::sync::atomic::{AtomicU64, Ordering};

/// Commit groups, and the flushes in them.
#[derive(Debug, Default)]
struct Counts {
    rounds: AtomicU64,
    flushes: AtomicU64,
}

impl Hooks for Counts {
    fn on_write(&self, group: &[WriteOp]) {
        let flushes = group.iter().filter(|write| write.durable).count();
        self.rounds.fetch_add(u64::from(!group.is_empty()), Ordering::Relaxed);
        self.flushes.fetch_add(flushes as u64, Ordering::Relaxed);
    }
}

/// What one commit costs.
#[derive(Debug, PartialEq, Eq)]
struct Cost {
    rounds: u64,
    /// Writes that flush.
    flushes: u64,
    /// Everything that changes the disk: nothing but these writes.
    operations: u64,
}

fn cost(logs: usize, positions: usize, directories: usize) -> Cost {
    let disk = SimDisk::new(1);
    let (counting, io) = Passing::<Counts>::over(&disk);
    let mut options = simulated_options();
    options.directories = (0..directories).map(|n| format!("/d{n}").into()).collect();
    let engine = Engine::open_with(options, io).unwrap();
    create(&engine, logs.max(1));
    let logs: Vec<_> = load(&engine, logs.max(1)).into_iter().take(logs).collect();
    // The first creates files; the second is like all others.
    let mut before = Cost { rounds: 0, flushes: 0, operations: 0 };
    for _ in 0..2 {
        before = Cost {
            rounds: counting.rounds.load(Ordering::Relaxed),
            flushes: counting.flushes.load(Ordering::Relaxed),
            operations: disk.operations(),
        };
        let mut txn = engine.begin().unwrap();
        for log in &logs {
            append(&mut txn, log, "a");
            append(&mut txn, log, "b");
        }
        for index in 0..positions {
            let log = &load(&engine, 1)[0];
            txn.store_position(&format!("g{index}"), log, Offset::new(1)).unwrap();
        }
        txn.commit().unwrap().wait().unwrap();
    }
    Cost {
        rounds: counting.rounds.load(Ordering::Relaxed) - before.rounds,
        flushes: counting.flushes.load(Ordering::Relaxed) - before.flushes,
        operations: disk.operations() - before.operations,
    }
}

#[test]
fn two_rounds_commit_any_number_of_logs_and_positions() {
    for logs in [2, 50, 500] {
        let writes = 2 * logs + 1;
        let expected = Cost { rounds: 2, flushes: writes, operations: writes };
        let logs = usize::try_from(logs).unwrap();
        assert_eq!(cost(logs, 1, 1), expected);
        assert_eq!(cost(logs, 100, 1), expected);
    }
}

#[test]
fn one_round_is_enough_where_there_is_nothing_to_agree_on() {
    assert_eq!(cost(1, 0, 1), Cost { rounds: 1, flushes: 1, operations: 1 });
    assert_eq!(cost(0, 3, 1), Cost { rounds: 1, flushes: 1, operations: 1 });
    assert_eq!(cost(1, 1, 1), Cost { rounds: 2, flushes: 3, operations: 3 });
}

#[test]
fn rounds_are_per_data_directory() {
    // Decisions and markers of each directory go in its own groups, which run side by side.
    for logs in [4, 40] {
        let writes = 2 * logs + 1;
        let expected = Cost { rounds: 4, flushes: writes, operations: writes };
        assert_eq!(cost(usize::try_from(logs).unwrap(), 1, 2), expected);
    }
}
