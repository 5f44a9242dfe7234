//! Opening what a stop, a crash, rot or somebody else left.

use crate::common::{
    ALL, Draft, End, T0, World, bases, create, create_with, end, for_each_backend, last_stable,
    name, reopened, values, verdict,
};
use oncelog::io::sim::{Crash, Fault, FaultKind};
use oncelog::{Engine, ErrorKind, Log, LogConfig, Offset, ReadOptions};

/// Three sealed segments and an active one, closed in order; 12 batches of one record.
fn closed(world: &World) -> LogConfig {
    let engine = world.open();
    let log = create_with(&engine, |c| c.index_interval_bytes = 150);
    for i in 0..12 {
        Draft::of(1, 0, i).sized(100).at(T0 + i64::from(i)).append(&log).unwrap();
        if i % 3 == 2 && i < 11 {
            log.roll();
        }
    }
    let config = log.config();
    engine.close().unwrap();
    config
}

fn open(world: &World, config: &LogConfig) -> (Engine, Log) {
    let engine = world.open();
    let log = reopened(&engine, config.clone());
    (engine, log)
}

/// Base offsets of the batches that are not damaged.
fn readable(log: &Log) -> Vec<i64> {
    let batches = log.batches(Offset::ZERO, ALL);
    batches.filter_map(|batch| Some(batch.ok()?.batch().base_offset().get())).collect()
}

fn assert_whole(log: &Log, what: &str) {
    assert_eq!(bases(log, ALL), (0..12).collect::<Vec<_>>(), "{what}");
    for i in 0..12 {
        assert_eq!(values(log, i, ALL).len(), usize::try_from(12 - i).unwrap(), "{what}");
        let found = log.offset_for_timestamp(T0 + i, ALL).unwrap();
        assert_eq!(found.map(|f| f.offset.get()), Some(i), "{what}");
    }
    assert_eq!(verdict(Draft::of(1, 0, 7).sized(100).append(log)), "duplicate", "{what}");
    assert_eq!(verdict(Draft::of(1, 0, 6).sized(100).append(log)), "45", "{what}");
}

// S-50, R-11, D-51.
#[test]
fn after_an_orderly_stop_nothing_is_recovered_and_the_mark_goes_at_once() {
    for_each_backend(|world| {
        let config = closed(world);
        let mark = |world: &World| {
            let entries = world.io().storage.list_dir(&world.path).unwrap();
            entries.iter().any(|entry| entry.name == ".kafka_cleanshutdown")
        };
        assert!(mark(world));
        let (engine, log) = open(world, &config);
        assert!(!mark(world), "removed as soon as the directory is open");
        assert_eq!(engine.recovery_reports(), []);
        assert_whole(&log, "clean");
        world.kill((engine, log));
        // A second stop, without a mark, recovers.
        let (_engine, log) = open(world, &config);
        assert_whole(&log, "killed");
    });
}

// S-36, R-3: derived files that are missing, damaged or orphaned.
#[test]
fn index_files_are_rebuilt_or_removed_whatever_became_of_them() {
    for clean in [true, false] {
        for_each_backend(|world| {
            let config = closed(world);
            for (suffix, round) in [(".index", 0), (".timeindex", 1), (".txnindex", 2)] {
                for damage in 0..3 {
                    for file in world.files(suffix) {
                        let path = world.file(&file);
                        match (round + damage) % 3 {
                            0 => world.remove(&path),
                            1 => world.write(&path, &[1, 2, 3]),
                            _ => world.write(&path, &[0; 204]),
                        }
                    }
                    if !clean {
                        world.forget_clean_close();
                    }
                    let (engine, log) = open(world, &config);
                    assert_whole(&log, &format!("{suffix}, damage {damage}, clean {clean}"));
                    engine.close().unwrap();
                }
            }
        });
    }
}

// S-16 and S-36 together: nothing is left but the batches.
#[test]
fn a_log_is_whole_from_its_batches_alone() {
    for_each_backend(|world| {
        let config = closed(world);
        for file in world.files("") {
            if !file.ends_with(".log") && file != "partition.metadata" {
                world.remove(&world.file(&file));
            }
        }
        world.forget_clean_close();
        let (engine, log) = open(world, &config);
        assert_whole(&log, "from batches");
        assert_eq!(log.id(), crate::common::ID);
        assert!(engine.recovery_reports().iter().all(|r| r.is_clean()));
    });
}

// S-35, R-6: a flipped bit in each batch in turn. It costs that batch; it is reported; nothing is
// deleted; the log goes on at its end.
#[test]
fn a_flipped_bit_costs_its_batch_and_no_other() {
    for victim in 0..12 {
        let world = World::simulated();
        let config = closed(&world);
        let base = victim / 3 * 3;
        let path = world.file(&format!("{base:020}.log"));
        let size = world.read(&path).len() / 3;
        let position = size * usize::try_from(victim % 3).unwrap() + size / 2;
        world.disk().flip_bit(&path, position, 3).unwrap();
        world.forget_clean_close();
        let (engine, log) = open(&world, &config);
        assert_eq!(end(&log), 12, "{victim}");
        let error = log.read(Offset::new(victim), &ReadOptions::default()).unwrap_err();
        let ErrorKind::Corrupt { next, .. } = *error.kind() else { panic!("{error:?}") };
        assert_eq!(next, Offset::new(victim + 1), "{victim}");
        let others: Vec<i64> = (0..12).filter(|offset| *offset != victim).collect();
        assert_eq!(readable(&log), others, "{victim}");
        assert_eq!(Draft::plain().append(&log).unwrap().base_offset, Offset::new(12));
        engine.close().unwrap();
    }
}

// Bytes that are none of the log's, in front of any batch: what begins behind them is where it should be, and is
// served, whether a recovery or a reader met them.
#[test]
fn foreign_bytes_between_batches_cost_none_of_them() {
    for clean in [true, false] {
        for victim in 0..12 {
            let world = World::simulated();
            let config = closed(&world);
            let path = world.file(&format!("{:020}.log", victim / 3 * 3));
            let mut bytes = world.read(&path);
            let position = bytes.len() / 3 * (victim % 3);
            bytes.splice(position..position, [0x71; 100]);
            world.write(&path, &bytes);
            if !clean {
                world.forget_clean_close();
            }
            for life in 0..2 {
                let (engine, log) = open(&world, &config);
                let what = format!("before {victim}, clean {clean}, life {life}");
                assert_eq!((end(&log), readable(&log)), (12, (0..12).collect()), "{what}");
                world.kill((engine, log));
            }
        }
    }
}

// The end of the log is gone, on a batch boundary: nothing looks wrong but what was known before.
#[test]
fn a_lost_end_is_reported_and_its_offsets_are_not_given_again() {
    for clean in [false, true] {
        for_each_backend(|world| {
            let config = closed(world);
            let path = world.file("00000000000000000009.log");
            let bytes = world.read(&path);
            world.write(&path, &bytes[..bytes.len() / 3]);
            if !clean {
                world.forget_clean_close();
            }
            let (engine, log) = open(world, &config);
            assert_eq!(end(&log), 12, "clean {clean}");
            let reports = engine.recovery_reports();
            let damaged = reports.iter().map(|r| r.damaged.clone()).collect::<Vec<_>>().concat();
            assert_eq!(damaged, [(Offset::new(10), Offset::new(12))], "clean {clean}");
            assert_eq!(Draft::plain().append(&log).unwrap().base_offset, Offset::new(12));
            assert_eq!(values(&log, 12, ALL).len(), 1);
        });
    }
}

/// Leaves Kafka's files only.
fn without_states(world: &World) {
    for state in world.files(".state") {
        world.remove(&world.file(&state));
    }
}

// D-45, R-11: what Kafka closed in order was durable up to its snapshot. The first open must not cut what a
// later one, knowing the snapshot, would miss.
#[test]
fn damage_at_the_end_of_a_log_that_kafka_closed_is_kept_by_every_open() {
    for_each_backend(|world| {
        let config = closed(world);
        without_states(world);
        let path = world.file("00000000000000000009.log");
        let mut bytes = world.read(&path);
        let last = bytes.len() * 2 / 3..bytes.len();
        bytes[last.clone()].fill(0x71);
        world.write(&path, &bytes);
        for life in 0..3 {
            let (engine, log) = open(world, &config);
            assert_eq!((end(&log), readable(&log).len()), (12, 11), "life {life}");
            assert_eq!(world.read(&path)[last.clone()], bytes[last.clone()], "life {life}");
            world.kill((engine, log));
        }
    });
}

// The trailers that told how far the log was durable go with the torn tail; the recovery itself has to say
// it again, or a bit that rots before the next append would cost all that lies behind it.
#[test]
fn a_bit_that_rots_after_a_recovery_costs_one_batch() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create_with(&engine, |_| {});
        for sequence in 0..12 {
            Draft::of(1, 0, sequence).sized(100).append(&log).unwrap();
        }
        let config = log.config();
        world.kill((engine, log));
        for life in 0..2 {
            let (engine, log) = open(world, &config);
            assert_eq!((end(&log), readable(&log).len()), (12, 12), "life {life}");
            world.kill((engine, log));
        }
        let path = world.file("00000000000000000000.log");
        let mut bytes = world.read(&path);
        bytes[300] ^= 1;
        world.write(&path, &bytes);
        for life in 0..2 {
            let (engine, log) = open(world, &config);
            assert_eq!((end(&log), readable(&log).len()), (12, 11), "life {life}");
            world.kill((engine, log));
        }
    });
}

// Kafka ran after us and closed in order: our states are older than its snapshot, which a kill makes worthless.
#[test]
fn damage_behind_our_last_state_is_kept_after_kafka_and_a_kill() {
    for_each_backend(|world| {
        let config = closed(world);
        world.remove(&world.file("00000000000000000012.state"));
        let path = world.file("00000000000000000009.log");
        let mut bytes = world.read(&path);
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        world.write(&path, &bytes);
        for life in 0..3 {
            let (engine, log) = open(world, &config);
            assert_eq!((end(&log), readable(&log).len()), (12, 11), "life {life}");
            world.kill((engine, log));
        }
    });
}

// Without its snapshots, too: nothing in it can be torn, so what lies behind damage stays.
#[test]
fn damage_in_a_log_that_kafka_closed_costs_nothing_behind_it() {
    for_each_backend(|world| {
        let config = closed(world);
        without_states(world);
        for snapshot in world.files(".snapshot") {
            world.remove(&world.file(&snapshot));
        }
        let path = world.file("00000000000000000003.log");
        let mut bytes = world.read(&path);
        bytes[100] ^= 1;
        world.write(&path, &bytes);
        for life in 0..2 {
            let (engine, log) = open(world, &config);
            assert_eq!((end(&log), readable(&log).len()), (12, 11), "life {life}");
            world.kill((engine, log));
        }
    });
}

// P-5: Kafka writes a snapshot when it rolls, before the batches are flushed. A power cut can leave one that
// knows of batches that are gone, and a retry of theirs is none.
#[test]
fn a_snapshot_that_ran_ahead_of_its_log_is_not_believed() {
    for_each_backend(|world| {
        let config = closed(world);
        without_states(world);
        world.forget_clean_close();
        let path = world.file("00000000000000000009.log");
        let bytes = world.read(&path);
        world.write(&path, &bytes[..bytes.len() / 3]);
        let (engine, log) = open(world, &config);
        assert_eq!(end(&log), 10);
        assert_eq!(verdict(Draft::of(1, 0, 9).sized(100).append(&log)), "duplicate");
        assert_eq!(verdict(Draft::of(1, 0, 10).sized(100).append(&log)), "accepted");
        assert_eq!(world.files(".snapshot"), [""; 0]);
        world.kill((engine, log));
        assert_eq!(end(&open(world, &config).1), 11);
    });
}

// what was never acknowledged and is torn goes, and is said to have gone.
#[test]
fn a_torn_tail_is_cut_and_reported() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create(&engine);
        Draft::plain().append(&log).unwrap();
        world.kill((engine, log));
        let path = world.file("00000000000000000000.log");
        let mut bytes = world.read(&path);
        let batch = Draft::plain().sized(100).build();
        let torn = crate::common::placed(batch, 1, -1);
        let at = Draft::plain().build().len();
        bytes[at..at + 60].copy_from_slice(&torn[..60]);
        world.write(&path, &bytes);
        let engine = world.open();
        let log = engine.log(&name()).unwrap();
        assert_eq!((end(&log), bases(&log, ALL)), (1, vec![0]));
        assert!(engine.recovery_reports()[0].cut_bytes > 0);
        assert_eq!(Draft::plain().append(&log).unwrap().base_offset, Offset::new(1));
    });
}

// S-38, R-7.
#[test]
fn a_log_that_ends_before_its_start_begins_there_anew() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create(&engine);
        Draft::of(1, 0, 0).txn().append(&log).unwrap();
        engine.close().unwrap();
        world.write(&world.path.join("log-start-offset-checkpoint"), b"0\n1\nt 0 15\n");
        // A log of ours never begins behind its end: it is refused, with nothing changed.
        let refused = world.open().log(&name()).unwrap_err();
        let (first, next) = (Offset::new(1), Offset::new(15));
        assert_eq!(*refused.kind(), ErrorKind::Corrupt { first, next });
        // Kafka's is taken at its word.
        for state in world.files(".state") {
            world.remove(&world.file(&state));
        }
        let engine = world.open();
        let log = engine.log(&name()).unwrap();
        let offsets = log.offsets();
        assert_eq!((offsets.log_start_offset.get(), offsets.log_end_offset.get()), (15, 15));
        assert_eq!((log.producers(), last_stable(&log)), (vec![], 15));
        Draft::of(1, 0, 7).append(&log).unwrap();
        assert_eq!(bases(&log, ALL), [15]);
        engine.close().unwrap();
        assert_eq!(bases(&world.open().log(&name()).unwrap(), ALL), [15]);
    });
}

// S-37, R-1: the leftovers of Kafka's cleaner that are worthless go (`files.rs` has the others).
#[test]
fn worthless_leftovers_of_a_cleaner_are_removed() {
    for_each_backend(|world| {
        let config = closed(world);
        let storage = world.io().storage;
        for name in ["00000000000000000000.log.cleaned", "00000000000000000003.index.deleted"] {
            let new = oncelog::io::OpenMode::CreateNew;
            storage.open(&world.file(name), new, false).unwrap().write_at(b"x", 0).unwrap();
        }
        let (engine, log) = open(world, &config);
        assert_whole(&log, "swept");
        assert!(world.files(".cleaned").is_empty() && world.files(".deleted").is_empty());
        engine.close().unwrap();
        drop((log, engine));
    });
}

// S-40: a segment whose offsets its index cannot name, as over-compacted logs of old have them.
#[test]
fn a_segment_that_is_too_wide_is_read_without_loss() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create(&engine);
        Draft::plain().append(&log).unwrap();
        engine.close().unwrap();
        let path = world.file("00000000000000000000.log");
        let mut bytes = world.read(&path);
        let far = 5_000_000_000;
        for offset in [far, far + 1] {
            let batch = Draft::plain().at(T0 + 1).sized(5000).build();
            bytes.extend(crate::common::placed(batch, offset, -1));
        }
        world.write(&path, &bytes);
        world.forget_clean_close();
        let engine = world.open();
        let log = engine.log(&name()).unwrap();
        assert_eq!(bases(&log, ALL), [0, far, far + 1]);
        let found = log.offset_for_timestamp(T0 + 1, ALL).unwrap();
        assert_eq!(found.unwrap().offset.get(), far);
        assert_eq!(Draft::plain().append(&log).unwrap().base_offset.get(), far + 2);
        engine.close().unwrap();
        let log = world.open().log(&name()).unwrap();
        assert_eq!(bases(&log, ALL), [0, far, far + 1, far + 2]);
    });
}

// S-47: a checkpoint whose state cannot be flushed is none; the next start replays from the one before.
#[test]
fn a_state_that_cannot_be_flushed_moves_no_recovery_point() {
    let world = World::simulated();
    let mut options = world.options();
    options.checkpoint_bytes = 1;
    let engine = world.open_with(options).unwrap();
    let log = create(&engine);
    Draft::of(1, 0, 0).append(&log).unwrap();
    let before = world.files(".state");
    world.disk().fail(Fault::new(FaultKind::Flush, 0).sticky().on(".state"));
    log.roll();
    Draft::of(1, 0, 1).append(&log).unwrap();
    engine.tick();
    let error = Draft::of(1, 0, 2).append(&log).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Poisoned);
    assert_eq!(world.files(".state"), before);
    let disk = world.disk().crash(&Crash::LoseAll);
    drop((log, engine));
    let mut options = world.options();
    options.background = false;
    let engine = Engine::open_with(options, disk.io()).unwrap();
    let log = engine.log(&name()).unwrap();
    assert_eq!(end(&log), 2);
    for sequence in 0..2 {
        assert_eq!(verdict(Draft::of(1, 0, sequence).append(&log)), "duplicate");
    }
}

// the state of transactions after a kill is that of the batches.
#[test]
fn an_open_transaction_is_open_after_a_kill_and_can_be_ended() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create(&engine);
        Draft::plain().append(&log).unwrap();
        Draft::of(1, 0, 0).txn().append(&log).unwrap();
        Draft::plain().append(&log).unwrap();
        world.kill((engine, log));
        let engine = world.open();
        let log = engine.log(&name()).unwrap();
        assert_eq!((last_stable(&log), end(&log)), (1, 3));
        assert_eq!(verdict(Draft::of(1, 0, 0).txn().append(&log)), "duplicate");
        End::abort(1, 0).append(&log).unwrap();
        assert_eq!(bases(&log, crate::common::COMMITTED), [0, 2]);
        world.kill((engine, log));
        assert_eq!(bases(&world.open().log(&name()).unwrap(), crate::common::COMMITTED), [0, 2]);
    });
}
