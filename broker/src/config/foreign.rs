//! Kafka's keys that are no settings here: what to tell an operator who gives one a value.
//!
//! An existing `server.properties` should start this broker, and nobody should believe that a line
//! in it does something that it does not.

/// A key of Kafka's whose value cannot be chosen here, and that value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fixed {
    pub(crate) name: &'static str,
    pub(crate) value: &'static str,
    pub(crate) doc: &'static str,
}

const fn fixed(name: &'static str, value: &'static str, doc: &'static str) -> Fixed {
    Fixed { name, value, doc }
}

/// What is so, and is described to clients as if it were a setting. In name order.
pub(crate) const FIXED: &[Fixed] = &[
    fixed("group.coordinator.rebalance.protocols", "classic", "Group protocols that are served."),
    fixed("log.preallocate", "false", "Whether a segment's file gets its full size at once."),
    fixed("min.insync.replicas", "1", "Replicas that acks=all waits for."),
    fixed("offsets.topic.compression.codec", "0", "Codec of committed offsets: none."),
    fixed("offsets.topic.replication.factor", "1", "Replicas of committed offsets."),
    fixed("offsets.topic.segment.bytes", "104857600", "Segment size of committed offsets."),
    fixed("security.inter.broker.protocol", "PLAINTEXT", "There is no other broker."),
    fixed("unclean.leader.election.enable", "false", "There is no other leader."),
];

/// What a key of Kafka's means here.
#[derive(Clone, Copy, Debug)]
pub(super) enum Foreign {
    /// The command line says it.
    Flag(&'static str),
    /// It cannot be chosen.
    Fixed(&'static Fixed),
    /// It would protect something, and nothing of the kind exists here.
    Security,
    /// Nothing.
    Unused,
}

/// What `name` means, if Kafka knows such a key.
pub(super) fn find(name: &str) -> Option<Foreign> {
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    if let Some((_, flag)) = FLAGS.iter().find(|(key, _)| *key == name) {
        return Some(Foreign::Flag(flag));
    }
    if let Some(fixed) = FIXED.iter().find(|fixed| fixed.name == name) {
        return Some(Foreign::Fixed(fixed));
    }
    if starts(SECURITY) {
        return Some(Foreign::Security);
    }
    starts(UNUSED).then_some(Foreign::Unused)
}

const FLAGS: &[(&str, &str)] = &[
    ("listeners", "--listen"),
    ("log.dir", "--data-dir"),
    ("log.dirs", "--data-dir"),
    ("metadata.log.dir", "--data-dir"),
];

/// First words of keys about encryption, authentication and access.
const SECURITY: &[&str] = &[
    "authorizer.",
    "connection.failed.authentication.",
    "connections.max.reauth",
    "delegation.",
    "listener.",
    "password.",
    "principal.",
    "sasl.",
    "security.",
    "ssl.",
    "super.users",
];

/// First words of keys about replicas, controllers, transactions, quotas, threads and other things
/// that this broker does not have or does not let one choose.
const UNUSED: &[&str] = &[
    "add.partitions.",
    "alter.",
    "auto.leader.",
    "background.threads",
    "broker.",
    "client.quota.",
    "cluster.",
    "compression.",
    "config.providers",
    "control.plane.",
    "controlled.",
    "controller.",
    "cordoned.",
    "create.topic.policy.",
    "delete.records.purgatory.",
    "early.start.",
    "eligible.leader.",
    "fetch.purgatory.",
    "follower.",
    "group.consumer.",
    "group.coordinator.",
    "group.share.",
    "group.streams.",
    "initial.broker.",
    "inter.broker.",
    "internal.",
    "kafka.",
    "leader.",
    "log.cleaner.",
    "log.dir.failure.",
    "log.flush.",
    "log.initial.",
    "log.local.",
    "log.retention.check.",
    "log.roll.jitter.",
    "max.connection",
    "max.request.partition.",
    "metadata.",
    "metric",
    "num.io.",
    "num.network.",
    "num.recovery.",
    "num.replica.",
    "offsets.",
    "process.roles",
    "producer.purgatory.",
    "queued.max.requests",
    "quota.",
    "remote.",
    "replica.",
    "replication.",
    "request.timeout.ms",
    "reserved.broker.",
    "share.coordinator.",
    "socket.",
    "telemetry.",
    "transaction.",
    "transactional.",
    "unstable.",
    "zookeeper.",
];

#[cfg(test)]
mod tests {
    use super::super::KEYS;
    use super::*;

    #[test]
    fn no_setting_is_called_useless_by_its_full_name() {
        for name in FIXED.iter().map(|fixed| fixed.name).chain(FLAGS.iter().map(|flag| flag.0)) {
            assert!(KEYS.iter().all(|key| key.name != name), "{name} is both");
        }
        assert!(FIXED.is_sorted_by_key(|fixed| fixed.name));
    }
}
