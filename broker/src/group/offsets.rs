//! The offsets a group has committed, and the ones its producers have yet to decide on.
//!
//! Writes to the log end in any order; what counts is their order in the log. So each entry
//! remembers the log offset of the latest write applied to it, and an older one that arrives late
//! changes nothing. A removed entry stays, empty, while writes to it are under way.

use super::records::{OffsetValue, TopicPartition};
use super::state::{Group, State};
use super::subscription::Subscribed;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a fetch finds for a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fetched {
    /// The committed offset.
    Committed(OffsetValue),
    /// Nothing was committed.
    Nothing,
    /// A transaction that would change it is undecided, and the client wants to know (G-29).
    Unstable,
}

/// An offset as a record of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stored {
    value: OffsetValue,
    log_offset: i64,
}

#[derive(Debug)]
struct Entry {
    committed: Option<OffsetValue>,
    /// Log offset of the latest commit or removal applied; −1 for none.
    latest: i64,
    /// Writes begun and not yet finished.
    under_way: u32,
    /// Per producer id, what it will commit if its transaction commits.
    pending: BTreeMap<i64, Stored>,
}

impl Entry {
    const fn new() -> Self {
        Self { committed: None, latest: -1, under_way: 0, pending: BTreeMap::new() }
    }

    fn is_blank(&self) -> bool {
        self.committed.is_none() && self.under_way == 0 && self.pending.is_empty()
    }
}

/// When the offsets of a group expire (G-31).
#[derive(Debug)]
pub(super) enum Expiry {
    /// Not while the group is as it is.
    Never,
    /// So long after each commit.
    AfterCommit,
    /// So long after this moment.
    After(i64),
    /// So long after the commit, but only where no member reads the topic.
    Unread(Subscribed),
}

impl Group {
    /// What the state of the group means for its offsets.
    pub(super) fn offset_expiry(&self) -> Expiry {
        match self.state {
            State::Empty if self.protocol_type.is_none() => Expiry::AfterCommit,
            State::Empty if self.state_since_ms >= 0 => Expiry::After(self.state_since_ms),
            State::Empty => Expiry::AfterCommit,
            State::Stable if self.runs_consumer_protocol() => Expiry::Unread(self.subscribed()),
            _ => Expiry::Never,
        }
    }
}

/// The offsets of one group.
#[derive(Debug, Default)]
pub(super) struct Offsets {
    topics: BTreeMap<Arc<str>, BTreeMap<i32, Entry>>,
}

impl Offsets {
    fn entry(&mut self, partition: &TopicPartition) -> &mut Entry {
        let topic = self.topics.entry(partition.topic.clone()).or_default();
        topic.entry(partition.partition).or_insert_with(Entry::new)
    }

    /// A write to `partition` is on its way to the log.
    pub(super) fn begin(&mut self, partition: &TopicPartition) {
        self.entry(partition).under_way += 1;
    }

    /// A write begun before was stored at `log_offset`: a commit, or a removal if `value` is `None`.
    pub(super) fn finish(
        &mut self,
        partition: &TopicPartition,
        log_offset: i64,
        value: Option<OffsetValue>,
    ) {
        self.entry(partition).under_way -= 1;
        self.apply(partition, log_offset, value);
    }

    /// A write begun before could not be stored.
    pub(super) fn fail(&mut self, partition: &TopicPartition) {
        self.entry(partition).under_way -= 1;
        self.drop_if_blank(partition);
    }

    /// What the record at `log_offset` says, unless a later one has spoken.
    pub(super) fn apply(
        &mut self,
        partition: &TopicPartition,
        log_offset: i64,
        value: Option<OffsetValue>,
    ) {
        let entry = self.entry(partition);
        if value.is_none() {
            // A removal takes undecided offsets along (G-28).
            entry.pending.retain(|_, stored| stored.log_offset > log_offset);
        }
        if log_offset > entry.latest {
            entry.latest = log_offset;
            entry.committed = value;
        }
        self.drop_if_blank(partition);
    }

    /// A producer's transaction will commit this, if it commits (G-25).
    pub(super) fn stage(
        &mut self,
        producer_id: i64,
        partition: &TopicPartition,
        log_offset: i64,
        value: OffsetValue,
    ) {
        self.entry(partition).pending.insert(producer_id, Stored { value, log_offset });
    }

    /// A producer's transaction has ended: its offsets become committed, or never were (G-27).
    pub(super) fn end_transaction(&mut self, producer_id: i64, commit: bool) {
        for entry in self.topics.values_mut().flat_map(BTreeMap::values_mut) {
            let Some(stored) = entry.pending.remove(&producer_id) else {
                continue;
            };
            if commit && stored.log_offset > entry.latest {
                entry.latest = stored.log_offset;
                entry.committed = Some(stored.value);
            }
        }
        self.drop_blanks();
    }

    /// The producers whose transactions have yet to end.
    pub(super) fn undecided(&self) -> BTreeSet<i64> {
        let entries = self.topics.values().flat_map(BTreeMap::values);
        entries.flat_map(|entry| entry.pending.keys().copied()).collect()
    }

    /// What is committed for a partition (G-29).
    #[must_use]
    pub(super) fn fetch(&self, topic: &str, partition: i32, require_stable: bool) -> Fetched {
        let entry = self.topics.get(topic).and_then(|topic| topic.get(&partition));
        match entry {
            Some(entry) if require_stable && !entry.pending.is_empty() => Fetched::Unstable,
            Some(Entry { committed: Some(value), .. }) => Fetched::Committed(value.clone()),
            _ => Fetched::Nothing,
        }
    }

    /// Whether a partition has, or may get, an offset.
    #[must_use]
    pub(super) fn holds(&self, topic: &str, partition: i32) -> bool {
        self.topics.get(topic).is_some_and(|topic| topic.contains_key(&partition))
    }

    /// Every partition with a committed offset, by topic.
    pub(super) fn committed_partitions(&self) -> impl Iterator<Item = (&Arc<str>, Vec<i32>)> {
        let topics = self.topics.iter().map(|(topic, partitions)| {
            let committed = partitions.iter().filter(|(_, entry)| entry.committed.is_some());
            (topic, committed.map(|(partition, _)| *partition).collect::<Vec<_>>())
        });
        topics.filter(|(_, partitions)| !partitions.is_empty())
    }

    /// Every partition that has, or may get, an offset: what a deletion must cover.
    #[must_use]
    pub(super) fn partitions(&self) -> Vec<TopicPartition> {
        let all = self.topics.iter().flat_map(|(topic, partitions)| {
            let of =
                |partition: &i32| TopicPartition { topic: topic.clone(), partition: *partition };
            partitions.keys().map(of)
        });
        all.collect()
    }

    /// Every commit with its partition.
    pub(super) fn committed(&self) -> impl Iterator<Item = (TopicPartition, &OffsetValue)> {
        self.topics.iter().flat_map(|(topic, partitions)| {
            partitions.iter().filter_map(|(&partition, entry)| {
                let value = entry.committed.as_ref()?;
                Some((TopicPartition { topic: topic.clone(), partition }, value))
            })
        })
    }

    /// How many partitions have a committed offset.
    pub(super) fn committed_count(&self) -> usize {
        self.committed().count()
    }

    /// Whether nothing is undecided and no write is under way.
    pub(super) fn is_settled(&self) -> bool {
        let mut entries = self.topics.values().flat_map(BTreeMap::values);
        entries.all(|entry| entry.under_way == 0 && entry.pending.is_empty())
    }

    /// Whether the group has no offsets, decided or not, and none on its way.
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// The partitions whose offset is older than `retention_ms` by the group's rule. A partition
    /// with an undecided offset, or one on its way, is left alone (G-32).
    pub(super) fn expired(
        &self,
        expiry: &Expiry,
        retention_ms: i64,
        now_ms: i64,
    ) -> Vec<TopicPartition> {
        let expired = self.topics.iter().flat_map(|(topic, partitions)| {
            partitions.iter().filter_map(move |(&partition, entry)| {
                let settled = entry.pending.is_empty() && entry.under_way == 0;
                let value = entry.committed.as_ref().filter(|_| settled)?;
                let due = is_due(expiry, topic, value, retention_ms, now_ms);
                due.then(|| TopicPartition { topic: topic.clone(), partition })
            })
        });
        expired.collect()
    }

    fn drop_if_blank(&mut self, partition: &TopicPartition) {
        let Some(topic) = self.topics.get_mut(&partition.topic) else {
            return;
        };
        if topic.get(&partition.partition).is_some_and(Entry::is_blank) {
            topic.remove(&partition.partition);
        }
        if topic.is_empty() {
            self.topics.remove(&partition.topic);
        }
    }

    fn drop_blanks(&mut self) {
        for topic in self.topics.values_mut() {
            topic.retain(|_, entry| !entry.is_blank());
        }
        self.topics.retain(|_, topic| !topic.is_empty());
    }
}

fn is_due(
    expiry: &Expiry,
    topic: &str,
    value: &OffsetValue,
    retention_ms: i64,
    now_ms: i64,
) -> bool {
    let since_ms = match expiry {
        Expiry::Never => return false,
        Expiry::Unread(subscribed) if subscribed.may_read(topic) => return false,
        Expiry::AfterCommit | Expiry::Unread(_) => value.commit_timestamp_ms,
        Expiry::After(since_ms) => *since_ms,
    };
    match value.expire_timestamp_ms {
        Some(expire_timestamp_ms) => now_ms >= expire_timestamp_ms,
        None => now_ms.saturating_sub(since_ms) >= retention_ms,
    }
}
