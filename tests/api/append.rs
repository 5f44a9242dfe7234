//! Appending: offsets, acknowledgement, the rules of a batch, rolling.

use crate::common::{
    ALL, Draft, NOW_MS, T0, append, append_as, create, create_with, end, for_each_backend, name,
    placed, plain, resealed, values, verdict,
};
use oncelog::batch::BatchBuilder;
use oncelog::{
    AppendOptions, CleanupPolicy, Durability, LeaderEpoch, Log, Offset, Origin, TimestampType,
};

#[test]
fn appended_records_are_read_back_in_order_and_after_a_reopen() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create(&engine);
        assert_eq!(append(&log, &plain(&["a", "b"])).unwrap().base_offset, Offset::ZERO);
        assert_eq!(append(&log, &plain(&["c"])).unwrap().base_offset, Offset::new(2));
        let expected = vec![(0, "a".to_owned()), (1, "b".to_owned()), (2, "c".to_owned())];
        assert_eq!(values(&log, 0, ALL), expected);
        assert_eq!(values(&log, 1, ALL), expected, "a batch is returned whole");
        engine.close().unwrap();
        let engine = world.open();
        assert!(engine.recovery_reports().is_empty());
        let log = engine.log(&name()).unwrap();
        assert_eq!(values(&log, 0, ALL), expected);
        assert_eq!(append(&log, &plain(&["d"])).unwrap().base_offset, Offset::new(3));
    });
}

// nothing of a batch changes but base offset and leader epoch.
#[test]
fn a_stored_batch_is_the_one_that_was_sent_with_offset_and_epoch_filled_in() {
    for_each_backend(|world| {
        let log = create(&world.open());
        log.begin_leader_epoch(LeaderEpoch::new(4)).unwrap();
        append(&log, &plain(&["before"])).unwrap();
        let sent = Draft::of(1, 0, 0).records(3).step(5).build();
        append(&log, &sent).unwrap();
        let stored = log.batches(Offset::new(1), ALL).next().unwrap().unwrap();
        assert_eq!(stored.into_bytes(), placed(sent, 1, 4));
    });
}

// D-14.
#[test]
fn a_log_that_stamps_its_own_time_rewrites_time_and_checksum_only() {
    for_each_backend(|world| {
        let log = create_with(&world.open(), |c| c.timestamp_type = TimestampType::LogAppendTime);
        let sent = Draft::plain().records(2).step(5).build();
        let appended = append(&log, &sent).unwrap();
        assert_eq!(appended.log_append_time_ms, NOW_MS);
        let stored = log.batches(Offset::ZERO, ALL).next().unwrap().unwrap();
        let expected = resealed(placed(sent, 0, -1), |bytes| {
            bytes[22] |= 8;
            bytes[35..43].copy_from_slice(&NOW_MS.to_be_bytes());
        });
        assert_eq!(stored.clone().into_bytes(), expected);
        let records = stored.batch().records(&oncelog::batch::DecodeLimits::default()).unwrap();
        assert!(records.iter().all(|record| record.unwrap().timestamp_ms() == NOW_MS));
    });
}

// S-53, S-54, A-12, A-14, A-31, A-32, A-33.
#[test]
fn a_batch_that_breaks_a_rule_is_refused_and_nothing_is_written() {
    let good = || Draft::of(1, 0, 0).records(3).build();
    let with = |at: usize, field: &[u8]| {
        let field = field.to_vec();
        resealed(good(), |bytes| bytes[at..at + field.len()].copy_from_slice(&field))
    };
    let mut cases = vec![
        ("a base offset of its own", placed(good(), 1, -1), "87"),
        ("no records", with(57, &0_i32.to_be_bytes()), "87"),
        ("a count below the offsets", with(57, &2_i32.to_be_bytes()), "87"),
        ("a count above the offsets", with(57, &4_i32.to_be_bytes()), "87"),
        ("offsets without end", with(23, &i32::MAX.to_be_bytes()), "87"),
        ("offsets that fall", with(23, &(-3_i32).to_be_bytes()), "87"),
        ("a control batch", with(21, &0x20_i16.to_be_bytes()), "87"),
        ("a producer without sequence", with(53, &(-1_i32).to_be_bytes()), "87"),
        ("a codec that does not exist", with(21, &5_i16.to_be_bytes()), "76"),
        ("another magic", with(16, &[1]), "87"),
        ("two batches", [good(), good()].concat(), "87"),
    ];
    let mut flipped = good();
    *flipped.last_mut().unwrap() ^= 1;
    cases.push(("a flipped bit", flipped, "2"));
    let mut cut = good();
    cut.pop();
    cases.push(("a byte short", cut, "2"));
    for_each_backend(|world| {
        let log = create(&world.open());
        for (what, batch, expected) in &cases {
            assert_eq!(verdict(append(&log, batch)), *expected, "{what}");
        }
        assert!(append(&log, &[]).is_err());
        assert_eq!(end(&log), 0);
        assert_eq!(verdict(append(&log, &good())), "accepted");
    });
}

// S-51, A-35.
#[test]
fn a_compacted_log_refuses_a_batch_with_a_record_without_key() {
    for_each_backend(|world| {
        let log = create_with(&world.open(), |c| c.cleanup_policy = CleanupPolicy::Compact);
        let mut builder = BatchBuilder::new();
        for (i, key) in [Some(b"k"), None, Some(b"k"), None, Some(b"k")].into_iter().enumerate() {
            let key = key.map(|k| &k[..]);
            builder.append(T0, key, Some(format!("{i}").as_bytes()), &[]).unwrap();
        }
        assert_eq!(verdict(append(&log, &builder.build().unwrap())), "87");
        assert_eq!(end(&log), 0);
        assert_eq!(verdict(Draft::plain().append(&log)), "accepted");
    });
}

// S-52, A-36.
#[test]
fn timestamps_outside_the_configured_window_are_refused() {
    for_each_backend(|world| {
        let log = create_with(&world.open(), |c| {
            c.timestamp_before_max_ms = 1000;
            c.timestamp_after_max_ms = 100;
        });
        for (at, expected) in [
            (NOW_MS - 1000, "accepted"),
            (NOW_MS - 1001, "32"),
            (NOW_MS + 100, "accepted"),
            (NOW_MS + 101, "32"),
        ] {
            assert_eq!(verdict(Draft::plain().at(at).append(&log)), expected, "{at}");
        }
        assert_eq!(end(&log), 2);
    });
}

// S-56, A-13, A-20.
#[test]
fn size_limits_are_inclusive_and_not_for_followers() {
    for_each_backend(|world| {
        let batch = Draft::plain().sized(500).build();
        let size = u32::try_from(batch.len()).unwrap();
        let log = create_with(&world.open(), |c| c.max_message_bytes = size);
        assert_eq!(verdict(append(&log, &batch)), "accepted");
        let larger = Draft::plain().sized(501).build();
        assert_eq!(verdict(append(&log, &larger)), "10");
        assert_eq!(verdict(append_as(&log, &placed(larger, 1, 0), Origin::Follower)), "accepted");
        let mut config = log.config();
        (config.max_message_bytes, config.segment_bytes) = (1 << 20, 4096);
        log.set_config(config).unwrap();
        assert_eq!(verdict(Draft::plain().sized(4096).append(&log)), "18");
    });
}

fn segment_bases(log: &Log) -> Vec<i64> {
    log.segments().iter().map(|(base, _)| base.get()).collect()
}

// S-44, A-51: a segment ends before the batch that would make it larger than it may be.
#[test]
fn a_segment_rolls_when_the_next_batch_does_not_fit() {
    for_each_backend(|world| {
        let log = create_with(&world.open(), |c| c.segment_bytes = 4096);
        let sized = |bytes: usize| {
            let overhead = Draft::plain().sized(1000).build().len() - 1000;
            let batch = Draft::plain().sized(bytes - overhead).build();
            assert_eq!(batch.len(), bytes);
            batch
        };
        for _ in 0..4 {
            append(&log, &sized(1024)).unwrap();
        }
        assert_eq!(segment_bases(&log), [0], "exactly full");
        append(&log, &sized(1024)).unwrap();
        assert_eq!(segment_bases(&log), [0, 4]);
        append(&log, &sized(3073)).unwrap();
        assert_eq!(segment_bases(&log), [0, 4, 5], "one byte too many");
        append(&log, &sized(1023)).unwrap();
        assert_eq!(segment_bases(&log), [0, 4, 5]);
    });
}

// S-44, A-52: record time drives the roll by age; without it the segment's own age does.
#[test]
fn a_segment_rolls_by_record_time() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create_with(&engine, |c| c.segment_ms = 1000);
        for (at, bases) in [
            (T0, &[0][..]),
            (T0 + 1000, &[0]),
            (T0 - 50_000, &[0]),
            (T0 + 1001, &[0, 3]),
            (T0 + 900, &[0, 3]),
            (T0 + 500_000, &[0, 3, 5]),
            (T0, &[0, 3, 5]),
        ] {
            Draft::plain().at(at).append(&log).unwrap();
            assert_eq!(segment_bases(&log), bases, "at {}", at - T0);
        }
        world.pass_ms(10_000);
        Draft::plain().at(T0 + 500_900).append(&log).unwrap();
        assert_eq!(segment_bases(&log), [0, 3, 5], "the wall clock does not matter");
        // The first batch's time is known after a restart too.
        let config = log.config();
        engine.close().unwrap();
        let log = crate::common::reopened(&world.open(), config);
        Draft::plain().at(T0 + 501_001).append(&log).unwrap();
        assert_eq!(segment_bases(&log), [0, 3, 5, 8]);
    });
}

// the segment's age, where records have no time.
#[test]
fn a_segment_without_timestamps_rolls_by_its_own_age() {
    for_each_backend(|world| {
        let log = create_with(&world.open(), |c| c.segment_ms = 1000);
        Draft::plain().at(-1).append(&log).unwrap();
        world.pass_ms(1000);
        Draft::plain().at(-1).append(&log).unwrap();
        assert_eq!(segment_bases(&log), [0]);
        world.pass_ms(1);
        Draft::plain().at(-1).append(&log).unwrap();
        assert_eq!(segment_bases(&log), [0, 2]);
    });
}

// A-51, D-35: the closing entry of the time index must always fit.
#[test]
fn a_segment_rolls_when_an_index_is_full() {
    for_each_backend(|world| {
        let log = create_with(&world.open(), |c| {
            c.index_interval_bytes = 0;
            c.segment_index_bytes = 96;
        });
        for i in 0..20 {
            Draft::plain().at(T0 + i).append(&log).unwrap();
        }
        let bases = segment_bases(&log);
        assert!(bases.len() > 1, "{bases:?}");
        // 96 bytes hold 12 offsets or 8 times, one of which is kept for the close; the first batch
        // of a segment has no entry.
        assert_eq!(bases, [0, 8, 16]);
    });
}

// S-40, A-51: offsets further from the base than an index can say go into another segment.
#[test]
fn a_segment_rolls_when_an_offset_is_too_far_from_its_base() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create(&engine);
        Draft::plain().copy_to(&log, 0, 0).unwrap();
        let far = i64::from(i32::MAX);
        Draft::plain().copy_to(&log, far, 0).unwrap();
        assert_eq!(segment_bases(&log), [0]);
        Draft::plain().copy_to(&log, far + 1, 0).unwrap();
        assert_eq!(segment_bases(&log), [0, far + 1]);
        engine.close().unwrap();
        let log = world.open().log(&name()).unwrap();
        assert_eq!(crate::common::bases(&log, ALL), [0, far, far + 1]);
    });
}

// a refused append may have rolled before; here it does not.
#[test]
fn a_refused_append_rolls_nothing_and_begins_no_epoch() {
    for_each_backend(|world| {
        let log = create_with(&world.open(), |c| c.segment_ms = 1000);
        Draft::of(1, 0, 0).append(&log).unwrap();
        assert_eq!(verdict(Draft::of(1, 0, 9).at(T0 + 5000).append(&log)), "45");
        assert_eq!(verdict(Draft::of(1, 0, 0).at(T0 + 5000).append(&log)), "duplicate");
        assert_eq!(segment_bases(&log), [0]);
        assert_eq!(log.leader_epoch(), LeaderEpoch::NONE);
    });
}

// a roll on request, and none where it would leave an empty segment behind.
#[test]
fn an_empty_segment_does_not_roll() {
    for_each_backend(|world| {
        let log = create(&world.open());
        log.roll();
        assert_eq!(segment_bases(&log), [0]);
        Draft::plain().append(&log).unwrap();
        log.roll();
        log.roll();
        assert_eq!(segment_bases(&log), [0, 1]);
    });
}

#[test]
fn a_ticket_tells_the_offsets_before_it_is_waited_for() {
    for_each_backend(|world| {
        let log = create(&world.open());
        let batch = plain(&["a", "b"]);
        let first = log.append(&batch, &AppendOptions::default()).unwrap();
        let second = log.append(&batch, &AppendOptions::default()).unwrap();
        assert_eq!(first.appended().base_offset, Offset::ZERO);
        assert_eq!(second.appended().base_offset, Offset::new(2));
        let offsets = log.offsets();
        assert_eq!(offsets.log_end_offset, Offset::new(4));
        assert_eq!(offsets.high_watermark, Offset::ZERO, "staged is not readable");
        assert_eq!(second.wait().unwrap().last_offset, Offset::new(3));
        assert_eq!(log.offsets().high_watermark, Offset::new(4), "one group took both");
        first.wait().unwrap();
    });
}

#[test]
fn a_weaker_acknowledgement_comes_earlier_and_a_later_durable_one_covers_it() {
    for_each_backend(|world| {
        let log = create(&world.open());
        let mut options = AppendOptions::default();
        options.durability = Some(Durability::Staged);
        log.append(&plain(&["a"]), &options).unwrap().wait().unwrap();
        assert_eq!(log.offsets().high_watermark, Offset::ZERO);
        append(&log, &plain(&["b"])).unwrap();
        assert_eq!(log.offsets().high_watermark, Offset::new(2));
    });
}
