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

    /// The outcome, if it is known: the frontier is there, or the log failed.
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
        self.log.failure().map(Err)
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

    fn poll(&mut self, cx: &Context<'_>) -> Poll<Result<()>> {
        if let Some(outcome) = self.outcome() {
            return Poll::Ready(outcome);
        }
        self.register(Wake::Task(cx.waker().clone()));
        // The frontier may have moved between the first look and the registration.
        self.outcome().map_or(Poll::Pending, Poll::Ready)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.list().remove(key);
        }
    }
}

/// An append under way. Await it on any executor, or [`wait`](Self::wait) on a thread. Dropping it
/// never cancels the append.
#[derive(Debug)]
#[must_use = "an append is acknowledged only when its ticket resolves"]
pub struct AppendTicket {
    appended: Appended,
    /// `None` once resolved, or if there was nothing to wait for.
    pending: Option<Registration>,
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
        let pending = frontier.map(|f| {
            let mut registration = Registration::new(Arc::clone(log), f, end);
            registration.truncations = Some(truncations);
            registration
        });
        if pending.is_none() {
            log.committer().kick();
        }
        Self { appended, pending }
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
        if let Some(pending) = self.pending.as_ref().filter(|p| p.outcome().is_none()) {
            pending.log.committer().try_lead();
        }
    }

    /// Blocks until the append is acknowledged at its durability. The calling thread may do the
    /// disk's work itself, for others too.
    ///
    /// # Errors
    /// [`ErrorKind::Poisoned`](crate::ErrorKind::Poisoned) if the write or flush failed: whether
    /// the batch will be there after a reopen is unknown. [`ErrorKind::Truncated`] if the log was
    /// truncated before anybody looked.
    pub fn wait(mut self) -> Result<Appended> {
        if let Some(mut pending) = self.pending.take() {
            if let Some(outcome) = pending.outcome() {
                return outcome.map(|()| self.appended);
            }
            pending.register(Wake::Thread(thread::current()));
            let log = Arc::clone(&pending.log);
            log.committer().wait_until(|| pending.outcome().is_some());
            if let Some(Err(error)) = pending.outcome() {
                return Err(error);
            }
        }
        Ok(self.appended)
    }
}

impl Future for AppendTicket {
    type Output = Result<Appended>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let appended = self.appended;
        let Some(pending) = self.pending.as_mut() else { return Poll::Ready(Ok(appended)) };
        match pending.poll(cx) {
            Poll::Ready(outcome) => {
                self.pending = None;
                Poll::Ready(outcome.map(|()| appended))
            }
            Poll::Pending => {
                pending.log.committer().kick();
                Poll::Pending
            }
        }
    }
}

impl Drop for AppendTicket {
    fn drop(&mut self) {
        if let Some(pending) = &self.pending {
            pending.log.committer().kick();
        }
    }
}

/// Resolves when a reader's bound passes an offset. Await it on any executor, or block on
/// [`wait`](Self::wait).
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
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed).
    pub fn wait(mut self, timeout: Duration) -> Result<bool> {
        let clock = self.registration.log.clock();
        let deadline = clock.monotonic().saturating_add(timeout);
        loop {
            if let Some(outcome) = self.registration.outcome() {
                return outcome.map(|()| true);
            }
            let now = clock.monotonic();
            if now >= deadline {
                return Ok(false);
            }
            self.registration.register(Wake::Thread(thread::current()));
            if self.registration.outcome().is_none() {
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
