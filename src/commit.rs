//! Group commit: how staged bytes of all logs of a data directory reach the device.
//!
//! There is at most one group under way per data directory. While it is, everything that arrives
//! forms the next group; there are no timers. Who carries a group out:
//!
//! - a thread that waits for its own append *leads*: it does the group's I/O itself, in line, so a
//!   lone writer pays one device write and no hand-off;
//! - when only tasks (futures) wait, the directory's commit thread leads, unless a task lends its
//!   own thread for one group ([`Committer::try_lead`]);
//! - where there is no commit thread (the embedder wanted none, or the engine was dropped), a poll
//!   leads ([`Committer::attend`]): a task that blocks its thread for one group is better than one
//!   that nobody ever wakes.
//!
//! A leader that ends its group while more is staged hands the lead on: to one waiting thread if
//! there is one, else to the commit thread. Nobody else is woken for it. Without a commit thread the
//! leader goes on itself if a task asked for it.

use crate::io::{Storage, WriteOp};
use crate::log::LogInner;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{self, Thread};

/// The commit queue of one data directory.
#[derive(Debug)]
pub(crate) struct Committer {
    storage: Arc<dyn Storage>,
    inner: Mutex<Inner>,
    /// Wakes the commit thread.
    work: Condvar,
    /// Wakes those who wait for the end of a group without taking part in it.
    idle: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    /// Logs with something staged (or written and to be flushed), each once. The engine's registry
    /// and the tickets keep them alive; a log holds its committer, so the queue must not hold it.
    dirty: VecDeque<Weak<LogInner>>,
    /// A group is under way.
    leading: bool,
    /// Threads that wait and could lead.
    seats: VecDeque<Arc<Seat>>,
    /// The commit thread is asked to lead as soon as nobody else does.
    kicked: bool,
    /// There is a commit thread.
    served: bool,
    /// There is none, and a task went to sleep while a group was under way.
    asked: bool,
    stopped: bool,
}

/// A waiting thread.
#[derive(Debug)]
struct Seat {
    thread: Thread,
    /// It still waits.
    live: AtomicBool,
    /// It was asked to lead; if it leaves without doing so, it must hand the lead on.
    summoned: AtomicBool,
}

impl Committer {
    pub(crate) fn new(storage: Arc<dyn Storage>) -> Self {
        Self { storage, inner: Mutex::default(), work: Condvar::new(), idle: Condvar::new() }
    }

    /// Notes that `log` has something for the next group. The caller makes sure it is queued once.
    pub(crate) fn enqueue(&self, log: &Arc<LogInner>) {
        self.inner.lock().dirty.push_back(Arc::downgrade(log));
    }

    /// Asks the commit thread to see to what is queued: nobody waits for it on a thread.
    pub(crate) fn kick(&self) {
        let mut inner = self.inner.lock();
        if !inner.kicked && !inner.dirty.is_empty() {
            inner.kicked = true;
            if !inner.leading {
                self.work.notify_one();
            }
        }
    }

    /// What a task does before it goes to sleep: asks the commit thread, or, where there is none, leads
    /// a group itself. Whether it did, and should look again.
    pub(crate) fn attend(&self) -> bool {
        let mut inner = self.inner.lock();
        if inner.served {
            drop(inner);
            self.kick();
            return false;
        }
        if inner.leading || inner.dirty.is_empty() {
            inner.asked = inner.leading;
            return false;
        }
        self.lead(inner);
        true
    }

    /// Blocks until `done`, leading groups when nobody else does. Whoever makes `done` true unparks
    /// this thread.
    pub(crate) fn wait_until(&self, done: impl Fn() -> bool) {
        if done() {
            return;
        }
        let seat = Arc::new(Seat {
            thread: thread::current(),
            live: AtomicBool::new(true),
            summoned: AtomicBool::new(false),
        });
        let mut seated = false;
        while !done() {
            let mut inner = self.inner.lock();
            if inner.leading || inner.dirty.is_empty() {
                if !seated || seat.summoned.swap(false, Ordering::Relaxed) {
                    inner.seats.push_back(Arc::clone(&seat));
                    seated = true;
                }
                drop(inner);
                if !done() {
                    thread::park();
                }
            } else {
                self.lead(inner);
            }
        }
        seat.live.store(false, Ordering::Relaxed);
        // A summons that crossed with this thread's own success must not get lost.
        if seated {
            let inner = self.inner.lock();
            if seat.summoned.load(Ordering::Relaxed)
                && !inner.leading
                && let Some(owed) = self.hand_over(inner)
            {
                self.lead(owed);
            }
        }
    }

    /// Carries out one group on the calling thread, if one is due and nobody leads.
    pub(crate) fn try_lead(&self) {
        let inner = self.inner.lock();
        if !inner.leading && !inner.dirty.is_empty() {
            self.lead(inner);
        }
    }

    /// Carries out groups until nothing is queued, on the calling thread.
    pub(crate) fn run_staged(&self) {
        loop {
            let mut inner = self.inner.lock();
            if inner.dirty.is_empty() {
                return;
            }
            if inner.leading {
                self.idle.wait(&mut inner);
                continue;
            }
            self.lead(inner);
        }
    }

    /// Runs `action` while no group is under way and none can start.
    pub(crate) fn exclusively<T>(&self, action: impl FnOnce() -> T) -> T {
        let mut inner = self.inner.lock();
        while inner.leading {
            self.idle.wait(&mut inner);
        }
        inner.leading = true;
        drop(inner);
        let result = action();
        let mut inner = self.inner.lock();
        inner.leading = false;
        if let Some(owed) = self.hand_over(inner) {
            self.lead(owed);
        }
        result
    }

    /// Takes the queue as one group, carries it out, and hands the lead on.
    fn lead<'a>(&'a self, mut inner: MutexGuard<'a, Inner>) {
        loop {
            inner.leading = true;
            // Whoever asked for a group gets this one.
            inner.kicked = false;
            inner.asked = false;
            let group = std::mem::take(&mut inner.dirty);
            drop(inner);
            self.commit(group);
            inner = self.inner.lock();
            inner.leading = false;
            match self.hand_over(inner) {
                None => return,
                Some(owed) => inner = owed,
            }
        }
    }

    /// Gives what is queued to somebody else; to the caller, if a task asked for it and there is nobody.
    fn hand_over<'a>(&'a self, mut inner: MutexGuard<'a, Inner>) -> Option<MutexGuard<'a, Inner>> {
        self.idle.notify_all();
        if inner.dirty.is_empty() {
            // Served meanwhile. Left standing, it would make the next kick look superfluous.
            inner.kicked = false;
            inner.asked = false;
            return None;
        }
        while let Some(seat) = inner.seats.pop_front() {
            if seat.live.load(Ordering::Relaxed) {
                seat.summoned.store(true, Ordering::Relaxed);
                drop(inner);
                seat.thread.unpark();
                return None;
            }
        }
        if !inner.served {
            return inner.asked.then_some(inner);
        }
        inner.kicked = true;
        drop(inner);
        self.work.notify_one();
        None
    }

    /// One group: every log's staged bytes in one call to the storage, then every log's outcome.
    fn commit(&self, group: VecDeque<Weak<LogInner>>) {
        let mut plans = Vec::with_capacity(group.len());
        let mut ops: Vec<WriteOp> = Vec::with_capacity(group.len());
        for log in group.iter().filter_map(Weak::upgrade) {
            if let Some(plan) = log.plan_commit() {
                ops.extend(plan.writes.iter().cloned());
                plans.push((log, plan));
            }
        }
        let mut outcomes = self.storage.write_all(ops).into_iter();
        for (log, plan) in plans {
            let mut outcome: io::Result<()> = Ok(());
            for result in outcomes.by_ref().take(plan.writes.len()) {
                outcome = outcome.and(result);
            }
            for file in &plan.flushes {
                // Only bytes that were written without error are worth flushing.
                outcome = outcome.and_then(|()| file.sync());
            }
            if log.plants_flush_retry() && outcome.is_err() {
                outcome = plan.writes.iter().try_for_each(|write| write.file.sync());
            }
            log.finish_commit(&plan, outcome);
        }
    }

    /// The commit thread's body; returns after [`Committer::stop`].
    pub(crate) fn serve(&self) {
        loop {
            let mut inner = self.inner.lock();
            while !inner.stopped && (inner.leading || !inner.kicked || inner.dirty.is_empty()) {
                if inner.dirty.is_empty() {
                    inner.kicked = false;
                }
                self.work.wait(&mut inner);
            }
            if inner.stopped {
                // What it was asked for before comes first: a ticket that is dropped cancels nothing.
                if inner.kicked && !inner.leading {
                    self.lead(inner);
                }
                return;
            }
            self.lead(inner);
        }
    }

    /// Starts the commit thread.
    pub(crate) fn spawn(self: &Arc<Self>, name: String) -> io::Result<thread::JoinHandle<()>> {
        let this = Arc::clone(self);
        let thread = thread::Builder::new().name(name).spawn(move || this.serve())?;
        self.inner.lock().served = true;
        Ok(thread)
    }

    /// Ends [`Committer::serve`].
    pub(crate) fn stop(&self) {
        let mut inner = self.inner.lock();
        inner.stopped = true;
        inner.served = false;
        drop(inner);
        self.work.notify_all();
    }
}
