//! What fails under a transaction, and what is left of it.

use crate::common::{
    append, assert_settled, batch, committed, create, load, name, position, read, simulated_options,
};
use oncelog::io::sim::{Crash, Fault, FaultKind, SimDisk};
use oncelog::{AppendOptions, Engine, ErrorKind, Isolation, Log, LogConfig, Offset};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

fn open(disk: &Arc<SimDisk>) -> Engine {
    Engine::open_with(simulated_options(), disk.io()).unwrap()
}

fn commit(engine: &Engine, logs: &[Log], value: &str, next: i64) -> oncelog::Result<()> {
    let mut txn = engine.begin()?;
    for log in logs {
        txn.append(log, batch(&[value]))?;
    }
    txn.store_position("g", &logs[0], Offset::new(next))?;
    txn.commit()?.wait()
}

fn plain(log: &Log, value: &str) {
    let bytes = batch(&[value]).build().unwrap();
    log.append(&bytes, &AppendOptions::default()).unwrap().wait().unwrap();
}

/// The data file of the transaction log.
fn transaction_log(disk: &SimDisk) -> (PathBuf, Vec<u8>) {
    let path = PathBuf::from("/d/__oncelog_transactions-0/00000000000000000000.log");
    let bytes = disk.visible(&path).unwrap();
    (path, bytes)
}

#[test]
fn a_log_that_fails_before_the_decision_aborts_the_transaction_for_good() {
    let disk = SimDisk::new(1);
    let engine = open(&disk);
    let logs = create(&engine, 3);
    commit(&engine, &logs, "a", 1).unwrap();
    disk.fail(Fault::new(FaultKind::Flush, 0).on("t-1"));
    let error = commit(&engine, &logs, "b", 2).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::TransactionAborted, "{error}");
    // The logs that work go on, and are not held back.
    assert_eq!(position(&engine, &logs[0]), Some(1));
    commit(&engine, &[logs[0].clone(), logs[2].clone()], "c", 3).unwrap();
    assert_eq!(committed(&logs[0]), ["a", "c"]);
    drop((engine, logs));

    // Even if the device has all of it in the end.
    let engine = open(&disk.crash(&Crash::KeepAll));
    let logs = load(&engine, 3);
    assert_eq!(committed(&logs[0]), ["a", "c"]);
    assert_eq!(committed(&logs[1]), ["a"]);
    assert_eq!(position(&engine, &logs[0]), Some(3));
    assert_settled(&logs);
}

#[test]
fn after_a_failure_of_the_transaction_log_reopening_decides() {
    for (crash, value) in [(Crash::LoseAll, 1), (Crash::KeepAll, 2)] {
        let disk = SimDisk::new(1);
        let engine = open(&disk);
        let logs = create(&engine, 2);
        commit(&engine, &logs, "a", 1).unwrap();
        disk.fail(Fault::new(FaultKind::Flush, 0).on("__oncelog"));
        let error = commit(&engine, &logs, "b", 2).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::TransactionInDoubt, "{error}");
        assert_eq!(engine.begin().unwrap_err().kind(), &ErrorKind::Poisoned);
        assert_eq!(position(&engine, &logs[0]), Some(1));
        assert_eq!(committed(&logs[1]), ["a"]);
        drop((engine, logs));

        let engine = open(&disk.crash(&crash));
        let logs = load(&engine, 2);
        assert_eq!(position(&engine, &logs[0]), Some(value));
        assert_eq!(committed(&logs[1]).len(), usize::try_from(value).unwrap());
        assert_settled(&logs);
    }
}

#[test]
fn a_close_that_cannot_decide_gives_the_directory_back_and_leaves_it_to_the_next_open() {
    let disk = SimDisk::new(1);
    let engine = open(&disk);
    let logs = create(&engine, 2);
    commit(&engine, &logs, "a", 1).unwrap();
    disk.fail(Fault::new(FaultKind::Flush, 0).on("__oncelog"));
    commit(&engine, &logs, "b", 2).unwrap_err();
    assert_eq!(engine.close().unwrap_err().kind(), &ErrorKind::Poisoned);
    // The engine still lives, and holds nothing.
    let next = open(&disk);
    let reloaded = load(&next, 2);
    assert_settled(&reloaded);
    assert_eq!(committed(&reloaded[0]), committed(&reloaded[1]));
    drop((engine, logs));
}

#[test]
fn a_log_that_fails_at_its_marker_shows_the_commit_after_reopening() {
    let disk = SimDisk::new(1);
    let engine = open(&disk);
    let logs = create(&engine, 2);
    commit(&engine, &logs, "a", 1).unwrap();
    // The data is flushed, the marker is not.
    disk.fail(Fault::new(FaultKind::Flush, 1).on("t-1"));
    let error = commit(&engine, &logs, "b", 2).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::TransactionUnseen, "{error}");
    assert_eq!(committed(&logs[0]), ["a", "b"]);
    assert_eq!(position(&engine, &logs[0]), Some(2));
    drop((engine, logs));

    let engine = open(&disk.crash(&Crash::LoseAll));
    let logs = load(&engine, 2);
    assert_eq!(committed(&logs[1]), ["a", "b"]);
    assert_settled(&logs);
}

#[test]
fn a_damaged_transaction_log_stops_transactions_and_nothing_else() {
    let disk = SimDisk::new(1);
    let engine = open(&disk);
    let logs = create(&engine, 2);
    for next in 1..4 {
        commit(&engine, &logs, "a", next).unwrap();
    }
    let mut txn = engine.begin().unwrap();
    append(&mut txn, &logs[0], "open");
    plain(&logs[0], "plain");
    let disk = disk.kill();
    drop((txn, engine, logs));
    let (path, _) = transaction_log(&disk);
    disk.flip_bit(&path, 80, 1).unwrap();

    let engine = open(&disk);
    let logs = load(&engine, 2);
    let error = engine.begin().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Corrupt { .. }), "{error:?}");
    assert!(matches!(
        engine.position("g", &logs[0]).unwrap_err().kind(),
        ErrorKind::Corrupt { .. }
    ));
    // What was undecided stays so: deciding it now could tear it.
    assert_eq!(committed(&logs[0]).len(), 3);
    assert!(logs[0].offsets().last_stable_offset < logs[0].offsets().high_watermark);
    plain(&logs[1], "plain");
    engine.close().unwrap();
    drop((engine, logs));

    // Until somebody gives up what it said.
    let engine = open(&disk);
    engine.reset_transactions().unwrap();
    let logs = load(&engine, 2);
    assert_settled(&logs);
    assert_eq!(position(&engine, &logs[0]), None);
    assert_eq!(committed(&logs[0]), ["a", "a", "a", "plain"]);
    commit(&engine, &logs, "b", 7).unwrap();
    assert_eq!(engine.reset_transactions().unwrap_err().kind(), &ErrorKind::Invalid);
    engine.close().unwrap();
    drop((engine, logs));
    let engine = open(&disk);
    let logs = load(&engine, 2);
    assert_eq!(position(&engine, &logs[0]), Some(7));
    assert_eq!(committed(&logs[1]).last().unwrap(), "b");
}

#[test]
fn a_record_of_a_later_version_is_refused_and_kept() {
    let disk = SimDisk::new(1);
    let engine = open(&disk);
    let logs = create(&engine, 2);
    commit(&engine, &logs, "a", 1).unwrap();
    drop((engine, logs));
    let disk = disk.kill();
    let (path, bytes) = transaction_log(&disk);
    let size = oncelog::batch::Batch::peek_len(&bytes).unwrap();
    let (stored, _) = oncelog::batch::Batch::parse(&bytes[..size]).unwrap();
    let records = stored.records(&oncelog::batch::DecodeLimits::default()).unwrap();
    let mut value = records.iter().next().unwrap().unwrap().value().unwrap().to_vec();
    value[0] += 1;
    let mut newer = oncelog::batch::BatchBuilder::new();
    newer.append(stored.max_timestamp_ms(), None, Some(&value), &[]).unwrap();
    let newer = [&newer.build().unwrap()[..], &bytes[size..]].concat();
    disk.overwrite(&path, newer.clone()).unwrap();
    let error = Engine::open_with(simulated_options(), disk.io()).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::NewerFormat);
    assert_eq!(disk.visible(&path).unwrap()[..size], newer[..size]);
}

#[test]
fn the_transaction_log_is_begun_anew_and_stays_small() {
    let disk = SimDisk::new(1);
    let mut options = simulated_options();
    options.checkpoint_bytes = 8_000;
    let engine = Engine::open_with(options.clone(), disk.io()).unwrap();
    let logs = create(&engine, 2);
    for next in 0..2_000 {
        let mut txn = engine.begin().unwrap();
        append(&mut txn, &logs[0], "a");
        // A few hundred positions, each of which is stored now and then.
        let group = format!("group-{}", next % 300);
        txn.store_position(&group, &logs[1], Offset::new(next)).unwrap();
        txn.commit().unwrap().wait().unwrap();
        if next % 50 == 0 {
            engine.tick();
        }
    }
    engine.tick();
    let bytes: usize = stored_bytes(&disk);
    assert!(bytes < 200_000, "{bytes} bytes after 2,000 transactions");
    drop((engine, logs));
    let engine = Engine::open_with(options, disk.crash(&Crash::LoseAll).io()).unwrap();
    let logs = load(&engine, 2);
    for next in 1_700..2_000 {
        let group = format!("group-{}", next % 300);
        assert_eq!(engine.position(&group, &logs[1]).unwrap(), Some(Offset::new(next)));
    }
}

fn stored_bytes(disk: &Arc<SimDisk>) -> usize {
    let directory = PathBuf::from("/d/__oncelog_transactions-0");
    let entries = disk.io().storage.list_dir(&directory).unwrap();
    let data = entries.iter().filter(|entry| entry.name.ends_with(".log"));
    data.map(|entry| disk.visible(&directory.join(&entry.name)).unwrap().len()).sum()
}

#[test]
fn retention_leaves_what_is_undecided() {
    let disk = SimDisk::new(1);
    let engine = open(&disk);
    let mut config = LogConfig::default();
    config.retention_ms = 1_000;
    let log = engine.create_log(&name(0), [1; 16], config).unwrap();
    plain(&log, "old");
    log.roll();
    let mut txn = engine.begin().unwrap();
    append(&mut txn, &log, "undecided");
    plain(&log, "between");
    log.roll();
    plain(&log, "new");
    disk.clock().advance(Duration::from_secs(3600));
    engine.tick();
    assert_eq!(log.offsets().log_start_offset, Offset::new(1));
    txn.commit().unwrap().wait().unwrap();
    assert_eq!(committed(&log), ["undecided", "between", "new"]);
    engine.tick();
    assert_eq!(read(&log, Isolation::ReadUncommitted), ["new"]);
}

#[test]
fn deleting_trimming_or_truncating_a_log_does_not_change_what_was_committed() {
    let changes: [fn(&Engine, &Log); 4] = [
        |engine, _| engine.delete_log(&name(0)).unwrap(),
        |engine, _| {
            engine.delete_log(&name(0)).unwrap();
            engine.create_log(&name(0), [7; 16], LogConfig::default()).unwrap();
        },
        |_, log| {
            log.trim_before(log.offsets().log_end_offset).unwrap();
        },
        |_, log| log.truncate_to(Offset::ZERO).unwrap(),
    ];
    for change in changes {
        for crash in [Crash::LoseAll, Crash::KeepAll] {
            let disk = SimDisk::new(1);
            let engine = open(&disk);
            let logs = create(&engine, 2);
            commit(&engine, &logs, "a", 1).unwrap();
            change(&engine, &logs[0]);
            drop((engine, logs));
            let engine = open(&disk.crash(&crash));
            let log = engine.log(&name(1)).unwrap();
            assert_eq!(committed(&log), ["a"]);
            assert_settled(&[log]);
            let mut txn = engine.begin().unwrap();
            txn.store_position("g", &engine.log(&name(1)).unwrap(), Offset::new(2)).unwrap();
            drop(txn);
            if let Ok(log) = engine.log(&name(0)) {
                assert_eq!(position(&engine, &log), Some(1));
            }
        }
    }
}

#[test]
fn a_clean_open_loads_no_log_for_transactions() {
    let disk = SimDisk::new(1);
    let engine = open(&disk);
    let logs = create(&engine, 3);
    commit(&engine, &logs, "a", 1).unwrap();
    engine.close().unwrap();
    drop((engine, logs));
    let before = disk.operations();
    let engine = open(&disk);
    // The directory is there, its clean mark goes, and that is flushed.
    assert_eq!(disk.operations() - before, 3);
    // The position takes the transaction log and the log asked for.
    disk.fail(Fault::new(FaultKind::Read, 0).on("t-1").sticky());
    disk.fail(Fault::new(FaultKind::Read, 0).on("t-2").sticky());
    let log = engine.log(&name(0)).unwrap();
    assert_eq!(position(&engine, &log), Some(1));
    assert!(engine.log(&name(1)).is_err());
}
