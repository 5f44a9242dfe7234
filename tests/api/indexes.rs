//! Index files that are damaged, missing or from the future: the answers stay the same.

use crate::common::{End, ID, aborted, append, name, produced, values};
use oncelog::batch::BatchBuilder;
use oncelog::io::OpenMode;
use oncelog::io::sim::{Crash, SimDisk};
use oncelog::{Engine, EngineOptions, ErrorKind, Isolation, Log, LogConfig, Offset, ReadOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const T0: i64 = 1_700_000_000_000;

fn ends(pid: i64, commit: bool) -> End {
    if commit { End::commit(pid, 0) } else { End::abort(pid, 0) }
}

fn open(disk: &SimDisk) -> Engine {
    let mut options = EngineOptions::new("/data");
    options.background = false;
    options.log = config();
    Engine::open_with(options, disk.io()).unwrap()
}

fn config() -> LogConfig {
    let mut config = LogConfig::default();
    config.segment_bytes = 4096;
    config.index_interval_bytes = 200;
    config.segment_ms = i64::MAX;
    config
}

/// A batch of one record at a time of its own.
fn at_time(timestamp_ms: i64) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    builder.append(timestamp_ms, None, Some(b"0123456789"), &[]).unwrap();
    builder.build().unwrap().to_vec()
}

/// The disk of an engine that was closed in order, its log filled by `fill`.
fn closed(fill: impl FnOnce(&Log)) -> Arc<SimDisk> {
    let disk = SimDisk::new(1);
    let engine = open(&disk);
    let log = engine.create_log(&name(), ID, config()).unwrap();
    fill(&log);
    engine.close().unwrap();
    disk
}

/// Files of the log that end in `extension`.
fn files(disk: &SimDisk, extension: &str) -> Vec<PathBuf> {
    let dir = Path::new("/data/t-0");
    let entries = disk.io().storage.list_dir(dir).unwrap();
    let named = entries.into_iter().filter(|entry| entry.name.ends_with(extension));
    named.map(|entry| dir.join(entry.name)).collect()
}

/// A copy of a disk; the original can be copied again.
fn copy(disk: &SimDisk) -> Arc<SimDisk> {
    disk.crash(&Crash::KeepAll)
}

/// Five producers whose transactions overlap and reach over segments; every third one is aborted.
fn fill_with_transactions(log: &Log) {
    let mut sequences = [0; 5];
    for round in 0..120 {
        let pid = round % 5;
        let sequence = &mut sequences[usize::try_from(pid).unwrap()];
        append(log, &produced(pid, 0, *sequence, 2, true)).unwrap();
        *sequence += 2;
        if round % 7 == 0 {
            ends(pid, round % 3 != 0).append(log).unwrap();
        }
    }
    for pid in 0..5 {
        ends(pid, pid != 2).append(log).unwrap();
    }
}

// D-43: nothing vouches for what Kafka left, so its transaction index is made from the batches. How far
// back they must be read, its snapshot at the segment's beginning says.
#[test]
fn a_transaction_that_is_found_again_begins_where_kafkas_snapshot_says() {
    let snapshot = Path::new("/data/t-0/00000000000000000002.snapshot");
    let disk = SimDisk::new(1);
    let engine = open(&disk);
    let log = engine.create_log(&name(), ID, config()).unwrap();
    append(&log, &produced(1, 0, 0, 2, true)).unwrap();
    log.roll();
    engine.close().unwrap();
    let bytes = disk.visible(snapshot).unwrap();
    let engine = open(&disk);
    let log = engine.log(&name()).unwrap();
    append(&log, &produced(1, 0, 2, 2, true)).unwrap();
    ends(1, false).append(&log).unwrap();
    log.roll();
    append(&log, &at_time(T0)).unwrap();
    engine.close().unwrap();
    // As Kafka would leave it.
    for state in files(&disk, ".state") {
        disk.io().storage.remove_file(&state).unwrap();
    }
    // There already, if the states beside it kept it.
    drop(disk.io().storage.open(snapshot, OpenMode::CreateNew, false));
    disk.overwrite(snapshot, bytes).unwrap();
    // Whoever reads the first segment finds no beginning there.
    disk.flip_bit(Path::new("/data/t-0/00000000000000000000.log"), 70, 0).unwrap();
    let log = open(&disk).log(&name()).unwrap();
    assert_eq!(aborted(&log, 2, 1 << 20), [(0, 1)]);
    let found = values(&log, 2, Isolation::ReadCommitted);
    assert_eq!(found.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), [5]);
}

// D-41: what a lazily read transaction index cannot say is found in the batches.
#[test]
fn aborted_records_stay_hidden_whatever_transaction_index_is_lost_after_the_log_was_loaded() {
    let disk = closed(fill_with_transactions);
    let committed = {
        let disk = copy(&disk);
        values(&open(&disk).log(&name()).unwrap(), 0, Isolation::ReadCommitted)
    };
    let everything = {
        let disk = copy(&disk);
        values(&open(&disk).log(&name()).unwrap(), 0, Isolation::ReadUncommitted)
    };
    assert!(committed.len() < everything.len() && !committed.is_empty());
    let count = files(&copy(&disk), ".txnindex").len();
    assert!(count >= 3, "{count} segments");
    for lost in 0..=count {
        for missing in [false, true] {
            let disk = copy(&disk);
            let log = open(&disk).log(&name()).unwrap();
            // One of them, or all.
            for (nth, file) in files(&disk, ".txnindex").iter().enumerate() {
                match missing {
                    _ if nth != lost && lost != count => {}
                    true => disk.io().storage.remove_file(file).unwrap(),
                    false => disk.overwrite(file, vec![1; 33]).unwrap(),
                }
            }
            let found = values(&log, 0, Isolation::ReadCommitted);
            assert_eq!(found, committed, "file {lost}, missing: {missing}");
        }
    }
}

#[test]
fn a_transaction_index_that_was_found_again_is_the_one_that_was_lost() {
    let disk = closed(fill_with_transactions);
    let before = copy(&disk);
    let mut originals = Vec::new();
    for file in files(&before, ".txnindex") {
        originals.push((file.clone(), before.visible(&file).unwrap()));
    }
    let disk = copy(&disk);
    let engine = open(&disk);
    let log = engine.log(&name()).unwrap();
    for (file, _) in &originals[..originals.len() - 1] {
        disk.io().storage.remove_file(file).unwrap();
    }
    values(&log, 0, Isolation::ReadCommitted);
    engine.close().unwrap();
    for (file, bytes) in originals {
        assert_eq!(disk.visible(&file).unwrap(), bytes, "{}", file.display());
    }
}

#[test]
fn a_transaction_index_of_a_later_version_is_refused_and_left_alone() {
    let disk = closed(fill_with_transactions);
    let file = files(&copy(&disk), ".txnindex")
        .into_iter()
        .find(|file| !copy(&disk).visible(file).unwrap().is_empty())
        .unwrap();
    let disk = copy(&disk);
    let log = open(&disk).log(&name()).unwrap();
    disk.flip_bit(&file, 1, 0).unwrap();
    let bytes = disk.visible(&file).unwrap();
    let mut options = ReadOptions::default();
    options.isolation = Isolation::ReadCommitted;
    options.max_bytes = usize::MAX;
    let mut at = Offset::ZERO;
    let error = loop {
        match log.read(at, &options) {
            Ok(outcome) => at = outcome.next_offset,
            Err(error) => break error,
        }
    };
    assert_eq!(*error.kind(), ErrorKind::NewerFormat, "{error:?}");
    assert_eq!(disk.visible(&file).unwrap(), bytes);
}

// An entry is believed only after its batch confirmed it; DESIGN.md, decisions.
#[test]
fn no_flipped_bit_of_an_offset_index_hides_a_record() {
    let disk = closed(|log| {
        for n in 0..150 {
            append(log, &at_time(T0 + n)).unwrap();
        }
    });
    let file = files(&copy(&disk), ".index").remove(0);
    let bits = copy(&disk).visible(&file).unwrap().len() * 8;
    assert!(bits > 8 * 8 * 10);
    for bit in 0..bits {
        let disk = copy(&disk);
        let log = open(&disk).log(&name()).unwrap();
        disk.flip_bit(&file, bit / 8, u32::try_from(bit % 8).unwrap()).unwrap();
        let end = log.segments()[1].0.get();
        for offset in 0..end {
            let outcome = log.read(Offset::new(offset), &ReadOptions::default()).unwrap();
            let (batch, _) = oncelog::batch::Batch::parse(&outcome.slices[0]).unwrap();
            assert_eq!(batch.base_offset().get(), offset, "bit {bit}");
        }
    }
}

#[test]
fn no_flipped_bit_of_a_time_index_hides_a_record() {
    let disk = closed(|log| {
        for n in 0..150 {
            append(log, &at_time(T0 + 10 * n)).unwrap();
        }
    });
    let file = files(&copy(&disk), ".timeindex").remove(0);
    let bits = copy(&disk).visible(&file).unwrap().len() * 8;
    for bit in 0..bits {
        let disk = copy(&disk);
        disk.flip_bit(&file, bit / 8, u32::try_from(bit % 8).unwrap()).unwrap();
        let log = open(&disk).log(&name()).unwrap();
        for n in (0..150).step_by(7) {
            let found = log.offset_for_timestamp(T0 + 10 * n - 5, Isolation::ReadUncommitted);
            assert_eq!(found.unwrap().unwrap().offset.get(), n, "bit {bit}");
        }
        let last = log.offset_of_max_timestamp().unwrap().unwrap();
        assert_eq!(last.offset.get(), 149, "bit {bit}");
    }
}

// the index's word alone removes nothing.
#[test]
fn a_damaged_time_index_costs_no_fresh_segment_and_keeps_no_old_one() {
    let day = 24 * 60 * 60 * 1000;
    for damaged in [false, true] {
        let disk = closed(|log| {
            for n in 0..150 {
                // Written in order, but each segment's last batches are the fresh ones.
                let fresh = n % 30 == 29;
                append(log, &at_time(if fresh { T0 } else { T0 - 30 * day })).unwrap();
            }
        });
        let disk = copy(&disk);
        disk.clock().set_wall_ms(T0);
        for file in files(&disk, ".timeindex") {
            if damaged {
                let first = disk.visible(&file).unwrap()[..12].to_vec();
                disk.overwrite(&file, first).unwrap();
            }
        }
        let log = open(&disk).log(&name()).unwrap();
        assert!(log.segments().len() > 2);
        log.retain().unwrap();
        assert_eq!(log.offsets().log_start_offset, Offset::ZERO, "damaged: {damaged}");
        disk.clock().set_wall_ms(T0 + 8 * day);
        for file in files(&disk, ".timeindex") {
            if damaged {
                disk.io().storage.remove_file(&file).unwrap();
            }
        }
        let log = open_again(&disk);
        log.retain().unwrap();
        assert_eq!(log.segments().len(), 1, "damaged: {damaged}");
    }
}

fn open_again(disk: &SimDisk) -> Log {
    let disk = copy(disk);
    open(&disk).log(&name()).unwrap()
}
