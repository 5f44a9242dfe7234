//! The coordinator: every transactional id with its turn, and decisions made durable.
//!
//! Requests for one id take turns: a later one waits for the few milliseconds the earlier one needs,
//! where Kafka refuses it with 51 and the client backs off. A turn is a task of its own, so that a
//! client that goes away takes nothing with it. The state of an id changes only when what it becomes
//! is durable; looking at it waits for nobody.

use super::error::TxnError;
use super::load::LoadReport;
use super::record::encode_key;
use super::state::{End, Identity, Init, Partition, State, Transaction};
use crate::blocking::blocking;
use crate::clock;
use crate::group;
use crate::producer_ids::ProducerIds;
use crate::state_log::{EngineJournal, Entry, Journal, Written, partition_of};
use crate::topics::{OFFSETS_TOPIC, Registry, TXN_STATE_TOPIC};
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::timeout;

/// How long a request waits for its turn before it is told to come again.
const PATIENCE: Duration = Duration::from_secs(1);

/// The coordinator's share of the settings.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Longest timeout a producer may ask for, in ms.
    pub(crate) timeout_max_ms: i32,
    /// How often transactions that have timed out are looked for, in ms.
    pub(crate) timeout_check_interval_ms: i64,
    /// How long an id that nobody uses is remembered, in ms.
    pub(crate) expiration_ms: i64,
    /// How often ids that have expired are looked for, in ms.
    pub(crate) expiration_check_interval_ms: i64,
    /// Partitions of the topic that keeps transactions.
    pub(crate) partitions: i32,
}

/// The parts of the broker that the coordinator works with.
#[derive(Clone, Debug)]
pub(crate) struct Neighbours {
    pub(crate) topics: Registry,
    pub(crate) producer_ids: Arc<ProducerIds>,
    pub(crate) groups: group::Coordinator,
}

/// The transaction coordinator of a broker. Cheap to clone; its clock stops with the last clone.
#[derive(Clone, Debug)]
pub(crate) struct Coordinator {
    pub(super) shared: Arc<Shared>,
    report: Arc<LoadReport>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) neighbours: Neighbours,
    pub(super) journal: EngineJournal,
    pub(super) runtime: Handle,
    pub(super) slots: Mutex<HashMap<Arc<str>, Arc<Slot>>>,
    /// Partitions that hold what this broker cannot write anew.
    foreign: Mutex<HashSet<i32>>,
    /// Per partition of the topic, the epoch of this incarnation of the coordinator.
    pub(super) epochs: tokio::sync::Mutex<HashMap<i32, i32>>,
}

/// A transactional id's place in the coordinator.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) id: Arc<str>,
    pub(super) partition: i32,
    /// Held by the one request that may change the state.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// `None` before the id was stored for the first time.
    pub(super) state: Mutex<Option<Transaction>>,
}

impl Slot {
    fn new(id: &str, partition: i32, state: Option<Transaction>) -> Self {
        Self { id: Arc::from(id), partition, turn: Arc::default(), state: Mutex::new(state) }
    }

    /// What is stored, unless nothing is, or only that it is gone.
    pub(super) fn known(&self) -> Option<Transaction> {
        self.state.lock().clone().filter(|txn| txn.state != State::Dead)
    }

    fn transaction(&self) -> Result<Transaction, TxnError> {
        self.known().ok_or(TxnError::InvalidProducerIdMapping)
    }
}

impl Coordinator {
    /// Reads all stored transactions, ends those that were decided, and starts the clock, on the
    /// current tokio runtime. Blocks while it does.
    ///
    /// # Panics
    /// Outside a tokio runtime, or on one of its own threads.
    pub(crate) fn open(
        config: Config,
        engine: &oncelog::Engine,
        neighbours: Neighbours,
    ) -> oncelog::Result<Self> {
        let shared = Arc::new(Shared {
            journal: EngineJournal::new(
                engine,
                TXN_STATE_TOPIC,
                neighbours.topics.internal_id(TXN_STATE_TOPIC),
            ),
            config,
            neighbours,
            runtime: Handle::current(),
            slots: Mutex::default(),
            foreign: Mutex::default(),
            epochs: tokio::sync::Mutex::default(),
        });
        let report = super::load::load(&shared)?;
        super::load::finish_decided(&shared);
        shared.runtime.spawn(super::clockwork::run(Arc::downgrade(&shared)));
        Ok(Self { shared, report: Arc::new(report) })
    }

    /// What could not be used of the stored state.
    pub(crate) fn load_report(&self) -> &LoadReport {
        &self.report
    }

    /// Gives a transactional id its next incarnation, which fences the one before (C-8 to C-17).
    pub(crate) async fn init(
        &self,
        id: &str,
        asked: Option<Identity>,
        timeout_ms: i32,
    ) -> Result<Identity, TxnError> {
        if id.is_empty() {
            return Err(TxnError::InvalidRequest);
        }
        if timeout_ms <= 0 || timeout_ms > self.shared.config.timeout_max_ms {
            return Err(TxnError::InvalidTimeout);
        }
        self.shared.prepare(id).await?;
        let slot = self.shared.find_or_create(id);
        let work = move |shared: Arc<Shared>, slot: Arc<Slot>| async move {
            shared.init(&slot, asked, timeout_ms).await
        };
        self.shared.in_turn(slot, work).await
    }

    /// Makes partitions part of a transaction, before anything is written to them (C-22).
    pub(crate) async fn add(
        &self,
        id: &str,
        by: Identity,
        partitions: BTreeSet<Partition>,
    ) -> Result<(), TxnError> {
        let slot = self.shared.find(id)?;
        let work = move |shared: Arc<Shared>, slot: Arc<Slot>| async move {
            match slot.transaction()?.add(by, &partitions, clock::now_ms())? {
                Some(next) => shared.store(&slot, next).await,
                None => Ok(()),
            }
        };
        self.shared.in_turn(slot, work).await
    }

    /// The partition that keeps a group's offsets, as a part of a transaction.
    pub(crate) async fn add_offsets(
        &self,
        id: &str,
        by: Identity,
        group_id: &str,
    ) -> Result<(), TxnError> {
        let neighbours = &self.shared.neighbours;
        neighbours.topics.offsets_topic().await.map_err(|e| TxnError::from_store(&e))?;
        let partition = (Arc::from(OFFSETS_TOPIC), neighbours.groups.partition_of(group_id));
        self.add(id, by, BTreeSet::from([partition])).await
    }

    /// Whether a partition is part of the producer's transaction now (C-22a).
    pub(crate) fn verify(
        &self,
        id: &str,
        by: Identity,
        topic: &str,
        partition: i32,
    ) -> Result<(), TxnError> {
        let slot = self.shared.find(id)?;
        let state = slot.state.lock();
        let txn = state.as_ref().ok_or(TxnError::InvalidProducerIdMapping)?;
        txn.verify(by, &(Arc::from(topic), partition))
    }

    /// Commits or aborts; every partition shows it when this returns.
    pub(crate) async fn end(&self, id: &str, by: Identity, commit: bool) -> Result<(), TxnError> {
        let slot = self.shared.find(id)?;
        let work = move |shared: Arc<Shared>, slot: Arc<Slot>| async move {
            let txn = slot.transaction()?;
            match txn.end(by, commit, clock::now_ms())? {
                End::Prepare(next) => {
                    shared.store(&slot, next).await?;
                    shared.complete(&slot).await
                }
                End::Resume => shared.complete(&slot).await,
                End::Done => Ok(()),
            }
        };
        self.shared.in_turn(slot, work).await
    }
}

impl Shared {
    /// Makes sure that the id's state can be stored.
    async fn prepare(self: &Arc<Self>, id: &str) -> Result<(), TxnError> {
        let partition = partition_of(id, self.config.partitions);
        if self.journal.is_open(partition) {
            return Ok(());
        }
        let topic = self.neighbours.topics.txn_state_topic().await;
        topic.map_err(|error| TxnError::from_store(&error))?;
        let shared = self.clone();
        let opened = blocking(move || shared.journal.open(partition)).await;
        opened.map_err(|error| TxnError::from_store(&error))
    }

    /// The slot of an id that was initialised.
    pub(super) fn find(&self, id: &str) -> Result<Arc<Slot>, TxnError> {
        if id.is_empty() {
            return Err(TxnError::InvalidRequest);
        }
        self.slots.lock().get(id).cloned().ok_or(TxnError::InvalidProducerIdMapping)
    }

    fn find_or_create(&self, id: &str) -> Arc<Slot> {
        let mut slots = self.slots.lock();
        if let Some(slot) = slots.get(id) {
            return slot.clone();
        }
        let slot = Arc::new(Slot::new(id, partition_of(id, self.config.partitions), None));
        slots.insert(slot.id.clone(), slot.clone());
        slot
    }

    fn holds(&self, slot: &Arc<Slot>) -> bool {
        self.slots.lock().get(&slot.id).is_some_and(|held| Arc::ptr_eq(held, slot))
    }

    /// Takes in what the log says of an id.
    pub(super) fn adopt(&self, id: &str, partition: i32, txn: Transaction) {
        let slot = Arc::new(Slot::new(id, partition, Some(txn)));
        self.slots.lock().insert(slot.id.clone(), slot);
    }

    /// Every id, in no order.
    pub(super) fn all(&self) -> Vec<Arc<Slot>> {
        self.slots.lock().values().cloned().collect()
    }

    async fn init(
        self: &Arc<Self>,
        slot: &Slot,
        asked: Option<Identity>,
        timeout_ms: i32,
    ) -> Result<Identity, TxnError> {
        loop {
            let now_ms = clock::now_ms();
            let Some(txn) = slot.known() else {
                let next = Transaction::new(self.fresh_id().await?, timeout_ms, now_ms);
                return self.store_identity(slot, next).await;
            };
            if txn.state.prepared().is_some() {
                // A request before this one could not write all markers.
                self.complete(slot).await?;
                continue;
            }
            match txn.init(asked, timeout_ms, now_ms)? {
                Init::Same => return Ok(txn.identity()),
                Init::Store(next) => return self.store_identity(slot, next).await,
                Init::Rotate => {
                    let next = txn.rotated(self.fresh_id().await?, asked, timeout_ms, now_ms);
                    return self.store_identity(slot, next).await;
                }
                Init::Fence => self.abort(slot, &txn).await?,
            }
        }
    }

    /// Ends a transaction whose producer does not do it, and fences the producer.
    pub(super) async fn abort(
        self: &Arc<Self>,
        slot: &Slot,
        txn: &Transaction,
    ) -> Result<(), TxnError> {
        self.store(slot, txn.fenced(clock::now_ms())).await?;
        self.complete(slot).await
    }

    /// Runs `work` when no other request works on `slot`, to its end, whoever still waits for it.
    pub(super) async fn in_turn<R, F>(
        self: &Arc<Self>,
        slot: Arc<Slot>,
        work: impl FnOnce(Arc<Self>, Arc<Slot>) -> F,
    ) -> Result<R, TxnError>
    where
        R: Send + 'static,
        F: Future<Output = Result<R, TxnError>> + Send + 'static,
    {
        let turn = timeout(PATIENCE, slot.turn.clone().lock_owned());
        let turn = turn.await.map_err(|_elapsed| TxnError::Concurrent)?;
        if !self.holds(&slot) {
            // It expired while this waited. Whoever comes again begins anew.
            return Err(TxnError::Concurrent);
        }
        let work = work(self.clone(), slot);
        let task = self.runtime.spawn(async move {
            let _turn = turn;
            work.await
        });
        // Cut short only when the broker stops.
        task.await.unwrap_or(Err(TxnError::NotAvailable))
    }

    /// From now on nothing in `partition` is let go.
    pub(super) fn keep_all(&self, partition: i32) {
        self.foreign.lock().insert(partition);
    }

    pub(super) fn keeps_all(&self, partition: i32) -> bool {
        self.foreign.lock().contains(&partition)
    }

    async fn fresh_id(&self) -> Result<i64, TxnError> {
        let id = self.neighbours.producer_ids.allocate().await;
        id.map(oncelog::ProducerId::get).map_err(|error| TxnError::from_store(&error))
    }

    async fn store_identity(&self, slot: &Slot, next: Transaction) -> Result<Identity, TxnError> {
        let identity = next.identity();
        self.store(slot, next).await?;
        Ok(identity)
    }

    /// Makes `next` the state of an id, once it is durable.
    async fn store(&self, slot: &Slot, next: Transaction) -> Result<(), TxnError> {
        let written = self.append(slot, Some(&next))?;
        written.stored.await.map_err(|error| TxnError::from_store(&error))?;
        *slot.state.lock() = Some(next);
        Ok(())
    }

    /// Queues a state, or with `None` the removal of the id, for the disk.
    pub(super) fn append(
        &self,
        slot: &Slot,
        txn: Option<&Transaction>,
    ) -> Result<Written, TxnError> {
        let key = encode_key(&slot.id).map_err(|_too_long| TxnError::InvalidRequest)?;
        let value = txn.map(Transaction::encode).transpose();
        let value = value.map_err(|_too_long| TxnError::InvalidRequest)?;
        let appended =
            self.journal.append(slot.partition, clock::now_ms(), &[Entry { key, value }]);
        appended.map_err(|error| TxnError::from_store(&error))
    }

    /// Writes the markers of what was decided, then lets the id go on. The record of that is on its
    /// way and not waited for: what comes after it in the log cannot be there without it, and a
    /// crash before it writes the markers once more.
    pub(super) async fn complete(self: &Arc<Self>, slot: &Slot) -> Result<(), TxnError> {
        let Some(txn) = slot.known().filter(|txn| txn.state.prepared().is_some()) else {
            return Ok(());
        };
        self.write_markers(slot, &txn).await?;
        let next = txn.completed(clock::now_ms());
        self.append(slot, Some(&next))?;
        *slot.state.lock() = Some(next);
        Ok(())
    }

    /// Removes an id that nobody uses (C-37).
    pub(super) async fn expire(&self, slot: &Slot) -> Result<(), TxnError> {
        let written = self.append(slot, None)?;
        written.stored.await.map_err(|error| TxnError::from_store(&error))?;
        self.slots.lock().remove(&slot.id);
        Ok(())
    }
}
