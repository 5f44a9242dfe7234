//! Engines on every kind of storage, with a clock that the test moves, and batches for them.

use oncelog::batch::{
    BatchBuilder, DecodeLimits, EndMarker, MARKER_BATCH_BYTES, MarkerKind, marker_batch,
};
use oncelog::io::sim::{SimClock, SimDisk};
use oncelog::io::{Io, OpenMode, Storage};
use oncelog::{
    AbortedTxn, AppendOptions, Appended, Backend, Engine, EngineOptions, ErrorKind, Isolation,
    LeaderEpoch, Log, LogConfig, LogName, Offset, Origin, ProducerEpoch, ProducerId, ReadOptions,
    Sequence,
};
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) const ID: [u8; 16] = [7; 16];
pub(crate) const ALL: Isolation = Isolation::ReadUncommitted;
pub(crate) const COMMITTED: Isolation = Isolation::ReadCommitted;
/// When every world's clock begins.
pub(crate) const NOW_MS: i64 = 1_700_000_000_000;
/// The time of a test's first record: safely in the past of every world.
pub(crate) const T0: i64 = NOW_MS - 1_000_000;
pub(crate) const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// A place to put an engine, to close it, to kill it and to open it again.
pub(crate) struct World {
    pub(crate) backend: &'static str,
    /// The data directory.
    pub(crate) path: PathBuf,
    /// Clock and randomness for all; files too for the simulated world.
    disk: RefCell<Arc<SimDisk>>,
    /// For the others.
    real: Option<(tempfile::TempDir, Arc<dyn Storage>)>,
}

impl World {
    pub(crate) fn simulated() -> Self {
        let disk = SimDisk::new(1);
        disk.clock().set_wall_ms(NOW_MS);
        Self { backend: "sim", path: "/data".into(), disk: RefCell::new(disk), real: None }
    }

    pub(crate) fn real(backend: Backend) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let storage = oncelog::io::open_storage(backend, dir.path()).unwrap();
        let disk = SimDisk::new(1);
        disk.clock().set_wall_ms(NOW_MS);
        Self {
            backend: storage.info().backend,
            path: dir.path().to_owned(),
            disk: RefCell::new(disk),
            real: Some((dir, storage)),
        }
    }

    pub(crate) fn io(&self) -> Io {
        let mut io = self.disk.borrow().io();
        if let Some((_, storage)) = &self.real {
            io.storage = Arc::clone(storage);
        }
        io
    }

    pub(crate) fn disk(&self) -> Arc<SimDisk> {
        Arc::clone(&self.disk.borrow())
    }

    pub(crate) fn clock(&self) -> Arc<impl std::ops::Deref<Target = SimClock> + use<>> {
        struct Of(Arc<SimDisk>);
        impl std::ops::Deref for Of {
            type Target = SimClock;
            fn deref(&self) -> &SimClock {
                self.0.clock()
            }
        }
        Arc::new(Of(self.disk()))
    }

    /// Moves the wall clock and time itself.
    pub(crate) fn pass_ms(&self, ms: i64) {
        self.clock().advance(std::time::Duration::from_millis(ms.unsigned_abs()));
    }

    /// No thread of its own: maintenance happens when a test says so, on every backend alike.
    pub(crate) fn options(&self) -> EngineOptions {
        let mut options = EngineOptions::new(&self.path);
        options.background = false;
        options
    }

    pub(crate) fn open(&self) -> Engine {
        self.open_with(self.options()).unwrap()
    }

    pub(crate) fn open_with(&self, options: EngineOptions) -> oncelog::Result<Engine> {
        Engine::open_with(options, self.io())
    }

    /// The process dies, with these handles: nothing is flushed or closed, what was written stays.
    pub(crate) fn kill(&self, handles: impl Sized) {
        drop(handles);
        if self.real.is_none() {
            let next = self.disk.borrow().kill();
            self.disk.replace(next);
        }
    }

    /// The path of a file of the one log.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join("t-0").join(name)
    }

    pub(crate) fn read(&self, path: &Path) -> Vec<u8> {
        let file = self.io().storage.open(path, OpenMode::Read, false).unwrap();
        let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
        let mut at = 0;
        while at < bytes.len() {
            at += file.read_at(&mut bytes[at..], at as u64).unwrap();
        }
        bytes
    }

    pub(crate) fn write(&self, path: &Path, bytes: &[u8]) {
        let storage = self.io().storage;
        let file = storage.open(path, OpenMode::Truncate, false).unwrap();
        file.write_at(bytes, 0).unwrap();
        file.sync().unwrap();
        storage.sync_dir(path.parent().unwrap()).unwrap();
    }

    pub(crate) fn remove(&self, path: &Path) {
        let storage = self.io().storage;
        storage.remove_file(path).unwrap();
        storage.sync_dir(path.parent().unwrap()).unwrap();
    }

    /// Names of the files of the one log that end in `suffix`.
    pub(crate) fn files(&self, suffix: &str) -> Vec<String> {
        let entries = self.io().storage.list_dir(&self.path.join("t-0")).unwrap();
        entries.into_iter().map(|e| e.name).filter(|name| name.ends_with(suffix)).collect()
    }

    /// As if the last stop had not been an orderly one.
    pub(crate) fn forget_clean_close(&self) {
        self.remove(&self.path.join(".kafka_cleanshutdown"));
    }
}

/// Runs a scenario on the simulated disk, on plain system calls and, where there is one, on a ring.
pub(crate) fn for_each_backend(scenario: impl Fn(&World)) {
    let worlds = [World::simulated(), World::real(Backend::Std), World::real(Backend::Auto)];
    for (index, world) in worlds.iter().enumerate() {
        if index < 2 || world.backend != "std" {
            scenario(world);
        }
    }
}

pub(crate) fn name() -> LogName {
    LogName::new("t", 0).unwrap()
}

pub(crate) fn create(engine: &Engine) -> Log {
    create_with(engine, |_| ())
}

/// A log with another configuration than the default; it keeps it over [`reopened`].
pub(crate) fn create_with(engine: &Engine, change: impl FnOnce(&mut LogConfig)) -> Log {
    let mut config = LogConfig::default();
    change(&mut config);
    engine.create_log(&name(), ID, config).unwrap()
}

/// The log in an engine that was opened again, with the configuration it had.
pub(crate) fn reopened(engine: &Engine, config: LogConfig) -> Log {
    let log = engine.log(&name()).unwrap();
    log.set_config(config).unwrap();
    log
}

/// A batch in the making.
pub(crate) struct Draft {
    builder: BatchBuilder,
    count: usize,
    timestamp_ms: i64,
    step_ms: i64,
    value_bytes: usize,
    label: String,
}

impl Draft {
    /// One record of nobody.
    pub(crate) fn plain() -> Self {
        Self {
            builder: BatchBuilder::new(),
            count: 1,
            timestamp_ms: T0,
            step_ms: 0,
            value_bytes: 0,
            label: "plain".to_owned(),
        }
    }

    /// One record of a producer.
    pub(crate) fn of(pid: i64, epoch: i16, sequence: i32) -> Self {
        let builder = BatchBuilder::new().producer(
            ProducerId::new(pid),
            ProducerEpoch::new(epoch),
            Sequence::new(sequence),
        );
        Self { builder, label: format!("{pid}/{epoch}/{sequence}"), ..Self::plain() }
    }

    pub(crate) fn txn(mut self) -> Self {
        self.builder = self.builder.transactional();
        self
    }

    pub(crate) fn records(mut self, count: usize) -> Self {
        self.count = count;
        self
    }

    pub(crate) fn at(mut self, timestamp_ms: i64) -> Self {
        self.timestamp_ms = timestamp_ms;
        self
    }

    /// Each record is so much later than the one before.
    pub(crate) fn step(mut self, step_ms: i64) -> Self {
        self.step_ms = step_ms;
        self
    }

    /// Pads each value to so many bytes.
    pub(crate) fn sized(mut self, value_bytes: usize) -> Self {
        self.value_bytes = value_bytes;
        self
    }

    pub(crate) fn build(mut self) -> Vec<u8> {
        for i in 0..self.count {
            let mut value = format!("{}+{i}", self.label);
            while value.len() < self.value_bytes {
                value.push('.');
            }
            let at = self.timestamp_ms + self.step_ms * i64::try_from(i).unwrap();
            self.builder.append(at, Some(b"key"), Some(value.as_bytes()), &[]).unwrap();
        }
        self.builder.build().unwrap().to_vec()
    }

    pub(crate) fn append(self, log: &Log) -> oncelog::Result<Appended> {
        append(log, &self.build())
    }

    /// Appends it as a follower would, at `offset` and of `epoch`.
    pub(crate) fn copy_to(self, log: &Log, offset: i64, epoch: i32) -> oncelog::Result<Appended> {
        append_as(log, &placed(self.build(), offset, epoch), Origin::Follower)
    }
}

/// A batch as it lies in a leader's log.
pub(crate) fn placed(mut batch: Vec<u8>, offset: i64, epoch: i32) -> Vec<u8> {
    batch[0..8].copy_from_slice(&offset.to_be_bytes());
    batch[12..16].copy_from_slice(&epoch.to_be_bytes());
    batch
}

/// A batch of `values`, not idempotent.
pub(crate) fn plain(values: &[&str]) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    for value in values {
        builder.append(T0, None, Some(value.as_bytes()), &[]).unwrap();
    }
    builder.build().unwrap().to_vec()
}

pub(crate) fn append(log: &Log, batch: &[u8]) -> oncelog::Result<Appended> {
    log.append(batch, &AppendOptions::default())?.wait()
}

pub(crate) fn append_as(log: &Log, batch: &[u8], origin: Origin) -> oncelog::Result<Appended> {
    let mut options = AppendOptions::default();
    options.origin = origin;
    log.append(batch, &options)?.wait()
}

/// The end of a transaction.
#[derive(Clone, Copy)]
pub(crate) struct End {
    pub(crate) pid: i64,
    pub(crate) epoch: i16,
    pub(crate) kind: MarkerKind,
    pub(crate) coordinator_epoch: i32,
}

impl End {
    pub(crate) fn commit(pid: i64, epoch: i16) -> Self {
        Self { pid, epoch, kind: MarkerKind::Commit, coordinator_epoch: 0 }
    }

    pub(crate) fn abort(pid: i64, epoch: i16) -> Self {
        Self { kind: MarkerKind::Abort, ..Self::commit(pid, epoch) }
    }

    pub(crate) fn by(mut self, coordinator_epoch: i32) -> Self {
        self.coordinator_epoch = coordinator_epoch;
        self
    }

    pub(crate) fn build(self) -> [u8; MARKER_BATCH_BYTES] {
        self.at(0, -1)
    }

    pub(crate) fn at(self, offset: i64, epoch: i32) -> [u8; MARKER_BATCH_BYTES] {
        marker_batch(
            Offset::new(offset),
            LeaderEpoch::new(epoch),
            ProducerId::new(self.pid),
            ProducerEpoch::new(self.epoch),
            EndMarker::new(self.kind, self.coordinator_epoch),
            T0,
        )
    }

    pub(crate) fn append(self, log: &Log) -> oncelog::Result<Appended> {
        append_as(log, &self.build(), Origin::Coordinator)
    }

    pub(crate) fn copy_to(self, log: &Log, offset: i64, epoch: i32) -> oncelog::Result<Appended> {
        append_as(log, &self.at(offset, epoch), Origin::Follower)
    }
}

/// Every value a reader of `isolation` sees from `from` on, with its offset.
pub(crate) fn values(log: &Log, from: i64, isolation: Isolation) -> Vec<(i64, String)> {
    let mut out = Vec::new();
    for stored in log.batches(Offset::new(from), isolation) {
        let stored = stored.unwrap();
        for record in stored.batch().records(&DecodeLimits::default()).unwrap().iter() {
            let record = record.unwrap();
            let value = String::from_utf8(record.value().unwrap().to_vec()).unwrap();
            out.push((record.offset().get(), value));
        }
    }
    out
}

/// The base offsets of the batches that a reader gets from the log's start on.
pub(crate) fn bases(log: &Log, isolation: Isolation) -> Vec<i64> {
    let from = log.offsets().log_start_offset;
    log.batches(from, isolation).map(|b| b.unwrap().batch().base_offset().get()).collect()
}

/// What a read says is aborted, as first offset and producer.
pub(crate) fn aborted(log: &Log, from: i64, max_bytes: usize) -> Vec<(i64, i64)> {
    let mut options = ReadOptions::default();
    options.isolation = COMMITTED;
    options.max_bytes = max_bytes;
    let listed = log.read(Offset::new(from), &options).unwrap().aborted;
    listed.iter().map(|t: &AbortedTxn| (t.first_offset.get(), t.producer_id.get())).collect()
}

pub(crate) fn end(log: &Log) -> i64 {
    log.offsets().log_end_offset.get()
}

pub(crate) fn last_stable(log: &Log) -> i64 {
    log.offsets().last_stable_offset.get()
}

/// What became of an append, as short as the rules say it.
pub(crate) fn verdict(outcome: oncelog::Result<Appended>) -> &'static str {
    match outcome {
        Ok(appended) if appended.duplicate => "duplicate",
        Ok(_) => "accepted",
        Err(error) => match error.kind() {
            ErrorKind::OutOfOrderSequence { .. } => "45",
            ErrorKind::InvalidProducerEpoch { .. } => "47",
            ErrorKind::InvalidTxnState => "48",
            ErrorKind::CoordinatorFenced => "52",
            ErrorKind::InvalidBatch => "87",
            ErrorKind::InvalidTimestamp => "32",
            ErrorKind::CorruptBatch => "2",
            ErrorKind::BatchTooLarge => "10",
            ErrorKind::LargerThanSegment => "18",
            ErrorKind::UnsupportedCompression => "76",
            _ => "another error",
        },
    }
}

/// CRC-32C, bit by bit: the tests do not take the crate's word for a checksum.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 }
        })
    })
}

/// A batch with other header fields than a builder would give it; checksum and length are made right.
pub(crate) fn resealed(mut batch: Vec<u8>, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    change(&mut batch);
    let length = u32::try_from(batch.len() - 12).unwrap();
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}

/// A batch from which compaction took every record (D-12).
pub(crate) fn emptied(batch: Vec<u8>) -> Vec<u8> {
    resealed(batch, |bytes| {
        bytes.truncate(61);
        bytes[27..35].copy_from_slice(&(-1_i64).to_be_bytes());
        bytes[57..61].copy_from_slice(&0_i32.to_be_bytes());
    })
}

/// A batch of `count` records of a producer.
pub(crate) fn produced(pid: i64, epoch: i16, sequence: i32, count: usize, txn: bool) -> Vec<u8> {
    let draft = Draft::of(pid, epoch, sequence).records(count);
    if txn { draft.txn().build() } else { draft.build() }
}
