//! A transaction over two logs, ended by markers, and what a read-committed reader sees of it.
//!
//! The engine is the *participant*: it keeps transactional records from read-committed readers until
//! a marker arrives, and skips the aborted ones. Deciding and making the decision durable before the
//! first marker is the coordinator's part, which this program plays without a memory of its own.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use oncelog::batch::{BatchBuilder, DecodeLimits, EndMarker, MarkerKind, marker_batch};
use oncelog::{
    AppendOptions, Engine, EngineOptions, Isolation, LeaderEpoch, Log, LogConfig, LogName, Offset,
    Origin, ProducerEpoch, ProducerId, Sequence,
};
use std::error::Error;

const PRODUCER: ProducerId = ProducerId::new(1000);
const EPOCH: ProducerEpoch = ProducerEpoch::new(0);
const NOW_MS: i64 = 1_700_000_000_000;

fn write(log: &Log, sequence: i32, value: &str) -> oncelog::Result<()> {
    let mut builder =
        BatchBuilder::new().producer(PRODUCER, EPOCH, Sequence::new(sequence)).transactional();
    builder.append(NOW_MS, None, Some(value.as_bytes()), &[])?;
    log.append(&builder.build()?, &AppendOptions::default())?.wait().map(drop)
}

fn end(log: &Log, kind: MarkerKind) -> oncelog::Result<()> {
    let marker = EndMarker::new(kind, 0);
    let batch = marker_batch(Offset::ZERO, LeaderEpoch::NONE, PRODUCER, EPOCH, marker, NOW_MS);
    let mut options = AppendOptions::default();
    options.origin = Origin::Coordinator;
    log.append(&batch, &options)?.wait().map(drop)
}

fn read(log: &Log, isolation: Isolation) -> oncelog::Result<Vec<String>> {
    let mut values = Vec::new();
    for stored in log.batches(Offset::ZERO, isolation) {
        for record in stored?.batch().records(&DecodeLimits::default())?.iter() {
            values.push(String::from_utf8_lossy(record?.value().unwrap_or_default()).into_owned());
        }
    }
    Ok(values)
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let engine = Engine::open(EngineOptions::new(directory.path()))?;
    let create = |topic| engine.create_log(&LogName::new(topic, 0)?, [1; 16], LogConfig::default());
    let (debits, credits) = (create("debits")?, create("credits")?);

    write(&debits, 0, "anna -5")?;
    write(&credits, 0, "ben +5")?;
    println!("open: committed readers see {:?}", read(&debits, Isolation::ReadCommitted)?);
    assert!(read(&debits, Isolation::ReadCommitted)?.is_empty());
    assert_eq!(debits.offsets().last_stable_offset, Offset::ZERO);
    for log in [&debits, &credits] {
        end(log, MarkerKind::Commit)?;
    }

    write(&debits, 1, "carl -9")?;
    write(&credits, 1, "dora +9")?;
    for log in [&debits, &credits] {
        end(log, MarkerKind::Abort)?;
    }

    for (log, committed) in [(&debits, "anna -5"), (&credits, "ben +5")] {
        let (seen, all) =
            (read(log, Isolation::ReadCommitted)?, read(log, Isolation::ReadUncommitted)?);
        println!("{}: committed {seen:?}, all {all:?}", log.name());
        assert_eq!(seen, [committed]);
        assert_eq!(all.len(), 2);
    }
    engine.close()?;
    Ok(())
}
