//! The keys of a topic's configuration: what each accepts, and which broker key is its default.
//!
//! Kafka's whole set is known, so that a topic created with any of them is accepted and described
//! back. Those that the engine has no use for on one node are kept and have no effect.

use super::broker::{CODEC, Settings};
use super::kind::{Kind, words_of};
use oncelog::{CleanupPolicy, Durability, LogConfig, TimestampType};
use std::collections::BTreeMap;

/// One key of a topic's configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TopicKey {
    /// Kafka's name.
    pub(crate) name: &'static str,
    /// What it accepts.
    pub(crate) kind: Kind,
    /// The broker key whose value is the default.
    pub(crate) broker_key: Option<&'static str>,
    /// The default where no broker key gives one.
    pub(crate) default: &'static str,
}

/// What a topic was given at its creation or by an alteration; everything else is default.
pub(crate) type Overrides = BTreeMap<String, String>;

const LONG: Kind = Kind::Long(0, i64::MAX);
const LONG_OR_OFF: Kind = Kind::Long(-1, i64::MAX);
const POLICY: Kind = Kind::List(&["delete", "compact"]);
const TIMESTAMP: Kind = Kind::OneOf(&["CreateTime", "LogAppendTime"]);
const FOREVER: &str = "9223372036854775807";

const fn own(name: &'static str, kind: Kind, default: &'static str) -> TopicKey {
    TopicKey { name, kind, broker_key: None, default }
}

const fn from_broker(name: &'static str, kind: Kind, broker_key: &'static str) -> TopicKey {
    TopicKey { name, kind, broker_key: Some(broker_key), default: "" }
}

/// Every key, in name order.
pub(crate) const TOPIC_KEYS: &[TopicKey] = &[
    from_broker("cleanup.policy", POLICY, "log.cleanup.policy"),
    own("compression.gzip.level", Kind::Int(-1, 9), "-1"),
    own("compression.lz4.level", Kind::Int(1, 17), "9"),
    from_broker("compression.type", CODEC, "compression.type"),
    own("compression.zstd.level", Kind::Int(-131_072, 22), "3"),
    own("delete.retention.ms", LONG, "86400000"),
    from_broker("file.delete.delay.ms", LONG, "log.segment.delete.delay.ms"),
    own("flush.messages", Kind::Long(1, i64::MAX), FOREVER),
    own("flush.ms", LONG, FOREVER),
    own("follower.replication.throttled.replicas", Kind::List(&[]), ""),
    from_broker("index.interval.bytes", Kind::Int(0, i32::MAX), "log.index.interval.bytes"),
    own("leader.replication.throttled.replicas", Kind::List(&[]), ""),
    own("local.retention.bytes", Kind::Long(-2, i64::MAX), "-2"),
    own("local.retention.ms", Kind::Long(-2, i64::MAX), "-2"),
    own("max.compaction.lag.ms", Kind::Long(1, i64::MAX), FOREVER),
    from_broker("max.message.bytes", Kind::Int(0, i32::MAX), "message.max.bytes"),
    from_broker("message.timestamp.after.max.ms", LONG, "log.message.timestamp.after.max.ms"),
    from_broker("message.timestamp.before.max.ms", LONG, "log.message.timestamp.before.max.ms"),
    from_broker("message.timestamp.type", TIMESTAMP, "log.message.timestamp.type"),
    own("min.cleanable.dirty.ratio", Kind::Double(0.0, 1.0), "0.5"),
    own("min.compaction.lag.ms", LONG, "0"),
    own("min.insync.replicas", Kind::Int(1, i32::MAX), "1"),
    own("preallocate", Kind::Bool, "false"),
    own("remote.log.copy.disable", Kind::Bool, "false"),
    own("remote.log.delete.on.disable", Kind::Bool, "false"),
    own("remote.storage.enable", Kind::Bool, "false"),
    from_broker("retention.bytes", LONG_OR_OFF, "log.retention.bytes"),
    own("retention.ms", LONG_OR_OFF, ""),
    from_broker("segment.bytes", Kind::Int(4096, i32::MAX), "log.segment.bytes"),
    from_broker("segment.index.bytes", Kind::Int(32, i32::MAX), "log.index.size.max.bytes"),
    own("segment.jitter.ms", LONG, "0"),
    own("segment.ms", Kind::Long(1, i64::MAX), ""),
    own("unclean.leader.election.enable", Kind::Bool, "false"),
];

impl TopicKey {
    /// The key called `name`.
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        TOPIC_KEYS.iter().find(|key| key.name == name)
    }

    /// The value of a topic that does not set the key itself.
    pub(crate) fn inherited(&self, settings: &Settings) -> String {
        match (self.name, self.broker_key) {
            ("retention.ms", _) => settings.retention_ms().to_string(),
            ("segment.ms", _) => settings.roll_ms().to_string(),
            (_, Some(key)) => settings.value(key).unwrap_or_default(),
            (_, None) => self.default.to_owned(),
        }
    }
}

/// Checks a topic's own configuration; the error is one sentence.
pub(crate) fn check_overrides(overrides: &Overrides) -> Result<(), String> {
    for (name, value) in overrides {
        let Some(key) = TopicKey::find(name) else {
            return Err(format!("Unknown topic config name: {name}"));
        };
        let refused =
            |accepts| format!("Invalid value {value} for configuration {name}: it takes {accepts}");
        key.kind.check(value).map_err(refused)?;
    }
    Ok(())
}

/// The value of a key for a topic: its own, else the broker's, else the default.
pub(crate) fn topic_value(name: &str, settings: &Settings, overrides: &Overrides) -> String {
    match overrides.get(name) {
        Some(value) => value.clone(),
        None => TopicKey::find(name).map(|key| key.inherited(settings)).unwrap_or_default(),
    }
}

/// The smallest `max_message_bytes` of the engine: a batch without records.
const EMPTY_BATCH_BYTES: u32 = 61;

/// The engine's configuration of a topic with these overrides.
pub(crate) fn log_config(settings: &Settings, overrides: &Overrides) -> LogConfig {
    let text = |name: &str| topic_value(name, settings, overrides);
    // Every value passed its key's Kind, so a failed parse cannot happen; 0 would be refused by
    // the engine's own validation rather than do harm.
    let long = |name: &str| text(name).parse::<i64>().unwrap_or_default();
    let bytes = |name: &str| text(name).parse::<u32>().unwrap_or_default();
    let mut config = LogConfig::default();
    config.segment_bytes = bytes("segment.bytes");
    config.segment_ms = long("segment.ms");
    config.segment_index_bytes = bytes("segment.index.bytes");
    config.index_interval_bytes = bytes("index.interval.bytes");
    // Kafka's smallest, which lets nothing in, is out of the engine's bounds.
    config.max_message_bytes = bytes("max.message.bytes").max(EMPTY_BATCH_BYTES);
    config.retention_ms = long("retention.ms");
    config.retention_bytes = long("retention.bytes");
    config.cleanup_policy = cleanup_policy(&text("cleanup.policy"));
    config.timestamp_type = timestamp_type(&text("message.timestamp.type"));
    config.timestamp_before_max_ms = long("message.timestamp.before.max.ms");
    config.timestamp_after_max_ms = long("message.timestamp.after.max.ms");
    config.file_delete_delay_ms = long("file.delete.delay.ms");
    config.producer_id_expiration_ms = i64::from(settings.producer_id_expiration_ms);
    config.durability = settings.durability();
    // Its first batch asks the coordinator, so that a late one opens no transaction again (P-20).
    config.transaction_verification = true;
    config
}

fn cleanup_policy(text: &str) -> CleanupPolicy {
    let has = |word| words_of(text).any(|w| w == word);
    match (has("delete"), has("compact")) {
        (true, true) => CleanupPolicy::CompactDelete,
        (false, true) => CleanupPolicy::Compact,
        _ => CleanupPolicy::Delete,
    }
}

fn timestamp_type(text: &str) -> TimestampType {
    if text == "LogAppendTime" { TimestampType::LogAppendTime } else { TimestampType::CreateTime }
}

impl Settings {
    /// The finest of the three retention keys that is set (-1 never).
    pub(crate) fn retention_ms(&self) -> i64 {
        let scaled = |value: i32, unit: i64| if value < 0 { -1 } else { i64::from(value) * unit };
        match (self.log_retention_ms, self.log_retention_minutes) {
            (Some(ms), _) => ms,
            (None, Some(minutes)) => scaled(minutes, 60_000),
            (None, None) => scaled(self.log_retention_hours, 3_600_000),
        }
    }

    /// The finer of the two roll keys that is set.
    pub(crate) fn roll_ms(&self) -> i64 {
        self.log_roll_ms.unwrap_or_else(|| i64::from(self.log_roll_hours) * 3_600_000)
    }

    /// The durability that an acknowledgement means.
    pub(crate) fn durability(&self) -> Durability {
        match self.log_durability.as_str() {
            "staged" => Durability::Staged,
            "written" => Durability::Written,
            _ => Durability::Durable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_keys_are_sorted_and_their_broker_keys_exist() {
        assert!(TOPIC_KEYS.is_sorted_by_key(|key| key.name));
        let settings = Settings::default();
        for key in TOPIC_KEYS {
            key.kind.check(&key.inherited(&settings)).unwrap();
        }
    }

    #[test]
    fn a_topic_without_overrides_is_the_engines_default_with_verified_transactions() {
        let config = log_config(&Settings::default(), &Overrides::new());
        let mut expected = LogConfig::default();
        expected.transaction_verification = true;
        assert_eq!(config, expected);
    }

    #[test]
    fn overrides_win_over_the_broker_and_the_finer_retention_key_wins() {
        let settings = Settings { log_retention_minutes: Some(5), ..Settings::default() };
        let mut overrides = Overrides::new();
        assert_eq!(log_config(&settings, &overrides).retention_ms, 300_000);
        overrides.insert("retention.ms".into(), "-1".into());
        overrides.insert("cleanup.policy".into(), "compact,delete".into());
        let config = log_config(&settings, &overrides);
        assert_eq!(config.retention_ms, -1);
        assert_eq!(config.cleanup_policy, CleanupPolicy::CompactDelete);
        overrides.insert("retention.ms".into(), "soon".into());
        assert!(check_overrides(&overrides).unwrap_err().contains("retention.ms"));
    }
}
