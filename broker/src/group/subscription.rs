//! The topics in a consumer's subscription, as far as the broker must know them (G-50).
//!
//! Membership never depends on these bytes: a member whose subscription cannot be read is a member
//! like any other, and counts as subscribed to everything.

use super::member::Member;
use super::state::{Group, State};
use crate::state_log::fields::{Reader, RecordError, Result};
use std::collections::HashSet;
use std::sync::Arc;

/// The protocol type whose metadata names topics.
const CONSUMER: &str = "consumer";

/// Which topics the members of a group read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Subscribed {
    /// These.
    To(HashSet<Arc<str>>),
    /// It cannot be known; each must be taken as read.
    Unknown,
}

impl Subscribed {
    pub(super) fn may_read(&self, topic: &str) -> bool {
        match self {
            Self::To(topics) => topics.contains(topic),
            Self::Unknown => true,
        }
    }
}

impl Group {
    /// Whether members assign partitions among them by Kafka's consumer protocol.
    pub(super) fn runs_consumer_protocol(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }

    /// The topics read by the members, where that is known (G-31, G-33).
    pub(super) fn subscribed(&self) -> Subscribed {
        if self.members.is_empty() {
            return Subscribed::To(HashSet::new());
        }
        let settled = matches!(self.state, State::Stable | State::CompletingRebalance);
        match &self.protocol {
            Some(protocol) if settled && self.runs_consumer_protocol() => {
                let members = self.members.values();
                union(members.map(|member| member_topics(member, protocol)))
            }
            _ => Subscribed::Unknown,
        }
    }
}

fn union(parts: impl Iterator<Item = Result<Vec<Arc<str>>>>) -> Subscribed {
    let mut topics = HashSet::new();
    for part in parts {
        match part {
            Ok(part) => topics.extend(part),
            Err(_) => return Subscribed::Unknown,
        }
    }
    Subscribed::To(topics)
}

fn member_topics(member: &Member, protocol: &str) -> Result<Vec<Arc<str>>> {
    topics(&member.metadata(protocol))
}

/// Reads the prefix that every version of a subscription begins with.
fn topics(subscription: &[u8]) -> Result<Vec<Arc<str>>> {
    let mut reader = Reader::new(subscription);
    let version = reader.i16()?;
    if version < 0 {
        return Err(RecordError::UnknownVersion(version));
    }
    let count = reader.count(2)?;
    (0..count).map(|_| reader.string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    // G-50: every later version keeps the prefix of version 0.
    #[test]
    fn the_topics_of_any_version_are_read_and_damage_is_an_error() {
        let bytes = b"\x00\x03\x00\x00\x00\x02\x00\x01a\x00\x02bc\xff\xff\xff\xff later fields";
        assert_eq!(topics(bytes).unwrap(), [Arc::from("a"), Arc::from("bc")]);
        for cut in 0..13 {
            assert!(topics(&bytes[..cut]).is_err(), "{cut}");
        }
        assert_eq!(topics(b"\xff\xff\x00\x00\x00\x00"), Err(RecordError::UnknownVersion(-1)));
        assert_eq!(topics(b"\x00\x00\x7f\xff\xff\xff"), Err(RecordError::Truncated));
    }
}
