//! From the decision to the answer: one committed transaction on its way.
//!
//! ```text
//! Deciding ── decision and data durable ──► commit point: positions move, markers staged
//!    │                                          ▼
//!    │ a log failed                           Ending ── markers durable ──► Ended
//!    ▼                                          ▲
//! Refusing ── verdict "aborted" durable ────────┘ (abort markers)
//!    │ the transaction log failed
//!    ▼
//!  Ended: the outcome is unknown until the engine is opened again
//! ```
//!
//! Whoever learns that something became durable moves it on, with the CPU only: a thread that waits for
//! the ticket, a task that polls it, or, when there is neither, the commit thread that made it durable.
//! So a ticket that is dropped or not polled holds no reader of the logs back.

use super::coordinator::Coordinator;
use super::record::{Decision, Position};
use super::transaction::{Part, stage_abort};
use crate::batch::MarkerKind;
use crate::error::{Error, ErrorKind, Result};
use crate::log::{DurableWait, Log};
use crate::types::{Offset, ProducerId};
use parking_lot::Mutex;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};

/// A transaction whose outcome is under way.
pub(super) struct Commit {
    coordinator: Arc<Coordinator>,
    slot: u32,
    producer: ProducerId,
    parts: Vec<Part>,
    /// `None` if it was not needed: a single log, whose marker decides.
    decision: Option<Decided>,
    /// A thread waits, and moves it on.
    is_driven: AtomicBool,
    inner: Mutex<Inner>,
}

/// A decision, staged.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) number: i64,
    pub(super) positions: Vec<Position>,
    /// The transaction log, and where the decision ends in it.
    pub(super) log: Log,
    pub(super) end: Offset,
}

#[derive(Debug)]
struct Inner {
    phase: Phase,
    /// What it waits for.
    wait: Option<DurableWait>,
}

#[derive(Debug)]
pub(super) enum Phase {
    /// The decision and the data are on their way; everything before the `next`th log is durable.
    Deciding {
        next: usize,
    },
    /// That it is aborted is on its way, because of `cause`.
    Refusing {
        end: Offset,
        cause: Error,
    },
    /// The markers are on their way.
    Ending {
        markers: Vec<(usize, Offset)>,
        next: usize,
        outcome: Result<()>,
    },
    Ended(Result<()>),
}

/// How far it came.
pub(super) enum Step {
    /// It waits for this log to be durable up to here.
    Blocked(Log, Offset),
    Ended(Result<()>),
}

impl fmt::Debug for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut s = f.debug_struct("Commit");
        s.field("producer", &self.producer).field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl Commit {
    pub(super) fn new(
        coordinator: Arc<Coordinator>,
        (slot, producer): (u32, ProducerId),
        parts: Vec<Part>,
        decision: Option<Decided>,
        phase: Phase,
    ) -> Self {
        Self {
            coordinator,
            slot,
            producer,
            parts,
            decision,
            is_driven: AtomicBool::new(false),
            inner: Mutex::new(Inner { phase, wait: None }),
        }
    }

    /// The decision as it was staged, to be restated.
    pub(super) fn decision(&self) -> Option<Decision> {
        let decided = self.decision.as_ref()?;
        Some(Decision {
            number: decided.number,
            producer: self.producer,
            committed: Vec::new(),
            logs: self.parts.iter().map(Part::participant).collect(),
            positions: decided.positions.clone(),
        })
    }

    /// Moves it on as far as it goes without waiting. If it goes no further, the callback is
    /// registered with what it waits for.
    pub(super) fn advance(self: &Arc<Self>) -> Step {
        let mut inner = self.inner.lock();
        loop {
            let (log, end) = match self.step(&mut inner.phase) {
                Step::Blocked(log, end) => (log, end),
                ended @ Step::Ended(_) => {
                    inner.wait = None;
                    return ended;
                }
            };
            let mut wait = log.durable(end);
            wait.register(Waker::from(Arc::new(Callback(Arc::downgrade(self)))));
            let is_known = wait.outcome().is_some();
            inner.wait = Some(wait);
            if !is_known {
                return Step::Blocked(log, end);
            }
        }
    }

    /// Blocks until it has ended. This thread may do the disk's work.
    pub(super) fn wait(self: &Arc<Self>) -> Result<()> {
        self.is_driven.store(true, Ordering::Relaxed);
        loop {
            match self.advance() {
                Step::Ended(outcome) => return outcome,
                // How it ended is looked at in the next step.
                Step::Blocked(log, end) => drop(log.durable(end).wait()),
            }
        }
    }

    fn step(&self, phase: &mut Phase) -> Step {
        loop {
            let next = match phase {
                Phase::Deciding { .. } if self.coordinator.plants_early_markers() => self.decide(),
                Phase::Deciding { next } => match self.first_pending(next) {
                    Some((log, end)) => match log.durable(end).outcome() {
                        Some(Err(cause)) => self.refuse(cause),
                        _ => return Step::Blocked(log, end),
                    },
                    None => self.decide(),
                },
                Phase::Refusing { end, cause } => match self.refusal(*end) {
                    None => return Step::Blocked(self.transaction_log(), *end),
                    Some(Ok(())) => self.abort(cause.clone()),
                    Some(Err(_)) => self.give_up(cause),
                },
                Phase::Ending { markers, next, outcome } => {
                    match self.pending_marker(markers, next, outcome) {
                        Some((log, end)) => return Step::Blocked(log, end),
                        None => {
                            // One that a log still waits for stays known, to be restated.
                            if outcome.is_ok() {
                                self.coordinator.finished(self.slot);
                            }
                            Phase::Ended(outcome.clone())
                        }
                    }
                }
                Phase::Ended(outcome) => return Step::Ended(outcome.clone()),
            };
            *phase = next;
        }
    }

    /// The decision, then each log's data: the first that is not durable, or failed.
    fn first_pending(&self, next: &mut usize) -> Option<(Log, Offset)> {
        let decision = self.decision.iter().map(|decided| (&decided.log, decided.end));
        let data = self.parts.iter().map(|part| (&part.log, part.last.next()));
        let pending = decision.chain(data).enumerate().skip(*next).find(|(at, (log, end))| {
            *next = *at;
            !matches!(log.durable(*end).outcome(), Some(Ok(())))
        });
        pending.map(|(_, (log, end))| (log.clone(), end))
    }

    /// The commit point.
    fn decide(&self) -> Phase {
        if let Some(decided) = &self.decision {
            self.coordinator.committed(self.slot, decided);
        }
        let mut outcome = Ok(());
        let mut markers = Vec::with_capacity(self.parts.len());
        for (index, part) in self.parts.iter().enumerate() {
            match part.log.stage_marker(self.producer, MarkerKind::Commit) {
                Ok(appended) => markers.push((index, appended.last_offset.next())),
                Err(error) => note_failure(&mut outcome, error),
            }
        }
        Phase::Ending { markers, next: 0, outcome }
    }

    /// A log failed before the commit point, so whether all is there is unknown; but as long as the
    /// transaction log works, it need not stay so.
    fn refuse(&self, cause: Error) -> Phase {
        let Some(decided) = &self.decision else { return self.give_up(&cause) };
        match self.coordinator.refuse(self.slot, decided) {
            Ok(end) => Phase::Refusing { end, cause },
            Err(_) => self.give_up(&cause),
        }
    }

    fn refusal(&self, end: Offset) -> Option<Result<()>> {
        self.transaction_log().durable(end).outcome()
    }

    /// There is one wherever it is asked for: only a decision can be refused.
    fn transaction_log(&self) -> Log {
        let decided = self.decision.as_ref().expect("only a decision can be refused");
        decided.log.clone()
    }

    fn abort(&self, cause: Error) -> Phase {
        let logs = self.parts.iter().map(|part| &part.log);
        let context = "the transaction was aborted, since a log of it failed";
        let failed = Err(Error::with_source(ErrorKind::TransactionAborted, context, cause));
        if stage_abort(self.producer, logs) {
            self.coordinator.finished(self.slot);
        } else {
            self.coordinator.in_doubt(self.slot);
        }
        Phase::Ended(failed)
    }

    fn give_up(&self, cause: &Error) -> Phase {
        self.coordinator.in_doubt(self.slot);
        let context = "whether the transaction is committed shows when the engine is opened again";
        let error = Error::with_source(ErrorKind::TransactionInDoubt, context, cause.clone());
        Phase::Ended(Err(error))
    }

    fn pending_marker(
        &self,
        markers: &[(usize, Offset)],
        next: &mut usize,
        outcome: &mut Result<()>,
    ) -> Option<(Log, Offset)> {
        while let Some((part, end)) = markers.get(*next) {
            let log = &self.parts[*part].log;
            match log.durable(*end).outcome() {
                None => return Some((log.clone(), *end)),
                Some(Ok(())) => {}
                Some(Err(error)) => note_failure(outcome, error),
            }
            *next += 1;
        }
        None
    }

    /// Sets the disk to work where nobody else does.
    fn kick(&self) {
        self.logs().for_each(Log::kick);
    }

    /// The same for a task that goes to sleep; whether it did the disk's work itself.
    fn attend(&self) -> bool {
        self.logs().fold(false, |attended, log| attended | log.attend())
    }

    fn logs(&self) -> impl Iterator<Item = &Log> {
        let decision = self.decision.iter().map(|decided| &decided.log);
        self.parts.iter().map(|part| &part.log).chain(decision)
    }
}

/// A log that fails after the commit point keeps its readers waiting until it is reopened; one that was
/// deleted has none.
fn note_failure(outcome: &mut Result<()>, error: Error) {
    if outcome.is_ok() && *error.kind() != ErrorKind::Closed {
        let context = "the transaction is committed, but readers of a log that failed see it only \
                       when the engine is opened again";
        *outcome = Err(Error::with_source(ErrorKind::TransactionUnseen, context, error));
    }
}

/// Woken when something it waits for became durable.
struct Callback(Weak<Commit>);

impl Wake for Callback {
    fn wake(self: Arc<Self>) {
        let Some(commit) = self.0.upgrade() else { return };
        // A thread that waits is woken too, and does it without a hand-off to another.
        if !commit.is_driven.load(Ordering::Relaxed) {
            commit.advance();
            commit.kick();
        }
    }
}

/// A commit under way. Await it on any executor, or [`wait`](Self::wait) on a thread. It resolves to the
/// same outcome however often it is polled. Dropping it changes nothing: the transaction is committed all
/// the same. Where the engine has no thread of its own, a poll does the disk's work, as that of an
/// [`AppendTicket`](crate::AppendTicket).
///
/// Resolves when nothing of this transaction keeps read-committed readers waiting: they see it in all its
/// logs, unless another transaction that began earlier in one is still open, or the high watermark, in
/// a log where the embedder sets it, is still behind.
#[must_use = "a transaction is committed only when its ticket resolves"]
#[derive(Debug)]
pub struct CommitTicket {
    commit: Arc<Commit>,
    wait: Option<DurableWait>,
    ended: bool,
}

impl CommitTicket {
    pub(super) fn new(commit: Arc<Commit>) -> Self {
        Self { commit, wait: None, ended: false }
    }

    /// Blocks until the transaction is committed. The calling thread may do the disk's work itself,
    /// for others too.
    ///
    /// # Errors
    /// A write or flush failed, with what failed as the source; a log that failed works again when the
    /// engine is opened again. The kind says what became of the transaction:
    /// - [`ErrorKind::TransactionAborted`]: aborted for good, in all its logs. Do it again.
    /// - [`ErrorKind::TransactionUnseen`]: committed for good, but readers of the log that failed see it
    ///   only when the engine was opened again. Do not repeat it.
    /// - [`ErrorKind::TransactionInDoubt`]: not known before the engine was opened again. Then it is
    ///   committed or aborted as a whole, and a position stored in it tells which.
    ///
    /// # Complexity
    /// Two rounds of flushes at most, however many logs take part.
    pub fn wait(mut self) -> Result<()> {
        self.ended = true;
        self.commit.wait()
    }
}

impl Future for CommitTicket {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let (log, end) = match self.commit.advance() {
                Step::Blocked(log, end) => (log, end),
                Step::Ended(outcome) => {
                    self.wait = None;
                    self.ended = true;
                    return Poll::Ready(outcome);
                }
            };
            let mut wait = log.durable(end);
            wait.register(cx.waker().clone());
            let is_known = wait.outcome().is_some();
            self.wait = Some(wait);
            if !is_known && !self.commit.attend() {
                return Poll::Pending;
            }
        }
    }
}

impl Drop for CommitTicket {
    fn drop(&mut self) {
        if !self.ended {
            self.commit.kick();
        }
    }
}
