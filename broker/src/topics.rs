//! The registry of topics: name, id, partitions and configuration of each.
//!
//! A topic is created in two steps: its logs first, then one commit to the metadata log, which is
//! the moment it exists. It is deleted in the other order: one commit, then its logs. So after a
//! crash there may be logs without a topic, never a topic without logs; [`Registry::open`] removes
//! those that are empty or whose topic is known to be deleted, and adopts the others: data is never
//! deleted on a guess.
//!
//! Lock order: `changes` → `map`. `changes` is held across the disk, `map` never.

use crate::blocking::blocking;
use crate::clock;
use crate::config::{Overrides, Settings, check_overrides, log_config, topic_value};
use crate::handler::codec_named;
use crate::metadata::MetadataLog;
use crate::metadata::history::{History, KnownTopic};
use crate::metadata::record::{MetadataRecord, TopicId};
use oncelog::batch::Compression;
use oncelog::{Engine, Error, ErrorKind, Log, LogConfig, LogName, Result};
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, OnceLock};

/// The topic of committed offsets; the group coordinator's.
pub(crate) const OFFSETS_TOPIC: &str = "__consumer_offsets";
/// The topic of transaction states; the transaction coordinator's.
pub(crate) const TXN_STATE_TOPIC: &str = "__transaction_state";
/// Most partitions of a topic: its metadata is one batch.
pub(crate) const PARTITIONS_MAX: i32 = 10_000;

/// A topic as it stood when it was looked up.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) name: Arc<str>,
    pub(crate) id: TopicId,
    pub(crate) overrides: Overrides,
    pub(crate) internal: bool,
    /// The codec that batches are stored with; `None` is the producer's.
    pub(crate) codec: Option<Compression>,
    pub(crate) config: LogConfig,
    partitions: Vec<Partition>,
}

/// A partition whose log is opened when it is first used.
#[derive(Debug)]
struct Partition {
    name: LogName,
    log: OnceLock<Log>,
}

impl Topic {
    /// How many partitions there are.
    pub(crate) fn partition_count(&self) -> i32 {
        i32::try_from(self.partitions.len()).unwrap_or(PARTITIONS_MAX)
    }

    /// Whether the topic's own log retention may remove data.
    pub(crate) fn is_trimmable(&self) -> bool {
        self.config.cleanup_policy != oncelog::CleanupPolicy::Compact
    }

    fn partition(&self, index: i32) -> Option<&Partition> {
        usize::try_from(index).ok().and_then(|index| self.partitions.get(index))
    }

    fn log_names(&self) -> Vec<LogName> {
        self.partitions.iter().map(|partition| partition.name.clone()).collect()
    }
}

/// Why a topic is not created.
#[derive(Clone, Debug)]
pub(crate) enum Refusal {
    /// It exists (36).
    Exists,
    /// The name is not one (17).
    InvalidName(String),
    /// The name is the broker's own (42).
    Reserved,
    /// No partitions (37).
    Partitions,
    /// More partitions than a topic may have (44).
    TooManyPartitions(i32),
    /// A configuration key or value (40).
    Config(String),
    /// The engine failed.
    Engine(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Engine(error)
    }
}

/// A topic to be created.
#[derive(Clone, Debug)]
pub(crate) struct NewTopic {
    pub(crate) name: String,
    pub(crate) partitions: i32,
    pub(crate) overrides: Overrides,
}

/// All topics. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Registry {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    engine: Engine,
    metadata: MetadataLog,
    settings: Settings,
    /// The ids that the coordinators' topics have or will have.
    internal_ids: [(&'static str, TopicId); 2],
    /// Held while a topic is created or deleted.
    changes: Mutex<()>,
    map: RwLock<Map>,
}

#[derive(Debug, Default)]
struct Map {
    by_name: BTreeMap<Arc<str>, Arc<Topic>>,
    by_id: HashMap<TopicId, Arc<Topic>>,
    /// Names with `.` and `_` made equal: two topics must not differ in those only.
    by_metric_name: HashMap<String, Arc<str>>,
}

impl Map {
    fn insert(&mut self, topic: Topic) -> Arc<Topic> {
        let topic = Arc::new(topic);
        self.by_name.insert(Arc::clone(&topic.name), Arc::clone(&topic));
        self.by_id.insert(topic.id, Arc::clone(&topic));
        self.by_metric_name.insert(metric_name(&topic.name), Arc::clone(&topic.name));
        topic
    }

    fn remove(&mut self, topic: &Topic) {
        self.by_name.remove(&topic.name);
        self.by_id.remove(&topic.id);
        self.by_metric_name.remove(&metric_name(&topic.name));
    }
}

impl Registry {
    /// Rebuilds the registry from the metadata log and the engine's logs. Blocks.
    ///
    /// Also returns the end of the last block of producer ids.
    pub(crate) fn open(engine: &Engine, settings: &Settings) -> Result<(Self, MetadataLog, i64)> {
        let (metadata, records) = MetadataLog::open(engine)?;
        let replayed = records.len();
        let history = History::replay(records);
        metadata.rewrite(&history.live(settings.node_id), replayed)?;
        let next_producer_id = history.next_producer_id;
        let logs = engine.logs()?;
        let id_of = |name: &'static str| {
            let known = history.topics.iter().find(|(_, known)| known.name == name);
            let stored = logs.iter().find(|(log, _)| log.topic() == name).map(|(_, id)| *id);
            let id = known.map(|(id, _)| *id).or(stored);
            (name, id.unwrap_or_else(clock::random_id))
        };
        let registry = Self {
            shared: Arc::new(Shared {
                internal_ids: [id_of(OFFSETS_TOPIC), id_of(TXN_STATE_TOPIC)],
                engine: engine.clone(),
                metadata: metadata.clone(),
                settings: settings.clone(),
                changes: Mutex::new(()),
                map: RwLock::default(),
            }),
        };
        registry.shared.reconcile(history)?;
        Ok((registry, metadata, next_producer_id))
    }

    /// The topic called `name`.
    pub(crate) fn find(&self, name: &str) -> Option<Arc<Topic>> {
        self.shared.map.read().by_name.get(name).cloned()
    }

    /// The topic of this id.
    pub(crate) fn find_id(&self, id: TopicId) -> Option<Arc<Topic>> {
        self.shared.map.read().by_id.get(&id).cloned()
    }

    /// Every topic, in name order.
    pub(crate) fn all(&self) -> Vec<Arc<Topic>> {
        self.shared.map.read().by_name.values().cloned().collect()
    }

    /// The log of a partition if it is open already; opening it may need the disk.
    pub(crate) fn opened(&self, topic: &Topic, index: i32) -> Option<Log> {
        topic.partition(index).and_then(|partition| partition.log.get()).cloned()
    }

    /// The log of a partition, opened if need be; `NotFound` if there is no such partition.
    pub(crate) async fn log(&self, topic: &Arc<Topic>, index: i32) -> Result<Log> {
        if let Some(log) = self.opened(topic, index) {
            return Ok(log);
        }
        let (shared, topic) = (Arc::clone(&self.shared), Arc::clone(topic));
        blocking(move || shared.open_log(&topic, index)).await
    }

    /// As [`log`](Self::log), on the calling thread.
    pub(crate) fn log_blocking(&self, topic: &Topic, index: i32) -> Result<Log> {
        self.opened(topic, index).map_or_else(|| self.shared.open_log(topic, index), Ok)
    }

    /// Whether `new` could be created.
    pub(crate) fn check(&self, new: &NewTopic) -> std::result::Result<(), Refusal> {
        check_name(&new.name)?;
        let map = self.shared.map.read();
        if map.by_name.contains_key(new.name.as_str()) {
            return Err(Refusal::Exists);
        }
        if let Some(other) = map.by_metric_name.get(&metric_name(&new.name)) {
            let why = format!("Topic '{}' collides with existing topics: {other}", new.name);
            return Err(Refusal::InvalidName(why));
        }
        if new.partitions < 1 {
            return Err(Refusal::Partitions);
        }
        if new.partitions > PARTITIONS_MAX {
            return Err(Refusal::TooManyPartitions(new.partitions));
        }
        check_overrides(&new.overrides).map_err(Refusal::Config)?;
        let config = log_config(&self.shared.settings, &new.overrides);
        config.validate().map_err(|e| Refusal::Config(e.to_string()))
    }

    /// Creates a topic; it is durable, and found by everybody, when this returns.
    pub(crate) async fn create(&self, new: NewTopic) -> std::result::Result<Arc<Topic>, Refusal> {
        let registry = self.clone();
        let creating = tokio::task::spawn_blocking(move || registry.create_blocking(&new));
        match creating.await {
            Ok(outcome) => outcome,
            Err(error) => {
                Err(Error::with_source(ErrorKind::Closed, "the creation was cut short", error)
                    .into())
            }
        }
    }

    /// The topic of committed offsets; created, as Kafka does, when it is first needed.
    pub(crate) async fn offsets_topic(&self) -> Result<Arc<Topic>> {
        let partitions = self.shared.settings.offsets_topic_num_partitions;
        self.internal_topic(OFFSETS_TOPIC, partitions).await
    }

    /// The topic of transactions; created when it is first needed.
    pub(crate) async fn txn_state_topic(&self) -> Result<Arc<Topic>> {
        let partitions = self.shared.settings.transaction_state_log_num_partitions;
        self.internal_topic(TXN_STATE_TOPIC, partitions).await
    }

    /// The id that a coordinator's topic has, or will have.
    pub(crate) fn internal_id(&self, name: &str) -> TopicId {
        self.shared.internal_id(name).unwrap_or_default()
    }

    async fn internal_topic(&self, name: &'static str, partitions: i32) -> Result<Arc<Topic>> {
        if let Some(topic) = self.find(name) {
            return Ok(topic);
        }
        let shared = Arc::clone(&self.shared);
        blocking(move || shared.create_internal_topic(name, partitions)).await
    }

    /// Deletes a topic; it is gone for good when this returns.
    pub(crate) async fn delete(&self, topic: Arc<Topic>) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        blocking(move || shared.delete(&topic)).await
    }

    fn create_blocking(&self, new: &NewTopic) -> std::result::Result<Arc<Topic>, Refusal> {
        let _changing = self.shared.changes.lock();
        self.check(new)?;
        Ok(self.shared.create(new)?)
    }
}

impl Shared {
    fn internal_id(&self, name: &str) -> Option<TopicId> {
        self.internal_ids.iter().find(|(internal, _)| *internal == name).map(|(_, id)| *id)
    }

    fn create(&self, new: &NewTopic) -> Result<Arc<Topic>> {
        let id = self.internal_id(&new.name).unwrap_or_else(clock::random_id);
        let topic = self.describe(&new.name, id, new.partitions, &new.overrides)?;
        if let Err(error) = self.create_logs(&topic).and_then(|()| self.commit_topic(&topic)) {
            // What stays behind is empty and unknown to everybody; the next start removes it.
            self.delete_logs(&topic.log_names());
            return Err(error);
        }
        Ok(self.map.write().insert(topic))
    }

    fn create_internal_topic(&self, name: &str, partitions: i32) -> Result<Arc<Topic>> {
        let _changing = self.changes.lock();
        if let Some(topic) = self.map.read().by_name.get(name) {
            // Somebody else was faster.
            return Ok(Arc::clone(topic));
        }
        self.create(&NewTopic {
            name: name.to_owned(),
            partitions,
            overrides: internal_overrides(name),
        })
    }

    /// A topic whose logs are not opened yet.
    fn describe(
        &self,
        name: &str,
        id: TopicId,
        partitions: i32,
        overrides: &Overrides,
    ) -> Result<Topic> {
        let partition =
            |index| Ok(Partition { name: LogName::new(name, index)?, log: OnceLock::new() });
        Ok(Topic {
            name: name.into(),
            id,
            overrides: overrides.clone(),
            internal: is_internal(name),
            codec: codec_named(&topic_value("compression.type", &self.settings, overrides)),
            config: log_config(&self.settings, overrides),
            partitions: (0..partitions).map(partition).collect::<Result<_>>()?,
        })
    }

    /// A coordinator's topic has as many partitions as ids might ever need; each log comes into being
    /// when it is first used.
    fn create_logs(&self, topic: &Topic) -> Result<()> {
        if topic.internal {
            return Ok(());
        }
        let created = self.engine.create_logs(&topic.log_names(), topic.id, &topic.config);
        for (partition, created) in topic.partitions.iter().zip(created) {
            let log = match created {
                // Left over by a creation or deletion that failed half way.
                Err(error) if *error.kind() == ErrorKind::AlreadyExists => {
                    self.engine.delete_log(&partition.name)?;
                    self.engine.create_log(&partition.name, topic.id, topic.config.clone())?
                }
                created => created?,
            };
            // The partition is new, so nobody else has set it.
            partition.log.get_or_init(|| log);
        }
        Ok(())
    }

    fn commit_topic(&self, topic: &Topic) -> Result<()> {
        let known = KnownTopic {
            name: topic.name.to_string(),
            partitions: topic.partition_count(),
            overrides: topic.overrides.clone(),
        };
        self.metadata.commit(&known.records(topic.id, self.settings.node_id))
    }

    fn delete(&self, topic: &Topic) -> Result<()> {
        let _changing = self.changes.lock();
        let found = self.map.read().by_id.contains_key(&topic.id);
        if !found {
            return Err(Error::new(ErrorKind::NotFound, format!("{} is deleted", topic.name)));
        }
        self.metadata.commit(&[MetadataRecord::RemoveTopic { id: topic.id }])?;
        self.map.write().remove(topic);
        self.delete_logs(&topic.log_names());
        Ok(())
    }

    /// Removes logs that no topic has. What cannot be removed now is removed by the next start, or
    /// when its name is needed.
    fn delete_logs(&self, names: &[LogName]) {
        drop(self.engine.delete_logs(names));
    }

    fn open_log(&self, topic: &Topic, index: i32) -> Result<Log> {
        let missing = || {
            let context = format!("{} has no partition {index}", topic.name);
            Error::new(ErrorKind::NotFound, context)
        };
        let partition = topic.partition(index).ok_or_else(missing)?;
        let log = match self.engine.log(&partition.name) {
            Err(error) if topic.internal && *error.kind() == ErrorKind::NotFound => {
                self.engine.create_log(&partition.name, topic.id, topic.config.clone())?
            }
            found => found?,
        };
        if !topic.internal {
            log.set_config(topic.config.clone())?;
        }
        Ok(partition.log.get_or_init(|| log).clone())
    }

    /// Brings the metadata log's topics and the engine's logs together.
    fn reconcile(&self, history: History) -> Result<()> {
        let mut logs: HashMap<(String, TopicId), Vec<i32>> = HashMap::new();
        for (name, id) in self.engine.logs()? {
            if !is_reserved(name.topic()) {
                logs.entry((name.topic().to_owned(), id)).or_default().push(name.partition());
            }
        }
        for (id, known) in &history.topics {
            let mut found = logs.remove(&(known.name.clone(), *id)).unwrap_or_default();
            let topic = self.describe(&known.name, *id, known.partitions, &known.overrides)?;
            self.create_missing(&topic, &found)?;
            found.retain(|index| topic.partition(*index).is_none());
            self.delete_logs(&names(&known.name, &found)?);
            self.map.write().insert(topic);
        }
        for ((name, id), partitions) in logs {
            self.settle_stray(&name, id, &partitions, &history.removed)?;
        }
        Ok(())
    }

    /// Logs that the metadata log does not know: finishes a deletion, forgets a creation that was
    /// never committed, and adopts everything else.
    fn settle_stray(
        &self,
        name: &str,
        id: TopicId,
        partitions: &[i32],
        removed: &HashSet<TopicId>,
    ) -> Result<()> {
        let logs = names(name, partitions)?;
        if removed.contains(&id) || (!is_internal(name) && self.all_empty(&logs)?) {
            self.delete_logs(&logs);
            return Ok(());
        }
        if self.map.read().by_name.contains_key(name) {
            let context = format!("the logs of {name} carry the id of another topic of that name");
            return Err(Error::new(ErrorKind::Invalid, context));
        }
        let mut count = partitions.iter().max().map_or(0, |last| last.saturating_add(1));
        // Only partitions that were written to need be there; an id's is found by their number.
        count = count.max(match name {
            OFFSETS_TOPIC => self.settings.offsets_topic_num_partitions,
            TXN_STATE_TOPIC => self.settings.transaction_state_log_num_partitions,
            _ => 0,
        });
        let topic = self.describe(name, id, count, &internal_overrides(name))?;
        self.create_missing(&topic, partitions)?;
        self.commit_topic(&topic)?;
        self.map.write().insert(topic);
        Ok(())
    }

    fn all_empty(&self, logs: &[LogName]) -> Result<bool> {
        for name in logs {
            if self.engine.log(name)?.offsets().log_end_offset.get() > 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn create_missing(&self, topic: &Topic, found: &[i32]) -> Result<()> {
        if topic.internal {
            return Ok(());
        }
        let found: HashSet<i32> = found.iter().copied().collect();
        let mut missing = topic.log_names();
        missing.retain(|name| !found.contains(&name.partition()));
        let created = self.engine.create_logs(&missing, topic.id, &topic.config);
        created.into_iter().try_for_each(|log| log.map(drop))
    }
}

fn names(topic: &str, partitions: &[i32]) -> Result<Vec<LogName>> {
    partitions.iter().map(|index| LogName::new(topic, *index)).collect()
}

/// Topics that coordinators own; clients read them and do not write them.
fn is_internal(name: &str) -> bool {
    matches!(name, OFFSETS_TOPIC | TXN_STATE_TOPIC)
}

/// What Kafka gives its own topics; nothing for any other.
fn internal_overrides(name: &str) -> Overrides {
    let own = [
        ("cleanup.policy", "compact"),
        ("compression.type", "producer"),
        ("segment.bytes", "104857600"),
    ];
    let own = own.map(|(key, value)| (key.to_owned(), value.to_owned()));
    if is_internal(name) { Overrides::from(own) } else { Overrides::new() }
}

fn metric_name(name: &str) -> String {
    name.replace('.', "_")
}

/// Logs that are no topics: a Kafka controller's, and what the broker and the engine keep for
/// themselves.
fn is_reserved(name: &str) -> bool {
    name == "__cluster_metadata" || name.starts_with("__oncelog_")
}

fn check_name(name: &str) -> std::result::Result<(), Refusal> {
    if is_reserved(name) {
        return Err(Refusal::Reserved);
    }
    match LogName::new(name, 0) {
        Ok(_) if is_internal(name) => Err(Refusal::Exists),
        Ok(_) => Ok(()),
        Err(_) => Err(Refusal::InvalidName(invalid_name(name))),
    }
}

fn invalid_name(name: &str) -> String {
    let max = LogName::TOPIC_LEN_MAX;
    match name {
        "" => "Topic name is invalid: the empty string is not allowed".into(),
        "." | ".." => format!("Topic name is invalid: '{name}' is not allowed"),
        _ if name.len() > max => {
            format!("Topic name is invalid: it is longer than {max} characters")
        }
        _ => format!(
            "Topic name is invalid: '{name}' contains one or more characters other than ASCII \
             alphanumerics, '.', '_' and '-'"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_refused_for_the_reason_kafka_gives() {
        for reserved in ["__cluster_metadata", "__oncelog_metadata", "__oncelog_transactions"] {
            assert!(matches!(check_name(reserved), Err(Refusal::Reserved)), "{reserved}");
        }
        assert!(matches!(check_name("__consumer_offsets"), Err(Refusal::Exists)));
        for bad in ["", ".", "..", "a b", "ä", &"x".repeat(250)] {
            assert!(matches!(check_name(bad), Err(Refusal::InvalidName(_))), "{bad}");
        }
        assert!(check_name(&"x".repeat(249)).is_ok());
        assert_eq!(metric_name("a.b"), metric_name("a_b"));
    }
}
