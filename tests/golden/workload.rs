//! A random workload, and the directory it leaves, read by an independent decoder.

use crate::decoder::{Directory, Record, batches, crc32c};
use oncelog::batch::{BatchBuilder, EndMarker, MarkerKind, marker_batch};
use oncelog::io::sim::SimDisk;
use oncelog::{
    AppendOptions, Backend, Engine, EngineOptions, Isolation, LeaderEpoch, Log, LogConfig, LogName,
    Offset, Origin, ProducerEpoch, ProducerId, Sequence,
};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const T: i64 = 1_700_000_000_000;
const INTERVAL: u32 = 300;

/// Numbers that follow from a seed (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// What a producer does next.
#[derive(Clone, Copy)]
struct Writer {
    epoch: i16,
    sequence: i32,
    open: bool,
}

struct Workload {
    numbers: Numbers,
    writers: BTreeMap<i64, Writer>,
    /// Everything that was acknowledged: offset, time, key and value.
    written: Vec<Record>,
}

impl Workload {
    fn new(seed: u64) -> Self {
        // Producer 3 is about to wrap its sequence.
        let writer = |pid| Writer {
            epoch: 0,
            sequence: if pid == 3 { i32::MAX - 20 } else { 0 },
            open: false,
        };
        let writers = (1..=4).map(|pid| (pid, writer(pid))).collect();
        let numbers = Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        Self { numbers, writers, written: Vec::new() }
    }

    fn step(&mut self, log: &Log) {
        match self.numbers.below(12) {
            0 => self.end(log),
            1 if self.numbers.one_in(4) => log.roll(),
            2 if self.numbers.one_in(6) => {
                let next = LeaderEpoch::new(log.leader_epoch().get() + 1);
                log.begin_leader_epoch(next).unwrap();
            }
            3 | 4 => self.data(log, None),
            _ => {
                let pid = i64::try_from(self.numbers.below(4)).unwrap() + 1;
                self.data(log, Some(pid));
            }
        }
    }

    fn data(&mut self, log: &Log, pid: Option<i64>) {
        let mut builder = BatchBuilder::new();
        let count = i32::try_from(self.numbers.below(5)).unwrap() + 1;
        if let Some(pid) = pid {
            let bump = self.numbers.one_in(15);
            let begin = self.numbers.one_in(2);
            let writer = self.writers.get_mut(&pid).unwrap();
            if bump && !writer.open {
                (writer.epoch, writer.sequence) = (writer.epoch + 1, 0);
            }
            writer.open |= begin;
            let (epoch, sequence) =
                (ProducerEpoch::new(writer.epoch), Sequence::new(writer.sequence));
            builder = builder.producer(ProducerId::new(pid), epoch, sequence);
            if writer.open {
                builder = builder.transactional();
            }
            writer.sequence = sequence.advance(count).get();
        }
        let mut records = Vec::new();
        for i in 0..count {
            // Times rise on the whole, jump back now and then, and are sometimes unknown.
            let back = self.numbers.below(2000);
            let spread = T + i64::try_from(self.written.len()).unwrap() * 50;
            let timestamp = spread - i64::try_from(back).unwrap();
            let key = (!self.numbers.one_in(3)).then(|| format!("k{i}").into_bytes());
            let length = usize::try_from(self.numbers.below(120)).unwrap();
            let value = (!self.numbers.one_in(8)).then(|| vec![b'v'; length]);
            builder.append(timestamp, key.as_deref(), value.as_deref(), &[]).unwrap();
            records.push(Record { offset: i64::from(i), timestamp, key, value });
        }
        let appended = append(log, &builder.build().unwrap(), Origin::Client);
        for mut record in records {
            record.offset += appended;
            self.written.push(record);
        }
    }

    /// Ends a transaction; now and then by a marker of a higher epoch, which fences its producer.
    fn end(&mut self, log: &Log) {
        let open: Vec<i64> = self.writers.iter().filter(|w| w.1.open).map(|w| *w.0).collect();
        if open.is_empty() {
            return;
        }
        let pick = self.numbers.below(open.len() as u64);
        let pid = open[usize::try_from(pick).unwrap()];
        let fence = self.numbers.one_in(4);
        let abort = self.numbers.one_in(2);
        let writer = self.writers.get_mut(&pid).unwrap();
        writer.open = false;
        if fence {
            (writer.epoch, writer.sequence) = (writer.epoch + 1, 0);
        }
        let marker = marker_batch(
            Offset::ZERO,
            LeaderEpoch::NONE,
            ProducerId::new(pid),
            ProducerEpoch::new(writer.epoch),
            EndMarker::new(if abort { MarkerKind::Abort } else { MarkerKind::Commit }, 3),
            T,
        );
        append(log, &marker, Origin::Coordinator);
    }
}

fn append(log: &Log, batch: &[u8], origin: Origin) -> i64 {
    let mut options = AppendOptions::default();
    options.origin = origin;
    log.append(batch, &options).unwrap().wait().unwrap().base_offset.get()
}

fn open(path: &Path) -> Engine {
    let clock = SimDisk::new(1);
    clock.clock().set_wall_ms(T);
    let mut io = clock.io();
    io.storage = oncelog::io::open_storage(Backend::Std, path).unwrap();
    let mut options = EngineOptions::new(path);
    options.background = false;
    options.log = config();
    Engine::open_with(options, io).unwrap()
}

fn config() -> LogConfig {
    let mut config = LogConfig::default();
    config.segment_bytes = 8192;
    config.index_interval_bytes = INTERVAL;
    config.timestamp_after_max_ms = i64::MAX;
    config
}

fn name() -> LogName {
    LogName::new("t", 0).unwrap()
}

/// Runs a workload with so many clean stops in between, and reads what is left.
fn run(seed: u64, stops: usize) {
    let dir = tempfile::tempdir().unwrap();
    let mut workload = Workload::new(seed);
    let mut engine = open(dir.path());
    let mut log = engine.create_log(&name(), [9; 16], config()).unwrap();
    for round in 0..=stops {
        if round > 0 {
            engine.close().unwrap();
            drop((engine, log));
            engine = open(dir.path());
            log = engine.log(&name()).unwrap();
        }
        for _ in 0..200 {
            workload.step(&log);
        }
        engine.tick();
    }
    let committed: Vec<i64> = log
        .batches(Offset::ZERO, Isolation::ReadCommitted)
        .map(|batch| batch.unwrap().batch().base_offset().get())
        .collect();
    let last_stable = log.offsets().last_stable_offset.get();
    engine.close().unwrap();
    let directory = Directory::read(&dir.path().join("t-0"));
    directory.check(INTERVAL, stops == 0);
    assert!(directory.segments.len() > 3 && directory.segments.iter().any(|s| s.index.len() > 3));
    let data = directory.batches().filter(|batch| batch.control.is_none());
    let stored: Vec<Record> = data.flat_map(|batch| batch.records.clone()).collect();
    assert_eq!(stored, workload.written);
    assert_eq!(committed, visible(&directory, last_stable));
}

/// The batches of a read-committed reader, from the decoded transaction indexes alone: those below
/// the last stable offset that lie in no aborted transaction of their producer.
fn visible(directory: &Directory, last_stable: i64) -> Vec<i64> {
    let aborted: Vec<[i64; 4]> =
        directory.segments.iter().flat_map(|segment| segment.aborted.clone()).collect();
    assert!(!aborted.is_empty());
    let hidden = |pid: i64, base: i64| {
        aborted.iter().any(|txn| txn[0] == pid && (txn[1]..txn[2]).contains(&base))
    };
    directory
        .batches()
        .filter(|batch| batch.base < last_stable && batch.control.is_none())
        .filter(|batch| !(batch.transactional && hidden(batch.pid, batch.base)))
        .map(|batch| batch.base)
        .collect()
}

// D-5, D-8 to D-49.
#[test]
fn an_independent_decoder_finds_every_file_right() {
    for seed in 1..=6 {
        run(seed, 0);
    }
}

#[test]
fn an_independent_decoder_finds_every_file_right_after_restarts() {
    for seed in 7..=10 {
        run(seed, 3);
    }
}

// The layout of an active segment: batches, zeroes, and a trailer at the end of a block.
#[test]
fn an_active_segment_ends_in_zeroes_and_the_trailer_of_its_last_group() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let log = engine.create_log(&name(), [9; 16], config()).unwrap();
    let mut workload = Workload::new(77);
    workload.data(&log, None);
    let first_end = log.offsets().log_end_offset.get();
    let path = dir.path().join("t-0/00000000000000000000.log");
    let check = |durable_end: i64, group_end: i64| {
        let bytes = fs::read(&path).unwrap();
        assert_eq!(bytes.len() % 4096, 0);
        let trailers = (1..=bytes.len() / 4096).map(|block| block * 4096 - 64);
        let trailer = trailers.rev().find(|at| bytes[*at..].starts_with(b"oncelogW")).unwrap();
        assert!(bytes[trailer + 64..].iter().all(|byte| *byte == 0), "blocks written ahead");
        let number = |at: usize| i64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
        let end = usize::try_from(number(trailer + 40)).unwrap();
        assert_eq!(batches(&bytes[..end]).last().unwrap().last + 1, group_end);
        assert!(bytes[end..trailer].iter().all(|byte| *byte == 0));
        assert_eq!(bytes[trailer..trailer + 16], *b"oncelogW\0\0\0\0\0\x01\0\0");
        assert_eq!([16, 24, 32].map(|at| number(trailer + at)), [0, durable_end, group_end]);
        assert_eq!(bytes[trailer + 48..trailer + 60], [0; 12]);
        let crc = u32::from_be_bytes(bytes[trailer + 60..trailer + 64].try_into().unwrap());
        assert_eq!(crc, crc32c(&bytes[trailer..trailer + 60]));
    };
    check(0, first_end);
    workload.data(&log, None);
    check(first_end, log.offsets().log_end_offset.get());
}
