//! Leader epochs: where each begins and ends, whoever assigned it, and over restarts.

use crate::common::{
    ALL, Draft, World, append_as, bases, create, end, for_each_backend, name, placed,
};
use oncelog::{AppendOptions, ErrorKind, LeaderEpoch, Log, Offset, Origin};

fn end_of(log: &Log, epoch: i32) -> Option<(i32, i64)> {
    let found = log.end_offset_for_epoch(LeaderEpoch::new(epoch));
    found.map(|(epoch, offset)| (epoch.get(), offset.get()))
}

/// Epochs 2 at 0, 4 at 3 and 6 at 5; the log ends at 7.
fn three_epochs(world: &World) -> (oncelog::Engine, Log) {
    let engine = world.open();
    let log = create(&engine);
    for (epoch, count) in [(2, 3), (4, 2), (6, 2)] {
        log.begin_leader_epoch(LeaderEpoch::new(epoch)).unwrap();
        for _ in 0..count {
            Draft::plain().append(&log).unwrap();
        }
    }
    (engine, log)
}

// S-48, R-19.
#[test]
fn an_epoch_ends_where_the_next_known_one_begins() {
    for_each_backend(|world| {
        let check = |log: &Log, what: &str| {
            let expected = [
                (-1, None),
                (0, Some((0, 0))),
                (1, Some((1, 0))),
                (2, Some((2, 3))),
                (3, Some((2, 3))),
                (4, Some((4, 5))),
                (5, Some((4, 5))),
                (6, Some((6, 7))),
                (7, None),
            ];
            for (epoch, answer) in expected {
                assert_eq!(end_of(log, epoch), answer, "{what}: epoch {epoch}");
            }
        };
        let (engine, log) = three_epochs(world);
        check(&log, "as assigned");
        engine.close().unwrap();
        let engine = world.open();
        let log = engine.log(&name()).unwrap();
        check(&log, "from the checkpoint");
        assert_eq!(log.leader_epoch(), LeaderEpoch::new(6));
        world.kill((engine, log));
        world.remove(&world.file("leader-epoch-checkpoint"));
        for state in world.files(".state") {
            world.remove(&world.file(&state));
        }
        check(&world.open().log(&name()).unwrap(), "from the batches");
    });
}

#[test]
fn a_log_without_epochs_answers_nothing() {
    for_each_backend(|world| {
        let log = create(&world.open());
        Draft::plain().append(&log).unwrap();
        assert_eq!(log.leader_epoch(), LeaderEpoch::NONE);
        assert_eq!(end_of(&log, 0), None);
    });
}

// an epoch only rises, is durable at once, and is stamped on what follows.
#[test]
fn a_begun_epoch_is_stamped_on_batches_and_survives_a_kill() {
    for_each_backend(|world| {
        let (engine, log) = three_epochs(world);
        for epoch in [-1, 5, 6] {
            let error = log.begin_leader_epoch(LeaderEpoch::new(epoch)).unwrap_err();
            assert_eq!(*error.kind(), ErrorKind::FencedLeaderEpoch, "{epoch}");
        }
        let epochs: Vec<i32> = log
            .batches(Offset::ZERO, ALL)
            .map(|b| b.unwrap().batch().leader_epoch().get())
            .collect();
        assert_eq!(epochs, [2, 2, 2, 4, 4, 6, 6]);
        log.begin_leader_epoch(LeaderEpoch::new(9)).unwrap();
        world.kill((engine, log));
        let log = world.open().log(&name()).unwrap();
        assert_eq!(log.leader_epoch(), LeaderEpoch::new(9));
        assert_eq!((end_of(&log, 6), end_of(&log, 9)), (Some((6, 7)), Some((9, 7))));
    });
}

// a leader may name the epoch with the batch.
#[test]
fn an_append_can_bring_its_epoch() {
    for_each_backend(|world| {
        let log = create(&world.open());
        let mut options = AppendOptions::default();
        for epoch in [3, 3, 8] {
            options.leader_epoch = Some(LeaderEpoch::new(epoch));
            log.append(&Draft::plain().build(), &options).unwrap().wait().unwrap();
        }
        assert_eq!((end_of(&log, 3), end_of(&log, 8)), (Some((3, 2)), Some((8, 3))));
    });
}

// a follower learns the epochs from what it copies.
#[test]
fn a_follower_has_the_epochs_of_its_leader() {
    for_each_backend(|world| {
        let (_engine, leader) = three_epochs(world);
        let follower = create(&World::simulated().open());
        let outcome = leader.read(Offset::ZERO, &oncelog::ReadOptions::default()).unwrap();
        append_as(&follower, &outcome.slices.concat(), Origin::Follower).unwrap();
        for epoch in -1..=7 {
            assert_eq!(end_of(&follower, epoch).filter(|e| e.1 > 0), {
                end_of(&leader, epoch).filter(|e| e.1 > 0)
            });
        }
        assert_eq!(follower.leader_epoch(), LeaderEpoch::new(6));
    });
}

// an epoch that contradicts later ones displaces them.
#[test]
fn a_copied_epoch_that_falls_displaces_what_it_contradicts() {
    for_each_backend(|world| {
        let log = create(&world.open());
        for (offset, epoch) in [(0, 1), (10, 4), (20, 6), (30, 3)] {
            let batch = placed(Draft::plain().build(), offset, epoch);
            append_as(&log, &batch, Origin::Follower).unwrap();
        }
        assert_eq!(log.leader_epoch(), LeaderEpoch::new(3));
        assert_eq!((end_of(&log, 1), end_of(&log, 4)), (Some((1, 30)), None));
    });
}

// from the start.
#[test]
fn a_trim_moves_the_beginning_of_the_epoch_it_falls_into() {
    for_each_backend(|world| {
        let (engine, log) = three_epochs(world);
        log.trim_before(Offset::new(4)).unwrap();
        let check = |log: &Log| {
            assert_eq!(end_of(log, 2), Some((2, 4)), "unknown now: the first one's start");
            assert_eq!(end_of(log, 4), Some((4, 5)));
            assert_eq!(end_of(log, 6), Some((6, 7)));
        };
        check(&log);
        engine.close().unwrap();
        check(&world.open().log(&name()).unwrap());
    });
}

// what a follower does after a failover.
#[test]
fn a_truncation_to_an_epoch_cuts_what_its_leader_does_not_have() {
    for_each_backend(|world| {
        let (engine, log) = three_epochs(world);
        let error = log.truncate_to_epoch(LeaderEpoch::new(7)).unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::UnknownLeaderEpoch);
        assert_eq!(log.truncate_to_epoch(LeaderEpoch::new(5)).unwrap(), Offset::new(5));
        assert_eq!(log.leader_epoch(), LeaderEpoch::new(4));
        assert_eq!((end_of(&log, 4), end_of(&log, 6)), (Some((4, 5)), None));
        assert_eq!(bases(&log, ALL), [0, 1, 2, 3, 4]);
        world.kill((engine, log));
        let log = world.open().log(&name()).unwrap();
        assert_eq!((log.leader_epoch(), end(&log)), (LeaderEpoch::new(4), 5));
        log.begin_leader_epoch(LeaderEpoch::new(5)).unwrap();
        assert_eq!(end_of(&log, 4), Some((4, 5)));
    });
}
