//! The engine's side of all its transactions: slots, numbers, positions, and the transaction log while
//! it is written.
//!
//! Order of locks: gate → loading → (registry) ; a transaction's body → gate → a commit's phase → state
//! → a log's state. Nothing waits for the disk under `state`.

use super::commit::{Commit, Decided, Phase};
use super::positions::Positions;
use super::record::{Decision, Record, Verdict};
use super::recover::{self, FindLog, Recovered};
use super::transaction::{Body, Part, Transaction, stage_abort};
use crate::batch::{BatchBuilder, MarkerKind};
use crate::engine::Shared;
use crate::error::{Error, ErrorKind, Result};
use crate::log::{Appended, Log};
use crate::options::LogConfig;
use crate::producer::reserved::{Owner, SLOT_BITS};
use crate::types::{Offset, ProducerId};
use parking_lot::{Mutex, MutexGuard, RwLock, RwLockWriteGuard};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::mem;
use std::sync::{Arc, OnceLock, Weak};

/// Bytes of the transaction log after which it is begun anew, unless the engine's checkpoints are
/// closer together.
const RESTATE_BYTES: u64 = 4 << 20;

/// Size at which restated positions go into a record of their own.
const POSITIONS_BYTES: usize = 64 << 10;

/// All transactions of an engine.
pub(crate) struct Coordinator {
    shared: Arc<Shared>,
    /// Held for reading while a decision is staged, for writing by whoever removes what decisions name.
    gate: RwLock<()>,
    /// Held while the transaction log is loaded or created.
    loading: Mutex<()>,
    owner: OnceLock<Owner>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    log: TransactionLog,
    next_number: i64,
    positions: Positions,
    free_slots: BTreeSet<u32>,
    next_slot: u32,
    /// Transactions that are open.
    open: BTreeMap<u32, Weak<Mutex<Body>>>,
    /// Transactions that are being committed.
    unfinished: BTreeMap<u32, Unfinished>,
    /// Committed, with no record that says so yet.
    unnoted: Vec<i64>,
    /// Bytes since everything was last restated, and how many that took.
    bytes: u64,
    restated_bytes: u64,
    /// Where the last restatement begins and ends, if what lies before it can still go.
    restated: Option<(Offset, Offset)>,
    closed: bool,
}

#[derive(Debug, Default)]
enum TransactionLog {
    #[default]
    Unloaded,
    Ready(Log),
    /// It is damaged: nothing can be decided.
    Broken(Error),
}

#[derive(Debug)]
struct Unfinished {
    commit: Arc<Commit>,
    /// How it ends, once that is settled.
    committed: Option<bool>,
}

impl fmt::Debug for Coordinator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coordinator").field("owner", &self.owner).finish_non_exhaustive()
    }
}

impl Coordinator {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            gate: RwLock::new(()),
            loading: Mutex::new(()),
            owner: OnceLock::new(),
            state: Mutex::default(),
        }
    }

    /// The planted bug of markers that do not wait for the decision.
    pub(super) fn plants_early_markers(&self) -> bool {
        self.shared.options.planted().txn_markers_early
    }

    /// Keeps others from loading or creating the log meanwhile.
    pub(crate) fn lock_loading(&self) -> MutexGuard<'_, ()> {
        self.loading.lock()
    }

    /// Whether the transaction log is loaded.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if it is, and damaged.
    pub(crate) fn is_ready(&self) -> Result<bool> {
        match &self.state.lock().log {
            TransactionLog::Unloaded => Ok(false),
            TransactionLog::Ready(_) => Ok(true),
            TransactionLog::Broken(error) => Err(error.clone()),
        }
    }

    /// Reads the transaction log and brings every transaction that is not finished to its end, in all
    /// logs; durable when this returns. `loaded` are the logs that may hold an open one.
    ///
    /// Damage is not an error here: everything but transactions works without.
    pub(crate) fn load(&self, log: &Log, loaded: &[Log], find: FindLog<'_>) -> Result<()> {
        log.set_config(config())?;
        let owner = Owner::new(log.id());
        let planted = self.shared.options.planted();
        let loaded = match recover::recover(log, loaded, find, owner, planted) {
            Ok(Recovered { next_number, positions }) => {
                let mut state = self.state.lock();
                state.next_number = next_number;
                state.positions = positions;
                state.bytes = log.size_bytes();
                TransactionLog::Ready(log.clone())
            }
            Err(error) if matches!(error.kind(), ErrorKind::Corrupt { .. }) => {
                TransactionLog::Broken(error)
            }
            Err(error) => return Err(error),
        };
        // Always the same: it is the log's.
        self.owner.get_or_init(|| owner);
        self.state.lock().log = loaded;
        Ok(())
    }

    /// Begins again without anything of what the damaged transaction log says.
    pub(crate) fn reset(&self, logs: &[Log]) -> Result<()> {
        let is_log = |log: &&Log| *log.name() == super::log_name();
        let Some(log) = logs.iter().find(is_log) else { return Ok(()) };
        recover::abort_all(logs, |id| self.owns(id))?;
        // Last: until here it is damaged, and all of this can be done again.
        log.trim_before(log.offsets().log_end_offset)?;
        let mut state = self.state.lock();
        *state = State { log: TransactionLog::Ready(log.clone()), ..State::default() };
        Ok(())
    }

    /// Whether a producer id is one of this engine's transactions.
    pub(crate) fn owns(&self, id: ProducerId) -> bool {
        self.owner.get().is_some_and(|owner| owner.owns(id))
    }

    pub(super) fn check_own(&self, log: &Log) -> Result<()> {
        if log.is_of(&self.shared) {
            return Ok(());
        }
        let context = format!("{} is a log of another engine", log.name());
        Err(Error::new(ErrorKind::Invalid, context))
    }

    pub(crate) fn begin(self: &Arc<Self>) -> Result<Transaction> {
        let mut state = self.state.lock();
        state.check_open()?;
        let slot = match state.free_slots.pop_first() {
            Some(slot) => slot,
            None => {
                let slot = state.next_slot;
                state.next_slot += 1;
                assert!(slot >> SLOT_BITS == 0, "memory ends before slots do");
                slot
            }
        };
        let owner = self.owner.get().expect("set before the log was ready");
        let body = Arc::new(Mutex::new(Body::new(slot, owner.producer(slot))));
        state.open.insert(slot, Arc::downgrade(&body));
        drop(state);
        Ok(Transaction::new(Arc::clone(self), body))
    }

    pub(crate) fn position(&self, group: &str, log: &Log) -> Result<Option<Offset>> {
        self.check_own(log)?;
        Ok(self.state.lock().positions.get(group, log.name(), log.id()))
    }

    /// Sets the disk to work on a transaction that is still open.
    pub(super) fn write_early(&self, log: &Log) {
        if self.shared.options.background {
            log.kick();
        } else {
            log.write_staged();
        }
    }

    /// Stages the decision. If this fails the transaction is aborted.
    pub(super) fn commit(self: &Arc<Self>, body: &mut Body) -> Result<Arc<Commit>> {
        let _gate = self.gate.read();
        let staged = self.stage_commit(body);
        let mut state = self.state.lock();
        state.open.remove(&body.slot);
        match staged {
            Ok(commit) => Ok(commit),
            Err(error) => {
                drop(state);
                self.stage_abort(body);
                Err(error)
            }
        }
    }

    fn stage_commit(self: &Arc<Self>, body: &Body) -> Result<Arc<Commit>> {
        body.parts().try_for_each(|part| part.log.check_alive())?;
        let parts: Vec<Part> = body.parts().cloned().collect();
        let mut state = self.state.lock();
        state.check_open()?;
        let (decision, phase) = if body.positions().len() == 0 && parts.len() < 2 {
            // With a single log there is nothing to agree on: the marker is the decision.
            let mut markers = Vec::new();
            for (index, part) in parts.iter().enumerate() {
                let appended = part.log.stage_marker(body.producer, MarkerKind::Commit)?;
                markers.push((index, appended.last_offset.next()));
            }
            (None, Phase::Ending { markers, next: 0, outcome: Ok(()) })
        } else {
            parts.iter().for_each(|part| part.log.want_durable());
            (Some(self.stage_decision(&mut state, body)?), Phase::Deciding { next: 0 })
        };
        let ids = (body.slot, body.producer);
        let commit = Arc::new(Commit::new(Arc::clone(self), ids, parts, decision, phase));
        let unfinished = Unfinished { commit: Arc::clone(&commit), committed: None };
        state.unfinished.insert(body.slot, unfinished);
        Ok(commit)
    }

    fn stage_decision(&self, state: &mut State, body: &Body) -> Result<Decided> {
        let number = state.next_number;
        let decision = Decision {
            number,
            producer: body.producer,
            committed: state.unnoted.clone(),
            logs: body.parts().map(Part::participant).collect(),
            positions: body.positions().cloned().collect(),
        };
        let positions = decision.positions.clone();
        let appended = self.stage(state, &Record::Decision(decision))?;
        state.next_number += 1;
        state.unnoted.clear();
        if self.shared.options.planted().txn_positions_early {
            positions.iter().for_each(|position| state.positions.store(number, position));
        }
        let log = state.log()?.clone();
        Ok(Decided { number, positions, log, end: appended.last_offset.next() })
    }

    /// Past the commit point: the positions count from now on.
    pub(super) fn committed(&self, slot: u32, decided: &Decided) {
        let mut state = self.state.lock();
        for position in &decided.positions {
            state.positions.store(decided.number, position);
        }
        state.unnoted.push(decided.number);
        if let Some(unfinished) = state.unfinished.get_mut(&slot) {
            unfinished.committed = Some(true);
        }
    }

    /// Stages that a decision does not hold, whatever its logs say later; where the record ends.
    pub(super) fn refuse(&self, slot: u32, decided: &Decided) -> Result<Offset> {
        let verdict = Verdict { number: decided.number, committed: false };
        let mut state = self.state.lock();
        if let Some(unfinished) = state.unfinished.get_mut(&slot) {
            unfinished.committed = Some(false);
        }
        let appended = self.stage(&mut state, &Record::Verdicts(vec![verdict]))?;
        Ok(appended.last_offset.next())
    }

    /// Nothing is left to do for the transaction of `slot`.
    pub(super) fn finished(&self, slot: u32) {
        let mut state = self.state.lock();
        state.unfinished.remove(&slot);
        state.free_slots.insert(slot);
    }

    /// Only a reopening tells how the transaction of `slot` ended. Its slot is not used again: some log
    /// may still hold it open.
    pub(super) fn in_doubt(&self, slot: u32) {
        self.state.lock().unfinished.remove(&slot);
    }

    pub(super) fn abort(&self, body: &mut Body, why: Error) {
        if body.end(why) {
            self.state.lock().open.remove(&body.slot);
            self.stage_abort(body);
        }
    }

    fn stage_abort(&self, body: &Body) {
        if stage_abort(body.producer, body.parts().map(|part| &part.log)) {
            // The slot's next transaction comes behind the markers in every log.
            self.state.lock().free_slots.insert(body.slot);
        }
    }

    /// Waits for every commit under way, then makes it durable how they ended, and keeps new ones out
    /// while the guard lives. Comes before anything that removes what a decision may name: a log,
    /// or the end of one.
    ///
    /// # Errors
    /// [`ErrorKind::Poisoned`] if the transaction log failed.
    pub(crate) fn settle(&self) -> Result<RwLockWriteGuard<'_, ()>> {
        let gate = self.gate.write();
        self.drive();
        self.note()?;
        Ok(gate)
    }

    /// Waits for the commits that are under way now.
    pub(crate) fn drive(&self) {
        let commits: Vec<Arc<Commit>> =
            self.state.lock().unfinished.values().map(|u| Arc::clone(&u.commit)).collect();
        for commit in commits {
            // Whoever holds the ticket learns of a failure.
            drop(commit.wait());
        }
    }

    fn note(&self) -> Result<()> {
        let (log, end) = {
            let mut state = self.state.lock();
            if state.unnoted.is_empty() {
                return Ok(());
            }
            let verdicts = state.unnoted.iter().map(|n| Verdict { number: *n, committed: true });
            let record = Record::Verdicts(verdicts.collect());
            let appended = self.stage(&mut state, &record)?;
            state.unnoted.clear();
            (state.log()?.clone(), appended.last_offset.next())
        };
        log.durable(end).wait()
    }

    /// Lets go of what a restatement has made superfluous.
    pub(crate) fn trim(&self) -> Result<()> {
        let (log, start) = {
            let state = self.state.lock();
            let (Some((start, end)), Ok(log)) = (state.restated, state.log()) else {
                return Ok(());
            };
            let log = log.clone();
            if !matches!(log.durable(end).outcome(), Some(Ok(()))) {
                return Ok(());
            }
            (log, start)
        };
        log.trim_before(start)?;
        let mut state = self.state.lock();
        state.restated = state.restated.filter(|(restated, _)| *restated != start);
        Ok(())
    }

    /// Aborts what is open and waits for what is being committed; refuses everything from now on.
    pub(crate) fn close(&self) -> Result<()> {
        let open: Vec<Weak<Mutex<Body>>> = {
            let mut state = self.state.lock();
            state.closed = true;
            state.open.values().cloned().collect()
        };
        for body in open.iter().filter_map(Weak::upgrade) {
            self.abort(&mut body.lock(), closed());
        }
        self.settle().map(drop)?;
        // With a decision in doubt no data directory is in order, whatever its own logs say.
        match &self.state.lock().log {
            TransactionLog::Ready(log) => log.check_alive(),
            TransactionLog::Unloaded | TransactionLog::Broken(_) => Ok(()),
        }
    }

    /// Forgets commits under way, so that nothing keeps the engine's files open.
    pub(crate) fn abandon(&self) {
        let unfinished = mem::take(&mut self.state.lock().unfinished);
        drop(unfinished);
    }

    fn stage(&self, state: &mut State, record: &Record) -> Result<Appended> {
        let limit = RESTATE_BYTES.min(self.shared.options.checkpoint_bytes);
        if state.bytes > limit.max(2 * state.restated_bytes) {
            self.restate(state)?;
        }
        self.put(state, record)
    }

    fn put(&self, state: &mut State, record: &Record) -> Result<Appended> {
        let mut batch = BatchBuilder::new();
        batch.append(self.shared.io.clock.now_ms(), None, Some(&record.encode()), &[])?;
        let bytes = batch.build()?;
        let appended = state.log()?.stage_record(&bytes)?;
        state.bytes += bytes.len() as u64;
        Ok(appended)
    }

    /// Says again all that still matters, in a segment of its own, so that older ones can go.
    fn restate(&self, state: &mut State) -> Result<()> {
        let log = state.log()?.clone();
        log.roll_now();
        let start = log.offsets().log_end_offset;
        state.bytes = 0;
        let mut chunk = Vec::new();
        let mut size = 0;
        let positions: Vec<_> = state.positions.all().collect();
        for position in positions {
            size += position.position.size();
            chunk.push(position);
            if size >= POSITIONS_BYTES {
                size = 0;
                self.put(state, &Record::Positions(mem::take(&mut chunk)))?;
            }
        }
        self.put(state, &Record::Positions(chunk))?;
        let unnoted = mem::take(&mut state.unnoted).into_iter();
        let mut verdicts: Vec<_> =
            unnoted.map(|number| Verdict { number, committed: true }).collect();
        let unfinished: Vec<Decision> = {
            let decisions = state.unfinished.values().filter_map(|unfinished| {
                let decision = unfinished.commit.decision()?;
                let number = decision.number;
                verdicts
                    .extend(unfinished.committed.map(|committed| Verdict { number, committed }));
                Some(decision)
            });
            decisions.collect()
        };
        for decision in unfinished {
            self.put(state, &Record::Decision(decision))?;
        }
        self.put(state, &Record::Verdicts(verdicts))?;
        state.restated_bytes = state.bytes;
        state.restated = Some((start, log.offsets().log_end_offset));
        Ok(())
    }
}

impl State {
    fn log(&self) -> Result<&Log> {
        match &self.log {
            TransactionLog::Ready(log) => Ok(log),
            TransactionLog::Broken(error) => Err(error.clone()),
            TransactionLog::Unloaded => Err(closed()),
        }
    }

    fn check_open(&self) -> Result<()> {
        if self.closed {
            return Err(closed());
        }
        self.log()?.check_alive()
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the engine was closed")
}

/// The transaction log keeps everything until it is restated, and takes decisions of any size.
fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 64 << 20,
        max_message_bytes: 64 << 20,
        retention_ms: -1,
        timestamp_after_max_ms: i64::MAX,
        ..LogConfig::default()
    }
}
