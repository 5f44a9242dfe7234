//! Engines on both kinds of storage, and what is looked at again and again.

use oncelog::batch::{BatchBuilder, DecodeLimits};
use oncelog::io::sim::SimDisk;
use oncelog::{
    Backend, Engine, EngineOptions, Isolation, Log, LogConfig, LogName, Offset, Transaction,
};
use std::sync::Arc;

pub(crate) const ID: [u8; 16] = [7; 16];
pub(crate) const TIME_MS: i64 = 1_700_000_000_000;

/// A place to put an engine, to close it and to open it again.
pub(crate) trait World {
    fn open(&self) -> Engine;
}

pub(crate) struct Real(tempfile::TempDir, Backend);
pub(crate) struct Simulated(Arc<SimDisk>);

impl World for Real {
    fn open(&self) -> Engine {
        let mut options = EngineOptions::new(self.0.path());
        options.backend = self.1;
        Engine::open(options).unwrap()
    }
}

impl World for Simulated {
    fn open(&self) -> Engine {
        Engine::open_with(simulated_options(), self.0.io()).unwrap()
    }
}

pub(crate) fn simulated_options() -> EngineOptions {
    let mut options = EngineOptions::new("/d");
    options.background = false;
    options.reserve_bytes = 0;
    options
}

/// Runs a scenario on every backend.
pub(crate) fn on_all(scenario: impl Fn(&dyn World)) {
    scenario(&Simulated(SimDisk::new(1)));
    for backend in [Backend::Std, Backend::Auto] {
        scenario(&Real(tempfile::tempdir().unwrap(), backend));
    }
}

pub(crate) fn name(index: usize) -> LogName {
    LogName::new("t", i32::try_from(index).unwrap()).unwrap()
}

pub(crate) fn create(engine: &Engine, count: usize) -> Vec<Log> {
    let mut config = LogConfig::default();
    // The records of these tests are years old.
    config.retention_ms = -1;
    let create = |index| engine.create_log(&name(index), ID, config.clone()).unwrap();
    (0..count).map(create).collect()
}

pub(crate) fn load(engine: &Engine, count: usize) -> Vec<Log> {
    (0..count).map(|index| engine.log(&name(index)).unwrap()).collect()
}

pub(crate) fn batch(values: &[&str]) -> BatchBuilder {
    let mut builder = BatchBuilder::new();
    for value in values {
        builder.append(TIME_MS, None, Some(value.as_bytes()), &[]).unwrap();
    }
    builder
}

pub(crate) fn append(txn: &mut Transaction, log: &Log, value: &str) {
    txn.append(log, batch(&[value])).unwrap();
}

/// Every value a reader of `isolation` sees.
pub(crate) fn read(log: &Log, isolation: Isolation) -> Vec<String> {
    let mut out = Vec::new();
    for stored in log.batches(log.offsets().log_start_offset, isolation) {
        let stored = stored.unwrap();
        for record in stored.batch().records(&DecodeLimits::default()).unwrap().iter() {
            let value = record.unwrap().value().unwrap().to_vec();
            out.push(String::from_utf8(value).unwrap());
        }
    }
    out
}

pub(crate) fn committed(log: &Log) -> Vec<String> {
    read(log, Isolation::ReadCommitted)
}

/// Nothing is open: read-committed readers see as far as others.
pub(crate) fn assert_settled(logs: &[Log]) {
    for log in logs {
        let offsets = log.offsets();
        assert_eq!(offsets.last_stable_offset, offsets.high_watermark, "{log:?} is held back");
    }
}

pub(crate) fn position(engine: &Engine, log: &Log) -> Option<i64> {
    engine.position("g", log).unwrap().map(Offset::get)
}

/// An engine on a disk of its own.
pub(crate) fn other_engine() -> Engine {
    Engine::open_with(simulated_options(), SimDisk::new(2).io()).unwrap()
}
