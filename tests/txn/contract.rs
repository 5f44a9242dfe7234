//! The documented contract of `Engine::begin`, `Transaction` and `CommitTicket`.

use crate::common::{
    ID, append, assert_settled, batch, committed, create, load, name, on_all, position, read,
};
use oncelog::{AppendOptions, Engine, ErrorKind, Isolation, LogConfig, Offset, Transaction};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

/// A runtime of one thread, for one future.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

fn over_all(engine: &Engine, count: usize, value: &str, next: i64) -> Transaction {
    let logs = load(engine, count);
    let mut txn = engine.begin().unwrap();
    for log in &logs {
        append(&mut txn, log, value);
    }
    txn.store_position("g", &logs[0], Offset::new(next)).unwrap();
    txn
}

#[test]
fn a_commit_is_seen_everywhere_once_answered_and_stays_across_restarts() {
    on_all(|world| {
        let engine = world.open();
        let logs = create(&engine, 3);
        let txn = over_all(&engine, 3, "a", 4);
        for log in &logs {
            assert!(committed(log).is_empty());
        }
        assert_eq!(position(&engine, &logs[0]), None);
        txn.commit().unwrap().wait().unwrap();
        for log in &logs {
            assert_eq!(committed(log), ["a"]);
        }
        assert_eq!(position(&engine, &logs[0]), Some(4));
        assert_settled(&logs);
        engine.close().unwrap();
        drop((engine, logs));

        let engine = world.open();
        let logs = load(&engine, 3);
        assert_eq!(position(&engine, &logs[0]), Some(4));
        for log in &logs {
            assert_eq!(committed(log), ["a"]);
        }
        // After a clean close nothing is repaired: one batch, one marker.
        assert_eq!(logs[1].offsets().log_end_offset, Offset::new(2));
        engine.close().unwrap();
    });
}

#[test]
fn an_aborted_or_dropped_transaction_leaves_nothing_for_committed_readers() {
    on_all(|world| {
        let engine = world.open();
        let logs = create(&engine, 2);
        over_all(&engine, 2, "aborted", 1).abort();
        drop(over_all(&engine, 2, "dropped", 2));
        over_all(&engine, 2, "kept", 3).commit().unwrap().wait().unwrap();
        for log in &logs {
            assert_eq!(committed(log), ["kept"]);
            assert_eq!(read(log, Isolation::ReadUncommitted), ["aborted", "dropped", "kept"]);
        }
        assert_eq!(position(&engine, &logs[0]), Some(3));
        assert_settled(&logs);
        engine.close().unwrap();
    });
}

#[test]
fn closing_the_engine_aborts_what_is_open() {
    on_all(|world| {
        let engine = world.open();
        let logs = create(&engine, 2);
        let mut txn = over_all(&engine, 2, "open", 1);
        engine.close().unwrap();
        let error = txn.append(&logs[0], batch(&["late"])).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Closed);
        assert_eq!(txn.commit().unwrap_err().kind(), &ErrorKind::Closed);
        assert_eq!(engine.begin().unwrap_err().kind(), &ErrorKind::Closed);
        drop((engine, logs));

        let engine = world.open();
        let logs = load(&engine, 2);
        assert_settled(&logs);
        assert!(committed(&logs[0]).is_empty());
        assert_eq!(position(&engine, &logs[0]), None);
        engine.close().unwrap();
    });
}

#[test]
fn a_ticket_can_be_awaited() {
    on_all(|world| {
        let engine = world.open();
        let logs = create(&engine, 2);
        // On the simulated disk the engine has no threads: the task does the work itself.
        block_on(over_all(&engine, 2, "a", 1).commit().unwrap()).unwrap();
        assert_eq!(committed(&logs[1]), ["a"]);
        engine.close().unwrap();
    });
}

#[test]
fn a_ticket_that_is_dropped_still_commits() {
    on_all(|world| {
        let engine = world.open();
        let logs = create(&engine, 3);
        drop(over_all(&engine, 3, "a", 1).commit().unwrap());
        engine.tick();
        for log in &logs {
            assert_eq!(committed(log), ["a"]);
        }
        // And if nobody ticks, the close sees to it.
        drop(over_all(&engine, 3, "b", 2).commit().unwrap());
        engine.close().unwrap();
        drop((engine, logs));
        let engine = world.open();
        let logs = load(&engine, 3);
        assert_eq!(committed(&logs[2]), ["a", "b"]);
        assert_eq!(position(&engine, &logs[0]), Some(2));
        engine.close().unwrap();
    });
}

#[test]
fn transactions_without_appends_with_one_log_or_with_nothing_are_committed_too() {
    on_all(|world| {
        let engine = world.open();
        let logs = create(&engine, 2);
        engine.begin().unwrap().commit().unwrap().wait().unwrap();
        let mut txn = engine.begin().unwrap();
        txn.store_position("g", &logs[1], Offset::new(5)).unwrap();
        txn.commit().unwrap().wait().unwrap();
        let mut txn = engine.begin().unwrap();
        append(&mut txn, &logs[0], "one");
        append(&mut txn, &logs[0], "two");
        txn.commit().unwrap().wait().unwrap();
        assert_eq!(committed(&logs[0]), ["one", "two"]);
        assert_eq!(position(&engine, &logs[1]), Some(5));
        assert_eq!(position(&engine, &logs[0]), None);
        engine.close().unwrap();
    });
}

#[test]
fn transactions_run_side_by_side_and_of_two_positions_the_later_commit_counts() {
    on_all(|world| {
        let engine = world.open();
        let logs = create(&engine, 2);
        let first = over_all(&engine, 2, "first", 1);
        let second = over_all(&engine, 2, "second", 2);
        let second = second.commit().unwrap();
        let first = first.commit().unwrap();
        first.wait().unwrap();
        second.wait().unwrap();
        assert_eq!(position(&engine, &logs[0]), Some(1));
        assert_eq!(committed(&logs[1]), ["first", "second"]);
        engine.close().unwrap();
        drop((engine, logs));
        let engine = world.open();
        assert_eq!(position(&engine, &load(&engine, 2)[0]), Some(1));
        engine.close().unwrap();
    });
}

#[test]
fn many_threads_commit_at_once() {
    on_all(|world| {
        let engine = world.open();
        let logs = create(&engine, 3);
        thread::scope(|scope| {
            for thread in 0..4 {
                let engine = &engine;
                scope.spawn(move || {
                    for round in 0..10 {
                        let txn = over_all(engine, 3, &format!("{thread}/{round}"), round);
                        match round % 5 {
                            0 => txn.abort(),
                            // Without threads of the engine a task has nobody to wait for.
                            1 if engine.storage_info().backend != "sim" => {
                                block_on(txn.commit().unwrap()).unwrap();
                            }
                            2 => drop(txn.commit().unwrap()),
                            _ => txn.commit().unwrap().wait().unwrap(),
                        }
                    }
                });
            }
        });
        // Waits for those whose tickets were dropped.
        engine.tick();
        for log in &logs {
            assert_eq!(committed(log).len(), 4 * 8);
            // Slots are used again: a table holds as many producers as transactions were under way.
            assert!(log.producers().len() <= 12, "{}", log.producers().len());
        }
        engine.close().unwrap();
    });
}

#[test]
fn the_engines_own_log_and_producers_are_out_of_reach() {
    on_all(|world| {
        let engine = world.open();
        let logs = create(&engine, 1);
        let mut txn = engine.begin().unwrap();
        append(&mut txn, &logs[0], "a");
        let producer = logs[0].producers()[0];
        assert!(producer.producer_id.get() >= 1 << 62);
        let mut forged = batch(&["forged"]);
        forged = forged.producer(
            producer.producer_id,
            producer.producer_epoch,
            oncelog::Sequence::new(0),
        );
        let forged = forged.transactional().build().unwrap();
        let error = logs[0].append(&forged, &AppendOptions::default()).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::InvalidBatch);
        txn.commit().unwrap().wait().unwrap();

        let own = oncelog::LogName::new("__oncelog_transactions", 0).unwrap();
        assert_eq!(engine.logs().unwrap(), [(name(0), ID)]);
        assert_eq!(engine.log(&own).unwrap_err().kind(), &ErrorKind::Invalid);
        assert_eq!(engine.delete_log(&own).unwrap_err().kind(), &ErrorKind::Invalid);
        let created = engine.create_log(&own, ID, LogConfig::default());
        assert_eq!(created.unwrap_err().kind(), &ErrorKind::Invalid);
        engine.close().unwrap();
    });
}

#[test]
fn a_log_deleted_in_the_course_of_a_transaction_aborts_it() {
    on_all(|world| {
        let engine = world.open();
        let logs = create(&engine, 2);
        let mut txn = over_all(&engine, 2, "a", 1);
        engine.delete_log(&name(1)).unwrap();
        let again = engine.create_log(&name(1), ID, LogConfig::default()).unwrap();
        assert_eq!(txn.append(&again, batch(&["b"])).unwrap_err().kind(), &ErrorKind::Closed);
        assert_eq!(txn.commit().unwrap_err().kind(), &ErrorKind::Closed);
        engine.tick();
        over_all(&engine, 2, "c", 3).commit().unwrap().wait().unwrap();
        assert_eq!(committed(&logs[0]), ["c"]);
        assert_eq!(committed(&again), ["c"]);
        engine.close().unwrap();
    });
}

#[test]
fn a_log_is_not_truncated_under_an_open_transaction() {
    on_all(|world| {
        let engine = world.open();
        let logs = create(&engine, 2);
        let txn = over_all(&engine, 2, "a", 1);
        let error = logs[0].truncate_to(Offset::ZERO).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Busy);
        txn.commit().unwrap().wait().unwrap();
        logs[0].truncate_to(Offset::ZERO).unwrap();
        assert_eq!(committed(&logs[1]), ["a"]);
        engine.close().unwrap();
    });
}

#[test]
fn a_transaction_larger_than_what_may_wait_for_the_disk_goes_through() {
    on_all(|world| {
        let engine = world.open();
        let logs = create(&engine, 2);
        let mut txn = engine.begin().unwrap();
        let value = "x".repeat(900_000);
        for index in 0..40 {
            txn.append(&logs[index % 2], batch(&[&value])).unwrap();
        }
        txn.commit().unwrap().wait().unwrap();
        assert_eq!(committed(&logs[0]).len(), 20);
        engine.close().unwrap();
    });
}

#[test]
fn arguments_out_of_bounds_are_refused_and_the_transaction_goes_on() {
    on_all(|world| {
        let engine = world.open();
        let other = crate::common::other_engine();
        let logs = create(&engine, 1);
        let foreign = create(&other, 1);
        let mut txn = engine.begin().unwrap();
        let long = "g".repeat(32_768);
        for (group, log, next) in
            [("", &logs[0], 0), (&long, &logs[0], 0), ("g", &logs[0], -1), ("g", &foreign[0], 0)]
        {
            let refused = txn.store_position(group, log, Offset::new(next)).unwrap_err();
            assert_eq!(refused.kind(), &ErrorKind::Invalid);
        }
        let refused = txn.append(&foreign[0], batch(&["a"])).unwrap_err();
        assert_eq!(refused.kind(), &ErrorKind::Invalid);
        let empty = txn.append(&logs[0], batch(&[])).unwrap_err();
        assert_eq!(empty.kind(), &ErrorKind::Invalid);
        append(&mut txn, &logs[0], "a");
        txn.commit().unwrap().wait().unwrap();
        assert_eq!(committed(&logs[0]), ["a"]);
        engine.close().unwrap();
    });
}
