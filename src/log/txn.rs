//! A log's part in transactions over several logs (`crate::txn`): staging without a ticket, markers
//! that are never refused for want of room, and waiting for the device on a thread or in a task.

use super::Log;
use super::api::{AppendOptions, Appended};
use super::append::Behalf;
use super::ticket::{Frontier, Registration};
use super::wait::Wake;
use crate::batch::{EndMarker, MarkerKind, marker_batch};
use crate::engine::Shared;
use crate::error::Result;
use crate::options::Durability;
use crate::producer::OpenTxn;
use crate::producer::reserved::{COORDINATOR_EPOCH, PRODUCER_EPOCH};
use crate::types::{LeaderEpoch, Offset, Origin, ProducerId};
use std::sync::Arc;
use std::task::Waker;

impl Log {
    /// Whether this log belongs to the engine that shares `shared`.
    pub(crate) fn is_of(&self, shared: &Arc<Shared>) -> bool {
        Arc::ptr_eq(&self.inner.shared, shared)
    }

    /// Whether both handles are of one log.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Fails if the log was closed, deleted or poisoned.
    pub(crate) fn check_alive(&self) -> Result<()> {
        self.inner.check_alive()
    }

    /// Stages a program's records in a transaction, written whenever a group comes by.
    pub(crate) fn stage_in_transaction(&self, batch: &[u8]) -> Result<Appended> {
        self.stage(batch, Durability::Staged, Behalf::Transaction)
    }

    /// Stages a record of the engine's own, to be flushed with the next group.
    pub(crate) fn stage_record(&self, batch: &[u8]) -> Result<Appended> {
        self.stage(batch, Durability::Durable, Behalf::Engine)
    }

    /// Stages the marker that ends the transaction of `producer`, to be flushed with the next group.
    pub(crate) fn stage_marker(&self, producer: ProducerId, kind: MarkerKind) -> Result<Appended> {
        let marker = EndMarker::new(kind, COORDINATOR_EPOCH);
        let now_ms = self.now_ms();
        let (base, epoch) = (Offset::ZERO, LeaderEpoch::NONE);
        let batch = marker_batch(base, epoch, producer, PRODUCER_EPOCH, marker, now_ms);
        self.stage_record(&batch)
    }

    fn stage(&self, batch: &[u8], durability: Durability, behalf: Behalf) -> Result<Appended> {
        let durability = Some(durability);
        let options =
            AppendOptions { origin: Origin::Coordinator, durability, ..AppendOptions::default() };
        self.inner.stage_batches(batch, &options, behalf).map(|staged| staged.appended)
    }

    /// Lets the next group flush everything staged so far.
    pub(crate) fn want_durable(&self) {
        let mut state = self.inner.state.lock();
        if state.durable_end < state.end {
            state.wants_durable = true;
            drop(state);
            self.inner.enqueue();
        }
    }

    /// A wait for everything below `end` to be durable.
    pub(crate) fn durable(&self, end: Offset) -> DurableWait {
        DurableWait(Registration::new(Arc::clone(&self.inner), Frontier::Durable, end))
    }

    /// Asks the data directory's commit thread to see to what is staged.
    pub(crate) fn kick(&self) {
        self.inner.committer().kick();
    }

    /// The same for a task that goes to sleep: where there is no such thread it writes a group itself.
    /// Whether it did.
    pub(crate) fn attend(&self) -> bool {
        self.inner.committer().attend()
    }

    /// Writes what is staged, on this thread.
    pub(crate) fn write_staged(&self) {
        self.inner.committer().run_staged();
    }

    /// Open transactions whose producer `is_ours`, by first offset.
    pub(crate) fn open_transactions_of(
        &self,
        is_ours: impl Fn(ProducerId) -> bool,
    ) -> Vec<OpenTxn> {
        let state = self.inner.state.lock();
        state.producers.open_transactions().filter(|txn| is_ours(txn.producer_id)).collect()
    }

    /// The engine's time.
    pub(crate) fn now_ms(&self) -> i64 {
        self.inner.shared.io.clock.now_ms()
    }

    /// Completes the active segment if it holds anything.
    pub(crate) fn roll_now(&self) {
        self.inner.force_roll();
    }
}

/// A wait for a log's durable end to pass an offset.
#[derive(Debug)]
pub(crate) struct DurableWait(Registration);

impl DurableWait {
    /// The outcome, if it is known.
    pub(crate) fn outcome(&self) -> Option<Result<()>> {
        self.0.outcome()
    }

    /// Has `waker` woken when the outcome is known. Look at the outcome again afterwards.
    pub(crate) fn register(&mut self, waker: Waker) {
        self.0.register(Wake::Task(waker));
    }

    /// Blocks until the outcome is known. This thread may do the disk's work itself.
    pub(crate) fn wait(self) -> Result<()> {
        self.0.wait()
    }
}
