//! The broker's keys: one declaration per key makes the typed field, the table and the help.

use super::kind::Kind;

/// One key of the broker's configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    /// Kafka's name, or ours for what Kafka has no word for.
    pub(crate) name: &'static str,
    /// What it means.
    pub(crate) doc: &'static str,
    /// What it accepts.
    pub(crate) kind: Kind,
    /// Its default; `None` is "not set".
    pub(crate) default: Option<&'static str>,
}

/// A type that a checked value turns into.
trait FromChecked: Default {
    fn from_checked(value: &str) -> Self;
    fn render(&self) -> Option<String>;
}

macro_rules! from_checked_by_parsing {
    ($($int:ty),*) => {$(
        impl FromChecked for $int {
            fn from_checked(value: &str) -> Self {
                // Kind::check ran first, so the fallback is never taken.
                value.parse().unwrap_or_default()
            }
            fn render(&self) -> Option<String> {
                Some(self.to_string())
            }
        }
    )*};
}
from_checked_by_parsing!(i32, i64, bool, String);

impl<T: FromChecked> FromChecked for Option<T> {
    fn from_checked(value: &str) -> Self {
        Some(T::from_checked(value))
    }
    fn render(&self) -> Option<String> {
        self.as_ref().and_then(T::render)
    }
}

macro_rules! broker_keys {
    ($(
        #[doc = $doc:literal]
        $field:ident: $type:ty = $name:literal, $kind:expr, $default:expr;
    )+) => {
        /// Every setting of the broker, typed.
        #[derive(Clone, Debug)]
        #[non_exhaustive]
        pub struct Settings {
            $(#[doc = $doc] pub $field: $type,)+
        }

        /// The table behind [`Settings`], in the order of declaration.
        pub(crate) const KEYS: &[Key] = &[
            $(Key { name: $name, doc: $doc.trim_ascii(), kind: $kind, default: $default },)+
        ];

        impl Default for Settings {
            fn default() -> Self {
                Self {
                    $($field: $default.map(<$type>::from_checked).unwrap_or_default(),)+
                }
            }
        }

        impl Settings {
            /// Stores a value that its key's [`Kind`] accepted. Unknown names change nothing.
            pub(super) fn store(&mut self, name: &str, value: &str) {
                match name {
                    $($name => self.$field = <$type>::from_checked(value),)+
                    _ => {}
                }
            }

            /// The value of a key as text, `None` if it is not set.
            pub(crate) fn value(&self, name: &str) -> Option<String> {
                match name {
                    $($name => self.$field.render(),)+
                    _ => None,
                }
            }
        }
    };
}

const INT: Kind = Kind::Int(0, i32::MAX);
const POSITIVE: Kind = Kind::Int(1, i32::MAX);
const LONG: Kind = Kind::Long(0, i64::MAX);
const LONG_OR_OFF: Kind = Kind::Long(-1, i64::MAX);
pub(super) const CODEC: Kind =
    Kind::OneOf(&["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"]);

broker_keys! {
    /// The id of this broker in cluster metadata.
    node_id: i32 = "node.id", INT, Some("0");
    /// Host and port that clients are told to connect to; the bound address if not set.
    advertised_listeners: Option<String> = "advertised.listeners", Kind::Text, None;
    /// Whether asking for a topic that does not exist creates it.
    auto_create_topics_enable: bool = "auto.create.topics.enable", Kind::Bool, Some("true");
    /// Whether topics may be deleted.
    delete_topic_enable: bool = "delete.topic.enable", Kind::Bool, Some("true");
    /// Partitions of a topic that is created without saying how many.
    num_partitions: i32 = "num.partitions", Kind::Int(1, 10_000), Some("1");
    /// Replicas of a topic that is created without saying how many; one node has one.
    default_replication_factor: i32 = "default.replication.factor", POSITIVE, Some("1");
    /// Whether a topic asking for more replicas than there are nodes is created with one.
    replication_factor_accept_any: bool = "replication.factor.accept.any", Kind::Bool, Some("false");
    /// What an acknowledgement survives: durable a power cut, written a kill, staged nothing.
    log_durability: String = "log.durability", Kind::OneOf(&["durable", "written", "staged"]), Some("durable");
    /// How the engine talks to the disk: auto, uring or std.
    log_io_backend: String = "log.io.backend", Kind::OneOf(&["auto", "uring", "std"]), Some("auto");
    /// Size at which a segment is rolled, in bytes.
    log_segment_bytes: i32 = "log.segment.bytes", Kind::Int(4096, i32::MAX), Some("1073741824");
    /// Age at which a segment is rolled, in hours, if log.roll.ms is not set.
    log_roll_hours: i32 = "log.roll.hours", POSITIVE, Some("168");
    /// Age at which a segment is rolled, in ms.
    log_roll_ms: Option<i64> = "log.roll.ms", Kind::Long(1, i64::MAX), None;
    /// Age after which a segment may be removed, in ms; -1 never.
    log_retention_ms: Option<i64> = "log.retention.ms", LONG_OR_OFF, None;
    /// The same in minutes, if log.retention.ms is not set.
    log_retention_minutes: Option<i32> = "log.retention.minutes", Kind::Int(-1, i32::MAX), None;
    /// The same in hours, if neither of the finer ones is set.
    log_retention_hours: i32 = "log.retention.hours", Kind::Int(-1, i32::MAX), Some("168");
    /// Size of a partition above which old segments may be removed, in bytes; -1 never.
    log_retention_bytes: i64 = "log.retention.bytes", LONG_OR_OFF, Some("-1");
    /// What retention may remove: delete, compact, or both.
    log_cleanup_policy: String = "log.cleanup.policy", Kind::List(&["delete", "compact"]), Some("delete");
    /// Bytes of log between two index entries.
    log_index_interval_bytes: i32 = "log.index.interval.bytes", INT, Some("4096");
    /// Size of an index at which a segment is rolled, in bytes.
    log_index_size_max_bytes: i32 = "log.index.size.max.bytes", Kind::Int(32, i32::MAX), Some("10485760");
    /// How long a removed segment's files stay under another name, for someone to take them back, in ms. Readers need it not.
    log_segment_delete_delay_ms: i64 = "log.segment.delete.delay.ms", LONG, Some("60000");
    /// Whose time a record's timestamp is.
    log_message_timestamp_type: String = "log.message.timestamp.type", Kind::OneOf(&["CreateTime", "LogAppendTime"]), Some("CreateTime");
    /// How far in the past a record's timestamp may lie, in ms.
    log_message_timestamp_before_max_ms: i64 = "log.message.timestamp.before.max.ms", LONG, Some("9223372036854775807");
    /// How far in the future a record's timestamp may lie, in ms.
    log_message_timestamp_after_max_ms: i64 = "log.message.timestamp.after.max.ms", LONG, Some("3600000");
    /// Largest batch accepted, in bytes.
    message_max_bytes: i32 = "message.max.bytes", INT, Some("1048588");
    /// Wait of the first rebalance of a group for more members, in ms.
    group_initial_rebalance_delay_ms: i32 = "group.initial.rebalance.delay.ms", INT, Some("0");
    /// Shortest session timeout a member may ask for, in ms.
    group_min_session_timeout_ms: i32 = "group.min.session.timeout.ms", INT, Some("6000");
    /// Longest session timeout a member may ask for, in ms.
    group_max_session_timeout_ms: i32 = "group.max.session.timeout.ms", INT, Some("1800000");
    /// Most members of a group.
    group_max_size: i32 = "group.max.size", POSITIVE, Some("2147483647");
    /// Longest metadata text of a committed offset.
    offset_metadata_max_bytes: i32 = "offset.metadata.max.bytes", INT, Some("4096");
    /// How long the offsets of a group without members are kept, in minutes.
    offsets_retention_minutes: i32 = "offsets.retention.minutes", POSITIVE, Some("10080");
    /// How often offsets that have expired are looked for, in ms.
    offsets_retention_check_interval_ms: i64 = "offsets.retention.check.interval.ms", Kind::Long(1, i64::MAX), Some("600000");
    /// Partitions of __consumer_offsets; read when the first group is formed, and never again.
    offsets_topic_num_partitions: i32 = "offsets.topic.num.partitions", Kind::Int(1, 10_000), Some("50");
    /// Longest timeout of a transaction that a producer may ask for, in ms.
    transaction_max_timeout_ms: i32 = "transaction.max.timeout.ms", POSITIVE, Some("900000");
    /// How often transactions that have timed out are looked for, in ms.
    transaction_abort_timed_out_transaction_cleanup_interval_ms: i64 = "transaction.abort.timed.out.transaction.cleanup.interval.ms", Kind::Long(1, i64::MAX), Some("1000");
    /// How long a transactional id that nobody uses is remembered, in ms.
    transactional_id_expiration_ms: i64 = "transactional.id.expiration.ms", Kind::Long(1, i64::MAX), Some("604800000");
    /// How often transactional ids that have expired are looked for, in ms.
    transaction_remove_expired_transaction_cleanup_interval_ms: i64 = "transaction.remove.expired.transaction.cleanup.interval.ms", Kind::Long(1, i64::MAX), Some("3600000");
    /// Partitions of __transaction_state; read when the first transactional id is initialised, and never again.
    transaction_state_log_num_partitions: i32 = "transaction.state.log.num.partitions", Kind::Int(1, 10_000), Some("50");
    /// Codec that batches are stored with; producer keeps each batch as it comes.
    compression_type: String = "compression.type", CODEC, Some("producer");
    /// Largest request, in bytes.
    socket_request_max_bytes: i32 = "socket.request.max.bytes", POSITIVE, Some("104857600");
    /// Most bytes of one Fetch response.
    fetch_max_bytes: i32 = "fetch.max.bytes", Kind::Int(1024, i32::MAX), Some("57671680");
    /// Fetch sessions remembered; a client without one sends full requests.
    max_incremental_fetch_session_cache_slots: i32 = "max.incremental.fetch.session.cache.slots", INT, Some("1000");
    /// A connection without a request for so long is closed, in ms; -1 never.
    connections_max_idle_ms: i64 = "connections.max.idle.ms", LONG_OR_OFF, Some("600000");
    /// Most connections at a time.
    max_connections: i32 = "max.connections", INT, Some("2147483647");
    /// Bytes of requests being received or handled, over all connections; -1 is 256 MiB.
    queued_max_request_bytes: i64 = "queued.max.request.bytes", LONG_OR_OFF, Some("-1");
    /// Bytes of records in answers that are being read or written, over all connections; -1 is 256 MiB.
    queued_max_response_bytes: i64 = "queued.max.response.bytes", LONG_OR_OFF, Some("-1");
    /// Bytes that may wait for the disk, over all logs, before producers are held back.
    log_staged_bytes_max: i64 = "log.staged.bytes.max", Kind::Long(1 << 20, 1 << 40), Some("268435456");
    /// A producer without a batch for so long may be forgotten, in ms.
    producer_id_expiration_ms: i32 = "producer.id.expiration.ms", POSITIVE, Some("86400000");
}

/// A budget whose key leaves it open.
const BUDGET_BYTES_DEFAULT: usize = 256 << 20;

impl Settings {
    /// Bytes of requests that may be in memory.
    pub(crate) fn request_budget_bytes(&self) -> usize {
        usize::try_from(self.queued_max_request_bytes).unwrap_or(BUDGET_BYTES_DEFAULT)
    }

    /// Bytes of records in answers that may be in memory.
    pub(crate) fn answer_budget_bytes(&self) -> usize {
        usize::try_from(self.queued_max_response_bytes).unwrap_or(BUDGET_BYTES_DEFAULT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_acceptable_and_comes_back_as_written() {
        let settings = Settings::default();
        for key in KEYS {
            if let Some(default) = key.default {
                key.kind.check(default).unwrap();
            }
            assert_eq!(settings.value(key.name).as_deref(), key.default, "{}", key.name);
        }
    }

    #[test]
    fn every_key_says_what_it_means() {
        assert!(KEYS.iter().all(|key| key.doc.ends_with('.') && key.name.contains('.')));
    }
}
