//! Following a log: long polls, streams and iterators, on threads and in tasks of no runtime at all.

use crate::common::{
    ALL, COMMITTED, Draft, End, World, append, create, for_each_backend, name, plain,
};
use oncelog::batch::DecodeLimits;
use oncelog::{
    AppendOptions, BatchReader, Engine, EngineOptions, ErrorKind, LogConfig, Offset, StoredBatch,
};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

/// Long enough for a machine under load; a test that waits it out has failed.
const LONG: Duration = Duration::from_secs(60);

/// Counts how often a task was woken, and unparks the thread that drives it.
struct Task {
    woken: AtomicUsize,
    thread: thread::Thread,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.woken.fetch_add(1, Ordering::SeqCst);
        self.thread.unpark();
    }
}

fn task() -> (Arc<Task>, Waker) {
    let task = Arc::new(Task { woken: AtomicUsize::new(0), thread: thread::current() });
    (Arc::clone(&task), Waker::from(task))
}

/// The smallest executor.
fn block_on<F: Future>(future: F) -> F::Output {
    let (_task, waker) = task();
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

fn first_value(batch: &StoredBatch) -> String {
    let batch = batch.batch();
    let records = batch.records(&DecodeLimits::default()).unwrap();
    let record = records.iter().next().unwrap().unwrap();
    String::from_utf8(record.value().unwrap().to_vec()).unwrap()
}

/// An engine with its own threads and the system's clock.
fn real() -> (tempfile::TempDir, Engine) {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(EngineOptions::new(dir.path())).unwrap();
    (dir, engine)
}

#[test]
fn a_long_poll_on_a_thread_ends_when_something_can_be_read() {
    let (_dir, engine) = real();
    let log = engine.create_log(&name(), [1; 16], LogConfig::default()).unwrap();
    let waiting = log.wait_for(Offset::ZERO, ALL);
    assert!(!log.wait_for(Offset::ZERO, ALL).wait(Duration::from_millis(5)).unwrap());
    let waiter = thread::spawn(move || waiting.wait(LONG).unwrap());
    append(&log, &plain(&["a"])).unwrap();
    assert!(waiter.join().unwrap());
    assert!(log.wait_for(Offset::ZERO, ALL).wait(Duration::ZERO).unwrap(), "and is there at once");
}

#[test]
fn a_long_poll_ends_with_an_error_when_the_log_is_closed_or_deleted() {
    for delete in [false, true] {
        let (_dir, engine) = real();
        let log = engine.create_log(&name(), [1; 16], LogConfig::default()).unwrap();
        let waiting = log.wait_for(Offset::ZERO, COMMITTED);
        let waiter = thread::spawn(move || waiting.wait(LONG));
        match delete {
            true => engine.delete_log(&name()).unwrap(),
            false => engine.close().unwrap(),
        }
        assert_eq!(*waiter.join().unwrap().unwrap_err().kind(), ErrorKind::Closed);
        let after = block_on(log.wait_for(Offset::ZERO, ALL)).unwrap_err();
        assert_eq!(*after.kind(), ErrorKind::Closed);
    }
}

// A task is woken by what it waits for and by nothing else; dropped, it is forgotten.
#[test]
fn a_long_poll_in_a_task_is_woken_once_when_its_bound_passes() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create(&engine);
        Draft::of(1, 0, 0).txn().append(&log).unwrap();
        let (task, waker) = task();
        let mut cx = Context::from_waker(&waker);
        let mut committed = pin!(log.wait_for(Offset::ZERO, COMMITTED));
        assert!(committed.as_mut().poll(&mut cx).is_pending());
        let mut dropped = Box::pin(log.wait_for(Offset::ZERO, COMMITTED));
        assert!(dropped.as_mut().poll(&mut cx).is_pending());
        drop(dropped);
        Draft::plain().append(&log).unwrap();
        assert_eq!(task.woken.load(Ordering::SeqCst), 0, "the transaction is still open");
        End::commit(1, 0).append(&log).unwrap();
        assert_eq!(task.woken.load(Ordering::SeqCst), 1);
        assert!(committed.as_mut().poll(&mut cx).is_ready());
    });
}

#[test]
fn a_stream_hands_out_what_comes_and_loses_nothing_when_dropped() {
    let (_dir, engine) = real();
    let log = engine.create_log(&name(), [1; 16], LogConfig::default()).unwrap();
    let writer = log.clone();
    let writing = thread::spawn(move || {
        for i in 0..200 {
            append(&writer, &plain(&[&i.to_string()])).unwrap();
        }
    });
    let mut reader = log.batches(Offset::ZERO, ALL);
    for i in 0..200 {
        // Begun and dropped, as a `select` would.
        let (_task, waker) = task();
        let abandoned = pin!(reader.next_batch()).poll(&mut Context::from_waker(&waker));
        let batch = match abandoned {
            Poll::Ready(batch) => batch,
            Poll::Pending => block_on(reader.next_batch()),
        };
        assert_eq!(first_value(&batch.unwrap()), i.to_string());
    }
    writing.join().unwrap();
    engine.close().unwrap();
    let error = block_on(reader.next_batch()).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Closed);
}

#[test]
fn polling_a_reader_keeps_one_wait_and_is_woken_for_it() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create(&engine);
        let mut reader: BatchReader = log.batches(Offset::ZERO, ALL);
        let (task, waker) = task();
        let mut cx = Context::from_waker(&waker);
        assert!(reader.poll_next(&mut cx).is_pending());
        assert!(reader.poll_next(&mut cx).is_pending());
        append(&log, &plain(&["a"])).unwrap();
        assert_eq!(task.woken.load(Ordering::SeqCst), 1);
        let Poll::Ready(Ok(batch)) = reader.poll_next(&mut cx) else { panic!("not there") };
        assert_eq!(first_value(&batch), "a");
        assert_eq!(reader.position(), Offset::new(1));
        assert!(reader.poll_next(&mut cx).is_pending());
    });
}

#[test]
fn a_blocking_iterator_follows_the_log_until_it_is_closed() {
    let (_dir, engine) = real();
    let log = engine.create_log(&name(), [1; 16], LogConfig::default()).unwrap();
    let reader = log.batches(Offset::ZERO, ALL).blocking();
    let following = thread::spawn(move || -> Vec<String> {
        reader.map(|batch| first_value(&batch.unwrap())).collect()
    });
    for i in 0..50 {
        append(&log, &plain(&[&i.to_string()])).unwrap();
    }
    // A close may overtake a follower; what it saw is a prefix.
    engine.close().unwrap();
    let seen = following.join().unwrap();
    let expected: Vec<String> = (0..50).map(|i| i.to_string()).collect();
    assert_eq!(seen, expected[..seen.len()]);
}

#[test]
fn a_timed_wait_goes_on_past_what_the_reader_must_not_see() {
    let (_dir, engine) = real();
    let log = engine.create_log(&name(), [1; 16], LogConfig::default()).unwrap();
    let mut reader = log.batches(Offset::ZERO, COMMITTED);
    let waiting = thread::spawn(move || reader.next_timeout(LONG).unwrap());
    // Two wake-ups with nothing to hand out: an aborted transaction each.
    for sequence in 0..2 {
        Draft::of(1, 0, sequence).txn().append(&log).unwrap();
        End::abort(1, 0).append(&log).unwrap();
    }
    append(&log, &plain(&["seen"])).unwrap();
    assert_eq!(first_value(&waiting.join().unwrap().unwrap()), "seen");
    let mut reader = log.batches(Offset::new(5), COMMITTED);
    assert!(reader.next_timeout(Duration::from_millis(5)).unwrap().is_none());
}

// A high watermark in a hole: there is nothing to see below it, and nothing to spin for.
#[test]
fn a_reader_whose_bound_lies_in_a_hole_waits() {
    for_each_backend(|world| {
        let engine = world.open();
        let log = create(&engine);
        log.set_high_watermark(Offset::ZERO).unwrap();
        Draft::plain().copy_to(&log, 0, 0).unwrap();
        Draft::plain().copy_to(&log, 100, 0).unwrap();
        log.set_high_watermark(Offset::new(50)).unwrap();
        let mut reader = log.batches(Offset::ZERO, ALL);
        let (task, waker) = task();
        let mut cx = Context::from_waker(&waker);
        assert!(matches!(reader.poll_next(&mut cx), Poll::Ready(Ok(_))));
        assert!(reader.poll_next(&mut cx).is_pending());
        log.set_high_watermark(Offset::new(101)).unwrap();
        assert_eq!(task.woken.load(Ordering::SeqCst), 1);
        let Poll::Ready(Ok(batch)) = reader.poll_next(&mut cx) else { panic!("not there") };
        assert_eq!(batch.batch().base_offset(), Offset::new(100));
    });
}

#[test]
fn a_reader_can_be_sent_elsewhere() {
    for_each_backend(|world| {
        let log = create(&world.open());
        for value in ["a", "b", "c"] {
            append(&log, &plain(&[value])).unwrap();
        }
        log.trim_before(Offset::new(1)).unwrap();
        let mut reader = log.batches(Offset::ZERO, ALL);
        assert!(reader.next().unwrap().is_err(), "before the log start");
        assert!(reader.next().is_none(), "an error without another side comes once");
        reader.seek(Offset::new(2));
        assert_eq!(first_value(&reader.next().unwrap().unwrap()), "c");
        reader.seek(Offset::new(1));
        assert_eq!(first_value(&reader.next().unwrap().unwrap()), "b");
    });
}

// Tickets are futures of no runtime, too: with nobody waiting, the commit thread does the work.
#[test]
fn a_ticket_resolves_in_a_task() {
    let (_dir, engine) = real();
    let log = engine.create_log(&name(), [1; 16], LogConfig::default()).unwrap();
    for i in 0..20 {
        let ticket = log.append(&plain(&["x"]), &AppendOptions::default()).unwrap();
        assert_eq!(block_on(ticket).unwrap().base_offset, Offset::new(i));
    }
    // Where nobody else does the disk's work, it does.
    let world = World::simulated();
    let log = create(&world.open());
    let ticket = log.append(&plain(&["x"]), &AppendOptions::default()).unwrap();
    assert_eq!(block_on(ticket).unwrap().base_offset, Offset::ZERO);
}
