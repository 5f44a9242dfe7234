//! Open transactions, and guards against appends that come too late (KIP-890).

use crate::common::{End, ID, append, for_each_backend, name, produced};
use oncelog::io::sim::SimDisk;
use oncelog::{
    AppendOptions, Engine, EngineOptions, ErrorKind, Log, LogConfig, Offset, ProducerEpoch,
    ProducerId, Sequence, Verification, VerificationGuard,
};
use std::time::Duration;

fn strict(engine: &Engine) -> Log {
    let mut config = LogConfig::default();
    config.transaction_verification = true;
    engine.create_log(&name(), ID, config).unwrap()
}

fn verify(log: &Log, epoch: i16, sequence: i32) -> oncelog::Result<Option<VerificationGuard>> {
    let (pid, epoch) = (ProducerId::new(1), ProducerEpoch::new(epoch));
    log.begin_verification(&Verification::new(pid, epoch, Sequence::new(sequence)))
}

/// Appends a transactional batch of producer 1 and says how it was refused, if it was.
fn try_append(
    log: &Log,
    epoch: i16,
    sequence: i32,
    guard: Option<VerificationGuard>,
) -> Option<ErrorKind> {
    let mut options = AppendOptions::default();
    options.verification = guard;
    let ticket = log.append(&produced(1, epoch, sequence, 1, true), &options);
    ticket.and_then(|ticket| ticket.wait()).err().map(|error| error.kind().clone())
}

// P-14, P-20, P-23.
#[test]
fn the_first_batch_of_a_transaction_needs_a_guard_and_the_next_ones_do_not() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = strict(&engine);
        assert_eq!(try_append(&log, 0, 0, None), Some(ErrorKind::InvalidTxnState));
        let guard = verify(&log, 0, 0).unwrap();
        assert!(guard.is_some());
        assert_eq!(try_append(&log, 0, 0, guard), None);
        assert_eq!(verify(&log, 0, 1).unwrap(), None, "open already: nothing to ask");
        assert_eq!(try_append(&log, 0, 1, None), None);
        // Idempotent producers have no transactions to verify.
        append(&log, &produced(2, 0, 0, 1, false)).unwrap();
    });
}

// P-21, P-23, C-52.
#[test]
fn a_marker_in_between_voids_the_guard_so_that_a_late_append_opens_nothing() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = strict(&engine);
        let guard = verify(&log, 0, 0).unwrap();
        assert_eq!(verify(&log, 0, 0).unwrap(), guard, "one verification, one guard");
        End::abort(1, 0).append(&log).unwrap();
        assert_eq!(try_append(&log, 0, 0, guard), Some(ErrorKind::InvalidTxnState));
        assert!(log.open_transactions().is_empty());
        assert_eq!(log.offsets().last_stable_offset, Offset::new(1));
    });
}

// P-26.
#[test]
fn a_verification_of_another_epoch_is_refused_for_its_reason() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = strict(&engine);
        let guard = verify(&log, 3, 0).unwrap();
        assert_eq!(try_append(&log, 3, 0, guard), None);
        let kind = |epoch| verify(&log, epoch, 0).unwrap_err().kind().clone();
        assert!(matches!(kind(2), ErrorKind::InvalidProducerEpoch { .. }));
        assert_eq!(kind(4), ErrorKind::ConcurrentTransactions);
    });
}

#[test]
fn a_guard_is_void_after_a_restart() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = strict(&engine);
        let guard = verify(&log, 0, 0).unwrap();
        engine.close().unwrap();
        let engine = world.open();
        let log = engine.log(&name()).unwrap();
        let mut config = log.config();
        config.transaction_verification = true;
        log.set_config(config).unwrap();
        assert_eq!(try_append(&log, 0, 0, guard), Some(ErrorKind::InvalidTxnState));
    });
}

// P-23: the guard of a verification that is over is no guard of the next one.
#[test]
fn a_guard_from_before_a_restart_or_a_truncation_is_none_of_a_later_verification() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = strict(&engine);
        append(&log, &produced(2, 0, 0, 1, false)).unwrap();
        let before = verify(&log, 0, 0).unwrap();
        log.truncate_to(Offset::ZERO).unwrap();
        let truncated = verify(&log, 0, 0).unwrap();
        assert_ne!(truncated, before);
        assert_eq!(try_append(&log, 0, 0, before), Some(ErrorKind::InvalidTxnState));
        let mut config = log.config();
        engine.close().unwrap();
        let log = world.open().log(&name()).unwrap();
        config.transaction_verification = true;
        log.set_config(config).unwrap();
        let after = verify(&log, 0, 0).unwrap();
        assert!(after != before && after != truncated);
        assert_eq!(try_append(&log, 0, 0, truncated), Some(ErrorKind::InvalidTxnState));
        assert_eq!(try_append(&log, 0, 0, after), None);
    });
}

#[test]
fn open_transactions_are_listed_with_their_age_until_their_marker() {
    let disk = SimDisk::new(1);
    let open = || {
        let mut options = EngineOptions::new("/data");
        options.background = false;
        Engine::open_with(options, disk.io()).unwrap()
    };
    let engine = open();
    let log = engine.create_log(&name(), ID, LogConfig::default()).unwrap();
    append(&log, &produced(1, 0, 0, 3, true)).unwrap();
    disk.clock().advance(Duration::from_secs(40));
    append(&log, &produced(2, 5, 0, 1, true)).unwrap();
    append(&log, &produced(1, 0, 3, 1, true)).unwrap();
    disk.clock().advance(Duration::from_secs(2));
    let seen = |log: &Log| {
        let seen = log.open_transactions().into_iter();
        let facts = seen.map(|txn| {
            let (age, idle) = (txn.age.as_secs(), txn.idle.as_secs());
            let (pid, epoch) = (txn.producer_id.get(), txn.producer_epoch.get());
            (pid, epoch, txn.first_offset.get(), age, idle)
        });
        facts.collect::<Vec<_>>()
    };
    assert_eq!(seen(&log), [(1, 0, 0, 42, 2), (2, 5, 3, 2, 2)]);
    engine.close().unwrap();
    let engine = open();
    let log = engine.log(&name()).unwrap();
    assert_eq!(seen(&log), [(1, 0, 0, 42, 2), (2, 5, 3, 2, 2)], "after a restart");
    End::commit(1, 0).append(&log).unwrap();
    assert_eq!(seen(&log), [(2, 5, 3, 2, 2)]);
}
