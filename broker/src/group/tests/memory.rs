//! A journal in memory whose writes end when the test says so, and a broker around it.

use crate::group::coordinator::{Caller, Coordinator, Host};
use crate::group::{Config, GroupError};
use crate::protocol::{Str, Uuid};
use crate::state_log::{Entry, Journal, Replayed, TxnProducer, Written};
use oncelog::{ProducerEpoch, ProducerId, VerificationGuard};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use tokio::sync::oneshot;

#[derive(Clone, Debug, Default)]
struct Partition {
    start: i64,
    entries: Vec<Entry>,
}

impl Partition {
    fn end(&self) -> i64 {
        self.start + i64::try_from(self.entries.len()).unwrap()
    }
}

/// Outcome of a write that a test holds back.
pub(super) type Held = oneshot::Sender<oncelog::Result<()>>;

#[derive(Debug, Default)]
pub(super) struct MemoryJournal {
    partitions: Mutex<BTreeMap<i32, Partition>>,
    /// While set, writes end only when the test ends them.
    pub(super) holding: AtomicBool,
    pub(super) held: Mutex<Vec<Held>>,
    /// While set, appends are refused.
    pub(super) full: AtomicBool,
}

impl MemoryJournal {
    pub(super) fn records(&self) -> usize {
        self.partitions.lock().values().map(|log| log.entries.len()).sum()
    }

    /// Adds a record as it may be found in the log.
    pub(super) fn plant(&self, partition: i32, key: &'static [u8], value: &'static [u8]) {
        let entry = Entry { key: key.into(), value: Some(value.into()) };
        self.partitions.lock().entry(partition).or_default().entries.push(entry);
    }

    pub(super) fn hold(&self) {
        self.holding.store(true, Ordering::SeqCst);
    }

    /// Ends the oldest write held back.
    pub(super) fn end_one(&self, outcome: oncelog::Result<()>) {
        let held = self.held.lock().remove(0);
        held.send(outcome).expect("the write is waited for, whoever asked for it");
    }
}

pub(super) fn disk_full() -> oncelog::Error {
    oncelog::Error::new(oncelog::ErrorKind::DiskFull, "a test")
}

impl Journal for MemoryJournal {
    fn partitions(&self) -> oncelog::Result<Vec<i32>> {
        Ok(self.partitions.lock().keys().copied().collect())
    }

    fn is_open(&self, partition: i32) -> bool {
        self.partitions.lock().contains_key(&partition)
    }

    fn open(&self, partition: i32) -> oncelog::Result<()> {
        self.partitions.lock().entry(partition).or_default();
        Ok(())
    }

    fn append(&self, partition: i32, _now_ms: i64, entries: &[Entry]) -> oncelog::Result<Written> {
        if self.full.load(Ordering::SeqCst) {
            return Err(disk_full());
        }
        let mut partitions = self.partitions.lock();
        let log = partitions.get_mut(&partition).expect("an open partition");
        let base_offset = log.end();
        log.entries.extend(entries.iter().cloned());
        let (sender, receiver) = oneshot::channel();
        if self.holding.load(Ordering::SeqCst) {
            self.held.lock().push(sender);
        } else {
            sender.send(Ok(())).unwrap();
        }
        let stored = Box::pin(async move { receiver.await.unwrap() });
        Ok(Written { base_offset, stored })
    }

    fn begin_verification(
        &self,
        _partition: i32,
        _id: ProducerId,
        _epoch: ProducerEpoch,
    ) -> oncelog::Result<Option<VerificationGuard>> {
        Ok(None)
    }

    fn append_in_transaction(
        &self,
        partition: i32,
        now_ms: i64,
        entries: &[Entry],
        _producer: TxnProducer,
    ) -> oncelog::Result<Written> {
        self.append(partition, now_ms, entries)
    }

    fn bounds(&self, partition: i32) -> oncelog::Result<(i64, i64)> {
        let partitions = self.partitions.lock();
        let log = partitions.get(&partition).expect("an open partition");
        Ok((log.start, log.end()))
    }

    fn trim(&self, partition: i32, before: i64) -> oncelog::Result<()> {
        let mut partitions = self.partitions.lock();
        let log = partitions.get_mut(&partition).expect("an open partition");
        let gone = usize::try_from(before - log.start).unwrap();
        log.entries.drain(..gone);
        log.start = before;
        Ok(())
    }

    fn replay(&self, partition: i32, visit: &mut dyn FnMut(Replayed<'_>)) -> oncelog::Result<()> {
        let log = self.partitions.lock().get(&partition).cloned().unwrap_or_default();
        for (offset, entry) in (log.start..).zip(&log.entries) {
            let (key, value) = (&entry.key, entry.value.as_deref());
            visit(Replayed::Record { offset, producer_id: None, key, value });
        }
        Ok(())
    }
}

/// Topics `t` (4 partitions, id 1) and `u` (1 partition, id 2).
#[derive(Debug, Default)]
pub(super) struct TestHost {
    pub(super) now_ms: AtomicI64,
    next_id: AtomicU64,
}

impl Host for TestHost {
    fn now_ms(&self) -> i64 {
        self.now_ms.load(Ordering::SeqCst)
    }

    fn random_id(&self) -> Uuid {
        let next = self.next_id.fetch_add(1, Ordering::SeqCst);
        Uuid(u128::from(next).to_be_bytes())
    }

    fn offsets_topic_id(&self) -> Uuid {
        Uuid([9; 16])
    }

    fn partition_count(&self, topic: &str) -> Option<i32> {
        match topic {
            "t" => Some(4),
            "u" => Some(1),
            _ => None,
        }
    }

    fn topic_name(&self, id: Uuid) -> Option<Str> {
        let names = [("t", topic_id("t")), ("u", topic_id("u"))];
        let found = names.into_iter().find(|(_, known)| *known == id);
        found.map(|(name, _)| Str::from_static(name))
    }

    fn topic_id(&self, name: &str) -> Option<Uuid> {
        self.partition_count(name).map(|_| topic_id(name))
    }
}

pub(super) fn topic_id(name: &str) -> Uuid {
    Uuid([name.as_bytes()[0]; 16])
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) journal: Arc<MemoryJournal>,
    pub(super) host: Arc<TestHost>,
    pub(super) config: Config,
    pub(super) groups: Coordinator,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(Config::default())
    }

    pub(super) fn with(config: Config) -> Self {
        Self::on(Arc::default(), config)
    }

    pub(super) fn on(journal: Arc<MemoryJournal>, config: Config) -> Self {
        let host = Arc::new(TestHost::default());
        host.now_ms.store(super::bench::EPOCH_MS, Ordering::SeqCst);
        let groups = Coordinator::open_on(config.clone(), journal.clone(), host.clone()).unwrap();
        Self { journal, host, config, groups }
    }

    /// The broker after a restart: what is in the journal is all that is left.
    pub(super) fn restarted(self) -> Self {
        let Self { journal, host, config, groups } = self;
        drop(groups);
        let groups = Coordinator::open_on(config.clone(), journal.clone(), host.clone()).unwrap();
        Self { journal, host, config, groups }
    }
}

pub(super) fn caller() -> Caller {
    Caller::new("client", "/127.0.0.1")
}

pub(super) fn code(error: GroupError) -> i16 {
    error.code()
}
