//! Options of an engine and of its logs: what each means, its default, its bounds, and what gets
//! worse when it is raised.

use crate::batch::HEADER_BYTES;
use crate::error::{Error, ErrorKind, Result};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// What an acknowledgement means, named for what the data then survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum Durability {
    /// Offsets are assigned; the bytes are in this process's memory. Survives nothing.
    Staged,
    /// The operating system has the bytes. Survives a kill of the process.
    Written,
    /// The device has flushed the bytes. Survives a power cut.
    #[default]
    Durable,
}

/// Which I/O backend to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Backend {
    /// Probe io_uring in the data directory and fall back to [`Backend::Std`] if it is denied.
    #[default]
    Auto,
    /// io_uring, or fail to open.
    Uring,
    /// Plain system calls.
    Std,
}

/// Whose time a record's timestamp is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum TimestampType {
    /// The producer's (Kafka's `CreateTime`).
    #[default]
    CreateTime,
    /// The log's, at append (Kafka's `LogAppendTime`).
    LogAppendTime,
}

/// What retention may remove (Kafka's `cleanup.policy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum CleanupPolicy {
    /// Whole segments that are too old or too many.
    #[default]
    Delete,
    /// Only what lies before the log start offset; records need keys.
    Compact,
    /// Both.
    CompactDelete,
}

/// Options of an engine.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EngineOptions {
    /// Data directories; created if missing. At least one, each once. They belong together from their
    /// first use on: more may be added later, none left out.
    pub directories: Vec<PathBuf>,
    /// Opens although a directory that was used together with these is not among them. Its logs, and
    /// whatever transactions it had decided, are given up for good: a directory that comes back later is
    /// refused if a log is in two. Default false: [`ErrorKind::WrongDirectory`].
    pub accept_missing_directories: bool,
    /// The cluster this engine belongs to. `None`, the default, takes over what the directories say
    /// (`meta.properties`, as Kafka writes it), and a random id for new ones. Otherwise a directory
    /// of another cluster is refused with [`ErrorKind::WrongDirectory`].
    pub cluster_id: Option<String>,
    /// The number of this node in it, not negative; as `cluster_id`, and 0 for new directories.
    pub node_id: Option<i32>,
    /// I/O backend. Default: [`Backend::Auto`].
    pub backend: Backend,
    /// Configuration of logs that were there before, until [`Log::set_config`](crate::Log::set_config).
    /// What retention may remove of a log is remembered with it and counts more.
    pub log: LogConfig,
    /// Bytes that may be staged and not yet written, over all logs, before appends are refused
    /// with [`ErrorKind::Busy`]. Default 256 MiB; 1 MiB to 1 TiB. Raising it costs memory.
    pub staged_bytes_max: u64,
    /// Free bytes of a data directory that appends leave alone: one that would use them is refused
    /// with [`ErrorKind::DiskFull`], in the logs of that directory only. Appends of a coordinator,
    /// checkpoints and the clean close may still use them. Service resumes with the first append
    /// after space returned. Default 64 MiB; any number, 0 for no reserve. Raising it wastes space; lowering it leaves less for
    /// the bytes nobody counts (indexes, checkpoints, other programs), and a write that finds no
    /// space poisons its log.
    pub reserve_bytes: u64,
    /// Bytes appended to one log between two checkpoints: the work of a restart after a kill.
    /// Default 64 MiB; at least 1. Raising it slows recovery; lowering it writes checkpoints more often.
    pub checkpoint_bytes: u64,
    /// Producers remembered per log. Default 1,000,000; at least 1. Each takes about 250 bytes, in
    /// memory and in every checkpoint.
    pub producers_max: usize,
    /// Sealed segments, over all logs, that may have their file open for readers: each has one
    /// descriptor, and one map of the file where there are maps. Beyond that the one not used for longest
    /// lets go, and what readers hold stays valid. Default 512, at least 1. Raising it needs descriptors
    /// (`ulimit -n`) and address space; lowering it opens files again more often when many segments
    /// are read in turn. Active segments do not count.
    pub open_segments_max: usize,
    /// Whether the engine starts its own threads (one per data directory for commits that no
    /// thread waits for, one for maintenance). Default true. Without them whoever waits for an append,
    /// on a thread or in a task, does the disk's work, and the embedder calls
    /// [`Engine::tick`](crate::Engine::tick), which also writes what nobody waits for; a simulation does
    /// that to stay deterministic.
    pub background: bool,
    /// Bugs to plant, to prove that a test would notice them.
    #[cfg(any(test, feature = "test-util"))]
    pub planted: crate::planted::Planted,
}

impl EngineOptions {
    /// Defaults, on one data directory.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directories: vec![directory.into()],
            accept_missing_directories: false,
            cluster_id: None,
            node_id: None,
            backend: Backend::Auto,
            log: LogConfig::default(),
            staged_bytes_max: 256 << 20,
            reserve_bytes: 64 << 20,
            checkpoint_bytes: 64 << 20,
            producers_max: 1_000_000,
            open_segments_max: 512,
            background: true,
            #[cfg(any(test, feature = "test-util"))]
            planted: crate::planted::Planted::default(),
        }
    }

    /// Checks every option against its bounds.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`], naming the option, its value and its bounds.
    pub fn validate(&self) -> Result<()> {
        self.log.validate()?;
        let wrong = |what: String| Err(Error::new(ErrorKind::Invalid, what));
        if self.directories.is_empty() {
            return wrong("directories is empty; an engine needs at least one".to_owned());
        }
        for (index, path) in self.directories.iter().enumerate() {
            if self.directories.iter().take(index).any(|other| other == path) {
                return wrong(format!("directories lists {} twice", path.display()));
            }
        }
        if self.cluster_id.as_ref().is_some_and(String::is_empty) {
            return wrong(
                "cluster_id is empty; leave it out to take over the directories'".to_owned(),
            );
        }
        if let Some(node_id) = self.node_id.filter(|id| *id < 0) {
            return wrong(format!("node_id = {node_id} is outside 0..={}", i32::MAX));
        }
        let staged = (1 << 20)..=(1 << 40);
        if !staged.contains(&self.staged_bytes_max) {
            return wrong(format!(
                "staged_bytes_max = {} is outside {staged:?}",
                self.staged_bytes_max
            ));
        }
        if self.checkpoint_bytes == 0 {
            return wrong(format!("checkpoint_bytes = 0 is outside 1..={}", u64::MAX));
        }
        if self.open_segments_max == 0 {
            return wrong("open_segments_max = 0; a reader needs one".to_owned());
        }
        if self.producers_max == 0 {
            return wrong(format!("producers_max = 0 is outside 1..={}", usize::MAX));
        }
        Ok(())
    }

    /// The planted bugs; none outside of tests.
    pub(crate) fn planted(&self) -> crate::planted::Planted {
        #[cfg(any(test, feature = "test-util"))]
        return self.planted;
        #[cfg(not(any(test, feature = "test-util")))]
        crate::planted::Planted::default()
    }
}

/// Configuration of one log. Field names are Kafka's topic configuration with `_` for `.`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogConfig {
    /// Size at which a segment is rolled, in bytes. Default 1 GiB; 4096 to 2 GiB − 1. Raising it makes
    /// retention coarser; lowering it makes more files.
    pub segment_bytes: u32,
    /// Age, by record time, at which a segment is rolled, in ms. Default 7 days; at least 1. As
    /// `segment_bytes`.
    pub segment_ms: i64,
    /// Size of an offset index at which a segment is rolled, in bytes. Default 10 MiB; 32 to 2 GiB − 1.
    pub segment_index_bytes: u32,
    /// Bytes of log between two index entries. Default 4096; 0 (every batch) to 2 GiB − 1. Raising it
    /// makes reads from the middle of a segment walk further; lowering it makes larger indexes.
    pub index_interval_bytes: u32,
    /// Largest batch accepted, in bytes. Default 1,048,588; 61, an empty batch, to 2 GiB − 1. Raising it
    /// lets one batch take that much memory in readers, too.
    pub max_message_bytes: u32,
    /// Age, by record time, after which a segment may be removed, in ms; −1 never. Default 7 days; at
    /// least −1.
    pub retention_ms: i64,
    /// Log size above which old segments may be removed, in bytes; −1 never. Default −1; at least −1.
    pub retention_bytes: i64,
    /// What retention may remove. Default [`CleanupPolicy::Delete`].
    pub cleanup_policy: CleanupPolicy,
    /// Whose time timestamps are. Default [`TimestampType::CreateTime`].
    pub timestamp_type: TimestampType,
    /// How far in the past a record's timestamp may lie, in ms. Default unlimited; at least 0.
    pub timestamp_before_max_ms: i64,
    /// How far in the future a record's timestamp may lie, in ms. Default one hour; at least 0. Raising
    /// it lets a producer with a wrong clock keep its segment from retention by age.
    pub timestamp_after_max_ms: i64,
    /// How long the files of a removed segment stay, renamed to `.deleted`, in ms: time to take a
    /// mistaken retention back by hand. Readers do not need it: what they hold stays valid. Cut short
    /// when the data directory is full, and by the next load of the log. Default 1 min; at least 0.
    pub file_delete_delay_ms: i64,
    /// After this long without a batch a producer is forgotten, but never while its last batch is
    /// still in the log, in ms. Default one day; at least 1. Raising it costs memory; lowering it
    /// shortens the time in which a retry is recognised.
    pub producer_id_expiration_ms: i64,
    /// Whether the first batch of a transaction needs a
    /// [verification](crate::Log::begin_verification), so that a late one cannot open a transaction
    /// that nobody will end (KIP-890). For an embedder whose transaction coordinator answers the
    /// question. Default false.
    pub transaction_verification: bool,
    /// Default acknowledgement of appends to this log. Default [`Durability::Durable`].
    pub durability: Durability,
}

impl Default for LogConfig {
    fn default() -> Self {
        const DAY_MS: i64 = 24 * 60 * 60 * 1000;
        Self {
            segment_bytes: 1 << 30,
            segment_ms: 7 * DAY_MS,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            max_message_bytes: 1_048_588,
            retention_ms: 7 * DAY_MS,
            retention_bytes: -1,
            cleanup_policy: CleanupPolicy::Delete,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 60 * 60 * 1000,
            file_delete_delay_ms: 60_000,
            producer_id_expiration_ms: DAY_MS,
            transaction_verification: false,
            durability: Durability::Durable,
        }
    }
}

/// The part of a log's configuration that can cost data. It is kept with the log, so that an engine
/// which was opened again does not apply its default to a log that nobody has configured yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retention {
    /// [`LogConfig::retention_ms`].
    pub(crate) ms: i64,
    /// [`LogConfig::retention_bytes`].
    pub(crate) bytes: i64,
}

impl LogConfig {
    /// What retention may remove; nothing if the policy is compaction alone.
    pub(crate) fn retention(&self) -> Retention {
        match self.cleanup_policy {
            CleanupPolicy::Compact => Retention { ms: -1, bytes: -1 },
            _ => Retention { ms: self.retention_ms, bytes: self.retention_bytes },
        }
    }

    /// The same with another retention.
    pub(crate) fn with_retention(self, retention: Retention) -> Self {
        Self { retention_ms: retention.ms, retention_bytes: retention.bytes, ..self }
    }

    /// Checks every field against its bounds.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`], naming the field, its value and its bounds.
    pub fn validate(&self) -> Result<()> {
        const EMPTY_BATCH: i64 = 61;
        const { assert!(EMPTY_BATCH.cast_unsigned() == HEADER_BYTES as u64) };
        let bytes_max = i64::from(i32::MAX);
        let bounds: [(&str, i64, i64, i64); 11] = [
            ("index_interval_bytes", i64::from(self.index_interval_bytes), 0, bytes_max),
            ("max_message_bytes", i64::from(self.max_message_bytes), EMPTY_BATCH, bytes_max),
            ("timestamp_before_max_ms", self.timestamp_before_max_ms, 0, i64::MAX),
            ("timestamp_after_max_ms", self.timestamp_after_max_ms, 0, i64::MAX),
            ("producer_id_expiration_ms", self.producer_id_expiration_ms, 1, i64::MAX),
            ("segment_bytes", i64::from(self.segment_bytes), 4096, i64::from(i32::MAX)),
            ("segment_ms", self.segment_ms, 1, i64::MAX),
            ("segment_index_bytes", i64::from(self.segment_index_bytes), 32, i64::from(i32::MAX)),
            ("retention_ms", self.retention_ms, -1, i64::MAX),
            ("retention_bytes", self.retention_bytes, -1, i64::MAX),
            ("file_delete_delay_ms", self.file_delete_delay_ms, 0, i64::MAX),
        ];
        for (name, value, low, high) in bounds {
            if !(low..=high).contains(&value) {
                let context = format!("{name} = {value} is outside {low}..={high}");
                return Err(Error::new(ErrorKind::Invalid, context));
            }
        }
        Ok(())
    }
}

/// The name of a log: a topic and a partition, written `topic-partition` (D-2, D-3).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogName {
    topic: Arc<str>,
    partition: i32,
}

impl LogName {
    /// Longest topic name, in characters (D-2).
    pub const TOPIC_LEN_MAX: usize = 249;

    /// The log of `partition` of `topic`.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] unless the topic is 1 to 249 characters of `[a-zA-Z0-9._-]`, neither
    /// `.` nor `..`, and the partition is not negative.
    pub fn new(topic: &str, partition: i32) -> Result<Self> {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let fits = (1..=Self::TOPIC_LEN_MAX).contains(&topic.len());
        if !fits || topic == "." || topic == ".." || !topic.chars().all(legal) || partition < 0 {
            let context = format!("{topic:?} partition {partition} is not a legal log name");
            return Err(Error::new(ErrorKind::Invalid, context));
        }
        Ok(Self { topic: topic.into(), partition })
    }

    /// Parses a directory name, at its last dash (D-3).
    #[must_use]
    pub fn from_dir_name(name: &str) -> Option<Self> {
        let (topic, partition) = name.rsplit_once('-')?;
        let number: i32 = partition.parse().ok()?;
        // "-007" or "-+7" would name the same log as "-7".
        if number.to_string() != partition {
            return None;
        }
        Self::new(topic, number).ok()
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The partition.
    #[must_use]
    pub fn partition(&self) -> i32 {
        self.partition
    }
}

impl fmt::Display for LogName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

impl fmt::Debug for LogName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // D-2, D-3.
    #[test]
    fn log_names_parse_at_the_last_dash() {
        let name = LogName::from_dir_name("a-b-12").unwrap();
        assert_eq!((name.topic(), name.partition()), ("a-b", 12));
        for bad in ["a", "-1", "a-", "a-x", "a--1", "a-01", "../a-1", ".-1"] {
            assert!(LogName::from_dir_name(bad).is_none() || bad == "a--1", "{bad}");
        }
    }
}
