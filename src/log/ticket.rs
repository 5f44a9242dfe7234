//! Waiting for a log: append tickets and readers' long polls, on threads and in tasks.

use super::LogInner;
use super::api::{Appended, Isolation};
use super::wait::{WaitKey, WaitList, Wake};
use crate::error::{Error, ErrorKind, Result};
use crate::options::Durability;
use crate::types::Offset;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

/// Groups that a poll carries out where no thread does, at most. What was staged before is written with
/// the first and flushed with the second; a reader that went on would serve others for ever.
const ATTENDED_MAX: u32 = 2;

/// A registration in a wait list that removes itself.
#[derive(Debug)]
pub(super) struct Registration {
    log: Arc<LogInner>,
    frontier: Frontier,
    end: Offset,
    /// How often the log had been truncated when an append was staged; `None` for readers, to whom
    /// a bound that went back is one like any other.
    truncations: Option<u64>,
    key: Option<WaitKey>,
}

/// What a waiter waits for to advance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frontier {
    Written,
    Durable,
    HighWatermark,
    LastStable,
}

impl Registration {
    pub(super) fn new(log: Arc<LogInner>, frontier: Frontier, end: Offset) -> Self {
        Self { log, frontier, end, truncations: None, key: None }
    }

    fn list(&self) -> &WaitList {
        self.log.waiters(self.frontier)
    }

    /// The outcome, if it is known: the frontier is there, or the log failed. A reader's wait ends with
    /// the engine, too: nobody may ever append again, and a thread that waits keeps the directory.
    pub(super) fn outcome(&self) -> Option<Result<()>> {
        let is_there = self.log.frontier(self.frontier) >= self.end;
        // After the frontier: what counts as there may have been appended in place of it.
        if self.truncations.is_some_and(|staged_at| staged_at != self.log.truncations()) {
            let context = format!("{} was truncated", self.log.name);
            return Some(Err(Error::new(ErrorKind::Truncated, context)));
        }
        if is_there {
            return Some(Ok(()));
        }
        let failure = self.log.failure();
        let is_reader = matches!(self.frontier, Frontier::HighWatermark | Frontier::LastStable);
        if failure.is_none() && is_reader && self.log.shared.is_abandoned() {
            let context = format!("nothing is waited for in {}: its engine is gone", self.log.name);
            return Some(Err(Error::new(ErrorKind::Closed, context)));
        }
        failure.map(Err)
    }

    /// Makes sure that the next advance wakes `wake`.
    pub(super) fn register(&mut self, wake: Wake) {
        let list = self.log.waiters(self.frontier);
        match self.key {
            Some(key) if list.contains(key) => {
                list.update(key, wake);
            }
            // Never registered, or woken since.
            _ => self.key = Some(list.register(self.end, wake)),
        }
    }

    /// Blocks until the outcome is known, leading groups when nobody else does.
    pub(super) fn wait(mut self) -> Result<()> {
        if let Some(outcome) = self.outcome() {
            return outcome;
        }
        self.register(Wake::Thread(thread::current()));
        let log = Arc::clone(&self.log);
        log.committer().wait_until(|| self.outcome().is_some());
        self.outcome().unwrap_or(Ok(()))
    }

    fn poll(&mut self, cx: &Context<'_>) -> Poll<Result<()>> {
        for round in 0.. {
            if let Some(outcome) = self.outcome() {
                return Poll::Ready(outcome);
            }
            self.register(Wake::Task(cx.waker().clone()));
            // The frontier may have moved between the first look and the registration.
            if let Some(outcome) = self.outcome() {
                return Poll::Ready(outcome);
            }
            if round == ATTENDED_MAX || !self.log.committer().attend() {
                break;
            }
        }
        Poll::Pending
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.list().remove(key);
        }
    }
}

/// An append under way. Await it on any executor, or [`wait`](Self::wait) on a thread. It resolves to
/// the same outcome however often it is polled. Dropping it never cancels the append.
///
/// Where the engine has no thread of its own ([`EngineOptions::background`] is off, or the last
/// [`Engine`] was dropped) a poll does the disk's work itself, and blocks its executor's thread for that
/// long; an append whose ticket was dropped is then written with the next one, or by [`Engine::tick`].
///
/// [`EngineOptions::background`]: crate::EngineOptions::background
/// [`Engine`]: crate::Engine
/// [`Engine::tick`]: crate::Engine::tick
#[derive(Debug)]
#[must_use = "an append is acknowledged only when its ticket resolves"]
pub struct AppendTicket {
    appended: Appended,
    state: TicketState,
}

#[derive(Debug)]
enum TicketState {
    Pending(Registration),
    Resolved(Result<()>),
}

impl AppendTicket {
    pub(super) fn new(
        log: &Arc<LogInner>,
        appended: Appended,
        truncations: u64,
        durability: Durability,
    ) -> Self {
        let frontier = match durability {
            Durability::Staged => None,
            Durability::Written => Some(Frontier::Written),
            Durability::Durable => Some(Frontier::Durable),
        };
        let end = appended.last_offset.next();
        let Some(frontier) = frontier else {
            log.committer().kick();
            return Self { appended, state: TicketState::Resolved(Ok(())) };
        };
        let mut pending = Registration::new(Arc::clone(log), frontier, end);
        pending.truncations = Some(truncations);
        Self { appended, state: TicketState::Pending(pending) }
    }

    /// The offsets given; not yet an acknowledgement.
    #[must_use]
    pub fn appended(&self) -> Appended {
        self.appended
    }

    /// Lends the calling thread to the disk for one commit group, if none is under way: afterwards
    /// this append is usually acknowledged, without a hand-off to another thread and back. For a
    /// task that has nothing better to do, on an executor with threads to spare. Returns at once if
    /// somebody else is at it.
    ///
    /// # Complexity
    /// Blocks for at most one write and flush of what is staged.
    pub fn lead(&self) {
        match &self.state {
            TicketState::Pending(pending) if pending.outcome().is_none() => {
                pending.log.committer().try_lead();
            }
            _ => {}
        }
    }

    /// Blocks until the append is acknowledged at its durability. The calling thread may do the
    /// disk's work itself, for others too.
    ///
    /// # Errors
    /// - [`ErrorKind::Poisoned`](crate::ErrorKind::Poisoned): the write or flush failed. Whether the
    ///   batch will be there when the engine is opened again is unknown: send it again then, under its
    ///   producer's sequence, and it is recognised if it is there.
    /// - [`ErrorKind::Closed`](crate::ErrorKind::Closed): the log was deleted, or the engine closed and
    ///   could not write it out. As `Poisoned`.
    /// - [`ErrorKind::Truncated`]: the log was truncated before anybody looked. Read what is left.
    pub fn wait(mut self) -> Result<Appended> {
        let resolved = TicketState::Resolved(Ok(()));
        let outcome = match std::mem::replace(&mut self.state, resolved) {
            TicketState::Resolved(outcome) => outcome,
            TicketState::Pending(pending) => pending.wait(),
        };
        outcome.map(|()| self.appended)
    }
}

impl Future for AppendTicket {
    type Output = Result<Appended>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let appended = self.appended;
        let outcome = match &mut self.state {
            TicketState::Resolved(outcome) => outcome.clone(),
            TicketState::Pending(pending) => std::task::ready!(pending.poll(cx)),
        };
        // An error, too, is the answer from now on: what lies there later may be another's.
        self.state = TicketState::Resolved(outcome.clone());
        Poll::Ready(outcome.map(|()| appended))
    }
}

impl Drop for AppendTicket {
    fn drop(&mut self) {
        if let TicketState::Pending(pending) = &self.state {
            pending.log.committer().kick();
        }
    }
}

/// Resolves when a reader's bound passes an offset. Await it on any executor, or block on
/// [`wait`](Self::wait). It ends with [`ErrorKind::Closed`] when the log was closed or deleted, or the
/// last [`Engine`](crate::Engine) dropped, and with [`ErrorKind::Poisoned`] when the log failed.
///
/// Where the engine has no thread of its own, the wait writes first what is staged, as a poll of an
/// [`AppendTicket`] does.
#[derive(Debug)]
pub struct WaitFor {
    registration: Registration,
}

impl WaitFor {
    pub(super) fn new(log: &Arc<LogInner>, offset: Offset, isolation: Isolation) -> Self {
        let frontier = match isolation {
            Isolation::ReadUncommitted => Frontier::HighWatermark,
            Isolation::ReadCommitted => Frontier::LastStable,
        };
        Self { registration: Registration::new(Arc::clone(log), frontier, offset.next()) }
    }

    /// Blocks for at most `timeout`; whether the bound was passed.
    ///
    /// # Errors
    /// [`ErrorKind::Poisoned`](crate::ErrorKind::Poisoned) or
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed): open the engine again.
    pub fn wait(mut self, timeout: Duration) -> Result<bool> {
        let clock = self.registration.log.clock();
        let deadline = clock.monotonic().saturating_add(timeout);
        let mut attended = 0;
        loop {
            if let Some(outcome) = self.registration.outcome() {
                return outcome.map(|()| true);
            }
            let now = clock.monotonic();
            if now >= deadline {
                return Ok(false);
            }
            self.registration.register(Wake::Thread(thread::current()));
            if self.registration.outcome().is_some() {
                continue;
            }
            if attended < ATTENDED_MAX && self.registration.log.committer().attend() {
                attended += 1;
            } else {
                thread::park_timeout(deadline - now);
            }
        }
    }
}

impl Future for WaitFor {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.registration.poll(cx)
    }
}
