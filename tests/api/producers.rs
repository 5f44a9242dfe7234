//! What a log remembers of its producers: duplicates, sequences, epochs, fencing, expiry, restarts.

use crate::common::{
    ALL, DAY_MS, Draft, End, World, append, append_as, create, create_with, emptied, end,
    for_each_backend, last_stable, name, placed, reopened, values, verdict,
};
use oncelog::batch::MarkerKind;
use oncelog::{Offset, Origin, ProducerDescription};

fn producer(log: &oncelog::Log, pid: i64) -> Option<ProducerDescription> {
    log.producers().into_iter().find(|p| p.producer_id.get() == pid)
}

// S-1, S-2, P-15.
#[test]
fn sequences_wrap_to_zero_and_a_batch_may_straddle_the_wrap() {
    for_each_backend(|world| {
        let log = create(&world.open());
        let straddling = || Draft::of(1, 0, i32::MAX - 10).records(21);
        assert_eq!(verdict(straddling().append(&log)), "accepted");
        assert_eq!(producer(&log, 1).unwrap().last_sequence.get(), 9);
        assert_eq!(verdict(straddling().append(&log)), "duplicate");
        assert_eq!(verdict(Draft::of(1, 0, 11).append(&log)), "45");
        assert_eq!(verdict(Draft::of(1, 0, 10).append(&log)), "accepted");
        assert_eq!(verdict(Draft::of(2, 0, i32::MAX).append(&log)), "accepted");
        assert_eq!(verdict(Draft::of(2, 0, 1).append(&log)), "45");
        assert_eq!(verdict(Draft::of(2, 0, 0).append(&log)), "accepted");
    });
}

// S-3, P-5, P-6, A-26.
#[test]
fn the_last_five_batches_are_duplicates_at_their_first_offsets_and_nothing_else_is() {
    for_each_backend(|world| {
        let log = create(&world.open());
        for sequence in 0..6 {
            Draft::of(1, 0, sequence).append(&log).unwrap();
        }
        let at = 1_700_000_000_000 - 5;
        Draft::of(1, 0, 6).records(3).at(at).append(&log).unwrap();
        let again = Draft::of(1, 0, 6).records(3).append(&log).unwrap();
        assert!(again.duplicate);
        assert_eq!((again.base_offset, again.last_offset), (Offset::new(6), Offset::new(8)));
        assert_eq!(again.log_append_time_ms, at, "the time of the batch that is stored");
        assert_eq!(end(&log), 9);
        assert_eq!(verdict(Draft::of(1, 0, 7).records(2).append(&log)), "45", "an overlap");
        assert_eq!(verdict(Draft::of(1, 0, 6).records(2).append(&log)), "45", "a part");
        let fifth = Draft::of(1, 0, 2).append(&log).unwrap();
        assert!(fifth.duplicate);
        assert_eq!(fifth.base_offset, Offset::new(2));
        assert_eq!(verdict(Draft::of(1, 0, 1).append(&log)), "45", "the sixth newest");
        assert_eq!(values(&log, 0, ALL).len(), 9);
    });
}

// S-4, P-8.
#[test]
fn an_older_epoch_is_fenced_and_writes_nothing() {
    for_each_backend(|world| {
        let log = create(&world.open());
        Draft::of(1, 1, 0).append(&log).unwrap();
        assert_eq!(verdict(Draft::of(1, 0, 0).append(&log)), "47");
        assert_eq!(verdict(Draft::of(1, 0, 1).append(&log)), "47");
        assert_eq!(end(&log), 1);
    });
}

// S-5, P-9, P-10, P-11.
#[test]
fn a_new_epoch_begins_at_sequence_zero() {
    for_each_backend(|world| {
        let log = create(&world.open());
        Draft::of(1, 0, 0).append(&log).unwrap();
        Draft::of(1, 0, 1).append(&log).unwrap();
        assert_eq!(verdict(Draft::of(1, 0, 3).append(&log)), "45");
        assert_eq!(verdict(Draft::of(1, 1, 1).append(&log)), "45");
        assert_eq!(verdict(Draft::of(1, 1, 0).append(&log)), "accepted");
        assert_eq!(verdict(Draft::of(1, 0, 2).append(&log)), "47");
        // P-3: the batches of the old epoch are no duplicates any more.
        assert_eq!(verdict(Draft::of(1, 0, 1).append(&log)), "47");
        assert_eq!(end(&log), 3);
    });
}

// S-6, P-11b, P-19e.
#[test]
fn a_marker_makes_an_unknown_producer_known_and_it_must_begin_at_zero() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create(&engine);
        End::commit(1, 2).append(&log).unwrap();
        let known = producer(&log, 1).unwrap();
        assert_eq!((known.producer_epoch.get(), known.last_sequence.get()), (2, -1));
        engine.close().unwrap();
        let log = world.open().log(&name()).unwrap();
        assert_eq!(producer(&log, 1), Some(known), "over a restart too");
        assert_eq!(verdict(Draft::of(1, 0, 0).append(&log)), "47");
        assert_eq!(verdict(Draft::of(1, 2, 17).append(&log)), "45");
        assert_eq!(verdict(Draft::of(1, 2, 0).append(&log)), "accepted");
    });
}

// S-7, P-7.
#[test]
fn an_unknown_producer_may_begin_with_any_sequence_and_epoch() {
    for_each_backend(|world| {
        let log = create(&world.open());
        assert_eq!(verdict(Draft::of(1, 1, 3).append(&log)), "accepted");
        assert_eq!(verdict(Draft::of(2, 7, 12).txn().append(&log)), "accepted");
    });
}

// S-8, S-9, P-16.
#[test]
fn a_marker_of_a_higher_epoch_fences_and_restarts_the_sequence() {
    for_each_backend(|world| {
        let log = create(&world.open());
        Draft::of(1, 0, 0).txn().append(&log).unwrap();
        End::abort(1, 1).append(&log).unwrap();
        assert_eq!(verdict(Draft::of(1, 0, 1).append(&log)), "47");
        assert_eq!(verdict(Draft::of(1, 0, 0).txn().append(&log)), "47", "no duplicate any more");
        assert_eq!(verdict(Draft::of(1, 1, 1).append(&log)), "45");
        assert_eq!(verdict(Draft::of(1, 1, 0).append(&log)), "accepted");
    });
}

// S-9, P-16b.
#[test]
fn a_marker_of_the_same_epoch_leaves_the_sequence_alone() {
    for_each_backend(|world| {
        let log = create(&world.open());
        Draft::of(1, 0, 0).txn().append(&log).unwrap();
        End::commit(1, 0).append(&log).unwrap();
        assert_eq!(verdict(Draft::of(1, 0, 0).txn().append(&log)), "duplicate");
        assert_eq!(verdict(Draft::of(1, 0, 0).append(&log)), "duplicate");
        assert_eq!(verdict(Draft::of(1, 0, 2).txn().append(&log)), "45");
        assert_eq!(verdict(Draft::of(1, 0, 1).txn().append(&log)), "accepted");
    });
}

// S-10, P-13.
#[test]
fn inside_a_transaction_a_producer_writes_nothing_else() {
    for_each_backend(|world| {
        let log = create(&world.open());
        Draft::of(1, 0, 0).txn().append(&log).unwrap();
        assert_eq!(verdict(Draft::of(1, 0, 1).append(&log)), "48");
        assert_eq!(verdict(Draft::of(1, 0, 1).txn().append(&log)), "accepted");
        End::commit(1, 0).append(&log).unwrap();
        assert_eq!(verdict(Draft::of(1, 0, 2).append(&log)), "accepted");
    });
}

// S-11, P-19b: also where the transaction is empty, and after a restart.
#[test]
fn markers_of_an_older_coordinator_are_fenced() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create(&engine);
        Draft::of(1, 0, 0).txn().append(&log).unwrap();
        End::commit(1, 0).by(1).append(&log).unwrap();
        Draft::of(1, 0, 1).txn().append(&log).unwrap();
        assert_eq!(verdict(End::commit(1, 0).by(0).append(&log)), "52");
        End::commit(2, 0).by(1).append(&log).unwrap();
        assert_eq!(verdict(End::abort(2, 0).by(0).append(&log)), "52");
        engine.close().unwrap();
        let log = world.open().log(&name()).unwrap();
        assert_eq!(verdict(End::commit(1, 0).by(0).append(&log)), "52");
        assert_eq!(verdict(End::abort(2, 0).by(0).append(&log)), "52");
        assert_eq!(verdict(End::commit(1, 0).by(1).append(&log)), "accepted");
    });
}

// S-12: a log may hold what its rules would refuse, and is loaded all the same.
#[test]
fn a_log_whose_coordinator_epochs_fall_is_loaded_from_its_batches() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create(&engine);
        End::commit(1, 0).by(5).copy_to(&log, 0, 0).unwrap();
        End::commit(1, 0).by(0).copy_to(&log, 1, 0).unwrap();
        Draft::of(1, 0, 0).copy_to(&log, 2, 0).unwrap();
        world.kill((engine, log));
        for state in world.files(".state") {
            world.remove(&world.file(&state));
        }
        let log = world.open().log(&name()).unwrap();
        assert_eq!(end(&log), 3);
        assert_eq!(producer(&log, 1).unwrap().coordinator_epoch, 0);
    });
}

// S-13, P-18, A-57.
#[test]
fn a_follower_copies_gaps_strangers_and_older_epochs() {
    for_each_backend(|world| {
        let log = create(&world.open());
        for (offset, draft) in [
            (0, Draft::of(1, 3, 55)),
            (1, Draft::of(1, 3, 99)),
            (2, Draft::of(1, 2, 7)),
            (9, Draft::of(2, 0, 12)),
        ] {
            assert_eq!(verdict(draft.copy_to(&log, offset, 0)), "accepted");
        }
        assert_eq!(end(&log), 10);
        // What a leader would do with them from here on.
        assert_eq!(verdict(Draft::of(2, 0, 13).append(&log)), "accepted");
    });
}

// what a follower copies begins at its end or behind it.
#[test]
fn a_follower_does_not_copy_what_it_has() {
    for_each_backend(|world| {
        let log = create(&world.open());
        Draft::plain().records(3).copy_to(&log, 0, 0).unwrap();
        for offset in [0, 2] {
            assert_eq!(verdict(Draft::plain().copy_to(&log, offset, 0)), "87");
        }
        let mut two = placed(Draft::plain().build(), 5, 0);
        two.extend(placed(Draft::plain().build(), 5, 0));
        assert_eq!(verdict(append_as(&log, &two, Origin::Follower)), "87", "they overlap");
        two.truncate(two.len() / 2);
        two.extend(placed(Draft::plain().build(), 6, 0));
        let both = append_as(&log, &two, Origin::Follower).unwrap();
        assert_eq!((both.base_offset, both.last_offset), (Offset::new(5), Offset::new(6)));
        assert_eq!(end(&log), 7);
    });
}

// S-14, P-27, P-36: and never while its last batch is still in the log, which Kafka does not promise.
#[test]
fn an_idle_producer_is_forgotten_unless_its_transaction_is_open_or_its_batch_is_there() {
    for_each_backend(|world| {
        let log = create(&world.open());
        Draft::of(1, 0, 0).append(&log).unwrap();
        Draft::of(2, 0, 0).txn().append(&log).unwrap();
        Draft::of(3, 0, 0).append(&log).unwrap();
        log.roll();
        log.trim_before(Offset::new(2)).unwrap();
        world.pass_ms(DAY_MS - 1);
        log.retain().unwrap();
        assert_eq!(log.producers().len(), 3);
        world.pass_ms(1);
        log.retain().unwrap();
        assert!(producer(&log, 1).is_none(), "idle and gone");
        assert!(producer(&log, 2).is_some(), "in a transaction");
        assert!(producer(&log, 3).is_some(), "still in the log");
        assert_eq!(verdict(Draft::of(1, 0, 1).append(&log)), "accepted", "unknown: any sequence");
        assert_eq!(verdict(Draft::of(2, 0, 1).append(&log)), "48");
        assert_eq!(verdict(Draft::of(3, 0, 0).append(&log)), "duplicate");
    });
}

// S-15, P-34.
#[test]
fn a_producer_that_expired_while_the_engine_was_down_is_not_loaded() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create(&engine);
        Draft::of(1, 0, 0).append(&log).unwrap();
        Draft::of(2, 0, 0).txn().append(&log).unwrap();
        Draft::of(3, 0, 0).append(&log).unwrap();
        log.trim_before(Offset::new(2)).unwrap();
        engine.close().unwrap();
        world.pass_ms(DAY_MS + 1);
        let log = world.open().log(&name()).unwrap();
        let left: Vec<i64> = log.producers().iter().map(|p| p.producer_id.get()).collect();
        assert_eq!(left, [3, 2], "longest unused first, then those in a transaction");
    });
}

// S-16, P-33: an older state and a replay serve for a damaged one.
#[test]
fn a_damaged_state_file_costs_a_replay_and_no_producer() {
    type Damage = fn(&mut Vec<u8>);
    let damages: [(&str, Damage); 3] = [
        ("a flipped bit", |bytes| bytes[40] ^= 4),
        ("cut short", |bytes| bytes.truncate(bytes.len() / 2)),
        ("empty", Vec::clear),
    ];
    for_each_backend(|world| {
        let mut sequence = 0;
        let engine = world.open();
        create(&engine);
        engine.close().unwrap();
        for (what, damage) in damages {
            for _ in 0..2 {
                let engine = world.open();
                let log = engine.log(&name()).unwrap();
                for _ in 0..3 {
                    Draft::of(1, 0, sequence).append(&log).unwrap();
                    sequence += 1;
                }
                Draft::of(2, 0, sequence / 3 - 1).txn().append(&log).unwrap();
                engine.close().unwrap();
            }
            let newest = world.file(world.files(".state").last().unwrap());
            let mut bytes = world.read(&newest);
            damage(&mut bytes);
            world.write(&newest, &bytes);
            let engine = world.open();
            let log = engine.log(&name()).unwrap();
            for back in 1..=5 {
                let verdict = verdict(Draft::of(1, 0, sequence - back).append(&log));
                assert_eq!(verdict, "duplicate", "{what}: {back} back");
            }
            assert_eq!(last_stable(&log), 3, "{what}: the open transaction");
            let reports = engine.recovery_reports();
            assert_eq!(reports.len(), 1, "{what}");
            assert!(reports[0].is_clean(), "{what}: {reports:?}");
            assert!(reports[0].rebuilt.iter().any(|f| f.ends_with(".state")), "{reports:?}");
            engine.close().unwrap();
        }
    });
}

// S-16 with nothing left to fall back to: the whole log is replayed.
#[test]
fn without_any_state_the_producers_are_those_of_the_batches() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create_with(&engine, |c| c.segment_bytes = 4096);
        let config = log.config();
        for sequence in 0..60 {
            Draft::of(1, 0, sequence).sized(200).append(&log).unwrap();
        }
        Draft::of(2, 4, 9).txn().append(&log).unwrap();
        engine.tick();
        let before = log.producers();
        engine.close().unwrap();
        for suffix in [".state", ".snapshot"] {
            for file in world.files(suffix) {
                world.remove(&world.file(&file));
            }
        }
        world.forget_clean_close();
        let log = reopened(&world.open(), config);
        assert!(log.segments().len() > 2);
        assert_eq!(log.producers(), before);
        assert_eq!(verdict(Draft::of(1, 0, 55).append(&log)), "duplicate");
        assert_eq!(verdict(Draft::of(1, 0, 54).append(&log)), "45");
    });
}

// S-18: nothing happened, so nothing is written anew.
#[test]
fn a_close_after_nothing_happened_leaves_every_byte_as_it_was() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create(&engine);
        Draft::of(1, 0, 0).txn().append(&log).unwrap();
        End::abort(1, 0).append(&log).unwrap();
        engine.close().unwrap();
        let files = || -> Vec<(String, Vec<u8>)> {
            world.files("").into_iter().map(|f| (f.clone(), world.read(&world.file(&f)))).collect()
        };
        let before = files();
        let engine = world.open();
        assert_eq!(end(&engine.log(&name()).unwrap()), 2);
        engine.close().unwrap();
        let after = files();
        let names = |files: &[(String, Vec<u8>)]| -> Vec<String> {
            files.iter().map(|(name, _)| name.clone()).collect()
        };
        assert_eq!(names(&after), names(&before));
        for (before, after) in before.iter().zip(&after) {
            assert_eq!(before, after);
        }
    });
}

// S-20, P-19, D-25: compaction emptied a control batch; that ends nothing.
#[test]
fn an_emptied_control_batch_ends_no_transaction() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create(&engine);
        Draft::of(1, 0, 0).txn().copy_to(&log, 0, 0).unwrap();
        let empty = emptied(End::commit(1, 0).at(1, 0).to_vec());
        assert_eq!(empty.len(), 61);
        append_as(&log, &empty, Origin::Follower).unwrap();
        Draft::plain().copy_to(&log, 2, 0).unwrap();
        assert_eq!(last_stable(&log), 0);
        world.kill((engine, log));
        let log = world.open().log(&name()).unwrap();
        assert_eq!((last_stable(&log), end(&log)), (0, 3));
        End::commit(1, 0).copy_to(&log, 3, 0).unwrap();
        assert_eq!(last_stable(&log), 4);
    });
}

// S-23: Kafka keeps one batch over a restart; here it is five, over a clean close and a kill.
#[test]
fn five_batches_stay_duplicates_over_every_kind_of_restart() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create(&engine);
        for sequence in 0..6 {
            Draft::of(1, 0, sequence).append(&log).unwrap();
        }
        engine.close().unwrap();
        let check = |world: &World| {
            let engine = world.open();
            let log = engine.log(&name()).unwrap();
            for sequence in 1..6 {
                let again = Draft::of(1, 0, sequence).append(&log).unwrap();
                assert!(again.duplicate, "{sequence}");
                assert_eq!(again.base_offset, Offset::new(i64::from(sequence)));
            }
            assert_eq!(verdict(Draft::of(1, 0, 0).append(&log)), "45");
            assert_eq!(values(&log, 0, ALL).len(), 6);
            drop(log);
            engine
        };
        world.kill(check(world));
        check(world).close().unwrap();
    });
}

// S-23 as Kafka's programs would see it: the snapshot of the clean close holds the last batch.
#[test]
fn from_kafkas_snapshot_alone_only_the_last_batch_is_a_duplicate() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create(&engine);
        for sequence in 0..3 {
            Draft::of(1, 0, sequence).append(&log).unwrap();
        }
        engine.close().unwrap();
        for state in world.files(".state") {
            world.remove(&world.file(&state));
        }
        let log = world.open().log(&name()).unwrap();
        assert_eq!(verdict(Draft::of(1, 0, 2).append(&log)), "duplicate");
        assert_eq!(verdict(Draft::of(1, 0, 1).append(&log)), "45");
        assert_eq!(verdict(Draft::of(1, 0, 3).append(&log)), "accepted");
    });
}

// S-31, P-19a.
#[test]
fn a_marker_of_an_older_epoch_is_fenced() {
    for_each_backend(|world| {
        let log = create(&world.open());
        Draft::of(1, 5, 0).txn().append(&log).unwrap();
        assert_eq!(verdict(End::commit(1, 4).append(&log)), "47");
        assert_eq!(last_stable(&log), 0);
        assert_eq!(verdict(End::commit(1, 5).append(&log)), "accepted");
        assert_eq!(last_stable(&log), 2);
    });
}

// P-19c: the coordinator may have to send a marker again.
#[test]
fn a_marker_may_be_repeated_and_ends_nothing_twice() {
    for_each_backend(|world| {
        let log = create(&world.open());
        Draft::of(1, 0, 0).txn().append(&log).unwrap();
        End::abort(1, 0).append(&log).unwrap();
        assert_eq!(verdict(End::abort(1, 0).append(&log)), "accepted");
        assert_eq!(verdict(Draft::of(1, 0, 1).txn().append(&log)), "accepted");
        End { pid: 1, epoch: 0, kind: MarkerKind::Commit, coordinator_epoch: 0 }
            .append(&log)
            .unwrap();
        assert_eq!(crate::common::aborted(&log, 0, 1 << 20), [(0, 1)]);
        assert_eq!(last_stable(&log), end(&log));
    });
}

// what each origin may send.
#[test]
fn control_batches_come_from_coordinators_only() {
    for_each_backend(|world| {
        let log = create(&world.open());
        assert_eq!(verdict(append(&log, &End::commit(1, 0).build())), "87");
        assert_eq!(end(&log), 0);
        // Sequences of a coordinator's data are not checked, epochs are.
        let data = |epoch, sequence| Draft::of(7, epoch, sequence).txn().build();
        assert_eq!(verdict(append_as(&log, &data(1, 5), Origin::Coordinator)), "accepted");
        assert_eq!(verdict(append_as(&log, &data(1, 3), Origin::Coordinator)), "accepted");
        assert_eq!(verdict(append_as(&log, &data(0, 6), Origin::Coordinator)), "47");
    });
}
