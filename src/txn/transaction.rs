//! What an embedder holds: a transaction that is open.

use super::commit::CommitTicket;
use super::coordinator::Coordinator;
use super::record::{GROUP_BYTES_MAX, Participant, Position};
use crate::batch::{BatchBuilder, MarkerKind};
use crate::error::{Error, ErrorKind, Result};
use crate::log::{Appended, Log};
use crate::options::LogName;
use crate::producer::reserved::PRODUCER_EPOCH;
use crate::types::{Offset, ProducerId, Sequence};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Most bytes that the logs and positions of one transaction may take in the transaction log.
const SIZE_MAX: usize = 16 << 20;

/// Staged bytes of one transaction from which on the disk is set to work while it is still open.
const UNWRITTEN_BYTES_MAX: usize = 4 << 20;

/// One transaction over any logs of an engine: what is appended in it, and the positions stored in it,
/// come into effect together or not at all, wherever a crash falls.
///
/// Made by [`Engine::begin`](crate::Engine::begin). Readers of [`Isolation::ReadCommitted`] see
/// nothing of it before it is committed, and nothing behind it in the logs it has appended to: end it
/// soon. Dropping it aborts it, as does closing the engine.
///
/// ```
/// use oncelog::batch::BatchBuilder;
/// use oncelog::{Engine, EngineOptions, LogConfig, LogName, Offset};
///
/// # fn main() -> oncelog::Result<()> {
/// # let directory = tempfile::tempdir().expect("a temporary directory");
/// # let path = directory.path();
/// let engine = Engine::open(EngineOptions::new(path))?;
/// let log = |topic| engine.open_log(&LogName::new(topic, 0)?, LogConfig::default());
/// let (orders, bills, mails) = (log("orders")?, log("bills")?, log("mails")?);
///
/// let record = |value: &[u8]| -> oncelog::Result<BatchBuilder> {
///     let mut batch = BatchBuilder::new();
///     batch.append(1_700_000_000_000, None, Some(value), &[])?;
///     Ok(batch)
/// };
/// let mut transaction = engine.begin()?;
/// transaction.append(&bills, record(b"anna: 5")?)?;
/// transaction.append(&mails, record(b"anna: your bill")?)?;
/// transaction.store_position("billing", &orders, Offset::new(1))?; // order 0 is dealt with
/// transaction.commit()?.wait()?; // or `.await`
///
/// assert_eq!(engine.position("billing", &orders)?, Some(Offset::new(1)));
/// # engine.close()
/// # }
/// ```
///
/// [`Isolation::ReadCommitted`]: crate::Isolation::ReadCommitted
#[must_use = "a transaction that is dropped is aborted"]
pub struct Transaction {
    coordinator: Arc<Coordinator>,
    body: Arc<Mutex<Body>>,
}

/// What a transaction did so far. The coordinator aborts it from outside when the engine closes.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) slot: u32,
    pub(super) producer: ProducerId,
    parts: BTreeMap<LogName, Part>,
    positions: BTreeMap<(String, LogName), Position>,
    /// Bytes staged since the disk was last set to work.
    unwritten: usize,
    /// Bytes that logs and positions will take in the decision.
    size: usize,
    /// Why it is over, if it is.
    ended: Option<Error>,
}

/// What a transaction appended to one log.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) log: Log,
    pub(super) first: Offset,
    pub(super) last: Offset,
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("body", &self.body).finish_non_exhaustive()
    }
}

impl Transaction {
    pub(super) fn new(coordinator: Arc<Coordinator>, body: Arc<Mutex<Body>>) -> Self {
        Self { coordinator, body }
    }

    /// Appends a batch to `log` as part of this transaction. Producer id, epoch and the
    /// transactional flag of `batch` are set here; a sequence is not needed.
    ///
    /// Uses the CPU only, as [`Log::append`]; after every 4 MiB the directory's commit thread is asked
    /// to write what has piled up, or, without [`EngineOptions::background`], this thread writes it.
    ///
    /// # Errors
    /// Nothing was appended if this returns an error, and the transaction can go on, except after
    /// [`ErrorKind::Poisoned`] and [`ErrorKind::Closed`]: then only aborting it is left.
    /// - Those of [`Log::append`] about the batch, and [`ErrorKind::TooManyProducers`].
    /// - [`ErrorKind::Busy`], [`ErrorKind::DiskFull`]: try again later.
    /// - [`ErrorKind::Invalid`]: the log is another engine's, or the transaction has grown over more
    ///   than some 100,000 logs and positions.
    /// - [`ErrorKind::Poisoned`], [`ErrorKind::Closed`]: the log failed, was deleted, or the engine
    ///   was closed.
    ///
    /// # Complexity
    /// O(size of the batch + log of the number of logs taking part).
    ///
    /// [`EngineOptions::background`]: crate::EngineOptions::background
    pub fn append(&mut self, log: &Log, batch: BatchBuilder) -> Result<Appended> {
        let mut body = self.body.lock();
        body.check_open()?;
        self.coordinator.check_own(log)?;
        let bytes = batch.producer(body.producer, PRODUCER_EPOCH, Sequence::NONE);
        let bytes = bytes.transactional().build()?;
        body.reserve(log)?;
        let appended = log.stage_in_transaction(&bytes)?;
        body.note(log, &appended);
        body.unwritten += bytes.len();
        if body.unwritten >= UNWRITTEN_BYTES_MAX {
            body.unwritten = 0;
            self.coordinator.write_early(log);
        }
        Ok(appended)
    }

    /// Stores that `group` wants `log` from `next` on. The position counts once this transaction is
    /// committed; of two transactions that store the same one, the one committed later wins.
    ///
    /// The log need not be one that was appended to. The position belongs to its name and id: a log
    /// created anew under the name with another id has none.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`]: the group's name is empty or longer than 32,767 bytes, the offset is
    /// negative or the largest number there is, the log is another engine's, or the transaction has
    /// grown too large; [`ErrorKind::Closed`].
    pub fn store_position(&mut self, group: &str, log: &Log, next: Offset) -> Result<()> {
        let mut body = self.body.lock();
        body.check_open()?;
        self.coordinator.check_own(log)?;
        if group.is_empty() || group.len() > GROUP_BYTES_MAX {
            let context = format!("a group's name of {} bytes", group.len());
            return Err(Error::new(ErrorKind::Invalid, context));
        }
        if !(0..i64::MAX).contains(&next.get()) {
            return Err(Error::new(ErrorKind::Invalid, format!("position {next} is no offset")));
        }
        let (group, name) = (group.to_owned(), log.name().clone());
        let key = (group.clone(), name.clone());
        let position = Position { group, log: name, id: log.id(), next };
        if !body.positions.contains_key(&key) {
            body.check_room(position.size())?;
            body.size += position.size();
        }
        body.positions.insert(key, position);
        Ok(())
    }

    /// Commits. Uses the CPU only; the ticket says when it is done.
    ///
    /// The outcome is one for all logs and positions, whatever happens from here on. Two rounds of
    /// flushes pass before the ticket resolves, however many logs take part: one for the records and
    /// the decision, one for the markers that let readers see them. A transaction in one log without
    /// positions takes one; one of positions only takes one, too.
    ///
    /// # Errors
    /// The transaction is aborted if this returns an error: [`ErrorKind::Poisoned`] or
    /// [`ErrorKind::Closed`] if a log failed or was deleted meanwhile, or the engine closed.
    ///
    /// # Complexity
    /// O(logs + positions).
    pub fn commit(self) -> Result<CommitTicket> {
        let mut body = self.body.lock();
        body.check_open()?;
        let commit = self.coordinator.commit(&mut body);
        body.ended = Some(Error::new(ErrorKind::Closed, "the transaction has ended"));
        drop(body);
        let commit = commit?;
        commit.advance();
        Ok(CommitTicket::new(commit))
    }

    /// Aborts: nothing of it will be seen by read-committed readers, nor its positions. They read on
    /// past it once the markers staged here are durable, for which nobody waits.
    pub fn abort(self) {
        drop(self);
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        let ended = Error::new(ErrorKind::Closed, "the transaction was aborted");
        self.coordinator.abort(&mut self.body.lock(), ended);
    }
}

impl Body {
    pub(super) fn new(slot: u32, producer: ProducerId) -> Self {
        Self {
            slot,
            producer,
            parts: BTreeMap::new(),
            positions: BTreeMap::new(),
            unwritten: 0,
            size: 0,
            ended: None,
        }
    }

    fn check_open(&self) -> Result<()> {
        self.ended.clone().map_or(Ok(()), Err)
    }

    /// Whether it was open; it no longer is.
    pub(super) fn end(&mut self, why: Error) -> bool {
        let open = self.ended.is_none();
        self.ended.get_or_insert(why);
        open
    }

    pub(super) fn parts(&self) -> impl ExactSizeIterator<Item = &Part> {
        self.parts.values()
    }

    pub(super) fn positions(&self) -> impl ExactSizeIterator<Item = &Position> {
        self.positions.values()
    }

    /// Makes sure that an append to `log` can be named in the decision.
    fn reserve(&mut self, log: &Log) -> Result<()> {
        match self.parts.get(log.name()) {
            Some(part) if part.log.is_same(log) => Ok(()),
            Some(part) => {
                part.log.check_alive()?;
                let context = format!("{} was replaced in the course of a transaction", log.name());
                Err(Error::new(ErrorKind::Closed, context))
            }
            None => self.check_room(size_of(log)),
        }
    }

    fn check_room(&self, bytes: usize) -> Result<()> {
        if self.size + bytes > SIZE_MAX {
            let (logs, positions) = (self.parts.len(), self.positions.len());
            let context = format!("a transaction of {logs} logs and {positions} positions is full");
            return Err(Error::new(ErrorKind::Invalid, context));
        }
        Ok(())
    }

    fn note(&mut self, log: &Log, appended: &Appended) {
        if let Some(part) = self.parts.get_mut(log.name()) {
            part.last = appended.last_offset;
            return;
        }
        let (first, last) = (appended.base_offset, appended.last_offset);
        self.size += size_of(log);
        self.parts.insert(log.name().clone(), Part { log: log.clone(), first, last });
    }
}

/// What a log takes in the decision.
fn size_of(log: &Log) -> usize {
    let (first, last) = (Offset::ZERO, Offset::ZERO);
    Part { log: log.clone(), first, last }.participant().size()
}

impl Part {
    /// What the decision says of it.
    pub(super) fn participant(&self) -> Participant {
        let (log, id) = (self.log.name().clone(), self.log.id());
        Participant { log, id, first: self.first, last: self.last }
    }
}

/// Stages the marker that ends a transaction of `producer` in each log, whatever became of the
/// others; `false` if a log that works has not taken it.
pub(super) fn stage_abort<'a>(producer: ProducerId, logs: impl Iterator<Item = &'a Log>) -> bool {
    let mut taken = true;
    for log in logs {
        // A log that failed or was deleted takes no marker and needs none: it has no readers.
        if log.stage_marker(producer, MarkerKind::Abort).is_err() {
            taken &= log.check_alive().is_err();
        }
        log.kick();
    }
    taken
}
