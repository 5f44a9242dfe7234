//! The broker's configuration: Kafka's property names, from a file and from the command line.
//!
//! The later source wins: default, file, `--set`. A value out of bounds is an error; a key of
//! Kafka's that has no effect here is accepted with a warning that says so; a key nobody knows is a
//! warning with the nearest name, or an error when asked to be strict.

mod broker;
mod foreign;
mod kind;
mod properties;
mod suggest;
mod topic;

pub use broker::Settings;
pub(crate) use broker::{KEYS, Key};
pub(crate) use foreign::{FIXED, Fixed};
pub(crate) use kind::Kind;
pub(crate) use topic::{Overrides, TOPIC_KEYS, TopicKey, check_overrides, log_config, topic_value};

use foreign::Foreign;
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
    unknown: Vec<String>,
    without_effect: Vec<String>,
    insecure: Vec<String>,
    unused: Vec<String>,
}

/// Edits by which a misspelt key may differ from one of ours and be taken for it rather than for
/// one of Kafka's.
const SLIP_MAX: usize = 2;

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
            self.note_foreign(name, value);
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

    /// Takes note of a key that is no setting of this broker.
    fn note_foreign(&mut self, name: &str, value: &str) {
        let slip = || suggest::within(name, SLIP_MAX, KEYS.iter().map(|key| key.name)).is_some();
        match foreign::find(name) {
            Some(Foreign::Flag(flag)) => self
                .without_effect
                .push(format!("{name} is ignored; {flag} on the command line says it")),
            Some(Foreign::Fixed(fixed)) if fixed.value == value => {}
            Some(Foreign::Fixed(fixed)) => self
                .without_effect
                .push(format!("{name} = {value} is ignored; here it is always {}", fixed.value)),
            Some(Foreign::Security) => self.insecure.push(name.to_owned()),
            Some(Foreign::Unused) if !slip() => self.unused.push(name.to_owned()),
            _ => self.unknown.push(name.to_owned()),
        }
    }

    fn conclude(&mut self, strict: bool) -> Result<(), String> {
        let unknown = self.unknown.iter().map(|name| {
            match suggest::nearest(name, KEYS.iter().map(|key| key.name)) {
                Some(near) => format!("unknown key {name}; did you mean {near}?"),
                None => format!("unknown key {name}"),
            }
        });
        let mut warnings: Vec<String> = unknown.collect();
        if let (true, Some(first)) = (strict, warnings.first()) {
            return Err(first.clone());
        }
        warnings.append(&mut self.without_effect);
        if !self.insecure.is_empty() {
            let names = self.insecure.join(", ");
            warnings.push(format!(
                "this broker neither encrypts nor authenticates; without effect: {names}"
            ));
        }
        if !self.unused.is_empty() {
            let names = self.unused.join(", ");
            warnings.push(format!("keys that this broker has no use for are ignored: {names}"));
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
        assert_eq!(warnings.len(), 3);
        assert!(warnings[0].contains("did you mean num.partitions?"));
        assert_eq!(warnings[1], "log.dirs is ignored; --data-dir on the command line says it");
        assert!(warnings[2].ends_with("are ignored: zookeeper.connect"));
        assert!(Config::load(None, &given, true).unwrap_err().contains("num.partitions"));
    }

    #[test]
    fn keys_of_kafka_that_change_nothing_here_say_so() {
        let given = sets(&[
            "offsets.topic.replication.factor=1",
            "min.insync.replicas=2",
            "ssl.keystore.location=/k",
            "sasl.enabled.mechanisms=PLAIN",
            "socket.request.max.byte=5",
        ]);
        let expected = [
            "unknown key socket.request.max.byte; did you mean socket.request.max.bytes?",
            "min.insync.replicas = 2 is ignored; here it is always 1",
            "this broker neither encrypts nor authenticates; without effect: \
             ssl.keystore.location, sasl.enabled.mechanisms",
        ];
        assert_eq!(Config::load(None, &given, false).unwrap().warnings, expected);
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
