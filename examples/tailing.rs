//! Following the end of a log while somebody writes it.
//!
//! The reader sleeps until the log's high watermark passes its position: no polling, no timer. On an
//! executor `next_batch().await` does the same without a thread.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use oncelog::batch::{BatchBuilder, DecodeLimits};
use oncelog::{AppendOptions, Engine, EngineOptions, Isolation, Log, LogConfig, LogName, Offset};
use std::error::Error;
use std::thread;
use std::time::Duration;

const TICKS: usize = 5;

fn write_ticks(log: &Log) -> oncelog::Result<()> {
    for tick in 0..TICKS {
        let mut builder = BatchBuilder::new();
        builder.append(1_700_000_000_000, None, Some(format!("tick {tick}").as_bytes()), &[])?;
        log.append(&builder.build()?, &AppendOptions::default())?.wait()?;
    }
    Ok(())
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let engine = Engine::open(EngineOptions::new(directory.path()))?;
    let log = engine.open_log(&LogName::new("ticks", 0)?, LogConfig::default())?;

    let mut reader = log.batches(Offset::ZERO, Isolation::ReadUncommitted);
    assert!(reader.next_timeout(Duration::ZERO)?.is_none(), "nothing is there yet");

    let writer = thread::spawn({
        let log = log.clone();
        move || write_ticks(&log)
    });
    let mut seen = Vec::new();
    while seen.len() < TICKS {
        let stored = reader.next_timeout(Duration::from_secs(30))?.ok_or("no batch in time")?;
        for record in stored.batch().records(&DecodeLimits::default())?.iter() {
            let record = record?;
            let value = String::from_utf8_lossy(record.value().unwrap_or_default()).into_owned();
            println!("offset {}: {value}", record.offset());
            seen.push(value);
        }
    }
    writer.join().map_err(|_panic| "the writer panicked")??;
    assert_eq!(seen, ["tick 0", "tick 1", "tick 2", "tick 3", "tick 4"]);
    assert_eq!(reader.position(), log.offsets().high_watermark);
    engine.close()?;
    Ok(())
}
