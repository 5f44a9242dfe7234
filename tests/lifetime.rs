//! What handles keep alive, and what goes when they go.

#![expect(clippy::unwrap_used, reason = "a panic in a test is a failed test")]

use oncelog::batch::BatchBuilder;
use oncelog::io::sim::SimDisk;
use oncelog::{AppendOptions, AppendTicket, Engine, EngineOptions, Log, LogConfig, LogName};
use std::sync::Arc;

fn open(disk: &Arc<SimDisk>) -> Engine {
    let mut options = EngineOptions::new("/d");
    options.background = false;
    Engine::open_with(options, disk.io()).unwrap()
}

fn append(log: &Log) -> AppendTicket {
    let mut batch = BatchBuilder::new();
    batch.append(1_700_000_000_000, None, Some(b"x"), &[]).unwrap();
    log.append(&batch.build().unwrap(), &AppendOptions::default()).unwrap()
}

// A queue that held its log, which holds the queue, would hold the directory's lock for ever.
#[test]
fn a_dropped_engine_gives_its_directory_back_even_with_appends_queued() {
    let disk = SimDisk::new(1);
    let engine = open(&disk);
    let name = LogName::new("t", 0).unwrap();
    let log = engine.create_log(&name, [7; 16], LogConfig::default()).unwrap();
    drop(append(&log));
    drop((log, engine));
    open(&disk).log(&name).unwrap();
}

#[test]
fn a_log_and_its_tickets_work_without_the_engine_that_made_them() {
    let disk = SimDisk::new(1);
    let engine = open(&disk);
    let name = LogName::new("t", 0).unwrap();
    let log = engine.create_log(&name, [7; 16], LogConfig::default()).unwrap();
    let ticket = append(&log);
    drop(engine);
    ticket.wait().unwrap();
    append(&log).wait().unwrap();
    assert_eq!(log.offsets().high_watermark.get(), 2);
}
