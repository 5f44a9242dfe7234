//! Bytes that Kafka writes, computed and cross-checked outside this crate.

use super::*;

const MARKER: &str = "0000000000000007 00000042 00000003 02 b40e8663 0030 00000000
    0000018bcfe56800 0000018bcfe56800 00000000000003e8 0005 ffffffff 00000001
    20 00 00 00 08 00000001 0c 000000000009 00";

const DATA: &str = "0000000000000000 00000045 00000000 02 281534f2 0010 00000001
    0000018bcfe56800 0000018bcfe56805 00000000000003e8 0005 00000000 00000002
    12 00 00 00 02 6b 04 7631 00
    12 00 0a 02 01 01 02 02 68 01";

const TIME: i64 = 1_700_000_000_000;

fn commit_marker() -> [u8; MARKER_BATCH_BYTES] {
    marker_batch(
        Offset::new(7),
        LeaderEpoch::new(3),
        ProducerId::new(1000),
        ProducerEpoch::new(5),
        EndMarker::new(MarkerKind::Commit, 9),
        TIME,
    )
}

// D-24.
#[test]
fn a_commit_marker_has_kafka_s_bytes() {
    assert_eq!(commit_marker().to_vec(), hex(MARKER));
}

// D-22 to D-25.
#[test]
fn a_commit_marker_is_read_back() {
    let bytes = hex(MARKER);
    let batch = parse(&bytes);
    assert!(batch.is_crc_valid() && batch.is_control() && batch.is_transactional());
    assert_eq!(batch.end_marker().unwrap(), Some(EndMarker::new(MarkerKind::Commit, 9)));
    assert_eq!(
        (batch.size(), batch.last_offset(), batch.next_offset()),
        (78, Offset::new(7), Offset::new(8))
    );
    assert_eq!(batch.last_sequence(), Sequence::NONE);
}

// D-8 to D-21.
#[test]
fn a_transactional_batch_has_kafka_s_bytes() {
    let (id, epoch) = (ProducerId::new(1000), ProducerEpoch::new(5));
    let mut builder = BatchBuilder::new().producer(id, epoch, Sequence::new(0)).transactional();
    builder.append(TIME, Some(b"k"), Some(b"v1"), &[]).unwrap();
    builder.append(TIME + 5, None, None, &[Header::new(b"h", None)]).unwrap();
    assert_eq!(builder.len(), 2);
    let sent = builder.build().unwrap();

    let header = parse(&sent).patched_header(Offset::ZERO, LeaderEpoch::new(0), None);
    let stored = [&header[..], parse(&sent).records_bytes()].concat();
    assert_eq!(stored, hex(DATA));
    assert_eq!(parse(&sent).leader_epoch(), LeaderEpoch::NONE);
}

#[test]
fn every_field_of_a_transactional_batch_is_read() {
    let bytes = hex(DATA);
    let batch = parse(&bytes);
    assert!(batch.is_crc_valid() && batch.is_transactional());
    assert!(!batch.is_control() && !batch.has_delete_horizon());
    assert_eq!((batch.crc(), batch.attributes()), (0x2815_34f2, 0x10));
    assert_eq!(batch.compression().unwrap(), Compression::None);
    assert_eq!(batch.timestamp_type(), TimestampType::CreateTime);
    assert_eq!((batch.base_timestamp_ms(), batch.max_timestamp_ms()), (TIME, TIME + 5));
    assert_eq!(batch.producer_id(), ProducerId::new(1000));
    assert_eq!(batch.producer_epoch(), ProducerEpoch::new(5));
    assert_eq!(
        (batch.base_sequence(), batch.last_sequence()),
        (Sequence::new(0), Sequence::new(1))
    );
    assert_eq!((batch.record_count(), batch.last_offset_delta()), (2, 1));
    assert_eq!(batch.end_marker().unwrap(), None);

    let records = batch.records(&DecodeLimits::default()).unwrap();
    let records: Vec<_> = records.iter().map(Result::unwrap).collect();
    assert_eq!(records.len(), 2);
    assert_eq!((records[0].key(), records[0].value()), (Some(&b"k"[..]), Some(&b"v1"[..])));
    assert_eq!((records[0].headers().count(), records[0].timestamp_ms()), (0, TIME));
    assert_eq!((records[1].key(), records[1].value()), (None, None));
    assert_eq!((records[1].offset(), records[1].timestamp_ms()), (Offset::new(1), TIME + 5));
    assert_eq!(records[1].sequence(), Sequence::new(1));
    assert_eq!(records[1].headers().collect::<Vec<_>>(), [Header::new(b"h", None)]);
}

#[test]
fn the_checksum_is_castagnoli_s() {
    assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
}

// D-9, A-40.
#[test]
fn a_leader_s_offset_and_epoch_leave_the_checksum_alone() {
    let bytes = hex(DATA);
    let header = parse(&bytes).patched_header(Offset::new(1 << 40), LeaderEpoch::new(7), None);
    let stored = [&header[..], &bytes[61..]].concat();
    let batch = parse(&stored);
    assert!(batch.is_crc_valid());
    assert_eq!((batch.crc(), batch.base_offset()), (0x2815_34f2, Offset::new(1 << 40)));
    assert_eq!(batch.leader_epoch(), LeaderEpoch::new(7));
    assert_eq!(stored[16..], bytes[16..]);
}

// D-10, D-14.
#[test]
fn the_log_s_own_time_is_stamped_with_a_new_checksum() {
    let bytes = patched(&hex(DATA), 21, &[0x7f, 0x10]);
    let header = parse(&bytes).patched_header(Offset::new(3), LeaderEpoch::new(1), Some(TIME + 99));
    let stored = [&header[..], &bytes[61..]].concat();
    let batch = parse(&stored);
    assert!(batch.is_crc_valid());
    assert_eq!(batch.attributes(), 0x18);
    assert_eq!((batch.base_timestamp_ms(), batch.max_timestamp_ms()), (TIME, TIME + 99));
    for record in &batch.records(&DecodeLimits::default()).unwrap() {
        assert_eq!(record.unwrap().timestamp_ms(), TIME + 99);
    }
}

// S-2, D-11: 21 records from MAX − 10 end at 9.
#[test]
fn sequences_wrap_inside_a_batch() {
    let (id, epoch) = (ProducerId::new(1), ProducerEpoch::new(0));
    let mut builder = BatchBuilder::new().producer(id, epoch, Sequence::new(i32::MAX - 10));
    for _ in 0..21 {
        builder.append(TIME, None, None, &[]).unwrap();
    }
    let bytes = builder.build().unwrap();
    let batch = parse(&bytes);
    assert_eq!(batch.last_sequence(), Sequence::new(9));
    assert_eq!(batch.last_sequence().retreat(20), batch.base_sequence());
    let records = batch.records(&DecodeLimits::default()).unwrap();
    let sequences: Vec<_> = records.iter().map(|r| r.unwrap().sequence().get()).collect();
    assert_eq!(sequences[9..12], [i32::MAX - 1, i32::MAX, 0]);
}

// S-1.
#[test]
fn sequence_zero_follows_the_largest() {
    let bytes = patched(&hex(DATA), 53, &(i32::MAX - 1).to_be_bytes());
    assert_eq!(parse(&bytes).last_sequence(), Sequence::new(i32::MAX));
    assert!(parse(&bytes).last_sequence().is_followed_by(Sequence::new(0)));
}

// D-12, D-25, P-19.
#[test]
fn a_batch_emptied_by_compaction_is_read() {
    let mut bytes = hex(MARKER)[..61].to_vec();
    bytes[8..12].copy_from_slice(&49_i32.to_be_bytes());
    let bytes = patched(&bytes, 57, &[0; 4]);
    let batch = parse(&bytes);
    assert!(batch.is_crc_valid() && batch.is_control());
    assert_eq!(batch.end_marker().unwrap(), None);
    assert_eq!(batch.records(&DecodeLimits::default()).unwrap().iter().count(), 0);
    assert_eq!(batch.next_offset(), Offset::new(8));
}

// D-22, D-23.
#[test]
fn newer_and_unknown_control_records_are_tolerated() {
    let kind = |kind: u8| patched(&hex(MARKER), 69, &[kind]);
    let abort = Some(EndMarker::new(MarkerKind::Abort, 9));
    assert_eq!(parse(&kind(0)).end_marker().unwrap(), abort);
    for other in 2..=255 {
        assert_eq!(parse(&kind(other)).end_marker().unwrap(), None);
    }
    let newer = patched(&hex(MARKER), 71, &[0x7f, 0xff]);
    assert!(parse(&newer).end_marker().unwrap().is_some());
    for (at, what) in [(66, "key"), (71, "value")] {
        let negative = patched(&hex(MARKER), at, &[0xff, 0xff]);
        let error = parse(&negative).end_marker().unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::InvalidBatch, "{what}");
    }
}
