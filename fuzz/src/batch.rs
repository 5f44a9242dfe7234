//! Batches from foreign bytes: parsing, records of every codec, markers, patching, the append rules.
//!
//! A checksum is hard to guess, so the append rules are also tried on the batch as a log would stamp
//! it, with a right one. What is read must hold together: a patched header parses to what was asked
//! for, and records that were read survive the builder.

use oncelog::batch::{Batch, BatchBuilder, DecodeLimits, HEADER_BYTES, Header, Rules, validate};
use oncelog::{LeaderEpoch, LogConfig, Offset, Origin};

const LIMITS: DecodeLimits = DecodeLimits::new(1 << 20);

pub fn check(bytes: &[u8]) {
    let mut rest = bytes;
    while let Ok((batch, after)) = Batch::parse(rest) {
        assert_eq!(Batch::peek_len(rest), Some(batch.size()));
        check_batch(&batch);
        rest = after;
    }
}

fn check_batch(batch: &Batch<'_>) {
    let (offset, epoch) = (batch.base_offset(), batch.leader_epoch());
    let same = batch.patched_header(offset, epoch, None);
    assert_eq!(same, batch.as_bytes()[..HEADER_BYTES], "an unpatched header is the same");
    check_stamped(batch);
    for origin in [Origin::Client, Origin::Coordinator, Origin::Follower] {
        let mut rules = Rules::new(&LogConfig::default(), origin, 1_700_000_000_000);
        rules.keys_required = true;
        drop(validate(batch, &rules));
    }
    drop(batch.end_marker());
    check_records(batch);
}

/// With a time of the log's own the checksum is right, whatever it was before.
fn check_stamped(batch: &Batch<'_>) {
    let header = batch.patched_header(Offset::new(0), LeaderEpoch::new(1), Some(5));
    let stamped = [&header, batch.records_bytes()].concat();
    let (stamped, rest) = Batch::parse(&stamped).expect("a patched batch parses");
    assert!(rest.is_empty() && stamped.is_crc_valid());
    assert_eq!((stamped.max_timestamp_ms(), stamped.leader_epoch()), (5, LeaderEpoch::new(1)));
    let mut rules = Rules::new(&LogConfig::default(), Origin::Client, 5);
    rules.keys_required = true;
    drop(validate(&stamped, &rules));
}

fn check_records(batch: &Batch<'_>) {
    let Ok(records) = batch.records(&LIMITS) else {
        return;
    };
    let mut builder = BatchBuilder::new();
    let mut read = Vec::new();
    for record in &records {
        let Ok(record) = record else { return };
        let headers: Vec<Header<'_>> = record.headers().collect();
        let (key, value) = (record.key(), record.value());
        builder.append(record.timestamp_ms(), key, value, &headers).expect("it is small enough");
        read.push(record);
    }
    let Ok(rebuilt) = builder.build() else { return };
    let (rebuilt, _) = Batch::parse(&rebuilt).expect("a built batch parses");
    assert!(rebuilt.is_crc_valid());
    let again = rebuilt.records(&LIMITS).expect("a built batch is not compressed");
    for (first, second) in read.iter().zip(&again) {
        let second = second.expect("a built record is read");
        assert_eq!(first.timestamp_ms(), second.timestamp_ms());
        assert_eq!((first.key(), first.value()), (second.key(), second.value()));
        assert!(first.headers().eq(second.headers()));
    }
    assert_eq!(again.iter().count(), read.len());
}
