//! Batches that are damaged while the log is open, or were when it was closed.
//!
//! **Goal.** A damaged batch costs a reader that batch and no other, wherever the bytes are read from.

#![expect(clippy::unwrap_used, reason = "a panic in a test is a failed test")]

use oncelog::batch::{Batch, BatchBuilder};
use oncelog::io::sim::SimDisk;
use oncelog::{
    AppendOptions, Engine, EngineOptions, ErrorKind, Log, LogConfig, LogName, Offset, ReadOptions,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn open(disk: &Arc<SimDisk>, segment_bytes: u32) -> Log {
    let mut options = EngineOptions::new("/d");
    options.background = false;
    options.log = LogConfig::default();
    options.log.segment_bytes = segment_bytes;
    let engine = Engine::open_with(options, disk.io()).unwrap();
    engine.log(&LogName::new("t", 0).unwrap()).unwrap()
}

/// Twenty batches of two records of 100 bytes in segments of so many bytes, closed in order. Batch n
/// begins at offset 2 n.
fn closed(segment_bytes: u32) -> Arc<SimDisk> {
    let disk = SimDisk::new(1);
    let mut options = EngineOptions::new("/d");
    options.background = false;
    let engine = Engine::open_with(options, disk.io()).unwrap();
    let mut config = LogConfig::default();
    config.segment_bytes = segment_bytes;
    let log = engine.create_log(&LogName::new("t", 0).unwrap(), [7; 16], config).unwrap();
    for _ in 0..20 {
        let mut batch = BatchBuilder::new();
        for _ in 0..2 {
            batch.append(1_700_000_000_000, None, Some(&[b'x'; 100]), &[]).unwrap();
        }
        log.append(&batch.build().unwrap(), &AppendOptions::default()).unwrap().wait().unwrap();
    }
    engine.close().unwrap();
    disk
}

fn first_file() -> PathBuf {
    Path::new("/d/t-0/00000000000000000000.log").to_owned()
}

/// Base offsets of what a reader gets who goes on behind damage, and what it was told of that.
fn served(log: &Log) -> (Vec<i64>, Vec<(i64, i64)>) {
    let (mut at, mut found, mut damage) = (Offset::ZERO, Vec::new(), Vec::new());
    while at < log.offsets().high_watermark {
        match log.read(at, &ReadOptions::default()) {
            Ok(outcome) => {
                for slice in &outcome.slices {
                    let mut rest = slice.as_ref();
                    while let Ok((batch, after)) = Batch::parse(rest) {
                        found.push(batch.base_offset().get());
                        rest = after;
                    }
                }
                assert!(outcome.next_offset > at);
                at = outcome.next_offset;
            }
            Err(error) => {
                let ErrorKind::Corrupt { first, next } = *error.kind() else { panic!("{error:?}") };
                assert!(next > at, "at {at}: {error}");
                damage.push((first.get(), next.get()));
                at = next;
            }
        }
    }
    (found, damage)
}

fn all_but(missing: i64) -> Vec<i64> {
    (0..20).map(|nth| 2 * nth).filter(|base| *base != missing).collect()
}

/// Damages the fourth batch: one bit of its records, or of its length.
fn damage_the_fourth(disk: &Arc<SimDisk>, byte: usize) {
    let bytes = disk.visible(&first_file()).unwrap();
    let size = Batch::peek_len(&bytes).unwrap();
    disk.flip_bit(&first_file(), 3 * size + byte, 0).unwrap();
}

#[test]
fn damage_met_by_a_read_costs_its_batch_and_no_other() {
    for segment_bytes in [1 << 20, 4096] {
        for byte in [8, 11, 16, 70] {
            let disk = closed(segment_bytes);
            // The log is open when the damage happens: recovery has not seen it.
            let log = open(&disk, segment_bytes);
            damage_the_fourth(&disk, byte);
            let what = format!("segments of {segment_bytes}, byte {byte}");
            assert_eq!(served(&log), (all_but(6), vec![(6, 8)]), "{what}");
            // A reader that begins inside it gets past it, too.
            let error = log.read(Offset::new(7), &ReadOptions::default()).unwrap_err();
            let (first, next) = (Offset::new(6), Offset::new(8));
            assert_eq!(*error.kind(), ErrorKind::Corrupt { first, next }, "{what}");
        }
    }
}

#[test]
fn damage_in_a_closed_log_costs_its_batch_and_no_other() {
    for segment_bytes in [1 << 20, 4096] {
        for byte in [8, 11, 16, 70] {
            let disk = closed(segment_bytes);
            damage_the_fourth(&disk, byte);
            let log = open(&disk, segment_bytes);
            let what = format!("segments of {segment_bytes}, byte {byte}");
            assert_eq!(served(&log), (all_but(6), vec![(6, 8)]), "{what}");
        }
    }
}
