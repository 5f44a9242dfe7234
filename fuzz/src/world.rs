//! An engine on a simulated disk whose files are foreign bytes, and what must hold of every log
//! that such an engine agrees to open.

use oncelog::batch::{Batch, BatchBuilder, DecodeLimits};
use oncelog::io::OpenMode;
use oncelog::io::sim::SimDisk;
use oncelog::{
    AppendOptions, Engine, EngineOptions, ErrorKind, Isolation, Log, LogConfig, LogName, Offset,
    ReadOptions,
};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The data directory.
pub const DATA: &str = "/d";
/// The time of the simulated clock, and of records.
pub const TIME_MS: i64 = 1_700_000_000_000;

pub fn name() -> LogName {
    LogName::new("t", 0).expect("a legal name")
}

/// Small segments and dense indexes: a few kilobytes of input reach every path.
pub fn config() -> LogConfig {
    let mut config = LogConfig::default();
    config.segment_bytes = 4096;
    config.index_interval_bytes = 300;
    config.retention_ms = -1;
    config
}

pub fn options() -> EngineOptions {
    let mut options = EngineOptions::new(DATA);
    options.background = false;
    options.reserve_bytes = 0;
    options.checkpoint_bytes = 6_000;
    options.producers_max = 100;
    options.log = config();
    options
}

pub fn open(disk: &SimDisk) -> oncelog::Result<Engine> {
    Engine::open_with(options(), disk.io())
}

/// Every file below the data directory, by its path from there.
pub fn files(disk: &SimDisk) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    collect(disk, Path::new(DATA), "", &mut found);
    found
}

fn collect(disk: &SimDisk, dir: &Path, prefix: &str, found: &mut Vec<(String, Vec<u8>)>) {
    let entries = disk.io().storage.list_dir(dir).expect("a directory that was listed");
    for entry in entries {
        let (path, name) = (dir.join(&entry.name), format!("{prefix}{}", entry.name));
        if entry.is_dir {
            collect(disk, &path, &format!("{name}/"), found);
        } else {
            found.push((name, disk.visible(&path).expect("a file that was listed")));
        }
    }
}

/// A disk with these files, all of it durable.
pub fn disk(files: &[(String, Vec<u8>)]) -> Arc<SimDisk> {
    let disk = SimDisk::new(1);
    let storage = disk.io().storage;
    storage.create_dir(Path::new(DATA)).expect("an empty disk");
    storage.sync_dir(Path::new("/")).expect("a disk without faults");
    for (name, bytes) in files {
        let path = PathBuf::from(DATA).join(name);
        let dir = path.parent().expect("it lies in the data directory");
        storage.create_dir(dir).expect("a disk without faults");
        let file = storage.open(&path, OpenMode::Truncate, false).expect("a disk without faults");
        file.write_at(bytes, 0).expect("a disk without faults");
        file.sync().expect("a disk without faults");
        storage.sync_dir(dir).expect("a disk without faults");
    }
    storage.sync_dir(Path::new(DATA)).expect("a disk without faults");
    disk
}

/// Whether two batches with right checksums overlap in a data file. Which of them a reader meets depends on where
/// it comes from, a walk or an index entry, and nothing says which of them was appended: no write leaves that,
/// and no rot, for one of them would be damaged.
pub fn overlaps(file: &[u8]) -> bool {
    let mut end = 0;
    for at in 0..file.len() {
        let Ok((batch, _)) = Batch::parse(&file[at..]) else { continue };
        if batch.base_offset() < Offset::ZERO || !batch.is_crc_valid() {
            continue;
        }
        if at < end {
            return true;
        }
        end = at + batch.size();
    }
    false
}

/// What a log holds, as a reader finds it. Where damage lies does not count: how finely it is reported
/// depends on where the bytes are read from.
#[derive(Clone, PartialEq, Eq)]
pub struct Contents {
    pub start: Offset,
    pub end: Offset,
    pub batches: Vec<Vec<u8>>,
}

impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |bytes: &Vec<u8>| match Batch::parse(bytes) {
            Ok((batch, _)) => format!("{}..={}", batch.base_offset(), batch.last_offset()),
            Err(error) => error.to_string(),
        };
        let batches: Vec<String> = self.batches.iter().map(name).collect();
        write!(f, "{} to {}: {}", self.start, self.end, batches.join(" "))
    }
}

/// Reads the whole log. Every batch must be right, in order and within bounds, every report of
/// damage must have a far side, and the reader must arrive at the end.
pub fn contents(log: &Log) -> Contents {
    let offsets = log.offsets();
    let (start, end) = (offsets.log_start_offset, offsets.log_end_offset);
    assert!(start <= offsets.last_stable_offset, "{offsets:?}");
    assert!(offsets.last_stable_offset <= offsets.high_watermark, "{offsets:?}");
    assert!(offsets.high_watermark <= end, "{offsets:?}");
    let mut contents = Contents { start, end, batches: Vec::new() };
    let mut at = start;
    while at < offsets.high_watermark {
        match log.read(at, &ReadOptions::default()) {
            Ok(outcome) if outcome.slices.is_empty() => {
                // A gap reaches to the end: there is nothing more to read, and it stays that way.
                break;
            }
            Ok(outcome) => {
                let mut expected = None;
                for slice in &outcome.slices {
                    expected = take(slice, expected, &mut contents.batches);
                }
                let next = expected.expect("a slice holds a batch");
                assert_eq!(next, outcome.next_offset);
                assert!(next > at, "a read at {at} leads to {next}");
                at = next;
            }
            Err(error) => match *error.kind() {
                ErrorKind::Corrupt { next, .. } => {
                    assert!(next > at, "damage at {at} is said to end at {next}");
                    at = next;
                }
                _ => panic!("reading at {at}: {error:?}"),
            },
        }
    }
    contents
}

fn take(slice: &[u8], mut expected: Option<Offset>, batches: &mut Vec<Vec<u8>>) -> Option<Offset> {
    let mut rest = slice;
    while !rest.is_empty() {
        let (batch, after) = Batch::parse(rest).expect("a slice holds whole batches");
        assert!(batch.is_crc_valid(), "{batch} was served with a wrong checksum");
        assert!(expected.is_none_or(|expected| batch.base_offset() >= expected), "{batch}");
        if let Ok(records) = batch.records(&DecodeLimits::new(1 << 20)) {
            for record in &records {
                if record.is_err() {
                    break;
                }
            }
        }
        expected = Some(batch.next_offset());
        batches.push(batch.as_bytes().to_vec());
        rest = after;
    }
    expected
}

/// Everything else a reader may ask: an answer or an error, and what it finds is what it asked for.
pub fn ask(log: &Log) {
    for isolation in [Isolation::ReadUncommitted, Isolation::ReadCommitted] {
        let start = log.offsets().log_start_offset;
        let read = log.batches(start, isolation).take(1_000).filter(Result::is_ok).count();
        assert!(read < 1_000, "a small file holds few batches");
        for timestamp_ms in [i64::MIN, -1, 0, TIME_MS, TIME_MS + 3, i64::MAX] {
            if let Ok(Some(found)) = log.offset_for_timestamp(timestamp_ms, isolation) {
                assert!(found.timestamp_ms >= timestamp_ms && found.offset >= start);
            }
        }
    }
    // Damage may hide the record that the index names.
    drop(log.offset_of_max_timestamp());
    for producer in log.producers() {
        assert!(producer.producer_id.is_some());
    }
}

/// A log that was opened takes an append, unless offsets or room have run out.
pub fn append(log: &Log) -> bool {
    let mut builder = BatchBuilder::new();
    builder.append(TIME_MS, None, Some(b"one more"), &[]).expect("a small record");
    let bytes = builder.build().expect("a small batch");
    let before = log.offsets().log_end_offset;
    match log.append(&bytes, &AppendOptions::default()).and_then(oncelog::AppendTicket::wait) {
        Ok(appended) => {
            assert_eq!(appended.base_offset, before);
            true
        }
        Err(error) => {
            assert_eq!(*error.kind(), ErrorKind::InvalidBatch, "{error:?}");
            assert!(before.get() > i64::MAX - 10, "{error:?} at {before}");
            false
        }
    }
}
