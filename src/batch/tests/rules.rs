//! The rules of an append, each broken once.

use super::*;
use crate::options::LogConfig;
use crate::types::Origin;

const NOW: i64 = 1_700_000_000_000;

fn rules(origin: Origin) -> Rules {
    Rules::new(&LogConfig::default(), origin, NOW)
}

/// Two records at `NOW`, of producer 5.
fn sent() -> Vec<u8> {
    let (id, epoch) = (ProducerId::new(5), ProducerEpoch::new(0));
    let mut builder = BatchBuilder::new().producer(id, epoch, Sequence::new(0));
    builder.append(NOW, Some(b"a"), None, &[]).unwrap();
    builder.append(NOW, Some(b"b"), None, &[]).unwrap();
    builder.build().unwrap().to_vec()
}

fn judge(bytes: &[u8], rules: &Rules) -> Result<(), ErrorKind> {
    validate(&parse(bytes), rules).map_err(|error| error.kind().clone())
}

fn judge_client(bytes: &[u8]) -> Result<(), ErrorKind> {
    judge(bytes, &rules(Origin::Client))
}

const INVALID: Result<(), ErrorKind> = Err(ErrorKind::InvalidBatch);
const CORRUPT: Result<(), ErrorKind> = Err(ErrorKind::CorruptBatch);
const BAD_TIME: Result<(), ErrorKind> = Err(ErrorKind::InvalidTimestamp);

#[test]
fn a_producer_s_batch_is_accepted_from_every_origin() {
    for origin in [Origin::Client, Origin::Coordinator, Origin::Follower] {
        assert_eq!(judge(&sent(), &rules(origin)), Ok(()));
    }
}

// A-12, S-54 (recordInvalidOffset).
#[test]
fn a_producer_sends_base_offset_zero() {
    let stored = patched(&sent(), 0, &1_i64.to_be_bytes());
    assert_eq!(judge_client(&stored), INVALID);
    assert_eq!(judge(&stored, &rules(Origin::Coordinator)), Ok(()));
}

//
#[test]
fn the_size_cap_is_inclusive_and_not_for_followers() {
    let bytes = sent();
    let mut rules = rules(Origin::Client);
    rules.max_message_bytes = u32::try_from(bytes.len()).unwrap();
    assert_eq!(judge(&bytes, &rules), Ok(()));
    rules.max_message_bytes -= 1;
    assert_eq!(judge(&bytes, &rules), Err(ErrorKind::BatchTooLarge));
    rules.origin = Origin::Coordinator;
    assert_eq!(judge(&bytes, &rules), Err(ErrorKind::BatchTooLarge));
    rules.origin = Origin::Follower;
    assert_eq!(judge(&bytes, &rules), Ok(()));
}

// A-14, S-54 (recordInvalidChecksums): every single bit that the checksum covers.
#[test]
fn a_flipped_bit_is_corruption_for_every_origin() {
    for at in 17..sent().len() {
        let mut bytes = sent();
        bytes[at] ^= 1 << (at % 8);
        for origin in [Origin::Client, Origin::Coordinator, Origin::Follower] {
            assert_eq!(judge(&bytes, &rules(origin)), CORRUPT, "byte {at}");
        }
    }
}

// A-31, S-53 (testInconsistentCountAndOffset, testBatchWithoutRecordsNotAllowed,
// testRecordBatchWithCountOverrides).
#[test]
fn offsets_and_count_of_a_producer_s_batch_agree() {
    let with = |delta: i32, count: i32| {
        let bytes = patched(&sent(), 23, &delta.to_be_bytes());
        judge_client(&patched(&bytes, 57, &count.to_be_bytes()))
    };
    assert_eq!(with(1, 2), Ok(()));
    for (delta, count) in [
        (0, 2),
        (2, 2),
        (1, 1),
        (1, 3),
        (-1, 0),
        (0, 0),
        (1, -2),
        (-3, -2),
        (i32::MAX, i32::MAX),
        (i32::MAX, i32::MIN),
        (i32::MAX, 2),
        (i32::MIN, 2),
    ] {
        assert_eq!(with(delta, count), INVALID, "delta {delta}, count {count}");
    }
}

// compaction leaves fewer records than offsets.
#[test]
fn a_compacted_batch_may_be_copied() {
    let bytes = patched(&sent(), 57, &1_i32.to_be_bytes());
    assert_eq!(judge(&bytes, &rules(Origin::Follower)), Ok(()));
    assert_eq!(judge(&bytes, &rules(Origin::Coordinator)), Ok(()));
}

#[test]
fn offsets_that_do_not_ascend_are_corruption() {
    for origin in [Origin::Coordinator, Origin::Follower] {
        let descending = patched(&sent(), 23, &(-1_i32).to_be_bytes());
        assert_eq!(judge(&descending, &rules(origin)), CORRUPT);
        let negative = patched(&sent(), 0, &(-1_i64).to_be_bytes());
        assert_eq!(judge(&negative, &rules(origin)), CORRUPT);
        let overflowing = patched(&sent(), 0, &i64::MAX.to_be_bytes());
        assert_eq!(judge(&overflowing, &rules(origin)), CORRUPT);
    }
}

// S-54 (testControlRecordsNotAllowedFromClients).
#[test]
fn only_coordinators_and_followers_append_markers() {
    let marker = marker_batch(
        Offset::ZERO,
        LeaderEpoch::NONE,
        ProducerId::new(5),
        ProducerEpoch::new(0),
        EndMarker::new(MarkerKind::Abort, 0),
        NOW,
    );
    assert_eq!(judge_client(&marker), INVALID);
    for origin in [Origin::Coordinator, Origin::Follower] {
        let mut rules = rules(origin);
        rules.keys_required = true;
        assert_eq!(judge(&marker, &rules), Ok(()));
    }
    // The bit alone decides, with or without a producer.
    let mut builder = BatchBuilder::new();
    builder.append(NOW, Some(b"a"), None, &[]).unwrap();
    let plain = builder.build().unwrap();
    assert_eq!(judge_client(&patched(&plain, 21, &[0, 0x20])), INVALID);
}

// A-32, S-54 (recordInvalidSequence).
#[test]
fn a_producer_id_needs_epoch_and_sequence() {
    assert_eq!(judge_client(&patched(&sent(), 53, &(-1_i32).to_be_bytes())), INVALID);
    assert_eq!(judge_client(&patched(&sent(), 51, &(-1_i16).to_be_bytes())), INVALID);
    let offset_commit = patched(&sent(), 53, &(-1_i32).to_be_bytes());
    assert_eq!(judge(&offset_commit, &rules(Origin::Coordinator)), Ok(()));
}

#[test]
fn a_transactional_batch_needs_a_producer_id() {
    let anonymous = patched(&sent(), 43, &[0xff; 14]);
    assert_eq!(judge_client(&anonymous), Ok(()));
    assert_eq!(judge_client(&patched(&anonymous, 21, &[0, 0x10])), INVALID);
}

// D-10.
#[test]
fn codecs_that_do_not_exist_are_refused() {
    for codec in 0..=7 {
        let expected = if codec < 5 { Ok(()) } else { Err(ErrorKind::UnsupportedCompression) };
        assert_eq!(judge_client(&patched(&sent(), 21, &[0, codec])), expected, "codec {codec}");
    }
}

// the bounds are inclusive, −1 is exempt, and hostile extremes do not overflow.
#[test]
fn timestamps_far_from_now_are_refused() {
    let mut rules = rules(Origin::Client);
    rules.timestamp_before_max_ms = 10;
    rules.timestamp_after_max_ms = 20;
    let with = |base: i64, max: i64| {
        let bytes = patched(&sent(), 27, &base.to_be_bytes());
        judge(&patched(&bytes, 35, &max.to_be_bytes()), &rules)
    };
    assert_eq!(with(NOW - 10, NOW + 20), Ok(()));
    assert_eq!(with(-1, -1), Ok(()));
    for (base, max) in [
        (NOW - 11, NOW),
        (NOW, NOW + 21),
        (NOW, NOW - 11),
        (NOW + 21, NOW),
        (i64::MIN, NOW),
        (NOW, i64::MAX),
        (i64::MAX, i64::MIN),
    ] {
        assert_eq!(with(base, max), BAD_TIME, "base {base}, max {max}");
    }
    rules.origin = Origin::Follower;
    let old = patched(&sent(), 27, &0_i64.to_be_bytes());
    assert_eq!(judge(&old, &rules), Ok(()));
    rules.origin = Origin::Client;
    rules.timestamp_type = TimestampType::LogAppendTime;
    assert_eq!(judge(&old, &rules), Ok(()));
}

// the default looks an hour ahead and back to the beginning of time.
#[test]
fn by_default_only_the_future_is_bounded() {
    let with = |time: i64| {
        let bytes = patched(&sent(), 27, &time.to_be_bytes());
        judge_client(&patched(&bytes, 35, &time.to_be_bytes()))
    };
    assert_eq!(with(0), Ok(()));
    assert_eq!(with(NOW + 3_600_000), Ok(()));
    assert_eq!(with(NOW + 3_600_001), BAD_TIME);
}

//
#[test]
fn the_log_s_own_time_is_not_the_producer_s_to_claim() {
    let claimed = patched(&sent(), 21, &[0, 0x08]);
    assert_eq!(judge_client(&claimed), Ok(()));
    assert_eq!(judge_client(&patched(&claimed, 35, &[0xff; 8])), BAD_TIME);
    let mut rules = rules(Origin::Client);
    rules.timestamp_type = TimestampType::LogAppendTime;
    assert_eq!(judge(&claimed, &rules), BAD_TIME);
    assert_eq!(judge(&sent(), &rules), Ok(()));
}

// A-35, S-53 (testUnmatchedNumberOfRecords, where records are decoded).
#[test]
fn a_compacted_log_needs_keys() {
    let mut rules = rules(Origin::Client);
    rules.keys_required = true;
    for &codec in CODECS {
        let build = |second: Option<&[u8]>| {
            let mut builder = BatchBuilder::new().compression(codec);
            builder.append(NOW, Some(b""), None, &[]).unwrap();
            builder.append(NOW, second, None, &[]).unwrap();
            builder.build().unwrap()
        };
        assert_eq!(judge(&build(Some(b"k")), &rules), Ok(()));
        assert_eq!(judge(&build(None), &rules), INVALID, "{codec:?}");
        let more = patched(&build(Some(b"k")), 23, &[0, 0, 0, 2]);
        let more = patched(&more, 57, &[0, 0, 0, 3]);
        assert_eq!(judge(&more, &rules), INVALID, "{codec:?}");
        assert_eq!(judge_client(&more), Ok(()), "records are not counted without need");
    }
    let mut config = LogConfig::default();
    assert!(!Rules::new(&config, Origin::Client, NOW).keys_required);
    config.cleanup_policy = crate::options::CleanupPolicy::CompactDelete;
    assert!(Rules::new(&config, Origin::Client, NOW).keys_required);
}
