//! The coordinator: every group behind its own lock, effects carried out, time passing.
//!
//! A request locks its group, lets the state machine decide, carries out the effects and unlocks; it
//! waits, if it must, without a lock. Writes are finished by tasks of their own, so that a client
//! that goes away takes nothing with it. Lock order: a group before the timers; the map of groups
//! is never locked together with a group.

use super::config::Config;
use super::effect::{Effect, JoinReply, SyncReply, Token};
use super::error::GroupError;
use super::load::{LoadReport, load};
use super::member::Waiter;
use super::offsets::Offsets;
use super::records::{self, GroupValue};
use super::state::{Group, Limits, Now};
use super::timers::Timers;
use crate::protocol::{Str, Uuid};
use crate::state_log::{EngineJournal, Entry, Journal, Written, partition_of};
use parking_lot::{Mutex, MutexGuard};
use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// The topic that keeps groups and offsets.
const TOPIC: &str = "__consumer_offsets";

/// What the coordinator asks of the broker it is part of. Calls do not block.
pub trait Host: Send + Sync + fmt::Debug + 'static {
    /// Wall-clock milliseconds since the Unix epoch.
    fn now_ms(&self) -> i64;
    /// Sixteen random bytes that nobody else has.
    fn random_id(&self) -> Uuid;
    /// The id that the topic of offsets has, or will have.
    fn offsets_topic_id(&self) -> Uuid;
    /// How many partitions a topic has; `None` if there is no such topic.
    fn partition_count(&self, topic: &str) -> Option<i32>;
    /// The name of the topic with this id.
    fn topic_name(&self, id: Uuid) -> Option<Str>;
    /// The id of the topic with this name.
    fn topic_id(&self, name: &str) -> Option<Uuid>;
}

/// Who sent a request.
#[derive(Clone, Debug)]
pub struct Caller {
    pub(super) client_id: Arc<str>,
    pub(super) client_host: Arc<str>,
}

impl Caller {
    /// A client by the name it gives itself and the address it comes from (`/127.0.0.1`, say).
    #[must_use]
    pub fn new(client_id: &str, client_host: &str) -> Self {
        Self { client_id: Arc::from(client_id), client_host: Arc::from(client_host) }
    }
}

/// The group coordinator of a broker. Cheap to clone; its timer stops with the last clone.
#[derive(Clone, Debug)]
pub struct Coordinator {
    pub(super) shared: Arc<Shared>,
    report: Arc<LoadReport>,
}

/// Groups by partition and producer id.
type Staged = HashMap<(i32, i64), Vec<Arc<Slot>>>;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: Config,
    limits: Limits,
    pub(super) journal: Arc<dyn Journal>,
    pub(super) host: Arc<dyn Host>,
    pub(super) runtime: Handle,
    started: Instant,
    groups: Mutex<HashMap<Arc<str>, Arc<Slot>>>,
    pub(super) timers: Arc<Timers>,
    next_number: AtomicU64,
    /// Whether the log is being written anew.
    pub(super) compacting: AtomicBool,
    /// Partitions that hold what this broker cannot write anew.
    foreign: Mutex<HashSet<i32>>,
    /// Per partition and producer id, the groups that wait for the end of a transaction.
    pub(super) staged: Mutex<Staged>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.timers.wake();
    }
}

/// A group's place in the coordinator.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) id: Arc<str>,
    pub(super) partition: i32,
    pub(super) number: u64,
    cell: Mutex<Cell>,
}

/// Everything about a group that its lock guards.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) group: Group,
    pub(super) offsets: Offsets,
    waiters: HashMap<Waiter, Answer>,
    armed_ms: Option<i64>,
    /// Set when the map no longer holds it; whoever finds it so looks again.
    pub(super) removed: bool,
}

/// Where the answer to a parked request goes.
#[derive(Debug)]
enum Answer {
    Join(oneshot::Sender<JoinReply>),
    Sync(oneshot::Sender<SyncReply>),
}

impl Coordinator {
    /// Reads all stored groups and offsets and starts the timers, on the current tokio runtime.
    /// Blocks while it reads.
    ///
    /// # Errors
    /// What opening or reading the log met. Damaged ranges are no error; see
    /// [`load_report`](Self::load_report).
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn open(
        config: Config,
        engine: &oncelog::Engine,
        host: Arc<dyn Host>,
    ) -> oncelog::Result<Self> {
        let journal = EngineJournal::new(engine, TOPIC, host.offsets_topic_id().0);
        Self::open_on(config, Arc::new(journal), host)
    }

    pub(super) fn open_on(
        config: Config,
        journal: Arc<dyn Journal>,
        host: Arc<dyn Host>,
    ) -> oncelog::Result<Self> {
        let shared = Arc::new(Shared {
            limits: config.limits(),
            config,
            journal,
            host,
            runtime: Handle::current(),
            started: Instant::now(),
            groups: Mutex::default(),
            timers: Arc::default(),
            next_number: AtomicU64::new(0),
            compacting: AtomicBool::new(false),
            foreign: Mutex::default(),
            staged: Mutex::default(),
        });
        let report = load(&shared)?;
        shared.runtime.spawn(super::clockwork::run(Arc::downgrade(&shared), shared.timers.clone()));
        Ok(Self { shared, report: Arc::new(report) })
    }

    /// What could not be used of the stored state.
    #[must_use]
    pub fn load_report(&self) -> &LoadReport {
        &self.report
    }

    /// The partition of `__consumer_offsets` that keeps a group (G-3).
    #[must_use]
    pub fn partition_of(&self, group_id: &str) -> i32 {
        self.shared.partition_of(group_id)
    }
}

impl Shared {
    pub(super) fn partition_of(&self, group_id: &str) -> i32 {
        partition_of(group_id, self.config.offsets_partitions)
    }

    pub(super) fn now(&self) -> Now {
        let elapsed_ms = self.started.elapsed().as_millis();
        Now {
            monotonic_ms: i64::try_from(elapsed_ms).unwrap_or(i64::MAX),
            wall_ms: self.host.now_ms(),
        }
    }

    /// The moment `at_ms` of the monotonic clock.
    pub(super) fn instant(&self, at_ms: i64) -> Instant {
        let after = Duration::from_millis(u64::try_from(at_ms).unwrap_or(0));
        // No timer needs to be right about the year after next.
        let far = Duration::from_secs(2 * 365 * 24 * 60 * 60);
        self.started + after.min(far)
    }

    fn next_number(&self) -> u64 {
        self.next_number.fetch_add(1, Ordering::Relaxed)
    }

    /// From now on nothing in `partition` is let go.
    pub(super) fn keep_all(&self, partition: i32) {
        self.foreign.lock().insert(partition);
    }

    pub(super) fn keeps_all(&self, partition: i32) -> bool {
        self.foreign.lock().contains(&partition)
    }

    /// Makes sure the partition of a group can be appended to.
    pub(super) async fn prepare(self: &Arc<Self>, group_id: &str) -> Result<(), GroupError> {
        let partition = self.partition_of(group_id);
        if self.journal.is_open(partition) {
            return Ok(());
        }
        let journal = self.journal.clone();
        let opened = self.runtime.spawn_blocking(move || journal.open(partition)).await;
        match opened {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(GroupError::from_store(&error)),
            Err(_cut_short) => Err(GroupError::CoordinatorNotAvailable),
        }
    }

    /// Every group, in no order.
    pub(super) fn slots(&self) -> Vec<Arc<Slot>> {
        self.groups.lock().values().cloned().collect()
    }

    pub(super) fn find(&self, group_id: &str) -> Option<Arc<Slot>> {
        self.groups.lock().get(group_id).cloned()
    }

    fn find_or_create(&self, group_id: &str) -> Arc<Slot> {
        let mut groups = self.groups.lock();
        if let Some(slot) = groups.get(group_id) {
            return slot.clone();
        }
        let group = Group::new(self.limits, self.now());
        let slot = self.slot(group_id, group, Offsets::default());
        groups.insert(slot.id.clone(), slot.clone());
        slot
    }

    fn slot(&self, group_id: &str, group: Group, offsets: Offsets) -> Arc<Slot> {
        let waiters = HashMap::new();
        let cell = Cell { group, offsets, waiters, armed_ms: None, removed: false };
        Arc::new(Slot {
            id: Arc::from(group_id),
            partition: self.partition_of(group_id),
            number: self.next_number(),
            cell: Mutex::new(cell),
        })
    }

    /// Takes in a group found in the log.
    pub(super) fn adopt(
        self: &Arc<Self>,
        group_id: &str,
        value: Option<GroupValue>,
        offsets: Offsets,
    ) {
        let group = match value {
            Some(value) => Group::restore(self.limits, self.now(), value),
            None => Group::new(self.limits, self.now()),
        };
        let undecided = offsets.undecided();
        let slot = self.slot(group_id, group, offsets);
        self.groups.lock().insert(slot.id.clone(), slot.clone());
        undecided.into_iter().for_each(|producer_id| self.note_staged(&slot, producer_id));
        self.on(&slot, |cell, now, effects| cell.group.shrink_to_limit(now, effects));
    }

    /// Runs `event` on a group, then carries out its effects. `None` if there is no such group.
    pub(super) fn with<R>(
        self: &Arc<Self>,
        group_id: &str,
        event: impl FnOnce(&Arc<Slot>, &mut Cell, Now, &mut Vec<Effect>) -> R,
    ) -> Option<R> {
        loop {
            let slot = self.find(group_id)?;
            let mut cell = slot.cell.lock();
            if cell.removed {
                drop(cell);
                self.forget(&slot);
                continue;
            }
            let mut effects = Vec::new();
            let result = event(&slot, &mut cell, self.now(), &mut effects);
            self.settle(&slot, cell, effects);
            return Some(result);
        }
    }

    /// [`Shared::with`], on a new group if there is none.
    pub(super) fn with_new<R>(
        self: &Arc<Self>,
        group_id: &str,
        mut event: impl FnMut(&Arc<Slot>, &mut Cell, Now, &mut Vec<Effect>) -> R,
    ) -> R {
        loop {
            let slot = self.find_or_create(group_id);
            let mut cell = slot.cell.lock();
            if cell.removed {
                drop(cell);
                self.forget(&slot);
                continue;
            }
            let mut effects = Vec::new();
            let result = event(&slot, &mut cell, self.now(), &mut effects);
            self.settle(&slot, cell, effects);
            return result;
        }
    }

    /// Runs `look` on a group that it leaves as it is, but for later session ends: nothing is
    /// carried out, and timers that come too early stay.
    pub(super) fn glance<R>(
        &self,
        group_id: &str,
        look: impl FnOnce(&mut Cell, Now) -> R,
    ) -> Option<R> {
        let slot = self.find(group_id)?;
        let mut cell = slot.cell.lock();
        (!cell.removed).then(|| look(&mut cell, self.now()))
    }

    /// Runs `event` on a group already at hand, removed or not.
    pub(super) fn on(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        event: impl FnOnce(&mut Cell, Now, &mut Vec<Effect>),
    ) {
        let mut cell = slot.cell.lock();
        let mut effects = Vec::new();
        event(&mut cell, self.now(), &mut effects);
        self.settle(slot, cell, effects);
    }

    /// Carries out what an event asked for, sets the timer, and lets go of a group that is nothing.
    fn settle(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        mut cell: MutexGuard<'_, Cell>,
        effects: Vec<Effect>,
    ) {
        self.carry_out(slot, &mut cell, effects);
        let vacant = cell.group.is_vacant() && cell.offsets.is_empty() && cell.waiters.is_empty();
        cell.removed |= vacant;
        if cell.removed {
            if let Some(at_ms) = cell.armed_ms.take() {
                self.timers.disarm(slot, at_ms);
            }
            drop(cell);
            self.forget(slot);
        } else {
            self.arm(slot, &mut cell);
        }
    }

    fn forget(&self, slot: &Arc<Slot>) {
        let mut groups = self.groups.lock();
        if groups.get(&slot.id).is_some_and(|held| Arc::ptr_eq(held, slot)) {
            groups.remove(&slot.id);
        }
    }

    /// Sees to it that the group is woken in time; a wake-up too early does no harm.
    fn arm(&self, slot: &Arc<Slot>, cell: &mut Cell) {
        let Some(at_ms) = cell.group.next_deadline_ms() else {
            return;
        };
        if cell.armed_ms.is_none_or(|armed_ms| at_ms < armed_ms) {
            self.timers.arm(slot, cell.armed_ms, at_ms);
            cell.armed_ms = Some(at_ms);
        }
    }

    /// Does what is due in a group whose timer has been taken off the list.
    pub(super) fn wake(self: &Arc<Self>, slot: &Arc<Slot>) {
        self.on(slot, |cell, now, effects| {
            cell.armed_ms = None;
            if !cell.removed {
                cell.group.tick(now, effects);
            }
        });
    }

    fn carry_out(self: &Arc<Self>, slot: &Arc<Slot>, cell: &mut Cell, effects: Vec<Effect>) {
        let mut queue = VecDeque::from(effects);
        while let Some(effect) = queue.pop_front() {
            match effect {
                Effect::AnswerJoin(waiter, reply) => cell.answer_join(waiter, reply),
                Effect::AnswerSync(waiter, reply) => cell.answer_sync(waiter, reply),
                Effect::Persist(token, value) => {
                    if let Err(error) = self.persist(slot, token, &value) {
                        let mut more = Vec::new();
                        cell.group.stored(self.now(), token, Err(error), &mut more);
                        queue.extend(more);
                    }
                }
            }
        }
    }

    /// Starts the write of a group's record; the group hears of the outcome later.
    fn persist(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        token: Token,
        value: &GroupValue,
    ) -> Result<(), GroupError> {
        let key = records::encode_group_key(&slot.id).map_err(|_long| GroupError::Unknown)?;
        let value = value.encode().map_err(|_long| GroupError::Unknown)?;
        let entry = Entry { key, value: Some(value) };
        let written = self.append(slot.partition, &[entry])?;
        self.when_stored(slot, written, move |cell, now, outcome, effects| {
            cell.group.stored(now, token, outcome, effects);
        });
        Ok(())
    }

    pub(super) fn append(&self, partition: i32, entries: &[Entry]) -> Result<Written, GroupError> {
        let appended = self.journal.append(partition, self.host.now_ms(), entries);
        appended.map_err(|error| GroupError::from_store(&error))
    }

    /// Runs `event` on the group once `written` is stored or has failed, whoever still waits.
    pub(super) fn when_stored(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        written: Written,
        event: impl FnOnce(&mut Cell, Now, Result<(), GroupError>, &mut Vec<Effect>) + Send + 'static,
    ) {
        let (shared, slot) = (self.clone(), slot.clone());
        self.runtime.spawn(async move {
            let outcome = written.stored.await.map_err(|error| GroupError::from_store(&error));
            shared.on(&slot, |cell, now, effects| event(cell, now, outcome, effects));
        });
    }

    /// Makes a place for the answer to a join; the guard resolves to it.
    pub(super) fn park_join(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        cell: &mut Cell,
    ) -> (Waiter, Parking<JoinReply>) {
        let waiter = Waiter(self.next_number());
        let (sender, receiver) = oneshot::channel();
        cell.waiters.insert(waiter, Answer::Join(sender));
        (waiter, self.parking(slot, waiter, receiver))
    }

    /// Makes a place for the answer to a sync; the guard resolves to it.
    pub(super) fn park_sync(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        cell: &mut Cell,
    ) -> (Waiter, Parking<SyncReply>) {
        let waiter = Waiter(self.next_number());
        let (sender, receiver) = oneshot::channel();
        cell.waiters.insert(waiter, Answer::Sync(sender));
        (waiter, self.parking(slot, waiter, receiver))
    }

    fn parking<T>(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        waiter: Waiter,
        receiver: oneshot::Receiver<T>,
    ) -> Parking<T> {
        Parking { shared: self.clone(), slot: slot.clone(), waiter, receiver, answered: false }
    }
}

impl Cell {
    fn answer_join(&mut self, waiter: Waiter, reply: JoinReply) {
        if let Some(Answer::Join(sender)) = self.waiters.remove(&waiter) {
            // Nobody listens any more if the connection is gone; the group was told so separately.
            drop(sender.send(reply));
        }
    }

    fn answer_sync(&mut self, waiter: Waiter, reply: SyncReply) {
        if let Some(Answer::Sync(sender)) = self.waiters.remove(&waiter) {
            drop(sender.send(reply));
        }
    }
}

/// A parked request. Dropped before its answer came, it tells the group that nobody waits.
#[derive(Debug)]
pub(super) struct Parking<T> {
    shared: Arc<Shared>,
    slot: Arc<Slot>,
    waiter: Waiter,
    receiver: oneshot::Receiver<T>,
    answered: bool,
}

impl<T> Parking<T> {
    pub(super) async fn answer(mut self) -> Result<T, GroupError> {
        let answer = (&mut self.receiver).await;
        self.answered = true;
        answer.map_err(|_lost| GroupError::CoordinatorNotAvailable)
    }
}

impl<T> Drop for Parking<T> {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        let (shared, slot, waiter) = (self.shared.clone(), self.slot.clone(), self.waiter);
        shared.on(&slot, |cell, now, effects| {
            if cell.waiters.remove(&waiter).is_some() {
                cell.group.abandon(now, waiter, effects);
            }
        });
    }
}
