//! A retry is recognised, even after a restart.
//!
//! A producer that never saw the answer to its append sends the same batch again. The log knows the
//! producer's last five batches, keeps them over a restart, and answers with the first offsets.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use bytes::Bytes;
use oncelog::batch::BatchBuilder;
use oncelog::{
    AppendOptions, Engine, EngineOptions, ErrorKind, LogConfig, LogName, Offset, ProducerEpoch,
    ProducerId, Sequence,
};
use std::error::Error;

/// One record of producer 1000, with this sequence.
fn payment(sequence: i32) -> oncelog::Result<Bytes> {
    let (id, epoch) = (ProducerId::new(1000), ProducerEpoch::new(0));
    let mut builder = BatchBuilder::new().producer(id, epoch, Sequence::new(sequence));
    builder.append(1_700_000_000_000, None, Some(b"pay 5"), &[])?;
    builder.build()
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let name = LogName::new("payments", 0)?;
    let options = AppendOptions::default();

    let engine = Engine::open(EngineOptions::new(directory.path()))?;
    let log = engine.create_log(&name, [1; 16], LogConfig::default())?;
    for sequence in 0..3 {
        log.append(&payment(sequence)?, &options)?.wait()?;
    }
    engine.close()?;
    println!("three payments, then a restart");

    let engine = Engine::open(EngineOptions::new(directory.path()))?;
    let log = engine.log(&name)?;
    let again = log.append(&payment(1)?, &options)?.wait()?;
    println!("sequence 1 again: duplicate = {}, offset {}", again.duplicate, again.base_offset);
    assert!(again.duplicate);
    assert_eq!(again.base_offset, Offset::new(1));
    assert_eq!(log.offsets().log_end_offset, Offset::new(3), "nothing was written twice");

    let gap = log.append(&payment(7)?, &options).err().ok_or("a gap was accepted")?;
    println!("sequence 7 at once: {gap}");
    assert!(matches!(gap.kind(), ErrorKind::OutOfOrderSequence { .. }));

    let next = log.append(&payment(3)?, &options)?.wait()?;
    println!("sequence 3: offset {}", next.base_offset);
    assert!(!next.duplicate);
    engine.close()?;
    Ok(())
}
