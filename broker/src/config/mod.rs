//! The broker's configuration: Kafka's property names, from a file and from the command line.
//!
//! The later source wins: default, file, `--set`. A value out of bounds is an error; a key of
//! Kafka that means nothing on one node is accepted and counted in one warning; a key nobody knows
//! is a warning with the nearest name, or an error when asked to be strict.

mod broker;
mod kind;
mod properties;
mod suggest;
mod topic;

pub use broker::Settings;
pub(crate) use broker::{KEYS, Key};
pub(crate) use topic::{Overrides, TOPIC_KEYS, TopicKey, check_overrides, log_config};

use std::collections::BTreeSet;

/// The settings, and what the operator should hear about them.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Config {
    /// The typed settings.
    pub settings: Settings,
    /// Sentences for the operator: keys that have no effect or are not known.
    pub warnings: Vec<String>,
    /// Names of keys that were given a value.
    given: BTreeSet<String>,
    meaningless: Vec<String>,
    unknown: Vec<String>,
}

/// First words of keys that Kafka knows and that mean nothing to a single node without replicas,
/// controllers, ZooKeeper or listeners to secure.
const MEANINGLESS: &[&str] = &[
    "add.partitions.",
    "alter.",
    "authorizer.",
    "background.threads",
    "broker.",
    "cluster.",
    "compression.",
    "connection.failed.",
    "connections.max.reauth",
    "controlled.",
    "controller.",
    "cordoned.",
    "create.topic.policy.",
    "delegation.",
    "delete.records.purgatory.",
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
    "listener.",
    "listeners",
    "log.cleaner.",
    "log.dir",
    "log.flush.",
    "log.initial.",
    "log.local.",
    "log.preallocate",
    "log.retention.check.",
    "log.roll.jitter.",
    "max.connection",
    "max.request.partition.",
    "metadata.",
    "metric",
    "min.insync.",
    "num.io.",
    "num.network.",
    "num.recovery.",
    "num.replica.",
    "offsets.",
    "password.",
    "principal.",
    "process.roles",
    "producer.id.",
    "producer.purgatory.",
    "queued.max.requests",
    "quota.",
    "remote.",
    "replica.",
    "replication.",
    "request.timeout.ms",
    "reserved.broker.",
    "sasl.",
    "security.",
    "share.coordinator.",
    "socket.",
    "ssl.",
    "telemetry.",
    "transaction.",
    "transactional.",
    "unclean.",
    "unstable.",
    "zookeeper.",
];

impl Config {
    /// Defaults, overridden by the text of a properties file and then by `key=value` settings.
    ///
    /// # Errors
    /// One sentence with the key, its value and what it accepts; or, when `strict`, an unknown key.
    pub fn load(file: Option<&str>, sets: &[String], strict: bool) -> Result<Self, String> {
        let mut config = Self::default();
        for assignment in properties::parse(file.unwrap_or_default())? {
            let place = format!("line {}: ", assignment.line);
            config.set(&assignment.key, &assignment.value).map_err(|e| place + &e)?;
        }
        for set in sets {
            let (key, value) = set
                .split_once('=')
                .ok_or_else(|| format!("--set {set:?} is not of the form key=value"))?;
            config.set(key.trim(), value.trim())?;
        }
        config.check_together()?;
        config.conclude(strict)?;
        Ok(config)
    }

    /// Whether the operator gave the key a value.
    pub(crate) fn is_given(&self, key: &str) -> bool {
        self.given.contains(key)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let Some(key) = KEYS.iter().find(|key| key.name == name) else {
            let known_to_kafka = MEANINGLESS.iter().any(|prefix| name.starts_with(prefix));
            let list = if known_to_kafka { &mut self.meaningless } else { &mut self.unknown };
            list.push(name.to_owned());
            return Ok(());
        };
        key.kind.check(value).map_err(|accepts| format!("{name} = {value:?} is not {accepts}"))?;
        self.settings.store(name, value);
        self.given.insert(name.to_owned());
        Ok(())
    }

    /// Rules between keys.
    fn check_together(&self) -> Result<(), String> {
        let (min, max) = (
            self.settings.group_min_session_timeout_ms,
            self.settings.group_max_session_timeout_ms,
        );
        if min > max {
            return Err(format!(
                "group.min.session.timeout.ms = {min} is above group.max.session.timeout.ms = {max}"
            ));
        }
        match &self.settings.advertised_listeners {
            Some(listener) => parse_listener(listener).map(|_| ()),
            None => Ok(()),
        }
    }

    fn conclude(&mut self, strict: bool) -> Result<(), String> {
        let unknown = self.unknown.iter().map(|name| {
            match suggest::nearest(name, KEYS.iter().map(|key| key.name)) {
                Some(near) => format!("unknown key {name}; did you mean {near}?"),
                None => format!("unknown key {name} is ignored"),
            }
        });
        let mut warnings: Vec<String> = unknown.collect();
        if let (true, Some(first)) = (strict, warnings.first()) {
            return Err(first.clone());
        }
        if !self.meaningless.is_empty() {
            let names = self.meaningless.join(", ");
            warnings.push(format!("keys without effect on a single node are ignored: {names}"));
        }
        self.warnings = warnings;
        Ok(())
    }
}

/// Host and port of `host:port` or `PLAINTEXT://host:port`; the first of several.
pub(crate) fn parse_listener(text: &str) -> Result<(String, u16), String> {
    let first = text.split(',').next().unwrap_or_default().trim();
    let address = first.split_once("://").map_or(first, |(_, address)| address);
    let refused = || format!("advertised.listeners = {text:?} is not PLAINTEXT://host:port");
    let (host, port) = address.rsplit_once(':').ok_or_else(refused)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return Err(refused());
    }
    port.parse().map(|port| (host.to_owned(), port)).ok().ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sets(sets: &[&str]) -> Vec<String> {
        sets.iter().map(|s| (*s).to_owned()).collect()
    }

    #[test]
    fn a_set_wins_over_the_file_and_the_file_over_the_default() {
        let file = "num.partitions=3\nnode.id=7";
        let config = Config::load(Some(file), &sets(&["num.partitions=4"]), true).unwrap();
        assert_eq!((config.settings.num_partitions, config.settings.node_id), (4, 7));
        assert!(config.is_given("node.id") && !config.is_given("fetch.max.bytes"));
    }

    #[test]
    fn a_bad_value_names_line_key_value_and_range() {
        let error = Config::load(Some("\nnum.partitions=0"), &[], false).unwrap_err();
        let expected = "line 2: num.partitions = \"0\" is not a whole number from 1 to 10000";
        assert_eq!(error, expected);
    }

    #[test]
    fn unknown_keys_warn_with_the_nearest_name_or_are_fatal_when_strict() {
        let given = sets(&["num.partition=2", "zookeeper.connect=x", "log.dirs=/tmp"]);
        let warnings = Config::load(None, &given, false).unwrap().warnings;
        assert_eq!(warnings.len(), 2);
        assert!(warnings[0].contains("did you mean num.partitions?"));
        assert!(warnings[1].ends_with("zookeeper.connect, log.dirs"));
        assert!(Config::load(None, &given, true).unwrap_err().contains("num.partitions"));
    }

    #[test]
    fn advertised_listeners_are_read_in_kafkas_forms() {
        assert_eq!(parse_listener("PLAINTEXT://h:1,SSL://x:2").unwrap(), ("h".into(), 1));
        assert_eq!(parse_listener("[::1]:9092").unwrap(), ("::1".into(), 9092));
        for bad in ["h", ":1", "h:x", "PLAINTEXT://h:99999"] {
            assert!(parse_listener(bad).is_err(), "{bad}");
        }
    }
}
