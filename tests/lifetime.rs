//! What handles keep alive, what goes when they go, and who does the disk's work where the engine has no
//! thread for it.

#![expect(clippy::unwrap_used, reason = "a panic in a test is a failed test")]

use oncelog::batch::BatchBuilder;
use oncelog::io::sim::SimDisk;
use oncelog::{
    AppendOptions, AppendTicket, Durability, Engine, EngineOptions, ErrorKind, Isolation, Log,
    LogConfig, LogName, Offset,
};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;

const ALL: Isolation = Isolation::ReadUncommitted;

fn open(disk: &Arc<SimDisk>) -> Engine {
    let mut options = EngineOptions::new("/d");
    options.background = false;
    Engine::open_with(options, disk.io()).unwrap()
}

fn create(engine: &Engine) -> Log {
    engine.create_log(&LogName::new("t", 0).unwrap(), [7; 16], LogConfig::default()).unwrap()
}

fn batch() -> BatchBuilder {
    let mut batch = BatchBuilder::new();
    batch.append(1_700_000_000_000, None, Some(b"x"), &[]).unwrap();
    batch
}

fn append(log: &Log) -> AppendTicket {
    log.append(&batch().build().unwrap(), &AppendOptions::default()).unwrap()
}

/// What a single poll gives, by a task that nobody will ever wake.
fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn is_ok<T, E>(polled: Poll<Result<T, E>>) -> bool {
    matches!(polled, Poll::Ready(Ok(_)))
}

// A queue that held its log, which holds the queue, would hold the directory's lock for ever.
#[test]
fn a_dropped_engine_gives_its_directory_back_even_with_appends_queued() {
    let disk = SimDisk::new(1);
    let engine = open(&disk);
    let name = LogName::new("t", 0).unwrap();
    let log = create(&engine);
    drop(append(&log));
    drop((log, engine));
    open(&disk).log(&name).unwrap();
}

#[test]
fn a_log_and_its_tickets_work_without_the_engine_that_made_them() {
    let disk = SimDisk::new(1);
    let engine = open(&disk);
    let log = create(&engine);
    let ticket = append(&log);
    drop(engine);
    ticket.wait().unwrap();
    append(&log).wait().unwrap();
    assert_eq!(log.offsets().high_watermark.get(), 2);
}

#[test]
fn an_append_that_is_awaited_after_the_engine_is_acknowledged_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(EngineOptions::new(dir.path())).unwrap();
    let log = create(&engine);
    drop(engine);
    for durability in [Durability::Written, Durability::Durable] {
        let options = || {
            let mut options = AppendOptions::default();
            options.durability = Some(durability);
            options
        };
        let ticket = log.append(&batch().build().unwrap(), &options()).unwrap();
        assert!(is_ok(poll_once(ticket)), "{durability:?}");
    }
    drop(log);
    Engine::open(EngineOptions::new(dir.path())).unwrap();
}

#[test]
fn a_tail_ends_with_the_engine_and_the_directory_is_free() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(EngineOptions::new(dir.path())).unwrap();
    let log = create(&engine);
    append(&log).wait().unwrap();
    let tail = thread::spawn({
        let log = log.clone();
        move || log.batches(Offset::ZERO, ALL).blocking().count()
    });
    let waiting = log.wait_for(Offset::new(1), ALL);
    drop(engine);
    assert_eq!(tail.join().unwrap(), 1, "what is there is read before it ends");
    let Poll::Ready(Err(error)) = poll_once(waiting) else { panic!("it waits for nobody") };
    assert_eq!(*error.kind(), ErrorKind::Closed);
    drop(log);
    Engine::open(EngineOptions::new(dir.path())).unwrap();
}

#[test]
fn a_commit_that_is_awaited_after_the_engine_ends() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(EngineOptions::new(dir.path())).unwrap();
    let log = create(&engine);
    let mut transaction = engine.begin().unwrap();
    transaction.append(&log, batch()).unwrap();
    transaction.store_position("g", &log, Offset::new(1)).unwrap();
    let ticket = transaction.commit().unwrap();
    drop(engine);
    assert!(is_ok(poll_once(ticket)));
}

#[test]
fn without_threads_a_poll_does_the_work_it_waits_for() {
    let disk = SimDisk::new(1);
    let engine = open(&disk);
    let log = create(&engine);
    assert!(is_ok(poll_once(append(&log))));
    // What nobody waits for is written by the one who wants to read it.
    drop(append(&log));
    assert!(is_ok(poll_once(log.wait_for(Offset::new(1), ALL))));
    drop(append(&log));
    assert!(log.wait_for(Offset::new(2), ALL).wait(std::time::Duration::MAX).unwrap());
    let mut transaction = engine.begin().unwrap();
    transaction.append(&log, batch()).unwrap();
    transaction.store_position("g", &log, Offset::new(1)).unwrap();
    assert!(is_ok(poll_once(transaction.commit().unwrap())));
    assert_eq!(engine.position("g", &log).unwrap(), Some(Offset::new(1)));
    assert!(poll_once(log.wait_for(log.offsets().log_end_offset, ALL)).is_pending());
}

// While one thread leads, a task on another goes to sleep: the leader carries on for it.
#[test]
fn without_threads_no_task_is_left_asleep_beside_those_that_lead() {
    struct Unpark(thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let disk = SimDisk::new(1);
    let engine = open(&disk);
    let log = create(&engine);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let waker = Waker::from(Arc::new(Unpark(thread::current())));
                for _ in 0..300 {
                    let mut ticket = pin!(append(&log));
                    while ticket.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
                        thread::park();
                    }
                }
            });
        }
    });
    assert_eq!(log.offsets().high_watermark.get(), 4 * 300);
}

#[test]
fn without_threads_a_tick_writes_what_nobody_waits_for() {
    let disk = SimDisk::new(1);
    let engine = open(&disk);
    let log = create(&engine);
    let mut options = AppendOptions::default();
    options.durability = Some(Durability::Written);
    drop(log.append(&batch().build().unwrap(), &options).unwrap());
    assert_eq!(log.offsets().high_watermark, Offset::ZERO);
    engine.tick();
    assert_eq!(log.offsets().high_watermark.get(), 1, "and flushes it");
}

#[test]
fn a_closed_engine_says_so_in_every_call() {
    let disk = SimDisk::new(1);
    let engine = open(&disk);
    let log = create(&engine);
    engine.close().unwrap();
    let name = log.name();
    let errors = [
        engine.logs().map(drop),
        engine.log(name).map(drop),
        engine.open_log(name, LogConfig::default()).map(drop),
        engine.create_log(name, [7; 16], LogConfig::default()).map(drop),
        engine.delete_log(name),
        engine.begin().map(drop),
        engine.position("g", &log).map(drop),
        log.append(&batch().build().unwrap(), &AppendOptions::default()).map(drop),
        log.truncate_to(Offset::ZERO),
        log.trim_before(Offset::ZERO).map(drop),
    ];
    for (call, outcome) in errors.into_iter().enumerate() {
        assert_eq!(*outcome.unwrap_err().kind(), ErrorKind::Closed, "call {call}");
    }
    engine.close().unwrap();
}
