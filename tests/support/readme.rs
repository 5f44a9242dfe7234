// The example of the README, word for word; included, so that its `main` can be called.

use oncelog::batch::{BatchBuilder, DecodeLimits};
use oncelog::{AppendOptions, Engine, EngineOptions, Isolation, LogConfig, LogName, Offset};

fn main() -> oncelog::Result<()> {
    let engine = Engine::open(EngineOptions::new("data"))?;
    let log = engine.open_log(&LogName::new("orders", 0)?, LogConfig::default())?;

    let mut batch = BatchBuilder::new();
    batch.append(1_700_000_000_000, Some(b"anna"), Some(b"tea"), &[])?;
    let ticket = log.append(&batch.build()?, &AppendOptions::default())?; // CPU only
    let appended = ticket.wait()?; // or `ticket.await`: now it survives a power cut
    println!("at offset {}", appended.base_offset);

    for stored in log.batches(Offset::ZERO, Isolation::ReadCommitted) {
        for record in stored?.batch().records(&DecodeLimits::default())?.iter() {
            println!("{:?}", record?.value());
        }
    }
    engine.close()
}
