//! Appending records and reading them back.
//!
//! A batch is the unit of an append. The append itself only uses the CPU and returns a ticket; what
//! the ticket resolves to is on stable storage.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use oncelog::batch::{BatchBuilder, DecodeLimits};
use oncelog::{AppendOptions, Engine, EngineOptions, Isolation, LogConfig, LogName, Offset};
use std::error::Error;

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let engine = Engine::open(EngineOptions::new(directory.path()))?;
    let info = engine.storage_info();
    println!("backend: {} ({})", info.backend, info.reason);

    let log = engine.open_log(&LogName::new("orders", 0)?, LogConfig::default())?;
    let mut builder = BatchBuilder::new();
    builder.append(1_700_000_000_000, Some(b"anna"), Some(b"tea"), &[])?;
    builder.append(1_700_000_000_005, Some(b"ben"), Some(b"coffee"), &[])?;
    let ticket = log.append(&builder.build()?, &AppendOptions::default())?;
    println!("staged at offset {}", ticket.appended().base_offset);
    let appended = ticket.wait()?;
    println!("offsets {} to {} survive a power cut", appended.base_offset, appended.last_offset);

    let mut drinks = Vec::new();
    for stored in log.batches(Offset::ZERO, Isolation::ReadUncommitted) {
        let stored = stored?;
        for record in stored.batch().records(&DecodeLimits::default())?.iter() {
            let record = record?;
            let value = String::from_utf8_lossy(record.value().unwrap_or_default()).into_owned();
            println!("offset {}: {value}", record.offset());
            drinks.push(value);
        }
    }
    assert_eq!(drinks, ["tea", "coffee"]);
    assert_eq!(log.offsets().high_watermark, Offset::new(2));
    engine.close()?;
    Ok(())
}
