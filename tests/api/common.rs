//! Engines on both kinds of storage, and batches for them.

use oncelog::batch::{BatchBuilder, DecodeLimits};
use oncelog::io::sim::SimDisk;
use oncelog::{
    AppendOptions, Appended, Engine, EngineOptions, Isolation, Log, LogConfig, LogName, Offset,
    ProducerEpoch, ProducerId, Sequence,
};

pub(crate) const ID: [u8; 16] = [7; 16];

/// A place to put an engine, to close it and to open it again.
pub(crate) trait World {
    fn open(&self) -> Engine;
}

pub(crate) struct Real(pub(crate) tempfile::TempDir);
pub(crate) struct Simulated(pub(crate) std::sync::Arc<SimDisk>);

impl World for Real {
    fn open(&self) -> Engine {
        Engine::open(EngineOptions::new(self.0.path())).unwrap()
    }
}

impl World for Simulated {
    fn open(&self) -> Engine {
        let mut options = EngineOptions::new("/data");
        options.background = false;
        Engine::open_with(options, self.0.io()).unwrap()
    }
}

/// Runs a scenario on both.
pub(crate) fn on_both(scenario: impl Fn(&dyn World)) {
    scenario(&Simulated(SimDisk::new(1)));
    scenario(&Real(tempfile::tempdir().unwrap()));
}

pub(crate) fn name() -> LogName {
    LogName::new("t", 0).unwrap()
}

pub(crate) fn create(engine: &Engine) -> Log {
    engine.create_log(&name(), ID, LogConfig::default()).unwrap()
}

/// A batch of `values`, not idempotent.
pub(crate) fn plain(values: &[&str]) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    for value in values {
        builder.append(1_700_000_000_000, None, Some(value.as_bytes()), &[]).unwrap();
    }
    builder.build().unwrap().to_vec()
}

/// A batch of `count` records of a producer.
pub(crate) fn produced(pid: i64, epoch: i16, sequence: i32, count: usize, txn: bool) -> Vec<u8> {
    let mut builder = BatchBuilder::new().producer(
        ProducerId::new(pid),
        ProducerEpoch::new(epoch),
        Sequence::new(sequence),
    );
    if txn {
        builder = builder.transactional();
    }
    for i in 0..count {
        let value = format!("{pid}/{epoch}/{}", sequence as i64 + i as i64);
        builder.append(1_700_000_000_000, None, Some(value.as_bytes()), &[]).unwrap();
    }
    builder.build().unwrap().to_vec()
}

pub(crate) fn append(log: &Log, batch: &[u8]) -> oncelog::Result<Appended> {
    log.append(batch, &AppendOptions::default())?.wait()
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
