//! One transactional id as a pure state machine: what a request may do to it, and what it becomes.
//!
//! Nothing here waits or writes. A step looks at a [`Transaction`] and returns the one to store; the
//! coordinator makes that durable and only then lets it replace the old one. Rules C-*.

use super::error::TxnError;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The last epoch a producer may have; the one after it only ever fences (C-5).
const EPOCH_MAX: i16 = i16::MAX - 1;

/// Where a transaction stands (C-2); the numbers are those of the stored form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    /// Nothing was added yet.
    Empty,
    /// It has partitions, and its producer goes on.
    Ongoing,
    /// It is committed; markers are on their way.
    PrepareCommit,
    /// It is aborted; markers are on their way.
    PrepareAbort,
    /// Every marker is durable.
    CompleteCommit,
    /// Every marker is durable.
    CompleteAbort,
    /// It expired; kept only until its removal is stored.
    Dead,
}

impl State {
    pub(super) const ALL: [Self; 7] = [
        Self::Empty,
        Self::Ongoing,
        Self::PrepareCommit,
        Self::PrepareAbort,
        Self::CompleteCommit,
        Self::CompleteAbort,
        Self::Dead,
    ];

    /// The stored number.
    pub(super) const fn id(self) -> i8 {
        self as i8
    }

    pub(super) fn from_id(id: i8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.id() == id)
    }

    /// Kafka's name, as its tools print it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::PrepareCommit => "PrepareCommit",
            Self::PrepareAbort => "PrepareAbort",
            Self::CompleteCommit => "CompleteCommit",
            Self::CompleteAbort => "CompleteAbort",
            Self::Dead => "Dead",
        }
    }

    /// The outcome that is decided and whose markers are not all there; `None` in every other state.
    pub(super) const fn prepared(self) -> Option<bool> {
        match self {
            Self::PrepareCommit => Some(true),
            Self::PrepareAbort => Some(false),
            _ => None,
        }
    }
}

/// A producer as it shows itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
}

/// A partition of a transaction.
pub(super) type Partition = (Arc<str>, i32);

/// Everything that is stored of a transactional id (C-1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Transaction {
    pub(super) producer_id: i64,
    /// The id before the last change of ids, −1 if none.
    pub(super) previous_producer_id: i64,
    pub(super) producer_epoch: i16,
    /// The epoch before the last one, if the producer knew it; −1 else. Tells a retry.
    pub(super) last_producer_epoch: i16,
    pub(super) timeout_ms: i32,
    pub(super) state: State,
    pub(super) partitions: BTreeSet<Partition>,
    pub(super) last_update_ms: i64,
    /// When the transaction under way began, −1 if none is.
    pub(super) start_ms: i64,
}

/// What becomes of an InitProducerId.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Init {
    /// A transaction of an older incarnation is under way: abort it as [`Transaction::fenced`] says,
    /// then ask again (C-15).
    Fence,
    /// Store this; its producer id and epoch are the answer.
    Store(Transaction),
    /// The epochs are used up: give it a new producer id, as [`Transaction::rotated`] says (C-14).
    Rotate,
    /// A retry of what was answered before.
    Same,
}

/// What becomes of an EndTxn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Store this, then write its markers.
    Prepare(Transaction),
    /// It is decided so already: see to its markers.
    Resume,
    /// It has ended so already.
    Done,
}

impl Transaction {
    /// A transactional id that was never seen before (C-10).
    pub(super) fn new(producer_id: i64, timeout_ms: i32, now_ms: i64) -> Self {
        Self {
            producer_id,
            previous_producer_id: -1,
            producer_epoch: 0,
            last_producer_epoch: -1,
            timeout_ms,
            state: State::Empty,
            partitions: BTreeSet::new(),
            last_update_ms: now_ms,
            start_ms: -1,
        }
    }

    /// Its producer.
    pub(super) fn identity(&self) -> Identity {
        Identity { producer_id: self.producer_id, epoch: self.producer_epoch }
    }

    fn is_exhausted(&self) -> bool {
        self.producer_epoch >= EPOCH_MAX
    }

    /// A new incarnation of the producer; `asked` is what it believes to be (C-12 to C-16).
    pub(super) fn init(
        &self,
        asked: Option<Identity>,
        timeout_ms: i32,
        now_ms: i64,
    ) -> Result<Init, TxnError> {
        if let Some(asked) = asked {
            self.check_asked(asked)?;
        }
        match self.state {
            State::PrepareCommit | State::PrepareAbort | State::Dead => Err(TxnError::Concurrent),
            State::Ongoing => Ok(Init::Fence),
            State::Empty | State::CompleteCommit | State::CompleteAbort => {
                self.next_incarnation(asked.map(|asked| asked.epoch), timeout_ms, now_ms)
            }
        }
    }

    fn check_asked(&self, asked: Identity) -> Result<(), TxnError> {
        let rotated = self.previous_producer_id >= 0
            && asked.producer_id == self.previous_producer_id
            && asked.epoch >= EPOCH_MAX;
        if asked.producer_id == self.producer_id || rotated {
            Ok(())
        } else {
            Err(TxnError::ProducerFenced)
        }
    }

    fn next_incarnation(
        &self,
        asked: Option<i16>,
        timeout_ms: i32,
        now_ms: i64,
    ) -> Result<Init, TxnError> {
        let current = self.producer_epoch;
        if self.is_exhausted() && asked.is_none_or(|epoch| epoch == current) {
            return Ok(Init::Rotate);
        }
        match asked {
            None => Ok(Init::Store(self.reborn(current + 1, -1, timeout_ms, now_ms))),
            Some(epoch) if epoch == current => {
                Ok(Init::Store(self.reborn(current + 1, current, timeout_ms, now_ms)))
            }
            Some(epoch) if epoch == self.last_producer_epoch => Ok(Init::Same),
            Some(_) => Err(TxnError::ProducerFenced),
        }
    }

    fn reborn(&self, epoch: i16, last_epoch: i16, timeout_ms: i32, now_ms: i64) -> Self {
        Self {
            producer_epoch: epoch,
            last_producer_epoch: last_epoch,
            timeout_ms,
            state: State::Empty,
            partitions: BTreeSet::new(),
            last_update_ms: now_ms,
            start_ms: -1,
            ..self.clone()
        }
    }

    /// The next incarnation under a new producer id; `asked` as in [`Transaction::init`].
    pub(super) fn rotated(
        &self,
        fresh_id: i64,
        asked: Option<Identity>,
        timeout_ms: i32,
        now_ms: i64,
    ) -> Self {
        let last_epoch = if asked.is_some() { self.producer_epoch } else { -1 };
        Self {
            producer_id: fresh_id,
            previous_producer_id: self.producer_id,
            ..self.reborn(0, last_epoch, timeout_ms, now_ms)
        }
    }

    /// The checks that adding, verifying and ending share, in Kafka's order (C-22, C-23).
    fn check(&self, by: Identity) -> Result<(), TxnError> {
        if by.producer_id != self.producer_id {
            return Err(TxnError::InvalidProducerIdMapping);
        }
        if by.epoch != self.producer_epoch {
            return Err(TxnError::ProducerFenced);
        }
        Ok(())
    }

    /// Takes in partitions before they are written to; `None` if they all are in already (C-22).
    pub(super) fn add(
        &self,
        by: Identity,
        partitions: &BTreeSet<Partition>,
        now_ms: i64,
    ) -> Result<Option<Self>, TxnError> {
        if matches!(self.state, State::PrepareCommit | State::PrepareAbort | State::Dead) {
            return Err(TxnError::Concurrent);
        }
        self.check(by)?;
        let ongoing = self.state == State::Ongoing;
        if ongoing && partitions.is_subset(&self.partitions) {
            return Ok(None);
        }
        let mut next = self.clone();
        if !ongoing {
            next.partitions.clear();
            next.start_ms = now_ms;
        }
        next.partitions.extend(partitions.iter().cloned());
        next.state = State::Ongoing;
        next.last_update_ms = now_ms;
        Ok(Some(next))
    }

    /// Whether the producer may write to the partition as part of its transaction (C-22a).
    pub(super) fn verify(&self, by: Identity, partition: &Partition) -> Result<(), TxnError> {
        self.check(by)?;
        match self.state {
            State::PrepareCommit | State::PrepareAbort => Err(TxnError::Concurrent),
            State::Ongoing if self.partitions.contains(partition) => Ok(()),
            _ => Err(TxnError::Abortable),
        }
    }

    /// Ends the transaction as its producer asked (the table of C-25, first half).
    pub(super) fn end(&self, by: Identity, commit: bool, now_ms: i64) -> Result<End, TxnError> {
        self.check(by)?;
        match (self.state, commit) {
            (State::Ongoing, _) => Ok(End::Prepare(self.prepared(commit, now_ms))),
            (State::CompleteCommit, true) | (State::CompleteAbort, false) => Ok(End::Done),
            (State::PrepareCommit, true) | (State::PrepareAbort, false) => Ok(End::Resume),
            _ => Err(TxnError::InvalidTxnState),
        }
    }

    fn prepared(&self, commit: bool, now_ms: i64) -> Self {
        let state = if commit { State::PrepareCommit } else { State::PrepareAbort };
        Self { state, last_update_ms: now_ms, ..self.clone() }
    }

    /// The transaction aborted without its producer, who is fenced by it (C-15, C-16, C-36).
    pub(super) fn fenced(&self, now_ms: i64) -> Self {
        Self {
            producer_epoch: self.producer_epoch.saturating_add(1),
            last_producer_epoch: -1,
            ..self.prepared(false, now_ms)
        }
    }

    /// Whether it has run for longer than its producer asked for (C-36).
    pub(super) fn has_timed_out(&self, now_ms: i64) -> bool {
        let end_ms = self.start_ms.saturating_add(i64::from(self.timeout_ms));
        self.state == State::Ongoing && end_ms < now_ms
    }

    /// Whether nobody has used it for `after_ms`, and nothing is under way (C-37).
    pub(super) fn has_expired(&self, after_ms: i64, now_ms: i64) -> bool {
        let idle = matches!(
            self.state,
            State::Empty | State::CompleteCommit | State::CompleteAbort | State::Dead
        );
        idle && self.last_update_ms <= now_ms.saturating_sub(after_ms)
    }

    /// What it is once every marker is durable.
    ///
    /// # Panics
    /// If nothing was decided: its markers could not have been written.
    pub(super) fn completed(&self, now_ms: i64) -> Self {
        let committed = self.state.prepared().expect("markers follow a decision");
        Self {
            state: if committed { State::CompleteCommit } else { State::CompleteAbort },
            partitions: BTreeSet::new(),
            last_update_ms: now_ms,
            ..self.clone()
        }
    }
}
